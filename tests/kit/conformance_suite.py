"""The texts of ir_spec/conformance/, and what is expected of each; see the README there."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "ir_spec" / "conformance"
PLACE = re.compile(r"^(?:error (?P<plain>\d+)\b|.*?:(?P<line>\d+)(?::\d+)?: error\b)", re.M)


@dataclass(frozen=True)
class Case:
    path: Path
    rule: str  # a chapter, # and the anchor of a heading in it, perhaps " rule N"
    valid: bool
    line: int | None = None  # of the error, where the specification says a place

    @property
    def name(self) -> str:
        return f"{self.path.parent.name}/{self.path.stem}"

    def wrong(self, refused: bool, line: int | None) -> str | None:
        """What is wrong with an implementation's answer, None if nothing is."""
        if self.valid:
            return f"refused, for line {line}" if refused else None
        if not refused:
            return "accepted"
        return f"line {self.line} is wrong, not {line}" if self.line and line != self.line else None


def cases() -> Iterator[Case]:
    for path in sorted(FOLDER.glob("*/*.lir")):
        text = path.read_text(encoding="utf-8")
        found = re.match(r"# rule: (.*)\n", text)
        if not found:
            raise ValueError(f"{path} begins without its rule")
        marks = [(n, line) for n, line in enumerate(text.split("\n"), 1) if "# error" in line]
        valid = path.parent.name == "valid"
        if len(marks) != (not valid):
            raise ValueError(f"{path} has {len(marks)} lines that are marked as wrong")
        line = None if valid or marks[0][1].startswith("#") else marks[0][0]
        yield Case(path, found[1], valid, line)


def asked(command: Sequence[str], case: Case, seconds: int = 60) -> str | None:
    """Run a command on a text: what is wrong with its answer, None if nothing is."""
    try:
        done = subprocess.run(
            [*command, str(case.path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {seconds} seconds"
    if not 0 <= done.returncode <= 125:
        return f"it died, with exit code {done.returncode}"
    place = PLACE.search(done.stdout)
    if done.returncode and not place:
        return f"refused without a place: {done.stdout[-200:]}" if case.valid or case.line else None
    return case.wrong(done.returncode != 0, int(place["plain"] or place["line"]) if place else None)
