"""What arithmetic costs, in LUTs: sums over the bit widths of quantisers, differentiable in them, in compiled passes.

A product costs its operands' widths multiplied (EBOPs: HGQ, arXiv 2405.00645). What adds, rounds or compares costs a
LUT per bit: a carry chain has one there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .quantizer import Array, Quantizer

_ROWS = 4  # samples that widths of sums are looked up in


@dataclass(frozen=True)
class Products:
    """Products of every weight with its data, ``times`` over: flat indices of both formats, by product."""

    data: Quantizer
    weights: Quantizer
    data_at: Array
    weight_at: Array
    times: float


@dataclass(frozen=True)
class Widths:
    """``times`` the sum of a quantiser's widths."""

    quantizer: Quantizer
    times: float


Item = Products | Widths


def rounding(q: Quantizer) -> Widths:
    """What a quantiser of data costs: a LUT per bit of every element that rounds, and one that limits the range."""
    return Widths(q, q.elements / max(q.sign.numel(), 1) * (1 if q.tracks else 2))


def constants(q: Quantizer, elements: float) -> Widths:
    """What adding a quantiser's constants costs, to so many elements: a LUT per bit."""
    return Widths(q, elements / max(q.sign.numel(), 1))


class _Costs(torch.autograd.Function):
    """``apply(items, *parameters)``: the parameters are those of the items' quantisers, two each."""

    @staticmethod
    def forward(ctx: Any, items: Sequence[Item], *parameters: Tensor) -> Tensor:
        from . import kernels_quantise as kernels

        total = 0.0
        slopes: dict[Quantizer, Array] = {}
        bits: dict[Quantizer, Array] = {}
        for q in _all(items):
            bits[q] = q.plain()
            slopes[q] = np.zeros_like(bits[q][0])
        for item in items:
            if isinstance(item, Widths):
                q = item.quantizer
                total += kernels.widths(bits[q], item.times, slopes[q])
            else:
                d, w = item.data, item.weights
                own = bits[d], bits[w], item.data_at, item.weight_at
                total += kernels.products(*own, item.times, slopes[d], slopes[w])
        ctx.slopes = slopes
        return torch.tensor(total, dtype=parameters[0].dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        found: list[Tensor | None] = [None]
        g = grad.item()
        for q, slopes in ctx.slopes.items():
            slopes = slopes * slopes.dtype.type(g)
            found += q.pull(slopes, slopes)
        return tuple(found)


def _all(items: Sequence[Item]) -> dict[Quantizer, None]:
    """The items' quantisers, each once."""
    return dict.fromkeys(q for item in items for q in _of(item))


def total(items: Sequence[Item]) -> Tensor:
    """The sum of all items, differentiable in the quantisers' widths."""
    if not items:
        return torch.zeros(())
    quantizers = _all(items)
    kinds = {(q.precision.device.type, q.precision.dtype) for q in quantizers}
    if len(kinds) == 1 and kinds <= {("cpu", torch.float32), ("cpu", torch.float64)}:
        parameters = [p for q in quantizers for p in (q.precision, q.integer)]
        made: Tensor = _Costs.apply(items, *parameters)  # type: ignore[no-untyped-call]
        return made
    return torch.stack([plain(item) for item in items]).sum()


def _of(item: Item) -> tuple[Quantizer, ...]:
    return (item.quantizer,) if isinstance(item, Widths) else (item.data, item.weights)


def plain(item: Item) -> Tensor:
    """An item by plain operations of torch: what the compiled passes are tested against, and runs anywhere."""
    if isinstance(item, Widths):
        return item.quantizer.bits().width.sum() * item.times
    data, weights = (q.bits().width.flatten() for q in (item.data, item.weights))
    at = (torch.from_numpy(v).long().to(data.device) for v in (item.data_at, item.weight_at))
    d, w = (v[i] for v, i in zip((data, weights), at, strict=True))
    return (d * w).sum() * item.times


# -- what nothing quantises -------------------------------------------------------------------------------------------


def finest(reals: Array) -> int:
    """Bits after the point that numbers have, at most: those of the finest step among them (float64, finite)."""
    mantissa, exponent = np.frexp(reals[reals != 0])
    codes = np.rint(np.ldexp(mantissa, 53)).astype(np.int64)
    last = codes & -codes  # the lowest bit that is set
    return int((53 - exponent - np.log2(last).astype(np.int64)).max(initial=0))


class Seen:
    """What a layer met last: a few samples of it, from which the width of sums follows that nothing quantises.

    The width is an estimate, and a constant: what is summed has widths that are trained, and that press on it.
    """

    def __init__(self) -> None:
        self.sample: Tensor | None = None
        self.elements = 0

    def keep(self, x: Tensor) -> None:
        """Remember ``x`` [batch, ...]; not where it is only a stand-in, while a model is traced."""
        if torch.compiler.is_compiling() or type(x) is not Tensor:
            return
        self.elements = x[0].numel() if len(x) else 0
        self.sample = x.detach()[:_ROWS].clone()

    @property
    def width(self) -> int:
        """Bits of the samples' numbers, the sign included; 0 before any is seen."""
        if self.sample is None:
            return 0
        reals = self.sample.double().cpu().numpy().ravel()
        if not reals.size or not np.isfinite(reals).all():
            return 0
        most = int(np.frexp(np.abs(reals).max())[1])
        return max(int((reals < 0).any()) + most + min(finest(reals), 53 - most), 0)
