"""Where numbers get formats: the layers' weights, and the points between the layers where data is quantised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .fold import bias_of, channel_axis, result_of
from .graph import Graph, attributes
from .nodes import CURVES, MOVES, THROUGH

Array = NDArray[Any]


@dataclass(frozen=True)
class Layer:
    """Products of data with constant weights `[K, J]` per group, plus a bias `[groups * J]`."""

    name: str
    op: str
    input: str
    output: str  # with the bias
    weights: str
    bias: str
    axis: int  # of the output channels in the result
    attributes: dict[str, Any]

    @property
    def groups(self) -> int:
        return int(self.attributes.get("group", 1))

    def matrices(self, w: Array) -> list[Array]:
        """The weights as a matrix `[fan-in, outputs]` for each group."""
        if self.op == "Conv":
            parts = np.split(w, self.groups, axis=0)
            return [p.reshape(len(p), -1).T for p in parts]
        if self.op == "ConvTranspose":  # [in, out, ...]: each input channel by itself, over outputs and taps
            return [p.reshape(p.shape[0], -1) for p in np.split(w, self.groups, axis=0)]
        return [w]

    def weights_of(self, matrices: Sequence[Array], shape: tuple[int, ...]) -> Array:
        """The inverse of `matrices`."""
        if self.op == "Conv":
            return np.concatenate([m.T for m in matrices]).reshape(shape)
        return np.concatenate(list(matrices)).reshape(shape)


@dataclass(frozen=True)
class Point:
    """A tensor that is quantised, with formats along one of its axes or, where that is None, one for all.

    It rounds to the nearest code, halves to the even one. With `in_bias` halves go up: half a step goes into the bias
    of the layer in front, and the rest is cut off, which costs nothing.
    """

    name: str
    tensor: str
    axis: int | None
    is_input: bool
    is_output: bool
    in_bias: bool


@dataclass(frozen=True)
class Sites:
    """All of them, in the order in which data meets them."""

    layers: list[Layer]
    points: list[Point]
    order: list[Layer | Point]
    feeding: dict[
        str, tuple[Point, bool]
    ]  # by a layer's input: its point, and if each channel is a run of inputs
    behind: dict[str, Point]  # by a layer's result: the point that quantises it

    def by_tensor(self) -> Sites:
        """The same with one format for each tensor."""
        lone = {p: replace(p, axis=None) for p in self.points}
        return Sites(
            self.layers,
            list(lone.values()),
            [lone[s] if isinstance(s, Point) else s for s in self.order],
            {t: (lone[p], runs) for t, (p, runs) in self.feeding.items()},
            {t: lone[p] for t, p in self.behind.items()},
        )


def sites(graph: Graph, shapes: dict[str, tuple[int, ...]]) -> Sites:
    """The sites of a model in plain form; `shapes` are its tensors' shapes, batch first."""
    layers: list[Layer] = []
    order: list[Layer | Point] = []
    points: list[Point] = []
    behind: dict[str, Point] = {}
    axes: dict[str, int | None] = {}
    for i in graph.inputs:
        axes[i.name] = _input_axis(graph, i.name, len(shapes[i.name]))
        _point(graph, i.name, axes, points, order, of_layer=False)
    for node in graph.nodes:
        bias = bias_of(graph, node)
        if bias is not None:
            out = result_of(graph, node)
            axis = channel_axis(node, len(shapes[out]))
            layer = Layer(
                node.name or node.output[0],
                node.op_type,
                node.input[0],
                out,
                node.input[1],
                bias,
                axis,
                attributes(node),
            )
            layers.append(layer)
            order.append(layer)
            axes[out] = axis
            behind[out] = _point(graph, out, axes, points, order, of_layer=True)
        elif node.output[0] not in {x.output for x in layers}:
            for out in node.output:
                if out in shapes:
                    axes[out] = _axis(node, axes, shapes, out)
            data = [n for n in node.input if n in axes]
            computed = node.op_type not in MOVES and node.output[0] in shapes
            if computed and data:
                _point(graph, node.output[0], axes, points, order, of_layer=False)
    feeding = {}
    at = {p.tensor: p for p in points}
    for layer in layers:
        if found := _feeding(graph, layer.input, at, shapes):
            feeding[layer.input] = found
    return Sites(layers, points, order, feeding, behind)


def _point(
    graph: Graph,
    tensor: str,
    axes: dict[str, int | None],
    points: list[Point],
    order: list[Any],
    of_layer: bool,
) -> Point:
    """Add and give the point of a tensor whose numbers are new: behind what follows it as part of the same function.

    That is an activation that keeps to the steps, and of a function of one number all the functions behind it: they
    become one table.
    """
    axis, maker = axes[tensor], graph.maker(tensor)
    function = maker is not None and not of_layer and _of_one(graph, maker)
    while maker is not None and (node := graph.reader(tensor)) is not None:
        if node.op_type not in THROUGH and not (function and _of_one(graph, node)):
            break
        of_layer &= node.op_type == "Relu"
        tensor = node.output[0]
    found = next((p for p in points if p.tensor == tensor), None)
    if found is None:
        found = Point(tensor, tensor, axis, maker is None, tensor in graph.outputs, of_layer)
        points.append(found)
        order.append(found)
    return found


def _of_one(graph: Graph, node: Any) -> bool:
    """Whether a node is a function of one tensor, number by number."""
    data = [n for n in node.input if n and n not in graph.constants]
    return len(data) == 1 and node.op_type in (*CURVES, "Add", "Sub", "Mul", "Div")


def _axis(node: Any, axes: dict[str, int | None], shapes: dict[str, tuple[int, ...]], out: str) -> int | None:
    """The channels' axis of a result, as far as the operands tell it."""
    rank = len(shapes.get(out, ()))
    known = [axes[n] for n in node.input if n in axes]
    if node.op_type == "Transpose" and known and known[0] is not None:
        return list(attributes(node)["perm"]).index(known[0])
    if rank == 2:
        return 1
    same = {len(shapes.get(n, ())) for n in node.input if n in axes} == {rank}
    kept = node.op_type not in ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "MatMul") and same
    return known[0] if known and kept else None


def _input_axis(graph: Graph, tensor: str, rank: int) -> int | None:
    """The channels' axis of an input: where the layer that reads it looks for them."""
    if rank <= 2:
        return rank - 1 if rank == 2 else None
    for node in graph.readers(tensor):
        if node.op_type in ("Conv", "ConvTranspose"):
            return 1
        if node.op_type == "Transpose":
            inner = _input_axis(graph, node.output[0], rank)
            return None if inner is None else int(attributes(node)["perm"][inner])
        if node.op_type == "MatMul":
            return rank - 1
    return None


def _feeding(
    graph: Graph, tensor: str, at: dict[str, Point], shapes: dict[str, tuple[int, ...]]
) -> tuple[Point, bool] | None:
    """The point whose numbers a tensor holds, moved or not, and whether each of its channels is a run of them.

    None if there are several points.
    """
    turned = []  # orders of dimensions, the last first
    while tensor not in at:
        node = graph.maker(tensor)
        data = [n for n in node.input if n not in graph.constants] if node is not None else []
        if node is None or node.op_type not in MOVES or len(data) != 1:
            return None
        if node.op_type == "Transpose":
            turned.append(list(attributes(node)["perm"]))
        tensor = data[0]
    axis, rank = at[tensor].axis, len(shapes[tensor])
    for perm in reversed(turned):
        axis = perm.index(axis) if axis is not None and len(perm) == rank else axis
    return at[tensor], axis == 1 and rank > 2
