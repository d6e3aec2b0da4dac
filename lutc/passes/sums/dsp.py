"""Products to DSP blocks, where those are the cheaper implementation.

A product is one of two values, or of a value and a constant inside an n-ary sum. What a block is worth is the device's
own rate: its LUTs divided by its blocks. A factor too wide for a block is cut into parts, the high one with the sign
and the low ones without: `a = a1 + a0`, so that `a*b = a1*b + a0*b`, exactly.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import ClassVar

from lutc import settings
from lutc.analysis.cost import instances
from lutc.choices import DSP_MODES
from lutc.ir.graph import Design, Value, body
from lutc.ir.ops import Lincomb, Mul, Scale
from lutc.ir.ops.base import Op
from lutc.ir.ops.products import split
from lutc.numbers import signed_digits
from lutc.passes.context import Context
from lutc.passes.identities import sum_for
from lutc.passes.manager import Pass
from lutc.passes.rebuild import rebuild
from lutc.passes.rewriter import Rewriter
from lutc.target import Target
from lutc.types import Fixed, holding, scalar

# A product of two values by itself; one with a constant by the value and the constant's odd part, whatever its sign:
# the sums that want it share it.
Key = Value | tuple[Value, int]


@dataclass(frozen=True)
class Dsp(Pass):
    """Send products of scalars to DSP blocks.

    `mode` says which: `all` there are; `auto`, those that cost more LUTs than their blocks are worth, the dearest first
    until the device has no more blocks; `none`. A constant of one signed digit makes no product, nor does a factor of
    one bit.
    """

    name: ClassVar[str] = "dsp"
    mode: str = "auto"

    def __post_init__(self) -> None:
        settings.choice(self.mode, "choice of DSP blocks", DSP_MODES)

    def __call__(self, design: Design, context: Context) -> Design:
        target = context.target
        if self.mode == "none" or not target.dsps:
            return design
        prices = _Prices(target, target.dsp_luts() if self.mode == "auto" else 0.0)
        offers = [o for o in _offers(design, prices) if o.blocks and (self.mode == "all" or o.worth > 0)]
        taken, left_out = _taken(design, target), 0
        chosen: dict[Key, int] = {}
        for offer in sorted(offers, key=lambda o: -o.worth / o.blocks):
            if self.mode == "auto" and taken + offer.blocks > target.dsps:
                left_out += 1
            else:
                taken += offer.blocks
                chosen[offer.key] = offer.odd
        notes = design.notes
        if left_out:
            notes += (f"{left_out} more products are worth DSP blocks that {target.name} does not have",)
        if taken > target.dsps:
            notes += (f"the products take {taken} DSP blocks, and {target.name} has {target.dsps}",)
        result = rebuild(design, _Writer(prices, chosen).rule) if chosen else design
        return replace(result, notes=notes) if notes != design.notes else result


def _taken(design: Design, target: Target) -> int:
    """The blocks that products take already."""
    return sum(
        times * value.dsps(target)
        for owner, times in instances(design).items()
        for value in body(owner)
        if isinstance(value, Op) and not value.type.shape
    )


@dataclass(frozen=True)
class _Prices:
    """What products cost on a target. Those, and parts of those, that cost at most `rate` LUTs are not for blocks.

    `odd` is the odd part of a constant factor, whose format is `b`; 0 where both factors are values.
    """

    target: Target
    rate: float

    def luts(self, a: Fixed, b: Fixed, odd: int) -> float:
        """With a constant, an addition for each signed digit after the first."""
        if odd:
            return (len(signed_digits(odd)) - 1) * self.addition(a.width + b.width)
        return self.target.multiplier_luts(a.width, b.width)

    def addition(self, width: int) -> float:
        """One operand more in a sum: half an adder where adders take three."""
        return self.target.adder_luts(width) / (2 if self.target.ternary else 1)

    def dear(self, a: Fixed, b: Fixed, odd: int) -> bool:
        """Whether it is for a block. A factor of one bit makes no product but a choice."""
        return min(a.width, b.width) > 1 and self.luts(a, b, odd) > self.rate

    def parts(self, a: Fixed, b: Fixed) -> tuple[list[Fixed], list[Fixed]]:
        """The formats of the parts that two factors are cut into."""
        bits = self.target.factor_bits(a, b)
        side_a, side_b = self.target.dsp_sides(*bits)
        return _cut(a, bits[0], side_a), _cut(b, bits[1], side_b)


def _cut(fmt: Fixed, bits: int, most: int) -> list[Fixed]:
    """The formats of the parts of a factor that takes `bits`, each at most `most`, the lowest part first."""
    parts = []
    low = most - 1
    while bits > most:
        parts.append(Fixed(False, low, fmt.frac))
        fmt, bits = Fixed(fmt.signed, fmt.width - low, fmt.frac - low), bits - low
    return [*parts, fmt]


@dataclass(frozen=True)
class _Offer:
    """A product's blocks in all instances, and the LUTs by which blocks at the device's rate are cheaper."""

    key: Key
    odd: int
    blocks: int
    worth: float


def _offers(design: Design, prices: _Prices) -> Iterator[_Offer]:
    for owner, times in instances(design).items():
        seen: set[Key] = set()
        for value in body(owner):
            if value.type.shape:
                continue
            if isinstance(value, Mul) and not value.dsp:
                yield _offer(prices, value, value.a.type.scalar, value.b.type.scalar, 0, times)
            for term, weight in _terms(value):
                key = term, abs(split(weight)[0])
                if key in seen or len(signed_digits(key[1])) <= 1:
                    continue
                seen.add(key)
                # The sign of the first sum: often there is no other, and nothing is left to subtract.
                odd = split(weight)[0] if term.type.scalar.signed else key[1]
                a, b = term.type.scalar, holding(odd, odd, 0)
                if len(prices.parts(a, b)[1]) == 1:  # constants are not cut
                    yield _offer(prices, key, a, b, odd, times)


def _offer(prices: _Prices, key: Key, a: Fixed, b: Fixed, odd: int, times: int) -> _Offer:
    left, right = prices.parts(a, b)
    parts = [(p, q) for p in left for q in right]
    blocks = sum(prices.dear(p, q, odd) for p, q in parts)
    cost = blocks * prices.rate + (len(parts) - 1) * prices.addition(a.width + b.width)
    cost += sum(prices.luts(p, q, odd) for p, q in parts if not prices.dear(p, q, odd))
    return _Offer(key, odd, times * blocks, times * (prices.luts(a, b, odd) - cost))


def _terms(value: Value) -> list[tuple[Value, Fraction]]:
    """The values with weights that a sum or a constant product is made of."""
    match value:
        case Lincomb(terms=terms, weights=weights):
            return list(zip(terms, weights, strict=True))
        case Scale(x=x, by=by, dsp=False):
            return [(x, by)]
    return []


@dataclass(frozen=True)
class _Writer:
    """Writes the chosen products; of those with a constant, its odd part with the sign that the product has."""

    prices: _Prices
    chosen: dict[Key, int]

    def rule(self, rw: Rewriter, op: Op) -> Value:
        before = rw.original
        assert before is not None
        if isinstance(op, Mul) and before in self.chosen:
            terms = [(v, Fraction(1)) for v in self.products(rw, op)]
            return terms[0][0] if len(terms) == 1 else sum_for(rw, terms, Fraction(0), op)
        keys = [(v, abs(split(w)[0])) for v, w in _terms(before)] if not op.type.shape else []
        if not any(key in self.chosen for key in keys):
            return op
        terms = []
        for (value, weight), key in zip(_terms(op), keys, strict=True):
            odd = self.chosen.get(key)
            terms += self.by_constant(rw, value, weight, odd) if odd else [(value, weight)]
        return sum_for(rw, terms, op.bias if isinstance(op, Lincomb) else Fraction(0), op)

    def products(self, rw: Rewriter, op: Mul) -> list[Value]:
        """The products of all parts of two values."""
        left, right = self.prices.parts(op.a.type.scalar, op.b.type.scalar)
        return [
            rw.make(Mul, rw.fit(op.a, scalar(p)), rw.fit(op.b, scalar(q)), self.prices.dear(p, q, 0))
            for p in left
            for q in right
        ]

    def by_constant(
        self, rw: Rewriter, value: Value, weight: Fraction, odd: int
    ) -> list[tuple[Value, Fraction]]:
        """The terms that stand for `weight * value`: products with `odd`, times a signed power of two."""
        fmt = holding(odd, odd, 0)
        terms: list[tuple[Value, Fraction]] = []
        for part in self.prices.parts(value.type.scalar, fmt)[0]:
            x = rw.fit(value, scalar(part))
            if self.prices.dear(part, fmt, odd):
                terms.append((rw.make(Scale, x, Fraction(odd), True), weight / odd))
            else:
                terms.append((x, weight))
        return terms
