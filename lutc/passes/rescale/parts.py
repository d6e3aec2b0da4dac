"""The product as a sum of tables: one for each few bits of the operand, the highest of which knows what the others err.

A LUT for two bits of a table whose key has five is what an adder of shifted operands is made of, too; but with rounded
entries far fewer bits after the point are enough. A multiplier m / 2**s that errs by e makes the product err by x*e, so
s has about as many bits as x and the answer together; an entry errs by 2**-s whatever x is (Chapman, "Fast integer
multipliers fit in FPGAs", 1993; Brisebarre, de Dinechin and Muller, "Integer and floating-point constant multipliers
for FPGAs", 2008).

The entries of the lower parts are the product's, rounded down, so that their sum never falls where the line rises. What
an entry of the highest part may be is then known from the codes with its bits: for each of them with the answer w,
`w <= entry + lower < w + 1`, one side alone where the answer is an end of the format. A sum of rounded entries rises
with the code, so the codes to look at are those where the answer changes, and those before. The codes of one entry are
few, the room they leave is wide, and no entry is bound by the others: that takes fewer bits than one slope and one
offset that are right for all, and it asks nothing of the rounding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np

from lutc.cmvm.price import price
from lutc.passes.rescale.line import Stairs
from lutc.passes.rescale.multiplier import roundest
from lutc.target import Target
from lutc.types import Fixed, Ints, holding

_MOST_CHANGES = 1 << 16  # of the answer: the codes are looked at one by one
_MOST_BITS = 40  # of an operand
_LONGEST = 60  # bits of a sum
_OPEN = 1 << 62  # a side without a bound


@dataclass(frozen=True)
class Part:
    """Some bits of an operand, and what they add, by the number that they read, in steps of the sum."""

    low: int
    width: int
    entries: tuple[int, ...]

    @property
    def format(self) -> Fixed:
        return holding(min(*self.entries, 0), max(*self.entries, 0), 0)


@dataclass(frozen=True)
class Parts:
    """`floor(sum of the parts / 2**shift)` is the answer, stopped; it is one of `least` to `most`."""

    parts: tuple[Part, ...]
    shift: int
    least: int
    most: int

    def luts(self, target: Target, most: int) -> float:
        """The tables and the carry chains, of `most` operands each, that add them."""
        tables = sum(target.table_luts(p.width, p.format.width) for p in self.parts)
        extents = {i: (max(p.entries) - min(p.entries), 0) for i, p in enumerate(self.parts)}
        return tables + price([(i, 1) for i in extents], extents, most)


@lru_cache(maxsize=1 << 12)
def in_parts(stairs: Stairs, source: Fixed, target: Target, most: int) -> Parts | None:
    """The cheapest sum of as few tables as LUTs ask for; None where answers change too often or are too long."""
    changes = min(abs(stairs.answer(stairs.hi) - stairs.answer(stairs.lo)), stairs.hi - stairs.lo)
    if changes > _MOST_CHANGES or source.width > _MOST_BITS or _longest(stairs, source) >= _LONGEST:
        return None
    answers = _Answers.of(stairs)
    found = [parts for cuts in _cuts(source.width, target) if (parts := _shortest(answers, cuts, source))]
    return min(found, key=lambda p: p.luts(target, most), default=None)


@dataclass(frozen=True)
class _Answers:
    """What to know of stairs: the codes between which the answer is one, and the answers to these."""

    stairs: Stairs
    codes: Ints
    answers: Ints

    @staticmethod
    def of(stairs: Stairs) -> _Answers:
        lo, hi = stairs.lo, stairs.hi
        first, last = stairs.answer(lo), stairs.answer(hi)
        if hi - lo < abs(last - first):
            codes, answers = np.arange(lo, hi + 1), stairs.line.wanted(lo, hi)
            answers = np.clip(answers, min(first, last), max(first, last))
        else:
            steps = [(lo, first), *stairs.steps()]
            codes, answers = np.array(steps, dtype=np.int64).T
        return _Answers(stairs, codes.astype(np.int64), answers.astype(np.int64))

    def ends(self, low: int) -> tuple[Ints, Ints]:
        """The first and the last code of each answer among those with the same bits from `low` up; their answers."""
        lo, hi = self.stairs.lo, self.stairs.hi
        blocks = np.arange((lo >> low) + 1, (hi >> low) + 1, dtype=np.int64) << low
        starts = np.concatenate([self.codes, blocks])
        codes = np.unique(np.concatenate([starts, starts - 1, [hi]]))
        codes = codes[codes >= lo]
        return codes, self.answers[np.searchsorted(self.codes, codes, side="right") - 1]


def _cuts(width: int, target: Target) -> Iterator[list[tuple[int, int]]]:
    """The lowest bit and the width of each part: the highest are the widest, for they leave the least to the others.

    A highest part as wide as a whole LUT costs twice as much a bit, and may save a part.
    """
    most = target.lut_inputs - target.fractured
    for first in sorted({most, target.lut_inputs}):
        rest = width - first
        if rest <= 0:
            continue  # one table, and no sum
        yield [(rest, first), *((max(high - most, 0), min(high, most)) for high in range(rest, 0, -most))]


def _longest(stairs: Stairs, source: Fixed) -> int:
    """The bits before the point: of the answers, and of what all bits of the operand add together."""
    product = int(abs(stairs.line.slope) * (1 << source.width)) + 1
    return max(abs(stairs.answer(stairs.lo)), abs(stairs.answer(stairs.hi)), product).bit_length() + 1


def _shortest(answers: _Answers, cuts: Sequence[tuple[int, int]], source: Fixed) -> Parts | None:
    """The parts with the fewest bits after the point that are enough."""
    stairs = answers.stairs
    ends = answers.ends(cuts[0][0])
    for shift in range(_LONGEST - _longest(stairs, source)):
        found = _rounded(stairs, ends, cuts, source, shift)
        if found:
            return found
    return None


def _rounded(
    stairs: Stairs, ends: tuple[Ints, Ints], cuts: Sequence[tuple[int, int]], source: Fixed, shift: int
) -> Parts | None:
    """The parts with so many bits after the point, if that is enough."""
    codes, answers = ends
    (below, width), *others = cuts
    lower = [Part(low, wide, _product(stairs.line.slope, low, wide, shift)) for low, wide in others]
    rest = _total(lower, codes & ((1 << below) - 1))
    reach = np.where(_free(answers, stairs.least), -_OPEN, (answers << shift) - rest)
    stay = np.where(_free(answers, stairs.most), _OPEN, ((answers + 1) << shift) - 1 - rest)
    keys = codes >> below
    first = np.flatnonzero(np.diff(keys, prepend=keys[0] - 1))
    reach, stay = np.maximum.reduceat(reach, first), np.minimum.reduceat(stay, first)
    if (reach > stay).any():
        return None
    known = [_between(int(a), int(b)) for a, b in zip(reach, stay, strict=True)]
    lowest = int(keys[0])
    entries = []
    for pattern in range(1 << width):
        key = pattern - (1 << width) if source.signed and pattern >> (width - 1) else pattern
        entries.append(known[min(max(key - lowest, 0), len(known) - 1)])
    sums = (np.array(known, dtype=np.int64)[keys - lowest] + rest) >> shift
    return Parts((Part(below, width, tuple(entries)), *lower), shift, int(sums.min()), int(sums.max()))


def _free(answers: Ints, end: int | None) -> Ints:
    """Which answers are an end of the format, beyond which the sum may be what it likes."""
    return np.full(len(answers), False) if end is None else answers == end


def _between(least: int, most: int) -> int:
    """An entry: where one side is open, the other, so that the sum is not longer than it has to be."""
    if least == -_OPEN:
        return most
    return least if most == _OPEN else roundest(least, most)


def _product(slope: Fraction, low: int, width: int, shift: int) -> tuple[int, ...]:
    """What some bits add to the product, rounded down, in steps of `2**-shift`; if it falls, from the last one on."""
    top, bottom = abs(slope.numerator) << low + shift, slope.denominator
    found = [v * top // bottom for v in range(1 << width)]
    return tuple(found if slope > 0 else [found[-1] - f for f in found])


def _total(parts: Sequence[Part], codes: Ints) -> Ints:
    """The sum of some parts, by the bits of all of them."""
    total = codes * 0
    for part in parts:
        total = total + np.array(part.entries, dtype=np.int64)[codes >> part.low & ((1 << part.width) - 1)]
    return total
