"""Values that stay in a part of their format on the assumed rows get a narrower one; what never saturates wraps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from lutc.ir.graph import Design, Value, body, owners, users
from lutc.ir.ops import Call, ConstOp, Lut, Number, Pack, Quant, Reg
from lutc.ir.ops.base import Op
from lutc.numbers import divide, narrowest
from lutc.passes.assume.notes import noting
from lutc.passes.assume.observe import ranges_seen
from lutc.passes.context import Context
from lutc.passes.manager import Pass
from lutc.passes.rebuild import rebuild
from lutc.passes.rewriter import Rewriter
from lutc.types import Overflow, Rounding, Type


@dataclass(frozen=True)
class AssumeRanges(Pass):
    """Narrow values to the ranges they have on the assumed rows, with the margin; without rows, nothing."""

    name: ClassVar[str] = "assume-ranges"
    assumes: ClassVar[bool] = True

    def __call__(self, design: Design, context: Context) -> Design:
        if context.assumed is None:
            return design
        seen, met = ranges_seen(design, context.assumed)
        narrower: dict[Value | None, Type] = {}
        calm: set[Value | None] = set()  # conversions that saturate, and never have to
        for owner in owners(design):
            read = users(body(owner))
            for op in body(owner):
                if not isinstance(op, Op) or op not in seen or isinstance(op, _AS_THEY_ARE):
                    continue
                if isinstance(op, Quant) and _never_saturates(op, met[op]):
                    calm.add(op)
                to = narrowest((), *seen[op], op.type.scalar.frac)
                if to.bits < op.type.bits and (op in owner.roots or not _cut_by(read[op])):
                    narrower[op] = to
        if not (narrower or calm):
            return design

        def rule(rw: Rewriter, op: Op) -> Value:
            to = narrower.get(rw.original)
            if isinstance(op, Quant) and (to or rw.original in calm):
                # Where it has to stop on the rows, the narrower format has the same end.
                stops = op.overflow is not Overflow.WRAP and rw.original not in calm
                mode = Overflow.SATURATE if stops else Overflow.WRAP
                return rw.make(Quant, op.x, to or op.to, op.round, mode)
            return op if to is None else rw.make(Quant, op, to, Rounding.FLOOR, Overflow.WRAP)

        return noting(rebuild(design, rule), context)


_AS_THEY_ARE = (ConstOp, Number, Reg, Call, Pack)


def _cut_by(readers: Iterable[Value]) -> bool:
    """Whether all that read a value decide themselves which of its bits they want: tables, and what wraps."""
    return all(isinstance(r, Lut) or (isinstance(r, Quant) and r.overflow is Overflow.WRAP) for r in readers)


def _never_saturates(op: Quant, ends: tuple[int, int]) -> bool:
    """Whether numbers from the one end to the other, converted, stay in the format."""
    if op.overflow is Overflow.WRAP:
        return False
    shift = op.x.type.scalar.frac - op.to.scalar.frac
    lo, hi = (divide(end, shift, op.round) for end in ends)
    return bool(op.to.scalar.lo <= lo and hi <= op.to.scalar.hi)
