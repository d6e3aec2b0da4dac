"""What works element by element: most of it only changes the scale, the offset or the bounds of a tensor.

Operands are broadcast as numpy does it. Every function raises Refusal for what it cannot compute exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from lutc.ir.graph import Value
from lutc.lowering import exact as ex
from lutc.lowering.exact import Exact
from lutc.lowering.operands import BROKEN, NOTHING, computed, known
from lutc.lowering.refusals import Refusal
from lutc.lowering.tensors import Known, Scaled, Shape, Tensor, concrete, core, plain, reach
from lutc.lowering.walk import Walk

MINUS = ex.number(-1)
POWERS = (1, 2, 3)  # that are products; others are tables


def together(*tensors: Tensor) -> Shape:
    """The shape tensors are broadcast to. Raises Refusal if they do not fit."""
    try:
        shape = tuple(np.broadcast_shapes(*(t.shape for t in tensors)))
    except ValueError:
        shapes = " and ".join(str(list(t.shape)) for t in tensors)
        raise Refusal(f"joins shapes {shapes}, which do not fit", BROKEN) from None
    if 0 in shape:
        raise Refusal(*NOTHING)
    return shape


def pair(walk: Walk, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Two operands with the data broadcast to the shape of the result."""
    shape = together(a, b)
    return (
        walk.broadcast(a, shape) if isinstance(a, Scaled) else a,
        walk.broadcast(b, shape) if isinstance(b, Scaled) else b,
    )


def add(walk: Walk, a: Tensor, b: Tensor) -> Scaled:
    """The sum: a constant moves the offset; two tensors are brought to one scale first."""
    a, b = pair(walk, a, b)
    if isinstance(b, Known):
        return absorbed(walk, computed(a), b.reals()).plus(b.reals())
    if isinstance(a, Known):
        return absorbed(walk, b, a.reals()).plus(a.reals())
    return total(walk, [a, b])


def subtract(walk: Walk, a: Tensor, b: Tensor) -> Scaled:
    """The difference `a - b`, as `add` has the sum."""
    a, b = pair(walk, a, b)
    if isinstance(b, Known):
        return absorbed(walk, computed(a), b.reals()).plus(ex.times(b.reals(), MINUS))
    return add(walk, a, negative(walk, b))


def absorbed(walk: Walk, t: Scaled, term: Exact) -> Scaled:
    """The tensor with 0 where a float forgets it beside a term so much larger: the weights of a dead channel."""
    if t.integer or not isinstance(t.value, Value):
        return t
    digits = 54 if t.real == "double" else 25
    least = Fraction(1, 1 << (digits + 1))
    formats = {f for f in t.type.formats if f.width}
    most = max((max(abs(f.value(f.lo)), abs(f.value(f.hi))) for f in formats), default=Fraction(0))
    least_scale = min((abs(v) for v in t.scale.ravel().tolist() if v), default=Fraction(1))
    if least_scale * most >= least * max(abs(v) for v in term.ravel().tolist()):
        return t
    lo, hi = reach(t)
    size = np.asarray(np.maximum(abs(lo), abs(hi)), dtype=object)
    gone = size < abs(term) * least
    if not (gone & (size > 0)).any():
        return t
    walk.note(
        f"{walk.layer.label if walk.layer else 'a layer'} adds numbers that are lost in the rounding of its other "
        "operand: they count as 0, as in the model"
    )
    none = ex.number(0)
    return replace(
        t,
        scale=ex.choose(gone, none, t.scale),
        offset=ex.choose(gone, none, t.offset),
        lo=ex.choose(gone, ex.number(-ex.INF), t.lo),
        hi=ex.choose(gone, ex.number(ex.INF), t.hi),
    )


def total(walk: Walk, terms: list[Scaled]) -> Scaled:
    """The sum of tensors of one shape. Offsets are added apart from the values; so are equal scales."""
    first = terms[0]
    if all(not t.clips() for t in terms):
        bare = [replace(t, offset=ex.number(0), lo=ex.number(-ex.INF), hi=ex.number(ex.INF)) for t in terms]
        offset = terms[0].offset
        for t in terms[1:]:
            offset = ex.plus(offset, t.offset)
    else:
        bare, offset = terms, ex.number(0)
    unit: Exact
    if bare is not terms and all(ex.equal(t.scale, first.scale) for t in terms):
        unit, values = first.scale, [concrete(t) for t in terms]
    else:
        unit, values = walk.units(bare, apart=True)
    value: Value = values[0]
    for v in values[1:]:
        value = walk.b.add(value, v)
    return Scaled(
        first.shape,
        value,
        scale=unit,
        offset=offset,
        integer=terms[0].integer,
        batched=any(t.batched for t in terms),
    )


def multiply(walk: Walk, a: Tensor, b: Tensor) -> Tensor:
    """The product: a constant changes the scale; two tensors are multiplied as exact values."""
    a, b = pair(walk, a, b)
    if isinstance(a, Known) and isinstance(b, Known):
        return _constants(a, b)
    if isinstance(b, Known):
        return computed(a).times(b.reals())
    if isinstance(a, Known):
        return b.times(a.reals())
    return product(walk, a, b)


def _constants(a: Known, b: Known) -> Known:
    """The product of two constants. Codes are kept, so that a scale may come as a factor of its own."""
    array = np.asarray(a.array * b.array)
    for codes, factor in ((a, b), (b, a)):
        if array.shape == codes.shape and codes.array.size > factor.array.size and array.dtype.kind == "f":
            whole = codes.codes
            if (
                whole is None
                and (np.rint(codes.array) == codes.array).all()
                and np.abs(codes.array).max() < 1 << 16
            ):
                whole = codes.array.astype(np.int64)
            if whole is not None:
                scale = ex.number(1) if codes.scale is None else codes.scale
                return Known(array, whole, ex.times(scale, factor.reals()))
    return Known(array)


def product(walk: Walk, a: Scaled, b: Scaled) -> Scaled:
    """The product of two tensors of one shape."""
    (s, (x,)), (t, (y,)) = walk.units([a], apart=True), walk.units([b], apart=True)
    done = plain(a.shape, walk.b.mul(x, y), a, ex.times(s, t))
    return replace(done, batched=a.batched or b.batched)


def divide(walk: Walk, a: Tensor, b: Tensor) -> Scaled:
    """The quotient by a constant."""
    a, b = pair(walk, a, b)
    by = known(b, "divisor").reals()
    if not ex.every(bool, by):
        raise Refusal("divides by zero", "check the model's constants")
    t = computed(a)
    if t.integer:
        raise Refusal("divides integers, which rounds in the model", "divide after dequantising")
    return t.times(ex.compress(np.asarray(1 / by, dtype=object)))


def whole_power(exponent: Tensor) -> bool:
    """Whether a power is one of the few that are products."""
    return ex.lone(known(exponent, "exponent").reals()) in POWERS


def power(walk: Walk, a: Tensor, exponent: Tensor) -> Scaled:
    """A power with a small whole exponent."""
    t = computed(a)
    p = ex.lone(known(exponent, "exponent").reals())
    if p not in POWERS:
        raise Refusal(
            "raises data to a power other than 1, 2 or 3",
            "quantise its input and output, so that it becomes a table",
        )
    result = t
    for _ in range(int(p) - 1):
        result = product(walk, result, t)
    return result


def negative(walk: Walk, t: Scaled) -> Scaled:
    return t.times(MINUS)


def absolute(walk: Walk, t: Scaled) -> Scaled:
    unit, value = walk.exact(t)
    return plain(t.shape, walk.b.abs(value), t, unit)


def relu(walk: Walk, t: Scaled) -> Scaled:
    return t.clip(ex.number(0), ex.number(ex.INF))


def bound(array: Any) -> Exact:
    """Numbers that bound others, where an infinite one is no bound."""
    array = np.asarray(array)
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return ex.exact(array)
    if np.isnan(array).any():
        raise Refusal("has a bound that is not a number", "train or export the model again")
    finite = ex.spread(ex.exact(np.where(np.isinf(array), 0, array)), array.shape)
    return ex.choose(np.isinf(array), np.where(array > 0, ex.INF, -ex.INF).astype(object), finite)


def clip(walk: Walk, t: Scaled, lo: Exact | None, hi: Exact | None) -> Scaled:
    """The tensor between two numbers (as `bound` reads them), of which None bounds nothing."""
    least = ex.number(-ex.INF) if lo is None else lo
    most = ex.number(ex.INF) if hi is None else hi
    return t.clip(least.reshape(()), most.reshape(()))


def batch_norm(
    walk: Walk, x: Tensor, gamma: Any, beta: Any, mean: Any, var: Any, epsilon: np.float64
) -> Scaled:
    """Batch normalisation: `x * a + (beta - mean * a)` with `a = gamma / sqrt(var + epsilon)`.

    The four arrays have a number for each channel, which are dimension 1. `a` is computed once, in float64, each step
    rounded as IEEE 754 has it; the rest is exact.
    """
    t = computed(x)
    count = t.shape[1] if len(t.shape) > 1 else 1
    gamma, beta, mean, var = (np.asarray(a, dtype=np.float64) for a in (gamma, beta, mean, var))
    for what, array in (("scale", gamma), ("bias", beta), ("mean", mean), ("variance", var)):
        if array.shape != (count,):
            raise Refusal(
                f"normalises {count} channels of {list(t.shape)} with a {what} of shape {list(array.shape)}",
                BROKEN,
            )
    with np.errstate(invalid="ignore", divide="ignore"):
        factor = gamma / np.sqrt(var + epsilon)
    a = ex.exact(factor)
    b = ex.plus(ex.exact(beta), ex.times(ex.times(ex.exact(mean), a), ex.number(-1)))
    channels = (-1,) + (1,) * (len(t.shape) - 2)
    a, b = (ex.compress(ex.spread(x, (count,)).reshape(channels)) for x in (a, b))
    return t.times(a).plus(b)


def minimum(walk: Walk, tensors: Sequence[Tensor]) -> Scaled:
    """The smallest of several tensors: constants become bounds, tensors are compared on one scale."""
    return _extreme(walk, tensors, largest=False)


def maximum(walk: Walk, tensors: Sequence[Tensor]) -> Scaled:
    """The largest of several tensors, as `minimum` has the smallest."""
    return _extreme(walk, tensors, largest=True)


def _extreme(walk: Walk, tensors: Sequence[Tensor], largest: bool) -> Scaled:
    shape = together(*tensors)
    data = [walk.broadcast(t, shape) for t in tensors if isinstance(t, Scaled)]
    result = data[0]
    if len(data) > 1:
        unit, values = walk.units(data)
        lone = ex.lone(unit)
        assert lone is not None and lone > 0
        value = values[0]
        for v in values[1:]:
            value = walk.b.max(value, v) if largest else walk.b.min(value, v)
        result = replace(plain(shape, value, result, lone), batched=any(t.batched for t in data))
    for t in tensors:
        if isinstance(t, Known):
            limit = t.reals() if t.codes is not None else bound(t.array)
            ends = (limit, ex.number(ex.INF)) if largest else (ex.number(-ex.INF), limit)
            result = result.clip(*ends)
    return result


def sum_of(walk: Walk, tensors: Sequence[Tensor]) -> Scaled:
    """The sum of any number of tensors."""
    shape = together(*tensors)
    data = [walk.broadcast(t, shape) for t in tensors if isinstance(t, Scaled)]
    result = total(walk, data) if len(data) > 1 else data[0]
    for t in tensors:
        if isinstance(t, Known):
            result = result.plus(t.reals())
    return result


def leaky_relu(walk: Walk, x: Tensor, by: Tensor) -> Scaled:
    """Where the tensor is negative, times a constant slope that broadcasts to its shape."""
    t, slope = computed(x), known(by, "slope")
    together(t, slope)
    unit, (positive, negative) = walk.units(
        [
            t.clip(ex.number(0), ex.number(ex.INF)),
            t.clip(ex.number(-ex.INF), ex.number(0)).times(slope.reals()),
        ]
    )
    lone = ex.lone(unit)
    assert lone is not None and core(t.shape) == positive.type.shape
    return plain(t.shape, walk.b.add(positive, negative), t, lone)
