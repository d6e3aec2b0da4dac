"""LUT layers over patches: `LUTDense` at every position of an input of one to three dimensions."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .layers import Size, _Windowed
from .lut import LUTDense
from .quantizer import Layer


class _LUTConv(_Windowed, Layer):
    """``filters`` outputs from every patch by one `LUTDense` per group, shared by all positions.

    ``options`` are `LUTDense`'s.  A patch is read as (channel, kernel position), as `torch.nn.functional.unfold` does;
    padding is with zeros.  Raises ValueError for options that do not fit together.
    """

    def __init__(
        self,
        channels: int,
        filters: int,
        kernel: Size,
        *,
        stride: Size = 1,
        padding: Size = 0,
        dilation: Size = 1,
        groups: int = 1,
        **options: Any,
    ) -> None:
        super().__init__()
        self.windowed(channels, filters, groups, kernel, stride, padding, dilation)
        patch = channels // groups * math.prod(self.kernel)
        self.cores = nn.ModuleList(LUTDense(patch, filters // groups, **options) for _ in range(groups))

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() != self.dims + 2 or x.shape[1] != self.channels:
            raise ValueError(f"expected [batch, {self.channels}{', size' * self.dims}], got {list(x.shape)}")
        patches = F.pad(x, [p for n in reversed(self.padding) for p in (n, n)]) if any(self.padding) else x
        for axis, (k, s, d) in enumerate(zip(self.kernel, self.stride, self.dilation, strict=True), 2):
            patches = patches.unfold(axis, d * (k - 1) + 1, s)[..., ::d]
        size = tuple(patches.shape[2 : 2 + self.dims])
        # [batch, channels, *positions, *kernel]: views so far, which is many times as fast as F.unfold on a CPU
        order = [0, *range(2, 2 + self.dims), 1, *range(2 + self.dims, 2 + 2 * self.dims)]
        patches = patches.permute(order).reshape(len(x), math.prod(size), -1)
        parts = patches.chunk(self.groups, dim=2)
        y = torch.cat([core(part) for core, part in zip(self.cores, parts, strict=True)], dim=2)
        return y.transpose(1, 2).reshape(len(x), self.filters, *size)


class LUTConv1d(_LUTConv):
    """A LUT layer over the patches of [B, channels, length]; gives [B, filters, positions]."""

    dims = 1


class LUTConv2d(_LUTConv):
    """A LUT layer over the patches of [B, channels, height, width]; gives [B, filters, rows, columns]."""

    dims = 2


class LUTConv3d(_LUTConv):
    """A LUT layer over the patches of [B, channels, depth, height, width]; gives [B, filters, *positions]."""

    dims = 3
