"""If with a condition known at compile time: the branch that is taken stands in its place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..importer import Refusal
from .model import Node, constants_of, nodes_of
from .tensors import Known, Missing, Tensor
from .walk import Walk

HELP = "export the model so that the condition is constant, or choose with Where"


def taken(walk: Walk, node: Node, condition: Tensor | Missing | None) -> list[Node]:
    """The nodes of the branch that is taken, which make the outputs of the If under its own names.

    Raises Refusal for a condition that is computed from the inputs.
    """
    if not isinstance(condition, Known):
        raise Refusal("chooses between branches by data, and a circuit has both", HELP)
    graph = node.get("then_branch" if np.asarray(condition.array).any() else "else_branch", None)
    if graph is None or len(graph.output) != len(node.outputs):
        raise Refusal(
            "lacks a branch, or one has another number of outputs", "the model is broken: export it again"
        )
    walk.tensors.update(constants_of(graph, node.label))
    renamed = dict(zip((o.name for o in graph.output), node.outputs, strict=True))
    nodes = []
    for inner in nodes_of(graph, walk.model.versions):
        proto = type(inner.proto)()
        proto.CopyFrom(inner.proto)
        proto.input[:] = [renamed.get(n, n) for n in inner.inputs]
        proto.output[:] = [renamed.get(n, n) for n in inner.outputs]
        nodes.append(replace(inner, inputs=tuple(proto.input), outputs=tuple(proto.output), proto=proto))
    made = {n for inner in nodes for n in inner.outputs}
    for old, new in renamed.items():
        if new not in made:  # a branch may hand a tensor from outside, or a constant, through
            walk.tensors[new] = walk.tensors.get(old, Missing())
    for inner in nodes:
        for name in inner.inputs:
            walk.consumers.setdefault(name, []).append(inner)
    return nodes
