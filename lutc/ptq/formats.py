"""Formats of data: for each channel the step and the bits at which a bit more costs as much as it is worth.

A channel's price is `loss + slope * LUTs`: what the error of its numbers costs at the model's output, measured
beforehand as a gain (loss per mean squared error), plus what its bits cost in logic. Each channel takes the cheapest
format by itself; all of them together are then at the same slope, which is the best allocation that there is
(Y. Shoham, A. Gersho, Efficient bit allocation for an arbitrary set of quantizers, IEEE Trans. ASSP 36, 1988).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

HEADROOM = 3  # powers of two below the largest number at which clipping is tried
BEYOND = 1.25  # how much larger than those seen a number is thought to be
LEVELS = 64  # different numbers in data that are taken for all that it can hold
SAMPLES = 2048  # numbers of a channel that are looked at
FREE = (1.0, 2.0**-0.25, 2.0**-0.5, 2.0**-0.75)  # steps tried between powers of two, where scales are free


@dataclass(frozen=True)
class Formats:
    """Formats of the channels of a point: `step` of a code, and `bits` of all codes; 0 bits are the number 0.

    Codes go from `-2**(bits - 1)` to `2**(bits - 1) - 1` if `signed`, else from 0 to `2**bits - 1`.
    """

    step: Array
    bits: Array
    signed: bool

    @property
    def arrays(self) -> tuple[Array, Array, Array]:
        """Steps, least and greatest codes."""
        some = self.bits > 0
        half = 2.0 ** (self.bits - 1)
        lo = np.where(some & self.signed, -half, 0.0)
        hi = np.where(some, (half if self.signed else 2 * half) - 1, 0.0)
        return self.step, lo, hi


def quantised(x: Array, step: Array, lo: Array, hi: Array) -> Array:
    """Numbers rounded to the nearest step, halves up, and kept between the least and the greatest code."""
    return np.asarray(np.clip(np.floor(x / step + 0.5), lo, hi) * step)


def by_channel(x: Array, axis: int | None, samples: int = SAMPLES) -> Array:
    """Numbers of a tensor `(rows, ...)` as `[samples, channels]`; the samples are spread over the rows."""
    flat = x.reshape(-1, 1) if axis is None else np.moveaxis(x, axis, -1).reshape(-1, x.shape[axis])
    if len(flat) > samples:
        flat = flat[np.linspace(0, len(flat) - 1, samples).astype(np.int64)]
    return np.asarray(flat, np.float64)


def widened(x: Array) -> Array:
    """Samples `[samples, channels]` and, of each channel, two beyond its ends: what was not seen may be larger.

    Not so where the data holds a few different numbers only, such as pixels.
    """
    if len(np.unique(x)) <= LEVELS:
        return x
    return np.concatenate([x, BEYOND * x.max(0, keepdims=True), BEYOND * x.min(0, keepdims=True)])


def single(x: Array) -> Array:
    """The nearest numbers that float32 holds: a file holds no others."""
    return np.asarray(x, np.float32).astype(np.float64)


def chosen(
    x: Array, gain: Array, cost: Array, slope: float, widths: tuple[int, int], free: bool = False
) -> Formats:
    """The cheapest formats for channels with numbers `x [samples, channels]`.

    `gain [channels]` is loss per mean squared error, `cost [channels]` LUTs per bit, `slope` loss per LUT; `widths`
    are the least and the most bits. With a least number of bits of 0 a channel may vanish. With `free`, steps are no
    powers of two only.
    """
    signed = bool((x < 0).any())
    top = np.ceil(np.log2(np.maximum(np.abs(x).max(0), 2.0**-100) * (1 + 1e-9)))
    step, bits = np.ones(x.shape[1]), np.zeros(x.shape[1])
    best = np.full(x.shape[1], np.inf)
    if widths[0] == 0:
        best = gain * (x**2).mean(0)
    # At equal prices the wider range wins: data that was not seen may need it.
    for down in range(HEADROOM + 1):
        for scale in FREE if free else FREE[:1]:
            for width in range(max(1, widths[0]), widths[1] + 1):
                each = single(2.0 ** (top - down - (width - signed)) * scale)
                half = 2.0 ** (width - 1)
                lo, hi = (-half, half - 1) if signed else (0.0, 2 * half - 1)
                error = ((quantised(x, each, np.asarray(lo), np.asarray(hi)) - x) ** 2).mean(0)
                price = gain * error + slope * cost * width
                better = price < best * (1 - 1e-6)
                best = np.where(better, price, best)
                step, bits = np.where(better, each, step), np.where(better, width, bits)
    return Formats(step, bits, signed)
