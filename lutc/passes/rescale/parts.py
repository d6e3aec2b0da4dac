"""The product as a sum of tables: one for each few bits of the operand, all entries rounded by themselves.

A LUT for two bits of a table whose key has five is what an adder of shifted operands is made of, too; but with rounded
entries far fewer bits after the point are enough. A multiplier m / 2**s that errs by e makes the product err by x*e, so
s has about as many bits as x and the answer together; an entry errs by 2**-s whatever x is (Chapman, "Fast integer
multipliers fit in FPGAs", 1993; Brisebarre, de Dinechin and Muller, "Integer and floating-point constant multipliers
for FPGAs", 2008).

The proof: with a slope M, all offsets from `reach` up to `stay` are right (see `multiplier`). The entries of the
highest part take in `reach`, and all are rounded upwards. So the sum is the product with the smallest offset, and an
error from 0 to the sum of each table's largest, which is to be less than `stay - reach`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from lutc.cmvm.price import price
from lutc.passes.rescale.line import Stairs
from lutc.passes.rescale.multiplier import Demands, right
from lutc.target import Target
from lutc.types import Fixed, holding


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
def in_parts(stairs: Stairs, source: Fixed, target: Target) -> Parts | None:
    """The operand's bits in as few parts as tables of a LUT's inputs ask for; None where no sum is right."""
    falls = stairs.line.slope < 0
    rising = stairs.mirrored() if falls else stairs
    known = right(rising)
    if known is None:
        return None
    asked = known.asked
    slope = max((rising.line.slope, (known.low + known.high) / 2), key=lambda m: _room(asked, m))
    cuts = _cuts(source.width, target.lut_inputs - target.fractured)
    shift = max((1 / _room(asked, slope)).__floor__().bit_length() - 2, 0)
    while True:
        found = _rounded(asked, -slope if falls else slope, cuts, source, shift)
        if found:
            return Parts(found, shift, *_ends(asked, rising, slope))
        shift += 1


def _ends(asked: Demands, stairs: Stairs, slope: Fraction) -> tuple[int, int]:
    """The least and the most that the floor may be: an answer where none is stopped, else what the error allows."""
    times, power = slope.numerator, slope.denominator
    least = stairs.answer(stairs.lo)
    if stairs.least is not None:
        least = (stairs.lo * times + asked.reach(times, power)[0]) // power
    most = stairs.answer(stairs.hi)
    if stairs.most is not None:
        most = (stairs.hi * times + asked.stay(times, power)[0] - 1) // power
    return least, most


def _room(asked: Demands, slope: Fraction) -> Fraction:
    """How far the offsets reach that are right with a slope."""
    times, power = slope.numerator, slope.denominator
    return Fraction(asked.stay(times, power)[0] - asked.reach(times, power)[0], power)


def _cuts(width: int, most: int) -> list[tuple[int, int]]:
    """The lowest bit and the width of each part: the highest are the widest, for they leave the least to the others."""
    return [(max(high - most, 0), min(high, most)) for high in range(width, 0, -most)]


def _rounded(
    asked: Demands, slope: Fraction, cuts: Sequence[tuple[int, int]], source: Fixed, shift: int
) -> tuple[Part, ...] | None:
    """The parts with so many bits after the point, if that is enough."""
    times, power = slope.numerator, slope.denominator
    reach, stay = asked.reach(abs(times), power)[0], asked.stay(abs(times), power)[0]
    found, error = [], 0
    for first, (low, width) in enumerate(cuts):
        codes = [
            v - (1 << width) if source.signed and not first and v >> (width - 1) else v
            for v in range(1 << width)
        ]
        exact = [((v << low) * times + (0 if first else reach)) << shift for v in codes]
        entries = [-(-e // power) for e in exact]
        error += max(n * power - e for n, e in zip(entries, exact, strict=True))
        found.append(Part(low, width, tuple(entries)))
    return tuple(found) if error < (stay - reach) << shift else None
