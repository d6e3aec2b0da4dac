"""Sliding windows: which elements a convolution or a pool sees at each position. Padding, and what is made of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from lutc.lowering.refusals import Refusal
from lutc.lowering.tensors import Scaled, Shape


@dataclass(frozen=True)
class Window:
    """How a window moves over the spatial dimensions: all tuples have one entry for each of them."""

    size: Shape
    strides: Shape
    dilations: Shape
    before: Shape
    after: Shape
    ceil: bool = False

    def fitting(self, rank: int) -> Window:
        """Itself. Raises Refusal unless it has as many spatial dimensions, and no padding below 0."""
        parts = (self.size, self.strides, self.dilations, self.before, self.after)
        if any(len(p) != rank for p in parts) or min((*self.before, *self.after), default=0) < 0:
            raise Refusal(
                f"has attributes that do not fit {rank} spatial dimensions",
                "the model is broken: export it again",
            )
        return self

    def reach(self) -> list[int]:
        """How many elements a window spans."""
        return [d * (k - 1) + 1 for k, d in zip(self.size, self.dilations, strict=True)]

    def outputs(self, spatial: Shape) -> Shape:
        """How many positions there are. Raises Refusal if there are none."""
        counts = []
        sizes = zip(spatial, self.reach(), self.strides, self.before, self.after, strict=True)
        for n, reach, stride, first, last in sizes:
            room = n + first + last - reach
            count = (-(-room // stride) if self.ceil else room // stride) + 1
            if self.ceil and (count - 1) * stride >= n + first:
                count -= 1  # a window may not start in the padding behind
            counts.append(count)
        if min(counts) < 1:
            raise Refusal(
                f"has a window of {list(self.size)} on {list(spatial)} elements", "check the model's shapes"
            )
        return tuple(counts)

    def elements(self, spatial: Shape) -> Any:
        """How many elements each window has, those of the padding counted: an array `[1, 1, positions...]`."""
        total = np.ones((), dtype=np.int64)
        sizes = zip(spatial, self.outputs(spatial), self.size, strict=True)
        for i, (n, count, k) in enumerate(sizes):
            at = np.arange(count)[:, None] * self.strides[i] + np.arange(k)[None, :] * self.dilations[i]
            mine = (at < n + self.before[i] + self.after[i]).sum(axis=1)
            total = total[..., None] * mine
        return total[None, None]


def same_padding(window: Window, spatial: Shape, upper: bool) -> tuple[Shape, Shape]:
    """The padding before and after, with which there are `ceil(length / stride)` positions: an odd one is `upper`."""
    first, last = [], []
    sizes = zip(spatial, window.size, window.strides, window.dilations, strict=True)
    for n, k, s, d in sizes:
        total = max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0)
        small, large = total // 2, total - total // 2
        first.append(small if upper else large)
        last.append(large if upper else small)
    return tuple(first), tuple(last)


def one_sample(t: Scaled) -> None:
    """Raise Refusal unless the tensor has the shape `[1, channels, spatial...]`."""
    if len(t.shape) < 3 or t.shape[0] != 1:
        raise Refusal(
            f"works on a tensor {list(t.shape)}, but needs [1, channels, spatial...]",
            "export the model with a batch of 1",
        )


def positions(shape: Shape, window: Window) -> tuple[Any, Any]:
    """Flat positions `[positions..., channels, taps]` in a tensor `[1, channels, spatial...]`, -1 in the padding.

    The second array names in the padding the nearest element of the same channel.
    """
    spatial = shape[2:]
    counts = window.outputs(spatial)
    index = np.arange(math.prod(shape)).reshape(shape[1:])
    taps, inside = [], []
    for n, count, k, stride, dilation, first in zip(
        spatial, counts, window.size, window.strides, window.dilations, window.before, strict=True
    ):
        at = np.arange(count)[:, None] * stride + np.arange(k)[None, :] * dilation - first
        taps.append(np.clip(at, 0, n - 1))
        inside.append((at >= 0) & (at < n))
    rank = len(spatial)
    grid = []
    mask = np.ones((), dtype=bool)
    for i in range(rank):
        # Dimension i of the positions, and dimension i of the taps.
        to = [1] * (2 * rank)
        to[i], to[rank + i] = counts[i], window.size[i]
        grid.append(taps[i].reshape(to))
        mask = mask & inside[i].reshape(to)
    near = index[(slice(None), *grid)]  # [channels, positions..., taps...]
    near = np.moveaxis(near, 0, rank).reshape(*counts, shape[1], math.prod(window.size))
    mask = np.broadcast_to(mask, (*counts, *window.size)).reshape(*counts, 1, math.prod(window.size))
    return np.where(mask, near, -1), near
