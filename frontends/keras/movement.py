"""Layers that only move elements."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from lutc.lowering.refusals import Refusal
from lutc.lowering.unread import FREE

from .base import LayoutRule, MovingRule
from .conv import channels_last
from .functional import Layer
from .values import Lowering, Tensor


class Nothing(LayoutRule):
    """A layer that does nothing at inference: Dropout, noise, regularisation, identity."""

    neutral: ClassVar[Mapping[str, Any]] = dict.fromkeys(
        ("rate", "noise_shape", "data_format", "stddev", "l1", "l2"), FREE
    )

    def move(self, x: Any) -> Any:
        return x

    def lower(self, low: Lowering, x: Tensor) -> Any:
        return x


class Flatten(LayoutRule):
    def move(self, x: Any) -> Any:
        if not channels_last(self.config) and x.ndim > 2:
            x = np.moveaxis(x, 1, -1)
        return x.reshape(len(x), -1)


class Reshape(LayoutRule):
    def move(self, x: Any) -> Any:
        return x.reshape(len(x), *self.config["target_shape"])


class Permute(LayoutRule):
    def move(self, x: Any) -> Any:
        return x.transpose(0, *self.config["dims"])


class RepeatVector(LayoutRule):
    def move(self, x: Any) -> Any:
        return np.repeat(x[:, np.newaxis], int(self.config["n"]), axis=1)


class SpatialMove(LayoutRule):
    """A layer that works on each spatial axis. `rank` is their number."""

    rank: int

    def pairs(self, key: str) -> list[tuple[int, int]]:
        raw = self.config[key]
        if isinstance(raw, int):
            raw = [raw] * self.rank
        if self.rank == 1 and len(raw) == 2 and all(isinstance(v, int) for v in raw):
            raw = [raw]
        return [(v, v) if isinstance(v, int) else tuple(v) for v in raw]

    def move(self, x: Any) -> Any:
        if channels_last(self.config):
            return self.spatial(x)
        return np.moveaxis(self.spatial(np.moveaxis(x, 1, -1)), -1, 1)

    def spatial(self, x: Any) -> Any:
        raise NotImplementedError


class ZeroPadding(SpatialMove):
    def spatial(self, x: Any) -> Any:
        return np.pad(x, [(0, 0), *self.pairs("padding"), (0, 0)], constant_values=-1)


class Cropping(SpatialMove):
    def spatial(self, x: Any) -> Any:
        cuts = (slice(a, n - z) for (a, z), n in zip(self.pairs("cropping"), x.shape[1:], strict=False))
        return x[(slice(None), *cuts)]


class UpSampling(SpatialMove):
    def __init__(self, layer: Layer) -> None:
        super().__init__(layer)
        if self.config.get("interpolation", "nearest") != "nearest":
            raise Refusal(f"it interpolates ({self.config['interpolation']})", "use interpolation='nearest'")

    def spatial(self, x: Any) -> Any:
        size = self.config["size"]
        for axis, n in enumerate([size] * self.rank if isinstance(size, int) else size):
            x = np.repeat(x, n, axis=axis + 1)
        return x


class Concatenate(MovingRule):
    def lower(self, low: Lowering, inputs: Any) -> Tensor:
        return low.concat(list(inputs), self.config.get("axis", -1))

    def move(self, inputs: Any) -> Any:
        return np.concatenate(inputs, axis=self.config.get("axis", -1))
