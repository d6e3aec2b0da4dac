"""Compressor trees of carry chains: which bits of a sum's operands each chain of three rows adds.

A chain takes any three bits of a column, whichever operands they are of, and gives one bit of each column it covers,
and two above. As in Dadda's multipliers ("Some schemes for parallel multipliers", 1965), a chain covers only those
columns that are too high for what the levels after it can take, `3**levels` bits: narrow operands then share rows,
and the carries that come out of one chain fill the gaps of the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from lutc.cmvm.network import balanced
from lutc.cmvm.order import Operand
from lutc.types import holding

ROWS = 3


@dataclass(frozen=True)
class Piece:
    """The bits of columns `low` to `high - 1` of an item: an operand, the constant, or an earlier chain."""

    item: int
    low: int
    high: int


Row = tuple[Piece, ...]  # pieces from the lowest column up, with gaps


@dataclass(frozen=True)
class Chain:
    """The sum of up to three rows; it never has more than `width` bits from column `low` on, or those above drop."""

    rows: tuple[Row, ...]
    low: int
    width: int


@dataclass(frozen=True)
class CompressorTree:
    """Chains to make one after the other, and the row they leave.

    Items are numbered: the operands, the constant (`constant`, of `width` columns), the chains. The result is the
    sum modulo `2**width`; `luts` is what the chains take.
    """

    chains: tuple[Chain, ...]
    result: Row
    constant: int
    width: int
    luts: int


@dataclass(eq=False)
class _Item:
    """Numbers from 0 to `hi`, whose bits from column `low` on are there after `level` chains."""

    number: int
    low: int
    hi: int
    level: int

    @property
    def top(self) -> int:
        return self.hi.bit_length()

    def most(self, mask: int) -> int:
        """The largest number that these bits of it make."""
        best = self.hi & mask
        for place in range(self.hi.bit_length()):
            if self.hi >> place & 1:
                best = max(best, ((self.hi >> place) - 1 << place | (1 << place) - 1) & mask)
        return best


@dataclass(eq=False)
class _Open:
    """A chain on its way up the columns."""

    low: int
    rows: list[list[tuple[_Item, int, int]]] = field(default_factory=lambda: [[], [], []])
    last: int = 0  # bits taken in the last column
    top: int = 0  # one above the last column

    def take(self, column: int, bits: list[_Item]) -> list[_Item]:
        """Add up to three of the bits of a column; the others.

        Those first whose lower neighbours are here, then those of items that begin here and reach farthest: rows of
        few pieces.
        """
        rows = list(range(ROWS))
        for row in list(rows):
            if self.rows[row] and self.rows[row][-1][2] == column and self.rows[row][-1][0] in bits:
                item, low, _ = self.rows[row][-1]
                self.rows[row][-1] = item, low, column + 1
                bits.remove(item)
                rows.remove(row)
        fresh = sorted(bits, key=lambda i: (column != i.low, -i.top, i.number))[: len(rows)]
        for row, item in zip(rows, fresh, strict=False):
            self.rows[row].append((item, column, column + 1))
            bits.remove(item)
        self.last = ROWS - len(rows) + len(fresh)
        self.top = column + 1
        return bits

    def hi(self) -> int:
        """The largest sum."""
        masks: dict[_Item, int] = {}
        for row in self.rows:
            for item, low, high in row:
                masks[item] = masks.get(item, 0) | (1 << high) - (1 << low)
        return sum(item.most(mask) for item, mask in masks.items())


@lru_cache(maxsize=1 << 14)
def compressor_tree(operands: tuple[Operand, ...]) -> CompressorTree | None:
    """The chains for a sum of which nothing is subtracted, no deeper than it has to be; None if this finds none."""
    if any(o.sign < 0 for o in operands):
        return None
    width = holding(sum(o.lo for o in operands), sum(o.hi for o in operands), 0).width
    items: list[_Item] = []
    constant = 0
    for number, o in enumerate(operands):
        if o.lo == o.hi:
            constant += o.lo
        elif o.lo >= 0:
            items.append(_Item(number, o.low, o.hi, o.level))
        elif o.hi >= 0:  # its sign goes all the way up
            items.append(_Item(number, o.low, (1 << width) - 1, o.level))
        else:  # its sign is no bit, but a constant
            sign = 1 << o.top - 1
            items.append(_Item(number, o.low, o.hi + sign, o.level))
            constant -= sign
    constant &= (1 << width) - 1
    columns: list[list[_Item]] = [[i for i in items if i.low <= c < i.top] for c in range(width)]
    ones = _Item(len(operands), 0, constant, 0)
    for column, bits in enumerate(columns):
        if constant >> column & 1:
            bits.append(ones)
    made: list[Chain] = []
    luts = 0
    depth = balanced((o.level for o in operands), ROWS)
    for level in range(1, depth + 1):
        opened = _level(columns, level, depth)
        if opened is None:
            return None
        for chain in opened:
            item = _Item(len(operands) + 1 + len(made), chain.low, min(chain.hi(), (1 << width) - 1), level)
            for column in range(chain.low, item.top):
                columns[column].append(item)
            rows = tuple(
                tuple(Piece(i.number, low, high) for i, low, high in row) for row in chain.rows if row
            )
            made.append(Chain(rows, chain.low, item.top - chain.low))
            luts += chain.top - chain.low + (chain.last == ROWS and item.top > chain.top)
    if any(len(bits) > 1 for bits in columns):
        return None
    return CompressorTree(tuple(made), _row(columns), constant, width, luts)


def _level(columns: list[list[_Item]], level: int, depth: int) -> list[_Open] | None:
    """The chains of one level; what they take is gone from the columns. None if a column stays too high."""
    room = ROWS ** (depth - level)
    going: list[_Open] = []
    done: list[tuple[_Open, int]] = []  # with one above the highest bit of each
    for column, bits in enumerate(columns):
        ready = [i for i in bits if i.level < level]
        late = [i for i in bits if i.level >= level]
        taken = sum(column < top for _, top in done) + sum(int(ROWS ** (i.level - level)) for i in late)
        count = 0  # chains that cover this column: as few as leave no more than there is room for
        while taken + max(len(ready) - ROWS * count, 0) + max(count, len(going)) > room:
            if ROWS * count >= len(ready) and count >= len(going):
                return None
            count += 1
        while len(going) > count:
            chain = going.pop()
            done.append((chain, chain.hi().bit_length()))
        going += [_Open(column) for _ in range(count - len(going))]
        for chain in going:
            ready = chain.take(column, ready)
        columns[column] = late + ready
    return [chain for chain, _ in done] + going


def _row(columns: Sequence[list[_Item]]) -> Row:
    """The bits that are left, one a column at most."""
    pieces: list[Piece] = []
    for column, bits in enumerate(columns):
        for item in bits:
            if pieces and (pieces[-1].item, pieces[-1].high) == (item.number, column):
                pieces[-1] = Piece(item.number, pieces[-1].low, column + 1)
            else:
                pieces.append(Piece(item.number, column, column + 1))
    return tuple(pieces)
