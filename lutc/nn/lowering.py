"""How each layer becomes operations of the IR; `lower` is the table, one rule per layer."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import singledispatch
from typing import Any

import numpy as np
from torch import Tensor, nn

from lutc.build import Builder
from lutc.ir.graph import Table, Value
from lutc.lowering.edges import edge_sums, edge_tables
from lutc.types import Fixed, holding, tensor

from .known import inside, oddity
from .layers import QAdd, QBatchNorm, QConcat, QLinear, QReLU, Sum, _Affine
from .lut import LUTDense
from .quantizer import Formats, Quantizer, flat


class Exporter(Builder):
    """A builder that gives out names, each once in a design; the builders of its functions share them."""

    def __init__(self, name: str, outer: Exporter | None = None) -> None:
        super().__init__(name)
        self._taken: set[str] = outer._taken if outer else set()
        self._origin = outer._origin if outer else None

    def unique(self, word: str) -> str:
        """``word`` after the layer's name, made unlike every name before."""
        layer = re.sub(r"\W+", "_", self._origin or "", flags=re.ASCII)
        base = f"{'layer' if layer[:1].isdigit() else ''}{layer}_{word}" if layer else word
        name, n = base, 1
        while name.lower() in self._taken:
            n += 1
            name = f"{base}_{n}"
        self._taken.add(name.lower())
        return name


class Unsupported(Exception):
    """A layer that has no exact translation: the reason and a way out."""

    def __init__(self, reason: str, help: str | None = None) -> None:
        super().__init__(reason)
        self.reason, self.help = reason, help


def chain(layer: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
    """The layers of a chain with their names, one after the other; one used twice stands there twice."""
    if type(layer) is nn.Sequential and oddity(layer) is None:
        for child, inner in layer._modules.items():
            if inner is not None:
                yield from chain(inner, f"{name}.{child}" if name else child)
    else:
        yield name, layer


def unknown(layer: nn.Module) -> list[nn.Module]:
    """What a layer of a chain is made of that is not exactly a class known here, or not as its class made it."""
    if type(layer) is nn.Sequential and oddity(layer) is None:
        return [u for inner in inside(layer) for u in unknown(inner)]
    if type(layer) not in lower.registry or oddity(layer) is not None:
        return [layer]
    return [*_exchanged(layer), *(u for part in inside(layer) for u in _unknown_inside(part))]


def _exchanged(layer: nn.Module) -> list[nn.Module]:
    """What stands in the place of a layer's quantisers, whose formats its rule reads, and is none.

    The layer itself if nothing stands there: only a bias may have no quantiser.
    """
    places = {name: m for name, m in layer._modules.items() if name.endswith("quantizer")}
    bare = [layer] if any(m is None and name != "bias_quantizer" for name, m in places.items()) else []
    return [*bare, *(m for m in places.values() if m is not None and type(m) is not Quantizer)]


def _unknown_inside(part: nn.Module) -> list[nn.Module]:
    if type(part) in PARTS and oddity(part) is None:
        return [u for inner in inside(part) for u in _unknown_inside(inner)]
    return unknown(part)


# What layers are made of that is no layer by itself.
PARTS: set[type[nn.Module]] = {nn.ModuleList}


def untranslated(layer: nn.Module) -> str:
    """Why an unknown layer has no exact translation."""
    kind = type(layer).__name__
    reason = oddity(layer)
    if reason is not None:
        return f"{kind} {reason}"
    known = next((k for k in type(layer).__mro__[1:] if k in lower.registry and k is not object), None)
    if known is not None:
        return f"{kind} is a class of its own, derived from {known.__name__}: it has no exact translation"
    return f"{kind} has no exact translation"


@singledispatch
def lower(layer: object, b: Exporter, x: Value) -> Value:
    """Append a layer to the design being built; ``x`` is its input without the batch."""
    raise NotImplementedError


def formats_of(f: Formats) -> list[Fixed]:
    """A quantiser's formats, row-major."""
    rows = zip(flat(f.signed).tolist(), flat(f.width).tolist(), flat(f.frac).tolist(), strict=True)
    return [Fixed(bool(s), w, p) for s, w, p in rows]


def quantise(q: Quantizer, b: Exporter, x: Value, by: Fraction = Fraction(1)) -> Value:
    """``x * by`` through a quantiser, whose formats broadcast to its shape."""
    formats = np.empty(math.prod(q.shape), dtype=object)
    formats[:] = formats_of(q.formats())
    try:
        spread = np.broadcast_to(formats.reshape(q.shape), x.type.shape)
    except ValueError:
        reason = f"the layer has formats for {list(q.shape)}, but is given {list(x.type.shape)}"
        raise Unsupported(
            reason, "give the input's shape without the batch, as the model was trained on"
        ) from None
    to = tensor(x.type.shape, spread.ravel().tolist())
    if by.numerator.bit_count() == by.denominator.bit_count() == 1:
        x = x if by == 1 else b.scale(x, by=by)
        return b.quant(x, to=to, round=q.rounding, overflow=q.overflow)  # type: ignore[no-any-return]
    return b.rescale(x, to=to, by=[by], round=q.rounding, overflow=q.overflow)  # type: ignore[no-any-return]


@lower.register
def _(layer: Quantizer, b: Exporter, x: Value) -> Value:
    return quantise(layer, b, x)


@lower.register
def _(layer: nn.Identity, b: Exporter, x: Value) -> Value:
    return x


@lower.register
def _(layer: nn.Dropout, b: Exporter, x: Value) -> Value:
    return x


@lower.register
def _(layer: nn.ReLU, b: Exporter, x: Value) -> Value:
    return b.relu(x)  # type: ignore[no-any-return]


@lower.register
def _(layer: nn.Flatten, b: Exporter, x: Value) -> Value:
    if (layer.start_dim, layer.end_dim) != (1, -1):
        raise Unsupported("only a Flatten of all axes but the batch is known")
    return b.reshape(x, shape=[x.type.size])  # type: ignore[no-any-return]


@lower.register
def _(layer: QReLU, b: Exporter, x: Value) -> Value:
    return quantise(layer.quantizer, b, b.relu(x))


@lower.register
def _(layer: Sum, b: Exporter, x: Value) -> Value:
    axis = layer.dim - 1 if layer.dim > 0 else layer.dim
    return b.sum(x, axes=[axis])  # type: ignore[no-any-return]


@lower.register
def _(layer: QAdd, b: Exporter, x: Value) -> Value:
    first, *rest = (_branch(branch, b, x) for branch in layer.branches)
    for y in rest:
        first = b.add(first, y)
    return first


@lower.register
def _(layer: QConcat, b: Exporter, x: Value) -> Value:
    axis = layer.dim - 1 if layer.dim > 0 else layer.dim + len(x.type.shape)
    return b.concat(*(_branch(branch, b, x) for branch in layer.branches), axis=axis)  # type: ignore[no-any-return]


def _branch(branch: nn.Module, b: Exporter, x: Value) -> Value:
    for _, layer in chain(branch, ""):
        x = lower(layer, b, x)
    return x


def lut_tables(layer: LUTDense, name: str) -> Table:
    """The layer's truth tables, [n_in, n_out], in the order of a ROM."""
    found = layer.tables()
    fractions = flat(found.values.frac).tolist()
    return edge_tables(name, (layer.n_in, layer.n_out), formats_of(found.keys), fractions, found.codes)


@lower.register
def _(layer: LUTDense, b: Exporter, x: Value) -> Value:
    return over_rows(b, x, layer.n_in, dense_lut(layer))


def dense_lut(layer: LUTDense) -> Callable[[Exporter, Value], Value]:
    def build(b: Exporter, x: Value) -> Value:
        q = layer.input_quantizer
        return edge_sums(b, x, lut_tables(layer, b.unique("tables")), q.rounding, q.overflow)

    return build


def over_rows(b: Exporter, x: Value, width: int, build: Callable[[Exporter, Value], Value]) -> Value:
    """``build`` applied to every row [width] of ``x`` [..., width]: as one function, mapped, if there are several."""
    *lead, last = x.type.shape
    if last != width:
        raise Unsupported(f"the layer takes {width} inputs, but is given {list(x.type.shape)}")
    if not lead:
        return build(b, x)
    count = math.prod(lead)
    rows = one_format_per_column(b, b.reshape(x, shape=[count, width]))
    inner = Exporter(b.unique("row"), b)
    arg = inner.input("x", tensor((width,), rows.type.formats[:width]))
    func = inner.function(build(inner, arg))
    y = b.map(func, rows)
    return b.reshape(y, shape=[*lead, *y.type.shape[1:]]) if len(lead) > 1 else y  # type: ignore[no-any-return]


def one_format_per_column(b: Exporter, x: Value) -> Value:
    """``x`` [n, width] with equal formats in all rows, by widening: no value changes."""
    count, width = x.type.shape
    formats = np.empty(count * width, dtype=object)
    formats[:] = x.type.formats
    columns = [_holding_all(set(formats.reshape(count, width)[:, k])) for k in range(width)]
    if all(tuple(formats.reshape(count, width)[i]) == tuple(columns) for i in range(count)):
        return x
    return b.quant(x, to=tensor(x.type.shape, columns * count))  # type: ignore[no-any-return]


def _holding_all(formats: set[Fixed]) -> Fixed:
    live = [f for f in formats if f.width]
    frac = max((f.frac for f in live), default=0)
    lo = min((f.lo << (frac - f.frac) for f in live), default=0)
    return holding(lo, max((f.hi << (frac - f.frac) for f in live), default=0), frac)


def constant(b: Exporter, name: str, values: Tensor, q: Quantizer) -> Any:
    """Quantised weights as a constant, each in the narrowest format of its quantiser's steps."""
    reals = values.double().numpy()
    frac = np.broadcast_to(flat(q.bits().fraction).reshape(q.shape), reals.shape).astype(np.int64)
    codes = np.rint(reals * np.exp2(frac.astype(np.float64))).astype(np.int64)
    formats = [
        holding(min(c, 0), max(c, 0), f)
        for c, f in zip(codes.ravel().tolist(), frac.ravel().tolist(), strict=True)
    ]
    return b.constant(name, tensor(reals.shape, formats), reals)


def _dense(layer: _Affine, weight: Tensor, bias: Tensor | None) -> Callable[[Exporter, Value], Value]:
    def build(b: Exporter, x: Value) -> Value:
        y = b.dense(x, _const(b, "weight", weight, layer.weight_quantizer))
        if bias is None or layer.bias_quantizer is None:
            return y  # type: ignore[no-any-return]
        return b.add(y, b.const(constant(b, b.unique("bias"), bias, layer.bias_quantizer)))  # type: ignore[no-any-return]

    return build


def _const(b: Exporter, name: str, matrix: Tensor, q: Quantizer) -> Any:
    """A weight matrix [n_out, n_in...] as a constant [n_in, n_out]."""
    columns = matrix.flatten(1)
    made = constant(b, name, matrix, q)
    kind = np.empty(columns.numel(), dtype=object)
    kind[:] = made.type.formats
    order = kind.reshape(columns.shape).T
    return b.constant(
        b.unique(name), tensor(order.shape, order.ravel().tolist()), columns.t().double().numpy()
    )


@lower.register
def _(layer: QLinear, b: Exporter, x: Value) -> Value:
    weight, bias = layer.quantised()
    return over_rows(b, quantise(layer.input_quantizer, b, x), layer.n_in, _dense(layer, weight, bias))


@lower.register
def _(layer: QBatchNorm, b: Exporter, x: Value) -> Value:
    gain, shift = layer.exact()
    shape = x.type.shape
    tall = [len(gain), *[1] * (len(shape) - 1)]
    scale, add = (
        b.broadcast(b.reshape(b.const(constant(b, b.unique(n), v, q)), shape=tall), shape=list(shape))
        for n, v, q in (("gain", gain, layer.gain_quantizer), ("shift", shift, layer.shift_quantizer))
    )
    return b.add(b.mul(x, scale), add)  # type: ignore[no-any-return]
