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

_FLAGS: dict[str, Any] = {
    "nogil": True,
    "cache": True,
    "error_model": "numpy",
    "fastmath": {"contract", "reassoc", "nsz", "arcp"},
}
_LN2 = math.log(2.0)

# tanh(x) = x P(x^2) / Q(x^2) on |x| <= 9.02, fitted by weighted least squares with Lawson's reweighting;
# relative error 2.2e-8 before rounding to float32, beyond 9.02 tanh is 1 to float32.
_CLAMP = np.float32(9.02)
_P0, _P1, _P2, _P3, _P4 = (
    np.float32(c)
    for c in (9.999999792e-01, 1.337970214e-01, 3.494012861e-03, 2.058300805e-05, 1.331821797e-08)
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
def points(  # type: ignore[no-untyped-def]
    a, z, x, owner, scale, lo, hi, rounding, cap, index, room, x_at, count, size, low, high
):
    """Encode the batch x [n_in, B] for groups a..z and number each group's points.

    A group with at most ``cap`` levels between its extreme codes uses its levels as points, without the unused ones
    if they are many; any other uses its samples.  index [G, B] takes each sample's point; group g's points start at
    g * room, where x_at and count (float) take their values and how many samples lie on each; size [G] takes how
    many there are, padding included; low and high [G] the extreme codes.  lo, hi [G]: limits of the codes, in x's
    float type and at most 2**30 in size.
    """
    n = x.shape[1]
    half, one, zero = x.dtype.type(0.5), x.dtype.type(1.0), x.dtype.type(0.0)
    codes = np.empty(n, np.int32)
    tally = np.empty((4, cap), np.int32)  # four, so that equal codes in a row do not wait for each other
    for g in range(a, z):
        row = x[owner[g]]
        s, bottom, top = scale[g], lo[g], hi[g]
        if rounding == NEAREST:
            for b in range(n):
                v = row[b] * s
                f = np.floor(v)
                f += one if v - f >= half else zero
                codes[b] = np.int32(min(max(f, bottom), top))
        elif rounding == FLOOR:
            for b in range(n):
                codes[b] = np.int32(min(max(np.floor(row[b] * s), bottom), top))
        else:
            for b in range(n):
                codes[b] = np.int32(min(max(np.rint(row[b] * s), bottom), top))
        least = codes[0]
        most = codes[0]
        for b in range(n):
            least = min(least, codes[b])
            most = max(most, codes[b])
        low[g] = least
        high[g] = most
        step = one / s
        span = np.int64(most) - np.int64(least) + 1
        out = index[g]
        xs = x_at[g * room : (g + 1) * room]
        cs = count[g * room : (g + 1) * room]
        if span <= cap:
            for j in range(4):
                for k in range(span):
                    tally[j, k] = 0
            for b in range(n):
                codes[b] -= least
            for b in range(0, n - 3, 4):
                tally[0, np.uint32(codes[b])] += 1
                tally[1, np.uint32(codes[b + 1])] += 1
                tally[2, np.uint32(codes[b + 2])] += 1
                tally[3, np.uint32(codes[b + 3])] += 1
            for b in range(n // 4 * 4, n):
                tally[0, np.uint32(codes[b])] += 1
            used = 0
            compact = span > 4 * LANES
            for k in range(span):
                c = tally[0, k] + tally[1, k] + tally[2, k] + tally[3, k]
                if c > 0 or not compact:
                    xs[used] = (least + k) * step
                    cs[used] = c
                    tally[0, k] = used
                    used += 1
            if compact:
                for b in range(n):
                    out[b] = tally[0, np.uint32(codes[b])]
            else:
                for b in range(n):
                    out[b] = codes[b]
        else:
            used = n
            for b in range(n):
                xs[b] = codes[b] * step
                cs[b] = 1
                out[b] = b
        padded = (used + LANES - 1) // LANES * LANES
        for k in range(used, padded):
            xs[k] = 0
            cs[k] = 0
        size[g] = padded


@njit(**_FLAGS)
def mlp(a, z, edge, group, start, at, x_at, w1, b1, w2, b2, act, t, slope):  # type: ignore[no-untyped-def]
    """One-input, one-hidden-layer networks of positions a..z at their points: values t and derivatives slope."""
    hidden = w1.shape[1]
    for q in range(a, z):
        e = edge[q]
        g = group[q]
        first = start[g]
        n = at[q + 1] - at[q]
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
    share = n_out / (samples * edge.size)
    zero = t.dtype.type(0)
    for q in range(edge.size):
        first = start[group[q]]
        n = at[q + 1] - at[q]
        cs = count[first : first + n]
        ts = t[at[q] : at[q] + n]
        total = zero
        for p in range(n):
            total += cs[p] * ts[p]
        mean[edge[q] % n_out] += total * share
    for q in range(edge.size):
        first = start[group[q]]
        n = at[q + 1] - at[q]
        cs = count[first : first + n]
        ts = t[at[q] : at[q] + n]
        m = t.dtype.type(mean[edge[q] % n_out])
        total = zero
        for p in range(n):
            d = ts[p] - m
            total += cs[p] * (d * d)
        var[edge[q] % n_out] += total * share
    return mean, var


@njit(**_FLAGS)
def tables(edge, at, t, gain, bias, scale, limit, out):  # type: ignore[no-untyped-def]
    """out = gain * t + bias, rounded half up and saturated symmetrically; scale and limit (largest code) by edge."""
    n_out = gain.size
    half = t.dtype.type(0.5)
    one = t.dtype.type(1.0)
    zero = t.dtype.type(0.0)
    for q in range(edge.size):
        e = edge[q]
        a, c, s, m = gain[e % n_out], bias[e % n_out], scale[e], limit[e]
        r = one / s
        ts = t[at[q] : at[q + 1]]
        os = out[at[q] : at[q + 1]]
        for p in range(ts.size):
            v = (a * ts[p] + c) * s
            f = np.floor(v)
            f += one if v - f >= half else zero
            os[p] = min(max(f, -m), m) * r


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


@njit(**_FLAGS)
def plain(sign, integer, precision, tracks, by_total, max_bits):  # type: ignore[no-untyped-def]
    """`Quantizer.bits` on flat arrays: sign, integer and fraction bits, [3, E]."""
    out = np.empty((3, sign.size), sign.dtype)
    for e in range(sign.size):
        k = np.ceil(sign[e])
        i = np.ceil(integer[e]) if tracks else np.rint(integer[e])
        if by_total:
            f = np.rint(min(max(precision[e], 0), max_bits)) - k - i
        else:
            f = min(np.rint(precision[e]), max_bits - k - i)
        out[0, e], out[1, e], out[2, e] = k, i, f
    return out
