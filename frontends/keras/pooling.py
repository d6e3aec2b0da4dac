"""Pooling: the taps of a window, folded by max or added and divided."""

from __future__ import annotations

from functools import partial, reduce
from typing import Any

import numpy as np

from .base import HgqRule
from .conv import Spatial, Window, window
from .functional import Layer
from .values import Lowering, Tensor


def _at(picks: list[Any], x: Any) -> Any:
    """The elements at the product of indices along the spatial axes."""
    return x[np.ix_(range(len(x)), *picks, range(x.shape[-1]))]


class Pooling(Spatial):
    """MaxPooling, AveragePooling and their global forms."""

    largest: bool
    whole = False

    def __init__(self, layer: Layer) -> None:
        super().__init__(layer)
        self.window = None if self.whole else window(self.config, self.rank, "pool_size")

    def lower(self, low: Lowering, x: Tensor) -> Tensor:
        return self.pooled(low, x)

    def pooled(self, low: Lowering, x: Tensor) -> Tensor:
        """The largest or the mean element under every window, or of all positions."""
        return self.with_last(
            low,
            x,
            lambda t: self._whole(low, t) if self.window is None else self._windows(low, t, self.window),
        )

    def _whole(self, low: Lowering, x: Tensor) -> Tensor:
        spatial, channels = x.shape[:-1], x.shape[-1]
        count = int(np.prod(spatial))
        if self.largest:
            rows = low.reshape(low.fixed(x), (count, channels))
            y = Tensor(low.greatest(rows, 0))
        else:
            y = low.affine(Tensor(low.b.sum(low.fixed(x), axes=tuple(range(self.rank)))), over=float(count))
        if self.config.get("keepdims"):
            y = low.move(y, lambda i: i.reshape(len(i), *(1 for _ in spatial), channels))
        return y

    def _windows(self, low: Lowering, x: Tensor, w: Window) -> Tensor:
        value = low.fixed(x)
        spatial = value.type.shape[:-1]
        counts, pads = w.plan(spatial)
        if self.largest:
            # A tap in the padding repeats an element at the border, which the same window holds already.
            parts = []
            for tap in w.taps:
                picks = [
                    np.clip(np.arange(c) * s + t - p[0], 0, n - 1)
                    for c, s, t, p, n in zip(counts, w.strides, tap, pads, spatial, strict=True)
                ]
                parts.append(low.move(Tensor(value), partial(_at, picks)).value)
            return Tensor(reduce(low.b.max, parts))
        padded = Tensor(value)
        if any(map(any, pads)):
            padded = low.move(padded, lambda i: w.pad(i, pads, -1))
        parts = [low.move(padded, lambda i, tap=tap: w.tap(i, tap, counts)).value for tap in w.taps]  # type: ignore[misc]
        total = reduce(low.b.add, parts)
        ones = w.pad(np.ones((1, *spatial, 1)), pads)
        return low.affine(Tensor(total), over=sum(w.tap(ones, tap, counts)[0] for tap in w.taps))


class QPooling(Pooling, HgqRule):
    """HGQ2's pooling: iq, the pooling, oq."""

    def lower(self, low: Lowering, x: Tensor) -> Tensor:
        return self.give(low, self.pooled(low, self.take(low, x)))
