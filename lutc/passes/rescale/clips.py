"""What stops numbers in front of a `rescale` or behind it, and is stopped anyway: relu, min, max, a saturating quant.

In front: rounding and saturating keep order, so where the answers to the lowest operand and to the one that it is
raised to are the same, those between are, too, and nothing need be raised. Behind: of two stops at whole steps, what is
left is one at the inner ends, if a format has these.
"""

from __future__ import annotations

from collections.abc import Mapping

from lutc.analysis.ranges import range_of
from lutc.ir.graph import Value
from lutc.ir.ops import Max, Min, Number, Quant, Relu, Rescale
from lutc.ir.ops.base import Op
from lutc.numbers import bounded
from lutc.passes.rescale.line import stairs_of
from lutc.passes.rewriter import Rewriter
from lutc.types import Fixed, Overflow, holding, scalar


def without_clips(rw: Rewriter, op: Op, readers: Mapping[Value, int]) -> Value:
    """An operation that takes in what stops its operand, or is taken in: a rule for `rebuild`.

    `readers` counts who reads each value of the body as it was.
    """
    original = rw.original
    if op.type.shape or not isinstance(original, Op):
        return op
    if isinstance(op, Rescale) and isinstance(original, Rescale):
        x, old = op.x, original.x
        while (inner := _stopped(x)) is not None and readers[old] == 1 and type(old) is type(x):
            if not _same_ends(op, x, inner):
                break
            x, old = inner, old.operands[x.operands.index(inner)]
        if x is op.x:
            return op
        return rw.make(Rescale, x, op.to, op.by, op.add, -1, op.round, op.overflow)
    scaled = _stopped(op)
    if not isinstance(scaled, Rescale) or type(op) is not type(original):
        return op
    alone = readers[original.operands[op.operands.index(scaled)]] == 1
    return (_bounded(rw, op, scaled) if alone else None) or op


def _stopped(value: Value) -> Value | None:
    """The number that an operation stops at ends of its own, on the same steps; None if it does anything else."""
    match value:
        case (
            Relu(x=x)
            | Min(a=x, b=Number())
            | Min(a=Number(), b=x)
            | Max(a=x, b=Number())
            | Max(a=Number(), b=x)
        ):
            pass
        case Quant(x=x, overflow=overflow) if overflow is not Overflow.WRAP or _holds(value.to.scalar, x):
            pass
        case _:
            return None
    one, other = x.type.scalar, value.type.scalar
    return x if one.width and other.width and one.frac == other.frac else None


def _holds(to: Fixed, x: Value) -> bool:
    lo, hi = range_of(x)
    return bool(to.lo <= lo and hi <= to.hi)


def _same_ends(op: Rescale, stopped: Value, inner: Value) -> bool:
    """Whether the answers to all operands that are stopped are those to the ends where they are."""
    (lo, hi), (lowest, highest) = range_of(stopped), range_of(inner)
    stairs = stairs_of(op, (lowest, highest))
    lower, upper = min(max(lo, lowest), highest), max(min(hi, highest), lowest)
    return stairs.answer(lowest) == stairs.answer(lower) and stairs.answer(highest) == stairs.answer(upper)


def _bounded(rw: Rewriter, op: Op, scaled: Rescale) -> Value | None:
    """The `rescale` into the format that ends where `op` stops it; None if there is none such."""
    stairs, old = stairs_of(scaled), scaled.to.scalar
    raw = sorted((stairs.line.whole(stairs.lo), stairs.line.whole(stairs.hi)))
    if scaled.overflow is Overflow.WRAP and not (old.lo <= raw[0] and raw[1] <= old.hi):
        return None
    (first, last), (lo, hi) = range_of(scaled), range_of(op)
    if not first <= lo < hi <= last:
        return None
    to = holding(lo, hi, old.frac)
    for mode in (Overflow.SATURATE, Overflow.SATURATE_SYMMETRIC):
        least = bounded(min(raw[0], to.lo), to, mode)
        # An end that no answer passes may lie anywhere beyond.
        low = least == lo if raw[0] < lo else least <= lo
        high = to.hi == hi if raw[1] > hi else to.hi >= hi
        if low and high:
            return rw.make(Rescale, scaled.x, scalar(to), scaled.by, scaled.add, -1, scaled.round, mode)
    return None
