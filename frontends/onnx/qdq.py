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
from lutc.lowering.operands import BROKEN, axis_of, small
from lutc.lowering.refusals import Refusal
from lutc.lowering.tensors import Known, Scaled, Shape, Tensor
from lutc.lowering.walk import Walk
from lutc.numbers import one_digit

from .model import Node, import_onnx, numpy_type
from .rule import Inputs, Rule, needed, optional, rule


def _integers(array: Any) -> Any:
    """A constant's integers as Python has them (numpy has no 4-bit type of its own)."""
    return np.asarray(array).astype(np.int64)


def _along(array: Any, shape: Shape, axis: int, block: int) -> Any:
    """A parameter for each channel, in a shape that broadcasts to the tensor's."""
    array = np.asarray(array)
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


def _parameters(
    scale: Tensor, zero: Tensor | None, shape: Shape, axis: int, block: int
) -> tuple[Any, Any, str | None]:
    """Scale and zero point, in shapes that broadcast to the tensor's, and the zero point's type."""
    factors = _along(small(scale), shape, axis, block)
    if zero is None:
        return factors, np.zeros((), dtype=np.int64), None
    return factors, _along(_integers(small(zero)), shape, axis, block), small(zero).dtype.name


def quantize(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """QuantizeLinear, to any integer type the standard has."""
    asked, precision = int(node.get("output_dtype", 0)), int(node.get("precision", 0))
    axis, block = node.get("axis", 1), node.get("block_size", 0)
    x, scale, zero = needed(inputs, 0), needed(inputs, 1), optional(inputs, 2)
    return to_integers(
        walk, x, scale, zero, axis=axis, block=block, asked=_type(asked), precision=_type(precision)
    )


def to_integers(
    walk: Walk,
    x: Tensor,
    scale: Tensor,
    zero: Tensor | None,
    *,
    axis: int = 1,
    block: int = 0,
    asked: str | None = None,
    precision: str | None = None,
    inside: bool = False,
) -> Tensor:
    """A tensor quantised to the type of its zero point, or the one `asked` for, computed in a `precision`.

    With `inside` the zero point is rounded with the data.
    """
    factors, zeros, kind = _parameters(scale, zero, x.shape, axis, block)
    if kind and asked and asked != kind:
        raise Refusal(f"has output_dtype={asked} and a zero point of type {kind}", BROKEN)
    kind = kind or asked or "uint8"
    if kind not in RANGES:
        raise Refusal(f"quantises to {kind}, which is no integer type", "quantise to an integer type")
    lo, hi = RANGES[kind]
    check_scale(factors)
    _divides_exactly(x, factors, precision)
    if isinstance(x, Known):
        with np.errstate(all="ignore"):
            steps = np.rint(x.array / factors)
        if not np.isfinite(steps).all():
            raise Refusal("quantises constants that are not finite", "train or export the model again")
        return Known(np.clip(steps.astype(np.float64) + zeros, lo, hi).astype(numpy_type(kind)))
    by = shifted if inside else affine
    done = by(walk, x, ex.exact(factors), ex.exact(zeros), ex.number(lo), ex.number(hi))
    return replace(done, integer=kind)


def _divides_exactly(x: Tensor, scale: Any, precision: str | None) -> None:
    """Raise Refusal for a division in a float of 16 bits that rounds: it moves numbers onto ties, a whole step off."""
    kinds = {kind_name(scale.dtype), x.real if isinstance(x, Scaled) else kind_name(x.array.dtype), precision}
    narrow = sorted(k for k in kinds if k in NARROW_FLOATS)
    if narrow and not ex.every(lambda v: one_digit(v), ex.exact(scale)):
        raise Refusal(
            f"divides by its scale in {narrow[0]}, which rounds",
            "quantise in float32, or with scales that are powers of two",
        )


def dequantize(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """DequantizeLinear."""
    axis, block, asked = node.get("axis", 1), node.get("block_size", 0), int(node.get("output_dtype", 0))
    x, scale, zero = needed(inputs, 0), needed(inputs, 1), optional(inputs, 2)
    return to_reals(x, scale, zero, axis=axis, block=block, asked=_type(asked))


def to_reals(
    x: Tensor, scale: Tensor, zero: Tensor | None, *, axis: int = 1, block: int = 0, asked: str | None = None
) -> Tensor:
    """What integers mean, in the float type of the scale or the one `asked` for.

    Of a constant, its codes and scale are kept, for the products to take out.
    """
    factors, zeros, kind = _parameters(scale, zero, x.shape, axis, block)
    s = ex.exact(factors)
    to = asked or kind_name(factors.dtype)
    if to not in FLOATS:
        raise Refusal(f"dequantises to {to}", "dequantise to float32")
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
        codes = _integers(x.array) - zeros
        return Known((codes.astype(factors.dtype) * factors).astype(numpy_type(to)), codes, s)
    done = replace(x.plus(ex.times(ex.exact(zeros), ex.number(-1))).times(s), integer=None, real=to)
    if kind_name(factors.dtype) in NARROW_FLOATS:
        within(replace(done, real=kind_name(factors.dtype)))
    return done


def _type(number: int) -> str | None:
    """The element type that an attribute asks for by its number; None for 0."""
    return import_onnx().TensorProto.DataType.Name(number).lower() if number else None


RULES: dict[str, Rule] = {
    "QuantizeLinear": rule(quantize, folds=True),
    "DequantizeLinear": rule(dequantize, folds=True),
}
