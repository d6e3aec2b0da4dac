"""`rescale` by any rational factor: as a table, a search among thresholds, or a product, whichever is smallest.

The product is one with an integer, then an offset and a shift, proved right (`multiplier`) for the codes that matter
(`line.Stairs.window`): all others are answered by an end of the format, where the product's saturation stops, or their
own in front of it. Roundings that no floor is (`ties`) are one and a correction from the exact remainder.

Where products may go to DSP blocks, so may this one (`blocks`), at what a block is worth on the device.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, inf
from typing import ClassVar, NamedTuple

import numpy as np

from lutc import settings
from lutc.analysis.cost import instances
from lutc.analysis.ranges import range_of
from lutc.choices import DSP_MODES
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
from lutc.passes.rescale.blocks import OnBlocks, on_blocks
from lutc.passes.rescale.clips import without_clips
from lutc.passes.rescale.line import Line, Stairs, stairs_of
from lutc.passes.rescale.multiplier import Affine, multiplier, product_luts
from lutc.passes.rescale.parts import Parts, in_parts
from lutc.passes.rewriter import Rewriter
from lutc.passes.sums.blocks import Prices, taken
from lutc.rtl.circuits import increment_luts
from lutc.target import Target
from lutc.types import BIT, Fixed, Overflow, Rounding, holding, scalar

_LONGEST_TABLE = 12  # bits of a key
_MINIMISED = 0.75  # of a table's LUTs, before synthesis makes fewer of them: a third of 8 bits takes 16 of 28
_MOST_STEPS = 63  # more comparisons than a binary search pays for


class _Way(NamedTuple):
    """A circuit: the LUTs that it costs, those that its blocks are worth among them, what builds it, and its blocks."""

    luts: float
    build: Callable[[], Value]
    blocks: int = 0


@dataclass(frozen=True)
class LowerRescale(Pass):
    """Write `rescale` as tables, thresholds or multiply-add-shift, the smallest, proved for all inputs.

    `dsp` says whether the product may be in DSP blocks: `all`, they cost nothing; `auto`, they cost the LUTs that the
    device has for each, and no more are taken than there are; `none`.
    """

    name: ClassVar[str] = "rescale"
    dsp: str = "none"

    def __post_init__(self) -> None:
        settings.choice(self.dsp, "choice of DSP blocks", DSP_MODES)

    def __call__(self, design: Design, context: Context) -> Design:
        if not any(isinstance(v, Rescale) for owner in owners(design) for v in body(owner)):
            return design
        before = reader_counts(design)
        design = rebuild(design, lambda rw, op: without_clips(rw, op, before), canonical="before")
        readers, target = reader_counts(design), context.target
        times = {v: n for owner, n in instances(design).items() for v in body(owner)}
        blocks = _Blocks.of(design, target, self.dsp)

        def rule(rw: Rewriter, op: Op) -> Value:
            if isinstance(op, Rescale) and not op.type.shape:
                original = rw.original
                assert isinstance(original, Rescale)
                alone = readers[original.x] == 1
                # A function that is mapped over tensors is of no owner that is counted yet.
                return lowered(rw, op, target, alone, blocks, times.get(original, 1))
            return op

        return rebuild(design, rule, canonical="before")


@dataclass
class _Blocks:
    """The DSP blocks that products may take: at which prices, if at all, and how many are left."""

    prices: Prices | None = None
    left: float = 0

    @staticmethod
    def of(design: Design, target: Target, mode: str) -> _Blocks:
        if mode == "none" or not target.dsps:
            return _Blocks()
        return _Blocks(Prices.of(target, mode), inf if mode == "all" else target.dsps - taken(design, target))


def lowered(
    rw: Rewriter,
    op: Rescale,
    target: Target,
    alone: bool = False,
    blocks: _Blocks | None = None,
    times: int = 1,
) -> Value:
    """The cheapest circuit for one scalar `rescale`, which stands `times` in the design.

    `alone` says that nobody else reads its operand.
    """
    source, to = op.x.type.scalar, op.to.scalar
    (by, add), (lo, hi) = op.factors()[0], range_of(op.x)
    if not to.width or lo == hi or not by:
        return rw.make(Number, to.value(quantised(source.value(lo) * by + add, to, op.round, op.overflow)))
    if dyadic(by) and dyadic(add) and len(digits(by)) == 1:
        return _exact(rw, op, by, add)
    stairs = stairs_of(op)
    if stairs.answer(lo) == stairs.answer(hi):
        return rw.make(Number, to.value(bounded(stairs.answer(lo), to, op.overflow)))
    blocks = blocks or _Blocks()
    ways = _ways(rw, op, target, blocks.prices)
    if alone and isinstance(op.x, Lincomb):
        one_more = 0.0 if op.x.bias else target.adder_luts(source.width) / 2  # among many to add
        before = multiplier(stairs, _operands(target), stairs.offsets(to.signed)).before
        if before:
            moved = _moved(rw, op, op.x, before)
            ways += [w._replace(luts=one_more + w.luts) for w in _ways(rw, moved, target, blocks.prices)]
        if blocks.prices and _cheapest(ways) > blocks.prices.rate:
            product = on_blocks(stairs, source, blocks.prices, moved=True)
            if product and product.before:
                x = _in_steps_of(rw, _sum_with(rw, op.x, product.before * source.step), source.frac)
                on_sum = _on_blocks(rw, op, x, product, blocks.prices)
                ways += [w._replace(luts=one_more + w.luts) for w in on_sum]
    best = min((w for w in ways if w.blocks * times <= blocks.left), key=lambda w: w.luts)
    blocks.left -= best.blocks * times
    return best.build()


def _moved(rw: Rewriter, op: Rescale, total: Lincomb, before: int) -> Rescale:
    """The same on a sum whose bias takes in some steps of the constants, and moves the codes that matter."""
    more = before * total.type.scalar.step
    return _on(rw, op, _sum_with(rw, total, more), op.add[0] - more * op.by[0])


def _sum_with(rw: Rewriter, total: Lincomb, more: Fraction) -> Value:
    """A sum and a constant, which still belongs to the sum's layer."""
    layer, rw.origin = rw.origin, total.origin or rw.origin
    x = rw.make(Lincomb, total.terms, total.weights, total.bias + more)
    rw.origin = layer
    return x


def _in_steps_of(rw: Rewriter, x: Value, frac: int) -> Value:
    """The number in these steps, which may be finer than its own: a sum loses bits behind the point with its bias."""
    fmt = x.type.scalar
    return rw.fit(x, scalar(Fixed(fmt.signed, fmt.width + frac - fmt.frac, frac)))


def _on(rw: Rewriter, op: Rescale, x: Value, add: Fraction) -> Rescale:
    """The same `rescale` on another operand, with another constant."""
    made = rw.make(Rescale, x, op.to, op.by, (add,), -1, op.round, op.overflow)
    assert isinstance(made, Rescale)
    return made


def _ways(rw: Rewriter, op: Rescale, target: Target, prices: Prices | None = None) -> list[_Way]:
    """All circuits, those on fewer bits among them, to which the operand is saturated first."""
    ways = _direct(rw, op, target, prices)
    source, window = op.x.type.scalar, stairs_of(op).window
    narrow = holding(*window, source.frac)
    if narrow.width < source.width:
        lo, hi = range_of(op.x)
        inside = narrow.lo <= lo and hi <= narrow.hi
        mode = Overflow.WRAP if inside else Overflow.SATURATE
        x = rw.make(Quant, op.x, scalar(narrow), Rounding.FLOOR, mode)
        less = _on(rw, op, x, op.add[0])
        ways += [w._replace(luts=x.luts(target) + w.luts) for w in _direct(rw, less, target, prices)]
    return ways


def _direct(rw: Rewriter, op: Rescale, target: Target, prices: Prices | None) -> list[_Way]:
    """The circuits that read the operand as it is."""
    source, to = op.x.type.scalar, op.to.scalar
    (by, add), stairs = op.factors()[0], stairs_of(op)
    lo, hi = stairs.lo, stairs.hi
    stops = _stops(stairs, to, target)
    ways: list[_Way] = []
    if dyadic(by) and dyadic(add):
        rounds = 0.0 if op.round is Rounding.FLOOR else increment_luts(to.width, target)
        cost = _product_luts(by, add, stairs, target) + rounds + stops
        ways.append(_Way(cost, lambda: _exact(rw, op, by, add)))
    if source.width <= _LONGEST_TABLE:
        cost = _MINIMISED * target.table_luts(source.width, to.width)
        ways.append(_Way(cost, lambda: _table(rw, op, stairs)))
    wraps = op.overflow is Overflow.WRAP and not all(to.lo <= stairs.answer(x) <= to.hi for x in (lo, hi))
    if not wraps and abs(stairs.answer(hi) - stairs.answer(lo)) <= _MOST_STEPS:
        steps = stairs.steps()
        cost = search_luts(source.width, len(steps), to.width, target)
        ways.append(_Way(cost, lambda: _search(rw, op, stairs.answer(lo), steps)))
    affine = multiplier(stairs, _operands(target))
    cost = _product_luts(Fraction(affine.times), Fraction(affine.plus), stairs, target) + stops
    if not affine.exact:
        cost += 3 * target.adder_luts(source.width)  # a product back, a comparison or two, one step less
    ways.append(_Way(cost, lambda: _affine(rw, op, affine, stairs)))
    parts = in_parts(stairs, source, target, _operands(target))
    if parts:
        cost = parts.luts(target, _operands(target)) + stops
        ways.append(_Way(cost, lambda: _parts(rw, op, parts)))
    if prices and _cheapest(ways) > prices.rate:
        product = on_blocks(stairs, source, prices, moved=False)
        ways += _on_blocks(rw, op, op.x, product, prices) if product else []
    return ways


def _cheapest(ways: list[_Way]) -> float:
    return min(w.luts for w in ways)


def _stops(stairs: Stairs, to: Fixed, target: Target) -> float:
    """What stopping at the ends of a format costs."""
    return target.mux_luts(to.width) + 1 if (stairs.least, stairs.most) != (None, None) else 0.0


def _on_blocks(rw: Rewriter, op: Rescale, x: Value, product: OnBlocks, prices: Prices) -> list[_Way]:
    """The product of the operand, or of the sum that has `before` in it; none if it is not worth a block."""
    stairs, source, to = stairs_of(op), op.x.type.scalar, op.to.scalar

    def build() -> Value:
        line = product.line(rw, x, to.step, prices)
        return _floor(rw, op, line, product.at(stairs.lo), product.at(stairs.hi))

    blocks = prices.blocks(*product.factors(stairs, source))
    luts = product.luts(stairs, source, prices) + _stops(stairs, to, prices.target)
    return [_Way(luts, build, blocks)] if blocks else []


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
    return _floor(rw, op, total, parts.least, parts.most)


def _floor(rw: Rewriter, op: Rescale, value: Value, *ends: int) -> Value:
    """The floor of what is an answer between two ends, then the format's range."""
    whole = scalar(holding(min(ends), max(ends), op.to.scalar.frac))
    floor = rw.make(Quant, value, whole, Rounding.FLOOR, Overflow.WRAP)
    return simplified(rw, rw.make(Quant, floor, op.to, Rounding.FLOOR, op.overflow))


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
