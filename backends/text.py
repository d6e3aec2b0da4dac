"""Lines of text for both printers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from lutc.rtl.nets import Mul

WIDTH = 110
_BLANKS = re.compile("( +)")


def comment(mark: str, text: str, indent: str = "") -> list[str]:
    """``text`` as comment lines. ASCII, because not every HDL tool reads anything else, even there."""
    plain = text.encode("ascii", "replace").decode()
    return [f"{indent}{mark} {line.rstrip()}".rstrip() for line in plain.splitlines()]


def header(mark: str, text: str, notes: Mapping[str, str]) -> list[str]:
    """The comment a file starts with."""
    lines = comment(mark, text)
    if notes:
        lines.append(mark)
    room = max(map(len, notes), default=0) + 1
    for key, note in notes.items():
        lines += comment(mark, f"{key + ':':{room}} {' '.join(note.split())}")
    return lines


def fold(line: str) -> list[str]:
    """A line of code, continued on further lines where it is too long. A NUL is a blank not to break at."""
    if len(line) <= WIDTH:
        return [line.replace("\0", " ")]
    indent = line[: len(line) - len(line.lstrip())]
    first, *words = _BLANKS.split(line.strip())  # a word, and by turns blanks and a word
    lines, current = [], indent + first
    for blanks, word in zip(words[::2], words[1::2], strict=True):
        if len(current) + len(blanks) + len(word) <= WIDTH:
            current += blanks + word
        else:
            lines.append(current.replace("\0", " "))
            current = f"{indent}    {word}"
    return [*lines, current.replace("\0", " ")]


def aligned(rows: Iterable[Sequence[str]], indent: str, end: str = "", *, folded: bool = True) -> list[str]:
    """Each row's cells under those of the row above, then ``end``; where too long, ``folded`` or as they are."""
    table = [list(row) for row in rows]
    if not table:
        return []
    # The last cell ends the line, so its width does not matter.
    widths = [max(len(cell) for cell in column) for column in zip(*(row[:-1] for row in table), strict=True)]
    lines: list[str] = []
    for row in table:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)] + row[-1:]
        line = indent + " ".join(cell for cell in cells if cell).rstrip() + end
        lines += fold(line) if folded else [line]
    return lines


def steered(product: Mul) -> list[tuple[str, str]]:
    """The attributes that tell synthesis whether a product is for DSP blocks, as (name, value).

    ``use_dsp`` is Vivado's, ``syn_multstyle`` that of Synplify and of Lattice's LSE. Yosys knows neither.
    """
    if product.dsp:
        return [("use_dsp", "yes"), ("syn_multstyle", "block_mult")]
    return [("use_dsp", "no"), ("syn_multstyle", "logic")]


def in_rows(cells: Sequence[str], indent: str) -> list[str]:
    """Cells of equal width, as many to a line as a power of two and the line's width allow."""
    room = (WIDTH - len(indent)) // (max(map(len, cells)) + 1)
    count = min(16, 1 << (max(1, room).bit_length() - 1))
    return [indent + " ".join(cells[start : start + count]) for start in range(0, len(cells), count)]


def with_comments(lines: Sequence[str], comments: Sequence[str], separator: str, mark: str) -> list[str]:
    """Lines of a list, ``separator`` between them, and where there is a comment, that at the end."""
    ends = [separator] * (len(lines) - 1) + [""]
    room = max(map(len, lines)) + len(separator)
    result = []
    for line, end, text in zip(lines, ends, comments, strict=True):
        note = " ".join(comment(mark, " ".join(text.split())))
        result.append(f"{line + end:{room}}  {note}" if text else line + end)
    return result
