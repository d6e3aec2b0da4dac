"""What is written for people: the examples in docstrings run, links lead somewhere, the picture is the house's.

That the site builds without a warning is a step of its own in `tools/test`, by `tools/docs`.
"""

from __future__ import annotations

import doctest
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import lutc
from conftest import need_tool
from lutc import nn

ROOT = Path(__file__).resolve().parents[2]
API = sorted((ROOT / "tools" / "site" / "api").glob("*.md"))
PAGES = [ROOT / name for name in ("ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")]
MODULES = {"lutc": lutc, "lutc.nn": nn}
PUBLIC = [(home, name) for home, module in MODULES.items() for name in module.__all__ if name[0] != "_"]
# What a reader of lutc.nn's page meets first. The layers and helpers beside these are like them.
SHOWN = {"LUTDense", "LogRamp", "QLinear", "Quantizer", "export", "export_onnx", "load", "resources", "save"}


def examples(home: str, name: str) -> list[doctest.DocTest]:
    """The examples of a public name, those of its methods among them."""
    thing: Any = getattr(MODULES[home], name)
    module = importlib.import_module(thing.__module__)
    found = doctest.DocTestFinder().find(thing, f"{home}.{name}", module=module, globs={})
    return [test for test in found if test.examples]


@pytest.mark.parametrize(("home", "name"), PUBLIC, ids=lambda part: part)
def test_examples_of_public_names_run(
    home: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = examples(home, name)
    assert found or (home == "lutc.nn" and name not in SHOWN), "give its docstring an example"
    for test in found:
        if "lutc.simulate(" in (test.docstring or ""):
            need_tool("iverilog")
        said: list[str] = []
        doctest.DocTestRunner().run(test, out=said.append)
        assert not said, "".join(said)


def test_what_must_be_shown_is_public() -> None:
    assert set(nn.__all__) >= SHOWN


@pytest.mark.parametrize("page", [*PAGES, *API], ids=lambda p: p.name)
def test_links_lead_to_files(page: Path) -> None:
    """Headings and outside addresses are the site's business, which checks them all."""
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text())]
    inside = [link for link in links if link and "://" not in link]
    assert inside or page in API
    assert not [link for link in inside if not (page.parent / link).exists()]


def test_the_picture_shows_the_house() -> None:
    done = subprocess.run([sys.executable, ROOT / "tools" / "archdoc", "--check"], check=False)
    assert done.returncode == 0, "run tools/archdoc"


def test_the_pictures_of_numerics_are_what_the_code_says() -> None:
    done = subprocess.run([sys.executable, ROOT / "tools" / "figures", "--check"], check=False)
    assert done.returncode == 0, "run tools/figures"
    page = (ROOT / "ir_spec" / "numerics.md").read_text()
    shown = re.findall(r"^!\[.+\]\((pictures/\w+\.svg)\)$", page, re.M)
    assert sorted(shown) == sorted(f"pictures/{p.name}" for p in (ROOT / "ir_spec" / "pictures").iterdir())


def test_the_site_lists_every_page() -> None:
    """A page that no list names would be found by nobody."""
    listed = set(re.findall(r"\b[\w/.-]+\.md\b", (ROOT / "tools" / "site" / "mkdocs.yml").read_text()))
    pages = [
        "README.md",
        *(p.name for p in PAGES),
        *(f"ir_spec/{p.name}" for p in (ROOT / "ir_spec").glob("*.md")),
    ]
    assert set(pages) <= listed


def test_the_library_pages_name_what_is_public() -> None:
    page = (ROOT / "tools" / "site" / "api" / "lutc.md").read_text()
    members = re.findall(r"^::: lutc\.(\w+)$", page, re.M)
    assert set(members) == {name for name in lutc.__all__ if name[0] != "_"}
    assert all(inspect.getdoc(getattr(lutc, name)) for name in members)
