"""Compiled inner loops of training on the grid (numba).

Every kernel works on flat arrays that :mod:`lutc.nn.grid` lays out.  The words used here:

edge      one (input i, output o) pair, numbered ``i * n_out + o``;
group     edges of one input that quantise it in the same way, hence share their codes;
position  an edge's place once edges are sorted by group;
point     one value that an edge's table is evaluated at: an occupied level of the group's grid, or, where
          the grid is larger than the batch, one sample.  Points are padded to a multiple of ``LANES`` so
          that the loops over them have no remainder; padding has count 0.

Index arrays are unsigned: numba then emits no wrap-around check, without which LLVM vectorises the gathers.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import overload

LANES = 16
FLOOR, NEAREST, NEAREST_EVEN = 0, 1, 2
TANH, RELU = 0, 1

_FLAGS = {"nogil": True, "cache": True, "error_model": "numpy", "fastmath": {"contract", "reassoc", "nsz", "arcp"}}
_LN2 = math.log(2.0)

# tanh(x) = x P(x^2) / Q(x^2) on |x| <= 9.02, fitted by weighted least squares with Lawson's reweighting;
# relative error 2.2e-8 before rounding to float32, beyond 9.02 tanh is 1 to float32.
_CLAMP = np.float32(9.02)
_P0, _P1, _P2, _P3, _P4 = (
    np.float32(c) for c in (9.999999792e-01, 1.337970214e-01, 3.494012861e-03, 2.058300805e-05, 1.331821797e-08)
)
_Q1, _Q2, _Q3, _Q4 = (
    np.float32(c) for c in (4.671301746e-01, 2.587099832e-02, 3.283052260e-04, 7.761710477e-07)
)
_ONE = np.float32(1.0)


def _tanh(x: Any) -> Any:
    """tanh: a vectorisable rational function in float32 (absolute error 4e-7), libm in float64."""
    return math.tanh(x)


@overload(_tanh, jit_options={"fastmath": _FLAGS["fastmath"]})
def _tanh_overload(x: Any) -> Any:
    if x == types.float32:

        def fast(x: Any) -> Any:
            x = min(max(x, -_CLAMP), _CLAMP)
            z = x * x
            p = (((_P4 * z + _P3) * z + _P2) * z + _P1) * z + _P0
            q = (((_Q4 * z + _Q3) * z + _Q2) * z + _Q1) * z + _ONE
            return x * p / q

        return fast

    def exact(x: Any) -> Any:
        return math.tanh(x)

    return exact


def _round(v: Any, rounding: int) -> Any:
    return v


@overload(_round, inline="always")
def _round_overload(v: Any, rounding: int) -> Any:
    half = v(0.5)

    def impl(v: Any, rounding: int) -> Any:
        if rounding == NEAREST_EVEN:
            return np.rint(v)
        low = np.floor(v)
        if rounding == NEAREST and v - low >= half:
            low += 1
        return low

    return impl


@njit(**_FLAGS)
def encode(a, z, x, group_in, scale, lo, hi, rounding, code, low, high):  # type: ignore[no-untyped-def]
    """Codes of groups a..z: x [n_in, B], code int32 [G, B]; low, high int32 [G] take the extreme codes.

    lo, hi: limits of the codes, in x's own float type and at most 2**30 in size.
    """
    n = x.shape[1]
    half = x.dtype.type(0.5)
    one = x.dtype.type(1.0)
    zero = x.dtype.type(0.0)
    for g in range(a, z):
        row = x[group_in[g]]
        out = code[g]
        s, bottom, top = scale[g], lo[g], hi[g]
        if rounding == NEAREST:
            for b in range(n):
                v = row[b] * s
                f = np.floor(v)
                f += one if v - f >= half else zero
                out[b] = np.int32(min(max(f, bottom), top))
        elif rounding == FLOOR:
            for b in range(n):
                out[b] = np.int32(min(max(np.floor(row[b] * s), bottom), top))
        else:
            for b in range(n):
                out[b] = np.int32(min(max(np.rint(row[b] * s), bottom), top))
        least = out[0]
        most = out[0]
        for b in range(n):
            least = min(least, out[b])
            most = max(most, out[b])
        low[g] = least
        high[g] = most


@njit(**_FLAGS)
def levels(code, low, high, scale, cap, index, start, x_at, count):  # type: ignore[no-untyped-def]
    """Number the points of every group: index [G, B] takes each sample's point, start [G+1] the offsets.

    A group with at most ``cap`` levels between its extreme codes uses its levels as points, without the unused ones
    if they are many; any other uses its samples.  x_at and count (float, by point) take the points' values and how
    many samples lie on each.
    """
    n = code.shape[1]
    total = 0
    start[0] = 0
    tally = np.empty((4, cap), np.int32)  # four, so that equal codes in a row do not wait for each other
    for g in range(code.shape[0]):
        step = 1 / scale[g]
        first = low[g]
        span = np.int64(high[g]) - np.int64(first) + 1
        row = index[g]
        codes = code[g]
        if span <= cap:
            for j in range(4):
                for k in range(span):
                    tally[j, k] = 0
            for b in range(n):
                row[b] = codes[b] - first
            for b in range(0, n - 3, 4):
                tally[0, row[b]] += 1
                tally[1, row[b + 1]] += 1
                tally[2, row[b + 2]] += 1
                tally[3, row[b + 3]] += 1
            for b in range(n // 4 * 4, n):
                tally[0, row[b]] += 1
            used = 0
            compact = span > 4 * LANES
            for k in range(span):
                c = tally[0, k] + tally[1, k] + tally[2, k] + tally[3, k]
                if c > 0 or not compact:
                    x_at[total + used] = (first + k) * step
                    count[total + used] = c
                    tally[0, k] = used
                    used += 1
            if used < span:
                for b in range(n):
                    row[b] = tally[0, row[b]]
        else:
            used = n
            for b in range(n):
                x_at[total + b] = codes[b] * step
                count[total + b] = 1
                row[b] = b
        padded = (used + LANES - 1) // LANES * LANES
        for k in range(used, padded):
            x_at[total + k] = 0
            count[total + k] = 0
        total += padded
        start[g + 1] = total


@njit(**_FLAGS)
def mlp(a, z, edge, group, start, at, x_at, w1, b1, w2, b2, act, t, slope):  # type: ignore[no-untyped-def]
    """One-input, one-hidden-layer networks of positions a..z at their points: values t and derivatives slope."""
    hidden = w1.shape[1]
    for q in range(a, z):
        e = edge[q]
        g = group[q]
        first = start[g]
        n = start[g + 1] - first
        for block in range(0, n, LANES):
            xs = x_at[first + block : first + block + LANES]
            ts = t[at[q] + block : at[q] + block + LANES]
            ds = slope[at[q] + block : at[q] + block + LANES]
            for p in range(LANES):
                ts[p] = b2[e]
                ds[p] = 0
            for k in range(hidden):
                u, c, v = w1[e, k], b1[e, k], w2[e, k]
                uv = u * v
                if act == TANH:
                    for p in range(LANES):
                        h = _tanh(u * xs[p] + c)
                        ts[p] += v * h
                        ds[p] += uv - uv * (h * h)
                else:
                    for p in range(LANES):
                        r = u * xs[p] + c
                        if r > 0:
                            ts[p] += v * r
                            ds[p] += uv


@njit(**_FLAGS)
def moments(edge, group, start, at, count, t, n_out, samples):  # type: ignore[no-untyped-def]
    """Mean and biased variance of the table values of each output over samples and inputs, from level counts."""
    mean = np.zeros(n_out)
    var = np.zeros(n_out)
    n_in = edge.size // n_out
    for second in range(2):
        for q in range(edge.size):
            o = edge[q] % n_out
            first = start[group[q]]
            n = start[group[q] + 1] - first
            total = 0.0
            if second == 0:
                for p in range(n):
                    total += count[first + p] * t[at[q] + p]
                mean[o] += total / (samples * n_in)
            else:
                m = mean[o]
                for p in range(n):
                    d = t[at[q] + p] - m
                    total += count[first + p] * (d * d)
                var[o] += total / (samples * n_in)
    return mean, var


@njit(**_FLAGS)
def tables(edge, group, start, at, t, gain, bias, scale, limit, rounding, out):  # type: ignore[no-untyped-def]
    """out = saturating symmetric quantisation of gain * t + bias; scale, limit (largest code) are per edge."""
    n_out = gain.size
    for q in range(edge.size):
        e = edge[q]
        a, c, s, m = gain[e % n_out], bias[e % n_out], scale[e], limit[e]
        r = 1 / s
        for p in range(at[q], at[q + 1]):
            v = min(max(_round((a * t[p] + c) * s, rounding), -m), m)
            out[p] = v * r


@njit(**_FLAGS)
def gather(a, z, place, group, at, table, index, out):  # type: ignore[no-untyped-def]
    """out[o, :] = sum over inputs of each sample's table entry, for outputs a..z; out [n_out, B]."""
    n_out, n = out.shape
    n_in = place.size // n_out
    block = 2048
    for b0 in range(0, n, block):
        b1 = min(b0 + block, n)
        for o in range(a, z):
            acc = out[o, b0:b1]
            for b in range(acc.size):
                acc[b] = 0
            i = 0
            while i + 1 < n_in:
                q = place[i * n_out + o]
                r = place[(i + 1) * n_out + o]
                row = index[group[q], b0:b1]
                other = index[group[r], b0:b1]
                tab = table[at[q] : at[q + 1]]
                tbb = table[at[r] : at[r + 1]]
                for b in range(acc.size):
                    acc[b] += tab[row[b]] + tbb[other[b]]
                i += 2
            if i < n_in:
                q = place[i * n_out + o]
                row = index[group[q], b0:b1]
                tab = table[at[q] : at[q + 1]]
                for b in range(acc.size):
                    acc[b] += tab[row[b]]


@njit(**_FLAGS)
def look_up(a, z, n_in, x, scale, lo, entries, rounding, wrap, at, table, out):  # type: ignore[no-untyped-def]
    """The layer in fixed point, float64, for outputs a..z: x [n_in, B], out [n_out, B].

    By edge: scale, lowest code lo, number of entries (a power of two if ``wrap``), place ``at`` in the flat table.
    """
    n_out, n = out.shape
    block = 2048
    far = 2.0**62
    for b0 in range(0, n, block):
        b1 = min(b0 + block, n)
        for o in range(a, z):
            acc = out[o, b0:b1]
            for b in range(acc.size):
                acc[b] = 0.0
            for i in range(n_in):
                e = i * n_out + o
                row = x[i, b0:b1]
                part = table[at[e] : at[e + 1]]
                s, first, last = scale[e], lo[e], entries[e] - 1
                for b in range(acc.size):
                    k = np.int64(min(max(_round(row[b] * s, rounding), -far), far)) - first
                    if wrap:
                        k &= last
                    else:
                        k = min(max(k, 0), last)
                    acc[b] += part[np.uint64(k)]


@njit(**_FLAGS)
def follow(low, high, place, group, fraction, integer, sign, decay):  # type: ignore[no-untyped-def]
    """`Quantizer.track` for every edge, from the extreme codes of its group; integer and sign in place."""
    for e in range(place.size):
        g = group[place[e]]
        reach = max(max(high[g], 0), max(-low[g] - 1, 0))
        bits = 0
        while reach > 0:
            reach >>= 1
            bits += 1
        integer[e] = max(integer[e] - decay, bits - fraction[e])
        sign[e] = max(sign[e] - decay, 1.0 if low[g] < 0 else 0.0)


@njit(**_FLAGS)
def surrogate(key_width, value_width, by_key, by_value):  # type: ignore[no-untyped-def]
    """The LUT surrogate of `LUTDense.resources` and its derivatives by edge."""
    total = 0.0
    for e in range(key_width.size):
        m, n = key_width[e], value_width[e]
        phi = 2.0 ** (m - 5) if m >= 5 else m / 5.0
        total += n * (0.5 * phi + 1)
        by_key[e] = 0.5 * n * (_LN2 * phi if m >= 5 else 0.2) if m > 0 else 0.0
        by_value[e] = 0.5 * phi + 1 if n > 0 else 0.0
    return total
