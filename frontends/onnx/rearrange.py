"""Operators that move elements by positions, from and to: the standard's own evaluator says how."""

from __future__ import annotations

import math

import numpy as np

from lutc.lowering.gather import rows
from lutc.lowering.layout import merged, picked, rearranged
from lutc.lowering.operands import axis_of, computed, keep_samples_apart, small
from lutc.lowering.refusals import Refusal
from lutc.lowering.tensors import Curve, Scaled, Tensor
from lutc.lowering.walk import Walk

from .model import Node, fold
from .rule import Inputs, Rule, needed, rule


def rearrange(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """Whatever the operator does to the elements' numbers, it does to the elements; a 0 among them is the number 0."""
    t = computed(needed(inputs, 0))
    axis = int(node.get("axis", 0)) % len(t.shape) if node.op == "GatherElements" else 1
    if axis == 0 or (node.op == "GatherND" and not node.get("batch_dims", 0)):
        keep_samples_apart(t, (0,))
    others = [None if x is None else small(x) for x in inputs[1:]]
    numbers = np.arange(1, int(np.prod(t.shape)) + 1).reshape(t.shape)
    return rearranged(walk, t, np.asarray(fold(node, [numbers, *others])[0]) - 1)


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
    return picked(walk, t, lambda a: np.take(a, at % t.shape[axis], axis=axis))


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
    return merged(walk, [data, updates], index)


MOVED = ("Tile", "DepthToSpace", "SpaceToDepth", "GatherElements", "GatherND", "Trilu")
RULES: dict[str, Rule] = {
    **{op: rule(rearrange, evaluated=True) for op in MOVED},
    "Gather": rule(gather, moves=True),
    "ScatterElements": rule(scatter, evaluated=True),
    "ScatterND": rule(scatter, evaluated=True),
}
