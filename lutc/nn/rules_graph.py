"""Layers that read one another as operations of the IR."""

from __future__ import annotations

from fractions import Fraction
from functools import partial, singledispatch
from typing import Any

import numpy as np
import torch

from lutc.files.foreign import first_line
from lutc.ir.graph import Value
from lutc.lowering.moves import moved, positions, rearranged, reshaped, spread
from lutc.lowering.refusals import Refusal

from .attention import QProduct
from .graph import INPUT, Add, Concat, Graph, Kept, Move, QAffine, QMean
from .joins import Maximum, Minimum, Multiply, QMaximum, QMinimum, QMultiply, _Elementwise
from .rules import PARTS, Exporter, Weights, axis_of, branch_of, chain, lower, quantise
from .rules_attention import product_of

PARTS.update((Add, Concat, Kept, Maximum, Minimum, Multiply))


@singledispatch
def join(layer: object, b: Exporter, *operands: Value) -> Value:
    """Append a layer that reads several values. May raise Refusal."""
    raise Refusal(f"{type(layer).__name__} reads {len(operands)} values")


@join.register
def _(layer: Add, b: Exporter, x: Value, y: Value) -> Value:
    u, v = _alike(b, x, y)
    return b.sub(u, v) if layer.subtract else b.add(u, v)  # type: ignore[no-any-return]


def _alike(b: Exporter, x: Value, y: Value) -> tuple[Value, Value]:
    """Both values in the shape that they broadcast to."""
    try:
        shape = np.broadcast_shapes(x.type.shape, y.type.shape)
    except ValueError:
        raise Refusal(f"joins shapes {list(x.type.shape)} and {list(y.type.shape)}") from None
    return _broadcast(b, x, shape), _broadcast(b, y, shape)


@join.register
def _(layer: _Elementwise, b: Exporter, x: Value, y: Value) -> Value:
    u, v = _alike(b, x, y)
    if isinstance(layer, Multiply):
        return b.mul(u, v)  # type: ignore[no-any-return]
    return b.max(u, v) if isinstance(layer, Maximum) else b.min(u, v)  # type: ignore[no-any-return]


def _lower_branches(layer: QMaximum | QMinimum | QMultiply, b: Exporter, x: Value) -> Value:
    first, *rest = (branch_of(branch, b, x) for branch in layer.branches)
    for y in rest:
        first = join(layer, b, first, y)
    return first


lower.register(QMaximum, _lower_branches)
lower.register(QMinimum, _lower_branches)
lower.register(QMultiply, _lower_branches)


@join.register
def _(layer: Concat, b: Exporter, *parts: Value) -> Value:
    return b.concat(*parts, axis=axis_of(layer.dim, len(parts[0].type.shape)))  # type: ignore[no-any-return]


@join.register
def _(layer: QProduct, b: Exporter, x: Value, y: Value) -> Value:
    return product_of(layer, b, x, y)


def _broadcast(b: Exporter, x: Value, shape: tuple[int, ...]) -> Value:
    """Broadcast as torch does with the batch in front: only axes of length 1 grow, and no axis comes before them."""
    if len(x.type.shape) != len(shape):
        raise Refusal(f"{list(x.type.shape)} meets {list(shape)}, of another number of axes")
    return spread(b, x, shape)


def places(layer: Move, index: Any) -> Any:
    """Where a movement takes its elements from, of an array of places; -1 for the number 0."""
    found: Any = layer(torch.from_numpy(np.asarray(index) + 1)).numpy()  # so that a border of zeros is -1
    return found - 1


@lower.register
def _(layer: Move, b: Exporter, x: Value) -> Value:
    try:
        index = moved(partial(places, layer), positions(x.type.shape))
    except RuntimeError as e:  # torch's own for shapes that do not fit
        raise Refusal(f"{layer.kind} of {list(x.type.shape)}: {first_line(e)}") from None
    return rearranged(b, x, index[0])


@lower.register
def _(layer: QAffine, b: Exporter, x: Value) -> Value:
    for name in layer.names:
        value = layer.quantised(name)
        assert value is not None
        const = b.const(Weights.of(value, getattr(layer, f"{name}_quantizer")).const(b, name))
        rank = len(x.type.shape)
        size = (1,) * (rank - value.dim()) + tuple(value.shape)
        if len(size) == rank + 1 and size[0] == 1:
            size = size[1:]  # of the batch
        c = spread(b, reshaped(b, const, size), x.type.shape)
        x = b.mul(x, c) if name == "gain" else b.add(x, c)
    return x


@lower.register
def _(layer: QMean, b: Exporter, x: Value) -> Value:
    axes = [axis_of(d, len(x.type.shape)) for d in layer.dims]
    shape = x.type.shape
    count = 1
    for a in axes:
        count *= shape[a]
    total = b.sum(x, axes=axes)
    if layer.keepdim:
        total = reshaped(b, total, [1 if a in axes else n for a, n in enumerate(shape)])
    return quantise(layer.quantizer, b, total, Fraction(1, count))


@lower.register
def _(layer: Graph, b: Exporter, x: Value) -> Value:
    values, own = {INPUT: x}, b._origin
    for name, part, read in layer.steps:
        with b.origin(f"{own}.{name}" if own else name):
            if len(read) > 1:
                x = join(part, b, *(values[r] for r in read))
            else:
                x = values[read[0]]
                for _, inner in chain(part, ""):
                    x = lower(inner, b, x)
        values[name] = x
    return x
