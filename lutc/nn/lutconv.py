"""LUT layers over patches: `LUTDense` at every position of a one- or two-dimensional input."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .layers import tuple_of
from .lut import LUTDense
from .quantizer import Layer


class _LUTConv(Layer):
    """``filters`` outputs from every patch by one `LUTDense` per group, shared by all positions.

    ``options`` are `LUTDense`'s.  A patch is read as (channel, kernel position), as `torch.nn.functional.unfold` does;
    padding is with zeros.  Raises ValueError for options that do not fit together.
    """

    dims = 0

    def __init__(
        self,
        channels: int,
        filters: int,
        kernel: int | tuple[int, ...],
        *,
        stride: int | tuple[int, ...] = 1,
        padding: int | tuple[int, ...] = 0,
        dilation: int | tuple[int, ...] = 1,
        groups: int = 1,
        **options: Any,
    ) -> None:
        super().__init__()
        if channels % groups or filters % groups:
            raise ValueError(f"{groups} groups do not divide {channels} channels and {filters} filters")
        self.kernel, self.stride, self.padding, self.dilation = (
            tuple_of(v, self.dims) for v in (kernel, stride, padding, dilation)
        )
        self.channels, self.filters, self.groups = channels, filters, groups
        patch = channels // groups * math.prod(self.kernel)
        self.cores = nn.ModuleList(LUTDense(patch, filters // groups, **options) for _ in range(groups))

    def out_size(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """The number of positions along each dimension for an input of ``size``."""
        parts = zip(size, self.kernel, self.stride, self.padding, self.dilation, strict=True)
        return tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in parts)

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() != self.dims + 2 or x.shape[1] != self.channels:
            raise ValueError(f"expected [batch, {self.channels}{', size' * self.dims}], got {list(x.shape)}")
        size = tuple(x.shape[2:])
        patches = F.pad(x, [p for n in reversed(self.padding) for p in (n, n)]) if any(self.padding) else x
        for axis, (k, s, d) in enumerate(zip(self.kernel, self.stride, self.dilation, strict=True), 2):
            patches = patches.unfold(axis, d * (k - 1) + 1, s)[..., ::d]
        # [batch, channels, *positions, *kernel]: views so far, which is many times as fast as F.unfold on a CPU
        order = [0, *range(2, 2 + self.dims), 1, *range(2 + self.dims, 2 + 2 * self.dims)]
        patches = patches.permute(order).reshape(len(x), math.prod(self.out_size(size)), -1)
        parts = patches.chunk(self.groups, dim=2)
        y = torch.cat([core(part) for core, part in zip(self.cores, parts, strict=True)], dim=2)
        return y.transpose(1, 2).reshape(len(x), self.filters, *self.out_size(size))


class LUTConv1d(_LUTConv):
    """A LUT layer over the patches of [B, channels, length]; gives [B, filters, positions]."""

    dims = 1


class LUTConv2d(_LUTConv):
    """A LUT layer over the patches of [B, channels, height, width]; gives [B, filters, rows, columns]."""

    dims = 2
