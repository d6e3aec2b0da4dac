"""How many bits of a carry chain take a LUT: what sums are priced by before they are built, and after."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lutc.types import Fixed

# An operand of a sum: the place of its lowest bit, and one above its highest; whether it is subtracted, and whether
# it may be below 0.
Row = tuple[int, int, bool, bool]


def row(fmt: Fixed, frac: int, subtracted: bool) -> Row:
    """An operand of format `fmt` in a sum in steps of `2**-frac`."""
    low = frac - fmt.frac
    return low, low + fmt.width, subtracted, fmt.signed


def chain_bits(rows: Iterable[Row], top: int) -> int:
    """The bits that take a LUT in a chain of two or three operands, whose sum has its highest bit below place `top`.

    Below the second operand's lowest bit there is only one operand: its bits pass by, if it is added. Two that are
    subtracted take a place below the lowest, for the second 1 that completes a two's complement. Above the highest
    bit of numbers that have no sign only carries come out: of two, without a LUT; of three, the first has one. A number
    without a sign that ends below the others is no part of the chain.
    """
    rows = sorted(rows, key=lambda r: (r[0], not r[2]))
    while len(rows) > 1 and rows[0][1] <= rows[1][0] and not (rows[0][2] or rows[0][3]):
        rows = rows[1:]
    if len(rows) == 1:
        return top - rows[0][0] if rows[0][2] else 0
    low = rows[0][0] if rows[0][2] else rows[1][0]
    if not any(subtracted or signed for _, _, subtracted, signed in rows):
        tops = sorted(r[1] for r in rows)
        top = min(top, tops[-1] + (len(tops) > 2 and tops[-1] == tops[-2]))
    return max(top - low, 1) + (sum(r[2] for r in rows) == 2)
