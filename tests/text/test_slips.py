"""Slips of the hand, and what is said of each: the place, what is wrong, and the next step.

The files of `slips/` hold them, a blank line between two. Below the line with the mistake stand a `^` at its column
with the message, and a `=` with the help. Those of `statements.txt` are made in the design below.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from lutc.diagnostics import LirError
from lutc.text.parse import parse

FOLDER = Path(__file__).parent / "slips"

HEAD = """lir 1
const @w: s4[2, 2] = [1, 2, 3, 4]
table @t: u3 -> u2 = [0, 1, 2, 3, 0, 1, 2, 3]
func @f(%a: s4) -> %r {
  %r = neg %a
}
design d(%x: s4[2], %z: s4[2], %u: u3) -> (y = %y) {
"""


class Slip(NamedTuple):
    """A text with a mistake at a line and a column (from 1), the message, and the next step."""

    text: str
    line: int
    column: int
    message: str
    help: str | None


def slips(name: str) -> list[Slip]:
    found = []
    for block in re.split(r"\n\n+", (FOLDER / name).read_text().rstrip("\n")):
        lines = block.split("\n")
        at, mark = next((i, m) for i, line in enumerate(lines) if (m := re.fullmatch(r"( *)\^ (.*)", line)))
        help = re.fullmatch(r" *= (.*)", lines[at + 1]) if at + 1 < len(lines) else None
        rest = lines[at + 1 + (help is not None) :]
        text = "\n".join([*lines[:at], *rest]) + "\n"
        found.append(Slip(text, at, len(mark[1]) + 1, mark[2], help[1] if help else None))
    return found


STATEMENTS = slips("statements.txt")
FILES = slips("files.txt")


def said(text: str) -> tuple[int, int, str, str | None]:
    """The first thing that is said of a wrong text."""
    with pytest.raises(LirError) as e:
        parse(text, "d.lir")
    first = e.value.diagnostics[0]
    assert first.span is not None
    return first.span.line, first.span.column, first.message, first.help


@pytest.mark.parametrize("slip", STATEMENTS, ids=lambda s: s.text.strip())
def test_slip_in_a_statement(slip: Slip) -> None:
    before, text = HEAD.count("\n"), re.sub("^", "  ", slip.text.rstrip("\n"), flags=re.M)
    expected = (slip.line + before, slip.column + 2, slip.message, slip.help)
    assert said(f"{HEAD}{text}\n}}\n") == expected


@pytest.mark.parametrize("slip", FILES, ids=lambda s: s.message)
def test_slip_in_a_file(slip: Slip) -> None:
    assert said(slip.text) == slip[1:]


def test_every_message_has_a_remedy() -> None:
    """A next step, or a message that says what is right."""
    found = [*STATEMENTS, *FILES]
    assert len(found) >= 130
    assert not [
        s for s in found if not s.help and "is written" not in s.message and "one of each" not in s.message
    ]
