"""`rescale` by any rational factor: as a table, a search among thresholds, or a product, whichever is smallest.

The product is one with an integer, then an offset and a shift, proved right (`multiplier`) for the codes that matter
(`line.Stairs.window`): all others are answered by an end of the format, where the product's saturation stops, or their
own in front of it. Roundings that no floor is (`ties`) are one and a correction from the exact remainder.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil
from typing import ClassVar

import numpy as np

from lutc.analysis.ranges import range_of
from lutc.cmvm.network import Span
from lutc.ir.graph import Design, Table, Value, body, owners, reader_counts
from lutc.ir.ops import (
    BitConcat,
    BitSlice,
    Compare,
    Lincomb,
    Lut,
    Number,
    Quant,
    Relation,
    Rescale,
    Scale,
    Select,
)
from lutc.ir.ops.base import Op
from lutc.numbers import as_code, bounded, digits, dyadic, quantised, twos
from lutc.passes.context import Context
from lutc.passes.identities import simplified
from lutc.passes.manager import Pass
from lutc.passes.rebuild import rebuild
from lutc.passes.rescale.clips import without_clips
from lutc.passes.rescale.line import Line, Stairs, stairs_of
from lutc.passes.rescale.multiplier import Affine, multiplier, product_luts
from lutc.passes.rescale.parts import Parts, in_parts
from lutc.passes.rewriter import Rewriter
from lutc.rtl.circuits import increment_luts
from lutc.target import Target
from lutc.types import BIT, Fixed, Overflow, Rounding, holding, scalar

_LONGEST_TABLE = 12  # bits of a key
_MINIMISED = 0.75  # of a table's LUTs, before synthesis makes fewer of them: a third of 8 bits takes 16 of 28
_MOST_STEPS = 63  # more comparisons than a binary search pays for


# What a circuit costs, and what builds it.
_Way = tuple[float, Callable[[], Value]]


@dataclass(frozen=True)
class LowerRescale(Pass):
    """Write `rescale` as tables, thresholds or multiply-add-shift, the smallest, proved for all inputs."""

    name: ClassVar[str] = "rescale"

    def __call__(self, design: Design, context: Context) -> Design:
        if not any(isinstance(v, Rescale) for owner in owners(design) for v in body(owner)):
            return design
        before = reader_counts(design)
        design = rebuild(design, lambda rw, op: without_clips(rw, op, before), canonical="before")
        readers = reader_counts(design)

        def rule(rw: Rewriter, op: Op) -> Value:
            if isinstance(op, Rescale) and not op.type.shape:
                original = rw.original
                assert isinstance(original, Rescale)
                return lowered(rw, op, context.target, alone=readers[original.x] == 1)
            return op

        return rebuild(design, rule, canonical="before")


def lowered(rw: Rewriter, op: Rescale, target: Target, alone: bool = False) -> Value:
    """The cheapest circuit for one scalar `rescale`; `alone` says that nobody else reads its operand."""
    source, to = op.x.type.scalar, op.to.scalar
    (by, add), (lo, hi) = op.factors()[0], range_of(op.x)
    if not to.width or lo == hi or not by:
        return rw.make(Number, to.value(quantised(source.value(lo) * by + add, to, op.round, op.overflow)))
    if dyadic(by) and dyadic(add) and len(digits(by)) == 1:
        return _exact(rw, op, by, add)
    stairs = stairs_of(op)
    if stairs.answer(lo) == stairs.answer(hi):
        return rw.make(Number, to.value(bounded(stairs.answer(lo), to, op.overflow)))
    ways = _ways(rw, op, target)
    if alone and isinstance(op.x, Lincomb):
        moved = _moved(rw, op, op.x, stairs, target)
        if moved is not op:
            more = 0.0 if op.x.bias else target.adder_luts(source.width) / 2  # one more among many to add
            ways += [(more + cost, build) for cost, build in _ways(rw, moved, target)]
    return min(ways, key=lambda w: w[0])[1]()


def _moved(rw: Rewriter, op: Rescale, total: Lincomb, stairs: Stairs, target: Target) -> Rescale:
    """The same on a sum whose bias takes in what it can of the constants, and moves the codes that matter."""
    step = total.type.scalar.step
    offsets = stairs.offsets(op.to.scalar.signed)
    before = multiplier(stairs, _operands(target), offsets).before
    if not before:
        return op
    more = before * step
    layer, rw.origin = rw.origin, total.origin or rw.origin
    x = rw.make(Lincomb, total.terms, total.weights, total.bias + more)
    rw.origin = layer
    return _on(rw, op, x, op.add[0] - more * op.by[0])


def _on(rw: Rewriter, op: Rescale, x: Value, add: Fraction) -> Rescale:
    """The same `rescale` on another operand, with another constant."""
    made = rw.make(Rescale, x, op.to, op.by, (add,), -1, op.round, op.overflow)
    assert isinstance(made, Rescale)
    return made


def _ways(rw: Rewriter, op: Rescale, target: Target) -> list[_Way]:
    """All circuits, those on fewer bits among them, to which the operand is saturated first."""
    ways = _direct(rw, op, target)
    source, window = op.x.type.scalar, stairs_of(op).window
    narrow = holding(*window, source.frac)
    if narrow.width < source.width:
        lo, hi = range_of(op.x)
        inside = narrow.lo <= lo and hi <= narrow.hi
        mode = Overflow.WRAP if inside else Overflow.SATURATE
        x = rw.make(Quant, op.x, scalar(narrow), Rounding.FLOOR, mode)
        less = _on(rw, op, x, op.add[0])
        ways += [(x.luts(target) + cost, build) for cost, build in _direct(rw, less, target)]
    return ways


def _direct(rw: Rewriter, op: Rescale, target: Target) -> list[_Way]:
    """The circuits that read the operand as it is."""
    source, to = op.x.type.scalar, op.to.scalar
    (by, add), stairs = op.factors()[0], stairs_of(op)
    lo, hi = stairs.lo, stairs.hi
    stops = target.mux_luts(to.width) + 1 if (stairs.least, stairs.most) != (None, None) else 0.0
    ways: list[_Way] = []
    if dyadic(by) and dyadic(add):
        rounds = 0.0 if op.round is Rounding.FLOOR else increment_luts(to.width, target)
        ways.append(
            (_product_luts(by, add, stairs, target) + rounds + stops, lambda: _exact(rw, op, by, add))
        )
    if source.width <= _LONGEST_TABLE:
        cost = _MINIMISED * target.table_luts(source.width, to.width)
        ways.append((cost, lambda: _table(rw, op, stairs)))
    wraps = op.overflow is Overflow.WRAP and not all(to.lo <= stairs.answer(x) <= to.hi for x in (lo, hi))
    if not wraps and abs(stairs.answer(hi) - stairs.answer(lo)) <= _MOST_STEPS:
        steps = stairs.steps()
        cost = search_luts(source.width, len(steps), to.width, target)
        ways.append((cost, lambda: _search(rw, op, stairs.answer(lo), steps)))
    affine = multiplier(stairs, _operands(target))
    cost = _product_luts(Fraction(affine.times), Fraction(affine.plus), stairs, target) + stops
    if not affine.exact:
        cost += 3 * target.adder_luts(source.width)  # a product back, a comparison or two, one step less
    ways.append((cost, lambda: _affine(rw, op, affine, stairs)))
    parts = in_parts(stairs, source, target, _operands(target))
    if parts:
        ways.append((parts.luts(target, _operands(target)) + stops, lambda: _parts(rw, op, parts)))
    return ways


def _operands(target: Target) -> int:
    """How many numbers a carry chain adds."""
    return 3 if target.ternary else 2


def _product_luts(times: Fraction, plus: Fraction, stairs: Stairs, target: Target) -> float:
    """What multiplying codes by a constant costs, and adding one."""
    frac = max(twos(times), twos(plus), 0)
    span = Span(stairs.lo, stairs.hi)
    return product_luts(as_code(times, frac), as_code(plus, frac), span, _operands(target))


def _table(rw: Rewriter, op: Rescale, stairs: Stairs) -> Value:
    """A truth table; keys out of bounds never come, and repeat the nearest answer."""
    key, to, lo = op.x.type.scalar, op.to.scalar, stairs.lo
    answers = [bounded(w, to, op.overflow) for w in stairs.line.wanted(lo, stairs.hi).tolist()]
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


def _affine(rw: Rewriter, op: Rescale, affine: Affine, stairs: Stairs) -> Value:
    """Multiply, add, shift; then the correction where the rounding needs one; then the format's range."""
    source, to = op.x.type.scalar, op.to.scalar
    # In units of the result's steps. The value of x is code * step, so its code is x / step.
    unit = to.step / (1 << affine.shift)
    line_value = rw.make(Lincomb, (op.x,), (affine.times / source.step * unit,), affine.plus * unit)
    low, high = sorted((affine.at(stairs.lo), affine.at(stairs.hi)))
    if not affine.exact:
        low, high = low - 1, high + 1
    whole = holding(low, high, to.frac)
    result: Value = rw.make(Quant, line_value, scalar(whole), Rounding.FLOOR, Overflow.WRAP)
    if not affine.exact:
        result = _corrected(rw, op, result, stairs.line)
    return simplified(rw, rw.make(Quant, result, op.to, Rounding.FLOOR, op.overflow))


def _parts(rw: Rewriter, op: Rescale, parts: Parts) -> Value:
    """A table for each part, their sum, its floor; then the format's range."""
    to = op.to.scalar
    terms = []
    for part in parts.parts:
        bits = rw.make(BitSlice, op.x, part.low + part.width - 1, part.low)
        value = scalar(replace(part.format, frac=to.frac + parts.shift))
        table = rw.symbol(Table(rw.name or "part", bits.type, value, np.array(part.entries, dtype=object)))
        terms.append(rw.make(Lut, bits, table))
    total = rw.make(Lincomb, tuple(terms), (Fraction(1),) * len(terms))
    whole = rw.make(
        Quant, total, scalar(holding(parts.least, parts.most, to.frac)), Rounding.FLOOR, Overflow.WRAP
    )
    return simplified(rw, rw.make(Quant, whole, op.to, Rounding.FLOOR, op.overflow))


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
