"""Operators that move elements by positions: from, to, into padding, and repeated."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from lutc.lowering import exact as ex
from lutc.lowering import layout as kit
from lutc.lowering.gather import rows
from lutc.lowering.operands import BROKEN, NOTHING, axis_of, computed, keep_samples_apart, small
from lutc.lowering.refusals import Refusal
from lutc.lowering.tensors import SAMPLES, Curve, Known, Scaled, Tensor
from lutc.lowering.walk import Walk

from .layout import ints
from .model import Node, fold
from .rule import Inputs, Rule, needed, optional, rule


def rearrange(walk: Walk, node: Node, inputs: Inputs) -> tuple[Tensor, ...]:
    """Whatever the operator does to the elements' numbers, it does to the elements; a 0 among them is the number 0."""
    t = computed(needed(inputs, 0))
    axis = int(node.get("axis", 0)) % len(t.shape) if node.op == "GatherElements" else 1
    if axis == 0 or (node.op == "GatherND" and not node.get("batch_dims", 0)):
        keep_samples_apart(t, (0,))
    others = [None if x is None else small(x) for x in inputs[1:]]
    numbers = np.arange(1, int(np.prod(t.shape)) + 1).reshape(t.shape)
    return tuple(kit.rearranged(walk, t, np.asarray(a) - 1) for a in fold(node, [numbers, *others]))


def gather(walk: Walk, node: Node, inputs: Inputs) -> Tensor | Curve:
    """Gather at constant indices, or of a constant at indices that are data."""
    x, where = needed(inputs, 0), needed(inputs, 1)
    axis = axis_of(node.get("axis", 0), len(x.shape))
    if isinstance(where, Scaled):
        if isinstance(x, Scaled):
            raise Refusal("takes elements of data at indices that are data", "take them at constant indices")
        return rows(walk, node.op, x, where, axis)
    t, at = computed(x), where.array
    keep_samples_apart(t, (axis,))
    if at.size and not -t.shape[axis] <= at.min() <= at.max() < t.shape[axis]:
        raise Refusal(f"takes an index beyond a dimension of length {t.shape[axis]}", "check the model")
    return kit.picked(walk, t, lambda a: np.take(a, at % t.shape[axis], axis=axis))


def scatter(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """ScatterND and ScatterElements at constant indices: elements of the updates stand in the place of others."""
    data, where, updates = (needed(inputs, i) for i in range(3))
    at = small(where)
    if node.get("reduction", "none") not in ("none", None):
        raise Refusal(
            f"writes with reduction={node.get('reduction', '')!r}", "add the updates with Pad and Add instead"
        )
    count, more = math.prod(data.shape), math.prod(updates.shape)
    numbers = np.arange(count).reshape(data.shape)
    written = np.arange(count, count + more).reshape(updates.shape)
    index = np.asarray(fold(node, [numbers, at, written])[0])
    if (index >= count).sum() != more:
        raise Refusal("writes an element twice, and which of the two stays is not said", "write it once")
    return kit.merged(walk, [data, updates], index)


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
        raise Refusal(f"has {len(counts)} counts for {len(axes)} dimensions", BROKEN)
    widths = [(0, 0)] * rank
    for i, a in enumerate(axes):
        widths[axis_of(a, rank)] = (counts[i], counts[i + len(axes)])
    mode = node.get("mode", "constant")
    if mode not in ("constant", "reflect", "edge", "wrap"):
        raise Refusal(f"has mode={mode!r}", "one of: constant, reflect, edge, wrap")
    return kit.pad(walk, t, widths, number, mode)


def resize(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """Resize and Upsample, taking the nearest element. Source of the coordinates: the operator's specification."""
    t = computed(needed(inputs, 0))
    modern = node.op == "Resize" and node.version > 10
    if node.get("mode", "nearest") != "nearest":
        raise Refusal(f"interpolates (mode={node.get('mode', '')!r})", "upsample with mode='nearest'")
    if node.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise Refusal("keeps the aspect ratio by a policy", "state sizes that need none")
    where = node.get("coordinate_transformation_mode", "half_pixel") if modern else "asymmetric"
    nearest = node.get("nearest_mode", "round_prefer_floor") if modern else "simple"
    if modern:
        optional(inputs, 1)  # the region of interest, of cropping alone
    if where not in COORDINATES or nearest not in NEAREST:
        raise Refusal(
            f"takes elements by coordinate_transformation_mode={where!r} and nearest_mode={nearest!r}",
            "one of: " + ", ".join(COORDINATES),
        )
    axes = [axis_of(a, len(t.shape)) for a in node.get("axes", None) or range(len(t.shape))]
    factors, lengths = _sizes(node, inputs, [t.shape[a] for a in axes])
    sizes = optional(inputs, 3)
    if t.batched and sizes is not None and 0 in axes:  # a length of 1 is not that of the batch
        counts = [int(np.ravel(c)[axes.index(0)]) for c in (sizes.counts if isinstance(sizes, Known) else ())]
        keep_samples_apart(t, () if tuple(counts) == SAMPLES else (0,))
    index = np.arange(int(np.prod(t.shape))).reshape(t.shape)
    keep_samples_apart(t, [a for a, f in zip(axes, factors, strict=True) if f != 1])
    for axis, factor, length in zip(axes, factors, lengths, strict=True):
        index = np.take(index, _taken(where, nearest, factor, index.shape[axis], length), axis=axis)
    return walk.index(t, index)


def _taken(where: str, nearest: str, factor: Fraction, n: int, length: int) -> list[int]:
    """The elements that stand at `length` positions, of n. Raises Refusal where float32 takes others than it should."""
    if factor == 1 and n == length:
        return list(range(n))
    mode = nearest
    if nearest == "simple":  # of operator set 10: its examples, and ONNX Runtime, round up where elements go
        mode = "ceil" if factor < 1 else "floor"
    found = []
    for i in range(length):
        exactly = NEAREST[mode](COORDINATES[where](Fraction(i), factor, n, length))
        single = NEAREST[mode](COORDINATES[where](np.float32(i), np.float32(float(factor)), n, length))
        at, other = (min(max(int(v), 0), n - 1) for v in (exactly, single))
        if at != other:
            raise Refusal(
                f"takes element {at} or {other} of {n} at position {i}, as its scale {float(factor):g} is rounded",
                "give it sizes, or a scale that float32 holds",
            )
        found.append(at)
    return found


def _sizes(node: Node, inputs: Inputs, shape: list[int]) -> tuple[list[Fraction], list[int]]:
    """The factor and the new length of every dimension."""
    sizes = optional(inputs, 3)
    if sizes is not None:
        lengths = ints(sizes)
        factors = [Fraction(m, n) for m, n in zip(lengths, shape, strict=True)]
    else:
        given = optional(inputs, 2 if node.op == "Resize" and node.version > 10 else 1)
        raw = node.get("scales", ()) if given is None else np.asarray(small(given)).ravel().tolist()
        factors = [Fraction(float(f)) for f in raw]
        if len(factors) != len(shape):
            raise Refusal(
                f"has {len(factors)} scales for {len(shape)} dimensions",
                BROKEN,
            )
        lengths = [int(f * n) for f, n in zip(factors, shape, strict=True)]
        if lengths != [
            int(np.float32(float(f)) * np.float32(n)) for f, n in zip(factors, shape, strict=True)
        ]:
            raise Refusal("has a scale whose product with a length float32 rounds", "give it sizes instead")
    if min(lengths, default=0) < 1:
        raise Refusal(*NOTHING)
    return factors, lengths


# A number that is exact beside fractions, and float32 beside float32.
HALF = Fraction(1, 2)


def _half(x: Any) -> Any:
    return type(x)(0.5)


# Where the element at x of the result lies in the operand, of length n, when the result's length is m.
# x and the factor are fractions, or both float32.
COORDINATES: dict[str, Callable[[Any, Any, int, int], Any]] = {
    "asymmetric": lambda x, factor, n, m: x / factor,
    "half_pixel": lambda x, factor, n, m: (x + _half(x)) / factor - _half(x),
    "half_pixel_symmetric": lambda x, factor, n, m: (
        type(x)(n) * _half(x) * (1 - type(x)(m) / (factor * type(x)(n))) + (x + _half(x)) / factor - _half(x)
    ),
    "pytorch_half_pixel": lambda x, factor, n, m: (x + _half(x)) / factor - _half(x) if m > 1 else 0 * x,
    "align_corners": lambda x, factor, n, m: x * type(x)(n - 1) / type(x)(m - 1) if m > 1 else 0 * x,
}
NEAREST: dict[str, Callable[[Any], int]] = {
    "floor": math.floor,
    "ceil": math.ceil,
    "round_prefer_floor": lambda x: math.ceil((x if isinstance(x, Fraction) else Fraction(float(x))) - HALF),
    "round_prefer_ceil": lambda x: math.floor((x if isinstance(x, Fraction) else Fraction(float(x))) + HALF),
    "simple": math.floor,
}


MOVED = ("Tile", "DepthToSpace", "SpaceToDepth", "GatherElements", "GatherND", "Trilu", "Split")
RULES: dict[str, Rule] = {
    **{op: rule(rearrange, evaluated=True) for op in MOVED},
    "Slice": rule(rearrange, moves=True, evaluated=True),
    "Gather": rule(gather, moves=True),
    "ScatterElements": rule(scatter, evaluated=True),
    "ScatterND": rule(scatter, evaluated=True),
    "Pad": rule(pad),
    "Resize": rule(resize),
    "Upsample": rule(resize),
}
