"""How each layer becomes operations of the IR; `lower` is the table, one rule per layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial, singledispatch
from typing import Any

import numpy as np
from torch import Tensor, nn

from lutc.build import Builder
from lutc.ir.graph import Const, Table, Value
from lutc.lowering.constants import each_narrowest
from lutc.lowering.edges import edge_sums, edge_tables
from lutc.lowering.formats import formats, typed
from lutc.lowering.names import Names
from lutc.lowering.refusals import Refusal
from lutc.lowering.rows import alike, mapped
from lutc.numbers import one_digit

from .known import inside, oddity
from .layers import QAdd, QBatchNorm, QConcat, QLinear, QReLU, Sum, _Affine
from .lut import LUTDense
from .quantizer import Array, Formats, Quantizer, flat


class Exporter(Builder):
    """A builder that gives out names, each once in a design; the builders of its functions share them."""

    def __init__(self, name: str, names: Names | None = None, origin: str | None = None) -> None:
        super().__init__(name)
        self.names = names or Names()
        self._origin = origin

    def unique(self, word: str) -> str:
        """``word`` after the layer's name, made unlike every name before."""
        wish = f"{self._origin}_{word}" if self._origin else word
        return self.names.take(f"layer{wish}" if wish[0].isdigit() else wish)


# Appends what a layer computes of a value to the design being built.
Build = Callable[[Exporter, Value], Value]


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
    """Append a layer to the design being built; ``x`` is its input without the batch. May raise Refusal."""
    raise NotImplementedError


# -- what rules are made of -----------------------------------------------------------------------------------------


def formats_of(f: Formats) -> Any:
    """A quantiser's formats, row-major: an object array of `Fixed`."""
    return formats(flat(f.signed), flat(f.width), flat(f.frac))


def quantise(q: Quantizer, b: Exporter, x: Value, by: Fraction = Fraction(1)) -> Value:
    """``x * by`` through a quantiser, whose formats broadcast to its shape."""
    try:
        to = typed(formats_of(q.formats()).reshape(q.shape), x.type.shape)
    except ValueError:
        raise Refusal(
            f"the layer has formats for {list(q.shape)}, but is given {list(x.type.shape)}",
            "give the input's shape without the batch, as the model was trained on",
        ) from None
    if one_digit(by):
        x = x if by == 1 else b.scale(x, by=by)
        return b.quant(x, to=to, round=q.rounding, overflow=q.overflow)  # type: ignore[no-any-return]
    return b.rescale(x, to=to, by=[by], round=q.rounding, overflow=q.overflow)  # type: ignore[no-any-return]


def axis_of(dim: int, rank: int) -> int:
    """A layer's axis, which counts the batch as 0 or from the last, as the axis of a value of ``rank`` axes."""
    axis = dim - 1 if dim > 0 else rank + dim
    if not 0 <= axis < rank:
        raise Refusal(f"the layer's axis is {dim}, but it is given {rank} axes without the batch")
    return axis


def over_rows(b: Exporter, x: Value, width: int, build: Build) -> Value:
    """``build`` applied to every row [width] of ``x`` [..., width]: as one function, mapped, if there are several."""
    *lead, last = x.type.shape
    if last != width:
        raise Refusal(f"the layer takes {width} inputs, but is given {list(x.type.shape)}")
    if not lead:
        return build(b, x)
    rows = alike(b, b.reshape(x, shape=[math.prod(lead), width]))
    inner = Exporter(b.unique("row"), b.names)
    y = mapped(b, rows, inner, partial(build, inner), b._origin)
    return b.reshape(y, shape=[*lead, *y.type.shape[1:]]) if len(lead) > 1 else y


@dataclass(frozen=True)
class Weights:
    """Quantised numbers of a layer: their codes, and each one's bits after the point, in arrays of one shape."""

    codes: Array
    fracs: Array

    @classmethod
    def of(cls, values: Tensor, q: Quantizer) -> Weights:
        """Numbers that a quantiser has made."""
        reals = values.double().numpy()
        frac = np.broadcast_to(flat(q.bits().fraction).reshape(q.shape), reals.shape).astype(np.int64)
        return cls(np.rint(reals * np.exp2(frac.astype(np.float64))).astype(np.int64), frac)

    def moved(self, move: Callable[[Any], Any]) -> Weights:
        """The numbers moved about by a numpy function."""
        return Weights(move(self.codes), move(self.fracs))

    def const(self, b: Exporter, word: str) -> Const:
        """A constant of the design, each number in the narrowest format of its step."""
        codes, fracs = (a.ravel().tolist() for a in (self.codes, self.fracs))
        kind = each_narrowest(self.codes.shape, codes, fracs)
        return Const(b.unique(word), kind, np.array(codes, dtype=object))


def weights_of(layer: _Affine) -> tuple[Weights, Weights | None]:
    """A layer's weights as a matrix [n_in, n_out], and its bias [n_out]."""
    weight, bias = layer.quantised()
    matrix = Weights.of(weight, layer.weight_quantizer).moved(lambda a: a.reshape(len(a), -1).T)
    return matrix, None if bias is None else Weights.of(bias, layer.bias_quantizer)  # type: ignore[arg-type]


def product(weight: Weights, bias: Weights | None = None) -> Build:
    """``x @ weight + bias`` for ``x`` [n_in]."""

    def build(b: Exporter, x: Value) -> Value:
        y: Value = b.dense(x, weight.const(b, "weight"))
        return y if bias is None else b.add(y, b.const(bias.const(b, "bias")))

    return build


def lut_tables(layer: LUTDense, name: str) -> Table:
    """The layer's truth tables, [n_in, n_out], in the order of a ROM."""
    found = layer.tables()
    keys = formats_of(found.keys).tolist()
    return edge_tables(name, (layer.n_in, layer.n_out), keys, flat(found.values.frac).tolist(), found.codes)


def dense_lut(layer: LUTDense) -> Build:
    """A LUT layer of one row."""

    def build(b: Exporter, x: Value) -> Value:
        q = layer.input_quantizer
        return edge_sums(b, x, lut_tables(layer, b.unique("tables")), q.rounding, q.overflow)

    return build


# -- rules ------------------------------------------------------------------------------------------------------------


@lower.register
def _(layer: Quantizer, b: Exporter, x: Value) -> Value:
    return quantise(layer, b, x)


@lower.register
def _(layer: nn.Identity, b: Exporter, x: Value) -> Value:
    return x


@lower.register
def _(layer: nn.Dropout | nn.Dropout1d | nn.Dropout2d, b: Exporter, x: Value) -> Value:
    return x


@lower.register
def _(layer: nn.ReLU, b: Exporter, x: Value) -> Value:
    return b.relu(x)  # type: ignore[no-any-return]


@lower.register
def _(layer: nn.Flatten, b: Exporter, x: Value) -> Value:
    if (layer.start_dim, layer.end_dim) != (1, -1):
        raise Refusal("only a Flatten of all axes but the batch is known")
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
    first, *rest = (branch_of(branch, b, x) for branch in layer.branches)
    for y in rest:
        first = b.add(first, y)
    return first


@lower.register
def _(layer: QConcat, b: Exporter, x: Value) -> Value:
    parts = [branch_of(branch, b, x) for branch in layer.branches]
    return b.concat(*parts, axis=axis_of(layer.dim, len(parts[0].type.shape)))  # type: ignore[no-any-return]


def branch_of(branch: nn.Module, b: Exporter, x: Value) -> Value:
    """What a chain of layers gives for ``x``."""
    for _, layer in chain(branch, ""):
        x = lower(layer, b, x)
    return x


@lower.register
def _(layer: LUTDense, b: Exporter, x: Value) -> Value:
    return over_rows(b, x, layer.n_in, dense_lut(layer))


@lower.register
def _(layer: QLinear, b: Exporter, x: Value) -> Value:
    return over_rows(b, quantise(layer.input_quantizer, b, x), layer.n_in, product(*weights_of(layer)))


@lower.register
def _(layer: QBatchNorm, b: Exporter, x: Value) -> Value:
    shape = list(x.type.shape)
    axis = axis_of(layer.axis, len(shape))
    tall = [n if a == axis else 1 for a, n in enumerate(shape)]
    found = zip(("gain", "shift"), layer.exact(), (layer.gain_quantizer, layer.shift_quantizer), strict=True)
    consts = [b.const(Weights.of(v, q).const(b, name)) for name, v, q in found]
    if consts[0].type.size != shape[axis]:
        raise Refusal(
            f"the layer has {consts[0].type.size} channels, but is given {shape} with axis {layer.axis}"
        )
    scale, add = (b.broadcast(b.reshape(c, shape=tall), shape=shape) for c in consts)
    return b.add(b.mul(x, scale), add)  # type: ignore[no-any-return]
