"""`rescale` by any rational factor: as a table, a search among thresholds, or a product, whichever is smallest.

The product is one with an integer, then an offset and a shift, proved right. The wanted answer for a code x is
`round(x * slope + start)` with rational slope and start. A multiplier m, an offset b and a shift k do the same if
`floor((x * m + b) / 2**k)` is that integer for every x in bounds. Two ways to know:

* Few codes: every one is tried. For a given k and m, each x confines b to an interval; they must all overlap.
* Many codes: Let the floor form of the rounding be `floor(x * slope + shifted)`, whose values are multiples of 1/D.
  Between one of them and the next integer below there is room: an error in [0, 1/D) changes no floor. With
  `m = ceil(slope * 2**k)` the error grows by less than `2**-k` a step, so `2**k >= D * (hi - lo + 1)` is enough
  (the argument of Granlund and Montgomery, "Division by Invariant Integers using Multiplication", 1994).

Roundings that treat ties or signs apart are the floor form plus a correction from the exact remainder.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import ceil, lcm
from typing import ClassVar

import numpy as np

from lutc.analysis.ranges import range_of
from lutc.ir.graph import Design, Table, Value
from lutc.ir.ops import BitConcat, Compare, Lincomb, Lut, Number, Quant, Relation, Rescale, Scale, Select
from lutc.ir.ops.base import Op
from lutc.numbers import bounded, digits, dtype, dyadic, quantised, rounded, rounded_quotients
from lutc.passes.context import Context
from lutc.passes.identities import simplified
from lutc.passes.manager import Pass
from lutc.passes.rebuild import rebuild
from lutc.passes.rewriter import Rewriter
from lutc.target import Target
from lutc.types import BIT, Fixed, Ints, Overflow, Rounding, holding, scalar

_TRY_ALL = 1 << 12  # so many codes are tried one by one; beyond, the inequality proves it
_MOST_STEPS = 63  # more comparisons than a binary search pays for


@dataclass(frozen=True)
class LowerRescale(Pass):
    """Write `rescale` as tables, thresholds or multiply-add-shift, the smallest, proved for all inputs."""

    name: ClassVar[str] = "rescale"

    def __call__(self, design: Design, context: Context) -> Design:

        def rule(rw: Rewriter, op: Op) -> Value:
            if isinstance(op, Rescale) and not op.type.shape:
                return lowered(rw, op, context.target)
            return op

        return rebuild(design, rule, canonical="before")


def lowered(rw: Rewriter, op: Rescale, target: Target) -> Value:
    """The cheapest circuit for one scalar `rescale`."""
    source, to = op.x.type.scalar, op.to.scalar
    (by, add), (lo, hi) = op.factors()[0], range_of(op.x)
    if not to.width or lo == hi or not by:
        return rw.make(Number, to.value(quantised(source.value(lo) * by + add, to, op.round, op.overflow)))
    line = Line(by * source.step / to.step, add / to.step, op.round)
    ways: list[tuple[float, Callable[[], Value]]] = []
    if dyadic(by) and dyadic(add):
        if len(digits(by)) == 1:
            return _exact(rw, op, by, add)
        ways.append((_product_luts(by, add, source.width, target), lambda: _exact(rw, op, by, add)))
    if hi - lo < _TRY_ALL:
        answers = [bounded(w, to, op.overflow) for w in line.wanted(lo, hi).tolist()]
        ways.append((target.table_luts(source.width, to.width), lambda: _table(rw, op, lo, answers)))
        changes = zip(range(lo + 1, hi + 1), answers[1:], answers, strict=False)
        steps: list[tuple[int, int]] | None = [(x, a) for x, a, before in changes if a != before]
    else:
        steps = line.steps(lo, hi, to, op.overflow)
    first = line.answer(lo, to, op.overflow)
    if steps == []:
        return rw.make(Number, to.value(first))
    if steps is not None and len(steps) <= _MOST_STEPS:
        ways.append(
            (search_luts(source.width, len(steps), to.width, target), lambda: _search(rw, op, first, steps))
        )
    affine = multiplier(line, lo, hi)
    cost = _product_luts(Fraction(affine.times), Fraction(affine.plus), source.width, target)
    if not affine.exact:
        cost += 3 * target.adder_luts(source.width)  # a product back, a comparison or two, one step less
    ways.append((cost, lambda: _affine(rw, op, affine, line, (lo, hi))))
    return min(ways, key=lambda w: w[0])[1]()


def _product_luts(times: Fraction, plus: Fraction, width: int, target: Target) -> float:
    """What multiplying `width` bits by a constant costs, and adding one: an addition a signed digit after the first."""
    return (len(digits(times)) + len(digits(plus)) - 1) * target.adder_luts(width + 2)


@dataclass(frozen=True)
class Line:
    """`x * slope + start`, to be rounded to an integer."""

    slope: Fraction
    start: Fraction
    round: Rounding

    def at(self, x: int) -> Fraction:
        return x * self.slope + self.start

    def answer(self, x: int, to: Fixed, overflow: Overflow) -> int:
        """The code the answer has for code `x`."""
        return bounded(rounded(self.at(x), self.round), to, overflow)

    def wanted(self, lo: int, hi: int) -> Ints:
        """The integers that the codes `lo` to `hi` are rounded to: `answer` without a format, all at once."""
        return _roundings(self, lo, hi)

    def steps(self, lo: int, hi: int, to: Fixed, overflow: Overflow) -> list[tuple[int, int]] | None:
        """The codes from which on the answer is another, and that answer; None where they are too many to use."""
        ends = rounded(self.at(lo), self.round), rounded(self.at(hi), self.round)
        if overflow is Overflow.WRAP and not (to.lo <= min(ends) and max(ends) <= to.hi):
            return None  # it goes round and round
        first, last = (self.answer(x, to, overflow) for x in (lo, hi))
        if abs(last - first) > _MOST_STEPS:
            return None
        found: list[tuple[int, int]] = []
        x, answer = lo, first
        while (
            answer != last
        ):  # rounding and saturating keep order, so all codes with one answer are neighbours
            below, past = x, hi
            while past - below > 1:
                middle = (below + past) // 2
                below, past = (
                    (middle, past) if self.answer(middle, to, overflow) == answer else (below, middle)
                )
            x, answer = past, self.answer(past, to, overflow)
            found.append((x, answer))
        return found

    def floor_form(self) -> tuple[Fraction, bool]:
        """The start with which taking the floor rounds as wanted, and whether only up to a correction."""
        half = Fraction(1, 2)
        match self.round:
            case Rounding.FLOOR:
                return self.start, False
            case Rounding.HALF_UP:
                return self.start + half, False
            case Rounding.CEIL:
                # The values are multiples of 1/D: one step less than 1 above is as good as the next integer.
                return self.start + 1 - Fraction(1, self.denominator), False
            case Rounding.HALF_DOWN:
                return self.start + half - Fraction(1, 2 * self.denominator), False
        return self.start + half, True

    @property
    def denominator(self) -> int:
        """D: all values are multiples of 1/D."""
        return lcm(self.slope.denominator, self.start.denominator)


@lru_cache(maxsize=4)
def _roundings(line: Line, lo: int, hi: int) -> Ints:
    """See `Line.wanted`. The values are the integers `above` over D."""
    d = line.denominator
    slope, start = int(line.slope * d), int(line.start * d)
    widest = max(abs(lo), abs(hi), 1) * abs(slope) + abs(start) + d
    above = np.array(range(lo, hi + 1), dtype=dtype(widest.bit_length() + 1)) * slope + start
    return rounded_quotients(above, d, line.round)


@dataclass(frozen=True)
class Affine:
    """`floor((x * times + plus) / 2**shift)`. `exact` says it already is the rounding asked for."""

    times: int
    plus: int
    shift: int
    exact: bool

    def at(self, x: int) -> int:
        return (x * self.times + self.plus) >> self.shift


def multiplier(line: Line, lo: int, hi: int) -> Affine:
    """The smallest proved multiplier for codes `lo` to `hi`."""
    if hi - lo < _TRY_ALL:
        wanted = line.wanted(lo, hi)
        for shift in range(64):
            found = _tried(line, lo, wanted, shift)
            if found:
                return found
    return _proved(line, lo, hi)


def _tried(line: Line, lo: int, wanted: Ints, shift: int) -> Affine | None:
    """A multiplier and an offset that give every wanted answer, if there are some with this shift."""
    power = 1 << shift
    nearest = line.slope * power
    last = lo + len(wanted) - 1
    bits = max(abs(int(wanted[0])), abs(int(wanted[-1]))).bit_length() + shift
    kind = dtype(bits + 2, max(abs(lo), abs(last)).bit_length() + ceil(abs(nearest)).bit_length() + 2)
    codes, goals = np.array(range(lo, last + 1), dtype=kind), wanted.astype(kind) * power
    for times in sorted({nearest.__floor__(), ceil(nearest)}, key=lambda m: abs(m - nearest)):
        if not times:
            continue
        rest = goals - codes * times
        least, most = int(rest.max()), int(rest.min()) + power - 1
        if least <= most:
            return Affine(times, _roundest(least, most), shift, True)
    return None


def _roundest(least: int, most: int) -> int:
    """The number of an interval with the most trailing zeros: the cheapest offset to add."""
    if least <= 0 <= most:
        return 0
    low, high = (least, most) if least > 0 else (-most, -least)
    power = 1
    while (high // (power * 2)) * power * 2 >= low:
        power *= 2
    found = (high // power) * power
    return found if least > 0 else -found


def _proved(line: Line, lo: int, hi: int) -> Affine:
    start, corrected = line.floor_form()
    slope = line.slope
    denominator = Line(slope, start, Rounding.FLOOR).denominator
    shift = (denominator * (hi - lo + 2)).bit_length()
    power = 1 << shift
    # Both parts err upwards from x = lo on: together by less than (hi - lo + 1) / 2**shift < 1/D.
    times = ceil(slope * power)
    plus = ceil((slope * lo + start) * power) - times * lo
    assert 0 <= Fraction(hi * times + plus, power) - (slope * hi + start) < Fraction(1, denominator)
    return Affine(times, plus, shift, not corrected)


def _table(rw: Rewriter, op: Rescale, lo: int, answers: list[int]) -> Value:
    """A truth table; keys out of bounds never come, and repeat the nearest answer."""
    key, to = op.x.type.scalar, op.to.scalar
    codes = []
    for pattern in range(1 << key.width):
        code = pattern - (1 << key.width) if pattern > key.hi else pattern
        codes.append(answers[min(max(code - lo, 0), len(answers) - 1)])
    table = rw.symbol(Table(rw.name or "rescale", scalar(key), scalar(to), codes))  # type: ignore[arg-type]
    return rw.make(Lut, op.x, table)


def search_luts(width: int, steps: int, answer: int, target: Target) -> float:
    """What a binary search costs: a comparison of `width` bits a level, with a constant that the bits so far choose.

    A comparison with a constant takes five bits a LUT, and two with a constant that up to two bits choose.
    """
    levels = steps.bit_length()
    cost = width / 5 + target.table_luts(levels, answer)
    for chosen in range(1, levels):
        cost += width / 2 + (target.table_luts(chosen, width) if chosen > 2 else 0)
    return cost


def _search(rw: Rewriter, op: Rescale, first: int, steps: list[tuple[int, int]]) -> Value:
    """The answer changes at a few codes and nowhere else: a binary search finds between which of them x lies.

    Each comparison is one bit of the place, the highest first, and all bits so far choose what x is compared with
    next.
    """
    source, to = op.x.type.scalar, op.to.scalar
    levels = len(steps).bit_length()
    # Steps that are always past make their number 2**levels - 1.
    more = (1 << levels) - 1 - len(steps)
    codes = [source.lo] * more + [code for code, _ in steps]
    answers = [first] * (more + 1) + [answer for _, answer in steps]
    place: list[Value] = []
    for level in range(levels):
        half = 1 << (levels - 1 - level)
        bounds = codes[half - 1 :: 2 * half]
        bound = _chosen(rw, place, bounds, source)
        place.append(rw.make(Compare, op.x, bound, Relation.GE))
    return rw.fit(_chosen(rw, place, answers, to), op.to)


def _chosen(rw: Rewriter, place: list[Value], codes: list[int], fmt: Fixed) -> Value:
    """The code that the bits of `place`, the highest first, choose."""
    if not place:
        return rw.make(Number, fmt.value(codes[0]))
    key = rw.make(BitConcat, tuple(place)) if len(place) > 1 else place[0]
    table = rw.symbol(Table(rw.name or "bounds", scalar(Fixed(False, len(place))), scalar(fmt), codes))  # type: ignore[arg-type]
    return rw.make(Lut, key, table)


def _exact(rw: Rewriter, op: Rescale, by: Fraction, add: Fraction) -> Value:
    """The factor is a sum of powers of two: the product itself, then the rounding."""
    exact = rw.make(Lincomb, (op.x,), (by,), add)
    return simplified(rw, rw.make(Quant, exact, op.to, op.round, op.overflow))


def _affine(rw: Rewriter, op: Rescale, affine: Affine, line: Line, ends: tuple[int, int]) -> Value:
    """Multiply, add, shift; then the correction where the rounding needs one; then the format's range."""
    source, to = op.x.type.scalar, op.to.scalar
    # In units of the result's steps. The value of x is code * step, so its code is x / step.
    unit = to.step / (1 << affine.shift)
    line_value = rw.make(Lincomb, (op.x,), (affine.times / source.step * unit,), affine.plus * unit)
    low, high = sorted((affine.at(ends[0]), affine.at(ends[1])))
    whole = holding(min(low, 0) - 1, max(high, 0) + 1, to.frac)
    result: Value = rw.make(Quant, line_value, scalar(whole), Rounding.FLOOR, Overflow.WRAP)
    if not affine.exact:
        result = _corrected(rw, op, result, line)
    return simplified(rw, rw.make(Quant, result, op.to, Rounding.FLOOR, op.overflow))


def _corrected(rw: Rewriter, op: Rescale, result: Value, line: Line) -> Value:
    """From `nearest-half-up` to the rounding asked for, by looking at the exact remainder.

    With q the answer so far, `D * (x*slope + start + 1/2 - q)` is an integer in [0, D): it is 0 at a tie.
    """
    source, to = op.x.type.scalar, op.to.scalar
    d = 2 * line.denominator
    # D * (x*slope + start + 1/2) - D * q, all integers
    rest = rw.make(
        Lincomb,
        (op.x, result),
        (line.slope * d / source.step, -d / to.step),
        (line.start + Fraction(1, 2)) * d,
    )
    negative = _sign(rw, op, line)
    zero = rw.make(Number, Fraction(0))
    tie = rw.make(Compare, rest, zero, Relation.EQ)
    below_half = rw.make(Compare, rest, rw.make(Number, Fraction(d, 2)), Relation.LT)
    exact = rw.make(Compare, rest, rw.make(Number, Fraction(d, 2)), Relation.EQ)
    one = scalar(BIT)
    match op.round:
        case Rounding.HALF_EVEN:
            odd = rw.make(Compare, _lowest(rw, result), rw.make(Number, Fraction(1)), Relation.EQ)
            return _minus(rw, result, _both(rw, tie, odd), to)
        case Rounding.HALF_AWAY:
            return _minus(rw, result, _both(rw, tie, negative), to)
        case Rounding.HALF_ZERO:
            positive = rw.make(Select, negative, zero, rw.make(Number, Fraction(1)))
            return _minus(rw, result, _both(rw, tie, rw.fit(positive, one)), to)
    # Toward zero and away: q is floor(v + 1/2); where the rest is below a half, v's floor is q - 1.
    floor = _minus(rw, result, below_half, to)
    up = rw.make(Lincomb, (floor,), (Fraction(1),), to.step)
    ceiling = rw.make(Select, exact, result, up)
    yes, no = (ceiling, floor) if op.round is Rounding.TOWARD_ZERO else (floor, ceiling)
    return rw.make(Select, negative, yes, no)


def _sign(rw: Rewriter, op: Rescale, line: Line) -> Value:
    """Whether the exact value is negative: a comparison of x with the line's zero."""
    source = op.x.type.scalar
    root = -line.start / line.slope  # in codes
    if line.slope > 0:
        return rw.make(Compare, op.x, rw.make(Number, source.value(ceil(root))), Relation.LT)
    return rw.make(Compare, op.x, rw.make(Number, source.value(root.__floor__())), Relation.GT)


def _lowest(rw: Rewriter, value: Value) -> Value:
    """The lowest bit of a value as a number 0 or 1."""
    fmt = value.type.scalar
    units = rw.make(Scale, value, 1 / fmt.step)
    return rw.make(Quant, units, scalar(BIT))


def _both(rw: Rewriter, a: Value, b: Value) -> Value:
    return rw.make(Select, a, b, rw.fit(rw.make(Number, Fraction(0)), scalar(BIT)))


def _minus(rw: Rewriter, value: Value, bit: Value, to: Fixed) -> Value:
    """One step less where the bit is set."""
    return rw.make(Lincomb, (value, bit), (Fraction(1), -to.step))
