"""Convolutions: patches gathered tap by tap, then one matrix product per position."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import numpy as np

from lutc.ir.graph import Value
from lutc.lowering.options import FREE
from lutc.lowering.refusals import Refusal

from .base import HgqRule, Rule, activation
from .dense import check_plain, contract, finish
from .graph import Layer
from .lowering import Lowering, Tensor
from .quantizers import Quantizer, Real
from .unary import Reals


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

    def plan(self, spatial: Sequence[int]) -> tuple[list[int], list[tuple[int, int]]]:
        """The number of positions along each axis, and the padding before and after it."""
        counts, pads = [], []
        for n, k, s, d in zip(spatial, self.size, self.strides, self.dilation, strict=True):
            reach = d * (k - 1) + 1
            if self.padding == "same":
                count = -(-n // s)
                total = max((count - 1) * s + reach - n, 0)
                pad = (total // 2, total - total // 2)
            else:
                pad = (reach - 1, 0) if self.padding == "causal" else (0, 0)
                count = (n + sum(pad) - reach) // s + 1
            counts.append(count)
            pads.append(pad)
        return counts, pads

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


def to_last(x: Any) -> Any:
    """Channels from the first to the last axis, on an array with a batch axis."""
    return np.moveaxis(x, 1, -1)


def to_first(x: Any) -> Any:
    return np.moveaxis(x, -1, 1)


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


class Convolution(Rule):
    """What Keras's and HGQ2's convolutions share. `rank` is the number of spatial axes."""

    rank: int
    depthwise = False
    # The kernel's shape tells them.
    neutral: ClassVar[Mapping[str, Any]] = {"filters": FREE, "depth_multiplier": FREE}

    def __init__(self, layer: Layer) -> None:
        super().__init__(layer)
        self.window = window(self.config, self.rank)
        self.last = channels_last(self.config)

    def check_kernel(self, kernel: Any) -> None:
        """Raise Refusal unless the kernel has the shape that the options state."""
        if self.depthwise:
            self.sized(kernel, kernel_size=slice(self.rank), depth_multiplier=-1)
        else:
            self.sized(kernel, kernel_size=slice(self.rank), filters=-1)

    def convolve(self, low: Lowering, x: Tensor, kernel: Reals, bias: Reals | None, name: str) -> Tensor:
        if not self.last:
            x = low.move(x, to_last)
        channels = x.shape[-1]
        groups = channels if self.depthwise else int(self.config.get("groups", 1))
        if self.depthwise:
            kernel = depthwise(kernel)
        rows = patches(low, x, self.window)
        y = contract(low, rows, grouped(kernel, channels, groups), bias, name == "relu", padded=True)
        result = Tensor(y)
        return result if self.last else low.move(result, to_first)


class QConv(Convolution, HgqRule):
    """QConv1D, QConv2D and QConv3D: iq, quantised kernel and bias, activation, oq."""

    def __init__(self, layer: Layer) -> None:
        HgqRule.__init__(self, layer)
        self.window = window(self.config, self.rank)
        self.last = channels_last(self.config)
        has_bias = bool(self.config.get("use_bias", True))
        self.kq = self.quantizer("kq")
        self.bq: Quantizer | None = self.quantizer("bq") if has_bias else None
        self.vars: dict[str, Real] = self.own("kernel", *(["bias"] if has_bias else []))
        self.check_kernel(self.vars["kernel"])

    def lower(self, low: Lowering, x: Tensor) -> Tensor:
        x = self.take(low, x)
        kernel = low.weights(self.kq, self.vars["kernel"])
        bias = low.weights(self.bq, self.vars["bias"]) if self.bq is not None else None
        y = self.convolve(low, x, kernel, bias, self.activation)
        low.note_wide(y.value)
        y = finish(low, y.value, self.activation)
        return y if self.oq is None else low.quantize(y, self.oq)


class Conv(Convolution):
    """Keras's convolutions, whose weights must be few bits wide for float32 to be exact."""

    def __init__(self, layer: Layer) -> None:
        super().__init__(layer)
        self.activation = activation(self.config.get("activation"))
        has_bias = bool(self.config.get("use_bias", True))
        self.vars: dict[str, Real] = self.own("kernel", *(["bias"] if has_bias else []))
        self.check_kernel(self.vars["kernel"])

    def lower(self, low: Lowering, x: Tensor) -> Tensor:
        kernel = self.vars["kernel"].astype(np.float64)
        bias = self.vars["bias"].astype(np.float64) if "bias" in self.vars else None
        y = self.convolve(low, x, kernel, bias, self.activation)
        check_plain(kernel, y.value, "kernel")
        return finish(low, y.value, self.activation)


class SeparableConv(Convolution):
    """A depthwise convolution, then a dense layer at every position."""

    def __init__(self, layer: Layer) -> None:
        super().__init__(layer)
        self.activation = activation(self.config.get("activation"))
        has_bias = bool(self.config.get("use_bias", True))
        self.vars: dict[str, Real] = self.own("depthwise", "pointwise", *(["bias"] if has_bias else []))
        self.sized(self.vars["depthwise"], kernel_size=slice(self.rank), depth_multiplier=-1)
        self.sized(self.vars["pointwise"], filters=-1)

    def lower(self, low: Lowering, x: Tensor) -> Tensor:
        if not self.last:
            x = low.move(x, to_last)
        deep = self.vars["depthwise"].astype(np.float64)
        point = self.vars["pointwise"].astype(np.float64)
        bias = self.vars["bias"].astype(np.float64) if "bias" in self.vars else None
        rows = patches(low, x, self.window)
        middle = contract(low, rows, grouped(depthwise(deep), x.shape[-1], x.shape[-1]), None, False)
        check_plain(deep, middle, "depthwise kernel")
        y = contract(low, middle, point.reshape(point.shape[-2:]), bias, self.activation == "relu")
        check_plain(point, y, "pointwise kernel")
        result = Tensor(y) if self.last else low.move(Tensor(y), to_first)
        return finish(low, result.value, self.activation)


class ConvTranspose(Rule):
    """A transposed convolution: zeros spread between the inputs, then a convolution with the turned kernel."""

    rank: int
    neutral: ClassVar[Mapping[str, Any]] = {"filters": FREE, "groups": 1}

    def __init__(self, layer: Layer) -> None:
        super().__init__(layer)
        self.window = window(self.config, self.rank)
        self.last = channels_last(self.config)
        self.activation = activation(self.config.get("activation"))
        has_bias = bool(self.config.get("use_bias", True))
        self.vars: dict[str, Real] = self.own("kernel", *(["bias"] if has_bias else []))
        self.sized(self.vars["kernel"], kernel_size=slice(self.rank), filters=-2)
        if self.config.get("output_padding") is not None:
            raise Refusal("it sets output_padding", "leave output_padding=None")
        if any(d != 1 for d in self.window.dilation):
            raise Refusal("it is dilated", "use dilation_rate=1")

    def lower(self, low: Lowering, x: Tensor) -> Tensor:
        if not self.last:
            x = low.move(x, to_last)
        kernel = self.vars["kernel"].astype(np.float64)  # (*size, filters, channels)
        bias = self.vars["bias"].astype(np.float64) if "bias" in self.vars else None
        w, spatial = self.window, x.shape[:-1]

        def spread(index: Any) -> Any:
            shape = [(n - 1) * s + 1 for n, s in zip(spatial, w.strides, strict=True)]
            full = np.full((len(index), *shape, index.shape[-1]), -1, dtype=np.int64)
            full[(slice(None), *(slice(None, None, s) for s in w.strides))] = index
            pads = []
            for k, s in zip(w.size, w.strides, strict=True):
                # 'same' keeps n * s outputs, cutting k - s of the full result, the smaller half in front.
                cut = max(k - s, 0) if w.padding == "same" else 0
                more = max(s - k, 0)
                before = k - 1 - cut // 2
                pads.append((before, k - 1 - (cut - cut // 2) + more))
            return np.pad(full, [(0, 0), *pads, (0, 0)], constant_values=-1)

        ones = (1,) * self.rank
        rows = patches(low, low.move(x, spread), Window(w.size, ones, ones, "valid"))
        turned = np.flip(kernel, axis=tuple(range(self.rank))).swapaxes(-1, -2)
        y = contract(low, rows, turned.reshape(-1, turned.shape[-1]), bias, self.activation == "relu")
        check_plain(kernel, y, "kernel")
        result = Tensor(y) if self.last else low.move(Tensor(y), to_first)
        return finish(low, result.value, self.activation)


def of_rank(rule: type[Rule], rank: int, **attributes: Any) -> type[Rule]:
    """The same rule for a number of spatial axes."""
    return type(f"{rule.__name__}{rank}D", (rule,), {"rank": rank, "__doc__": rule.__doc__, **attributes})
