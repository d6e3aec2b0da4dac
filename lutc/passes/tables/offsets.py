"""Tables that only a sum reads may be changed as long as the sum stays: by constants, and by taking them in two.

* A constant taken out of a table goes into the sum's bias. Tables that start at 0 need no sign, and often a bit less.
* A smooth function is a coarse table plus a small difference: `T(k) = base(k >> d) * 2**j + rest(k)`. The base has
  fewer inputs and outputs, the rest fewer outputs, and both simply join the sum.
* A table may start at any other number, as long as it is no wider: at some of them an output bit or two depend on
  fewer inputs.
* The bias left over goes into the table that grows least by it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import ClassVar

from lutc.ir.graph import Design, Table, Value, body, owners, users
from lutc.ir.ops import Lincomb, Lut, Number, Quant
from lutc.ir.ops.base import Op
from lutc.numbers import twos
from lutc.passes.context import Context
from lutc.passes.manager import Pass
from lutc.passes.rebuild import rebuild
from lutc.passes.rewriter import Rewriter
from lutc.passes.tables.splits import Price, Splits
from lutc.truth import Codes
from lutc.types import Fixed, holding, scalar

_SAFE = 40  # bits of any code met here
_PRICED = 3  # of the tables that seem to take a constant most cheaply, so many are looked at closely


@dataclass(frozen=True)
class Offsets(Pass):
    """Shift tables that only a sum reads to start at 0, split smooth ones in two, fold the constants left over."""

    name: ClassVar[str] = "offsets"

    def __call__(self, design: Design, context: Context) -> Design:
        splits = Splits(Price(context.target, encoders=context.thorough))
        single: set[Value] = set()
        movable: list[Lut] = []
        for owner in owners(design):
            roots = owner.roots
            single |= {v for v, read in users(body(owner)).items() if len(read) == 1 and v not in roots}
            for total in body(owner):
                if isinstance(total, Lincomb) and not total.type.shape:
                    movable += [v for v in total.terms if isinstance(v, Lut) and v in single and _movable(v)]
        splits.learn(_from_zero(v) for v in movable)

        def rule(rw: Rewriter, op: Op) -> Value:
            if isinstance(op, Lincomb) and not op.type.shape:
                assert rw.original is not None
                own = [v in single for v in rw.original.operands]
                return _sum(rw, op, own, splits)
            return op

        return rebuild(design, rule)


@dataclass
class _Part:
    """A table on its way through the pass: the key, the codes in steps of `2**-frac`, its weight in the sum."""

    key: Value
    codes: Codes
    frac: int
    weight: Fraction
    name: str

    def format(self) -> Fixed:
        return holding(int(self.codes.min()), int(self.codes.max()), self.frac)


def _movable(value: Value) -> bool:
    return isinstance(value, Lut) and not value.table.key.shape and value.type.max_width <= _SAFE


def _from_zero(value: Lut) -> Codes:
    codes: Codes = value.table.words - value.table.words.min()
    return codes


def _sum(rw: Rewriter, op: Lincomb, own: list[bool], splits: Splits) -> Value:
    parts: list[_Part] = []
    others: list[tuple[Value, Fraction]] = []
    bias = op.bias
    for value, weight, alone in zip(op.terms, op.weights, own, strict=True):
        if not weight:
            continue  # it adds nothing, and no bias is a multiple of it
        if not (alone and _movable(value)):
            others.append((value, weight))
            continue
        assert isinstance(value, Lut)
        frac = value.type.scalar.frac
        bias += weight * int(value.table.words.min()) * Fraction(2) ** -frac
        codes = _from_zero(value)
        splits.learn([codes])  # a look-up that became another by what was rewritten before
        parts += _split(_Part(value.key, codes, frac, weight, value.table.name), splits, rw)
    if not parts:
        return op
    for part in parts:
        start = splits.start(part.codes)
        part.codes = part.codes + start
        bias -= part.weight * start * Fraction(2) ** -part.frac
    bias = _fold(parts, bias, splits.price)
    terms = others + [(_lookup(rw, p), p.weight) for p in parts if p.codes.any()]
    if not terms:  # all of its tables were constants
        return rw.make(Number, bias)
    return rw.make(Lincomb, tuple(v for v, _ in terms), tuple(w for _, w in terms), bias)


def _split(part: _Part, splits: Splits, rw: Rewriter) -> list[_Part]:
    """The table whole, or what it becomes."""
    half = splits.half(part.codes)
    if half is None:
        return [part]
    key = part.key.type.scalar
    fewer = scalar(Fixed(key.signed, key.width - half.drop, key.frac - half.drop))
    two = (
        _Part(
            rw.make(Quant, part.key, fewer), half.base, part.frac - half.low, part.weight, f"{part.name}_base"
        ),
        _Part(part.key, half.rest, part.frac, part.weight, f"{part.name}_rest"),
    )
    return [p for one in two for p in _split(one, splits, rw)]


def _fold(parts: list[_Part], bias: Fraction, price: Price) -> Fraction:
    """Put the bias into the table that grows least; what remains of it."""
    if not bias:
        return bias
    ways: list[_Part] = []
    before: list[_Part] = []
    for part in parts:
        share = bias / part.weight
        try:
            frac = max(part.frac, twos(share))
        except ValueError:  # a weight that is no power of two
            continue
        codes = (part.codes << (frac - part.frac)) + int(share * Fraction(2) ** frac)
        way = replace(part, codes=codes, frac=frac)
        if way.format().width <= _SAFE:
            ways.append(way)
            before.append(part)
    rough = Price(price.target, encoders=False)
    growths = dict(enumerate(_growths(rough, before, ways)))
    likely = sorted(growths, key=lambda n: (growths[n], n))[:_PRICED]
    if price.encoders:
        exact = _growths(price, [before[n] for n in likely], [ways[n] for n in likely])
        growths = dict(zip(likely, exact, strict=True))
    # As an operand of its own, a constant takes at most a place in a carry chain.
    best = min(likely, key=lambda n: (growths[n], n), default=None)
    if best is None or growths[best] > price.target.adder_luts(8) / 2:
        return bias
    before[best].codes, before[best].frac = ways[best].codes, ways[best].frac
    return Fraction(0)


def _growths(price: Price, before: list[_Part], after: list[_Part]) -> list[float]:
    """What the tables of one list take more than those of the other."""
    parts = [*before, *after]
    luts = price.tables([p.codes for p in parts], [p.format().width for p in parts])
    return [b - a for a, b in zip(luts[: len(before)], luts[len(before) :], strict=True)]


def _lookup(rw: Rewriter, part: _Part) -> Value:
    table = Table(part.name, part.key.type, scalar(part.format()), part.codes)
    return rw.make(Lut, part.key, rw.symbol(table))
