"""The multipliers of a `rescale` that a DSP block makes: what counts is what is left for LUTs, not how few digits.

A multiplier that fits a block may be as long as the block takes, and the longer it is, the more room is left for the
offset (see `multiplier`). The offset is either added to the product, and then the one with the most zeros at its end is
the cheapest: an addition reaches no lower. Or it is a part of what is multiplied, `(x + f) * M`: the whole part of f
goes into the bias of the sum that x is, if nobody else reads that, and of the rest only some bits are behind x's point.
They are wires with a 0 or a 1 on them, and then no addition follows the product.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from itertools import count

from lutc.analysis.ranges import range_of, set_range
from lutc.ir.graph import Value
from lutc.ir.ops import BitCast, BitConcat, Lincomb, Number, Quant
from lutc.ir.ops.products import split
from lutc.numbers import trailing_zeros, twos
from lutc.passes.identities import simplified
from lutc.passes.rescale.line import Stairs
from lutc.passes.rescale.multiplier import Right, right, roundest
from lutc.passes.rewriter import Rewriter
from lutc.passes.sums.blocks import Prices
from lutc.types import Fixed, holding, scalar

_MORE = 8  # bits of the multiplier beyond the fewest, with which the offset may have fewer
_SEVERAL = 6  # multipliers of one length that are looked at
_BEHIND = 12  # bits behind the point of a code, at most


@dataclass(frozen=True)
class OnBlocks:
    """`floor(((x + before) * 2**behind + bits) * times + plus) / 2**shift)` is the answer, stopped; x is a code."""

    times: int
    plus: int
    shift: int
    before: int = 0
    behind: int = 0
    bits: int = 0

    def at(self, x: int) -> int:
        return ((x + self.before << self.behind | self.bits) * self.times + self.plus) >> self.shift

    def mirrored(self) -> OnBlocks:
        """The same answers for the negative codes."""
        f = -(self.before << self.behind | self.bits)
        before, bits = divmod(f, 1 << self.behind)
        return replace(self, times=-self.times, before=before, bits=bits)

    def factors(self, stairs: Stairs, source: Fixed) -> tuple[Fixed, Fixed, int]:
        """The formats of what is multiplied, and of the odd part of the constant, which is the third."""
        moved = holding(stairs.lo + self.before, stairs.hi + self.before, 0) if self.before else source
        odd = self.times >> trailing_zeros(self.times)
        return Fixed(moved.signed, moved.width + self.behind), holding(odd, odd, 0), odd

    def luts(self, stairs: Stairs, source: Fixed, prices: Prices) -> float:
        """What it costs but for `before`: the blocks at their rate, and the addition behind the product."""
        luts = prices.on_blocks(*self.factors(stairs, source))
        if self.plus:
            ends = self.at(stairs.lo), self.at(stairs.hi)
            width = holding(min(ends), max(ends), 0).width + self.shift - trailing_zeros(self.plus)
            luts += prices.target.adder_luts(max(width, 1))
        return luts

    def line(self, rw: Rewriter, x: Value, unit: Fraction, prices: Prices) -> Value:
        """What the answer is the floor of, in steps of `unit`; `before` is in x already."""
        if self.behind:
            x = self.with_bits(rw, x)
        step = unit / (1 << self.shift)
        weight, offset = self.times * step / x.type.scalar.step, self.plus * step
        terms = prices.by_constant(rw, x, weight, split(weight)[0])
        # The offset would be one operand too many for the carry chains that add the terms: it has a chain of its own.
        if offset and (len(terms) - 1) % (prices.target.ternary + 1) == 0:
            terms = [(_cut(rw, terms, max(twos(offset), twos(unit))), Fraction(1))]
        values, weights = zip(*terms, strict=True)
        return simplified(rw, rw.make(Lincomb, values, weights, offset))

    def with_bits(self, rw: Rewriter, x: Value) -> Value:
        """The number with constant bits behind its own."""
        fmt, (lo, hi) = x.type.scalar, range_of(x)
        low = rw.fit(rw.make(Number, Fraction(self.bits)), scalar(Fixed(False, self.behind)))
        longer = scalar(Fixed(fmt.signed, fmt.width + self.behind, fmt.frac + self.behind))
        found = rw.make(BitCast, rw.make(BitConcat, (x, low)), longer)
        set_range(found, (int(lo) << self.behind | self.bits, int(hi) << self.behind | self.bits))
        return found


def _cut(rw: Rewriter, terms: list[tuple[Value, Fraction]], frac: int) -> Value:
    """A sum without the bits below the point that neither an offset nor a floor behind it asks for."""
    values, weights = zip(*terms, strict=True)
    total = simplified(rw, rw.make(Lincomb, values, weights))
    fmt = total.type.scalar
    lost = fmt.frac - frac
    if not 0 < lost < fmt.width:
        return total
    return rw.make(Quant, total, scalar(Fixed(fmt.signed, fmt.width - lost, frac)))


@lru_cache(maxsize=1 << 12)  # channels and pixels often have the same
def on_blocks(stairs: Stairs, source: Fixed, prices: Prices, moved: bool) -> OnBlocks | None:
    """The product that leaves the least for LUTs; None where no multiplier is right.

    `moved` says that any number may be added to the codes before.
    """
    falling = stairs.line.slope < 0
    found = right(stairs.mirrored() if falling else stairs)
    if not found:
        return None
    shortest = next(s for s in count() if _slopes(found, s))
    lengths = range(shortest, shortest + _MORE + 1)
    choice = (o for shift in lengths for o in _of_length(found, shift, moved, falling))
    return min(choice, key=lambda o: o.luts(stairs, source, prices))


def _slopes(found: Right, shift: int) -> range:
    """The right multipliers of a length."""
    power = 1 << shift
    return range(found.low * power // 1 + 1, -(-found.high * power // 1))


def _of_length(found: Right, shift: int, moved: bool, falling: bool) -> Iterator[OnBlocks]:
    """Products with right multipliers of one length, each with the offset behind it, and before it."""
    power, right_ones = 1 << shift, _slopes(found, shift)
    for times in right_ones[:: max(len(right_ones) // _SEVERAL, 1)]:
        least, over = found.asked.reach(times, power)[0], found.asked.stay(times, power)[0]
        behind = OnBlocks(times, roundest(least, over - 1), shift)
        before = _before(times, least, over, shift, moved, falling)
        yield from (o.mirrored() if falling else o for o in (behind, before) if o)


def _before(times: int, least: int, over: int, shift: int, moved: bool, falling: bool) -> OnBlocks | None:
    """The product of `x + f` where f has the fewest bits behind the point, if few are enough."""
    for behind in range(_BEHIND + 1):
        low, high = -(-(least << behind) // times), ((over << behind) - 1) // times
        if not moved:  # there is nothing but bits behind x
            low, high = (max(low, 1 - (1 << behind)), min(high, 0)) if falling else (max(low, 0), high)
            high = min(high, (1 << behind) - 1)
        if low <= high:
            before, bits = divmod(roundest(low, high), 1 << behind)
            return OnBlocks(times, 0, shift + behind, before, behind, bits)
    return None
