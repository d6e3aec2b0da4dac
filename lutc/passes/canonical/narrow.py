"""Bounds make formats narrower: what a value cannot reach needs no wires."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np

from lutc.analysis.dataflow import Dataflow
from lutc.analysis.ranges import range_of, set_range
from lutc.ir.facts import Fact
from lutc.ir.graph import Design, Value
from lutc.ir.ops import Call, ConstOp, Max, Min, Number, Pack, Quant, Reg
from lutc.ir.ops.base import Op
from lutc.numbers import divide, narrowest
from lutc.passes.context import Context
from lutc.passes.identities import simplified
from lutc.passes.manager import Pass
from lutc.passes.rebuild import rebuild
from lutc.passes.rewriter import Rewriter, with_operands
from lutc.types import Overflow, Type

_NARROW: Fact[bool] = Fact("narrow", from_below=True)  # that its format is as narrow as its range


@dataclass(frozen=True)
class Narrow(Pass):
    """Propagate exact ranges from the inputs; narrow every value to its range, and drop saturation that never acts."""

    name: ClassVar[str] = "narrow"

    def __call__(self, design: Design, context: Context) -> Design:
        def rule(rw: Rewriter, op: Op) -> Value:
            if isinstance(op, ConstOp | Number | Reg | Call | Pack) or op in _NARROW:
                return op
            decided = _decided(op)
            if decided is not None:
                return rw.fit(decided, op.type)
            narrowed = _narrowed(rw, op)
            if narrowed is op:
                _NARROW.keep(op, True)
            return narrowed

        # One walk is enough, for what a body's values depend on has no loop.
        return rebuild(design, rule, canonical="before", along=lambda owner: Dataflow(owner).order())


def _decided(op: Op) -> Value | None:
    """The operand that a `min` or `max` of scalars always is."""
    if op.type.shape or not isinstance(op, Max | Min):
        return None
    greater, less = (op.a, op.b) if isinstance(op, Max) else (op.b, op.a)
    for one, other, found in ((greater, less, op.a), (less, greater, op.b)):
        (lo, _), (_, hi) = range_of(one), range_of(other)
        if one.type.scalar.value(int(lo)) >= other.type.scalar.value(int(hi)):
            return found
    return None


def _narrowed(rw: Rewriter, op: Op) -> Value:
    lo, hi = range_of(op)
    frac = op.type.fracs
    if not op.type.shape and int(lo) == int(hi):
        return rw.make(Number, int(lo) * Fraction(2) ** -int(frac))
    if isinstance(op, Quant):
        return _quant(rw, op)
    to = narrowest(op.type.shape, lo, hi, frac)
    if to.bits >= op.type.bits:
        return op
    result = simplified(rw, rw.make(Quant, op, to))
    set_range(result, (lo, hi))
    return result


def _quant(rw: Rewriter, op: Quant) -> Value:
    x = range_of(op.x)
    shift = op.x.type.fracs - op.to.fracs
    before = [divide(b, shift, op.round) for b in x]
    lo, hi = range_of(op)
    inside = _all(before[0] == lo) and _all(before[1] == hi)
    to = narrowest(op.type.shape, lo, hi, op.to.fracs)
    to = to if to.bits < op.to.bits else op.to
    mode = Overflow.WRAP if inside else op.overflow
    if not inside and to != op.to and op.overflow is not Overflow.SATURATE:
        # Other modes look at the format's own ends: convert first, then drop the bits never used.
        result: Value = rw.make(Quant, op, to)
    else:
        result = _converted(rw, op, to, mode, lo, hi) if (to, mode) != (op.to, op.overflow) else op
    result = simplified(rw, result) if isinstance(result, Op) else result
    set_range(result, (lo, hi))
    return result


def _converted(rw: Rewriter, op: Quant, to: Type, mode: Overflow, lo: Any, hi: Any) -> Op:
    """The conversion straight into the narrower format, where that stops at the same numbers."""
    if mode is Overflow.SATURATE:
        floor, ceil = to.ranges
        old_floor, old_ceil = op.to.ranges
        stops_high = _all((hi < old_ceil) | (ceil == old_ceil))
        stops_low = _all((lo > old_floor) | (floor == old_floor))
        if not (stops_high and stops_low):
            return rw.make(Quant, op, to)
    return with_operands(op, [op.x], to=to, overflow=mode, name=None)


def _all(condition: Any) -> bool:
    return bool(np.all(condition))
