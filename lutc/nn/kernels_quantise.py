"""Compiled inner loops of fake quantisation (numba): one pass over the data forward, one backward.

Data are [outer, formats, inner]: element (o, g, i) has format g. They are worked on in blocks of ``rows`` along the
first axis, each with sums and extremes of its own, so that the result does not depend on the number of threads.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from .kernels import _FLAGS, NEAREST, NEAREST_EVEN, formats

UNBOUNDED, SATURATE, SYMMETRIC = 0, 1, 2
_FAR = 1e4  # as in `lutc.nn.quantizer`
_LEAST = -1022
_POWERS = np.ldexp(1.0, np.arange(_LEAST, 1024))
SIGN, INTEGER, FRACTION, SCALE, STEP, BOTTOM, TOP, UNIT = range(8)


@njit(**_FLAGS)
def _round(v, rounding):  # type: ignore[no-untyped-def]
    """A float as a whole number, in its own type."""
    if rounding == NEAREST_EVEN:
        return np.rint(v)
    low = np.floor(v)
    up = rounding == NEAREST and v - low >= np.float32(0.5)
    return low + np.float32(up)


@njit(**_FLAGS)
def _power(k):  # type: ignore[no-untyped-def]
    """2**k for a whole number k, read where `pow` would take most of the time of all kernels here."""
    return _POWERS[np.uint64(min(max(np.int64(k) - _LEAST, 0), _POWERS.size - 1))]  # type: ignore[arg-type]


@njit(**_FLAGS)
def grid(sign, integer, precision, tracks, by_total, max_bits, project, mode):  # type: ignore[no-untyped-def]
    """Of every format its bits, 2**fraction and 2**-fraction, the least and greatest code, 2**integer: [8, G]."""
    bits = formats(sign, integer, precision, tracks, by_total, max_bits, project)
    out = np.empty((8, sign.size), sign.dtype)
    for g in range(sign.size):
        k, i, f = bits[0, g], bits[1, g], bits[2, g]
        out[SIGN, g], out[INTEGER, g], out[FRACTION, g] = k, i, f
        out[SCALE, g], out[STEP, g] = _power(f), _power(-f)
        if mode != UNBOUNDED:
            whole = np.floor(_power(i + f))
            top = max(whole - 1, 0)
            out[TOP, g], out[UNIT, g] = top, _power(i)
            out[BOTTOM, g] = -k * (top if mode == SYMMETRIC else whole)
    return out


@njit(**_FLAGS)
def forward(a, z, rows, x, grid, mode, rounding, out, low, high):  # type: ignore[no-untyped-def]
    """Blocks a..z through their formats; also the extreme codes by block and format, 0 included."""
    outer, count, inner = x.shape
    scale, step, bottom, top = grid[SCALE], grid[STEP], grid[BOTTOM], grid[TOP]
    for k in range(a, z):
        least, most = low[k], high[k]
        for g in range(count):
            least[g] = most[g] = 0
        for r in range(k * rows, min((k + 1) * rows, outer)):
            if inner == 1:
                for g in range(count):
                    c = _round(x[r, g, 0] * scale[g], rounding)
                    if mode == UNBOUNDED:
                        least[g] = c if c < least[g] else least[g]
                        most[g] = c if c > most[g] else most[g]
                    else:
                        c = top[g] if c > top[g] else c
                        c = bottom[g] if c < bottom[g] else c
                    out[r, g, 0] = c * step[g]
            else:
                for g in range(count):
                    s, t, b, u = scale[g], step[g], bottom[g], top[g]
                    lo, hi = least[g], most[g]
                    for i in range(inner):
                        c = _round(x[r, g, i] * s, rounding)
                        if mode == UNBOUNDED:
                            lo = c if c < lo else lo
                            hi = c if c > hi else hi
                        else:
                            c = u if c > u else c
                            c = b if c < b else c
                        out[r, g, i] = c * t
                    least[g], most[g] = lo, hi


@njit(**_FLAGS)
def backward_unbounded(a, z, rows, x, grad, grid, rounding, by_fraction):  # type: ignore[no-untyped-def]
    """Sums of gradient times quantisation error, by block and format."""
    outer, count, inner = x.shape
    scale, step = grid[SCALE], grid[STEP]
    for k in range(a, z):
        total = by_fraction[k]
        for g in range(count):
            total[g] = 0
        for r in range(k * rows, min((k + 1) * rows, outer)):
            if inner == 1:
                for g in range(count):
                    v = x[r, g, 0]
                    total[g] += grad[r, g, 0] * (v - _round(v * scale[g], rounding) * step[g])
            else:
                for g in range(count):
                    s, t, acc = scale[g], step[g], total[g]
                    for i in range(inner):
                        v = x[r, g, i]
                        acc += grad[r, g, i] * (v - _round(v * s, rounding) * t)
                    total[g] = acc


@njit(**_FLAGS)
def backward_bounded(a, z, rows, x, grad, grid, mode, rounding, by_x, by_fraction, by_integer):  # type: ignore[no-untyped-def]
    """The gradient at x, and sums of the gradients at fraction and integer bits; see `quantizer.fake_quantize`."""
    outer, count, inner = x.shape
    zero = x.dtype.type(0)
    for k in range(a, z):
        for g in range(count):
            by_fraction[k, g] = by_integer[k, g] = 0
        for r in range(k * rows, min((k + 1) * rows, outer)):
            for g in range(count):
                s, t, b, u = grid[SCALE, g], grid[STEP, g], grid[BOTTOM, g], grid[TOP, g]
                unit, sign = grid[UNIT, g], grid[SIGN, g]
                low_step = sign * t if mode == SYMMETRIC else zero
                first, second = by_fraction[k, g], by_integer[k, g]
                for i in range(inner):
                    v, d = x[r, g, i], grad[r, g, i]
                    c = _round(v * s, rounding)
                    above, below = c > u, c < b
                    by_x[r, g, i] = zero if above or below else d
                    first += d * (t if above else (-low_step if below else v - c * t))
                    second += d * (unit if above else (-unit * sign if below else zero))
                by_fraction[k, g], by_integer[k, g] = first, second


@njit(**_FLAGS)
def _reach(low, high):  # type: ignore[no-untyped-def]
    """Bits without the sign that codes from ``low`` <= 0 to ``high`` >= 0 need in two's complement."""
    reach = max(high, -low - 1, 0)
    if not reach < 2.0**62:
        return math.frexp(reach)[1]
    whole, bits = np.uint64(reach), 0
    while whole:
        whole >>= np.uint64(1)
        bits += 1
    return bits


@njit(**_FLAGS)
def follow(low, high, fraction, integer, sign, decay):  # type: ignore[no-untyped-def]
    """`Quantizer.track`, from extreme codes by block and format; integer and sign in place."""
    blocks = low.shape[0]
    for g in range(integer.size):
        lo, hi = low[0, g], high[0, g]
        for k in range(1, blocks):
            lo, hi = min(lo, low[k, g]), max(hi, high[k, g])
        integer[g] = max(integer[g] - decay, _reach(lo, hi) - fraction[g])
        sign[g] = max(sign[g] - decay, 1 if lo < 0 else 0)


@njit(**_FLAGS)
def fit(x, precision, max_bits, rounding, integer, sign):  # type: ignore[no-untyped-def]
    """The ranges that constants [outer, G, inner] need, as `Quantizer.constant` says; integer and sign in place."""
    outer, count, inner = x.shape
    for g in range(count):
        least = most = x[0, g, 0]
        for r in range(outer):
            for i in range(inner):
                v = x[r, g, i]
                least, most = v if v < least else least, v if v > most else most
        wish, whole, k = np.rint(precision[g]), -_FAR, np.ceil(sign[g])
        first = True
        while True:
            before, was = whole, k
            f = min(wish, max_bits - k - whole)
            scale = x.dtype.type(_power(f))
            lo, hi = min(_round(least * scale, rounding), 0), max(_round(most * scale, rounding), 0)
            whole, k = _reach(lo, hi) - f, 1.0 if lo < 0 else 0.0
            if not first:
                whole, k = max(whole, before), max(k, was)
            if (whole == before and k == was) or not min(wish, max_bits - k - whole) < wish:
                break
            first = False
        integer[g], sign[g] = whole, k


@njit(**_FLAGS)
def products(data, weight, data_at, weight_at, times, by_data, by_weight):  # type: ignore[no-untyped-def]
    """``times`` the products of weights with what they multiply; the slopes by format are added.

    data and weight are bits [3, formats]; data_at and weight_at give every weight's formats.
    """
    total = 0.0
    for w in range(weight_at.size):
        d, q = data_at[w], weight_at[w]
        m = max(data[0, d] + data[1, d] + data[2, d], 0)
        n = max(weight[0, q] + weight[1, q] + weight[2, q], 0)
        total += m * n
        by_data[d] += n * times if m > 0 else 0
        by_weight[q] += m * times if n > 0 else 0
    return total * times


@njit(**_FLAGS)
def widths(bits, times, slopes):  # type: ignore[no-untyped-def]
    """``times`` the sum of the widths of formats (bits [3, formats]); the slopes are added."""
    total = 0.0
    for g in range(slopes.size):
        n = max(bits[0, g] + bits[1, g] + bits[2, g], 0)
        total += n
        slopes[g] += times if n > 0 else 0
    return total * times
