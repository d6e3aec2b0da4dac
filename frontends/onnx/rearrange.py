"""Operators that move elements by constant positions: the standard's own evaluator says how."""

from __future__ import annotations

import numpy as np

from lutc.lowering import exact as ex
from lutc.lowering.operands import NOTHING, axis_of, computed, keep_samples_apart, small
from lutc.lowering.refusals import Refusal
from lutc.lowering.tensors import Known, Scaled, Tensor
from lutc.lowering.walk import Walk

from .layout import picked
from .linear import contract, settled
from .model import Node, fold
from .rule import Inputs, Rule, needed, optional, rule


def rearrange(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """Whatever the operator does to the elements' numbers, it does to the elements; a 0 among them is the number 0."""
    t = computed(needed(inputs, 0))
    axis = int(node.get("axis", 0)) % len(t.shape) if node.op == "GatherElements" else 1
    if axis == 0 or (node.op == "GatherND" and not node.get("batch_dims", 0)):
        keep_samples_apart(t, (0,))
    others = [None if x is None else small(x) for x in inputs[1:]]
    numbers = np.arange(1, int(np.prod(t.shape)) + 1).reshape(t.shape)
    at = np.asarray(fold(node, [numbers, *others])[0]) - 1
    if at.shape[:1] != t.shape[:1]:
        keep_samples_apart(t, (0,))
    if not at.size:
        raise Refusal(*NOTHING)
    if (at >= 0).all():
        return picked(walk, t, lambda a: a.ravel()[at])
    # A zero takes the scale of an element of the same row, so that scales of channels stay together.
    near = np.where(at < 0, at.max(axis=-1, keepdims=True), at)
    t = settled(walk, t)
    if (near < 0).any() and ex.lone(t.scale) is None:
        unit, value = walk.exact(t)
        t = Scaled(t.shape, value, ex.number(unit), integer=t.integer, batched=t.batched)
    return walk.index(t, at, np.maximum(near, 0))


def cumulative(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """CumSum: the product with a triangle of ones."""
    t = computed(needed(inputs, 0))
    if optional(inputs, 1) is None:
        raise Refusal("lacks its axis", "the model is broken: export it again")
    rank = len(t.shape)
    axis = axis_of(np.asarray(small(inputs[1])).item(), rank)
    keep_samples_apart(t, (axis,))
    n, last = t.shape[axis], rank - 1
    ones = np.tril(np.ones((n, n), dtype=np.int64), -int(bool(node.get("exclusive", 0))))
    triangle = (ones.T if node.get("reverse", 0) else ones).T
    turn = tuple(last if i == axis else axis if i == last else i for i in range(rank))
    turned = walk.transpose(t, turn)
    rows = walk.reshape(turned, (1, *turned.shape)) if rank == 1 else turned
    done = contract(walk, rows, Known(triangle.astype(np.float32), triangle, ex.number(1)))
    return walk.transpose(walk.reshape(done, turned.shape), turn)


MOVED = ("Tile", "DepthToSpace", "SpaceToDepth", "GatherElements", "GatherND", "Trilu")
RULES: dict[str, Rule] = {
    **{op: rule(rearrange, evaluated=True) for op in MOVED},
    "CumSum": rule(cumulative),
}
