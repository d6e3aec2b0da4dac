"""A text with every type that it leaves to be inferred: `lutc fmt --types`."""

from __future__ import annotations

from pathlib import Path

from lutc.diagnostics import LirError, Source
from lutc.ir.ops import Op
from lutc.text.edits import Edit, edited
from lutc.text.parse import read_design
from lutc.text.reader import read
from lutc.text.syntax import Block


def with_types(text: str, name: str = "<text>", folder: Path | None = None) -> str:
    """The text with a type behind every value that has none; nothing else moves. Raises LirError as `parse` does."""
    reading = read_design(text, name, folder)
    reading.whole()
    values = [v for body in reading.written.values() for v in body]
    types = {(v.span.line, v.span.column): v.type for v in values if isinstance(v, Op) and v.span}
    file = read(Source(name, text))
    if file.problems:
        raise LirError(*file.problems)
    edits: list[Edit] = []
    for part in file.parts:
        for s in part.statements if isinstance(part, Block) else ():
            end = s.target.end_pos
            if s.type is None and end is not None:
                edits.append((end, end, f": {types[s.target.line or 0, s.target.column or 0]}"))
    return edited(text, edits)
