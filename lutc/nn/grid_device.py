"""Training on the grid with tensors alone: the form of :mod:`lutc.nn.grid` for GPUs.

Here all edges of an input share their points, ``rows``: intervals of x so narrow that every edge's code is constant
on each.  The networks, batch norm and quantisers are evaluated on [n_in, rows, n_out] by torch's own operations, and
the samples read, and add to, those tables by the kernels of :mod:`lutc.nn.kernels_triton`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lutc.types import Overflow, Rounding

from .quantizer import LN2, Quantizer, code_limits, round_code

if TYPE_CHECKING:
    from .lut import LUTDense

STEP = 64  # the number of rows is a multiple of it


@dataclass
class Rows:
    """The points of a batch: level and count [n_in, rows], the samples' rows index [n_in, B] (int32)."""

    x: Tensor  # [n_in, B]
    level: Tensor  # a number in each row's interval
    index: Tensor
    count: Tensor
    low: Tensor  # [n_in, 1] level of the first row and of the last one that is used
    high: Tensor

    def misses(self) -> Tensor:
        """The sum of x - level over the samples on each row, [n_in, rows]."""
        row = self.index.clamp(0, self.level.shape[1] - 1).long()
        return torch.zeros_like(self.level).scatter_add_(1, row, self.x - self.level.gather(1, row))


def make_rows(x: Tensor, fraction: Tensor, rounding: Rounding, room: int | None) -> Rows | None:
    """The rows of the batch x [B, n_in] for edges with ``fraction`` [n_in, n_out] bits; None if they outnumber 2 B.

    All edges' codes change at multiples of half the finest step (of the whole step for floor; half-even also tells
    such a multiple itself from what lies beside it).  The number of rows is read from the device, which waits for it,
    unless ``room`` gives it: samples beyond it get NaN (see `kernels_triton.gather_sum`).

    Raises ValueError if a number is not finite.
    """
    x = x.t().contiguous()
    scale = torch.exp2(fraction.amax(1, keepdim=True) + (rounding is not Rounding.FLOOR))
    v = x * scale
    if rounding is Rounding.HALF_EVEN:
        code, scale = torch.floor(v) + torch.ceil(v), 2 * scale
    else:
        code = torch.floor(v)
    low, high = code.amin(1, keepdim=True), code.amax(1, keepdim=True)
    if room is None:
        span = (high - low).max().item() + 1
        if span != span or span == float("inf"):
            raise ValueError("an input of a LUT layer is not finite; is the learning rate too high?")
        room = int(-span // STEP) * -STEP
        if room > max(2 * x.shape[1], STEP):
            return None
    index = (code - low).to(torch.int32)
    level = (low + torch.arange(room, dtype=x.dtype, device=x.device)) / scale
    row = index.clamp(0, room - 1).long()
    count = torch.zeros_like(level).scatter_add_(1, row, torch.ones_like(x))
    return Rows(x, level, index, count, low / scale, high / scale)


@dataclass
class Statistics:
    """Batch norm: mean and var [n_out] are the batch's if ``from_batch``, else running ones."""

    eps: float
    divisor: float  # sqrt(n_in)
    from_batch: bool
    mean: Tensor
    var: Tensor


def moments(t: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance by output of values t [n_in, rows, n_out] that occur ``count`` times."""
    share = (count / count.sum())[:, :, None]
    mean = (share * t).sum((0, 1))
    return mean, (share * (t - mean) ** 2).sum((0, 1))


@dataclass
class Codes:
    """The rows' levels through the edges' input quantisers, [n_in, rows, n_out]; masks of what saturates."""

    value: Tensor
    above: Tensor | None
    below: Tensor | None


def quantised(level: Tensor, q: Quantizer) -> Codes:
    sign, integer, fraction = (v.detach()[:, None] for v in q.bits())
    scale = torch.exp2(fraction)
    code = round_code(level[:, :, None] * scale, q.rounding)
    if q.tracks:
        return Codes(code / scale, None, None)
    symmetric = q.overflow is Overflow.SATURATE_SYMMETRIC
    top, bottom = code_limits(sign, integer, fraction, symmetric=symmetric)
    return Codes(torch.maximum(torch.minimum(code, top), bottom) / scale, code > top, code < bottom)


def evaluate(network: Callable[..., Tensor], weights: Sequence[Tensor], xq: Tensor) -> tuple[Tensor, Tensor]:
    """The networks at xq [n_in, rows, n_out], differentiable in the weights, and their derivatives at xq."""
    with torch.enable_grad():
        x = xq.detach().requires_grad_()
        slope = torch.autograd.grad(network(x, *(w.detach()[:, None] for w in weights)).sum(), x)[0]
    return network(xq, *(w[:, None] for w in weights)), slope


def forward(layer: LUTDense, x: Tensor) -> Tensor:
    """A `LUTDense` in training on x [B, n_in]; by plain autograd if the rows would be many more than the samples.

    While a CUDA graph is captured, nothing may wait for the device: the layer then has twice the rows of its last
    step outside, and a later batch that goes beyond them gives NaN.
    """
    iq, tq = layer.input_quantizer, layer.table_quantizer
    captured = x.is_cuda and torch.cuda.is_current_stream_capturing()
    if captured and layer.room is None:
        raise RuntimeError("train a LUT layer for a step before you capture it in a CUDA graph")
    iq.project()
    tq.project()
    with torch.no_grad():
        fraction = iq.bits().fraction
        room = 2 * layer.room if captured and layer.room is not None else None
        rows = make_rows(x.detach(), fraction, iq.rounding, room)
    if rows is None:
        return layer.evaluate_reference(x)
    if not captured:
        layer.room = rows.level.shape[1]
    with torch.no_grad():
        codes = quantised(rows.level, iq)
    t, slope = evaluate(layer.network, layer.weights, codes.value)
    norm = None
    affine: tuple[Tensor | None, Tensor | None] = (None, None)
    if layer.batch_norm:
        affine = layer.gamma, layer.beta
        mean, var = layer.running_mean, layer.running_var
        if layer.training:
            mean, var = moments(t.detach(), rows.count)
            layer.keep(mean, var)
        norm = Statistics(layer.eps, math.sqrt(layer.n_in), layer.training, mean, var)
    y: Tensor = RowLUT.apply(  # type: ignore[no-untyped-call]
        (iq, tq, norm), rows, codes, slope, x, iq.precision, iq.integer, tq.precision, tq.integer, *affine, t
    )
    if iq.tracks and not iq.frozen:
        low, high = (round_code(v * torch.exp2(fraction), iq.rounding) for v in (rows.low, rows.high))
        iq.track(low, high)
    return y


class RowLUT(torch.autograd.Function):
    """What follows the networks: batch norm, table quantiser, each sample's sum over inputs.

    ``apply(settings, rows, codes, slope, x, precision, integer, table_precision, table_integer, gamma, beta, t)``:
    the two quantisers and `Statistics` or None, `Rows`, `Codes`, the networks' derivatives slope and values t [n_in,
    rows, n_out], x [B, n_in], and the parameters.  Gives [B, n_out].
    """

    @staticmethod
    def forward(
        ctx: Any, settings: tuple[Quantizer, Quantizer, Statistics | None], rows: Rows, codes: Codes, slope: Tensor,
        x: Tensor, precision: Tensor, integer: Tensor, table_precision: Tensor, table_integer: Tensor,
        gamma: Tensor | None, beta: Tensor | None, t: Tensor,
    ) -> Tensor:  # fmt: skip
        from .kernels_triton import gather_sum

        _, tables, norm = settings
        hat, gain, y = t, torch.ones_like(t[0, 0]), t
        if norm is not None and gamma is not None and beta is not None:
            inv_std = torch.rsqrt(norm.var + norm.eps)
            hat = (t - norm.mean) * inv_std
            gain = gamma * inv_std / norm.divisor
            y = gain * t + (beta / norm.divisor - norm.mean * gain)
        _, whole, fraction = (v.detach()[:, None] for v in tables.bits())
        limit = code_limits(torch.ones_like(whole), whole, fraction, symmetric=True)[0]
        code = round_code(y * torch.exp2(fraction), tables.rounding)
        table = torch.maximum(torch.minimum(code, limit), -limit) * torch.exp2(-fraction)
        side = (code > limit).to(t.dtype) - (code < -limit).to(t.dtype)
        ctx.kept = settings, rows, codes, slope, gain, hat, y - table, side, whole, fraction
        return gather_sum(table, rows.index)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        from .kernels_triton import scatter, through

        (inputs, tables, norm), rows, codes, slope, gain, hat, error, side, whole, fraction = ctx.kept
        grad = grad.contiguous()
        by_row, by_miss = scatter(grad, rows.x, rows.level, rows.index)
        # the table's quantiser, as in `fake_quantize`
        inside = 1 - side.abs()
        table_fraction = LN2 * (by_row * (inside * error + side * torch.exp2(-fraction))).sum(1)
        table_integer = LN2 * (by_row * side * torch.exp2(whole)).sum(1)
        # the batch norm: one sample's gradient at its quantised input is per_sample * grad + offset
        g = by_row * inside
        addend, factor = g.sum((0, 1)), (g * hat).sum((0, 1))
        by_affine = (None, None) if norm is None else (factor / norm.divisor, addend / norm.divisor)
        by_value, per_sample, offset = gain * g, gain * inside * slope, torch.zeros_like(slope)
        count = rows.count[:, :, None]
        if norm is not None and norm.from_batch:
            shift = gain * (addend + hat * factor) / rows.x.numel()
            by_value, offset = by_value - count * shift, -shift * slope
        # the input's quantiser
        apart = rows.level[:, :, None] - codes.value
        total = per_sample * by_row + offset * count
        by_fraction = per_sample * by_miss + offset * rows.misses()[:, :, None] + total * apart
        by_integer = None
        if codes.above is not None and codes.below is not None:
            sign, top, step = (v[:, None] for v in inputs.bits())
            above, below = codes.above, codes.below
            low_step = sign * (inputs.overflow is Overflow.SATURATE_SYMMETRIC)
            out = above.to(total) - sign * below
            by_fraction = torch.where(
                above | below, total * (above.to(total) - low_step * below) * torch.exp2(-step), by_fraction
            )
            by_integer = LN2 * (total * out * torch.exp2(top)).sum(1)
            held = ~(above | below)
            per_sample, offset = per_sample * held, offset * held
        at_input = LN2 * by_fraction.sum(1)
        gx = through(grad, per_sample, offset.sum(2), rows.index).t() if ctx.needs_input_grad[4] else None
        ctx.kept = None
        return (
            None, None, None, None, gx, *_pull(inputs, at_input, by_integer),
            *_pull(tables, table_fraction, table_integer), *by_affine, by_value,
        )  # fmt: skip


def _pull(q: Quantizer, fraction: Tensor, integer: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """As `Quantizer.pull`."""
    return fraction, integer - fraction if q.by_total and integer is not None else integer
