"""`lutc simulate` verifies what lutc wrote, whole and as it was written, or says what is not."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import lutc
from lutc.cli import main
from lutc.diagnostics import LirError

TEXT = "lir 1\ndesign d(%x: s4[2]) -> (y = %y) {\n  %y = neg %x\n}\n"


@pytest.fixture(autouse=True)
def _build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("d.lir").write_text(TEXT)
    lutc.compile("d.lir", stages=0).write("build", vectors=4)


def simulated(code: int, place: str = "build") -> Result:
    result = CliRunner().invoke(main, ["simulate", place])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


def edit(path: str, text: str | None = None) -> Callable[[], object]:
    file = Path("build", path)
    return lambda: file.write_text(file.read_text() + " " if text is None else text)


def linked(path: str) -> Callable[[], object]:
    def change() -> None:
        shutil.move(Path("build", path), "moved")
        Path("build", path).symlink_to(Path("moved").resolve())

    return change


def in_place_of(path: str) -> Callable[[], object]:
    def change() -> None:
        Path("build", path).unlink()
        Path("build", path).mkdir()

    return change


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (edit("rtl/d.v"), "rtl/d.v"),
        (edit("model.lir"), "model.lir"),
        (edit("report.json", "{}"), "report.json"),
        (edit("sim/outputs.hex"), "sim/outputs.hex"),
        (edit("sim/bench.json", "x\n"), "sim/bench.json"),
        (edit("sim/run.py", "print('passed')\n"), "sim/run.py"),
        (lambda: os.unlink("build/model.lir"), "model.lir"),
        (lambda: shutil.rmtree("build/sim"), "sim/run.py"),
        (in_place_of("model.lir"), "model.lir"),
        (linked("model.lir"), "model.lir"),
        (linked("rtl"), "rtl/d.v"),
        (lambda: os.unlink("build/.lutc-files.json"), "no .lutc-files.json"),
        (edit(".lutc-files.json", "{"), ".lutc-files.json, cannot be read"),
        (edit(".lutc-files.json", "null"), ".lutc-files.json, cannot be read"),
        (edit(".lutc-files.json", '{"sha256": {}}'), "rtl/d.v"),
        (edit(".lutc-files.json", '{"sha256": {"../d.lir": "0"}}'), "../d.lir"),
        (linked(".lutc-files.json"), ".lutc-files.json, cannot be read"),
    ],
)  # fmt: skip
def test_what_is_not_as_written_is_named(change: Callable[[], object], named: str) -> None:
    change()
    said = simulated(2).stderr
    assert named in said and "= help: compile again" in said


def test_the_library_says_it_too() -> None:
    edit("rtl/d.v")()
    with pytest.raises(LirError, match=r"build: error: .*rtl/d\.v"):
        lutc.simulate("build")


def test_a_copied_moved_or_linked_build_is_verified() -> None:
    shutil.copytree("build", "copy")
    Path("copy/notes.txt").write_text("mine")
    Path("copy/rtl/mine.v").write_text("mine")
    Path("build").rename("moved")
    Path("link").symlink_to("moved")
    for place in ("copy", "moved", "link", "copy"):  # the bench's own products are no change
        assert "verified: 4 vectors" in simulated(0, place).output
