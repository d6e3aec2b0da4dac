"""Products to DSP blocks, where those are the cheaper implementation.

A product is one of two values, or of a value and a constant inside an n-ary sum. What a block is worth is the device's
own rate: its LUTs divided by its blocks. A factor too wide for a block is cut (`blocks`); products of one value with
constants so short that a block has room for several are made by one (`packing`).

Products of two values that share one stay apart, each in its own block: put side by side, the sign of one would borrow
from the next, and no constant could give that back; and which of its two factors a product is to share is a matching.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
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
from lutc.passes.sums.blocks import Prices, taken
from lutc.passes.sums.packing import Packed, in_blocks
from lutc.types import Fixed, holding

# A product with a constant: the value, and the constant's odd part whatever its sign. The sums that want it share it.
Key = tuple[Value, int]


@dataclass(frozen=True)
class Dsp(Pass):
    """Send products of scalars to DSP blocks.

    `mode` says which: `all` there are; `auto`, those that cost more LUTs than their blocks are worth, the dearest first
    until the device has no more blocks; `none`. A constant of one signed digit makes no product, nor does a factor of
    one bit. Products of one value with short constants share a block.
    """

    name: ClassVar[str] = "dsp"
    mode: str = "auto"

    def __post_init__(self) -> None:
        settings.choice(self.mode, "choice of DSP blocks", DSP_MODES)

    def __call__(self, design: Design, context: Context) -> Design:
        target = context.target
        if self.mode == "none" or not target.dsps:
            return design
        prices = Prices.of(target, self.mode)
        offers = [o for o in _offers(design, prices) if o.blocks and (self.mode == "all" or o.worth > 0)]
        count, left_out = taken(design, target), 0
        writer = _Writer(prices)
        for offer in sorted(offers, key=lambda o: -o.worth / o.blocks):
            if self.mode == "auto" and count + offer.blocks > target.dsps:
                left_out += offer.products
            else:
                count += offer.blocks
                writer.take(offer)
        notes = design.notes
        if left_out:
            notes += (f"{left_out} more products are worth DSP blocks that {target.name} does not have",)
        if count > target.dsps:
            notes += (f"the products take {count} DSP blocks, and {target.name} has {target.dsps}",)
        result = rebuild(design, writer.rule) if writer.chosen else design
        return replace(result, notes=notes) if notes != design.notes else result


@dataclass(frozen=True)
class _Offer:
    """The blocks of a product, or of several in one, in all instances; and by how many LUTs blocks are cheaper.

    `of` is the product of two values, or the value that constants multiply: one, `odd`, with a sign, or those `packed`.
    """

    of: Value
    blocks: int
    worth: float
    odd: int = 0
    packed: Packed | None = None

    @property
    def products(self) -> int:
        return len(self.packed.odds) if self.packed else 1


def _offers(design: Design, prices: Prices) -> Iterator[_Offer]:
    for owner, times in instances(design).items():
        constants: dict[Value, dict[int, int]] = {}
        for value in body(owner):
            if value.type.shape:
                continue
            if isinstance(value, Mul) and not value.dsp:
                yield _offer(prices, value, (value.a.type.scalar, value.b.type.scalar), 0, times)
            for term, weight in _terms(value):
                odd = split(weight)[0]
                if len(signed_digits(odd)) > 1:
                    # The sign of the first sum: often there is no other, and nothing is left to subtract.
                    constants.setdefault(term, {}).setdefault(abs(odd), odd)
        for term, odds in constants.items():
            yield from _with_constants(prices, term, odds, times)


def _with_constants(prices: Prices, x: Value, odds: dict[int, int], times: int) -> Iterator[_Offer]:
    """The products of one value, given by the constants and these with their signs: alone, or several in a block."""
    a = x.type.scalar
    alone = {abs(o): holding(o, o, 0) for o in (odds.values() if a.signed else odds)}
    for packed in in_blocks(x, alone, prices.target):
        if len(packed.odds) == 1:
            (odd,) = packed.odds
            yield _offer(prices, x, (a, alone[odd]), odds[odd] if a.signed else odd, times)
        elif a.width > 1:
            saved = sum(prices.luts(a, alone[odd], odd) for odd in packed.odds)
            worth = saved - prices.rate - packed.luts(prices.target)
            yield _Offer(x, times, times * worth, packed=packed)


def _offer(prices: Prices, of: Value, factors: tuple[Fixed, Fixed], odd: int, times: int) -> _Offer:
    worth = prices.luts(*factors, odd) - prices.on_blocks(*factors, odd)
    return _Offer(of, times * prices.blocks(*factors, odd), times * worth, odd)


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
    """Writes the chosen products; of those alone with a constant, its odd part with the sign that the product has."""

    prices: Prices
    chosen: dict[Value | Key, int | Packed] = field(default_factory=dict)

    def take(self, offer: _Offer) -> None:
        if offer.packed:
            self.chosen.update(((offer.of, odd), offer.packed) for odd in offer.packed.odds)
        else:
            self.chosen[(offer.of, abs(offer.odd)) if offer.odd else offer.of] = offer.odd

    def rule(self, rw: Rewriter, op: Op) -> Value:
        before = rw.original
        assert before is not None
        if isinstance(op, Mul) and before in self.chosen:
            terms = [(v, Fraction(1)) for v in self.prices.products(rw, op)]
            return terms[0][0] if len(terms) == 1 else sum_for(rw, terms, Fraction(0), op)
        keys = [(v, abs(split(w)[0])) for v, w in _terms(before)] if not op.type.shape else []
        if not any(key in self.chosen for key in keys):
            return op
        terms, bias = [], op.bias if isinstance(op, Lincomb) else Fraction(0)
        for (value, weight), key in zip(_terms(op), keys, strict=True):
            found = self.chosen.get(key)
            if isinstance(found, Packed):
                part, times, more = found.product(rw, value, key[1])
                terms.append((part, weight / key[1] * times))
                bias += weight / key[1] * more
            else:
                terms += self.prices.by_constant(rw, value, weight, found) if found else [(value, weight)]
        return sum_for(rw, terms, bias, op)
