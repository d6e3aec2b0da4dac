"""Padding, and repeating elements."""

from __future__ import annotations

import numpy as np

from lutc.frontends.importer import Refusal

from . import exact as ex
from .layout import ints, picked
from .linear import settled
from .model import Node
from .rule import Inputs, Rule, axis_of, computed, keep_samples_apart, needed, optional, rule
from .tensors import Tensor, small
from .walk import Walk


def pad(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """Pad with a constant or with elements of the tensor: attributes before operator set 11, inputs since."""
    t = computed(needed(inputs, 0))
    rank = len(t.shape)
    value = optional(inputs, 2)
    if node.version < 11:
        counts, number = list(node.get("pads", ())), ex.exact(np.float32(node.get("value", 0.0)))
    else:
        counts, number = (
            ints(needed(inputs, 1)),
            ex.number(0) if value is None else ex.exact(small(value)).reshape(()),
        )
    axes = ints(inputs[3]) if optional(inputs, 3) is not None else list(range(rank))
    if len(counts) != 2 * len(axes):
        raise Refusal(
            f"has {len(counts)} counts for {len(axes)} dimensions", "the model is broken: export it again"
        )
    widths = [(0, 0)] * rank
    for i, a in enumerate(axes):
        widths[axis_of(a, rank)] = (counts[i], counts[i + len(axes)])
    keep_samples_apart(t, [i for i, w in enumerate(widths) if w != (0, 0)])
    cut = tuple(slice(max(-a, 0), n - max(-b, 0)) for n, (a, b) in zip(t.shape, widths, strict=True))
    if any(min(w) < 0 for w in widths):  # a negative count takes elements away
        t = picked(walk, t, lambda a: a[cut])
        widths = [(max(a, 0), max(b, 0)) for a, b in widths]
    mode = node.get("mode", "constant")
    index = np.arange(int(np.prod(t.shape))).reshape(t.shape)
    if mode in ("reflect", "edge", "wrap"):
        return walk.index(t, np.pad(index, widths, mode=mode))
    if mode != "constant":
        raise Refusal(f"has mode={mode!r}", "one of: constant, reflect, edge, wrap")
    near = np.pad(index, widths, mode="edge")
    # The constant is moved to 0, which is what stands in for elements outside.
    moved = settled(walk, t.plus(ex.times(number, ex.number(-1))))
    return walk.index(moved, np.pad(index, widths, constant_values=-1), near).plus(number)


def resize(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """Resize and Upsample by whole factors, taking the nearest element."""
    t = computed(needed(inputs, 0))
    rank = len(t.shape)
    given = optional(inputs, 2 if node.op == "Resize" and node.version > 10 else 1)
    sizes = optional(inputs, 3)
    if sizes is not None:
        wanted = ints(sizes)
        factors = [w / n for w, n in zip(wanted, t.shape, strict=False)]
    elif given is not None:
        factors = [float(v) for v in np.asarray(small(given)).ravel()]
    else:
        factors = [float(v) for v in node.get("scales", ())]
    if (
        node.get("mode", "nearest") != "nearest"
        or len(factors) != rank
        or any(f != int(f) or f < 1 for f in factors)
    ):
        raise Refusal(
            "interpolates: only mode='nearest' with whole factors keeps numbers as they are",
            "upsample by a whole factor, with mode='nearest'",
        )
    where = node.get("coordinate_transformation_mode", "half_pixel")
    nearest = node.get("nearest_mode", "round_prefer_floor")
    simple = (where in ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel")) or nearest == "floor"
    if (
        node.op == "Resize"
        and node.version > 10
        and not (simple and where not in ("align_corners", "tf_crop_and_resize"))
    ):
        raise Refusal(
            f"takes elements by coordinate_transformation_mode={where!r} and nearest_mode={nearest!r}",
            "export with 'asymmetric' and 'floor', which repeat every element equally often",
        )
    repeats = [int(f) for f in factors]
    index = np.arange(int(np.prod(t.shape))).reshape(t.shape)
    for axis, n in enumerate(repeats):
        index = np.repeat(index, n, axis=axis)
    return walk.index(t, index)


RULES: dict[str, Rule] = {
    "Pad": rule(pad, "pads", "mode", "value"),
    "Resize": rule(
        resize,
        "mode",
        "coordinate_transformation_mode",
        "nearest_mode",
        "scales",
        "cubic_coeff_a",
        "exclude_outside",
        "extrapolation_value",
        "antialias",
        "axes",
        "keep_aspect_ratio_policy",
    ),
    "Upsample": rule(resize, "mode", "scales"),
}
