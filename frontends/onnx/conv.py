"""Convolutions and pools, whose windows are attributes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lutc.lowering import conv as kit
from lutc.lowering import reduce
from lutc.lowering.operands import BROKEN, computed
from lutc.lowering.refusals import Refusal
from lutc.lowering.tensors import Scaled, Shape, Tensor
from lutc.lowering.walk import Walk
from lutc.lowering.windows import Window, one_sample, same_padding

from .model import Node
from .rule import Inputs, Rule, needed, optional, rule


def window_of(node: Node, size: Sequence[int], spatial: Shape) -> Window:
    """A node's window, from the attributes all such operators share. Raises Refusal for broken ones."""
    rank = len(spatial)
    strides, dilations = (tuple(node.get(n, ()) or (1,) * rank) for n in ("strides", "dilations"))
    pads = tuple(node.get("pads", ()) or (0,) * (2 * rank))
    ceil = bool(node.get("ceil_mode", 0))
    window = Window(tuple(size), strides, dilations, pads[:rank], pads[rank:], ceil).fitting(rank)
    mode = node.get("auto_pad", "NOTSET") or "NOTSET"
    if mode == "VALID":
        return replace(window, before=(0,) * rank, after=(0,) * rank)
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        before, after = same_padding(window, spatial, upper=mode == "SAME_UPPER")
        return replace(window, before=before, after=after)
    if mode != "NOTSET":
        raise Refusal(f"has auto_pad={mode!r}", "one of: NOTSET, VALID, SAME_UPPER, SAME_LOWER")
    return window


def _kernel_window(node: Node, size: Shape, spatial: Shape) -> Window:
    """The window of a kernel. Raises Refusal for a kernel_shape that is not the kernel's."""
    stated = tuple(node.get("kernel_shape", None) or size)
    if stated != size:
        raise Refusal(f"states kernel_shape={list(stated)} for a kernel of {list(size)}", BROKEN)
    return window_of(node, size, spatial)


def conv(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """Conv in any number of spatial dimensions."""
    groups = int(node.get("group", 1))
    t, kernel = kit.operands(needed(inputs, 0), needed(inputs, 1), groups)
    window = _kernel_window(node, kernel.shape[2:], t.shape[2:])
    return kit.conv(walk, t, kernel, optional(inputs, 2), window, groups)


def conv_transpose(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """ConvTranspose, which may state its output's lengths and pad for these."""
    groups = int(node.get("group", 1))
    t, kernel = kit.operands(needed(inputs, 0), needed(inputs, 1), transposed=True)
    spatial = t.shape[2:]
    window = _kernel_window(node, kernel.shape[2:], spatial)
    extra = tuple(node.get("output_padding", ()) or (0,) * len(spatial))
    given = tuple(node.get("output_shape", ()))
    mode = str(node.get("auto_pad", "NOTSET"))
    grown = kit.grown(spatial, window, extra)
    if given or mode.startswith("SAME"):
        counts = given or tuple(n * s for n, s in zip(spatial, window.strides, strict=True))
        total = [max(g - o, 0) for g, o in zip(grown, counts, strict=True)]
        window = replace(window, before=tuple(p // 2 if mode == "SAME_UPPER" else p - p // 2 for p in total))
    else:
        counts = tuple(g - a - b for g, a, b in zip(grown, window.before, window.after, strict=True))
    return kit.conv_transpose(walk, t, kernel, optional(inputs, 2), window, counts, groups)


def _pooled(node: Node, inputs: Inputs) -> tuple[Scaled, Window]:
    t = computed(needed(inputs, 0))
    one_sample(t)
    return t, window_of(node, node.get("kernel_shape", ()), t.shape[2:])


def max_pool(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    return reduce.max_pool(walk, *_pooled(node, inputs))


def average_pool(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    return reduce.average_pool(walk, *_pooled(node, inputs), bool(node.get("count_include_pad", 0)))


def global_pool(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    t = computed(needed(inputs, 0))
    by = reduce.largest if node.op == "GlobalMaxPool" else reduce.mean
    return by(walk, t, range(2, len(t.shape)))


RULES: dict[str, Rule] = {
    "Conv": rule(conv),
    "ConvTranspose": rule(conv_transpose),
    "MaxPool": rule(max_pool),
    "AveragePool": rule(average_pool),
    "GlobalAveragePool": rule(global_pool),
    "GlobalMaxPool": rule(global_pool),
}
