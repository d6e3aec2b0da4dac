"""Functions of one tensor between two quantisers: they become truth tables.

A tensor of few bits has few values, so whatever is computed of it element by element is computed once for each, by
the standard's reference implementation in the model's own float type, and kept as an array whose first dimension is
the value's code. The quantiser behind turns that into a table; nothing else can take it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lutc.ir.graph import Table, Value
from lutc.lowering import exact as ex
from lutc.lowering.dtypes import NARROW_FLOATS
from lutc.lowering.operands import NOTHING
from lutc.lowering.refusals import Refusal
from lutc.lowering.tensors import Curve, Known, Scaled, concrete, core
from lutc.lowering.walk import Walk
from lutc.types import Fixed, Type, holding, uniform

from .linear import hull
from .model import Node, fold
from .rule import Rule

KEY_BITS = 12  # larger tables make no sense in LUTs
# Operators that work element by element: those with an exact rule, which join a table where one is begun, and others.
# fmt: off
EXACT = frozenset((
    "Abs", "Add", "BatchNormalization", "Cast", "Clip", "Div", "Identity", "LeakyRelu", "Max", "Mean", "Min", "Mul",
    "Neg", "PRelu", "Pow", "Relu", "Sign", "Sub", "Sum",
))
CURVES = frozenset((
    "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Celu", "Cos", "Cosh", "Elu", "Erf", "Exp", "Floor",
    "Gelu", "HardSigmoid", "HardSwish", "Log", "Mish", "Reciprocal", "Round", "Selu", "Shrink", "Sigmoid",
    "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Swish", "Tan", "Tanh", "ThresholdedRelu",
))
# fmt: on
QUANTISERS = frozenset({"Quant", "IntQuant", "BipolarQuant", "QuantizeLinear"})
TRUTHS = frozenset(("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"))  # need no quantiser


def joins(tensors: list[Any], node: Node) -> bool:
    """Whether a node is part of a function that becomes a table."""
    if any(isinstance(t, Curve) for t in tensors):
        return True
    if node.domain != "" or not any(isinstance(t, Scaled) for t in tensors):
        return False
    if node.op == "Pow" and isinstance(tensors[1], Known):
        return ex.lone(tensors[1].reals()) not in (1, 2, 3)
    return node.elementwise or node.op in CURVES or (node.op == "Div" and isinstance(tensors[0], Known))


def known_curve(node: Node) -> bool:
    """Whether an operator can become a table."""
    return node.domain == "" and node.op in CURVES


def extended(walk: Walk, node: Node, given: Sequence[Any], rule: Rule | None) -> Any:
    """What a node makes of functions: another function, or behind a quantiser a value looked up in a table."""
    tensors = list(given)
    if node.op in QUANTISERS and rule and isinstance(tensors[0], Curve):
        (curve, *rest) = tensors
        array = curve.array
        if np.isnan(array).any():
            walk.undefined.append(node.inputs[0])
            walk.note(
                f"{node.label} quantises {curve.op}, which is not a number for some inputs: the table has 0 there"
            )
        # Infinities saturate, as any number far outside does.
        array = np.nan_to_num(array, nan=0.0, posinf=2.0**64, neginf=-(2.0**64))
        found = rule.lower(walk, node, [Known(array), *rest])
        assert isinstance(found, Known)
        return looked_up(walk, curve, found)
    curves = [t for t in tensors if isinstance(t, Curve)]
    if node.domain != "" or not (node.elementwise or node.op in EXACT | CURVES | TRUTHS):
        raise Refusal(
            f"reads what {curves[0].op} computes, which is no number of a fixed format",
            f"quantise behind {curves[0].op}, so that it becomes a table",
        )
    key = curves[0].key if curves else None
    data = [t for t in tensors if isinstance(t, Scaled)]
    opened = {id(t): opened_curve(walk, t, node.op, key) for t in data}
    tensors = [opened.get(id(t), t) for t in tensors]
    curves = [t for t in tensors if isinstance(t, Curve)]
    first = curves[0]
    if any(c.key is not first.key or c.shape != first.shape for c in curves):
        raise Refusal(
            f"joins {first.op} with another tensor before a quantiser", "quantise both operands of this layer"
        )
    if node.op == "BatchNormalization":
        return _normalised(node, first, tensors)
    shape = np.broadcast_shapes(first.shape, *(t.shape for t in tensors if isinstance(t, Known)))
    if 0 in shape:
        raise Refusal(*NOTHING)
    if tuple(shape) != first.shape:
        raise Refusal("repeats the result of a function along new dimensions", "quantise it first")
    arrays = [t.array if t is not None else None for t in tensors]
    (array,) = fold(node, arrays)
    if node.op in TRUTHS:
        curve = Curve(first.shape, first.key, array, first.op, first.batched)
        return replace(looked_up(walk, curve, Known(array.astype(np.int64))), integer="bool")
    return Curve(first.shape, first.key, np.asarray(array), node.op, first.batched)


def _normalised(node: Node, x: Curve, tensors: list[Any]) -> Curve:
    """BatchNormalization of a function: its parameters lie along the channels, and the codes are its samples."""
    if core(x.shape) == x.shape:
        raise Refusal(
            "normalises the result of a function without a batch", "export the model with a batch of 1"
        )
    known = [t.array for t in tensors[1:] if isinstance(t, Known)]
    if len(known) != 4 or len(x.shape) < 2 or any(a.shape != (x.shape[1],) for a in known):
        shapes = ", ".join(str(list(t.shape)) for t in tensors[1:])
        raise Refusal(
            f"normalises {list(x.shape)} with parameters of the shapes {shapes}",
            "the model is broken: export it again",
        )
    wide = np.broadcast_to(x.array, (len(x.array), x.shape[1], *x.array.shape[2:]))
    return replace(x, array=np.asarray(fold(node, [wide, *known])[0]), op=node.op)


def opened_curve(walk: Walk, t: Scaled, op: str, key: Value | None) -> Curve:
    """A tensor as a function of its value: the identity. Raises Refusal if the value has too many bits."""
    value = concrete(t)
    kind = value.type
    fmt = kind.format or hull(kind.formats)
    if fmt.width > KEY_BITS:
        raise Refusal(
            f"computes {op} of numbers with {fmt.width} bits: a table for them would be too large",
            f"quantise the input of this layer to at most {KEY_BITS} bits",
        )
    if kind.format is None:
        value = (
            key
            if key is not None and key.operands[:1] == (value,)
            else walk.b.quant(value, to=uniform(kind.shape, fmt))
        )
    codes = ex.exact(np.array([(c if c <= fmt.hi else c - (1 << fmt.width)) for c in range(1 << fmt.width)]))
    dims = core(t.shape)
    column = ex.spread(codes, (1 << fmt.width,)).reshape(-1, *(1,) * len(dims)) * fmt.step
    scale, offset, lo, hi = (
        ex.ranked(walk.inner(x, t.shape), len(dims)) for x in (t.scale, t.offset, t.lo, t.hi)
    )
    reals = np.minimum(np.maximum(column * scale + offset, lo), hi)
    flat = np.array([float(v) for v in reals.ravel().tolist()]).reshape(reals.shape)
    return Curve(t.shape, value, flat.astype(_computed_in(walk, t)), op, t.batched)


def _computed_in(walk: Walk, t: Scaled) -> Any:
    """The float type functions of a tensor are computed in. Raises Refusal for floats of 16 bits."""
    if t.integer is None and t.real in NARROW_FLOATS:
        raise Refusal(f"computes in {t.real}, which rounds at every step", "convert the model to float32")
    return np.float64 if t.integer is None and t.real == "double" else walk.model.dtype


def looked_up(walk: Walk, curve: Curve, found: Known) -> Scaled:
    """A quantised function as a table: one for all elements, or one for each where parameters differ."""
    codes, scale = found.codes, found.scale
    integer = None
    if codes is None:  # QuantizeLinear gives integers as they are
        if found.array.dtype.kind not in "iu":
            raise Refusal("has a zero point that is no integer", "use a whole zero point")
        codes, scale, integer = found.array.astype(np.int64), ex.number(1), "int32"
    fmt = curve.key.type.scalar if not curve.key.type.shape else curve.key.type.format
    assert isinstance(fmt, Fixed)
    lone = ex.lone(scale)
    frac = -ex.exponent(lone) if lone is not None and lone > 0 and ex.power_of_two(lone) else 0
    to = holding(int(codes.min()), int(codes.max()), frac)
    name = walk.names.take(f"{walk.owner}_{curve.op.lower()}", "t")
    per_element = any(n > 1 for n in codes.shape[1:])
    inner = core(curve.shape)
    if per_element:
        every = np.broadcast_to(codes, (len(codes), *inner))
        table = Table(
            name, uniform(inner, fmt), uniform(inner, to), np.moveaxis(every, 0, -1).astype(object).ravel()
        )
    else:
        table = Table(name, Type((), ((1, fmt),)), Type((), ((1, to),)), codes.astype(object).ravel())
    value = walk.b.lut(curve.key, table)
    done = Scaled(curve.shape, value, batched=curve.batched, integer=integer)
    rest = ex.times(scale, ex.number(2**frac)) if frac >= 0 else ex.times(scale, ex.exact(2.0**frac))
    return replace(done, scale=rest)
