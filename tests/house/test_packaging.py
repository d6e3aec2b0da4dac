"""One distribution from four folders: nothing may be missing from what is built, installed or listed."""

from __future__ import annotations

import email
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import entry_points, version
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import lutc
from conftest import need_module

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
FOLDERS: dict[str, str] = PROJECT["tool"]["setuptools"]["package-dir"]
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]


def sources() -> dict[str, Path]:
    """Path inside an installation -> file in the checkout, for everything in the four folders."""
    return {
        f"{package.replace('.', '/')}/{path.relative_to(ROOT / folder).as_posix()}": path
        for package, folder in FOLDERS.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an sdist of this checkout and the wheel built from that sdist, made without a network."""
    need_module("build")
    where = tmp_path_factory.mktemp("packaging")
    copy = where / "copy"
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", ".*_cache")
    for name in (*FOLDERS.values(), "tests", "tools"):
        shutil.copytree(ROOT / name, copy / name, ignore=ignored)
    for name in (
        "pyproject.toml",
        "MANIFEST.in",
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "ARCHITECTURE.md",
    ):
        shutil.copy(ROOT / name, copy)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(where / "dist"), str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=where)
    assert done.returncode == 0, done.stdout + done.stderr
    return where / "dist"


@pytest.fixture(scope="module")
def unpacked(built: Path) -> Path:
    """The wheel's content, as an installation would lay it out."""
    (wheel,) = built.glob("lutc-*-py3-none-any.whl")
    site = built / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


def elsewhere(tmp_path: Path, program: str, path: Path | None = None) -> list[str]:
    """The lines that `program` prints away from the checkout, with `path` first among the import folders."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if path:
        env["PYTHONPATH"] = str(path)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, env=env
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


WHERE = f"""
import importlib
for name in {list(FOLDERS)}:
    print(importlib.import_module(name).__file__)
"""


def test_no_package_is_missing_from_the_list() -> None:
    listed = set(PROJECT["tool"]["setuptools"]["packages"])
    with_code = {str(Path(name).parent).replace("/", ".") for name in sources() if name.endswith(".py")}
    assert with_code <= listed, "list these packages in pyproject.toml"
    folders = {str(Path(name).parent).replace("/", ".") for name in sources()}
    assert listed <= folders, "pyproject.toml lists packages that are not there"


def test_every_package_has_an_init() -> None:
    folders = {path.parent for path in sources().values() if path.suffix == ".py"}
    assert not [str(folder) for folder in folders if not (folder / "__init__.py").exists()]


def test_wheel_from_sdist_holds_every_file(unpacked: Path) -> None:
    files = {p.relative_to(unpacked).as_posix() for p in unpacked.rglob("*") if p.is_file()}
    content = {name for name in files if ".dist-info/" not in name}
    assert content == set(sources()), "package-data in pyproject.toml and the folders differ"
    assert {"lutc/py.typed", "lutc/ir_spec/lir.lark"} <= content
    assert any(name.startswith("lutc/targets/") and name.endswith(".toml") for name in content)


def test_wheel_works_without_the_checkout(unpacked: Path, tmp_path: Path) -> None:
    found = elsewhere(tmp_path, WHERE, unpacked)
    assert found == [str(unpacked / name.replace(".", "/") / "__init__.py") for name in FOLDERS]
    read = "from importlib.resources import files; print((files('lutc.ir_spec') / 'lir.lark').stat().st_size)"
    assert int(elsewhere(tmp_path, read, unpacked)[0]) > 0


def test_wheel_metadata(unpacked: Path) -> None:
    (info,) = unpacked.glob("*.dist-info")
    metadata = email.message_from_string((info / "METADATA").read_text())
    assert metadata["Version"] == lutc.__version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert set(metadata.get_all("Provides-Extra", [])) == {
        "onnx",
        "keras",
        "torch",
        "quantize",
        "sim",
        "synth",
        "pnr",
        "lsp",
        "docs",
        "dev",
    }
    assert (info / "licenses" / "LICENSE").exists()


def test_editable_install_finds_the_folders(tmp_path: Path) -> None:
    assert elsewhere(tmp_path, WHERE) == [str(ROOT / folder / "__init__.py") for folder in FOLDERS.values()]
    assert version("lutc") == lutc.__version__


@pytest.mark.parametrize("group", PROJECT["project"]["entry-points"])
def test_entry_points_load(group: str) -> None:
    declared = PROJECT["project"]["entry-points"][group]
    assert declared, f"{group} is empty"
    points = [point for point in entry_points(group=group) if point.dist and point.dist.name == "lutc"]
    installed = {point.name: point for point in points}
    assert {name: point.value for name, point in installed.items()} == declared, "run tools/setup test again"
    for point in installed.values():
        point.load()


def test_tested_versions_lie_in_the_declared_ranges() -> None:
    lines = (ROOT / "tools" / "constraints.txt").read_text().splitlines()
    pins = {}
    for requirement in (Requirement(line) for line in lines if line and not line.startswith("#")):
        (pin,) = requirement.specifier
        assert pin.operator == "==", requirement
        pins[requirement.name.replace("_", "-").lower()] = pin.version
    declared = [
        *PROJECT["build-system"]["requires"],
        *PROJECT["project"]["dependencies"],
        *chain(*EXTRAS.values()),
    ]
    for requirement in map(Requirement, declared):
        assert requirement.specifier.contains(pins[requirement.name.lower()]), requirement
