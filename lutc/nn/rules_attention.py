"""Tables of functions, softmax and attention as operations of the IR."""

from __future__ import annotations

from functools import partial

import torch

from lutc.ir.graph import Table, Value
from lutc.lowering.attention import einsum, softmax
from lutc.lowering.edges import edge_tables
from lutc.lowering.moves import ordered
from lutc.lowering.refusals import Refusal

from .attention import QAttention, QProduct, QSoftmax
from .function import QFunction
from .quantizer import flat
from .rules import PARTS, Build, Exporter, axis_of, formats_of, lower, over_rows, quantise

PARTS.add(QProduct)


def function_table(layer: QFunction, name: str) -> Table:
    """A function's table, in the order of a ROM."""
    _, values = layer.table()
    frac = layer.table_quantizer.formats().frac
    codes = torch.round(values * torch.exp2(frac.double())).long()
    (key,) = formats_of(layer.input_quantizer.formats()).tolist()
    return edge_tables(name, (), [key], [int(frac)], flat(codes))


def _read(layer: QFunction, b: Exporter, name: str) -> Build:
    table = function_table(layer, b.unique(name))

    def read(inner: Exporter, x: Value) -> Value:
        return inner.lut(quantise(layer.input_quantizer, inner, x), table)  # type: ignore[no-any-return]

    return read


@lower.register
def _(layer: QFunction, b: Exporter, x: Value) -> Value:
    return _read(layer, b, layer.function)(b, x)


@lower.register
def _(layer: QSoftmax, b: Exporter, x: Value) -> Value:
    rank, axis = len(x.type.shape), axis_of(layer.dim, len(x.type.shape))
    exp, inverse = _read(layer.exp, b, "exp"), _read(layer.inverse, b, "inverse")

    def row(inner: Exporter, v: Value) -> Value:
        return softmax(inner, v, [0], partial(exp, inner), partial(inverse, inner), stable=layer.stable)

    x = quantise(layer.input_quantizer, b, x)
    last = [*(i for i in range(rank) if i != axis), axis]
    x = ordered(b, x, range(rank), last)
    return ordered(b, over_rows(b, x, x.type.shape[-1], row), last, range(rank))


def product_of(layer: QProduct, b: Exporter, x: Value, y: Value) -> Value:
    """The product of two values, each through its quantiser."""
    left, right, out = (t[1:] for t in layer.terms)
    u, v = quantise(layer.left_quantizer, b, x), quantise(layer.right_quantizer, b, y)
    return einsum(b, left, right, out, u, v)


@lower.register
def _(layer: QAttention, b: Exporter, x: Value) -> Value:
    if len(x.type.shape) != 2:
        raise Refusal(f"the layer takes [positions, features], but is given {list(x.type.shape)}")
    positions = x.type.shape[0]
    q, k, v = (
        b.reshape(lower(part, b, x), shape=[positions, layer.heads, layer.dim])
        for part in (layer.query, layer.key, layer.value)
    )
    shares = lower(layer.softmax, b, product_of(layer.scores, b, q, k))
    mixed = b.reshape(product_of(layer.mix, b, shares, v), shape=[positions, layer.heads * layer.dim])
    return lower(layer.output, b, mixed)
