"""Convolutions, pools and padding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lutc.lowering import conv as kit
from lutc.lowering import exact as ex
from lutc.lowering import layout, reduce
from lutc.lowering.operands import computed
from lutc.lowering.refusals import Refusal
from lutc.lowering.tensors import Missing, Scaled
from lutc.lowering.walk import Walk
from lutc.lowering.windows import Window, one_sample

from .call import Call, listed, schema_name


def conv(c: Call) -> Any:
    """Every `aten::conv*`, transposed or not."""
    weight = c.tensor("weight")
    rank = len(weight.shape) - 2
    strides, dilations = (listed(c.get(n, 1), rank) for n in ("stride", "dilation"))
    groups = int(c.get("groups", 1))
    padding = c.get("padding", 0)
    if isinstance(padding, str):
        kernels = zip(dilations, weight.shape[2:], strict=True)
        total = [d * (k - 1) if padding == "same" else 0 for d, k in kernels]
        before = tuple(n // 2 for n in total)
        after = tuple(n - b for n, b in zip(total, before, strict=True))
    else:
        before = after = listed(padding, rank)
    extra = listed(c.get("output_padding", 0), rank)
    transposed = bool(c.get("transposed", False)) or "transpose" in schema_name(c.fx)

    def convolved(walk: Walk, x: Any, weight: Any, bias: Any) -> Scaled:
        t, kernel = kit.operands(x, weight, 1 if transposed else groups, transposed)
        spatial = t.shape[2:]
        window = Window(kernel.shape[2:], strides, dilations, before, after).fitting(len(spatial))
        if not transposed:
            return kit.conv(walk, t, kernel, bias, window, groups)
        grown = kit.grown(spatial, window, extra)
        counts = tuple(g - a - b for g, a, b in zip(grown, before, after, strict=True))
        return kit.conv_transpose(walk, t, kernel, bias, window, counts, groups)

    return c.exactly(convolved, c.tensor("input"), weight, c.maybe("bias"))


def _pooled(c: Call, window: Window, pool: Callable[..., Scaled], **options: Any) -> Any:
    def pooled(walk: Walk, x: Any) -> Scaled:
        t = computed(x)
        one_sample(t)
        return pool(walk, t, window.fitting(len(t.shape) - 2), **options)

    return c.exactly(pooled, c.tensor("self"))


def _window(c: Call, rank: int, dilations: Any = 1) -> Window:
    size = listed(c.get("kernel_size"), rank)
    padding = listed(c.get("padding", 0), rank)
    strides = listed(c.get("stride") or size, rank)
    ceil = bool(c.get("ceil_mode", False))
    return Window(size, strides, listed(dilations, rank), padding, padding, ceil)


def _rank(c: Call) -> int:
    """How many spatial dimensions a pool has, which its name says."""
    return next(int(n) for n in schema_name(c.fx) if n.isdigit())


def max_pool(c: Call) -> Any:
    """`aten::max_pool*d`, and with the positions, which have no translation."""
    done = _pooled(c, _window(c, _rank(c), c.get("dilation", 1)), reduce.max_pool)
    return (done, Missing()) if "with_indices" in schema_name(c.fx) else done


def avg_pool(c: Call) -> Any:
    if c.get("divisor_override") is not None:
        raise Refusal("divides by a number of its own (divisor_override)", "multiply by a constant instead")
    counted = bool(c.get("count_include_pad", True))
    return _pooled(c, _window(c, _rank(c)), reduce.average_pool, count_padding=counted)


def adaptive_pool(c: Call) -> Any:
    """Adaptive pools whose windows are all of one size."""
    x, rank, largest = c.tensor("self"), _rank(c), "max" in schema_name(c.fx)
    lengths = x.shape[-rank:]
    counts = listed(c.get("output_size"), rank)
    if any(n % m for n, m in zip(lengths, counts, strict=True)):
        raise Refusal(
            f"pools {list(lengths)} elements into {list(counts)}, so that windows overlap and differ in size",
            "choose sizes that divide the input's",
        )
    if set(counts) == {1}:
        whole = reduce.largest if largest else reduce.mean
        done = c.exactly(whole, x, axes=range(2, len(x.shape)))
    else:
        size = tuple(n // m for n, m in zip(lengths, counts, strict=True))
        window = Window(size, size, (1,) * rank, (0,) * rank, (0,) * rank)
        done = _pooled(c, window, reduce.max_pool if largest else reduce.average_pool)
    return (done, Missing()) if largest else done


def pad(c: Call) -> Any:
    """`constant_pad_nd`, `pad`, and the paddings with the tensor's own elements."""
    x = c.tensor("self")
    counts = [int(n) for n in c.get("pad") or c.get("padding", [])]
    mode = str(c.get("mode", "constant"))
    if mode != "constant" or "padding" in c.given:  # with the tensor's own elements
        return c.moved(x)
    widths = [(0, 0)] * len(x.shape)
    for i in range(len(counts) // 2):
        widths[-1 - i] = (counts[2 * i], counts[2 * i + 1])
    value = c.constant(c.get("value", 0.0) or 0.0)
    return c.exactly(layout.pad, x, widths=widths, number=ex.exact(value.array))


ADAPTIVE = (
    "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d "
)
ADAPTIVE += "adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d"
RULES: dict[str, Callable[[Call], Any]] = {
    **{f"aten::{name}{n}d": conv for name in ("conv", "conv_transpose") for n in (1, 2, 3)},
    "aten::convolution": conv,
    **{f"aten::max_pool{n}d{more}": max_pool for n in (1, 2, 3) for more in ("", "_with_indices")},
    **{f"aten::avg_pool{n}d": avg_pool for n in (1, 2, 3)},
    **{f"aten::{name}": adaptive_pool for name in ADAPTIVE.split()},
    "aten::constant_pad_nd": pad,
    "aten::pad": pad,
    **{f"aten::{kind}_pad{n}d": pad for kind in ("reflection", "replication") for n in (1, 2, 3)},
}
