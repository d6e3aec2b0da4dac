"""How the text is set: aligned statements, heads that break into lines, numbers in rows. `print` and `fmt` share it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

WIDTH = 100  # columns; what cannot be broken may be longer
LEFT = 30  # a target and its type longer than this stay out of the common column
INDENT = "  "


class Row(NamedTuple):
    """One line of a body: `left = right  trail`. Without a `right`, `left` is a line of its own, such as a comment."""

    left: str
    right: str = ""
    origin: str = ""
    comment: str = ""


def body(rows: Sequence[Row]) -> Iterable[str]:
    """The lines of a body: `=` in one column, origins and comments in one."""
    left = max((len(r.left) for r in rows if r.right and len(r.left) <= LEFT), default=0)
    code = [
        f"{INDENT}{r.left.ljust(left)} = {r.right}" if r.right else f"{INDENT}{r.left}".rstrip() for r in rows
    ]
    trailing = [
        len(c) for c, r in zip(code, rows, strict=True) if (r.origin or r.comment) and len(c) <= WIDTH
    ]
    column = max(trailing, default=0)
    for line, row in zip(code, rows, strict=True):
        trail = f"{row.origin}  {row.comment}" if row.origin and row.comment else row.origin or row.comment
        yield f"{line.ljust(column)}  {trail}" if trail else line


def head(opening: str, inputs: Sequence[str], arrow: str, outputs: Sequence[str] | None) -> list[str]:
    """The head of a block: `opening(inputs) -> (outputs) {`, in one line or with a line for each port.

    A function has no list of outputs; its result stands in `arrow`.
    """
    tail = f"({', '.join(outputs)}) {{" if outputs is not None else "{"
    line = f"{opening}({', '.join(inputs)}) {arrow} {tail}"
    if len(line) <= WIDTH:
        return [line]
    lines = [f"{opening}(", *_listed(inputs)]
    if outputs is None:
        return [*lines, f") {arrow} {{"]
    return [*lines, f") {arrow} (", *_listed(outputs), ") {"]


def _listed(ports: Sequence[str]) -> list[str]:
    return [f"{INDENT}{p}{',' if i + 1 < len(ports) else ''}" for i, p in enumerate(ports)]


def numbers(opening: str, words: Sequence[str], row: int | None) -> Iterable[str]:
    """A constant or a table: `opening = [`, its numbers in rows, `]`.

    `row` is the length of a matrix row, which is kept if it fits in a line; None leaves the choice open. Few numbers
    stay in the opening's line.
    """
    if len(words) <= 8 and (row is None or row == len(words)):
        line = f"{opening} = [{', '.join(words)}]"
        if len(line) <= WIDTH:
            yield line
            return
    distinct = set(words)
    signed = any(w.startswith("-") for w in distinct)
    cells = {w: w if w.startswith("-") or not signed else f" {w}" for w in distinct}
    width = max(map(len, cells.values()), default=1)
    padded = {w: cell.ljust(width) for w, cell in cells.items()}
    fit = max((WIDTH - len(INDENT)) // (width + 2), 1)
    if row is None or row > fit:
        fit = next((n for n in (16, 8, 4, 2) if n <= fit), 1)
        row = fit if row is None else max(row, 1)
    yield f"{opening} = ["
    for start in range(0, len(words), row):
        stop = min(start + row, len(words))
        for at in range(start, stop, fit):
            yield INDENT + "  ".join([padded[w] for w in words[at : min(at + fit, stop)]]).rstrip()
    yield "]"
