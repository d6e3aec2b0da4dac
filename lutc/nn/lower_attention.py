"""Tables of functions, softmax and attention as operations of the IR."""

from __future__ import annotations

from collections.abc import Callable

import torch

from lutc.ir.graph import Table, Value
from lutc.lowering.attention import einsum, softmax
from lutc.lowering.edges import edge_tables

from .attention import QAttention, QProduct, QSoftmax
from .function import QFunction
from .lowering import PARTS, Exporter, Unsupported, formats_of, lower, over_rows, quantise
from .quantizer import flat

PARTS.add(QProduct)


def function_table(layer: QFunction, name: str) -> Table:
    """A function's table, in the order of a ROM."""
    _, values = layer.table()
    frac = layer.table_quantizer.formats().frac
    codes = torch.round(values * torch.exp2(frac.double())).long()
    (key,) = formats_of(layer.input_quantizer.formats())
    return edge_tables(name, (), [key], [int(frac)], flat(codes))


def _read(layer: QFunction, b: Exporter, name: str) -> Callable[[Exporter, Value], Value]:
    table = function_table(layer, b.unique(name))

    def read(inner: Exporter, x: Value) -> Value:
        return inner.lut(quantise(layer.input_quantizer, inner, x), table)  # type: ignore[no-any-return]

    return read


@lower.register
def _(layer: QFunction, b: Exporter, x: Value) -> Value:
    return _read(layer, b, layer.function)(b, x)


@lower.register
def _(layer: QSoftmax, b: Exporter, x: Value) -> Value:
    shape = x.type.shape
    axis = layer.dim - 1 if layer.dim > 0 else len(shape) + layer.dim
    if not 0 <= axis < len(shape):
        raise Unsupported(f"the layer's axis is {layer.dim}, but it is given {list(shape)} without the batch")
    exp, inverse = _read(layer.exp, b, "exp"), _read(layer.inverse, b, "inverse")

    def row(inner: Exporter, v: Value) -> Value:
        return softmax(
            inner, v, [0], lambda w: exp(inner, w), lambda w: inverse(inner, w), stable=layer.stable
        )

    x = quantise(layer.input_quantizer, b, x)
    last = [i for i in range(len(shape)) if i != axis] + [axis]
    back = [last.index(i) for i in range(len(shape))]
    if axis < len(shape) - 1:
        x = b.transpose(x, perm=last)
    y = over_rows(b, x, shape[axis], row)
    return b.transpose(y, perm=back) if axis < len(shape) - 1 else y


def _product(layer: QProduct, b: Exporter, x: Value, y: Value) -> Value:
    left, right, out = (t[1:] for t in layer.terms)
    u, v = quantise(layer.left_quantizer, b, x), quantise(layer.right_quantizer, b, y)
    return einsum(b, left, right, out, u, v)


@lower.register
def _(layer: QAttention, b: Exporter, x: Value) -> Value:
    if len(x.type.shape) != 2:
        raise Unsupported(f"the layer takes [positions, features], but is given {list(x.type.shape)}")
    positions = x.type.shape[0]
    q, k, v = (
        b.reshape(lower(part, b, x), shape=[positions, layer.heads, layer.dim])
        for part in (layer.query, layer.key, layer.value)
    )
    shares = lower(layer.softmax, b, _product(layer.scores, b, q, k))
    mixed = b.reshape(_product(layer.mix, b, shares, v), shape=[positions, layer.heads * layer.dim])
    return lower(layer.output, b, mixed)
