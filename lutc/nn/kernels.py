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
def encode(x, group_in, scale, lo, hi, rounding, code, low, high):  # type: ignore[no-untyped-def]
    """Codes of every group: x [n_in, B], code int32 [G, B]; low, high int32 [G] take the extreme codes."""
    n = x.shape[1]
    for g in range(group_in.size):
        row = x[group_in[g]]
        out = code[g]
        s = scale[g]
        if rounding == NEAREST:
            for b in range(n):
                v = row[b] * s
                f = np.floor(v)
                out[b] = np.int32(min(max(np.int32(f) + np.int32(v - f >= 0.5), lo[g]), hi[g]))
        elif rounding == FLOOR:
            for b in range(n):
                out[b] = np.int32(min(max(np.int32(np.floor(row[b] * s)), lo[g]), hi[g]))
        else:
            for b in range(n):
                out[b] = np.int32(min(max(np.int32(np.rint(row[b] * s)), lo[g]), hi[g]))
        a = out[0]
        c = out[0]
        for b in range(n):
            a = min(a, out[b])
            c = max(c, out[b])
        low[g] = a
        high[g] = c


@njit(**_FLAGS)
def levels(code, low, high, scale, cap, index, start, x_at, count):  # type: ignore[no-untyped-def]
    """Number the points of every group: index [G, B] takes each sample's point, start [G+1] the offsets.

    A group with at most ``cap`` levels between its extreme codes uses its occupied levels as points, any other
    its samples.  x_at and count (float, by point) take the points' values and how many samples lie on each.
    """
    n = code.shape[1]
    total = np.uint64(0)
    start[0] = 0
    rank = np.empty(cap, np.int32)
    for g in range(code.shape[0]):
        step = 1 / scale[g]
        span = np.int64(high[g]) - np.int64(low[g]) + 1
        if span <= cap:
            for k in range(span):
                rank[k] = 0
            for b in range(n):
                rank[np.uint32(code[g, b] - low[g])] += 1
            used = 0
            for k in range(span):
                if rank[k] > 0:
                    x_at[total + np.uint64(used)] = (low[g] + k) * step
                    count[total + np.uint64(used)] = rank[k]
                    rank[k] = used
                    used += 1
            for b in range(n):
                index[g, b] = rank[np.uint32(code[g, b] - low[g])]
        else:
            used = n
            for b in range(n):
                x_at[total + np.uint64(b)] = code[g, b] * step
                count[total + np.uint64(b)] = 1
                index[g, b] = b
        padded = (used + LANES - 1) // LANES * LANES
        for k in range(used, padded):
            x_at[total + np.uint64(k)] = 0
            count[total + np.uint64(k)] = 0
        total += np.uint64(padded)
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
def mlp_backward(  # type: ignore[no-untyped-def]
    a, z, edge, group, start, at, x_at, w1, b1, w2, gt, act, gw1, gb1, gw2, gb2
):
    """Gradients of the weights of positions a..z from gt, the gradient at each point."""
    hidden = w1.shape[1]
    zero = x_at[0] * 0
    lane = np.empty((3, LANES), x_at.dtype)
    for q in range(a, z):
        e = edge[q]
        g = group[q]
        first = start[g]
        n = start[g + 1] - first
        total = zero
        for p in range(n):
            total += gt[at[q] + p]
        gb2[e] = total
        for k in range(hidden):
            u, c, v = w1[e, k], b1[e, k], w2[e, k]
            s0, s1, s2 = lane[0], lane[1], lane[2]
            for p in range(LANES):
                s0[p] = 0
                s1[p] = 0
                s2[p] = 0
            for block in range(0, n, LANES):
                xs = x_at[first + block : first + block + LANES]
                gs = gt[at[q] + block : at[q] + block + LANES]
                if act == TANH:
                    for p in range(LANES):
                        h = _tanh(u * xs[p] + c)
                        d = gs[p] - gs[p] * (h * h)
                        s0[p] += gs[p] * h
                        s1[p] += d
                        s2[p] += d * xs[p]
                else:
                    for p in range(LANES):
                        r = u * xs[p] + c
                        if r > 0:
                            s0[p] += gs[p] * r
                            s1[p] += gs[p]
                            s2[p] += gs[p] * xs[p]
            t0, t1, t2 = zero, zero, zero
            for p in range(LANES):
                t0 += s0[p]
                t1 += s1[p]
                t2 += s2[p]
            gw2[e, k] = t0
            gb1[e, k] = t1 * v
            gw1[e, k] = t2 * v


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
