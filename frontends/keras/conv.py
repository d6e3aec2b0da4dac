"""Convolutions: patches gathered tap by tap, then one matrix product per position."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, ClassVar

import numpy as np

from lutc.ir.graph import Value
from lutc.lowering import windows
from lutc.lowering.refusals import Refusal
from lutc.lowering.unread import FREE

from .base import Rule, activation, variant
from .dense import contract
from .functional import Layer
from .quantizers import Real
from .unary import Reals
from .values import Lowering, Tensor
from .weighted import QWeighted, Weighted, check_plain, finish


@dataclass(frozen=True)
class Window:
    """A sliding window over the spatial axes: kernel size, strides, dilation, padding (`valid`, `same`, `causal`)."""

    size: tuple[int, ...]
    strides: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: str

    @property
    def taps(self) -> list[tuple[int, ...]]:
        return list(product(*map(range, self.size)))

    def plan(self, spatial: Sequence[int]) -> tuple[tuple[int, ...], list[tuple[int, int]]]:
        """The number of positions along each axis, and the padding before and after it. Raises Refusal for none."""
        nothing = (0,) * len(self.size)
        window = windows.Window(self.size, self.strides, self.dilation, nothing, nothing)
        if self.padding == "same":
            before, after = windows.same_padding(window, tuple(spatial), upper=True)
            window = replace(window, before=before, after=after)
        elif self.padding == "causal":
            window = replace(window, before=tuple(n - 1 for n in window.reach()))
        return window.outputs(tuple(spatial)), list(zip(window.before, window.after, strict=True))

    def tap(self, padded: Any, tap: tuple[int, ...], counts: Sequence[int]) -> Any:
        """The elements under one tap of the window, at all positions; batch first, channels last."""
        at = [
            slice(t * d, t * d + (c - 1) * s + 1, s)
            for t, d, c, s in zip(tap, self.dilation, counts, self.strides, strict=True)
        ]
        return padded[(slice(None), *at)]

    def pad(self, x: Any, pads: Sequence[tuple[int, int]], fill: Any = 0) -> Any:
        return np.pad(x, [(0, 0), *pads, (0, 0)], constant_values=fill)


def window(
    config: Mapping[str, Any], rank: int, size: str = "kernel_size", strides: str = "strides"
) -> Window:
    """The window a layer's config describes."""

    def every(value: Any) -> tuple[int, ...]:
        return (int(value),) * rank if isinstance(value, int | float) else tuple(int(v) for v in value)

    padding = str(config.get("padding", "valid")).lower()
    if padding not in ("valid", "same", "causal"):
        raise Refusal(f"its padding is {padding!r}", "padding may be 'valid', 'same' or 'causal'")
    k = every(config[size])
    s = config.get(strides)
    return Window(k, k if s is None else every(s), every(config.get("dilation_rate", 1)), padding)


def channels_last(config: Mapping[str, Any]) -> bool:
    """Whether the channels are the last axis. Raises Refusal for another order of axes than Keras knows."""
    order = config.get("data_format")
    if order not in (None, "channels_last", "channels_first"):
        raise Refusal(f"its data_format is {order!r}", "it may be 'channels_last' or 'channels_first'")
    return order != "channels_first"


class Spatial(Rule):
    """A layer that works on spatial axes, of which there are `rank`; it computes with the channels last."""

    rank: int

    def __init__(self, layer: Layer) -> None:
        super().__init__(layer)
        self.last = channels_last(self.config)

    def with_last(self, low: Lowering, x: Tensor, fn: Callable[[Tensor], Tensor]) -> Tensor:
        """`fn` on a tensor whose channels are moved to the last axis, and back after it."""
        if self.last:
            return fn(x)
        return low.move(fn(low.move(x, lambda i: np.moveaxis(i, 1, -1))), lambda i: np.moveaxis(i, -1, 1))


def patches(low: Lowering, t: Tensor, w: Window) -> Value:
    """The patch under the window at each position: `(*positions, taps * channels)`."""
    x = low.fixed(t)
    counts, pads = w.plan(x.type.shape[:-1])
    if any(map(any, pads)):
        x = low.move(Tensor(x), lambda i: w.pad(i, pads, -1)).value
    parts = [low.move(Tensor(x), lambda i, tap=tap: w.tap(i, tap, counts)).value for tap in w.taps]  # type: ignore[misc]
    result: Value = parts[0] if len(parts) == 1 else low.b.concat(parts, axis=len(counts))
    return result


def grouped(kernel: Reals, channels: int, groups: int) -> Reals:
    """A kernel `(*size, channels / groups, filters)` as a matrix over all channels of a patch; zeros across groups."""
    *_, inner, filters = kernel.shape
    taps = kernel.reshape(-1, inner, filters)
    full = np.zeros((len(taps), channels, filters))
    each = filters // groups
    for g in range(groups):
        full[:, g * inner : (g + 1) * inner, g * each : (g + 1) * each] = taps[
            :, :, g * each : (g + 1) * each
        ]
    return full.reshape(-1, filters)


def depthwise(kernel: Reals) -> Reals:
    """A depthwise kernel `(*size, channels, multiplier)` as one of `channels` groups."""
    *size, channels, multiplier = kernel.shape
    return kernel.reshape(*size, 1, channels * multiplier)


class ConvSums(Spatial):
    """What convolutions share, in all spellings: a window, and a kernel as large as the options say."""

    depthwise = False
    # The kernel's shape tells them.
    neutral: ClassVar[Mapping[str, Any]] = {"filters": FREE, "depth_multiplier": FREE}

    def __init__(self, layer: Layer) -> None:
        super().__init__(layer)
        self.window = window(self.config, self.rank)

    def check_kernel(self, kernel: Real) -> None:
        filters = "depth_multiplier" if self.depthwise else "filters"
        self.sized(kernel, kernel_size=slice(self.rank), **{filters: -1})

    def sums(self, low: Lowering, x: Tensor, kernel: Reals, bias: Reals | None, relu: bool) -> Tensor:
        """One matrix product for every patch under the window."""

        def convolved(x: Tensor) -> Tensor:
            channels = x.shape[-1]
            groups = channels if self.depthwise else int(self.config.get("groups", 1))
            matrix = grouped(depthwise(kernel) if self.depthwise else kernel, channels, groups)
            return Tensor(contract(low, patches(low, x, self.window), matrix, bias, relu, padded=True))

        return self.with_last(low, x, convolved)


class Conv(ConvSums, Weighted):
    """Keras's convolutions."""


class QConv(ConvSums, QWeighted):
    """QConv1D, QConv2D and QConv3D."""


class SeparableConv(Spatial):
    """A depthwise convolution, then a dense layer at every position."""

    neutral: ClassVar[Mapping[str, Any]] = {"filters": FREE, "depth_multiplier": FREE}

    def __init__(self, layer: Layer) -> None:
        super().__init__(layer)
        self.window = window(self.config, self.rank)
        self.activation = activation(self.config.get("activation"))
        stored = self.own("depthwise", "pointwise", *(["bias"] if self.has_bias else []))
        self.sized(stored["depthwise"], kernel_size=slice(self.rank), depth_multiplier=-1)
        self.sized(stored["pointwise"], filters=-1)
        self.vars: dict[str, Reals] = {n: v.astype(np.float64) for n, v in stored.items()}

    def lower(self, low: Lowering, x: Tensor) -> Tensor:
        deep, point = self.vars["depthwise"], self.vars["pointwise"]

        def convolved(x: Tensor) -> Tensor:
            rows, channels = patches(low, x, self.window), x.shape[-1]
            middle = contract(low, rows, grouped(depthwise(deep), channels, channels), None, False)
            check_plain(deep, middle, "depthwise kernel")
            matrix = point.reshape(point.shape[-2:])
            y = contract(low, middle, matrix, self.vars.get("bias"), self.activation == "relu")
            check_plain(point, y, "pointwise kernel")
            return Tensor(y)

        return finish(low, self.with_last(low, x, convolved), self.activation)


class ConvTranspose(Spatial, Weighted):
    """A transposed convolution: zeros spread between the inputs, then a convolution with the turned kernel."""

    neutral: ClassVar[Mapping[str, Any]] = {"filters": FREE, "groups": 1}

    def __init__(self, layer: Layer) -> None:
        super().__init__(layer)
        self.window = window(self.config, self.rank)
        if self.config.get("output_padding") is not None:
            raise Refusal("it sets output_padding", "leave output_padding=None")
        if any(d != 1 for d in self.window.dilation):
            raise Refusal("it is dilated", "use dilation_rate=1")

    def check_kernel(self, kernel: Real) -> None:
        self.sized(kernel, kernel_size=slice(self.rank), filters=-2)

    def sums(self, low: Lowering, x: Tensor, kernel: Reals, bias: Reals | None, relu: bool) -> Tensor:
        ones = (1,) * self.rank
        turned = np.flip(kernel, axis=tuple(range(self.rank))).swapaxes(
            -1, -2
        )  # of (*size, filters, channels)

        def convolved(x: Tensor) -> Tensor:
            rows = patches(low, low.move(x, self._spread), Window(self.window.size, ones, ones, "valid"))
            return Tensor(contract(low, rows, turned.reshape(-1, turned.shape[-1]), bias, relu))

        return self.with_last(low, x, convolved)

    def _spread(self, index: Any) -> Any:
        """The input's elements with zeros between and around them."""
        w = self.window
        shape = [(n - 1) * s + 1 for n, s in zip(index.shape[1:-1], w.strides, strict=True)]
        full = np.full((len(index), *shape, index.shape[-1]), -1, dtype=np.int64)
        full[(slice(None), *(slice(None, None, s) for s in w.strides))] = index
        pads = []
        for k, s in zip(w.size, w.strides, strict=True):
            # 'same' keeps n * s outputs, cutting k - s of the full result, the smaller half in front.
            cut = max(k - s, 0) if w.padding == "same" else 0
            pads.append((k - 1 - cut // 2, k - 1 - (cut - cut // 2) + max(s - k, 0)))
        return np.pad(full, [(0, 0), *pads, (0, 0)], constant_values=-1)


def of_rank(rule: type[Rule], rank: int, **attributes: Any) -> type[Rule]:
    """The same rule for a number of spatial axes."""
    return variant(rule, f"{rule.__name__}{rank}D", rank=rank, **attributes)
