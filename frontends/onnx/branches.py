"""If with a condition known at compile time: the branch that is taken stands in its place."""

from __future__ import annotations

import numpy as np

from lutc.lowering.refusals import Refusal
from lutc.lowering.tensors import Known, Missing, Tensor
from lutc.lowering.walk import Walk

from .functions import identity, renamed_apart
from .model import Node, OnnxModel
from .read import constants_of, in_order, nodes_of

HELP = "export the model so that the condition is constant, or choose with Where"


def taken(walk: Walk, model: OnnxModel, node: Node, condition: Tensor | Missing | None) -> list[Node]:
    """The nodes of the branch that is taken, which make the outputs of the If under its own names.

    Raises Refusal for a condition that is computed from the inputs.
    """
    if not isinstance(condition, Known):
        raise Refusal("chooses between branches by data, and a circuit has both", HELP)
    if condition.counts:
        raise Refusal("chooses between branches by the length of the batch", HELP)
    graph = node.get("then_branch" if np.asarray(condition.array).any() else "else_branch", None)
    functions = model.functions
    if graph is None or functions is None or len(graph.output) != len(node.outputs):
        raise Refusal(
            "lacks a branch, or one has another number of outputs", "the model is broken: export it again"
        )
    graph = renamed_apart(graph, functions, node.name)
    walk.tensors.update(constants_of(graph, node.label))
    inside = nodes_of(graph.node, node.versions, functions)
    handed = [identity(o.name, to) for o, to in zip(graph.output, node.outputs, strict=True) if to]
    inside += nodes_of(handed, node.versions, functions)
    nodes = in_order(inside, set(walk.tensors), node.label)
    for inner in nodes:
        walk.read_by(inner)
    return list(nodes)
