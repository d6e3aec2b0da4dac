"""The multipliers that are right for every code that matters, and the cheapest of them.

`floor((x*m + b) / 2**s)`, stopped at the ends, has to be the answer w(x) for every code x from `lo` to `hi`. With the
slope M = m / 2**s and the offset c = b / 2**s these are inequalities, linear in both:

    w(x) - x*M <= c              for codes whose answer is above the lower end, where stopping cannot help,
    w(x) + 1 - x*M > c           for codes whose answer is below the upper end.

So a slope M is right with some offset if the largest left side is less than the smallest right side, and their
difference is convex in M: the right slopes are an open interval (the preimage of a digital straight line: Dorst and
Smeulders, "Discrete Representation of Straight Lines", 1984; for division by constants Granlund and Montgomery 1994,
and Warren, Hacker's Delight, chapter 10, have the interval's lower end). Its ends are found by Newton's method: at a
slope that is wrong, the two codes that contradict each other say how far it has to go at least. For dyadic M inside,
both sides are multiples of 2**-s, so there always is an offset b.

The largest `w(x) - x*M` takes no walk over the codes where w is a floor: `highest` finds it as Euclid finds a divisor.
Where ties go both ways no floor is w, and the codes are asked one by one, if there are at most `_TRY_ALL` of them.

Of the right slopes those of five lengths are looked at (the shortest, and `_MORE` bits more), at up to `_SEVERAL` of a
length, or at the roundest one where there are more. An offset is the one with the most zeros at its end. The sums that
make a product are searched for the `_SHORT` multipliers that promise most.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Protocol

import numpy as np

from lutc.cmvm.network import Problem, Span
from lutc.cmvm.price import price, total
from lutc.cmvm.search import Goal, solve
from lutc.numbers import dtype, signed_digits
from lutc.passes.rescale.line import Line, Stairs
from lutc.passes.rescale.ties import floor_form
from lutc.types import Ints, Rounding

_TRY_ALL = 1 << 12  # so many codes are asked one by one, if no floor has all their answers
_MORE = 4  # bits of the multiplier beyond the fewest, with which it may have fewer digits
_MANY_DIGITS = 48  # of a multiplier: what its sums share is looked for only in shorter ones
_SEVERAL = 1024  # multipliers of one shift: more are not looked at one by one
_SHORT = 12  # multipliers whose sums are searched for

# The value of one side of the inequalities, and the code and the answer it comes from.
_Side = tuple[int, int, int]


@dataclass(frozen=True)
class Affine:
    """`floor((x * times + plus) / 2**shift)`. `exact` says it already is the rounding asked for.

    x is a code and `before`, which whoever computes the code has added.
    """

    times: int
    plus: int
    shift: int
    exact: bool
    before: int = 0

    def at(self, x: int) -> int:
        return (x * self.times + self.plus) >> self.shift


class Demands(Protocol):
    """The two sides of the inequalities for the slope times / power, times `power`."""

    def reach(self, times: int, power: int) -> _Side:
        """The largest left side: what the offset has to reach."""

    def stay(self, times: int, power: int) -> _Side:
        """The smallest right side: what the offset has to stay below."""


@dataclass(frozen=True)
class Floors:
    """Those of answers that are the floor of a line, stopped before and behind some codes."""

    line: Line
    codes: range  # those that are not stopped
    least: int | None
    most: int | None

    def reach(self, times: int, power: int) -> _Side:
        found = self._highest(-times, power)
        if self.most is not None:
            found.append((self.most * power - self.codes.stop * times, self.codes.stop, self.most))
        return max(found)

    def stay(self, times: int, power: int) -> _Side:
        found = [(power - value, x, w) for value, x, w in self._highest(times, -power)]
        if self.least is not None:
            x = self.codes.start - 1
            found.append(((self.least + 1) * power - x * times, x, self.least))
        return min(found)

    def _highest(self, a: int, b: int) -> list[_Side]:
        lo, n, d = self.codes.start, self.codes.stop - self.codes.start, self.line.denominator
        if n <= 0:
            return []
        p, r = int(self.line.slope * d), int(self.line.start * d)
        value, x = highest(n, a, b, p, p * lo + r, d)
        return [(value + a * lo, x + lo, self.line.whole(x + lo))]


@dataclass(frozen=True)
class Each:
    """Those of few codes, one by one, whatever their answers."""

    above: tuple[Ints, Ints]  # codes and answers
    below: tuple[Ints, Ints]

    def reach(self, times: int, power: int) -> _Side:
        codes, answers = _wide(self.above, times, power)
        sides = answers * power - codes * times
        at = int(sides.argmax())
        return int(sides[at]), int(codes[at]), int(answers[at])

    def stay(self, times: int, power: int) -> _Side:
        codes, answers = _wide(self.below, times, power)
        sides = answers * power - codes * times
        at = int(sides.argmin())
        return int(sides[at]) + power, int(codes[at]), int(answers[at])


def _wide(points: tuple[Ints, Ints], times: int, power: int) -> tuple[Ints, Ints]:
    bits = max(int(abs(p).max()).bit_length() for p in points)
    kind = dtype(bits + max(abs(times), power).bit_length() + 1)
    return points[0].astype(kind), points[1].astype(kind)


def highest(n: int, a: int, b: int, c: int, d: int, m: int) -> tuple[int, int]:
    """The largest `a*x + b*floor((c*x + d) / m)` of x from 0 to n - 1, and an x that has it; c >= 0 and m > 0.

    Where the two parts pull in different directions, of all x with the same floor only the first or the last can be
    the best, and these are floors themselves, of a line with m and c exchanged: Euclid's algorithm. Operands of
    thousands of bits take thousands of steps, so it is a loop on the way down and one on the way back.
    """
    steps: list[tuple[tuple[int, int], int, int, int, int]] = []
    while True:
        up, c = divmod(c, m)
        a += b * up
        first, d = divmod(d, m)
        last = (c * (n - 1) + d) // m
        best = max((b * first, 0), (a * (n - 1) + b * (first + last), n - 1))
        if not last or (a >= 0) == (b >= 0):
            break
        # For the floors 1 to `last` the first x, or for 0 to `last` - 1 the last one.
        one = b > 0
        offset = m - d - 1 + c * one
        steps.append((best, b * (first + one), m, offset, c))
        n, a, b, c, d, m = last, b, a, m, offset, c
    for best_before, more, times, offset, divisor in reversed(steps):
        value, floor = best
        best = max(best_before, (value + more, (times * floor + offset) // divisor))
    return best


def demands(stairs: Stairs) -> Demands | None:
    """What stairs that rise ask of a multiplier; None where no multiplier need be right, and they are many."""
    lo, hi = stairs.window
    first, last = stairs.least is not None, stairs.most is not None
    form = floor_form(stairs)
    if form is not None:
        return Floors(form, range(lo + first, hi + 1 - last), stairs.least, stairs.most)
    if hi - lo >= _TRY_ALL:
        return None
    codes, answers = np.arange(lo, hi + 1), stairs.line.wanted(lo, hi).copy()
    answers[[0, -1]] = stairs.answer(lo), stairs.answer(hi)
    end = len(codes) - last
    return Each((codes[first:], answers[first:]), (codes[:end], answers[:end]))


@dataclass(frozen=True)
class Right:
    """What stairs ask of a multiplier, and the open interval of the slopes that meet it."""

    asked: Demands
    low: Fraction
    high: Fraction


@lru_cache(maxsize=1 << 12)
def right(stairs: Stairs) -> Right | None:
    """Which multipliers are right for stairs that rise; None where none is, or that is not known."""
    asked = demands(stairs)
    inside = slopes(asked, stairs.line.slope) if asked else None
    return Right(asked, *inside) if asked and inside else None


def slopes(asked: Demands, near: Fraction) -> tuple[Fraction, Fraction] | None:
    """The open interval of the slopes that are right, from half of `near` to twice of it; None where there are none."""
    low, high = _edge(asked, near / 2), _edge(asked, near * 2)
    return (low, high) if low is not None and high is not None and low < high else None


def _edge(asked: Demands, slope: Fraction) -> Fraction | None:
    """The next slope from one on that is not wrong; None where the contradictions point the other way."""
    towards = 0
    while True:
        (reach, x, w), (stay, y, v) = (
            side(slope.numerator, slope.denominator) for side in (asked.reach, asked.stay)
        )
        if reach <= stay:
            return slope
        slope, before = Fraction(v + 1 - w, y - x), slope
        direction = 1 if slope > before else -1
        if towards not in (0, direction):
            return None
        towards = direction


@lru_cache(maxsize=1 << 12)  # channels and pixels often have the same
def multiplier(stairs: Stairs, most: int, before: range = range(1)) -> Affine:
    """The cheapest multiplier found that is right for every code of some stairs, where carry chains add `most` numbers.

    Where no multiplier is, one that rounds halves upwards, without stops, which is to be corrected. A number of
    `before` may be added to the codes.
    """
    if stairs.line.slope < 0:
        falling = multiplier(stairs.mirrored(), most, range(1 - before.stop, 1 - before.start))
        return replace(falling, times=-falling.times, before=-falling.before)
    plain = Stairs(replace(stairs.line, round=Rounding.HALF_UP), stairs.lo, stairs.hi, None, None)
    for wanted in (stairs, plain):
        if found := right(wanted):
            choice = [replace(a, exact=wanted is stairs) for a in _candidates(found, before)]
            return _cheapest(choice, Span(stairs.lo, stairs.hi), most)
    raise AssertionError("the slope itself is right for halves upwards")


def _candidates(found: Right, before: range) -> Iterator[Affine]:
    """Multipliers with few bits, each with the roundest offset, which is cheap to add."""
    asked, low, high = found.asked, found.low, found.high
    shift, last = 0, None
    while last is None or shift <= last:
        power = 1 << shift
        first, stop = low * power // 1 + 1, -(-high * power // 1)
        # Where nearly every slope is right, because few codes matter, the one with the fewest digits is as good as any.
        several = range(first, stop) if stop - first <= _SEVERAL else (roundest(first, stop - 1),)
        for times in several:
            if last is None:
                last = shift + _MORE
            elif not times % 2:
                continue  # an even one has been there, with a bit less
            least, over = asked.reach(times, power)[0], asked.stay(times, power)[0]
            assert least < over
            offsets = [(roundest(least - n * times, over - 1 - n * times), n) for n in before]
            plus, n = min(offsets, key=lambda o: (len(signed_digits(o[0])), abs(o[1])))
            yield Affine(times, plus, shift, True, n)
        shift += 1


def _cheapest(found: list[Affine], span: Span, most: int) -> Affine:
    extents = {0: (span.extent, 0)}
    found.sort(key=lambda a: price([(0, a.times)], extents, most, a.plus))
    return min(found[:_SHORT], key=lambda a: (product_luts(a.times, a.plus, span, most), a.shift))


@lru_cache(maxsize=1 << 14)
def product_luts(times: int, plus: int, span: Span, most: int) -> int:
    """The bits of the carry chains, of `most` operands each, that multiply a number by a constant, and add one."""
    if len(signed_digits(times)) > _MANY_DIGITS:
        return round(price([(0, times)], {0: (span.extent, 0)}, most, plus))
    problem = Problem((span,), (((0, times),),), (plus,))
    return total(problem, solve(problem, Goal(most, 0), "fast"), most)


def roundest(least: int, most: int) -> int:
    """The number of an interval with the most trailing zeros: the cheapest offset to add."""
    if least <= 0 <= most:
        return 0
    low, high = (least, most) if least > 0 else (-most, -least)
    power = 1
    while (high // (power * 2)) * power * 2 >= low:
        power *= 2
    found = (high // power) * power
    return found if least > 0 else -found
