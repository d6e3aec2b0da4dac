"""QuantizeLinear and DequantizeLinear: `saturate(round_half_even(x / scale) + zero)` and `(q - zero) * scale`.

Source: the ONNX operator specification.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from lutc.lowering import exact as ex
from lutc.lowering.affine import affine, check_scale, shifted
from lutc.lowering.dtypes import FLOATS, NARROW_FLOATS, RANGES, kind_name, within
from lutc.lowering.exact import Exact
from lutc.lowering.operands import axis_of, computed, small
from lutc.lowering.refusals import Refusal
from lutc.lowering.tensors import Known, Scaled, Shape, Tensor
from lutc.lowering.walk import Walk

from .model import Node, numpy_type
from .rule import Inputs, Rule, needed, optional, rule

# TensorProto.DataType of the integers a tensor may be quantised to.
TYPES = {
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    12: "uint32",
    21: "uint4",
    22: "int4",
    25: "uint2",
    26: "int2",
}


def _integers(array: Any) -> Any:
    """A constant's integers as Python has them (numpy has no 4-bit type of its own)."""
    return np.asarray(array).astype(np.int64)


def _along(node: Node, array: Any, shape: Shape) -> Any:
    """A parameter for each channel, in a shape that broadcasts to the tensor's."""
    array = np.asarray(array)
    axis, block = node.get("axis", 1), node.get("block_size", 0)
    if array.size == 1:  # of a whole tensor: no axis matters
        return array.reshape(())
    if block or array.ndim > 1:
        raise Refusal(
            "has a scale for each block of a channel, which no integer product can take out",
            "quantise per tensor or per channel",
        )
    axis = axis_of(axis, len(shape))
    if array.shape[0] != shape[axis]:
        raise Refusal(f"has {array.shape[0]} scales for {shape[axis]} channels", "check the node's axis")
    return array.reshape(tuple(-1 if i == axis else 1 for i in range(len(shape))))


def _parameters(node: Node, inputs: Inputs, shape: Shape) -> tuple[Any, Any, str | None]:
    """Scale and zero point, in shapes that broadcast to the tensor's, and the zero point's type."""
    scale = _along(node, np.asarray(small(needed(inputs, 1))), shape)
    zero = optional(inputs, 2)
    if zero is None:
        return scale, np.zeros((), dtype=np.int64), None
    kind = small(zero).dtype.name
    return scale, _along(node, _integers(small(zero)), shape), kind


def quantize(walk: Walk, node: Node, inputs: Inputs, inside: bool = False) -> Tensor:
    """QuantizeLinear, to any integer type the standard has. With `inside` the zero point is rounded with the data."""
    x = needed(inputs, 0)
    scale, zero, kind = _parameters(node, inputs, x.shape)
    asked = TYPES.get(node.get("output_dtype", 0)) if node.get("output_dtype", 0) else None
    if kind and node.get("output_dtype", 0) and asked != kind:
        raise Refusal(
            f"has output_dtype={node.get('output_dtype', 0)} and a zero point of type {kind}",
            "the model is broken: export it again",
        )
    kind = kind or (asked if node.get("output_dtype", 0) else "uint8")
    if kind not in RANGES:
        raise Refusal(f"quantises to {kind or 'a type'} that is no integer", "quantise to an integer type")
    lo, hi = RANGES[kind]
    check_scale(scale)
    _divides_exactly(node, x, scale)
    if isinstance(x, Known):
        with np.errstate(all="ignore"):
            steps = np.rint(x.array / scale)
        if not np.isfinite(steps).all():
            raise Refusal("quantises constants that are not finite", "train or export the model again")
        return Known(np.clip(steps.astype(np.float64) + zero, lo, hi).astype(numpy_type(kind)))
    t = computed(x)
    to = shifted if inside else affine
    done = to(walk, t, ex.exact(scale), ex.exact(zero), ex.number(lo), ex.number(hi))
    return replace(done, integer=kind)


def _divides_exactly(node: Node, x: Tensor, scale: Any) -> None:
    """Raise Refusal for a division in a float of 16 bits that rounds: it moves numbers onto ties, a whole step off."""
    from onnx import TensorProto

    asked = int(node.get("precision", 0))
    kinds = {kind_name(scale.dtype), x.real if isinstance(x, Scaled) else kind_name(x.array.dtype)}
    if asked:
        kinds.add(TensorProto.DataType.Name(asked).lower())
    narrow = sorted(kinds & NARROW_FLOATS.keys())
    if narrow and not ex.every(ex.power_of_two, ex.exact(scale)):
        raise Refusal(
            f"divides by its scale in {narrow[0]}, which rounds",
            "quantise in float32, or with scales that are powers of two",
        )


def dequantize(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """DequantizeLinear. Of a constant, its codes and scale are kept, for the products to take out."""
    x = needed(inputs, 0)
    scale, zero, kind = _parameters(node, inputs, x.shape)
    s = ex.exact(scale)
    to = _result(node, scale)
    mine = x.array.dtype.name if isinstance(x, Known) else x.integer
    # Tables and sums count as int32, whatever they are quantised to.
    if kind in RANGES and mine in RANGES and mine not in (kind, "int32"):
        raise Refusal(
            f"has a zero point of type {kind} for data of type {mine}", "give it the data's own type"
        )
    if isinstance(x, Known):
        if x.array.dtype.kind not in "iu" and x.array.dtype.name not in RANGES:
            raise Refusal(
                f"dequantises {x.array.dtype.name} numbers, whose steps differ from number to number",
                "quantise to integers",
            )
        codes = _integers(x.array) - zero
        dtype = np.dtype(scale.dtype)
        return Known((codes.astype(dtype) * scale).astype(numpy_type(to)), codes, s)
    done = replace(computed(x).plus(_negative(ex.exact(zero))).times(s), integer=None, real=to)
    if kind_name(scale.dtype) in NARROW_FLOATS:
        within(replace(done, real=kind_name(scale.dtype)))
    return done


def _result(node: Node, scale: Any) -> str:
    """The float type that a DequantizeLinear makes."""
    from onnx import TensorProto

    asked = int(node.get("output_dtype", 0))
    name = TensorProto.DataType.Name(asked).lower() if asked else kind_name(scale.dtype)
    if name not in FLOATS:
        raise Refusal(f"dequantises to {name}", "dequantise to float32")
    return name


def _negative(x: Exact) -> Exact:
    return ex.times(x, ex.number(-1))


RULES: dict[str, Rule] = {
    "QuantizeLinear": rule(quantize, folds=True),
    "DequantizeLinear": rule(dequantize, folds=True),
}
