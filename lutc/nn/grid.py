"""Training on the grid: a LUT layer evaluated once per level and edge instead of once per sample and edge.

A quantised edge input takes few values, so each edge's small network is evaluated at the values that occur in the
batch and every sample reads the result.  Forward: gather and sum.  Backward: the output gradient is summed over the
samples on each point (a weighted histogram), which gives the networks' gradient from one pass over the points; the
gradient at the input reads a table of derivatives.  Batch-norm statistics are exact, from the counts.  The values
and gradients are those of `lutc.nn.lut.evaluate_reference`, up to the order of additions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lutc.graph import Overflow, Rounding

from . import kernels, kernels_backward
from .points import Grid, Layout, make_grid, spread
from .quantizer import Array, Quantizer, flat

ROUND = {
    Rounding.FLOOR: kernels.FLOOR,
    Rounding.HALF_UP: kernels.NEAREST,
    Rounding.HALF_EVEN: kernels.NEAREST_EVEN,
}


@dataclass
class Norm:
    """A batch norm of the table values: per-output affine parameters, and statistics kept or taken from the batch."""

    eps: float
    divisor: float  # sqrt(n_in)
    mean: Tensor | None  # given: used as they are; None: the batch's, which are then left here
    var: Tensor | None
    from_batch: bool = False


@dataclass
class Settings:
    """What a `GridLUT` call is told beside its tensors.

    network: ``network(x, *weights)`` for x [P] and weights whose leading [n_in, n_out] axes became [P], or None for
    the compiled network of one hidden layer with ``activation``.
    """

    inputs: Quantizer
    tables: Quantizer
    activation: int
    norm: Norm | None
    network: Callable[..., Tensor] | None = None
    layout: Layout | None = None


class _Compiled:
    """The networks of all edges at the grid's points, by `kernels.mlp`."""

    def __init__(self, settings: Settings, grid: Grid, weights: Sequence[Tensor]) -> None:
        self.grid, self.activation = grid, settings.activation
        self.hidden = weights[0].shape[-1]
        self.shapes = [w.shape for w in weights]
        edges = grid.edge.size
        self.weights = [w.detach().reshape(edges, self.hidden).numpy() for w in weights[:3]] + [
            flat(weights[3])
        ]
        total = int(grid.at[-1])
        self.t, self.slope = np.empty(total, grid.x.dtype), np.empty(total, grid.x.dtype)
        self._run(kernels.mlp, *self.weights, self.activation, self.t, self.slope)

    def _run(self, kernel: Callable[..., None], *arguments: Any) -> None:
        g = self.grid
        work = self.t.size * self.hidden
        spread(work, g.edge.size, kernel, g.edge, g.group, g.start, g.at, g.x_at, *arguments)

    def backward(self, grad: Array) -> list[Tensor]:
        w1, b1, w2, _ = self.weights
        out = [np.empty(shape, grad.dtype) for shape in self.shapes]
        views = [v.reshape(self.grid.edge.size, -1) for v in out[:3]] + [out[3].reshape(-1)]
        self._run(kernels_backward.mlp_backward, w1, b1, w2, grad, self.activation, *views)
        return [torch.from_numpy(v) for v in out]


class _Traced:
    """The same for any network, by torch's autograd on the points."""

    def __init__(self, settings: Settings, grid: Grid, weights: Sequence[Tensor]) -> None:
        assert settings.network is not None
        sizes: Array = grid.at[1:] - grid.at[:-1]
        edge = torch.from_numpy(np.repeat(grid.edge.astype(np.int64), sizes))
        within = np.arange(edge.numel()) - np.repeat(grid.at[:-1].astype(np.int64), sizes)
        x = torch.from_numpy(grid.x_at[np.repeat(grid.start[grid.group].astype(np.int64), sizes) + within])
        with torch.enable_grad():
            self.leaves = [w.detach().requires_grad_() for w in weights]
            x.requires_grad_()
            here = [w.reshape(-1, *w.shape[2:])[edge] for w in self.leaves]
            self.out = settings.network(x, *here)
            slope = torch.autograd.grad(self.out.sum(), x, retain_graph=True)[0]
        self.t, self.slope = self.out.detach().numpy(), slope.numpy()

    def backward(self, grad: Array) -> list[Tensor]:
        return list(torch.autograd.grad(self.out, self.leaves, torch.from_numpy(grad)))


class GridLUT(torch.autograd.Function):
    """The LUT layer on the grid, float32 or float64, CPU.

    ``apply(settings, x, precision, integer, table_precision, table_integer, gamma, beta, *weights)`` with x
    [B, n_in], the parameters of the quantisers in ``settings``, gamma and beta [n_out] or None, and the weights that
    ``settings.network`` takes; without one the kernels' own network, whose weights are w1, b1, w2 [n_in, n_out,
    hidden] and b2 [n_in, n_out].  Gives [B, n_out].
    """

    @staticmethod
    def forward(
        ctx: Any, settings: Settings, x: Tensor, precision: Tensor, integer: Tensor, table_precision: Tensor,
        table_integer: Tensor, gamma: Tensor | None, beta: Tensor | None, *weights: Tensor,
    ) -> Tensor:  # fmt: skip
        n_out = precision.shape[1]
        iq, tq = settings.inputs, settings.tables
        sign, whole, fraction = iq.plain()
        xt = np.ascontiguousarray(x.detach().t().numpy())
        dtype = xt.dtype
        grid = make_grid(xt, _keys(iq, sign, whole, fraction), ROUND[iq.rounding], n_out, settings.layout)
        settings.layout = grid.layout
        where = (grid.edge, grid.group, grid.start, grid.at)
        network = (
            _Compiled(settings, grid, weights)
            if settings.network is None
            else _Traced(settings, grid, weights)
        )
        t, slope = network.t, network.slope
        mean, inv_std = np.zeros(n_out), np.ones(n_out)
        gain, bias = np.ones(n_out), np.zeros(n_out)
        norm = settings.norm
        if norm is not None:
            if norm.mean is None or norm.var is None:
                mean, var = kernels.moments(*where, grid.count, t, n_out, grid.samples)
                norm.from_batch, norm.mean, norm.var = True, torch.from_numpy(mean), torch.from_numpy(var)
            else:
                mean, var = norm.mean.double().numpy(), norm.var.double().numpy()
            inv_std = 1 / np.sqrt(var + norm.eps)
            gain = inv_std / norm.divisor
            if gamma is not None:
                gain = gain * gamma.detach().double().numpy()
            bias = -mean * gain
            if beta is not None:
                bias = bias + beta.detach().double().numpy() / norm.divisor
        affine = [v.astype(dtype) for v in (gain, bias)]
        _, table_whole, table_frac = tq.plain()
        scale = np.exp2(table_frac).astype(dtype)
        limit = np.maximum(np.floor(np.exp2(table_frac + table_whole)) - 1, 0).astype(dtype)
        table = np.empty_like(t)
        kernels.tables(grid.edge, grid.at, t, *affine, scale, limit, table)
        out = np.empty((n_out, grid.samples), dtype)
        spread(grid.work, n_out, kernels.gather, grid.place, grid.group, grid.at, table, grid.index, out)
        rails = (
            None
            if iq.tracks
            else _rails(iq, *(v[grid.edge[grid.edges_of[:-1]]] for v in (sign, whole, fraction)))
        )
        ctx.kept = (
            grid,
            rails,
            network,
            t,
            slope,
            affine,
            mean.astype(dtype),
            inv_std.astype(dtype),
            scale,
            limit,
            settings,
        )
        ctx.with_affine = (gamma is not None, beta is not None)
        ctx.shape = tuple(precision.shape)
        if iq.tracks and not iq.frozen:
            iq.follow(grid.low, grid.high, grid.place, grid.group, fraction)
        return torch.from_numpy(out).t()

    @staticmethod
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        grid, rails, network, t, slope, affine, mean, inv_std, scale, limit, settings = ctx.kept
        n_in, n_out = ctx.shape
        iq, tq = settings.inputs, settings.tables
        dtype = t.dtype
        edges = n_in * n_out
        where = (grid.edge, grid.group, grid.start, grid.at)
        go = np.ascontiguousarray(grad_out.t().numpy())
        g = np.empty_like(t)
        spread(grid.work, edges, kernels_backward.scatter, grid.edge, grid.group, grid.at, grid.index, go, g)
        gain_grad, bias_grad = np.zeros(n_out), np.zeros(n_out)
        table_f, table_i = np.empty(edges, dtype), np.empty(edges, dtype)
        per_sample, offset = np.empty_like(t), np.empty_like(t)
        norm = settings.norm
        batch_stats = norm is not None and norm.from_batch
        kernels_backward.tables_backward(
            *where, grid.count, t, slope, *affine, mean, inv_std, scale, limit, grid.samples, batch_stats,
            g, gain_grad, bias_grad, table_f, table_i, per_sample, offset,
        )  # fmt: skip
        by_weight = network.backward(g)
        gx = np.empty_like(grid.x)
        in_f, in_i = np.empty(edges, dtype), np.empty(edges, dtype)
        need_x = bool(ctx.needs_input_grad[1])
        layout = (grid.first_group, grid.edges_of, grid.edge)
        if iq.tracks:
            spread(
                grid.work, n_in, kernels_backward.input_backward, *layout, grid.start, grid.at, grid.index, grid.x,
                grid.x_at, go, per_sample, offset, batch_stats, need_x, gx, in_f,
            )  # fmt: skip
        else:
            spread(
                grid.work, n_in, kernels_backward.input_backward_saturating, *layout, grid.start, grid.at, grid.index,
                grid.x, grid.x_at, grid.scale, grid.lo, grid.hi, ROUND[iq.rounding], rails.astype(dtype), go,
                per_sample, offset, gx, in_f, in_i,
            )  # fmt: skip
        divisor = norm.divisor if norm is not None else 1.0
        has_gamma, has_beta = ctx.with_affine
        ggamma = torch.from_numpy((gain_grad / divisor).astype(dtype)) if has_gamma else None
        gbeta = torch.from_numpy((bias_grad / divisor).astype(dtype)) if has_beta else None
        ctx.kept = None
        return (
            None,
            torch.from_numpy(gx).t() if need_x else None,
            *iq.pull(in_f, in_i),
            *tq.pull(table_f, table_i),
            ggamma,
            gbeta,
            *by_weight,
        )


def _keys(q: Quantizer, sign: Array, integer: Array, fraction: Array) -> tuple[Array, ...]:
    """What tells groups apart: fraction bits and, of a saturating quantiser, smallest and largest code and the rest."""
    if q.tracks:
        return (fraction,)
    whole = np.floor(np.exp2(integer + fraction))
    top = np.maximum(whole - 1, 0)
    bottom = -sign * (top if q.overflow is Overflow.SATURATE_SYMMETRIC else whole)
    return fraction, bottom, top, sign, integer  # the last two for the gradients of formats without bits


def _rails(q: Quantizer, sign: Array, integer: Array, fraction: Array) -> Array:
    """How a saturating quantiser's limits change with its bits; see `kernels_backward.input_backward_saturating`."""
    unit = np.exp2(integer)
    step = np.exp2(-fraction) if q.overflow is Overflow.SATURATE_SYMMETRIC else np.zeros_like(unit)
    return np.stack([unit, -sign * unit, -sign * step])


class Surrogate(torch.autograd.Function):
    """``apply(layer, *parameters of its two quantisers)``: the LUT surrogate, in one compiled pass."""

    @staticmethod
    def forward(ctx: Any, inputs: Quantizer, tables: Quantizer, *parameters: Tensor) -> Tensor:
        key, value = (np.maximum(sum(q.plain()), 0) for q in (inputs, tables))
        by_key, by_value = np.empty_like(key), np.empty_like(value)
        total = kernels.surrogate(key, value, by_key, by_value)
        ctx.kept = (inputs, tables, by_key, by_value)
        return parameters[0].new_tensor(total)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        inputs, tables, by_key, by_value = ctx.kept
        g = grad.item()
        return None, None, *inputs.pull(by_key * g, by_key * g), *tables.pull(by_value * g, by_value * g)
