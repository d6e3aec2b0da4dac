"""The command where its streams are closed, full, or read by nobody: never the exit code of a wrong bit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CALL = [sys.executable, "-c", "from lutc.cli import command; command()"]
WORDS = {
    "targets": ["targets"],
    "ops": ["ops"],
    "passes": ["passes"],
    "help": ["--help"],
    "version": ["--version"],
    "help of a command": ["compile", "--help"],
    "check": ["check", *["d.lir"] * 2000],
    "fmt": ["fmt", "--check", "bad.lir"],
    "opt": ["opt", "d.lir", "-p", "scalarize"],
    "doctor": ["doctor"],
    "compile": ["compile", "d.lir", "-o", "b"],
}


@pytest.fixture(name="place")
def _place(tmp_path: Path) -> Path:
    (tmp_path / "d.lir").write_text("lir 1\ndesign d(%x: s4) -> (y = %y) {\n  %y = neg %x\n}\n")
    (tmp_path / "bad.lir").write_text("lir 1\ndesign   d(%x: s4) -> (y = %x) {\n}\n")
    return tmp_path


@pytest.mark.parametrize("words", WORDS.values(), ids=WORDS)
def test_a_pipe_that_nobody_reads(place: Path, words: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe:
        done = subprocess.run([*CALL, *words], cwd=place, stdout=pipe, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 141 and "rror" not in done.stderr and "Traceback" not in done.stderr
    assert "compile" not in words or "--help" in words or (place / "b" / "report.json").exists()


@pytest.mark.parametrize("words", [["compile", "none.lir"], ["nosuch"], ["targets"]], ids=" ".join)
def test_errors_that_nobody_reads(place: Path, words: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe:
        done = subprocess.run([*CALL, *words], cwd=place, stdout=pipe, stderr=pipe)
    assert done.returncode == 141


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("words", ["targets", "check d.lir", "compile d.lir -o b --verify --vectors 5"])
def test_closed_streams(place: Path, words: str, closed: str) -> None:
    line = f'exec "$0" -c "from lutc.cli import command; command()" {words} {closed}'
    done = subprocess.run(["sh", "-c", line, sys.executable], cwd=place, capture_output=True, text=True)
    assert (done.returncode, done.stderr.replace("\r", "")) == (0, "")
    assert "compile" not in words or (place / "b" / "report.json").exists()


def test_a_wrong_input_is_2_with_the_output_closed(place: Path) -> None:
    line = 'exec "$0" -c "from lutc.cli import command; command()" check none.lir >&-'
    done = subprocess.run(["sh", "-c", line, sys.executable], cwd=place, capture_output=True, text=True)
    assert done.returncode == 2 and "none.lir" in done.stderr and "Traceback" not in done.stderr
