"""Compiled inner loops of training on the grid (numba).

Every kernel works on flat arrays that :mod:`lutc.nn.grid` lays out, in records of `lutc.nn.kernel_records`.  The words
used here:

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
NONE, GIVEN, BATCH = 0, 1, 2  # whose statistics a batch norm takes

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
def points(a, z, x, quantised, cap, room, found):  # type: ignore[no-untyped-def]
    """Encode the batch x [n_in, B] for groups a..z (`Codes`) and number each group's points (``found``: `Numbering`).

    A group with at most ``cap`` levels between its extreme codes uses its levels as points, without the unused ones
    if they are many; any other uses its samples.  Every group has ``room`` points.
    """
    owner, scale, lo, hi, rounding = quantised
    index, x_at, count, size, low, high = found
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
def offsets(size, group, at):  # type: ignore[no-untyped-def]
    """at [E + 1]: where each position's table starts, from the groups' sizes; returns the number of points."""
    at[0] = 0
    for q in range(group.size):
        at[q + 1] = at[q] + size[group[q]]
    return at[group.size]


@njit(inline="always", **_FLAGS)
def _network(xs_all, u_all, c_all, v_all, bias, act, ts_all, ds_all):  # type: ignore[no-untyped-def]
    """A one-input network of one hidden layer (u, c, v [hidden]) at points xs: values ts, derivatives ds."""
    for block in range(0, xs_all.size, LANES):
        xs = xs_all[block : block + LANES]
        ts = ts_all[block : block + LANES]
        ds = ds_all[block : block + LANES]
        for p in range(LANES):
            ts[p] = bias
            ds[p] = 0
        for k in range(u_all.size):
            u, c, v = u_all[k], c_all[k], v_all[k]
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


@njit(inline="always", **_FLAGS)
def _moments(o, n_out, points, t, samples):  # type: ignore[no-untyped-def]
    """Mean and biased variance of output o's table values over samples and inputs, from level counts."""
    place, group, start, at, _, _, count = points
    share = n_out / (samples * place.size)
    zero = t.dtype.type(0)
    mean, var = 0.0, 0.0
    for e in range(o, place.size, n_out):
        q = place[e]
        ts = t[at[q] : at[q + 1]]
        cs = count[start[group[q]] : start[group[q]] + ts.size]
        total = zero
        for p in range(ts.size):
            total += cs[p] * ts[p]
        mean += total * share
    m = t.dtype.type(mean)
    for e in range(o, place.size, n_out):
        q = place[e]
        ts = t[at[q] : at[q + 1]]
        cs = count[start[group[q]] : start[group[q]] + ts.size]
        total = zero
        for p in range(ts.size):
            d = ts[p] - m
            total += cs[p] * (d * d)
        var += total * share
    return mean, var


@njit(inline="always", **_FLAGS)
def _quantised(ts, a, c, s, m, out):  # type: ignore[no-untyped-def]
    """out = a * ts + c rounded half up to multiples of 1 / s and saturated at the codes -m and m."""
    half, one, zero = ts.dtype.type(0.5), ts.dtype.type(1.0), ts.dtype.type(0.0)
    r = one / s
    for p in range(ts.size):
        v = (a * ts[p] + c) * s
        f = np.floor(v)
        f += one if v - f >= half else zero
        out[p] = min(max(f, -m), m) * r


@njit(inline="always", **_FLAGS)
def _gather(o, n_out, points, table, out):  # type: ignore[no-untyped-def]
    """out[o, :] = sum over inputs of each sample's table entry; four inputs at a time, a block of samples at a time."""
    place, group, _, at, index, _, _ = points
    n = out.shape[1]
    edges = place.size
    block = 2048
    for b0 in range(0, n, block):
        b1 = min(b0 + block, n)
        acc = out[o, b0:b1]
        for b in range(acc.size):
            acc[b] = 0
        e = o
        while e + 3 * n_out < edges:
            q0, q1, q2, q3 = place[e], place[e + n_out], place[e + 2 * n_out], place[e + 3 * n_out]
            r0, r1, r2, r3 = index[group[q0]], index[group[q1]], index[group[q2]], index[group[q3]]
            t0, t1 = table[at[q0] : at[q0 + 1]], table[at[q1] : at[q1 + 1]]
            t2, t3 = table[at[q2] : at[q2 + 1]], table[at[q3] : at[q3 + 1]]
            for b in range(acc.size):
                k = b0 + b
                acc[b] += (t0[r0[k]] + t1[r1[k]]) + (t2[r2[k]] + t3[r3[k]])
            e += 4 * n_out
        while e < edges:
            q = place[e]
            row = index[group[q], b0:b1]
            tab = table[at[q] : at[q + 1]]
            for b in range(acc.size):
                acc[b] += tab[row[b]]
            e += n_out


@njit(**_FLAGS)
def outputs(a, z, points, networks, norm, table_bits, values, steps, table, out):  # type: ignore[no-untyped-def]
    """The layer's outputs a..z: networks, batch norm, table quantiser, and the sum over inputs, out [n_out, B].

    Compiled networks give the values, else these are there already. The batch norm's mean and var take the statistics
    in use, and ``steps`` what the way back needs of the table quantiser, whose `formats` are table_bits [3, E].
    """
    place, group, start, at, _, x_at, _ = points
    compiled, act, w1, b1, w2, b2 = networks
    kind, momentum, eps, divisor, running_mean, running_var, gamma, beta, mean, var = norm
    t, slope = values
    scale, limit, gain, bias = steps
    n_out, samples = out.shape
    for o in range(a, z):
        for e in range(o, place.size, n_out):
            q = place[e]
            scale[e] = np.exp2(table_bits[2, e])
            limit[e] = max(np.floor(np.exp2(table_bits[1, e] + table_bits[2, e])) - 1, 0)
            if compiled:
                first = start[group[q]]
                xs = x_at[first : first + at[q + 1] - at[q]]
                _network(xs, w1[e], b1[e], w2[e], b2[e], act, t[at[q] : at[q + 1]], slope[at[q] : at[q + 1]])
        if kind == NONE:
            mean[o], var[o], gain[o], bias[o] = 0, 1, 1, 0
        else:
            if kind == BATCH:
                m, v = _moments(o, n_out, points, t, samples)
                running_mean[o] += momentum * (m - running_mean[o])
                running_var[o] += momentum * (v - running_var[o])
            else:
                m, v = np.float64(running_mean[o]), np.float64(running_var[o])
            factor = gamma[o] / (np.sqrt(v + eps) * divisor)
            mean[o], var[o], gain[o], bias[o] = m, v, factor, beta[o] / divisor - m * factor
        for e in range(o, place.size, n_out):
            q = place[e]
            here = slice(at[q], at[q + 1])
            _quantised(t[here], gain[o], bias[o], scale[e], limit[e], table[here])
        _gather(o, n_out, points, table, out)


@njit(**_FLAGS)
def look_up(a, z, x, keys, table, out):  # type: ignore[no-untyped-def]
    """The layer in fixed point, float64, for outputs a..z: x [n_in, B], the flat table, out [n_out, B]."""
    scale, lo, entries, at, rounding, wrap = keys
    n_out, n = out.shape
    block = 2048
    far = 2.0**62
    for b0 in range(0, n, block):
        b1 = min(b0 + block, n)
        for o in range(a, z):
            acc = out[o, b0:b1]
            for b in range(acc.size):
                acc[b] = 0.0
            for i in range(x.shape[0]):
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
def formats(sign, integer, precision, tracks, by_total, max_bits, project):  # type: ignore[no-untyped-def]
    """`Quantizer.bits` on flat arrays: sign, integer and fraction bits, [3, E]; with ``project``, that too."""
    out = np.empty((3, sign.size), sign.dtype)
    for e in range(sign.size):
        k = np.ceil(sign[e])
        i = np.ceil(integer[e]) if tracks else np.rint(integer[e])
        if project:
            if by_total:
                precision[e] = min(max(precision[e], 0), max_bits)
            else:
                precision[e] = min(precision[e], max_bits - k - np.ceil(integer[e]))
        if by_total:
            f = np.rint(min(max(precision[e], 0), max_bits)) - k - i
        else:
            f = min(np.rint(precision[e]), max_bits - k - i)
        out[0, e], out[1, e], out[2, e] = k, i, f
    return out


@njit(**_FLAGS)
def surrogate(keys, values, by_key, by_value):  # type: ignore[no-untyped-def]
    """The LUT surrogate of `LUTDense.resources` and its derivatives by edge, from `formats` [3, E]."""
    total = 0.0
    for e in range(by_key.size):
        m = max(keys[0, e] + keys[1, e] + keys[2, e], 0)
        n = max(values[0, e] + values[1, e] + values[2, e], 0)
        phi = np.exp2(m - 5) if m >= 5 else m / 5
        total += n * (0.5 * phi + 1)
        by_key[e] = 0.5 * n * (_LN2 * phi if m >= 5 else 0.2) if m > 0 else 0.0
        by_value[e] = 0.5 * phi + 1 if n > 0 else 0.0
    return total
