"""Layers that read one another as ONNX."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from lutc.lowering.moves import moved, positions

from .attention import QProduct
from .graph import INPUT, Add, Concat, Graph, Move, QAffine, QMean
from .joins import Maximum, Multiply, QMaximum, QMinimum, QMultiply, _Elementwise
from .rules_graph import places
from .to_onnx import _branches, _chain, _Graph, _product, emit, quantise, weights

Shape = tuple[int, ...]


def _join(layer: nn.Module, g: _Graph, parts: list[str]) -> str:
    if isinstance(layer, QProduct):
        return _product(layer, g, *parts)
    if isinstance(layer, Concat):
        return g.add("Concat", parts, axis=layer.dim)
    if isinstance(layer, _Elementwise):
        return g.add(
            "Mul" if isinstance(layer, Multiply) else "Max" if isinstance(layer, Maximum) else "Min", parts
        )
    assert isinstance(layer, Add)
    return g.add("Sub" if layer.subtract else "Add", parts)


@emit.register
def _(layer: Graph, g: _Graph, x: str, shape: Shape) -> str:
    values, own = {INPUT: (x, shape)}, g.where
    like = next((p.dtype for p in layer.parameters()), torch.float32)
    name = INPUT
    for name, part, read in layer.steps:
        where = f"{own}.{name}" if own else name
        if len(read) == 1:
            values[name] = _chain(g, part, where, *values[read[0]])
            continue
        g.where = where
        zeros = [torch.zeros(1, *values[r][1], dtype=like) for r in read]
        made = _join(part, g, [values[r][0] for r in read])
        values[name] = made, tuple(part(*zeros).shape[1:])
    g.where = own
    return values[name][0]


@emit.register
def _(layer: Move, g: _Graph, x: str, shape: Shape) -> str:
    """A transposition or a new shape as what it is, and all else as the places of its elements in a row."""
    if layer.kind == "permute":
        return g.add("Transpose", [x], perm=list(layer.numbers))
    index: Any = moved(partial(places, layer), positions(shape))[0]
    if layer.kind != "reshape":
        x = g.add("Reshape", [x, g.constant("row", [0, int(np.prod(shape))], np.int64)])
        if index.min(initial=0) < 0:
            x = g.add("Pad", [x, g.constant("ends", [0, 0, 0, 1], np.int64)])
        at = np.where(index < 0, int(np.prod(shape)), index).ravel()
        x = g.add("Gather", [x, g.constant("places", at, np.int64)], axis=1)
    return g.add("Reshape", [x, g.constant("shape", [0, *index.shape], np.int64)])


@emit.register
def _(layer: QAffine, g: _Graph, x: str, shape: Shape) -> str:
    for name, op in (("gain", "Mul"), ("shift", "Add")):
        value = layer.quantised(name)
        if value is not None:
            x = g.add(op, [x, weights(g, name, value.numpy())])
    return x


@emit.register
def _(layer: QMean, g: _Graph, x: str, shape: Shape) -> str:
    mean = g.add("ReduceMean", [x], axes=list(layer.dims), keepdims=int(layer.keepdim))
    return quantise(g, layer.quantizer, mean)


@emit.register(QMaximum)
@emit.register(QMinimum)
@emit.register(QMultiply)
def _(layer: QMaximum | QMinimum | QMultiply, g: _Graph, x: str, shape: Shape) -> str:
    first, *rest = _branches(layer.branches, g, x, shape)
    for y in rest:
        first = _join(layer, g, [first, y])
    return first
