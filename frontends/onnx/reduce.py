"""Reductions along dimensions: sums, means, the largest and smallest element and its index, and running sums."""

from __future__ import annotations

import numpy as np

from lutc.lowering import reduce as kit
from lutc.lowering.linear import cumulative
from lutc.lowering.operands import BROKEN, axis_of, computed, keep_samples_apart, small
from lutc.lowering.refusals import Refusal
from lutc.lowering.scores import argmax, softmax
from lutc.lowering.tensors import Tensor
from lutc.lowering.walk import Walk

from .model import Node
from .reasons import REASONS
from .rule import Inputs, Rule, needed, optional, rule

REDUCTIONS = {
    "ReduceSum": kit.summed,
    "ReduceMean": kit.mean,
    "ReduceMax": kit.largest,
    "ReduceMin": kit.smallest,
    "ReduceSumSquare": kit.sum_square,
    "ReduceL1": kit.sum_absolute,
}


def _axes(node: Node, inputs: Inputs, rank: int) -> list[int]:
    """The dimensions reduced: an attribute in older operator sets, an input in newer ones."""
    given, keep_all = node.get("axes", None), node.get("noop_with_empty_axes", 0)
    if given is None and optional(inputs, 1) is not None:
        given = [int(v) for v in np.asarray(small(inputs[1])).ravel()]
    if not given:
        return [] if keep_all else list(range(rank))
    return sorted({axis_of(a, rank) for a in given})


def reduce(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    t = computed(needed(inputs, 0))
    axes = _axes(node, inputs, len(t.shape))
    return kit.reduce(walk, t, axes, REDUCTIONS[node.op], bool(node.get("keepdims", 1)))


def cumulative_sum(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    t = computed(needed(inputs, 0))
    if optional(inputs, 1) is None:
        raise Refusal("lacks its axis", BROKEN)
    axis = axis_of(np.asarray(small(inputs[1])).item(), len(t.shape))
    return cumulative(walk, t, axis, bool(node.get("exclusive", 0)), bool(node.get("reverse", 0)))


def soft_max(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """Softmax and LogSoftmax; before operator set 13 over all dimensions from the axis on."""
    t = computed(needed(inputs, 0))
    rank = len(t.shape)
    axis = axis_of(node.get("axis", 1 if node.version < 13 else -1), rank)
    return softmax(walk, t, range(axis, rank) if node.version < 13 else (axis,))


def arg_max(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """ArgMax and ArgMin."""
    t = computed(needed(inputs, 0))
    return argmax(
        walk,
        t,
        axis_of(node.get("axis", 0), len(t.shape)),
        largest=node.op == "ArgMax",
        last=bool(node.get("select_last_index", 0)),
        keep=bool(node.get("keepdims", 1)),
        together=walk.hosted.get(node.inputs[0]),
    )


def top_k(walk: Walk, node: Node, inputs: Inputs) -> tuple[Tensor, ...]:
    """TopK of one element: the largest (or smallest) and the first index it has. Raises Refusal for more elements."""
    t = computed(needed(inputs, 0))
    count = node.get("k", None) if node.version < 10 else int(np.asarray(small(needed(inputs, 1))).item())
    if count != 1:
        raise Refusal(*REASONS["TopK"])
    node.get("sorted", 1)  # one element is sorted
    axis = axis_of(node.get("axis", -1), len(t.shape))
    keep_samples_apart(t, (axis,))
    largest = bool(node.get("largest", 1))
    used = [n for n in node.outputs[:2] if n and (n in walk.consumers or n in walk.model.outputs)]
    value = kit.extreme(walk, t, [axis], largest) if node.outputs[0] in used else t
    if not node.outputs[1:] or node.outputs[1] not in used:
        return (value,)
    return value, argmax(walk, t, axis, largest=largest)


RULES: dict[str, Rule] = {
    **{op: rule(reduce) for op in REDUCTIONS},
    "CumSum": rule(cumulative_sum),
    "Softmax": rule(soft_max),
    "LogSoftmax": rule(soft_max),
    "ArgMax": rule(arg_max),
    "ArgMin": rule(arg_max),
    "TopK": rule(top_k),
}
