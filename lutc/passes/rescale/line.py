"""What a `rescale` answers: a line through rational points, rounded, and stopped at the ends of a format."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from math import lcm

import numpy as np

from lutc.analysis.ranges import range_of
from lutc.ir.ops import Rescale
from lutc.lazy import lazy
from lutc.numbers import bounded, dtype, rounded, rounded_quotients
from lutc.types import Fixed, Ints, Overflow, Rounding

_OFFSETS = 16  # of those that are as good as each other, so many are tried


@dataclass(frozen=True)
class Line:
    """`x * slope + start`, to be rounded to an integer."""

    slope: Fraction
    start: Fraction
    round: Rounding

    def at(self, x: int) -> Fraction:
        return x * self.slope + self.start

    def whole(self, x: int) -> int:
        """The integer that code `x` is rounded to."""
        return rounded(self.at(x), self.round)

    def wanted(self, lo: int, hi: int) -> Ints:
        """`whole` of the codes `lo` to `hi`, all at once."""
        return _roundings(self, lo, hi)

    def first(self, answer: int) -> int:
        """The first code that is rounded to `answer` or more, of a line that rises.

        Rounding keeps order, so these are the numbers from some border on, with or without the border itself. In
        integers, without fractions, since it is asked for every answer.
        """
        match self.round:
            case Rounding.FLOOR:
                twice, within = 2 * answer, True
            case Rounding.CEIL:
                twice, within = 2 * answer - 2, False
            case Rounding.TOWARD_ZERO:
                twice, within = (2 * answer, True) if answer > 0 else (2 * answer - 2, False)
            case Rounding.AWAY:
                twice, within = (2 * answer - 2, False) if answer > 0 else (2 * answer, True)
            case _:
                twice, within = 2 * answer - 1, self._halves(answer)
        p, r, d = self._integers
        top, bottom = twice * d - 2 * r, 2 * p
        return -(-top // bottom) if within else top // bottom + 1

    def _halves(self, answer: int) -> bool:
        """Whether `answer - 1/2` is rounded to `answer`, where halves are what rounding is about."""
        match self.round:
            case Rounding.HALF_EVEN:
                return answer % 2 == 0
            case Rounding.HALF_AWAY:
                return answer > 0
            case Rounding.HALF_ZERO:
                return answer <= 0
        return self.round is Rounding.HALF_UP

    def mirrored(self) -> Line:
        """The same answers for the negative codes."""
        return replace(self, slope=-self.slope)

    @lazy
    def denominator(self) -> int:
        """D: all values are multiples of 1/D."""
        return lcm(self.slope.denominator, self.start.denominator)

    @lazy
    def _integers(self) -> tuple[int, int, int]:
        """The values are (x*p + r) / D: p, r and D."""
        d = self.denominator
        return int(self.slope * d), int(self.start * d), d


@lru_cache(maxsize=4)
def _roundings(line: Line, lo: int, hi: int) -> Ints:
    """See `Line.wanted`. The values are the integers `above` over D."""
    d = line.denominator
    slope, start = int(line.slope * d), int(line.start * d)
    widest = max(abs(lo), abs(hi), 1) * abs(slope) + abs(start) + d
    above = np.array(range(lo, hi + 1), dtype=dtype(widest.bit_length() + 1)) * slope + start
    return rounded_quotients(above, d, line.round)


@dataclass(frozen=True)
class Stairs:
    """The answers to the codes `lo` to `hi`: the rounded line, stopped at `least` and `most` where it passes them.

    An end that the line does not pass is None. Where the overflow wraps around, both are, and the answers are those
    before it.
    """

    line: Line
    lo: int
    hi: int
    least: int | None
    most: int | None

    @staticmethod
    def of(line: Line, lo: int, hi: int, to: Fixed, overflow: Overflow) -> Stairs:
        """The answers in a format."""
        ends = sorted((line.whole(lo), line.whole(hi)))
        if overflow is Overflow.WRAP:
            return Stairs(line, lo, hi, None, None)
        least, most = (bounded(end, to, overflow) for end in ends)
        return Stairs(line, lo, hi, least if ends[0] < least else None, most if ends[1] > most else None)

    def answer(self, x: int) -> int:
        """The answer to a code."""
        found = self.line.whole(x)
        found = found if self.least is None else max(found, self.least)
        return found if self.most is None else min(found, self.most)

    def mirrored(self) -> Stairs:
        """The same answers for the negative codes."""
        return replace(self, line=self.line.mirrored(), lo=-self.hi, hi=-self.lo)

    @lazy
    def window(self) -> tuple[int, int]:
        """The codes that matter: those below the first are answered like it, those above the last like that.

        From the last code that is stopped at one end to the first that is stopped at the other.
        """
        if self.line.slope < 0:
            lo, hi = self.mirrored().window
            return -hi, -lo
        lo = self.lo if self.least is None else self.line.first(self.least + 1) - 1
        hi = self.hi if self.most is None else self.line.first(self.most)
        return lo, hi

    def steps(self) -> list[tuple[int, int]]:
        """The codes from which on the answer is another, and that answer."""
        lo, hi = self.answer(self.lo), self.answer(self.hi)
        if self.line.slope > 0:
            codes = [(self.line.first(a), a) for a in range(lo + 1, hi + 1)]
        else:
            line = self.line.mirrored()
            codes = [(1 - line.first(a + 1), a) for a in range(lo - 1, hi - 1, -1)]
        # Of several steps at one code, the last is the one seen.
        return list(dict(codes).items())

    def offsets(self, signed: bool) -> range:
        """What may be added to the codes so that those of the window fit the fewest bits they can, with a sign or not.

        Of many numbers, those that bring the line's zero nearest to the code 0.
        """
        lo, hi = self.window
        size = 1 << (hi - lo).bit_length()
        low, high = -lo - signed * size // 2, size - 1 - hi - signed * size // 2
        zero = round(self.line.start / self.line.slope)
        first = min(max(zero - _OFFSETS // 2, low), max(high - _OFFSETS + 1, low))
        return range(first, min(first + _OFFSETS, high + 1))


def stairs_of(op: Rescale, codes: tuple[int, int] | None = None) -> Stairs:
    """The answers of a scalar `rescale` to the codes that come, or to others."""
    source, to = op.x.type.scalar, op.to.scalar
    line = Line(op.by[0] * source.step / to.step, op.add[0] / to.step, op.round)
    lo, hi = codes or range_of(op.x)
    return Stairs.of(line, lo, hi, to, op.overflow)
