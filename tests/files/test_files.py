"""Files that come into being whole: the old one stays until the new one is complete."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import lutc
from lutc.cli import main
from lutc.files import writing
from lutc.text.print import print_design

TEXT = "lir 1\ndesign d(%x: s4[2]) -> (y = %y) {\n  %y = neg %x\n}\n"


@pytest.fixture(name="here", autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("d.lir").write_text(TEXT)
    np.save("x.npy", np.zeros((3, 2)))


class Full:
    """A file on a disk that is full after so many bytes."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def write(self, data: Any) -> int:
        self.file.write(bytes(data)[:5])
        raise OSError(errno.ENOSPC, "No space left on device")


def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(path: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        return limited(path, mode) if "w" in mode else open(path, mode, *arguments, **options)

    @contextmanager
    def limited(path: Any, mode: str) -> Iterator[Full]:
        with open(path, mode) as file:
            yield Full(file)

    monkeypatch.setattr(writing, "open", opened, raising=False)


def trained(write: str, path: str) -> None:
    from torch import nn

    from lutc import nn as lnn

    model = nn.Sequential(lnn.QLinear(2, 1, data={"fraction": 1})).eval()
    getattr(lnn, write)(model, path=path, shape=(2,))


WRITERS: dict[str, Callable[[], object]] = {
    "out.lir": lambda: ran("opt", "d.lir", "-p", "scalarize", "-o", "out.lir"),
    "y.npy": lambda: ran("run", "d.lir", "--input", "x.npy", "--output", "y.npy"),
    "y.npz": lambda: ran("run", "d.lir", "--input", "x.npy", "--output", "y.npz"),
    "c.npz": lambda: ran("run", "d.lir", "--input", "x.npy", "--output", "c.npz", "--codes"),
    "dump/01-scalarize.lir": lambda: ran("opt", "d.lir", "-p", "scalarize", "--dump", "dump"),
    "d.lir": lambda: ran("fmt", "d.lir"),
    "m.pt": lambda: trained("save", "m.pt"),
    "m.onnx": lambda: trained("export_onnx", "m.onnx"),
    "w.npy": lambda: print_design(constants(), folder=Path()),
}


def ran(*arguments: str) -> None:
    result = CliRunner().invoke(main, list(arguments))
    if result.exit_code:
        assert result.exit_code == 2
        raise OSError(result.stderr)


def constants() -> lutc.Design:
    b = lutc.Builder("d")
    b.output(
        "y", b.add(b.input("x", "s8[5000]"), b.const(b.constant("w", "s8[5000]", np.arange(5000) % 100)))
    )
    return b.design()


@pytest.mark.parametrize("name", WRITERS)
def test_on_a_full_disk_the_old_file_stays(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    if name.startswith("dump"):  # which replaces no more than what a dump has written
        Path("d.lir").write_text(TEXT.replace("design d", "design other"))
        WRITERS[name]()
        Path("d.lir").write_text(TEXT)
        old = Path(name).read_bytes()
    else:
        old = TEXT.replace("neg", "neg ").encode() if name == "d.lir" else b"what was there"
        Path(name).write_bytes(old)
    before = sorted(p.name for p in Path().rglob("*"))
    with monkeypatch.context() as full:
        full_disk(full)
        with pytest.raises(OSError, match="No space left on device") as wrong:
            WRITERS[name]()
    told = str(wrong.value)
    assert (
        (name in told or "dump/00-input.lir" in told) and "error: error" not in told and "-lutc-" not in told
    )
    assert Path(name).read_bytes() == old and sorted(p.name for p in Path().rglob("*")) == before
    WRITERS[name]()
    assert Path(name).read_bytes() != old


def test_permissions_links_and_streams() -> None:
    mask = os.umask(0o027)
    try:
        writing.write_text("new", "1")
        assert Path("new").stat().st_mode & 0o777 == 0o640
        os.chmod("new", 0o604)
        writing.write_text("new", "2")
        assert Path("new").stat().st_mode & 0o777 == 0o604 and Path("new").read_text() == "2"
    finally:
        os.umask(mask)
    Path("folder").mkdir()
    Path("folder/link").symlink_to("../new")
    writing.write_text("folder/link", "3")
    assert Path("folder/link").is_symlink() and Path("new").read_text() == "3"
    Path("dangling").symlink_to("made")
    writing.write_text("dangling", "4")
    assert Path("dangling").is_symlink() and Path("made").read_text() == "4"
    code = "from lutc.files.writing import write_text; write_text('/dev/stdout', 'said')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "said"
    with open("log", "w") as log:
        subprocess.run([sys.executable, "-c", code], stdout=log, check=True)
    assert Path("log").read_text() == "said"


def test_where_no_file_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("loop").symlink_to("loop")
    for place in ("missing/y.lir", ".", "d.lir/y.lir", "loop"):
        result = CliRunner().invoke(main, ["opt", "d.lir", "-p", "scalarize", "-o", place])
        assert result.exit_code == 2 and result.stderr.startswith(f"{place}: error: ")
    monkeypatch.setattr(os, "access", lambda *arguments: False)
    with pytest.raises(PermissionError, match="read-only"):
        writing.write_text("d.lir", "")
    assert Path("d.lir").read_text() == TEXT


@pytest.mark.parametrize("wrong", [KeyboardInterrupt, SystemExit, ValueError])
def test_an_end_in_the_middle_leaves_the_old_one(wrong: type[BaseException]) -> None:
    before = sorted(Path().iterdir())
    with pytest.raises(wrong), writing.written("d.lir") as file:
        file.write(b"half")
        raise wrong
    assert Path("d.lir").read_text() == TEXT and sorted(Path().iterdir()) == before


def test_what_a_killed_process_left_goes_and_what_a_living_one_writes_stays() -> None:
    code = (
        "import sys, time; from lutc.files.writing import written\n"
        "with written('d.lir') as f:\n f.write(b'half'); f.flush(); print('ready', flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", code]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as dead,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as living,
    ):
        for process in (dead, living):
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
        dead.send_signal(signal.SIGKILL)
        dead.wait()
        assert len(list(Path().glob(".d.lir*"))) == 2
        Path(".d.lir-lutc-mine").write_text("a user's")
        writing.write_text("d.lir", "whole")
        assert len(list(Path().glob(".d.lir*.part"))) == 1 and Path(".d.lir-lutc-mine").exists()
        living.kill()
    assert Path("d.lir").read_text() == "whole"
