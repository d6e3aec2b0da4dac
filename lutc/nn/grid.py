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

from lutc.types import Overflow, Rounding

from . import kernels, kernels_backward
from .kernel_records import Gradients, Networks, Normed, Steps, Values
from .points import Grid, Layout, make_grid, spread
from .quantizer import Array, Quantizer, Views

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
    from_batch: bool  # take the batch's statistics, and let the running ones follow; else use these
    momentum: float
    mean: Array  # [n_out], running
    var: Array


@dataclass
class Settings:
    """What a `GridLUT` call is told beside its tensors.

    network: ``network(x, *weights)`` for x [P] and weights whose leading [n_in, n_out] axes became [P], or None for
    the compiled network of one hidden layer with ``activation``.  views: the layer's, of its weights and affine
    parameters.
    """

    inputs: Quantizer
    tables: Quantizer
    views: Views
    activation: int
    norm: Norm | None
    network: Callable[..., Tensor] | None = None
    layout: Layout | None = None


class _Traced:
    """The networks of all edges at the grid's points by torch's autograd, for those that have no compiled form."""

    def __init__(self, network: Callable[..., Tensor], grid: Grid, weights: Sequence[Tensor]) -> None:
        p = grid.points
        sizes: Array = p.at[1:] - p.at[:-1]
        edge = torch.from_numpy(np.repeat(grid.groups.edge.astype(np.int64), sizes))
        within = np.arange(edge.numel()) - np.repeat(p.at[:-1].astype(np.int64), sizes)
        x = torch.from_numpy(p.x_at[np.repeat(p.start[p.group].astype(np.int64), sizes) + within])
        with torch.enable_grad():
            self.leaves = [w.detach().requires_grad_() for w in weights]
            x.requires_grad_()
            here = [w.reshape(-1, *w.shape[2:])[edge] for w in self.leaves]
            self.out = network(x, *here)
            slope = torch.autograd.grad(self.out.sum(), x, retain_graph=True)[0]
        self.t, self.slope = self.out.detach().numpy(), slope.numpy()

    def backward(self, grad: Array) -> tuple[Tensor, ...]:
        return torch.autograd.grad(self.out, self.leaves, torch.from_numpy(grad))


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
        n_in, n_out = precision.shape
        iq, tq, norm, view = settings.inputs, settings.tables, settings.norm, settings.views
        sign, whole, fraction = iq.plain(project=True)
        xt = np.ascontiguousarray(x.detach().t().numpy())
        dtype = xt.dtype
        grid = make_grid(xt, _keys(iq, sign, whole, fraction), ROUND[iq.rounding], n_out, settings.layout)
        settings.layout = grid.layout
        points, edges = grid.points, n_in * n_out
        size = int(points.at[-1])
        traced = None
        if settings.network is None:
            values = Values(*np.empty((2, size), dtype))
            inner = [view(k, w).reshape(edges, -1) for k, w in enumerate(weights[:3])] + [view(3, weights[3])]
        else:
            traced = _Traced(settings.network, grid, weights)
            values = Values(traced.t, traced.slope)
            inner = [np.empty((edges, 0), dtype)] * 3 + [np.empty(0, dtype)]
        networks = Networks(traced is None, settings.activation, *inner)
        mean, var = np.empty((2, n_out))
        if norm is None or gamma is None or beta is None:
            none = np.empty(0, dtype)
            normed = Normed(kernels.NONE, 0.0, 0.0, 1.0, none, none, none, none, mean, var)
        else:
            kind = kernels.BATCH if norm.from_batch else kernels.GIVEN
            affine = view("gamma", gamma), view("beta", beta)
            normed = Normed(
                kind, norm.momentum, norm.eps, norm.divisor, norm.mean, norm.var, *affine, mean, var
            )
        steps = Steps(*np.empty((2, edges), dtype), *np.empty((2, n_out), dtype))
        out = np.empty((n_out, grid.samples), dtype)
        spread(
            grid.work, n_out, kernels.outputs, points, networks, normed, tq.plain(project=True), values, steps,
            np.empty(size, dtype), out,
        )  # fmt: skip
        rails = None
        if not iq.tracks:
            heads = grid.groups.edge[grid.groups.edges[:-1]]
            rails = _rails(iq, *(v[heads] for v in (sign, whole, fraction))).astype(dtype)
        ctx.kept = grid, rails, traced, networks, normed, values, steps, settings
        ctx.shapes = [w.shape for w in weights]
        ctx.shape = (n_in, n_out)
        if iq.tracks and not iq.frozen:
            iq.follow(grid.low, grid.high, points.place, points.group, fraction)
        return torch.from_numpy(out).t()

    @staticmethod
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        grid, rails, traced, networks, norm, values, steps, settings = ctx.kept
        n_in, n_out = ctx.shape
        iq, tq, dtype, edges = settings.inputs, settings.tables, values.t.dtype, n_in * n_out
        go = np.ascontiguousarray(grad_out.t().numpy())
        by_weight = [np.empty(shape, dtype) for shape in ctx.shapes] if traced is None else []
        flat = [v.reshape(edges, -1) for v in by_weight[:3]] or [networks.w1, networks.b1, networks.w2]
        value, per_sample, offset = np.empty((3, values.t.size), dtype)
        table_f, table_i, in_f, in_i = np.empty((4, edges), dtype)
        affine = np.empty((2, n_out), dtype)
        flat_bias = by_weight[3].reshape(-1) if by_weight else networks.b2
        found = Gradients(
            value, per_sample, offset, affine, table_f, table_i, flat[0], flat[1], flat[2], flat_bias
        )
        backward, given = kernels_backward.outputs_backward, (networks, norm, values, steps)
        spread(grid.work, n_out, backward, grid.points, *given, go, found)
        gx = np.empty_like(grid.x)
        need_x = bool(ctx.needs_input_grad[1])
        if iq.tracks:
            has_offset = norm.kind == kernels.BATCH
            spread(
                grid.work, n_in, kernels_backward.input_backward, grid.groups, grid.points, grid.x, go, found,
                has_offset, need_x, gx, in_f,
            )  # fmt: skip
        else:
            spread(
                grid.work, n_in, kernels_backward.input_backward_saturating, grid.groups, grid.points, grid.x,
                grid.codes, rails, go, found, gx, in_f, in_i,
            )  # fmt: skip
        ctx.kept = None
        return (
            None,
            torch.from_numpy(gx).t() if need_x else None,
            *iq.pull(in_f, in_i),
            *tq.pull(found.fraction, found.integer),
            *((None, None) if norm.kind == kernels.NONE else map(torch.from_numpy, found.affine)),
            *(map(torch.from_numpy, by_weight) if traced is None else traced.backward(found.value)),
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
    """The LUT surrogate of layers, in one compiled pass each.

    ``apply(costed, *parameters)``: costed has (quantiser of keys, of tables, times the layer is there) by layer, and
    the parameters are those quantisers', four a layer.
    """

    @staticmethod
    def forward(ctx: Any, costed: Sequence[tuple[Quantizer, Quantizer, int]], *parameters: Tensor) -> Tensor:
        total = 0.0
        ctx.kept = []
        for inputs, tables, times in costed:
            keys, values = inputs.plain(), tables.plain()
            slopes = np.empty((2, keys.shape[1]), keys.dtype)
            total += times * kernels.surrogate(keys, values, *slopes)
            ctx.kept.append((inputs, tables, times, slopes))
        return torch.tensor(total, dtype=parameters[0].dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        found: list[Tensor | None] = [None]
        g = grad.item()
        for inputs, tables, times, slopes in ctx.kept:
            by_key, by_value = slopes * slopes.dtype.type(times * g)
            found += [*inputs.pull(by_key, by_key), *tables.pull(by_value, by_value)]
        return tuple(found)
