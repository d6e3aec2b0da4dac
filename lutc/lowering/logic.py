"""Comparisons, logic and choices. A truth value is a bit: the number 1 where it is true, else 0.

The model compares floats. A number that is compared with a constant is taken as float32 holds it, so that a code times
a scale meets the constant where it does in the model.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from lutc.ir.graph import Value
from lutc.ir.ops.logic import Relation
from lutc.lowering import exact as ex
from lutc.lowering.dtypes import FLOAT32_BITS
from lutc.lowering.elementwise import pair, together, total
from lutc.lowering.layout import given, merged
from lutc.lowering.operands import computed
from lutc.lowering.refusals import Refusal
from lutc.lowering.tensors import Known, Scaled, Shape, Tensor, concrete, core
from lutc.lowering.walk import Walk
from lutc.types import BIT, uniform

TURNED = {
    Relation.LT: Relation.GT,
    Relation.GT: Relation.LT,
    Relation.LE: Relation.GE,
    Relation.GE: Relation.LE,
}


def compare(walk: Walk, a: Tensor, b: Tensor, relation: Relation) -> Scaled:
    """Whether `a` stands in a relation to `b`, element by element."""
    a, b = pair(walk, a, b)
    if isinstance(a, Known):
        a, b, relation = b, a, TURNED.get(relation, relation)
    t = computed(a)
    if isinstance(b, Known):
        return against(walk, t, b, relation)
    return truth(t, _related(walk, t, computed(b), relation), b)


def truth(t: Scaled, bits: Value, other: Tensor | None = None) -> Scaled:
    """A tensor of truth values, of the shape of the tensors it was made of."""
    batched = t.batched or (isinstance(other, Scaled) and other.batched)
    return Scaled(t.shape, bits, integer="bool", batched=batched)


def _related(walk: Walk, a: Scaled, b: Scaled, relation: Relation) -> Value:
    scale, other = ex.lone(a.scale), ex.lone(b.scale)
    bare = all(ex.every(lambda v: not v, t.offset) and not t.clips() for t in (a, b))
    if bare and scale is not None and scale == other and scale > 0:
        x, y = concrete(a), concrete(b)
    else:
        _, (x, y) = walk.units([a, b], apart=True)
    done: Value = walk.b.compare(x, y, rel=relation)
    return done


def against(walk: Walk, t: Scaled, constant: Known, relation: Relation) -> Scaled:
    """A tensor compared with a constant: its value is compared with the value's own multiple of a step at the limit.

    Raises Refusal for a constant that is not finite.
    """
    limit = (
        ex.exact(constant.array.astype(np.int64)) if constant.array.dtype.kind == "b" else constant.reals()
    )
    if t.clips() or not ex.every(bool, t.scale):
        unit, value = walk.exact(t)
        t = Scaled(t.shape, value, ex.number(unit), integer=t.integer, batched=t.batched)
    value, signs = concrete(t), ex.choose(t.scale < 0, ex.number(-1), ex.number(1))
    finest = max((f.frac for f in value.type.formats if f.width), default=0)
    parts: Any = np.broadcast_arrays(abs(t.scale), t.offset, limit)
    # Numbers wider than a float32 are compared as they are.
    float32 = not t.integer and t.real == "float" and value.type.max_width <= FLOAT32_BITS
    found = np.empty(parts[0].shape, dtype=object)
    for at in np.ndindex(found.shape):
        by, add, c = (p[at] for p in parts)
        found[at] = limit_of(by, add, c, Fraction(2) ** -finest, relation, float32)
    sign = ex.lone(signs)
    if sign is None:
        value = walk.affine(value, walk.inner(signs, t.shape), ex.number(0))
    elif sign < 0:  # -v < c where v > -c
        found, relation = np.asarray(-found, dtype=object), TURNED.get(relation, relation)
    limits = walk.constant(walk.inner(ex.compress(found), t.shape), core(t.shape), "limit")
    bits: Value = walk.b.compare(value, limits, rel=relation)
    return truth(t, bits)


def limit_of(
    scale: Fraction, offset: Fraction, limit: Fraction, step: Fraction, relation: Relation, float32: bool
) -> Fraction:
    """What a multiple v of `step` is compared with instead of `scale * v + offset` with `limit`; scale > 0."""
    zero = offset / scale / step
    rounds = float32 and zero.denominator == 1 and abs(zero) < 1 << FLOAT32_BITS

    def number(v: Fraction) -> Fraction:
        exactly = scale * v + offset
        return Fraction(float(np.float32(float(exactly)))) if rounds else exactly

    near = math.floor((limit - offset) / scale / step)
    around = [(near + i) * step for i in range(-2, 4)]  # float32 rounds by less than two steps
    match relation:
        case Relation.EQ | Relation.NE:  # half a step off lies no number at all
            return next((v for v in around if number(v) == limit), around[2] + step / 2)
        case Relation.LT | Relation.GE:
            return next(v for v in around if number(v) >= limit)
        case _:
            return next(v for v in reversed(around) if number(v) <= limit)


def bits(walk: Walk, t: Tensor, shape: Shape) -> Value:
    """Truth values as bits of one format. Raises Refusal for data that is none."""
    if isinstance(t, Known):
        array = np.broadcast_to(t.array, shape).reshape(core(shape)).astype(np.int64)
        value: Value = walk.constant(ex.spread(ex.exact(array), core(shape)), core(shape))
    else:
        if t.integer != "bool":
            raise Refusal("chooses by data that is no truth value", "compare it first: Greater, Equal, ...")
        _, value = walk.exact(walk.broadcast(t, shape))
    if value.type.format != BIT:
        value = walk.b.quant(value, to=uniform(core(shape), BIT))
    return value


def connected(walk: Walk, a: Tensor, b: Tensor, by: Callable[[Value, Value], Value]) -> Scaled:
    """Two tensors of truth values made one `by` a builder's operation: its `and_`, `or_` or `xor`."""
    shape = together(a, b)
    done = by(bits(walk, a, shape), bits(walk, b, shape))
    batched = any(isinstance(t, Scaled) and t.batched for t in (a, b))
    return Scaled(shape, done, integer="bool", batched=batched)


def logical_not(walk: Walk, t: Scaled) -> Scaled:
    return truth(t, walk.b.not_(bits(walk, t, t.shape)))


def where(walk: Walk, condition: Tensor, yes: Tensor, no: Tensor) -> Scaled:
    """One tensor or the other: a constant condition only moves elements; a computed one chooses between them."""
    shape = together(condition, yes, no)
    if isinstance(condition, Known):
        return _settled(walk, np.broadcast_to(condition.array, shape), yes, no)
    batched = any(isinstance(t, Scaled) and t.batched for t in (condition, yes, no))
    choice = bits(walk, condition, shape)
    if isinstance(yes, Known) and isinstance(no, Known):
        kind = yes.array.dtype.name if yes.array.dtype.kind in "iu" else None
        if yes.array.dtype.kind == "b":
            yes, no = (Known(t.array.astype(np.int64)) for t in (yes, no))
            kind = "bool"
        base, step = no.reals(), ex.plus(yes.reals(), ex.times(no.reals(), ex.number(-1)))
        chosen = Scaled(shape, choice, batched=batched).times(step).plus(base)
        return replace(chosen, integer=kind)
    data: list[Scaled] = []
    for t in (yes, no):
        t = given(walk, t) if isinstance(t, Known) else t
        data.append(walk.broadcast(t, shape))
    integer = next(t.integer for t in (yes, no) if isinstance(t, Scaled))
    first = data[0]
    if all(ex.equal(getattr(t, f), getattr(first, f)) for t in data for f in ("scale", "offset", "lo", "hi")):
        x, y = (concrete(t) for t in data)
        chosen = replace(first, value=walk.b.select(choice, x, y))
    else:
        unit, (x, y) = walk.units(data, apart=True)
        chosen = Scaled(shape, walk.b.select(choice, x, y), scale=unit)
    return replace(chosen, integer=integer, batched=batched)


def _settled(walk: Walk, condition: Any, yes: Tensor, no: Tensor) -> Scaled:
    """Elements chosen at compile time: constants nobody chooses may be infinite."""
    kept = [replace(t, array=np.where(c, t.array, 0)) if isinstance(t, Known) and t.codes is None else t
            for t, c in ((yes, condition), (no, ~condition))]  # fmt: skip
    data = [walk.broadcast(given(walk, t) if isinstance(t, Known) else t, condition.shape) for t in kept]
    at = np.arange(condition.size).reshape(condition.shape)
    done = merged(walk, data, np.where(condition, at, at + condition.size))
    return replace(done, integer=next(t.integer for t in (yes, no) if isinstance(t, Scaled)))


def sign(walk: Walk, t: Scaled) -> Scaled:
    """The sign: whether it is above zero, minus whether it is below."""
    zero = Known(np.float32(0))
    above, below = (replace(against(walk, t, zero, r), integer=None) for r in (Relation.GT, Relation.LT))
    return total(walk, [above, below.times(ex.number(-1))])
