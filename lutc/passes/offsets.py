"""Tables that only a sum reads may be changed as long as the sum stays: by constants, and by taking them in two.

* A constant taken out of a table goes into the sum's bias. Tables that start at 0 need no sign, and often a bit less.
* A smooth function is a coarse table plus a small difference: `T(k) = base(k >> d) * 2**j + rest(k)`. The base has
  fewer inputs and outputs, the rest fewer outputs, and both simply join the sum.
* A table may start at any other number, as long as it is no wider: at some of them an output bit or two depend on
  fewer inputs.
* The bias left over goes into the table that grows least by it.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from lutc import target as targets
from lutc.analysis.encoders import encoded_luts
from lutc.functions import Codes, tables_luts
from lutc.graph import Design, Table, Value, body, owners, users
from lutc.numbers import twos
from lutc.ops import Lincomb, Lut, Quant
from lutc.ops.base import Op
from lutc.passes.manager import Pass
from lutc.passes.rebuild import Rewriter, rebuild
from lutc.passes.simplify import simplified
from lutc.target import Target
from lutc.types import Fixed, holding, scalar

_SAFE = 40  # bits of any code met here
_COARSEST = 4  # low bits that a base leaves to the rest
_STARTS = 32  # numbers tried for a table to start at
_PRICED = 2  # of the ways that look best, so many are looked at closely


@dataclass(frozen=True)
class Offsets(Pass):
    """Shift tables that only a sum reads to start at 0, split smooth ones in two, fold the constants left over."""

    name: ClassVar[str] = "offsets"
    target: str = "xcvu13p"
    encoders: bool = True  # count on wide tables being encoded

    def __call__(self, design: Design) -> Design:
        price = Price(targets.load(self.target), self.encoders)
        single: set[Value] = set()
        for owner in owners(design):
            roots = [o.value for o in owner.outputs] if isinstance(owner, Design) else [owner.result]
            single |= {v for v, read in users(body(owner)).items() if len(read) == 1 and v not in roots}

        def rule(rw: Rewriter, op: Op) -> Value:
            if isinstance(op, Lincomb) and not op.type.shape:
                assert rw.original is not None
                own = [v in single for v in rw.original.operands]
                return _sum(rw, op, own, price)
            return simplified(rw, op)

        return rebuild(design, rule)


@dataclass(frozen=True)
class Price:
    """What tables and their places in sums cost on a target."""

    target: Target
    encoders: bool

    def table(self, codes: Codes, width: int) -> float:
        return encoded_luts(codes, width, self.target, search=self.encoders)

    def roughly(self, tables: Codes, width: int) -> NDArray[np.float64]:
        """Many tables, [n, 2**k], at once."""
        return tables_luts(tables, width, self.target)

    def place(self, codes: Codes) -> float:
        """What one more operand of these numbers, from 0 on, costs a sum; low bits never set cost nothing.

        A chain of three operands takes in two more for one addition, and is a bit or two longer than they are.
        """
        if not codes.any():
            return 0.0
        used = int(np.bitwise_or.reduce(codes))
        width = used.bit_length() - (used & -used).bit_length() + 1
        luts = self.target.adder_luts(width)
        return luts / 2 + 1 if self.target.ternary else luts


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


def _sum(rw: Rewriter, op: Lincomb, own: list[bool], price: Price) -> Value:
    parts: list[_Part] = []
    others: list[tuple[Value, Fraction]] = []
    bias = op.bias
    for value, weight, alone in zip(op.terms, op.weights, own, strict=True):
        if not (
            alone and isinstance(value, Lut) and not value.table.key.shape and value.type.max_width <= _SAFE
        ):
            others.append((value, weight))
            continue
        codes = np.asarray(value.table.codes, dtype=np.int64)
        least = int(codes.min())
        frac = value.type.scalar.frac
        bias += weight * least * Fraction(2) ** -frac
        parts += _split(_Part(value.key, codes - least, frac, weight, value.table.name), price, rw)
    if not parts:
        return simplified(rw, op)
    for part in parts:
        bias -= part.weight * _shifted(part, price) * Fraction(2) ** -part.frac
    bias = _fold(parts, bias, price)
    terms = others + [(_lookup(rw, p), p.weight) for p in parts if p.codes.any()]
    return simplified(rw, rw.make(Lincomb, tuple(v for v, _ in terms), tuple(w for _, w in terms), bias))


def _split(part: _Part, price: Price, rw: Rewriter) -> list[_Part]:
    """The table whole, or as base and rest, whichever takes the fewest LUTs, the places in the sum counted in."""
    key = part.key.type.scalar
    ways: list[tuple[float, int, int, Codes, Codes]] = []
    for drop in range(1, max(key.width - 2, 1)):
        cells = part.codes.reshape(-1, 1 << drop).min(axis=1)
        coarser = np.arange(min(_COARSEST + 1, _width(cells)))[:, None]
        if not coarser.size:
            continue
        bases = cells >> coarser
        rests = part.codes - np.repeat(bases << coarser, 1 << drop, axis=1)
        luts = price.roughly(bases, _width(bases)) + price.roughly(rests, _width(rests))
        for n, (base, rest) in enumerate(zip(bases, rests, strict=True)):
            ways.append((luts[n] + price.place(base) + price.place(rest), drop, n, base, rest))
    cost = price.table(part.codes, part.format().width) + price.place(part.codes)
    best: tuple[int, int, Codes, Codes] | None = None
    for _, drop, low, base, rest in sorted(ways, key=lambda w: w[:3])[:_PRICED]:
        both = price.place(base) + price.place(rest)
        both += sum(price.table(c, _width(c)) for c in (base, rest))
        if both < cost:
            cost, best = both, (drop, low, base, rest)
    if best is None:
        return [part]
    drop, low, base, rest = best
    fewer = scalar(Fixed(key.signed, key.width - drop, key.frac - drop))
    two = (
        _Part(rw.make(Quant, part.key, fewer), base, part.frac - low, part.weight, f"{part.name}_base"),
        _Part(part.key, rest, part.frac, part.weight, f"{part.name}_rest"),
    )
    return [p for half in two for p in _split(half, price, rw)]


def _width(codes: Codes) -> int:
    """Bits of numbers from 0 on."""
    return int(codes.max()).bit_length()


def _shifted(part: _Part, price: Price) -> int:
    """Let a table start at the number, no wider than it is, from which on it takes the fewest LUTs; that number."""
    room = (1 << _width(part.codes)) - 1 - int(part.codes.max())
    if not room or not part.codes.any():
        return 0
    starts = np.unique(np.linspace(0, room, min(room + 1, _STARTS)).astype(np.int64))
    tables = part.codes + starts[:, None]
    luts = price.roughly(tables, _width(part.codes))
    likely = [0, *np.argsort(luts, kind="stable")[:_PRICED].tolist()]
    luts_of = {i: price.table(tables[i], _width(part.codes)) for i in likely}
    best = min(luts_of, key=lambda i: (luts_of[i], i))
    part.codes = tables[best]
    return int(starts[best])


def _fold(parts: list[_Part], bias: Fraction, price: Price) -> Fraction:
    """Put the bias into the table that grows least; what remains of it."""
    if not bias:
        return bias
    best: tuple[float, int, Codes, int] | None = None
    for i, part in enumerate(parts):
        share = bias / part.weight
        try:
            frac = max(part.frac, twos(share))
        except ValueError:  # a weight that is no power of two
            continue
        codes = (part.codes << (frac - part.frac)) + int(share * Fraction(2) ** frac)
        fmt = holding(int(codes.min()), int(codes.max()), frac)
        if fmt.width > _SAFE:
            continue
        growth = price.table(codes, fmt.width) - price.table(part.codes, part.format().width)
        if best is None or growth < best[0]:
            best = (growth, i, codes, frac)
    # As an operand of its own, a constant takes at most a place in a carry chain.
    if best is None or best[0] > price.target.adder_luts(8) / 2:
        return bias
    _, i, codes, frac = best
    parts[i].codes, parts[i].frac = codes, frac
    return Fraction(0)


def _lookup(rw: Rewriter, part: _Part) -> Value:
    table = Table(part.name, part.key.type, scalar(part.format()), part.codes)  # type: ignore[arg-type]
    return rw.make(Lut, part.key, rw.symbol(table))
