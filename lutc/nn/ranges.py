"""The ranges of wrapping quantisers and the statistics of batch norms, set by data."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lutc.diagnostics import error

from .batches import Batch, called, unfit
from .quantizer import Quantizer


def quantizers(model: nn.Module) -> Iterator[Quantizer]:
    return (m for m in model.modules() if isinstance(m, Quantizer))


def freeze_ranges(model: nn.Module, frozen: bool = True) -> None:
    """Stop (or let) wrapping quantisers follow their data in training."""
    for q in quantizers(model):
        q.frozen = frozen


@torch.no_grad()
def settle_norms(model: nn.Module, batches: Iterable[Any]) -> None:
    """Set the statistics of batch norms to those of ``batches``, the mean over them if there are several.

    A batch is what the model reads; a tuple or dict of tensors are its arguments.

    A batch norm's running statistics are of weights that have changed since. These are of the weights as they are
    (Wu and Johnson, arXiv 2105.07576, sec. 3).
    """
    found: list[Any] = [m for m in model.modules() if isinstance(getattr(m, "running_mean", None), Tensor)]
    if not found:
        return
    modes = [(m, m.training) for m in model.modules()]
    momenta = [m.momentum for m in found]
    was = [(q, q.tracing) for q in quantizers(model)]
    ranges = [(q.integer.clone(), q.sign.clone()) for q, _ in was]
    model.eval()
    try:
        for q, _ in was:
            q.tracing = True  # rounds, and never wraps
        for count, x in enumerate(batches, 1):
            for m in found:
                m.training, m.momentum = True, 1 / count
            called(model, x)
    finally:
        for m, momentum in zip(found, momenta, strict=True):
            m.momentum = momentum
        for m, mode in modes:
            m.training = mode
        for (q, tracing), (integer, sign) in zip(was, ranges, strict=True):
            q.tracing = tracing
            q.integer.data.copy_(integer)
            q.sign.copy_(sign)


@torch.no_grad()
def trace_ranges(model: nn.Module, batches: Iterable[Any], passes: int = 3, *, norms: bool = False) -> None:
    """Set the ranges of wrapping quantisers to what the model meets on ``batches``, evaluated in order.

    Ranges are forgotten first. Capped widths (``max_bits``) lose fraction bits while ranges grow, which moves later
    layers' data, so the batches are run again until nothing changes, at most ``passes`` times. If ``norms``, the
    batches first settle the batch norms (`settle_norms`). Raises LirError for data that are not finite.
    """
    data = list(batches)
    for x in data:
        if problem := unfit(Batch(x, ())):
            raise error(
                problem, where="batches", help="leave those samples away, or put numbers in their places"
            )
    if norms:
        settle_norms(model, data)
    training = model.training
    model.eval()
    found = list(quantizers(model))
    try:
        for q in found:
            q.reset_range()
            q.tracing = True
        for _ in range(passes):
            before = [(q.integer.clone(), q.sign.clone()) for q in found]
            for x in data:
                called(model, x)
            if all(
                torch.equal(q.integer, i) and torch.equal(q.sign, s)
                for q, (i, s) in zip(found, before, strict=True)
            ):
                break
    finally:
        for q in found:
            q.tracing = False
        model.train(training)


@contextmanager
def traced(model: nn.Module, batches: Iterable[Any], *, norms: bool = False) -> Iterator[nn.Module]:
    """A copy of the model with ranges traced on ``batches`` (see `trace_ranges`), for evaluation and export."""
    twin = copy.deepcopy(model)
    trace_ranges(twin, batches, norms=norms)
    twin.eval()
    yield twin
