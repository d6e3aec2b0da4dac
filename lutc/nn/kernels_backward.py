"""The backward half of :mod:`lutc.nn.kernels`; the same words and layout."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from .kernels import _FLAGS, LANES, TANH, _round, _tanh

_LN2 = math.log(2.0)


@njit(**_FLAGS)
def scatter(a, z, edges_of, edge, group, at, index, grad, out):  # type: ignore[no-untyped-def]
    """out[point] = sum of grad [n_out, B] over the samples on the point, for groups a..z.

    Four edges of a group are done at a time: their additions to memory do not wait for each other.
    """
    n_out, n = grad.shape
    for g in range(a, z):
        row = index[g]
        q = edges_of[g]
        end = edges_of[g + 1]
        for p in range(at[q], at[end]):
            out[p] = 0
        while q + 3 < end:
            s0 = out[at[q] : at[q + 1]]
            s1 = out[at[q + 1] : at[q + 2]]
            s2 = out[at[q + 2] : at[q + 3]]
            s3 = out[at[q + 3] : at[q + 4]]
            g0 = grad[edge[q] % n_out]
            g1 = grad[edge[q + 1] % n_out]
            g2 = grad[edge[q + 2] % n_out]
            g3 = grad[edge[q + 3] % n_out]
            for b in range(n):
                k = row[b]
                s0[k] += g0[b]
                s1[k] += g1[b]
                s2[k] += g2[b]
                s3[k] += g3[b]
            q += 4
        while q < end:
            s0 = out[at[q] : at[q + 1]]
            g0 = grad[edge[q] % n_out]
            for b in range(n):
                s0[row[b]] += g0[b]
            q += 1


@njit(**_FLAGS)
def tables_backward(  # type: ignore[no-untyped-def]
    edge, group, start, at, count, t, slope, gain, bias, mean, inv_std, scale, limit, rounding, samples, batch_stats,
    grad, gain_grad, bias_grad, fraction_grad, integer_grad, per_sample, offset,
):
    """Back through the table quantiser and the batch norm, table by table.

    In: grad, the gradient summed over each point's samples.  Out: grad, that at the value t before the batch norm;
    gain_grad, bias_grad [n_out], of y = gain * (t - mean) * inv_std + const where `gain` here is the whole slope
    (gain_grad is returned for the normalised value); fraction_grad, integer_grad by edge (HGQ, arXiv 2405.00645:
    the quantisation error halves with each bit, so d value / d bits = ln 2 * error, and a saturated value follows
    its limit); per_sample and offset, so that one sample's gradient at the input is
    per_sample[point] * (gradient at the output) + offset[point].
    """
    n_out = gain.size
    n_in = edge.size // n_out
    mean_grad = np.zeros(n_out)
    mean_grad_hat = np.zeros(n_out)
    for q in range(edge.size):
        e = edge[q]
        o = e % n_out
        a, c, s, m = gain[o], bias[o], scale[e], limit[e]
        r = 1 / s
        mu, iv = mean[o], inv_std[o]
        total = 0.0
        total_hat = 0.0
        error = 0.0
        edge_top = 0.0
        for p in range(at[q], at[q + 1]):
            y = a * t[p] + c
            code = _round(y * s, rounding)
            if code > m:
                edge_top += grad[p]
                per_sample[p] = 0
            elif code < -m:
                edge_top -= grad[p]
                per_sample[p] = 0
            else:
                error += grad[p] * (y - code * r)
                total += grad[p]
                total_hat += grad[p] * ((t[p] - mu) * iv)
                per_sample[p] = 1
        bias_grad[o] += total
        gain_grad[o] += total_hat
        fraction_grad[e] = _LN2 * (error + edge_top * r)
        integer_grad[e] = _LN2 * (edge_top * (m + 1) * r)
    if batch_stats:
        for o in range(n_out):
            mean_grad[o] = bias_grad[o] / (samples * n_in)
            mean_grad_hat[o] = gain_grad[o] / (samples * n_in)
    for q in range(edge.size):
        e = edge[q]
        o = e % n_out
        a = gain[o]
        mu, iv = mean[o], inv_std[o]
        g0, g1 = mean_grad[o], mean_grad_hat[o]
        first = start[group[q]]
        for p in range(at[q], at[q + 1]):
            shift = g0 + ((t[p] - mu) * iv) * g1
            inside = per_sample[p]
            grad[p] = a * (grad[p] * inside - count[first + (p - at[q])] * shift)
            per_sample[p] = a * inside * slope[p]
            offset[p] = -a * shift * slope[p]


@njit(**_FLAGS)
def input_backward(  # type: ignore[no-untyped-def]
    a, z, first_group, edges_of, edge, at, index, x, code, scale, lo, hi, rounding, saturating, integer_unit,
    grad, per_sample, offset, has_offset, gx, fraction_grad, integer_grad,
):
    """Gradients at the layer's input and at the input bit widths, for inputs a..z.

    x, gx [n_in, B]; fraction_grad and integer_grad by edge, the latter only filled when ``saturating``.
    integer_unit [G] is 2**integer, the value whose change a saturated sample follows.
    """
    n_out, n = grad.shape
    block = 2048
    error = np.empty(block, x.dtype)
    inside = np.empty(block, x.dtype)
    rail = np.empty(block, x.dtype)
    zero = x.dtype.type(0)
    for i in range(a, z):
        for g in range(first_group[i], first_group[i + 1]):
            for q in range(edges_of[g], edges_of[g + 1]):
                fraction_grad[edge[q]] = 0
                integer_grad[edge[q]] = 0
        for b0 in range(0, n, block):
            b1 = min(b0 + block, n)
            xs = x[i, b0:b1]
            gs = gx[i, b0:b1]
            for b in range(gs.size):
                gs[b] = 0
            for g in range(first_group[i], first_group[i + 1]):
                cs = code[g, b0:b1]
                row = index[g, b0:b1]
                s = scale[g]
                r = 1 / s
                for b in range(xs.size):
                    error[b] = xs[b] - cs[b] * r
                if saturating:
                    for b in range(xs.size):
                        v = _round(xs[b] * s, rounding)
                        inside[b] = 1
                        rail[b] = 0
                        if v > hi[g]:
                            inside[b] = 0
                            rail[b] = integer_unit[g]
                            error[b] = r
                        elif v < lo[g]:
                            inside[b] = 0
                            rail[b] = -integer_unit[g]
                            error[b] = 0
                            if lo[g] == -hi[g]:
                                error[b] = -r
                            if lo[g] == 0:
                                rail[b] = 0
                                error[b] = 0
                q = edges_of[g]
                end = edges_of[g + 1]
                if not saturating:
                    while q + 1 < end:
                        p0 = per_sample[at[q] : at[q + 1]]
                        p1 = per_sample[at[q + 1] : at[q + 2]]
                        f0 = offset[at[q] : at[q + 1]]
                        f1 = offset[at[q + 1] : at[q + 2]]
                        g0 = grad[edge[q] % n_out, b0:b1]
                        g1 = grad[edge[q + 1] % n_out, b0:b1]
                        t0 = zero
                        t1 = zero
                        if has_offset:
                            for b in range(xs.size):
                                v0 = g0[b] * p0[row[b]] + f0[row[b]]
                                v1 = g1[b] * p1[row[b]] + f1[row[b]]
                                gs[b] += v0 + v1
                                t0 += v0 * error[b]
                                t1 += v1 * error[b]
                        else:
                            for b in range(xs.size):
                                v0 = g0[b] * p0[row[b]]
                                v1 = g1[b] * p1[row[b]]
                                gs[b] += v0 + v1
                                t0 += v0 * error[b]
                                t1 += v1 * error[b]
                        fraction_grad[edge[q]] += _LN2 * t0
                        fraction_grad[edge[q + 1]] += _LN2 * t1
                        q += 2
                while q < end:
                    p0 = per_sample[at[q] : at[q + 1]]
                    f0 = offset[at[q] : at[q + 1]]
                    g0 = grad[edge[q] % n_out, b0:b1]
                    t0 = zero
                    t1 = zero
                    for b in range(xs.size):
                        v0 = g0[b] * p0[row[b]] + f0[row[b]]
                        t0 += v0 * error[b]
                        if saturating:
                            gs[b] += v0 * inside[b]
                            t1 += v0 * rail[b]
                        else:
                            gs[b] += v0
                    fraction_grad[edge[q]] += _LN2 * t0
                    if saturating:
                        integer_grad[edge[q]] += _LN2 * t1
                    q += 1


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
