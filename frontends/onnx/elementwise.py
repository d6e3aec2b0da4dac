"""Operators that work element by element: most only change the scale, the offset or the bounds of a tensor."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from lutc.ir.graph import Value
from lutc.lowering import exact as ex
from lutc.lowering.exact import Exact
from lutc.lowering.operands import NOTHING, computed, known, small
from lutc.lowering.refusals import Refusal
from lutc.lowering.tensors import Known, Scaled, Shape, Tensor, concrete, core, plain, reach
from lutc.lowering.walk import Walk

from .model import Node
from .rule import Inputs, Rule, needed, optional, rule


def together(*tensors: Tensor) -> Shape:
    """The shape tensors are broadcast to. Raises Refusal if they do not fit."""
    try:
        shape = tuple(np.broadcast_shapes(*(t.shape for t in tensors)))
    except ValueError:
        shapes = " and ".join(str(list(t.shape)) for t in tensors)
        raise Refusal(
            f"joins shapes {shapes}, which do not fit", "the model is broken: export it again"
        ) from None
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


def add(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """Add and Sub: a constant moves the offset; two tensors are brought to one scale first."""
    a, b = pair(walk, needed(inputs, 0), needed(inputs, 1))
    minus = ex.number(-1)
    if isinstance(b, Known):
        term = b.reals()
        return absorbed(walk, computed(a), term).plus(ex.times(term, minus) if node.op == "Sub" else term)
    if isinstance(a, Known):
        t = absorbed(walk, b, a.reals())
        return (t.times(minus) if node.op == "Sub" else t).plus(a.reals())
    return total(walk, [a, b.times(minus) if node.op == "Sub" else b])


def absorbed(walk: Walk, t: Scaled, term: Exact) -> Scaled:
    """The tensor with 0 where a float forgets it beside a term so much larger: the weights of a dead channel."""
    if t.integer or not isinstance(t.value, Value):
        return t
    digits = 54 if t.real == "double" else 25
    least = Fraction(1, 1 << (digits + 1))
    formats = {f for f in t.type.formats if f.width}
    most = max((max(abs(f.value(f.lo)), abs(f.value(f.hi))) for f in formats), default=Fraction(0))
    small = min((abs(v) for v in t.scale.ravel().tolist() if v), default=Fraction(1))
    if small * most >= least * max(abs(v) for v in term.ravel().tolist()):
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
    if bare is not terms and all(_same(t.scale, first.scale) for t in terms):
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


def _same(a: Exact, b: Exact) -> bool:
    return a.shape == b.shape and bool((a == b).all())


def mul(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """Mul: a constant changes the scale; two tensors are multiplied as exact values."""
    a, b = pair(walk, needed(inputs, 0), needed(inputs, 1))
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
    (s, (x,)), (t, (y,)) = walk.units([a], apart=True), walk.units([b], apart=True)
    done = plain(a.shape, walk.b.mul(x, y), a, ex.times(s, t))
    return replace(done, batched=a.batched or b.batched)


def div(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """Div by a constant."""
    a, b = pair(walk, needed(inputs, 0), needed(inputs, 1))
    by = known(b, "divisor").reals()
    if not ex.every(bool, by):
        raise Refusal("divides by zero", "check the model's constants")
    t = computed(a)
    if t.integer:
        raise Refusal("divides integers, which rounds in the model", "divide after dequantising")
    return t.times(ex.compress(np.asarray(1 / by, dtype=object)))


def power(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """Pow with a small whole exponent."""
    t = computed(needed(inputs, 0))
    p = ex.lone(known(needed(inputs, 1), "exponent").reals())
    if p not in (1, 2, 3):
        raise Refusal(
            "raises data to a power other than 1, 2 or 3",
            "quantise its input and output, so that it becomes a table",
        )
    result = t
    for _ in range(int(p) - 1):
        result = product(walk, result, t)
    return result


def neg(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    return computed(needed(inputs, 0)).times(ex.number(-1))


def absolute(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    t = computed(needed(inputs, 0))
    unit, value = walk.exact(t)
    return plain(t.shape, walk.b.abs(value), t, unit)


def relu(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    return computed(needed(inputs, 0)).clip(ex.number(0), ex.number(ex.INF))


def bound(array: Any) -> Exact:
    """Numbers that bound others, where an infinite one is no bound."""
    array = np.asarray(array)
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return ex.exact(array)
    if np.isnan(array).any():
        raise Refusal("has a bound that is not a number", "train or export the model again")
    finite = ex.spread(ex.exact(np.where(np.isinf(array), 0, array)), array.shape)
    return ex.choose(np.isinf(array), np.where(array > 0, ex.INF, -ex.INF).astype(object), finite)


def clip(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """Clip: bounds are attributes before operator set 11 and inputs since."""
    t = computed(needed(inputs, 0))
    if node.version < 11:
        ends = [node.get("min", None), node.get("max", None)]
        lo, hi = (None if e is None else bound(np.float32(e)) for e in ends)
    else:
        bounds = [optional(inputs, i) for i in (1, 2)]
        lo, hi = (None if x is None else bound(small(x)) for x in bounds)
    if lo is None:
        lo = ex.number(-ex.INF)
    if hi is None:
        hi = ex.number(ex.INF)
    return t.clip(lo.reshape(()), hi.reshape(()))


def batch_norm(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """BatchNormalization: `x * a + (beta - mean * a)` with `a = gamma / sqrt(var + epsilon)`.

    `a` is computed once, in float64, each step rounded as IEEE 754 has it; the rest is exact.
    """
    t = computed(needed(inputs, 0))
    # Before operator set 14 the results beside the first one are what says so.
    if node.get("training_mode", 0) or (node.version < 14 and any(node.outputs[1:])):
        raise Refusal("is in training mode", "export the model for inference")
    if node.version < 9 and not node.get("spatial", 1):
        raise Refusal(
            "normalises each position by itself (spatial=0)", "export it again with a newer operator set"
        )
    count = t.shape[1] if len(t.shape) > 1 else 1
    gamma, beta, mean, var = (np.asarray(small(needed(inputs, i)), dtype=np.float64) for i in range(1, 5))
    for what, array in (("scale", gamma), ("bias", beta), ("mean", mean), ("variance", var)):
        if array.shape != (count,):
            raise Refusal(
                f"normalises {count} channels of {list(t.shape)} with a {what} of shape {list(array.shape)}",
                "the model is broken: export it again",
            )
    with np.errstate(invalid="ignore", divide="ignore"):
        factor = gamma / np.sqrt(var + np.float64(np.float32(node.get("epsilon", 1e-5))))
    a = ex.exact(factor)
    b = ex.plus(ex.exact(beta), ex.times(ex.times(ex.exact(mean), a), ex.number(-1)))
    channels = (-1,) + (1,) * (len(t.shape) - 2)
    a, b = (ex.compress(ex.spread(x, (count,)).reshape(channels)) for x in (a, b))
    return t.times(a).plus(b)


def identity(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    return needed(inputs, 0)


def dropout(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """Dropout does nothing at inference."""
    optional(inputs, 1)  # the ratio, of training alone
    mode = optional(inputs, 2)
    if mode is not None and np.asarray(small(mode)).any():
        raise Refusal("drops elements at random (training_mode is set)", "export the model for inference")
    return needed(inputs, 0)


def minimum(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """Min and Max: constants become bounds, tensors are compared on one scale."""
    shape = together(*(t for t in inputs if t is not None))
    data = [walk.broadcast(t, shape) for t in inputs if isinstance(t, Scaled)]
    result = data[0]
    if len(data) > 1:
        unit, values = walk.units(data)
        lone = ex.lone(unit)
        assert lone is not None and lone > 0
        value = values[0]
        for v in values[1:]:
            value = walk.b.min(value, v) if node.op == "Min" else walk.b.max(value, v)
        result = replace(plain(shape, value, result, lone), batched=any(t.batched for t in data))
    for t in inputs:
        if isinstance(t, Known):
            limit = t.reals() if t.codes is not None else bound(t.array)
            ends = (ex.number(-ex.INF), limit) if node.op == "Min" else (limit, ex.number(ex.INF))
            result = result.clip(*ends)
    return result


def many(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """Sum and Mean of any number of tensors."""
    shape = together(*(t for t in inputs if t is not None))
    data = [walk.broadcast(t, shape) for t in inputs if isinstance(t, Scaled)]
    result = total(walk, data) if len(data) > 1 else data[0]
    for t in inputs:
        if isinstance(t, Known):
            result = result.plus(t.reals())
    return result.times(ex.number(Fraction(1, len(inputs)))) if node.op == "Mean" else result


def leaky(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """LeakyRelu and PRelu: where the tensor is negative, times a slope."""
    t = computed(needed(inputs, 0))
    if node.op == "PRelu":
        slope = known(needed(inputs, 1), "slope").reals()
        together(t, known(needed(inputs, 1), "slope"))
    else:
        slope = ex.exact(np.float32(node.get("alpha", 0.01)))
    unit, (positive, negative) = walk.units(
        [t.clip(ex.number(0), ex.number(ex.INF)), t.clip(ex.number(-ex.INF), ex.number(0)).times(slope)]
    )
    lone = ex.lone(unit)
    assert lone is not None and core(t.shape) == positive.type.shape
    return plain(t.shape, walk.b.add(positive, negative), t, lone)


RULES: dict[str, Rule] = {
    "Add": rule(add),
    "Sub": rule(add),
    "Mul": rule(mul, folds=True),
    "Div": rule(div),
    "Pow": rule(power),
    "Neg": rule(neg),
    "Abs": rule(absolute),
    "Relu": rule(relu),
    "Clip": rule(clip),
    "BatchNormalization": rule(batch_norm),
    "Identity": rule(identity),
    "Dropout": rule(dropout, folds=True),
    "Min": rule(minimum),
    "Max": rule(minimum),
    "Sum": rule(many),
    "Mean": rule(many),
    "LeakyRelu": rule(leaky),
    "PRelu": rule(leaky),
}
