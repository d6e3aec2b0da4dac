"""Convolutions and pooling become one function of a patch, applied at every position."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from functools import reduce

from torch import nn

from lutc.ir.graph import Value
from lutc.lowering.moves import gathered
from lutc.lowering.refusals import Refusal
from lutc.lowering.windows import Window, positions

from .layers import QConv1d, QConv2d, QConv3d, _Conv, tuple_of
from .lutconv import LUTConv1d, LUTConv2d, LUTConv3d, _LUTConv
from .pooling import QAvgPool1d, QAvgPool2d, QMaxPool1d, QMaxPool2d, _AvgPool, _MaxPool
from .rules import Exporter, dense_lut, lower, over_rows, product, quantise, weights_of


def patches(b: Exporter, x: Value, window: Window, groups: int) -> list[Value]:
    """Per group, the patches of ``x`` [channels, *size] as [positions, patch], in (channel, kernel position) order."""
    if any(window.before):
        x = b.pad(x, before=[0, *window.before], after=[0, *window.after])
        nothing = (0,) * len(window.size)
        window = replace(window, before=nothing, after=nothing)
    at, _ = positions((1, *x.type.shape), window)
    at = at.reshape(math.prod(at.shape[:-2]), groups, -1)
    line = b.reshape(x, shape=[x.type.size])
    return [gathered(b, line, at[:, g]) for g in range(groups)]


def _taken(layer: _Conv | _LUTConv, x: Value) -> Window:
    """A layer's window. Raises Refusal if the layer does not take ``x``."""
    channels, *size = x.type.shape
    if channels != layer.channels or len(size) != layer.dims:
        raise Refusal(f"the layer takes {layer.channels} channels, but is given {list(x.type.shape)}")
    return layer.window


def _images(b: Exporter, parts: list[Value], size: tuple[int, ...]) -> Value:
    """Outputs [positions, filters] per group as [filters, *size]."""
    y = parts[0] if len(parts) == 1 else b.concat(*parts, axis=1)
    y = b.transpose(y, perm=[1, 0])
    return b.reshape(y, shape=[y.type.shape[0], *size])  # type: ignore[no-any-return]


def _lower_lut_conv(layer: _LUTConv, b: Exporter, x: Value) -> Value:
    window = _taken(layer, x)
    cores = zip(layer.cores, patches(b, x, window, layer.groups), strict=True)
    parts = [over_rows(b, p, core.n_in, dense_lut(core)) for core, p in cores]  # type: ignore[arg-type]
    return _images(b, parts, window.outputs(x.type.shape[1:]))


def _lower_conv(layer: _Conv, b: Exporter, x: Value) -> Value:
    window, (weight, bias) = _taken(layer, x), weights_of(layer)
    each, parts = layer.filters // layer.groups, []
    for g, p in enumerate(patches(b, quantise(layer.input_quantizer, b, x), window, layer.groups)):
        mine = slice(g * each, (g + 1) * each)
        part = product(weight.moved(lambda a, m=mine: a[:, m]), bias and bias.moved(lambda a, m=mine: a[m]))  # type: ignore[misc]
        parts.append(over_rows(b, p, p.type.shape[1], part))
    return _images(b, parts, window.outputs(x.type.shape[1:]))


lower.register(LUTConv1d, _lower_lut_conv)
lower.register(LUTConv2d, _lower_lut_conv)
lower.register(LUTConv3d, _lower_lut_conv)
lower.register(QConv1d, _lower_conv)
lower.register(QConv2d, _lower_conv)
lower.register(QConv3d, _lower_conv)


def _pool(
    x: Value, kernel: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...] | None = None
) -> Window:
    """A pool's window. Raises Refusal if there is none in ``x``."""
    if len(x.type.shape) != 1 + len(kernel):
        reason = f"the pool takes channels of {len(kernel)} axes, but is given {list(x.type.shape)}"
        raise Refusal(reason, "put a nn.Unflatten before it, or pool by another number of axes")
    nothing, one = (0,) * len(kernel), (1,) * len(kernel)
    return Window(kernel, stride, dilation or one, nothing, nothing)


def _lower_max_pool(layer: nn.MaxPool1d | nn.MaxPool2d, b: Exporter, x: Value) -> Value:
    dims = 1 if isinstance(layer, nn.MaxPool1d) else 2
    if layer.ceil_mode or layer.return_indices or any(tuple_of(layer.padding, dims)):
        raise Refusal(
            "a MaxPool with padding, ceil_mode or indices", "pad before it, with zeros after a ReLU"
        )
    window = _pool(x, *(tuple_of(v, dims) for v in (layer.kernel_size, layer.stride, layer.dilation)))
    return _greatest(b, x, window)


def _greatest(b: Exporter, x: Value, window: Window) -> Value:
    """The greatest of every window."""
    parts = [
        reduce(b.max, [b.gather(p, indices=[k], axis=1) for k in range(p.type.shape[1])])
        for p in patches(b, x, window, x.type.shape[0])
    ]
    return _images(b, parts, window.outputs(x.type.shape[1:]))


def _lower_own_max_pool(layer: _MaxPool, b: Exporter, x: Value) -> Value:
    return _greatest(b, x, _pool(x, layer.kernel, layer.stride, layer.dilation))


lower.register(nn.MaxPool1d, _lower_max_pool)
lower.register(nn.MaxPool2d, _lower_max_pool)
lower.register(QMaxPool1d, _lower_own_max_pool)
lower.register(QMaxPool2d, _lower_own_max_pool)


def _lower_avg_pool(layer: _AvgPool, b: Exporter, x: Value) -> Value:
    window = _pool(x, layer.kernel, layer.stride)
    sums = [b.sum(p, axes=[1]) for p in patches(b, x, window, x.type.shape[0])]
    total = _images(b, [b.reshape(s, shape=[s.type.size, 1]) for s in sums], window.outputs(x.type.shape[1:]))
    return quantise(layer.quantizer, b, total, Fraction(1, layer.count))


lower.register(QAvgPool1d, _lower_avg_pool)
lower.register(QAvgPool2d, _lower_avg_pool)
