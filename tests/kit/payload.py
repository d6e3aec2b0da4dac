"""What a hostile file carries: something that leaves a mark if it runs, and a command that must not let it."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from lutc.cli import main


class Payload:
    """Makes the folder `mark` when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = str(mark)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.mark,)


def refused(path: Path, mark: Path, *options: str) -> str:
    """The message of `lutc compile`, which has to end with exit code 2, and leave no mark."""
    done = CliRunner().invoke(main, ["compile", str(path), "-o", str(path.parent / "build"), *options])
    assert not mark.exists(), "the file ran what it carries"
    assert done.exit_code == 2, f"{done.output}\n{done.exc_info}"
    assert done.output.count("error: ") == 1, done.output
    return done.output


def rewritten(source: Path, target: Path, changes: Mapping[str, bytes | Callable[[bytes], bytes]]) -> Path:
    """A zip with members changed, added, or (None) left out; names are below the archive's own folder, if any."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        names = old.namelist()
        root = names[0].split("/")[0] + "/" if all("/" in n for n in names) else ""
        left = dict(changes)
        for name in names:
            change = left.pop(name.removeprefix(root), None)
            data = old.read(name)
            new.writestr(name, change(data) if callable(change) else data if change is None else change)
        for name, change in left.items():
            assert isinstance(change, bytes), name
            new.writestr(root + name, change)
    return target


def pickled(mark: Path) -> bytes:
    """A plain pickle that leaves the mark."""
    return pickle.dumps(Payload(mark))
