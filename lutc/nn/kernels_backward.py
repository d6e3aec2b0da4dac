"""The backward half of :mod:`lutc.nn.kernels`; the same words and layout."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from .kernels import _FLAGS, LANES, TANH, _round, _tanh

_LN2 = math.log(2.0)


@njit(**_FLAGS)
def scatter(a, z, edge, group, at, index, grad, out):  # type: ignore[no-untyped-def]
    """out[point] = sum of grad [n_out, B] over the samples on the point, for positions a..z.

    Four positions are done at a time: their additions to memory do not wait for each other.
    """
    n_out, n = grad.shape
    for p in range(at[a], at[z]):
        out[p] = 0
    q = a
    while q + 3 < z:
        s0, s1 = out[at[q] : at[q + 1]], out[at[q + 1] : at[q + 2]]
        s2, s3 = out[at[q + 2] : at[q + 3]], out[at[q + 3] : at[q + 4]]
        r0, r1, r2, r3 = index[group[q]], index[group[q + 1]], index[group[q + 2]], index[group[q + 3]]
        g0, g1 = grad[edge[q] % n_out], grad[edge[q + 1] % n_out]
        g2, g3 = grad[edge[q + 2] % n_out], grad[edge[q + 3] % n_out]
        for b in range(n):
            s0[r0[b]] += g0[b]
            s1[r1[b]] += g1[b]
            s2[r2[b]] += g2[b]
            s3[r3[b]] += g3[b]
        q += 4
    while q < z:
        s0 = out[at[q] : at[q + 1]]
        r0 = index[group[q]]
        g0 = grad[edge[q] % n_out]
        for b in range(n):
            s0[r0[b]] += g0[b]
        q += 1


@njit(**_FLAGS)
def tables_backward(  # type: ignore[no-untyped-def]
    edge,
    group,
    start,
    at,
    count,
    t,
    slope,
    gain,
    bias,
    mean,
    inv_std,
    scale,
    limit,
    samples,
    batch_stats,
    grad,
    gain_grad,
    bias_grad,
    fraction_grad,
    integer_grad,
    per_sample,
    offset,
):
    """Back through the table quantiser and the batch norm, table by table.

    In: grad, the gradient summed over each point's samples.  Out: grad, that at the value t before the batch norm;
    gain_grad and bias_grad [n_out], at the normalised value's factor and addend; fraction_grad and integer_grad by
    edge (HGQ, arXiv 2405.00645: the quantisation error halves with each bit, so d value / d bits = ln 2 * error, and
    a saturated value follows its limit); per_sample and offset, so that one sample's gradient at the input is
    per_sample[point] * (gradient at the output) + offset[point].
    """
    n_out = gain.size
    mean_grad = np.zeros(n_out, t.dtype)
    mean_grad_hat = np.zeros(n_out, t.dtype)
    half = t.dtype.type(0.5)
    one = t.dtype.type(1.0)
    zero = t.dtype.type(0.0)
    for q in range(edge.size):
        e = edge[q]
        o = e % n_out
        a, c, s, m = gain[o], bias[o], scale[e], limit[e]
        r = one / s
        mu, iv = mean[o], inv_std[o]
        total, total_hat, error, top = zero, zero, zero, zero
        ts = t[at[q] : at[q + 1]]
        gs = grad[at[q] : at[q + 1]]
        ps = per_sample[at[q] : at[q + 1]]
        for p in range(ts.size):
            y = a * ts[p] + c
            v = y * s
            f = np.floor(v)
            f += one if v - f >= half else zero
            inside = one if (f <= m) and (f >= -m) else zero
            g = gs[p] * inside
            ps[p] = inside
            top += (gs[p] - g) * (one if f > zero else -one)
            error += g * (y - f * r)
            total += g
            total_hat += g * ((ts[p] - mu) * iv)
        bias_grad[o] += total
        gain_grad[o] += total_hat
        fraction_grad[e] = _LN2 * (error + top * r)
        integer_grad[e] = _LN2 * (top * (m + one) * r)
    if batch_stats:
        share = n_out / (samples * edge.size)
        for o in range(n_out):
            mean_grad[o] = bias_grad[o] * share
            mean_grad_hat[o] = gain_grad[o] * share
    for q in range(edge.size):
        o = edge[q] % n_out
        a = gain[o]
        mu, iv = mean[o], inv_std[o]
        g0, g1 = mean_grad[o], mean_grad_hat[o]
        first = start[group[q]]
        n = at[q + 1] - at[q]
        ts = t[at[q] : at[q] + n]
        gs = grad[at[q] : at[q] + n]
        ps = per_sample[at[q] : at[q] + n]
        ds = slope[at[q] : at[q] + n]
        fs = offset[at[q] : at[q] + n]
        cs = count[first : first + n]
        for p in range(n):
            shift = g0 + ((ts[p] - mu) * iv) * g1
            inside = ps[p]
            gs[p] = a * (gs[p] * inside - cs[p] * shift)
            ps[p] = a * inside * ds[p]
            fs[p] = -a * shift * ds[p]


@njit(**_FLAGS)
def _through_table(grad, slope, offset, with_offset, row, error, gx, need_x):  # type: ignore[no-untyped-def]
    """Add v = grad * slope[row] (+ offset[row]) to gx if ``need_x``; return the sum of v * error."""
    total = error.dtype.type(0)
    if with_offset:
        if need_x:
            for b in range(row.size):
                v = grad[b] * slope[row[b]] + offset[row[b]]
                gx[b] += v
                total += v * error[b]
        else:
            for b in range(row.size):
                total += (grad[b] * slope[row[b]] + offset[row[b]]) * error[b]
    elif need_x:
        for b in range(row.size):
            v = grad[b] * slope[row[b]]
            gx[b] += v
            total += v * error[b]
    else:
        for b in range(row.size):
            total += grad[b] * slope[row[b]] * error[b]
    return total


@njit(**_FLAGS)
def input_backward(  # type: ignore[no-untyped-def]
    a,
    z,
    first_group,
    edges_of,
    edge,
    start,
    at,
    index,
    x,
    x_at,
    grad,
    per_sample,
    offset,
    has_offset,
    need_x,
    gx,
    fraction_grad,
):
    """Gradients at the layer's input and at the fraction bits of a quantiser that does not saturate, inputs a..z.

    x, gx [n_in, B], the latter only filled if ``need_x``; fraction_grad by edge.  ``offset`` depends on a sample
    by its point alone: in groups with many edges it is added up over them before the samples read it, and meets
    the rounding errors as sums over each point.
    """
    n_out, n = grad.shape
    block = 2048
    error = np.empty(block, x.dtype)
    zero = x.dtype.type(0)
    for i in range(a, z):
        if need_x:
            for b in range(n):
                gx[i, b] = 0
        for g in range(first_group[i], first_group[i + 1]):
            q0, q1 = edges_of[g], edges_of[g + 1]
            points = at[q0 + 1] - at[q0]
            levels = x_at[start[g] : start[g] + points]
            for q in range(q0, q1):
                fraction_grad[edge[q]] = 0
            together = has_offset and q1 - q0 > 4
            common = np.zeros(points, x.dtype)
            errors = np.zeros((4, points), x.dtype)  # four, for the reason that scatter has
            if together:
                for q in range(q0, q1):
                    fs = offset[at[q] : at[q + 1]]
                    for p in range(points):
                        common[p] += fs[p]
            for b0 in range(0, n, block):
                b1 = min(b0 + block, n)
                xs = x[i, b0:b1]
                gs = gx[i, b0:b1] if need_x else xs
                row = index[g, b0:b1]
                es = error[: b1 - b0]
                for b in range(xs.size):
                    es[b] = xs[b] - levels[row[b]]
                if together:
                    for b in range(0, xs.size - 3, 4):
                        errors[0, row[b]] += es[b]
                        errors[1, row[b + 1]] += es[b + 1]
                        errors[2, row[b + 2]] += es[b + 2]
                        errors[3, row[b + 3]] += es[b + 3]
                    for b in range(xs.size // 4 * 4, xs.size):
                        errors[0, row[b]] += es[b]
                    if need_x:
                        for b in range(xs.size):
                            gs[b] += common[row[b]]
                for q in range(q0, q1):
                    ps, fs = per_sample[at[q] : at[q + 1]], offset[at[q] : at[q + 1]]
                    go = grad[edge[q] % n_out, b0:b1]
                    alone = has_offset and not together
                    fraction_grad[edge[q]] += _through_table(go, ps, fs, alone, row, es, gs, need_x)
            for q in range(q0, q1):
                t = zero
                if together:
                    fs = offset[at[q] : at[q + 1]]
                    for p in range(points):
                        t += fs[p] * (errors[0, p] + errors[1, p] + errors[2, p] + errors[3, p])
                fraction_grad[edge[q]] = _LN2 * (fraction_grad[edge[q]] + t)


@njit(**_FLAGS)
def input_backward_saturating(  # type: ignore[no-untyped-def]
    a,
    z,
    first_group,
    edges_of,
    edge,
    start,
    at,
    index,
    x,
    x_at,
    scale,
    lo,
    hi,
    rounding,
    rails,
    grad,
    per_sample,
    offset,
    gx,
    fraction_grad,
    integer_grad,
):
    """The same for a quantiser that saturates; a sample outside its range follows the limit it is held at.

    lo, hi [G]: the limits of the codes; rails [3, G]: 2**integer, and the derivatives by integer and fraction bits
    of the lower limit, over ln 2.
    """
    n_out, n = grad.shape
    error = np.empty(n, x.dtype)
    inside = np.empty(n, x.dtype)
    rail = np.empty(n, x.dtype)
    for i in range(a, z):
        for b in range(n):
            gx[i, b] = 0
        for g in range(first_group[i], first_group[i + 1]):
            s = scale[g]
            r = 1 / s
            row = index[g]
            for b in range(n):
                v = _round(x[i, b] * s, rounding)
                inside[b] = 1
                rail[b] = 0
                error[b] = x[i, b] - x_at[start[g] + row[b]]
                if v > hi[g]:
                    inside[b], rail[b], error[b] = 0, rails[0, g], r
                elif v < lo[g]:
                    inside[b], rail[b], error[b] = 0, rails[1, g], rails[2, g]
            for q in range(edges_of[g], edges_of[g + 1]):
                ps = per_sample[at[q] : at[q + 1]]
                fs = offset[at[q] : at[q + 1]]
                gs = grad[edge[q] % n_out]
                t0 = x.dtype.type(0)
                t1 = x.dtype.type(0)
                for b in range(n):
                    v = gs[b] * ps[row[b]] + fs[row[b]]
                    gx[i, b] += v * inside[b]
                    t0 += v * error[b]
                    t1 += v * rail[b]
                fraction_grad[edge[q]] = _LN2 * t0
                integer_grad[edge[q]] = _LN2 * t1


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
        n = at[q + 1] - at[q]
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
