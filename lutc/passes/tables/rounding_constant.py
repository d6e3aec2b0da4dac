"""A sum that tables read at several roundings takes the rounding constant of the coarsest into its bias.

With y the sum and h half a step of the coarsest reader, that reader's `round(y)` is `floor(y + h)`: wires. Any finer
reader's steps divide h, so `round(y + h) = round(y) + h` there, and `floor` likewise: its key is the old one plus a
constant, and its table is the old one, rotated. One rounding of each sum is free.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import ClassVar

import numpy as np

from lutc.ir.graph import Design, Table, Value, body, owners, users
from lutc.ir.ops import Lincomb, Lut, Quant
from lutc.ir.ops.base import Op
from lutc.passes.context import Context
from lutc.passes.manager import Pass
from lutc.passes.rebuild import rebuild
from lutc.passes.rewriter import Rewriter
from lutc.types import Overflow, Rounding


@dataclass(frozen=True)
class RoundingConstant(Pass):
    """Take the coarsest rounding of a sum that only tables read into the sum, and rotate the other tables."""

    name: ClassVar[str] = "rounding-constant"

    def __call__(self, design: Design, context: Context) -> Design:
        chosen = _Chosen()
        for owner in owners(design):
            read = users(body(owner))
            roots = {*owner.roots}
            for value in read:
                if isinstance(value, Lincomb) and not value.type.shape and value not in roots:
                    chosen.consider(value, read, roots)

        def rule(rw: Rewriter, op: Op) -> Value:
            original = rw.original
            if isinstance(op, Lincomb) and original in chosen.constants:
                op = rw.make(Lincomb, op.terms, op.weights, op.bias + chosen.constants[original])
            elif isinstance(op, Quant) and original in chosen.floors:
                op = rw.make(Quant, op.x, op.to, Rounding.FLOOR, op.overflow)
            elif isinstance(op, Lut) and original in chosen.turns:
                codes = np.roll(op.table.codes, chosen.turns[original])
                table = Table(op.table.name, op.table.key, op.table.value, codes)
                op = rw.make(Lut, op.key, rw.symbol(table))
            return op

        return rebuild(design, rule)


@dataclass
class _Chosen:
    """What changes: rounding constants added to sums, roundings that become floors, tables by how far they turn."""

    constants: dict[Value | None, Fraction] = field(default_factory=dict)
    floors: set[Value | None] = field(default_factory=set)
    turns: dict[Value | None, int] = field(default_factory=dict)

    def consider(self, total: Lincomb, read: dict[Value, list[Value]], roots: set[Value]) -> None:
        """Enter a sum if all its readers allow it."""
        quants = [q for q in read[total] if isinstance(q, Quant) and q.overflow is Overflow.WRAP]
        rounded = [
            q for q in quants if q.round is Rounding.HALF_UP and q.to.scalar.step > total.type.scalar.step
        ]
        if len(quants) < len(read[total]) or not rounded or any(q in roots for q in quants):
            return
        step = max(q.to.scalar.step for q in rounded)
        free = {q for q in rounded if q.to.scalar.step == step}
        half = step / 2
        tables: dict[Value | None, int] = {}
        for quant in quants:
            if not quant.to.scalar.width:
                continue
            turn = Fraction(0) if quant in free else half / quant.to.scalar.step
            whole = quant.round in (Rounding.FLOOR, Rounding.HALF_UP) and turn.denominator == 1
            if not whole or not all(isinstance(v, Lut) and not v.table.key.shape for v in read[quant]):
                return
            tables |= dict.fromkeys(read[quant], int(turn))
        self.constants[total] = half
        self.floors |= free
        self.turns |= tables
