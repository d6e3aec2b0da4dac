"""Softmax and ArgMax: what stands at the end of a classifier."""

from __future__ import annotations

from lutc.lowering.operands import axis_of, computed
from lutc.lowering.scores import argmax, softmax
from lutc.lowering.tensors import Tensor
from lutc.lowering.walk import Walk

from .model import Node
from .rule import Inputs, Rule, needed, rule


def soft_max(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """Softmax and LogSoftmax; before operator set 13 over all dimensions from the axis on."""
    t = computed(needed(inputs, 0))
    rank = len(t.shape)
    axis = axis_of(node.get("axis", 1 if node.version < 13 else -1), rank)
    return softmax(walk, node, t, range(axis, rank) if node.version < 13 else (axis,))


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


RULES: dict[str, Rule] = {
    "Softmax": rule(soft_max),
    "LogSoftmax": rule(soft_max),
    "ArgMax": rule(arg_max),
    "ArgMin": rule(arg_max),
}
