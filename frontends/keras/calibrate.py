"""Ranges of wrapping quantisers, traced on data as HGQ2's `trace_minmax` does.

A quantiser in mode WRAP is cheap because it drops high bits, and right because its range was chosen so that none that
matter are dropped. Tracing runs calibration data through the model with rounding only, and gives every such quantiser
the fewest integer bits that hold what it saw, and a sign bit only where it saw a negative number.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutc.ir.graph import Value
from lutc.types import Ints

from .quantizers import Int, Quantizer, round_float

_EPSILON = np.float32(1e-7)  # Keras's fuzz factor, which HGQ2 puts around its logarithms


class Trace:
    """What calibration data did: the codes of each value, and the range every quantiser met."""

    def __init__(self) -> None:
        self.known: dict[Value, Ints] = {}
        self._found: dict[Quantizer, tuple[Int, Int]] = {}

    def observe(self, q: Quantizer, x: NDArray[np.float64]) -> Quantizer:
        """Note what `q` is given, `(batch, ...)` for data, and return it with the range that all of it so far needs."""
        need_i = _integer_bits(q, x)
        f = q.i + q.f - need_i if q.total_bits else q.f
        codes = round_float(x * np.exp2(f.astype(np.float64)), q.rounding)
        need_k = _reduced(np.any, codes < 0, q).astype(np.int64)
        if q.total_bits:
            need_k = need_k & (q.i + q.f > 0)
        if q in self._found:
            k, i = self._found[q]
            need_k, need_i = k | need_k, np.maximum(i, need_i)
        self._found[q] = need_k, need_i
        return q.with_range(need_k, need_i)

    def final(self, q: Quantizer) -> Quantizer:
        """The quantiser with the range that was traced, or itself if data never reached it."""
        return q.with_range(*self._found[q]) if q in self._found else q


def _integer_bits(q: Quantizer, x: NDArray[np.float64]) -> Int:
    if q.total_bits:  # the bits in all are given, so the steps follow from the range
        bits = (q.i + q.f).astype(np.float32)
        most = _reduced(np.max, np.abs(x), q).astype(np.float32)
        room = np.float32(1) - np.exp2(-bits) + _EPSILON
        need = np.ceil(np.log2((most + _EPSILON) / room)).astype(np.int64)
        return np.where(bits > 0, need, 32)
    codes = round_float(x * np.exp2(q.f.astype(np.float64)), q.rounding)
    _, exponent = np.frexp(_reduced(np.max, np.abs(codes), q))  # of an integer: how many bits it has
    fewest: Int = exponent.astype(np.int64) - q.f
    return fewest


def _reduced(how: Any, x: Any, q: Quantizer) -> Any:
    """Reduce over the axes along which the quantiser has one range for all."""
    x = np.asarray(x).reshape((1,) * (q.i.ndim - np.ndim(x)) + np.shape(x))
    return how(x, axis=tuple(a for a in range(x.ndim) if q.i.shape[a] == 1), keepdims=True)
