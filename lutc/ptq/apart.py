"""Operators of several steps, taken apart: what stands between the steps can be quantised then.

A softmax inside of a network becomes `Exp(x - max)`, its sum, the sum's reciprocal and their product; a layer
normalisation the mean, the variance, the reciprocal of its root and the products. The numbers stay what they were.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lutc.diagnostics import error

from .graph import Graph, attributes


def rank_of(graph: Graph, node: Any, tensor: str) -> int:
    """How many dimensions a tensor has. Raises LirError, for the node that asks, if that is not known."""
    if tensor not in graph.ranks:
        raise error(
            f"{node.name or node.output[0]} ({node.op_type}) reads {tensor!r}, of which no shape is known",
            help="export the model with fixed shapes, except for the first dimension",
        )
    return graph.ranks[tensor]


def taken_apart(graph: Graph) -> None:
    """Take every softmax and layer normalisation of the graph apart, in place. Raises LirError for unknown shapes."""
    for node in list(graph.nodes):
        rule = RULES.get(node.op_type)
        if rule is not None:
            at = graph.nodes.index(node)
            graph.nodes[at : at + 1] = rule(graph, node)


def _made(op: str, inputs: list[str], output: str, **attributes: Any) -> Any:
    from onnx import helper

    return helper.make_node(op, inputs, [output], name=output, **attributes)


def _reduced(graph: Graph, op: str, x: str, out: str, axes: list[int]) -> Any:
    """A reduction that keeps its axes: they are an input in newer operator sets, an attribute in older ones."""
    from onnx import helper

    since = 13 if op == "ReduceSum" else 18
    if graph.opset >= since:
        graph.constants[f"{out}_axes"] = np.array(axes, np.int64)
        return helper.make_node(op, [x, f"{out}_axes"], [out], name=out, keepdims=1)
    return helper.make_node(op, [x], [out], name=out, axes=axes, keepdims=1)


def _softmax(graph: Graph, node: Any) -> list[Any]:
    x, y = node.input[0], node.output[0]
    given = attributes(node)
    rank = rank_of(graph, node, x)
    axis = given.get("axis", -1 if graph.opset >= 13 else 1) % rank
    axes = [axis] if graph.opset >= 13 else list(range(axis, rank))
    top, low, each, total, part = (f"{y}_{s}" for s in ("max", "below", "exp", "sum", "reciprocal"))
    return [
        _reduced(graph, "ReduceMax", x, top, axes),
        _made("Sub", [x, top], low),
        _made("Exp", [low], each),
        _reduced(graph, "ReduceSum", each, total, axes),
        _made("Reciprocal", [total], part),
        _made("Mul", [each, part], y),
    ]


def _layer_norm(graph: Graph, node: Any) -> list[Any]:
    x, y = node.input[0], node.output[0]
    given = attributes(node)
    rank = rank_of(graph, node, x)
    axes = list(range(given.get("axis", -1) % rank, rank))
    mean, low, square, power, sure, root, part, norm = (
        f"{y}_{s}"
        for s in ("mean", "centred", "square", "variance", "sure", "deviation", "reciprocal", "norm")
    )
    graph.constants[f"{y}_epsilon"] = np.asarray(given.get("epsilon", 1e-5), np.float32)
    scaled = f"{y}_scaled" if len(node.input) > 2 and node.input[2] else y
    nodes = [
        _reduced(graph, "ReduceMean", x, mean, axes),
        _made("Sub", [x, mean], low),
        _made("Mul", [low, low], square),
        _reduced(graph, "ReduceMean", square, power, axes),
        _made("Add", [power, f"{y}_epsilon"], sure),
        _made("Sqrt", [sure], root),
        _made("Reciprocal", [root], part),
        _made("Mul", [low, part], norm),
        _made("Mul", [norm, node.input[1]], scaled),
    ]
    if scaled != y:
        nodes.append(_made("Add", [scaled, node.input[2]], y))
    return nodes


RULES = {"Softmax": _softmax, "LayerNormalization": _layer_norm}
