"""Convolutions and pools, as ONNX operators that compute the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lutc.lowering.operands import keep_samples_apart
from lutc.lowering.refusals import Refusal
from lutc.lowering.tensors import Known, Missing, Scaled

from .call import Call, listed, schema_name


def conv(c: Call) -> Any:
    """Every `aten::conv*`, transposed or not."""
    x, weight = c.tensor("input"), c.tensor("weight")
    rank = len(weight.shape) - 2
    inputs = [x, weight, c.maybe("bias")]
    strides, dilations = (listed(c.get(n, 1), rank) for n in ("stride", "dilation"))
    common = {"strides": strides, "dilations": dilations, "group": int(c.get("groups", 1))}
    padding = c.get("padding", 0)
    if isinstance(padding, str):
        total = [
            d * (k - 1) if padding == "same" else 0 for d, k in zip(dilations, weight.shape[2:], strict=True)
        ]
        before = [n // 2 for n in total]
        after = [n - b for n, b in zip(total, before, strict=True)]
    else:
        before = after = listed(padding, rank)
    extra = listed(c.get("output_padding", 0), rank)
    if c.get("transposed", False) or "transpose" in schema_name(c.fx):
        return c.lower("ConvTranspose", inputs, **common, pads=[*before, *after], output_padding=extra)
    return c.lower("Conv", inputs, **common, pads=[*before, *after])


def _window(c: Call, rank: int) -> dict[str, Any]:
    size = listed(c.get("kernel_size"), rank)
    padding = listed(c.get("padding", 0), rank)
    return {
        "kernel_shape": size,
        "strides": listed(c.get("stride") or size, rank),
        "pads": [*padding, *padding],
        "ceil_mode": int(c.get("ceil_mode", False)),
    }


def max_pool(rank: int, pair: bool = False) -> Callable[[Call], Any]:
    def rule(c: Call) -> Any:
        dilations = listed(c.get("dilation", 1), rank)
        done = c.lower("MaxPool", [c.tensor("self")], **_window(c, rank), dilations=dilations)
        return (done, Missing()) if pair else done

    return rule


def avg_pool(rank: int) -> Callable[[Call], Any]:
    def rule(c: Call) -> Any:
        if c.get("divisor_override") is not None:
            raise Refusal(
                "divides by a number of its own (divisor_override)", "multiply by a constant instead"
            )
        counted = int(c.get("count_include_pad", True))
        return c.lower("AveragePool", [c.tensor("self")], **_window(c, rank), count_include_pad=counted)

    return rule


def adaptive(rank: int, op: str, pair: bool = False) -> Callable[[Call], Any]:
    """Adaptive pools whose windows are all of one size."""

    def rule(c: Call) -> Any:
        x = c.tensor("self")
        lengths = x.shape[-rank:]
        counts = listed(c.get("output_size"), rank)
        if any(n % m for n, m in zip(lengths, counts, strict=True)):
            raise Refusal(
                f"pools {list(lengths)} elements into {counts}, so that windows overlap and differ in size",
                "choose sizes that divide the input's",
            )
        size = [n // m for n, m in zip(lengths, counts, strict=True)]
        if set(counts) == {1}:
            done = c.lower("GlobalMaxPool" if op == "MaxPool" else "GlobalAveragePool", [x])
        else:
            done = c.lower(op, [x], kernel_shape=size, strides=size)
        return (done, Missing()) if pair else done

    return rule


def pad(c: Call) -> Any:
    """`constant_pad_nd`, `pad`, and the paddings with the tensor's own elements."""
    x = c.tensor("self")
    widths = [int(n) for n in c.get("pad") or c.get("padding", [])]
    mode = str(c.get("mode", "constant"))
    if mode != "constant" or "padding" in c.given:  # with the tensor's own elements
        return c.moved(x)
    rank = len(x.shape)
    axes = [rank - 1 - i for i in range(len(widths) // 2)]
    counts = [*widths[::2], *widths[1::2]]
    if isinstance(x, Scaled):
        keep_samples_apart(x, [a for i, a in enumerate(axes) if widths[2 * i] or widths[2 * i + 1]])
    value = c.constant(c.get("value", 0.0) or 0.0)
    return c.lower("Pad", [x, Known(np.array(counts)), value, Known(np.array(axes))], mode="constant")


RULES: dict[str, Callable[[Call], Any]] = {
    **{f"aten::conv{n}d": conv for n in (1, 2, 3)},
    **{f"aten::conv_transpose{n}d": conv for n in (1, 2, 3)},
    "aten::convolution": conv,
    **{f"aten::max_pool{n}d": max_pool(n) for n in (1, 2, 3)},
    **{f"aten::max_pool{n}d_with_indices": max_pool(n, pair=True) for n in (1, 2, 3)},
    **{f"aten::avg_pool{n}d": avg_pool(n) for n in (1, 2, 3)},
    **{f"aten::adaptive_avg_pool{n}d": adaptive(n, "AveragePool") for n in (1, 2, 3)},
    **{f"aten::_adaptive_avg_pool{n}d": adaptive(n, "AveragePool") for n in (2, 3)},
    **{f"aten::adaptive_max_pool{n}d": adaptive(n, "MaxPool", pair=True) for n in (1, 2, 3)},
    "aten::constant_pad_nd": pad,
    "aten::pad": pad,
    **{f"aten::{kind}_pad{n}d": pad for kind in ("reflection", "replication") for n in (1, 2, 3)},
}
