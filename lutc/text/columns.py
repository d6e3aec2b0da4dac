"""How the text is set: aligned statements, heads that break into lines, numbers in rows. `print` and `fmt` share it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from lutc.types import Type

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
        *lines, line = broken(line) if row.right else [line]
        yield from lines
        trail = f"{row.origin}  {row.comment}" if row.origin and row.comment else row.origin or row.comment
        yield f"{line.ljust(0 if lines else column)}  {trail}" if trail else line


def broken(line: str) -> list[str]:
    """A statement's line, broken behind commas where it is longer than a line may be."""
    if len(line) <= WIDTH or ", " not in line:
        return [line]
    first, *parts = line.split(", ")
    lines = [first]
    for part in parts:
        if len(lines[-1]) + len(part) + 3 <= WIDTH:
            lines[-1] += f", {part}"
        else:
            lines[-1] += ","
            lines.append(f"{INDENT * 3}{part}")
    return lines


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


def rows(kind: Type, *, table: bool) -> list[int] | None:
    """The lengths of the rows in which the numbers of a constant, or of a table with these keys, stand.

    A matrix has its own rows, a tensor of tables one for each table; None where nothing asks for rows.
    """
    if table:
        return [1 << f.width for f in kind.formats] if kind.shape and kind.size > 1 else None
    if len(kind.shape) < 2 or not kind.size:
        return None
    return [kind.shape[-1]] * (kind.size // kind.shape[-1])


def _fitting(width: int) -> int:
    """How many cells of a width fit in a line."""
    return max((WIDTH - len(INDENT)) // (width + 2), 1)


def fits(words: Sequence[str], count: int) -> bool:
    """Whether so many of these numbers fit in a line, whichever they are."""
    signed = any(w.startswith("-") for w in words)
    width = max((len(w) + (signed and not w.startswith("-")) for w in words), default=1)
    return count <= _fitting(width)


def numbers(
    opening: str, words: Sequence[str], lengths: Sequence[int] | None, *, scalar: bool = False
) -> Iterable[str]:
    """A constant or a table: `opening = [`, its numbers in rows, `]`; a scalar constant is its one number.

    `lengths` are those of the rows, which are kept if they fit in a line; None leaves the choice open. Few numbers
    stay in the opening's line.
    """
    if scalar and len(words) == 1:
        yield f"{opening} = {words[0]}"
        return
    if len(words) <= 8 and (lengths is None or len(lengths) == 1):
        line = f"{opening} = [{', '.join(words)}]"
        if len(line) <= WIDTH:
            yield line
            return
    distinct = set(words)
    signed = any(w.startswith("-") for w in distinct)
    cells = {w: w if w.startswith("-") or not signed else f" {w}" for w in distinct}
    width = max(map(len, cells.values()), default=1)
    padded = {w: cell.ljust(width) for w, cell in cells.items()}
    fit = _fitting(width)
    if lengths is None or max(lengths) > fit:
        fit = next((n for n in (16, 8, 4, 2) if n <= fit), 1)
    if lengths is None:
        lengths = [len(words)]
    yield f"{opening} = ["
    start = 0
    for length in lengths:
        stop = min(start + length, len(words))
        for at in range(start, stop, fit):
            yield INDENT + "  ".join([padded[w] for w in words[at : min(at + fit, stop)]]).rstrip()
        start = stop
    for at in range(
        start, len(words), fit
    ):  # more numbers than the type asks for, which is somebody else's concern
        yield INDENT + "  ".join([padded[w] for w in words[at : at + fit]]).rstrip()
    yield "]"
