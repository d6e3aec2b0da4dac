"""The window of a convolution or a pool, from the attributes that all such operators of the standard share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lutc.lowering.operands import BROKEN
from lutc.lowering.refusals import Refusal
from lutc.lowering.tensors import Shape
from lutc.lowering.windows import Window, same_padding

from .model import Node


def window_of(node: Node, size: Sequence[int], spatial: Shape) -> Window:
    """A node's window. Raises Refusal for broken ones."""
    rank = len(spatial)
    strides = tuple(node.get("strides", ()) or (1,) * rank)
    dilations = tuple(node.get("dilations", ()) or (1,) * rank)
    pads = list(node.get("pads", ()) or (0,) * (2 * rank))
    if not len(size) == len(strides) == len(dilations) == len(pads) // 2 == rank or min(pads) < 0:
        raise Refusal(f"has attributes that do not fit {rank} spatial dimensions", BROKEN)
    window = Window(
        tuple(size),
        strides,
        dilations,
        tuple(pads[:rank]),
        tuple(pads[rank:]),
        bool(node.get("ceil_mode", 0)),
    )
    mode = node.get("auto_pad", "NOTSET") or "NOTSET"
    if mode == "VALID":
        return replace(window, before=(0,) * rank, after=(0,) * rank)
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        before, after = same_padding(window, spatial, upper=mode == "SAME_UPPER")
        return replace(window, before=before, after=after)
    if mode != "NOTSET":
        raise Refusal(f"has auto_pad={mode!r}", "one of: NOTSET, VALID, SAME_UPPER, SAME_LOWER")
    return window
