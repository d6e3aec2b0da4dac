"""On request only: a smaller circuit whose every output stays within so many units of its least significant bit.

Before tables and sums are reshaped, each sum is one operation of whole tables and terms, and what a coarser term saves
and costs is plain to see (`coarser`). What is chosen is `error_budget`'s business, and how errors reach the outputs
that of `errors`. In the end `deviation` compares the two designs anew, and what it proves is what counts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from math import floor
from typing import ClassVar

from lutc import settings
from lutc.diagnostics import error
from lutc.ir.graph import Design, Stage, Table, Value
from lutc.ir.ops import Lincomb, Lut, Quant
from lutc.ir.ops.base import Op
from lutc.numbers import trailing_zeros
from lutc.passes.approximate.coarser import Way
from lutc.passes.approximate.deviation import deviations
from lutc.passes.approximate.error_budget import Search, Sum
from lutc.passes.approximate.errors import Interval, Unbounded
from lutc.passes.context import Context
from lutc.passes.manager import Pass
from lutc.passes.rebuild import rebuild
from lutc.passes.rewriter import Rewriter
from lutc.passes.tables.splits import Price
from lutc.types import Fixed, holding, scalar

_BUG = "this is a bug in lutc: please report it with the model, and compile without --approx-lsb"
_SCALARIZE_FIRST = "run scalarize before it: approximate works on the scalar stage"


@dataclass(frozen=True)
class Approximate(Pass):
    """Make tables and sums coarser, as far as every output is proven to stay within `lsb` of its last bits."""

    name: ClassVar[str] = "approximate"
    lsb: float = 0.0

    def __post_init__(self) -> None:
        settings.lsb(self.lsb)

    def __call__(self, design: Design, context: Context) -> Design:
        if not self.lsb:
            return design
        if design.stage is not Stage.SCALAR:
            raise error("approximate meets a design of tensors", where=design.name, help=_SCALARIZE_FIRST)
        search = Search(design, floor(self.lsb), Price(context.target, encoders=context.thorough))
        chosen = search.chosen()
        if not chosen:
            return design
        changed = _applied(design, chosen)
        try:
            proven = deviations(design, changed)
        except Unbounded as e:
            raise error(f"approximate: {e}", where=design.name, help=_BUG) from None
        worst = max((max(-lo, hi) for some in proven.values() for lo, hi in some), default=0)
        if worst > self.lsb:
            raise error(
                f"approximate is off by {worst} of an output's last bits, and {self.lsb:g} are allowed",
                where=design.name,
                help=_BUG,
            )
        # What was expected of the exact design may not be answered any more.
        return replace(changed, notes=(*design.notes, note(self.lsb, worst)), runs=())

    def tolerance(self, before: Design, after: Design) -> dict[str, list[Interval]] | None:
        return deviations(before, after)


def note(lsb: float, worst: int) -> str:
    """What an approximated design says of itself."""
    return (
        f"this circuit approximates its model: every output is within {worst} units of its least significant bit "
        f"(proven; {lsb:g} were allowed)"
    )


def _applied(design: Design, chosen: dict[Value, Sum]) -> Design:
    """The design with all that was chosen."""
    tables: dict[Value | None, Way] = {
        s.total.terms[i]: way
        for s in chosen.values()
        for i, way in s.plan.ways.items()
        if way.codes is not None
    }

    def rule(rw: Rewriter, op: Op) -> Value:
        original = rw.original
        if isinstance(op, Lut) and original in tables:
            return _coarser_table(rw, op, tables[original])
        if isinstance(op, Lincomb) and isinstance(original, Lincomb) and original in chosen:
            return _coarser_sum(rw, op, original, chosen[original])
        return op

    return rebuild(design, rule, canonical="never")


def _coarser_table(rw: Rewriter, op: Lut, way: Way) -> Value:
    assert way.codes is not None
    lo, hi = int(way.codes.min()), int(way.codes.max())
    used = 0
    for code in {*way.codes.tolist()}:
        used |= code
    low = trailing_zeros(used)
    value = holding(lo >> low, hi >> low, op.type.scalar.frac - low)
    table = Table(op.table.name, op.table.key, scalar(value), way.codes >> low)
    return rw.make(Lut, op.key, rw.symbol(table))


def _coarser_sum(rw: Rewriter, op: Lincomb, original: Lincomb, some: Sum) -> Value:
    terms, weights = list(op.terms), list(op.weights)
    for i, way in some.plan.ways.items():
        if way.weight is not None:
            weights[i] = way.weight
        if way.dropped:
            now = terms[i].type.scalar
            more = now.frac - (original.terms[i].type.scalar.frac - way.dropped)
            if more > 0:  # it may have become coarser itself
                fewer = Fixed(now.signed, max(now.width - more, 0), now.frac - more)
                terms[i] = rw.make(Quant, terms[i], scalar(fewer))
    bias = op.bias + some.shift * Fraction(2) ** -original.type.scalar.frac
    return rw.make(Lincomb, tuple(terms), tuple(weights), bias)
