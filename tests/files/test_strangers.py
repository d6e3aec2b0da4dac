"""Names beside a build that lutc uses: what bears no mark of lutc's is never cleared away, moved or taken."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

import lutc
from lutc.cli import main

TEXT = "lir 1\ndesign d(%x: s4[2]) -> (y = %y) {\n  %y = neg %x\n}\n"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("d.lir").write_text(TEXT)


def ran(code: int, *arguments: str) -> str:
    result = CliRunner().invoke(main, list(arguments))
    assert result.exit_code == code, result.output
    return result.output + result.stderr


def compiled(code: int, *arguments: str) -> str:
    return ran(code, "compile", "d.lir", "--vectors", "4", "--stages", "0", *arguments)


def all_there() -> dict[str, str]:
    return {str(p): p.read_text() if p.is_file() else "" for p in Path().rglob("*")}


def folder_at(name: str) -> None:
    Path(name).mkdir()
    Path(name, "thesis").write_text("precious")


def copied_to(name: str) -> None:
    lutc.compile("d.lir", stages=0).write("other", vectors=2)
    shutil.move("other", name)
    Path(name, "thesis").write_text("precious")


def linked_folder(name: str) -> None:
    folder_at("away")
    Path(name).symlink_to("away")


KINDS: dict[str, Callable[[str], object]] = {
    "file": lambda name: Path(name).write_text("precious"),
    "folder": folder_at,
    "link": lambda name: Path(name).symlink_to("d.lir"),
    "link to a folder": linked_folder,
    "broken link": lambda name: Path(name).symlink_to("nowhere"),
    "pipe": os.mkfifo,
}


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("what", ["new", "old", "lock"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_strangers_thing_stays_and_is_named(what: str, kind: str, there: bool) -> None:
    if there:
        compiled(0)
    KINDS[kind](f".build-lutc-{what}")
    before = all_there()
    assert f".build-lutc-{what}" in compiled(2)
    assert all_there() == before
    if there:
        assert f".build-lutc-{what}" in ran(2, "simulate")
        assert all_there() == before
    assert os.path.lexists(f".build-lutc-{what}")


def test_a_build_in_the_place_of_the_new_one_stays() -> None:
    copied_to(".build-lutc-new")
    assert ".build-lutc-new" in compiled(2)
    assert Path(".build-lutc-new/thesis").read_text() == "precious"


def test_an_unfinished_build_goes() -> None:
    Path(".build-lutc-new/rtl").mkdir(parents=True)
    Path(".build-lutc-new/.lutc-unfinished").touch()
    Path(".build-lutc-new/rtl/d.v").touch()
    compiled(0)
    assert {p.name for p in Path().iterdir()} == {"d.lir", "build"}
    assert not Path("build/.lutc-unfinished").exists()
