"""The designs after every pass, in a folder that tells its own files from a user's."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path

from lutc.diagnostics import error
from lutc.files.writing import write_text
from lutc.ir.graph import Design
from lutc.text.print import print_design

LIST = ".lutc-dump.json"
OURS = re.compile(r"\d\d+-[\w.-]+\.lir")


class Dump:
    """A folder that gets `00-input.lir`, `01-simplify.lir` and so on, listed with their digests.

    What an earlier dump wrote there is replaced, or goes at the `end`; what else is there stays. Raises LirError if a
    file stands in the way: one of an earlier dump that was edited since, or one of the user's own with such a name.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        earlier = self._earlier()
        there = sorted(p.name for p in folder.iterdir() if OURS.fullmatch(p.name))
        strange = [name for name in there if earlier.get(name) != _digest(folder / name)]
        if strange:
            raise error(
                f"holds {', '.join(strange[:3])}, which no dump wrote, or which was edited since",
                where=str(folder),
                help="move that away, or give another folder",
            )
        self.left = set(there)
        self.digests = {name: earlier[name] for name in there}

    def put(self, number: int, name: str, design: Design) -> None:
        """Write one design."""
        file, text = f"{number:02}-{name}.lir", print_design(design)
        write_text(self.folder / file, text)
        self.left.discard(file)
        self.digests[file] = hashlib.sha256(text.encode()).hexdigest()
        self._list()

    def end(self) -> None:
        """Remove what is left of an earlier dump."""
        for name in self.left:
            (self.folder / name).unlink(missing_ok=True)
            del self.digests[name]
        self._list()

    def _list(self) -> None:
        write_text(self.folder / LIST, json.dumps(self.digests, indent=1) + "\n")

    def _earlier(self) -> dict[str, str]:
        try:
            found = json.loads((self.folder / LIST).read_text("utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}


def dump_all(folder: Path, design: Design, stages: Sequence[tuple[str, Design]]) -> None:
    """Write a design, and what came after each pass."""
    dumped = Dump(folder)
    for number, (name, after) in enumerate([("input", design), *stages]):
        dumped.put(number, name, after)
    dumped.end()


def _digest(path: Path) -> str | None:
    """Of a plain file; nothing else was written by a dump."""
    if path.is_symlink() or not path.is_file():
        return None
    return hashlib.sha256(path.read_bytes()).hexdigest()
