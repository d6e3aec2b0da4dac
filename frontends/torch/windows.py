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


def _window(c: Call, rank: int, dilations: tuple[int, ...]) -> Window:
    size = listed(c.get("kernel_size"), rank)
    padding = listed(c.get("padding", 0), rank)
    strides = listed(c.get("stride") or size, rank)
    return Window(size, strides, dilations, padding, padding, bool(c.get("ceil_mode", False)))


def max_pool(rank: int, pair: bool = False) -> Callable[[Call], Any]:
    def rule(c: Call) -> Any:
        done = _pooled(c, _window(c, rank, listed(c.get("dilation", 1), rank)), reduce.max_pool)
        return (done, Missing()) if pair else done

    return rule


def avg_pool(rank: int) -> Callable[[Call], Any]:
    def rule(c: Call) -> Any:
        if c.get("divisor_override") is not None:
            raise Refusal(
                "divides by a number of its own (divisor_override)", "multiply by a constant instead"
            )
        counted = bool(c.get("count_include_pad", True))
        return _pooled(c, _window(c, rank, (1,) * rank), reduce.average_pool, count_padding=counted)

    return rule


def adaptive(rank: int, whole: Any, pool: Any, pair: bool = False) -> Callable[[Call], Any]:
    """Adaptive pools whose windows are all of one size; `whole` is the reduction of all elements."""

    def rule(c: Call) -> Any:
        x = c.tensor("self")
        lengths = x.shape[-rank:]
        counts = listed(c.get("output_size"), rank)
        if any(n % m for n, m in zip(lengths, counts, strict=True)):
            raise Refusal(
                f"pools {list(lengths)} elements into {list(counts)}, so that windows overlap and differ in size",
                "choose sizes that divide the input's",
            )
        if set(counts) == {1}:
            done = c.exactly(whole, x, axes=range(2, len(x.shape)))
        else:
            size = tuple(n // m for n, m in zip(lengths, counts, strict=True))
            ones, none = (1,) * rank, (0,) * rank
            done = _pooled(c, Window(size, size, ones, none, none), pool)
        return (done, Missing()) if pair else done

    return rule


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


RULES: dict[str, Callable[[Call], Any]] = {
    **{f"aten::conv{n}d": conv for n in (1, 2, 3)},
    **{f"aten::conv_transpose{n}d": conv for n in (1, 2, 3)},
    "aten::convolution": conv,
    **{f"aten::max_pool{n}d": max_pool(n) for n in (1, 2, 3)},
    **{f"aten::max_pool{n}d_with_indices": max_pool(n, pair=True) for n in (1, 2, 3)},
    **{f"aten::avg_pool{n}d": avg_pool(n) for n in (1, 2, 3)},
    **{f"aten::adaptive_avg_pool{n}d": adaptive(n, reduce.mean, reduce.average_pool) for n in (1, 2, 3)},
    **{f"aten::_adaptive_avg_pool{n}d": adaptive(n, reduce.mean, reduce.average_pool) for n in (2, 3)},
    **{
        f"aten::adaptive_max_pool{n}d": adaptive(n, reduce.largest, reduce.max_pool, pair=True)
        for n in (1, 2, 3)
    },
    "aten::constant_pad_nd": pad,
    "aten::pad": pad,
    **{f"aten::{kind}_pad{n}d": pad for kind in ("reflection", "replication") for n in (1, 2, 3)},
}
