"""Convolutions and pooling become one function of a patch, applied at every position."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
from torch import Tensor, nn

from lutc.ir.graph import Value
from lutc.types import tensor

from .layers import QConv1d, QConv2d, _Conv, tuple_of
from .lowering import Exporter, Unsupported, constant, dense_lut, lower, over_rows, quantise
from .lutconv import LUTConv1d, LUTConv2d, _LUTConv
from .pooling import QAvgPool1d, QAvgPool2d, _AvgPool


def patches(layer: _Conv | _LUTConv | _Windows, b: Exporter, x: Value) -> list[Value]:
    """Per group, the patches of ``x`` [channels, *size] as [positions, patch], in (channel, kernel position) order."""
    channels, *size = x.type.shape
    if channels != layer.channels or len(size) != layer.dims:
        raise Unsupported(f"the layer takes {layer.channels} channels, but is given {list(x.type.shape)}")
    padded = b.pad(x, before=[0, *layer.padding], after=[0, *layer.padding]) if any(layer.padding) else x
    index = np.arange(padded.type.size).reshape(padded.type.shape)
    grid = [np.arange(n) * s for n, s in zip(_positions(layer, size), layer.stride, strict=True)]
    taps = [np.arange(k) * d for k, d in zip(layer.kernel, layer.dilation, strict=True)]
    axes = [
        np.add.outer(g, t) for g, t in zip(grid, taps, strict=True)
    ]  # [positions, kernel] along each dimension
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


def _positions(layer: _Conv | _LUTConv | _Windows, size: list[int]) -> tuple[int, ...]:
    parts = zip(size, layer.kernel, layer.stride, layer.padding, layer.dilation, strict=True)
    return tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in parts)


def _images(b: Exporter, parts: list[Value], size: tuple[int, ...]) -> Value:
    """Outputs [positions, filters] per group as [filters, *size]."""
    y = parts[0] if len(parts) == 1 else b.concat(*parts, axis=1)
    y = b.transpose(y, perm=[1, 0])
    return b.reshape(y, shape=[y.type.shape[0], *size])  # type: ignore[no-any-return]


def _lower_lut_conv(layer: _LUTConv, b: Exporter, x: Value) -> Value:
    cores = zip(layer.cores, patches(layer, b, x), strict=True)
    parts = [over_rows(b, p, core.n_in, dense_lut(core)) for core, p in cores]  # type: ignore[arg-type]
    return _images(b, parts, _positions(layer, list(x.type.shape[1:])))


def _lower_conv(layer: _Conv, b: Exporter, x: Value) -> Value:
    weight, bias = layer.quantised()
    per = layer.filters // layer.groups
    parts = []
    for g, p in enumerate(patches(layer, b, quantise(layer.input_quantizer, b, x))):
        mine = slice(g * per, (g + 1) * per)
        build = _dense_slice(layer, weight, bias, mine)
        parts.append(over_rows(b, p, p.type.shape[1], build))
    return _images(b, parts, _positions(layer, list(x.type.shape[1:])))


def _dense_slice(
    layer: _Conv, weight: Tensor, bias: Tensor | None, mine: slice
) -> Callable[[Exporter, Value], Value]:
    def build(b: Exporter, x: Value) -> Value:
        whole = constant(b, "weight", weight, layer.weight_quantizer)
        formats = np.empty(whole.type.size, dtype=object)
        formats[:] = whole.type.formats
        order = formats.reshape(layer.filters, -1).T[:, mine]
        reals = weight.flatten(1).t().double().numpy()[:, mine]
        y = b.dense(x, b.constant(b.unique("weight"), tensor(reals.shape, order.ravel().tolist()), reals))
        if bias is None or layer.bias_quantizer is None:
            return y  # type: ignore[no-any-return]
        biases = constant(b, "bias", bias, layer.bias_quantizer)
        part = b.constant(
            b.unique("bias"),
            tensor((order.shape[1],), biases.type.formats[mine]),
            bias.double().numpy()[mine],
        )
        return b.add(y, b.const(part))  # type: ignore[no-any-return]

    return build


lower.register(LUTConv1d, _lower_lut_conv)
lower.register(LUTConv2d, _lower_lut_conv)
lower.register(QConv1d, _lower_conv)
lower.register(QConv2d, _lower_conv)


def _lower_max_pool(layer: nn.MaxPool1d | nn.MaxPool2d, b: Exporter, x: Value) -> Value:
    dims = 1 if isinstance(layer, nn.MaxPool1d) else 2
    if layer.ceil_mode or layer.return_indices or any(tuple_of(layer.padding, dims)):
        raise Unsupported(
            "a MaxPool with padding, ceil_mode or indices", "pad before it, with zeros after a ReLU"
        )
    windows = _Windows(
        x.type.shape[0],
        tuple_of(layer.kernel_size, dims),
        tuple_of(layer.stride, dims),
        tuple_of(layer.dilation, dims),
    )
    found, size = patches(windows, b, x), _positions(windows, list(x.type.shape[1:]))
    columns = [[b.gather(p, indices=[k], axis=1) for k in range(p.type.shape[1])] for p in found]
    parts = []
    for first, *rest in columns:
        for y in rest:
            first = b.max(first, y)
        parts.append(first)
    return _images(b, parts, size)


lower.register(nn.MaxPool1d, _lower_max_pool)
lower.register(nn.MaxPool2d, _lower_max_pool)


def _lower_avg_pool(layer: _AvgPool, b: Exporter, x: Value) -> Value:
    windows = _Windows(x.type.shape[0], layer.kernel, layer.stride, (1,) * layer.dims)
    sums = [b.sum(p, axes=[1]) for p in patches(windows, b, x)]
    columns = [b.reshape(s, shape=[s.type.size, 1]) for s in sums]
    total = _images(b, columns, _positions(windows, list(x.type.shape[1:])))
    return quantise(layer.quantizer, b, total, Fraction(1, layer.count))


lower.register(QAvgPool1d, _lower_avg_pool)
lower.register(QAvgPool2d, _lower_avg_pool)


class _Windows:
    """A pooling's geometry, with a group per channel."""

    def __init__(
        self, channels: int, kernel: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]
    ) -> None:
        self.channels = self.groups = channels
        self.dims, self.kernel, self.stride, self.dilation = len(kernel), kernel, stride, dilation
        self.padding = (0,) * len(kernel)
