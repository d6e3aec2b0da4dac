"""A sum by the carry chains that were found for its bits (`lutc.cmvm.compressor`)."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from lutc.cmvm.compressor import CompressorTree, Piece, Row
from lutc.ir.graph import Value
from lutc.ir.ops import Add, Add3, BitConcat, BitSlice, Number, Quant, Scale
from lutc.passes.rewriter import Rewriter
from lutc.types import Fixed, scalar


def compressed(
    rw: Rewriter, tree: CompressorTree, operands: Sequence[tuple[Value, int]], *, signed: bool
) -> Value:
    """The sum of values of which each is given with the column of its lowest bit, in steps of column 0."""
    rows = _Rows(rw, operands)
    for chain in tree.chains:
        total = _added(rw, [rows.row(row) for row in chain.rows])
        if total.type.scalar.width > chain.width:
            total = rw.make(Quant, total, scalar(Fixed(False, chain.width, -chain.low)))
        rows.items.append((total, chain.low))
    result = _scaled(rw, *rows.row(tree.result))
    if not signed:
        return result
    fmt = result.type.scalar
    whole = rw.make(Quant, result, scalar(Fixed(False, tree.width + fmt.frac, fmt.frac)))
    return rw.make(Quant, whole, scalar(Fixed(True, tree.width + fmt.frac, fmt.frac)))


def _added(rw: Rewriter, rows: list[tuple[Value, Fraction]]) -> Value:
    if len(rows) == 2:
        return rw.make(Add, *(_scaled(rw, *row) for row in rows))
    values, weights = zip(*rows, strict=True)
    return rw.make(Add3, values, weights)


def _scaled(rw: Rewriter, value: Value, power: Fraction) -> Value:
    return value if power == 1 else rw.make(Scale, value, power)


class _Rows:
    """Makes rows of the bits of items: the operands, the constant, the chains as they are appended."""

    def __init__(self, rw: Rewriter, operands: Sequence[tuple[Value, int]]) -> None:
        self.rw = rw
        self.items: list[tuple[Value | None, int]] = [*operands, (None, 0)]  # no value: a constant of ones

    def row(self, row: Row) -> tuple[Value, Fraction]:
        """An unsigned number and the power of two that moves its bits to their columns."""
        if not row:
            return self.rw.make(Number, Fraction(0)), Fraction(1)
        found: list[Value] = []
        for n, piece in enumerate(row):
            above = row[n + 1].low if n + 1 < len(row) else piece.high
            found.insert(0, _widened(self.rw, self._bits(piece), above - piece.low))
        whole = found[0] if len(found) == 1 else self.rw.make(BitConcat, tuple(found))
        return whole, Fraction(2) ** (row[0].low + whole.type.scalar.frac)

    def _bits(self, piece: Piece) -> Value:
        """The bits of one piece, wherever the point stands."""
        width = piece.high - piece.low
        item, column = self.items[piece.item]
        if item is None:
            return self.rw.make(Number, Fraction((1 << width) - 1))
        low = piece.low - column
        value = _widened(self.rw, item, low + width)
        if not low and not value.type.scalar.signed and value.type.scalar.width == width:
            return value
        return self.rw.make(BitSlice, value, low + width - 1, low)


def _widened(rw: Rewriter, value: Value, width: int) -> Value:
    """The same number, its sign repeated, in no fewer bits."""
    fmt = value.type.scalar
    if fmt.width >= width:
        return value
    return rw.make(Quant, value, scalar(Fixed(fmt.signed, width, fmt.frac)))
