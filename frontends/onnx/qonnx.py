"""The quantisers of the QONNX dialect: Quant (also called IntQuant), BipolarQuant, Trunc, MultiThreshold.

Quant divides by the scale, adds the zero point and then rounds; ONNX's QuantizeLinear rounds before it adds. Source:
the operator descriptions in the qonnx project's docs.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from lutc.ir.graph import Value
from lutc.lowering import exact as ex
from lutc.lowering.affine import ROUNDINGS, check_scale, limits, round_floats, shifted
from lutc.lowering.dtypes import whole
from lutc.lowering.exact import Exact
from lutc.lowering.operands import computed, small
from lutc.lowering.quantise import Grid, bipolar, quantise
from lutc.lowering.refusals import Refusal
from lutc.lowering.tensors import Known, Scaled, Tensor, reach
from lutc.lowering.walk import Walk
from lutc.types import Rounding

from .model import Node
from .rule import Inputs, Rule, needed, rule


def rounding_of(node: Node, default: str = "ROUND") -> Rounding:
    word = str(node.get("rounding_mode", default)).upper()
    if word not in ROUNDINGS:
        raise Refusal(f"has rounding_mode {word!r}", "one of: " + ", ".join(ROUNDINGS))
    return ROUNDINGS[word]


def scale_of(t: Tensor | None) -> Any:
    """A quantiser's scale. Raises Refusal if it is computed or 0."""
    scale = np.asarray(small(t))
    check_scale(scale)
    return scale


def fitting(x: Tensor, **parameters: Any) -> None:
    """Raise Refusal for parameters that do not broadcast to the tensor's shape."""
    for name, array in parameters.items():
        shape = tuple(np.shape(array))
        if len(shape) > len(x.shape) or any(
            n not in (1, m) for n, m in zip(shape[::-1], x.shape[::-1], strict=False)
        ):
            raise Refusal(
                f"has a {name} of shape {list(shape)} for data of shape {list(x.shape)}",
                "give it one number, or one for each channel in the place of the channels",
            )


def quant(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """Quant and IntQuant: `(clip(round(x / scale + zero)) - zero) * scale`."""
    x = needed(inputs, 0)
    scale, zero, bits = scale_of(needed(inputs, 1)), small(needed(inputs, 2)), small(needed(inputs, 3))
    signed, narrow = bool(node.get("signed", 1)), bool(node.get("narrow", 0))
    rounding = rounding_of(node)
    fitting(x, scale=scale, zero_point=zero, bit_width=bits)
    lo, hi = limits(bits, signed, narrow)
    one_bit = signed and ex.every(lambda b: b == 1, ex.exact(np.asarray(bits)))
    if isinstance(x, Known):
        return _folded(x, scale, zero, (lo, hi), rounding, one_bit)
    s, z = ex.exact(scale), ex.exact(zero)
    t = computed(x)
    if one_bit:  # qonnx reads one signed bit as +1 and -1
        inverse = ex.compress(np.asarray(1 / s, dtype=object))
        return bipolar(walk, t.times(inverse).plus(z)).plus(ex.times(z, ex.number(-1))).times(s)
    done = shifted(walk, t, s, z, lo, hi, rounding)
    return done.plus(ex.times(z, ex.number(-1))).times(s)


def _folded(
    x: Known, scale: Any, zero: Any, ends: tuple[Exact, Exact], rounding: Rounding, one_bit: bool
) -> Known:
    """A quantiser of constants, in the constants' own float type up to the rounding, as the framework computes it."""
    with np.errstate(all="ignore"):
        y = np.asarray(x.array / scale + zero)
    if not np.isfinite(y).all():
        raise Refusal("quantises constants that are not finite", "train or export the model again")
    if one_bit:
        codes = np.where(y >= 0, 1, -1)
    else:
        lo, hi = (np.asarray(ex.spread(e, y.shape), dtype=np.float64) for e in ends)
        codes = np.clip(round_floats(y.astype(np.float64), rounding), lo, hi)
    moved = codes - np.asarray(zero, dtype=np.float64)
    array = (moved.astype(x.array.dtype) * scale).astype(x.array.dtype)
    if (moved != np.rint(moved)).any():
        return Known(array)
    return Known(array, moved.astype(np.int64), ex.exact(scale))


def bipolar_quant(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """BipolarQuant: the scale where x >= 0, else minus the scale."""
    x, scale = needed(inputs, 0), scale_of(needed(inputs, 1))
    fitting(x, scale=scale)
    if isinstance(x, Known):
        codes = np.where(x.array >= 0, 1, -1)
        return Known((codes * scale).astype(x.array.dtype), codes, ex.exact(scale))
    return bipolar(walk, computed(x)).times(ex.exact(scale))


def trunc(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """Trunc, in its two versions: the first drops low bits and keeps the scale, the second has an output scale.

    Version 1: `(round(y / 2**(in_bits - out_bits)) - zero) * scale` with `y = round(x / scale + zero)`.
    Version 2: `(round(clip(y / 2**k)) - zero / 2**k) * out_scale`, where `2**k` is the scales' ratio, rounded.
    """
    t = computed(needed(inputs, 0))
    scale, zero = ex.exact(scale_of(needed(inputs, 1))), ex.exact(small(needed(inputs, 2)))
    rounding = rounding_of(node, "FLOOR")
    fitting(t, **{f"input {i + 1}": small(inputs[i]) for i in range(1, len(inputs))})
    inverse = ex.compress(np.asarray(1 / scale, dtype=object))
    # The first rounding only brings numbers back that float32 moved off the input's grid; exact ones are on it.
    if not whole(t.times(inverse).plus(zero)):
        raise Refusal(
            "truncates data that is not on the grid its scale and zero point state",
            "quantise the data with that scale right before this layer",
        )
    if len(inputs) == 5:
        widths = [np.asarray(small(needed(inputs, i))) for i in (3, 4)]
        dropped = ex.lone(ex.exact(widths[0] - widths[1]))
        if dropped is None or dropped < 0 or dropped.denominator != 1:
            raise Refusal(
                "truncates to more bits than there are, or to a broken number of them", "check the model"
            )
        power, out, back = Fraction(2) ** int(dropped), scale, zero
        lo, hi = _reached(t, inverse, zero, power, rounding)
    else:
        out = ex.exact(scale_of(needed(inputs, 4)))
        ratios = np.asarray(small(needed(inputs, 4)) / small(needed(inputs, 1)), dtype=np.float64)
        k = np.rint(np.log2(ratios))
        if k.size != 1:
            raise Refusal(
                "truncates each channel by another number of bits", "use one output scale for all channels"
            )
        power = Fraction(2) ** int(k.ravel()[0])
        back = ex.times(zero, ex.number(1 / power))
        lo, hi = limits(small(needed(inputs, 5)), bool(node.get("signed", 1)), bool(node.get("narrow", 0)))
    grid = Grid(
        ex.times(inverse, ex.number(1 / power)), ex.times(zero, ex.number(1 / power)), lo, hi, rounding
    )
    done = quantise(walk, t, grid)
    return done.plus(ex.times(back, ex.number(-1))).times(out)


def _reached(
    t: Scaled, inverse: Exact, zero: Exact, power: Fraction, rounding: Rounding
) -> tuple[Exact, Exact]:
    """The integers version 1 can reach: it states no range, so all of them are kept."""
    z = t.times(ex.times(inverse, ex.number(1 / power))).plus(ex.times(zero, ex.number(1 / power)))
    lo, hi = reach(z)
    return ex.rounded_all(ex.compress(lo), rounding), ex.rounded_all(ex.compress(hi), rounding)


def multi_threshold(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """MultiThreshold: how many of its channel's thresholds a number reaches, times a scale, plus a bias."""
    t = computed(needed(inputs, 0))
    table = np.asarray(small(needed(inputs, 1)))
    last = str(node.get("data_layout", "NCHW")) == "NHWC" or len(t.shape) not in (2, 4)
    axis = len(t.shape) - 1 if last else 1
    if table.ndim != 2 or table.shape[0] not in (1, t.shape[axis]):
        raise Refusal(
            f"has thresholds of shape {list(table.shape)} for {t.shape[axis]} channels",
            "check the model's thresholds",
        )
    column = tuple(-1 if i == axis else 1 for i in range(len(t.shape)))
    if isinstance(t.value, Value):
        walk.maps.pop(t.value, None)  # every threshold reads it, so none may go into a function that made it
    unit = None
    for i in range(table.shape[1]):
        # x >= threshold is a sign; a bipolar result u of -1 or +1 counts as (u + 1) / 2.
        limit = ex.exact(table[:, i]).reshape(-1)
        level = ex.compress(ex.spread(limit, (table.shape[0],)).reshape(column))
        sign = bipolar(walk, t.plus(ex.times(level, ex.number(-1)))).value
        unit = sign if unit is None else walk.b.add(unit, sign)
    if unit is None:
        raise Refusal("has no thresholds", "check the model")
    count = Scaled(t.shape, unit, offset=ex.number(table.shape[1]), batched=t.batched)
    scale, bias = (ex.exact(np.float32(node.get(n, d))) for n, d in (("out_scale", 1.0), ("out_bias", 0.0)))
    return count.times(scale).plus(bias)


RULES: dict[str, Rule] = {
    "Quant": rule(quant, folds=True),
    "IntQuant": rule(quant, folds=True),
    "BipolarQuant": rule(bipolar_quant, folds=True),
    "Trunc": rule(trunc),
    "MultiThreshold": rule(multi_threshold),
}
