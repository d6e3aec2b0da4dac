"""The backward half of :mod:`lutc.nn.kernels`; the same words and layout."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from .kernels import _FLAGS, BATCH, LANES, TANH, _round, _tanh

_LN2 = math.log(2.0)


@njit(inline="always", **_FLAGS)
def _scatter(o, n_out, points, grad, out):  # type: ignore[no-untyped-def]
    """out[point] = sum of grad [B] over the samples on the point, for all tables of output o.

    Four tables are done at a time: their additions to memory do not wait for each other.
    """
    place, group, _, at, index, _, _ = points
    for e in range(o, place.size, n_out):
        q = place[e]
        for p in range(at[q], at[q + 1]):
            out[p] = 0
    e = o
    while e + 3 * n_out < place.size:
        q0, q1, q2, q3 = place[e], place[e + n_out], place[e + 2 * n_out], place[e + 3 * n_out]
        s0, s1 = out[at[q0] : at[q0 + 1]], out[at[q1] : at[q1 + 1]]
        s2, s3 = out[at[q2] : at[q2 + 1]], out[at[q3] : at[q3 + 1]]
        r0, r1, r2, r3 = index[group[q0]], index[group[q1]], index[group[q2]], index[group[q3]]
        for b in range(grad.size):
            g = grad[b]
            s0[r0[b]] += g
            s1[r1[b]] += g
            s2[r2[b]] += g
            s3[r3[b]] += g
        e += 4 * n_out
    while e < place.size:
        q = place[e]
        s0, r0 = out[at[q] : at[q + 1]], index[group[q]]
        for b in range(grad.size):
            s0[r0[b]] += grad[b]
        e += n_out


@njit(inline="always", **_FLAGS)
def _table_backward(ts, a, c, s, m, mu, iv, gs, ps):  # type: ignore[no-untyped-def]
    """Back through a table's quantiser: ps takes 1 where it does not saturate, else 0.

    Returns the gradients, summed over the table, at the normalised value, times that value, and at the fraction and
    integer bits (HGQ, arXiv 2405.00645: the quantisation error halves with each bit, so d value / d bits = ln 2 *
    error, and a saturated value follows its limit).
    """
    half, one, zero = ts.dtype.type(0.5), ts.dtype.type(1.0), ts.dtype.type(0.0)
    r = one / s
    total, total_hat, error, top = zero, zero, zero, zero
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
    return total, total_hat, _LN2 * (error + top * r), _LN2 * (top * (m + one) * r)


@njit(inline="always", **_FLAGS)
def _norm_backward(ts, ds, cs, a, mu, iv, by_mean, by_var, gs, ps, fs):  # type: ignore[no-untyped-def]
    """Back through the batch norm of a table: from gs at the normalised values to gs at the values.

    ps and fs: one sample's gradient at the input is ps[point] * (gradient at the output) + fs[point].
    """
    for p in range(ts.size):
        shift = by_mean + ((ts[p] - mu) * iv) * by_var
        inside = ps[p]
        gs[p] = a * (gs[p] * inside - cs[p] * shift)
        ps[p] = a * inside * ds[p]
        fs[p] = -a * shift * ds[p]


@njit(inline="always", **_FLAGS)
def _network_backward(xs_all, u_all, c_all, v_all, act, gs_all, gu, gc, gv):  # type: ignore[no-untyped-def]
    """Gradients at the weights of `kernels._network` from gs, those at its values."""
    zero = xs_all.dtype.type(0)
    for k in range(u_all.size):
        u, c, v = u_all[k], c_all[k], v_all[k]
        t0, t1, t2 = zero, zero, zero
        for block in range(0, xs_all.size, LANES):
            xs = xs_all[block : block + LANES]
            gs = gs_all[block : block + LANES]
            if act == TANH:
                for p in range(LANES):
                    h = _tanh(u * xs[p] + c)
                    d = gs[p] - gs[p] * (h * h)
                    t0 += gs[p] * h
                    t1 += d
                    t2 += d * xs[p]
            else:
                for p in range(LANES):
                    r = u * xs[p] + c
                    if r > 0:
                        t0 += gs[p] * r
                        t1 += gs[p]
                        t2 += gs[p] * xs[p]
        gv[k] = t0
        gc[k] = t1 * v
        gu[k] = t2 * v


@njit(**_FLAGS)
def outputs_backward(a, z, points, networks, norm, values, steps, grad_out, found):  # type: ignore[no-untyped-def]
    """`kernels.outputs` backward, for outputs a..z, from grad_out [n_out, B]; ``found`` takes the `Gradients`."""
    place, group, start, at, _, x_at, count = points
    compiled, act, w1, b1, w2, _ = networks
    kind, _, eps, divisor, _, _, _, _, mean, var = norm
    t, slope = values
    scale, limit, gain, bias = steps
    grad, per_sample, offset, affine_grad, fraction_grad, integer_grad, gw1, gb1, gw2, gb2 = found
    n_out, samples = grad_out.shape
    share = n_out / (samples * place.size)
    for o in range(a, z):
        _scatter(o, n_out, points, grad_out[o], grad)
        by_factor, by_addend = 0.0, 0.0
        mu, iv = t.dtype.type(mean[o]), t.dtype.type(1 / np.sqrt(var[o] + eps))
        for e in range(o, place.size, n_out):
            q = place[e]
            here = slice(at[q], at[q + 1])
            total, total_hat, fraction_grad[e], integer_grad[e] = _table_backward(
                t[here], gain[o], bias[o], scale[e], limit[e], mu, iv, grad[here], per_sample[here]
            )
            by_addend += total
            by_factor += total_hat
        affine_grad[0, o], affine_grad[1, o] = by_factor / divisor, by_addend / divisor
        by_mean, by_var = t.dtype.type(0), t.dtype.type(0)
        if kind == BATCH:
            by_mean, by_var = t.dtype.type(by_addend * share), t.dtype.type(by_factor * share)
        for e in range(o, place.size, n_out):
            q = place[e]
            here = slice(at[q], at[q + 1])
            first = start[group[q]]
            size = at[q + 1] - at[q]
            _norm_backward(
                t[here], slope[here], count[first : first + size], gain[o], mu, iv, by_mean, by_var, grad[here],
                per_sample[here], offset[here],
            )  # fmt: skip
            if compiled:
                gs = grad[here]
                total = gs[0] * 0
                for p in range(size):
                    total += gs[p]
                gb2[e] = total
                xs = x_at[first : first + size]
                _network_backward(xs, w1[e], b1[e], w2[e], act, gs, gw1[e], gb1[e], gw2[e])


@njit(inline="always", **_FLAGS)
def _read(table, row, out):  # type: ignore[no-untyped-def]
    """out = table[row], in a loop of its own: LLVM would use gather instructions beside arithmetic, which are slow."""
    for b in range(row.size):
        out[b] = table[row[b]]


@njit(inline="always", **_FLAGS)
def _through_table(grad, slope, offset, with_offset, row, error, here, there, gx, need_x):  # type: ignore[no-untyped-def]
    """Add v = grad * slope[row] (+ offset[row]) to gx if ``need_x``; return the sum of v * error.

    here and there are scratch.
    """
    total = error.dtype.type(0)
    _read(slope, row, here)
    if with_offset:
        _read(offset, row, there)
        for b in range(row.size):
            here[b] = grad[b] * here[b] + there[b]
    else:
        for b in range(row.size):
            here[b] *= grad[b]
    for b in range(row.size):
        total += here[b] * error[b]
    if need_x:
        for b in range(row.size):
            gx[b] += here[b]
    return total


@njit(**_FLAGS)
def input_backward(  # type: ignore[no-untyped-def]
    a, z, groups, points, x, grad, outputs, has_offset, need_x, gx, fraction_grad
):
    """Gradients at the layer's input and at the fraction bits of a quantiser that does not saturate, inputs a..z.

    x, gx [n_in, B], the latter only filled if ``need_x``; fraction_grad by edge.  ``outputs``: the `Gradients`
    found so far; their offset depends on a sample by its point alone: in groups with many edges it is added up over
    them before the samples read it, and meets the rounding errors as sums over each point.
    """
    first_group, edges_of, edge = groups
    _, _, start, at, index, x_at, _ = points
    per_sample, offset = outputs.per_sample, outputs.offset
    n_out, n = grad.shape
    block = 2048
    error, here, there = np.empty(block, x.dtype), np.empty(block, x.dtype), np.empty(block, x.dtype)
    zero = x.dtype.type(0)
    for i in range(a, z):
        if need_x:
            for b in range(n):
                gx[i, b] = 0
        for g in range(first_group[i], first_group[i + 1]):
            q0, q1 = edges_of[g], edges_of[g + 1]
            size = at[q0 + 1] - at[q0]
            levels = x_at[start[g] : start[g] + size]
            for q in range(q0, q1):
                fraction_grad[edge[q]] = 0
            together = has_offset and q1 - q0 > 1
            common = np.zeros(size, x.dtype)
            errors = np.zeros((4, size), x.dtype)  # four, for the reason that scatter has
            if together:
                for q in range(q0, q1):
                    fs = offset[at[q] : at[q + 1]]
                    for p in range(size):
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
                    fraction_grad[edge[q]] += _through_table(
                        go, ps, fs, alone, row, es, here, there, gs, need_x
                    )
            for q in range(q0, q1):
                t = zero
                if together:
                    fs = offset[at[q] : at[q + 1]]
                    for p in range(size):
                        t += fs[p] * (errors[0, p] + errors[1, p] + errors[2, p] + errors[3, p])
                fraction_grad[edge[q]] = _LN2 * (fraction_grad[edge[q]] + t)


@njit(**_FLAGS)
def input_backward_saturating(  # type: ignore[no-untyped-def]
    a, z, groups, points, x, quantised, rails, grad, outputs, gx, fraction_grad, integer_grad
):
    """The same for a quantiser that saturates; a sample outside its range follows the limit it is held at.

    rails [3, G]: 2**integer, and the derivatives by integer and fraction bits of the lower limit, over ln 2.
    """
    first_group, edges_of, edge = groups
    _, _, start, at, index, x_at, _ = points
    _, scale, lo, hi, rounding = quantised
    per_sample, offset = outputs.per_sample, outputs.offset
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
