"""Texts of lutc 0.1, written before the language was fixed, as texts of today: `lutc fmt --upgrade`.

What changed is listed in ir_spec/versions.md. Words that were renamed are read as they are, and `fmt` writes the new
ones; here is what would be an error, or a comment. Every change is an edit of the text at one place.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from lutc.diagnostics import Source, error
from lutc.ir.graph import Func, Value
from lutc.ir.same import same
from lutc.text import syntax
from lutc.text.arity import row_of
from lutc.text.edits import Edit, edited
from lutc.text.parse import parse, read_design
from lutc.text.reader import read
from lutc.text.syntax import Block, Statement

_RUN = r"^# run: (.*=>.*)$"
_PART = re.compile(r"^(const|table|func|design)\b", re.M)


def upgraded(text: str, name: str = "<text>", folder: Path | None = None) -> str:
    """A text of lutc 0.1 as it is written today; a text of today is given back as it is.

    Raises LirError for a text that neither reads, and rather than giving one that means anything else.
    """
    plain = _comments(text)
    plain = edited(plain, _reordered(plain, name))
    unsaid: list[tuple[Statement, str]] = []
    before = read_design(plain, name, folder, unsaid).whole()
    after = edited(plain, _said(unsaid))
    if (lost := same(before, parse(after, name, folder))) is not None:
        help = "this is a bug in lutc, please report it with the file; nothing was written"
        raise error(f"upgrading would change what this text says: {lost}", where=name, help=help)
    return after


def _comments(text: str) -> str:
    """With comments that meant something as the statements they are now."""
    header = place.end() if (place := re.search(r"^\s*lir\b.*\n?", text, re.M)) else 0
    first = place.start() if (place := _PART.search(text)) else len(text)
    notes = re.sub(
        r"^# note: (.*)$", lambda m: f"note {json.dumps(m[1].rstrip())}", text[header:first], flags=re.M
    )
    above = re.findall(_RUN, text[:header], re.M)  # where no statement may stand: they go below the header
    head = re.sub(rf"{_RUN}\n", "", text[:header], flags=re.M)
    runs = "".join(f"run {run}\n" for run in above)
    return head + runs + "".join(_outside(notes + text[first:]))


def _outside(text: str) -> Iterator[str]:
    """The lines of a text with `# run:` as a statement where it stands neither in a body nor in a list."""
    body, lists = False, 0
    for line in text.splitlines(keepends=True):
        code = re.sub(r'"(?:[^"\\\n]|\\.)*"|#.*', "", line).strip()
        yield line if body or lists else re.sub(_RUN, r"run \1", line, flags=re.M)
        lists += code.count("[") - code.count("]")
        body = (body or code.endswith("{")) and code != "}"


def _reordered(text: str, name: str) -> Iterator[Edit]:
    """Operands in the order of their operation's form, which was free among values and symbols."""
    file = read(Source(name, text))
    for part in file.parts:
        for s in part.statements if isinstance(part, Block) else ():
            row, given = row_of(s.keyword), syntax.operands(s.operands)
            if row is None or s.operands is None or "\n" in s.operands:
                continue
            values, symbols = (
                [g for g in given if (g[0] == "@") == is_symbol] for is_symbol in (False, True)
            )
            wanted = [slot for slot in row.slots if slot.kind is not Value]
            if len(symbols) != len([slot for slot in wanted if not slot.optional]):
                continue
            first = symbols if wanted and wanted[0].kind is Func else []
            order = [*first, *values, *([] if first else symbols)]
            if order != given and s.operands.start_pos is not None and s.operands.end_pos is not None:
                yield s.operands.start_pos, s.operands.end_pos, ", ".join(order)


def _said(unsaid: Iterable[tuple[Statement, str]]) -> Iterator[Edit]:
    words: dict[int, list[str]] = {}
    for s, attribute in unsaid:
        row, end = row_of(s.keyword), syntax.last_token(s).end_pos
        assert row is not None and end is not None
        default = row.attributes[attribute].default.value
        words.setdefault(end, []).append(f", {attribute}={default}")
    return ((end, end, "".join(found)) for end, found in words.items())
