"""Every example in the specification and in the README runs.

    ```lir NAME       a whole file; its `run` lines are right, unless NAME begins with `wrong`. A ```text block right
                      after it holds the errors that it ends in, or its canonical text. NAME may be left out.
    ```lir passes=... as above; the block after it, ```lir after, is what these passes make of it, and means the same on
                      random inputs. --bless writes it. With `; margin 0` behind the passes they assume the inputs of
                      the `run` lines, and this margin.
    ```python         runs; the blocks of a page share their variables.
    ```console        each line `$ lutc ...` runs in a folder with the page's files; lines below it are what it prints,
                      `...` standing for any lines. Exit code 0, or 2 where `error:` is printed.

`$` lines with other commands are not run here.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from magic_rows import rows
from programs import rows_of, with_runs

from conftest import need_tool
from lutc.cli import main
from lutc.diagnostics import LirError
from lutc.ir.ops import ALL
from lutc.ir.ops.base import Op
from lutc.ir.same import same
from lutc.passes import pipelines as passes
from lutc.target import Target
from lutc.text.fmt import format_text
from lutc.text.parse import parse
from lutc.text.print import print_design

ROOT = Path(__file__).resolve().parents[2]
SPEC = ROOT / "ir_spec"
PAGES = [ROOT / "README.md", *sorted(SPEC.glob("*.md"))]
EXAMPLES = sorted((SPEC / "examples").glob("*.lir"))


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the name after it, what it says, and the line it begins in."""

    language: str
    name: str
    text: str
    line: int


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    found = re.finditer(r"^```(\w+)? *(.*?)\n(.*?)^```$", text, re.M | re.S)
    return [Block(m[1] or "", m[2], m[3], text.count("\n", 0, m.start()) + 1) for m in found]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_page(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config
) -> None:
    monkeypatch.chdir(tmp_path)
    if "lutc.simulate(" in page.read_text():
        need_tool("iverilog")
    if "magic_gamma" in page.read_text():  # the loader then downloads nothing
        monkeypatch.setenv("LUTC_DATA", str(tmp_path))
        (tmp_path / "magic04.data").write_text("\n".join(rows()))
    names: dict[str, object] = {}
    answers: list[str] = []
    found = blocks(page)
    for block, following in zip_longest(found, found[1:]):
        where = f"{page.name}:{block.line}"
        match block.language:
            case "lir" if block.name == "after":
                continue
            case "lir" if block.name.startswith("passes="):
                assert following and following.name == "after", f"{where}: write ```lir after behind it"
                answers.append(transformed(block, where))
                if not pytestconfig.getoption("--bless"):
                    assert answers[-1] == following.text, f"{where}: --bless writes what comes out now"
            case "lir":
                expected = following.text if following and following.language == "text" else None
                program(block, expected, where)
            case "python":
                exec(compile("\n" * block.line + block.text, str(page), "exec"), names)
            case "console" | "sh":
                for command, output in commands(block.text):
                    run(command, output, where)
    if answers and pytestconfig.getoption("--bless"):
        bless(page, answers)


def program(block: Block, expected: str | None, where: str) -> None:
    name = block.name or "example.lir"
    Path(name).write_text(block.text)
    try:
        design = parse(block.text, name)
    except LirError as e:
        assert expected is not None, f"{where}: {e}"
        assert str(e) == expected.rstrip("\n"), where
        return
    assert name.startswith("wrong") or with_runs(block.text, design) == block.text, where
    assert same(design, parse(print_design(design))) is None, where
    if expected is not None:
        assert print_design(design) == expected, where


def bless(page: Path, answers: list[str]) -> None:
    """Write what passes give now into the blocks that say it."""
    left = iter(answers)
    after = re.compile(r"^(```lir after\n).*?(?=^```$)", re.M | re.S)
    page.write_text(after.sub(lambda block: block[1] + next(left), page.read_text()))


def transformed(block: Block, where: str) -> str:
    """What the passes named by a block make of the design in it, as `lutc opt` prints it."""
    program(replace(block, name="before.lir"), None, where)
    passes, _, margin = block.name.removeprefix("passes=").partition("; margin ")
    words = ["opt", "before.lir", "-p", passes, "--check"]
    if margin:
        np.savez("rows.npz", **rows_of(parse(block.text, where)))
        words += ["--assume-inputs", "rows.npz", "--assume-margin", margin]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, f"{where}: {result.output}"
    parse(result.output, "after.lir")
    return result.output


def commands(text: str) -> Iterator[tuple[list[str], str]]:
    for part in re.split(r"^\$ ", text, flags=re.M)[1:]:
        command, _, output = part.partition("\n")
        words = shlex.split(command, comments=True)
        if words[:1] == ["lutc"]:
            yield words[1:], output


def run(arguments: list[str], output: str, where: str) -> None:
    result = CliRunner().invoke(main, arguments)
    said = f"{where}: lutc {' '.join(arguments)}\n{result.output}"
    assert result.exit_code == (2 if "error:" in output else 0), said
    pattern = re.escape(output.rstrip()).replace(re.escape("..."), r"(?s:.*)")
    assert not output.strip() or re.fullmatch(pattern, result.output.rstrip()), said


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_example(path: Path) -> None:
    text = path.read_text()
    assert "\nrun " in text
    assert with_runs(text, parse(text, path.name)) == text
    assert format_text(text) == text


def test_the_pages_are_there() -> None:
    assert len(EXAMPLES) >= 3
    pages = {p.name for p in PAGES}
    assert pages >= {"types.md", "structure.md", "typing.md", "meaning.md", "text.md", "ops.md"}
    index = (SPEC / "README.md").read_text()
    assert all(name in index for name in pages - {"README.md"})


def test_the_readme_begins_with_what_a_user_types_first() -> None:
    """How to install it, with every extra that is for users, and then a circuit."""
    text = (ROOT / "README.md").read_text()
    assert re.findall(r"^## (.*)$", text, re.M)[:2] == ["Install", "A first circuit"]
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert re.findall(r"^\| `(\w+)` \|", text.partition("## A first")[0], re.M) == [
        name for name in extras if name not in ("docs", "dev")
    ]


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        text = page.read_text()
        for target, _, anchor in (m.partition("#") for m in re.findall(r"\]\(([^)\s]+)\)", text)):
            if "://" in target:
                continue
            path = page.parent / target if target else page
            assert path.exists(), f"{page.name}: {target}"
            if anchor:
                heads = re.findall(r"^#+ (.*)$", path.read_text(), re.M)
                slugs = {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in heads}
                assert anchor in slugs, f"{page.name}: {target}#{anchor}"


@pytest.mark.parametrize("tool", ["opdoc", "clidoc"])
def test_generated_pages_are_what_the_code_says(tool: str) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, ROOT / "tools" / tool, "--check"], env=environment, check=False)
    assert done.returncode == 0, f"run tools/{tool}"


def test_every_pass_has_its_section() -> None:
    pages = {p.stem: p.read_text() for p in SPEC.glob("passes-*.md")}
    sections = [name for text in pages.values() for name in re.findall(r"^## (.*)$", text, re.M)]
    assert sorted(sections) == sorted(p.name for p in passes.ALL)


def test_the_pages_of_passes_show_each_at_work() -> None:
    shown = {
        re.split("[{;]", block.name.removeprefix("passes="))[0] for page in PAGES for block in blocks(page)
    }
    assert {p.name for p in passes.ALL} <= shown


def test_the_page_of_passes_lists_the_standard_pipeline() -> None:
    """In its order, with its reasons, with everything on that an option turns on; and what is left out when."""

    def steps(**options: Any) -> list[tuple[str, str]]:
        return [(s.step.name, s.why) for s in passes.steps(**options)]

    rows = re.findall(
        r"^\| \[([\w-]+)\]\(.*?\) \| (.*?) \| (.*?) \|$", (SPEC / "passes.md").read_text(), re.M
    )
    assert [(name, why) for name, why, _ in rows] == steps(
        effort="high", dsp="auto", approx_lsb=1.0, assume=True
    )
    missing: dict[str, dict[str, Any]] = {
        "not at `fast`": {"effort": "fast"},
        "not at `fast` unless there is a `rescale`": {"effort": "fast", "rescales": False},
        "at `high`": {"dsp": "auto", "approx_lsb": 1.0, "assume": True},
        "with `--dsp`": {"effort": "high", "approx_lsb": 1.0, "assume": True},
        "with `--approx-lsb`": {"effort": "high", "dsp": "auto", "assume": True},
        "with `--assume-inputs`": {"effort": "high", "dsp": "auto", "approx_lsb": 1.0},
    }
    least = steps(effort="fast", rescales=False)
    for name, why, when in rows:
        assert ((name, why) in least) == (when == "always")
        assert when == "always" or (name, why) not in steps(**missing[when])


def test_every_key_of_a_target_is_on_its_page() -> None:
    page = (SPEC / "targets.md").read_text().partition("## LUTs")[0]
    kinds = {"str": "text", "int": "count", "float": "ns", "Share": "share", "bool": "yes or no"} | {
        "Named": "a library"
    }
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", page, re.M))
    assert rows == {f.name: kinds[str(f.type)] for f in fields(Target) if f.name != "name"}


def test_the_page_of_targets_prices_what_has_a_price() -> None:
    page = (SPEC / "targets.md").read_text().partition("## LUTs")[2].partition("## Delays")[0]
    rows = {word for row in re.findall(r"^\| (`.*?) \|", page, re.M) for word in re.findall(r"`(\w+)`", row)}
    assert {"add", "lut"} <= rows
    assert rows <= {op.keyword for op in ALL if op.luts is not Op.luts or op.delay is not Op.delay}


def test_what_the_typing_page_says_is_typed_by_the_rule_is() -> None:
    """The page of operations, made from them, says it of each."""
    rule = (SPEC / "typing.md").read_text().partition("## The exceptions")[0]
    table = {word for row in re.findall(r"^\| (`.*?) \|", rule, re.M) for word in re.findall(r"`(\w+)`", row)}
    assert {"add", "mul", "lincomb"} <= table <= {op.keyword for op in ALL if op.infer is Op.infer}


def test_the_modes_of_the_meaning_page_are_all_there_are() -> None:
    from lutc.types import Overflow, Rounding

    page = (SPEC / "meaning.md").read_text()
    rows = dict(re.findall(r"^\| `([\w-]+)`(?: \(the default\))? \| (.*?) \|", page, re.M))
    assert rows == {m.value: m.about for m in (*Rounding, *Overflow)}


def test_every_operation_has_a_program() -> None:
    folder = ROOT / "tests" / "lir" / "ops"
    assert {op.keyword for op in ALL} <= {p.stem for p in folder.glob("*.lir")}
