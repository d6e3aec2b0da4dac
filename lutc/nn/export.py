"""From a trained model to the IR: the design computes what ``model.eval()`` computes, number for number."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import singledispatch
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lutc.build import Builder
from lutc.diagnostics import Diagnostic, LirError
from lutc.graph import Design, Overflow, Rounding, Table, Value
from lutc.types import Fixed, Type, holding, tensor, uniform

from .layers import QAdd, QBatchNorm, QConcat, QConv1d, QConv2d, QLinear, QReLU, Sum, _Affine, _Conv
from .lut import LUTDense
from .lutconv import LUTConv1d, LUTConv2d, _LUTConv
from .quantizer import Formats, Quantizer, flat


class _Unsupported(Exception):
    """A layer that has no exact translation: the reason and a way out."""

    def __init__(self, reason: str, help: str | None = None) -> None:
        super().__init__(reason)
        self.reason, self.help = reason, help


def export(model: nn.Module, shape: tuple[int, ...] | None = None, *, name: str = "model") -> Design:
    """The design of a trained model, equal to ``model.eval()`` on float64 inputs.

    ``shape`` is the input's without the batch; it may be left out if the model begins with a layer that tells it.
    The model is left as it was.  The input port rounds down to one bit more than the first layer's finest input has,
    which cannot change what that layer reads.  Raises LirError listing every layer that cannot be translated.
    """
    stages = list(_chain(model, ""))
    problems = [
        Diagnostic(f"{type(layer).__name__} has no exact translation", where=where or "model", help=_HELP)
        for where, layer in stages
        for layer in _unknown(layer)
    ]
    if problems:
        raise LirError(*problems)
    was = {m: m.training for m in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            return _export(stages, shape, name)
    finally:
        for m, training in was.items():
            m.training = training


_HELP = "use the layers of lutc.nn, and nn.Sequential, Flatten, MaxPool, ReLU or Dropout around them"


def _export(stages: list[tuple[str, nn.Module]], shape: tuple[int, ...] | None, name: str) -> Design:
    b = Builder(name)
    where = "input"
    try:
        kind, overflow = _port(stages, shape)
        x: Value = b.input("x", kind, round=Rounding.FLOOR, overflow=overflow)
        for where, layer in stages:
            with b.origin(where or None):
                x = lower(layer, b, x)
    except _Unsupported as e:
        raise LirError(Diagnostic(e.reason, where=where, help=e.help)) from None
    b.output("y", x)
    return b.design()


def _chain(layer: nn.Module, name: str) -> Any:
    if isinstance(layer, nn.Sequential):
        for child, inner in layer.named_children():
            yield from _chain(inner, f"{name}.{child}" if name else child)
    else:
        yield name, layer


def _unknown(layer: nn.Module) -> list[nn.Module]:
    if isinstance(layer, QAdd | QConcat):
        return [u for branch in layer.branches for _, inner in _chain(branch, "") for u in _unknown(inner)]
    return [] if lower.dispatch(type(layer)) is not lower.dispatch(object) else [layer]


# -- the input port -------------------------------------------------------------------------------------------------


def _readers(layer: nn.Module) -> list[tuple[Quantizer, nn.Module]]:
    """The quantisers that read a layer's input."""
    if isinstance(layer, QAdd | QConcat):
        return [r for branch in layer.branches for r in _readers(next(_chain(branch, ""))[1])]
    if isinstance(layer, Quantizer):
        return [(layer, layer)]
    if isinstance(layer, _LUTConv):
        return [(core.input_quantizer, layer) for core in layer.cores]  # type: ignore[misc]
    if isinstance(layer, LUTDense | _Affine):
        return [(layer.input_quantizer, layer)]
    raise _Unsupported(f"the model begins with {type(layer).__name__}, which does not quantise its input", "put a Quantizer first")


def _port(stages: list[tuple[str, nn.Module]], shape: tuple[int, ...] | None) -> tuple[Type, Overflow]:
    while stages and isinstance(stages[0][1], nn.Flatten | nn.Identity | nn.Dropout):
        stages = stages[1:]
    if not stages:
        raise _Unsupported("the model has no layers")
    readers = _readers(stages[0][1])
    first = readers[0][1]
    if shape is None:
        if isinstance(first, LUTDense | QLinear):
            shape = (first.n_in,)
        elif isinstance(first, Quantizer) and first.shape and 1 not in first.shape:
            shape = first.shape
        else:
            raise _Unsupported("the input's shape is not known", "give shape=(...), without the batch")
    modes = {q.overflow is Overflow.WRAP for q, _ in readers}
    if len(modes) > 1:
        raise _Unsupported("readers of the input wrap and saturate", "put one Quantizer before them")
    wraps = modes.pop()
    finest, widest = -(1 << 20), -(1 << 20)
    for q, _ in readers:
        f = q.formats()
        live = flat(f.width) > 0
        if not live.any():
            continue
        if q.rounding is Rounding.HALF_EVEN:
            raise _Unsupported(
                "the input is rounded half to even, which a port cannot prepare exactly",
                "use nearest-half-up or floor for the first layer",
            )
        finest = max(finest, int(flat(f.frac)[live].max()) + (q.rounding is Rounding.HALF_UP))
        widest = max(widest, int((flat(f.width) - flat(f.signed) - flat(f.frac))[live].max()))
    if finest + widest < 0:
        finest, widest = 0, 0  # nothing is read
    # one bit more than any reader's range, and the sign: a value that rounds up to the range's end still has its code
    return uniform(shape, Fixed(True, widest + finest + 2, finest)), Overflow.WRAP if wraps else Overflow.SATURATE


# -- layers ---------------------------------------------------------------------------------------------------------


@singledispatch
def lower(layer: object, b: Builder, x: Value) -> Value:
    """Append a layer to the design being built; ``x`` is its input without the batch."""
    raise NotImplementedError


def formats_of(f: Formats) -> list[Fixed]:
    """A quantiser's formats, row-major."""
    rows = zip(flat(f.signed).tolist(), flat(f.width).tolist(), flat(f.frac).tolist(), strict=True)
    return [Fixed(bool(s), w, p) for s, w, p in rows]


def quantise(q: Quantizer, b: Builder, x: Value) -> Value:
    """``x`` through a quantiser, whose formats broadcast to its shape."""
    formats = np.empty(math.prod(q.shape), dtype=object)
    formats[:] = formats_of(q.formats())
    spread = np.broadcast_to(formats.reshape(q.shape), x.type.shape)
    made: Value = b.quant(x, to=tensor(x.type.shape, spread.ravel().tolist()), round=q.rounding, overflow=q.overflow)
    return made


@lower.register
def _(layer: Quantizer, b: Builder, x: Value) -> Value:
    return quantise(layer, b, x)


@lower.register
def _(layer: nn.Identity, b: Builder, x: Value) -> Value:
    return x


@lower.register
def _(layer: nn.Dropout, b: Builder, x: Value) -> Value:
    return x


@lower.register
def _(layer: nn.ReLU, b: Builder, x: Value) -> Value:
    return b.relu(x)  # type: ignore[no-any-return]


@lower.register
def _(layer: nn.Flatten, b: Builder, x: Value) -> Value:
    if (layer.start_dim, layer.end_dim) != (1, -1):
        raise _Unsupported("only a Flatten of all axes but the batch is known")
    return b.reshape(x, shape=[x.type.size])  # type: ignore[no-any-return]


@lower.register
def _(layer: QReLU, b: Builder, x: Value) -> Value:
    return quantise(layer.quantizer, b, b.relu(x))


@lower.register
def _(layer: Sum, b: Builder, x: Value) -> Value:
    axis = layer.dim - 1 if layer.dim > 0 else layer.dim
    return b.sum(x, axes=[axis])  # type: ignore[no-any-return]


@lower.register
def _(layer: QAdd, b: Builder, x: Value) -> Value:
    first, *rest = (_branch(branch, b, x) for branch in layer.branches)
    for y in rest:
        first = b.add(first, y)
    return first


@lower.register
def _(layer: QConcat, b: Builder, x: Value) -> Value:
    axis = layer.dim - 1 if layer.dim > 0 else layer.dim + len(x.type.shape)
    return b.concat(*(_branch(branch, b, x) for branch in layer.branches), axis=axis)  # type: ignore[no-any-return]


def _branch(branch: nn.Module, b: Builder, x: Value) -> Value:
    for _, layer in _chain(branch, ""):
        x = lower(layer, b, x)
    return x


def lut_tables(layer: LUTDense, name: str) -> Table:
    """The layer's truth tables, [n_in, n_out], in the order of a ROM."""
    found = layer.tables()
    keys, values, entries = [], [], []
    for e, key in enumerate(formats_of(found.keys)):
        codes = found.codes[found.at[e] : found.at[e + 1]]
        if key.signed:
            codes = np.roll(codes, len(codes) // 2)  # a ROM has the negative half last
        frac = int(flat(found.values.frac)[e])
        value = holding(int(codes.min()), int(codes.max()), frac)
        keys.append(key)
        values.append(value)
        entries.append(codes)
    shape = (layer.n_in, layer.n_out)
    return Table(name, tensor(shape, keys), tensor(shape, values), np.concatenate(entries).astype(object))


@lower.register
def _(layer: LUTDense, b: Builder, x: Value) -> Value:
    return over_rows(b, x, layer.n_in, _dense_lut(layer))


def _dense_lut(layer: LUTDense) -> Callable[[Builder, Value], Value]:
    def build(b: Builder, x: Value) -> Value:
        shape = [layer.n_in, layer.n_out]
        wide = b.broadcast(b.reshape(x, shape=[layer.n_in, 1]), shape=shape)
        key = quantise(layer.input_quantizer, b, wide)
        return b.sum(b.lut(key, lut_tables(layer, "tables")), axes=[0])  # type: ignore[no-any-return]

    return build


def over_rows(b: Builder, x: Value, width: int, build: Callable[[Builder, Value], Value]) -> Value:
    """``build`` applied to every row [width] of ``x`` [..., width]: as one function, mapped, if there are several."""
    *lead, last = x.type.shape
    if last != width:
        raise _Unsupported(f"the layer takes {width} inputs, but is given {list(x.type.shape)}")
    if not lead:
        return build(b, x)
    count = math.prod(lead)
    rows = one_format_per_column(b, b.reshape(x, shape=[count, width]))
    inner = Builder(f"row_{b._origin or 'layer'}".replace(".", "_"))
    arg = inner.input("x", tensor((width,), rows.type.formats[:width]))
    with inner.origin(b._origin):
        func = inner.function(build(inner, arg))
    y = b.map(func, rows)
    return b.reshape(y, shape=[*lead, *y.type.shape[1:]]) if len(lead) > 1 else y  # type: ignore[no-any-return]


def one_format_per_column(b: Builder, x: Value) -> Value:
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


def constant(b: Builder, name: str, values: Tensor, q: Quantizer) -> Any:
    """Quantised weights as a constant, each in the narrowest format of its quantiser's steps."""
    reals = values.double().numpy()
    frac = np.broadcast_to(flat(q.bits().fraction).reshape(q.shape), reals.shape).astype(np.int64)
    codes = np.rint(reals * np.exp2(frac.astype(np.float64))).astype(np.int64)
    formats = [holding(min(c, 0), max(c, 0), f) for c, f in zip(codes.ravel().tolist(), frac.ravel().tolist(), strict=True)]
    return b.constant(name, tensor(reals.shape, formats), reals)


def _dense(layer: _Affine, weight: Tensor, bias: Tensor | None) -> Callable[[Builder, Value], Value]:
    def build(b: Builder, x: Value) -> Value:
        y = b.dense(x, _const(b, "weight", weight, layer.weight_quantizer))
        if bias is None or layer.bias_quantizer is None:
            return y  # type: ignore[no-any-return]
        return b.add(y, b.const(constant(b, "bias", bias, layer.bias_quantizer)))  # type: ignore[no-any-return]

    return build


def _const(b: Builder, name: str, matrix: Tensor, q: Quantizer) -> Any:
    """A weight matrix [n_out, n_in...] as a constant [n_in, n_out]."""
    columns = matrix.flatten(1)
    made = constant(b, name, matrix, q)
    kind = np.empty(columns.numel(), dtype=object)
    kind[:] = made.type.formats
    order = kind.reshape(columns.shape).T
    return b.constant(name, tensor(order.shape, order.ravel().tolist()), columns.t().double().numpy())


@lower.register
def _(layer: QLinear, b: Builder, x: Value) -> Value:
    weight, bias = layer.quantised()
    return over_rows(b, quantise(layer.input_quantizer, b, x), layer.n_in, _dense(layer, weight, bias))


def patches(layer: _Conv | _LUTConv, b: Builder, x: Value) -> list[Value]:
    """Per group, the patches of ``x`` [channels, *size] as [positions, patch], in (channel, kernel position) order."""
    channels, *size = x.type.shape
    if channels != layer.channels or len(size) != layer.dims:
        raise _Unsupported(f"the layer takes {layer.channels} channels, but is given {list(x.type.shape)}")
    padded = b.pad(x, before=[0, *layer.padding], after=[0, *layer.padding]) if any(layer.padding) else x
    index = np.arange(padded.type.size).reshape(padded.type.shape)
    grid = [np.arange(n) * s for n, s in zip(_positions(layer, size), layer.stride, strict=True)]
    taps = [np.arange(k) * d for k, d in zip(layer.kernel, layer.dilation, strict=True)]
    axes = [np.add.outer(g, t) for g, t in zip(grid, taps, strict=True)]  # [positions, kernel] along each dimension
    if len(axes) == 1:
        at = index[:, axes[0]].transpose(1, 0, 2)
    else:
        at = index[:, axes[0][:, None, :, None], axes[1][None, :, None, :]].transpose(1, 2, 0, 3, 4)
    per_group = layer.channels // layer.groups
    at = at.reshape(math.prod(_positions(layer, size)), layer.groups, per_group * math.prod(layer.kernel))
    line = b.reshape(padded, shape=[padded.type.size])
    return [
        b.reshape(b.gather(line, indices=at[:, g].ravel().tolist()), shape=list(at[:, g].shape))
        for g in range(layer.groups)
    ]


def _positions(layer: _Conv | _LUTConv, size: list[int]) -> tuple[int, ...]:
    parts = zip(size, layer.kernel, layer.stride, layer.padding, layer.dilation, strict=True)
    return tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in parts)


def _images(b: Builder, parts: list[Value], size: tuple[int, ...]) -> Value:
    """Outputs [positions, filters] per group as [filters, *size]."""
    y = parts[0] if len(parts) == 1 else b.concat(*parts, axis=1)
    y = b.transpose(y, perm=[1, 0])
    return b.reshape(y, shape=[y.type.shape[0], *size])  # type: ignore[no-any-return]


def _lower_lut_conv(layer: _LUTConv, b: Builder, x: Value) -> Value:
    cores = zip(layer.cores, patches(layer, b, x), strict=True)
    parts = [over_rows(b, p, core.n_in, _dense_lut(core)) for core, p in cores]  # type: ignore[arg-type, union-attr]
    return _images(b, parts, _positions(layer, list(x.type.shape[1:])))


def _lower_conv(layer: _Conv, b: Builder, x: Value) -> Value:
    weight, bias = layer.quantised()
    per = layer.filters // layer.groups
    parts = []
    for g, p in enumerate(patches(layer, b, quantise(layer.input_quantizer, b, x))):
        mine = slice(g * per, (g + 1) * per)
        build = _dense_slice(layer, weight, bias, mine)
        parts.append(over_rows(b, p, p.type.shape[1], build))
    return _images(b, parts, _positions(layer, list(x.type.shape[1:])))


def _dense_slice(layer: _Conv, weight: Tensor, bias: Tensor | None, mine: slice) -> Callable[[Builder, Value], Value]:
    def build(b: Builder, x: Value) -> Value:
        matrix = _const(b, "weight", weight, layer.weight_quantizer)
        columns = np.empty(matrix.codes.size, dtype=object)
        columns[:] = matrix.type.formats
        order = columns.reshape(-1, layer.filters)[:, mine]
        reals = weight.flatten(1).t().double().numpy()[:, mine]
        y = b.dense(x, b.constant("weight", tensor(reals.shape, order.ravel().tolist()), reals))
        if bias is None or layer.bias_quantizer is None:
            return y  # type: ignore[no-any-return]
        whole = constant(b, "bias", bias, layer.bias_quantizer)
        part = b.constant("bias", tensor((order.shape[1],), whole.type.formats[mine]), bias.double().numpy()[mine])
        return b.add(y, b.const(part))  # type: ignore[no-any-return]

    return build


for _kind in (LUTConv1d, LUTConv2d):
    lower.register(_kind, _lower_lut_conv)
for _kind in (QConv1d, QConv2d):
    lower.register(_kind, _lower_conv)


@lower.register
def _(layer: QBatchNorm, b: Builder, x: Value) -> Value:
    gain, shift = layer.exact()
    shape = x.type.shape
    tall = [len(gain), *[1] * (len(shape) - 1)]
    scale, add = (
        b.broadcast(b.reshape(b.const(constant(b, n, v, q)), shape=tall), shape=list(shape))
        for n, v, q in (("gain", gain, layer.gain_quantizer), ("shift", shift, layer.shift_quantizer))
    )
    return b.add(b.mul(x, scale), add)  # type: ignore[no-any-return]


def _lower_max_pool(layer: nn.MaxPool1d | nn.MaxPool2d, b: Builder, x: Value) -> Value:
    from .layers import tuple_of

    dims = 1 if isinstance(layer, nn.MaxPool1d) else 2
    if layer.ceil_mode or layer.return_indices or any(tuple_of(layer.padding, dims)):
        raise _Unsupported("a MaxPool with padding, ceil_mode or indices", "pad before it, with zeros after a ReLU")
    windows = _Windows(x.type.shape[0], tuple_of(layer.kernel_size, dims), tuple_of(layer.stride, dims), tuple_of(layer.dilation, dims))
    found = patches(windows, b, x)  # type: ignore[arg-type]
    size = _positions(windows, list(x.type.shape[1:]))  # type: ignore[arg-type]
    taps = [b.reshape(p, shape=[*p.type.shape]) for p in found]
    columns = [[b.gather(p, indices=[k], axis=1) for k in range(p.type.shape[1])] for p in taps]
    parts = []
    for first, *rest in columns:
        for y in rest:
            first = b.max(first, y)
        parts.append(first)
    return _images(b, parts, size)


for _pool in (nn.MaxPool1d, nn.MaxPool2d):
    lower.register(_pool, _lower_max_pool)


class _Windows:
    """A pooling's geometry, with a group per channel."""

    def __init__(self, channels: int, kernel: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]) -> None:
        self.channels = self.groups = channels
        self.dims, self.kernel, self.stride, self.dilation = len(kernel), kernel, stride, dilation
        self.padding = (0,) * len(kernel)
