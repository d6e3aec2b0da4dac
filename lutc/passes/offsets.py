"""Tables that only a sum reads may be changed as long as the sum stays: by constants, and by taking them in two.

* A constant taken out of a table goes into the sum's bias. Tables that start at 0 need no sign, and often a bit less.
* A smooth function is a coarse table plus a small difference: `T(k) = base(k >> d) + rest(k)`. The base has fewer
  inputs, the rest fewer outputs, and both simply join the sum.
* The bias left over goes into the table that grows least by it.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import numpy as np

from lutc import target as targets
from lutc.analysis.functions import Codes, table_luts
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


@dataclass(frozen=True)
class Offsets(Pass):
    """Shift tables that only a sum reads to start at 0, split smooth ones in two, fold the constants left over."""

    name: ClassVar[str] = "offsets"
    target: str = "xcvu13p"

    def __call__(self, design: Design) -> Design:
        target = targets.load(self.target)
        single: set[Value] = set()
        for owner in owners(design):
            roots = [o.value for o in owner.outputs] if isinstance(owner, Design) else [owner.result]
            single |= {v for v, read in users(body(owner)).items() if len(read) == 1 and v not in roots}

        def rule(rw: Rewriter, op: Op) -> Value:
            if isinstance(op, Lincomb) and not op.type.shape:
                assert rw.original is not None
                own = [v in single for v in rw.original.operands]
                return _sum(rw, op, own, target)
            return simplified(rw, op)

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

    def luts(self, target: Target) -> float:
        return table_luts(self.codes, self.format(), target)


def _sum(rw: Rewriter, op: Lincomb, own: list[bool], target: Target) -> Value:
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
        parts += _split(_Part(value.key, codes - least, frac, weight, value.table.name), target, rw)
    if not parts:
        return simplified(rw, op)
    bias = _fold(parts, bias, target)
    terms = others + [(_lookup(rw, p), p.weight) for p in parts if p.codes.any()]
    return simplified(rw, rw.make(Lincomb, tuple(v for v, _ in terms), tuple(w for _, w in terms), bias))


def _split(part: _Part, target: Target, rw: Rewriter) -> list[_Part]:
    """The table whole, or as base and rest, whichever takes the fewest LUTs, the extra addition counted in."""
    best, cost = [part], part.luts(target)
    key = part.key.type.scalar
    for drop in range(1, max(key.width - 2, 1)):
        base = part.codes.reshape(-1, 1 << drop).min(axis=1)
        rest = part.codes - np.repeat(base, 1 << drop)
        coarse = scalar(Fixed(key.signed, key.width - drop, key.frac - drop))
        two = [
            _Part(part.key, base, part.frac, part.weight, f"{part.name}_base"),
            _Part(part.key, rest, part.frac, part.weight, f"{part.name}_rest"),
        ]
        # A third operand of a carry chain is half an addition.
        joined = target.adder_luts(int(rest.max()).bit_length() + 1) / (2 if target.ternary else 1)
        both = two[0].luts(target) + two[1].luts(target) + joined
        if both < cost:
            two[0].key = rw.make(Quant, part.key, coarse)
            best, cost = two, both
    return best


def _fold(parts: list[_Part], bias: Fraction, target: Target) -> Fraction:
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
        growth = table_luts(codes, fmt, target) - part.luts(target)
        if best is None or growth < best[0]:
            best = (growth, i, codes, frac)
    # As an operand of its own, a constant takes at most a place in a carry chain.
    if best is None or best[0] > target.adder_luts(8) / 2:
        return bias
    _, i, codes, frac = best
    parts[i].codes, parts[i].frac = codes, frac
    return Fraction(0)


def _lookup(rw: Rewriter, part: _Part) -> Value:
    table = Table(part.name, part.key.type, scalar(part.format()), part.codes)  # type: ignore[arg-type]
    return rw.make(Lut, part.key, rw.symbol(table))
