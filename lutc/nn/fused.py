"""Fake quantisation in compiled passes, on a CPU: what `quantizer.fake_quantize` says in plain operations of torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from lutc.types import Overflow, Rounding

from . import kernels_quantise as kernels
from .kernels import FLOOR, NEAREST, NEAREST_EVEN
from .points import spread

if TYPE_CHECKING:
    from .quantizer import Quantizer

LN2 = 0.6931471805599453
_BLOCK = 1 << 14  # elements that sums are taken of at once
_KINDS = (torch.float32, torch.float64)
_ROUND = {Rounding.FLOOR: FLOOR, Rounding.HALF_UP: NEAREST, Rounding.HALF_EVEN: NEAREST_EVEN}
_MODES = {
    Overflow.WRAP: kernels.UNBOUNDED,
    Overflow.SATURATE: kernels.SATURATE,
    Overflow.SATURATE_SYMMETRIC: kernels.SYMMETRIC,
}
_off = False


@contextmanager
def plain() -> Iterator[None]:
    """Within it all quantisers compute in plain operations of torch: what the compiled passes are tested against."""
    global _off
    was, _off = _off, True
    try:
        yield
    finally:
        _off = was


@lru_cache(1 << 12)
def layout(shape: tuple[int, ...], formats: tuple[int, ...]) -> tuple[int, int, int] | None:
    """(outer, formats, inner) of data whose formats broadcast to it; None if no such order of its elements is."""
    if len(formats) > len(shape):
        return None
    wide = (1,) * (len(shape) - len(formats)) + tuple(formats)
    own = [axis for axis, n in enumerate(wide) if n > 1]
    if not own:
        lead = shape[0] if shape else 1
        return lead, 1, prod(shape[1:])
    first, last = own[0], own[-1]
    if wide[first : last + 1] != tuple(shape[first : last + 1]):
        return None
    return prod(shape[:first]), prod(wide), prod(shape[last + 1 :])


def can(q: Quantizer, x: Tensor) -> tuple[int, int, int] | None:
    """How the compiled passes see ``x`` through a quantiser; None if they cannot take it."""
    own, kind = q.integer, x.dtype
    if _off or kind not in _KINDS or kind != own.dtype or not x.is_cpu or not own.is_cpu:
        return None
    if torch.compiler.is_compiling() or not x.numel():
        return None
    return layout(tuple(x.shape), q.shape)


class FakeQuantize(torch.autograd.Function):
    """``apply(quantiser, layout, constant, x, precision, integer)``: x through a quantiser in training.

    The quantiser's trained widths are brought into reach, and its range follows: that of data (unless it is frozen),
    or what a constant needs.
    """

    @staticmethod
    def forward(
        ctx: Any,
        q: Quantizer,
        size: tuple[int, int, int],
        constant: bool,
        x: Tensor,
        precision: Tensor,
        integer: Tensor,
    ) -> Tensor:
        data = x.detach().contiguous()
        v = data.numpy().reshape(size)
        rounding, mode = _ROUND[q.rounding], _MODES[q.overflow]
        if constant and q.tracks:
            q.fit(v, rounding)
        grid = q.grid(mode, project=not (constant and q.tracks))
        rows = max(_BLOCK // (size[1] * size[2]), 1)
        blocks = -(-size[0] // rows)
        out = torch.empty_like(data)
        low, high = np.empty((2, blocks, size[1]), v.dtype)
        made = out.numpy().reshape(size)
        _blocks(v.size, blocks, kernels.forward, rows, v, grid, mode, rounding, made, low, high)
        if q.tracks and not constant and not q.frozen:
            q.reached(low, high, grid[kernels.FRACTION])
        ctx.save_for_backward(data)
        ctx.of = q, size, rows, blocks, grid, rounding, mode
        return out

    @staticmethod
    @once_differentiable  # type: ignore[no-untyped-call, untyped-decorator, unused-ignore]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (data,) = ctx.saved_tensors
        q, size, rows, blocks, grid, rounding, mode = ctx.of
        v, d = data.numpy().reshape(size), grad.detach().contiguous().numpy().reshape(size)
        by_x = grad
        first = np.empty((blocks, size[1]), v.dtype)
        second = first
        if mode == kernels.UNBOUNDED:
            if ctx.needs_input_grad[4]:
                _blocks(v.size, blocks, kernels.backward_unbounded, rows, v, d, grid, rounding, first)
        else:
            by_x, second = torch.empty_like(data), np.empty_like(first)
            to = by_x.numpy().reshape(size), first, second
            _blocks(v.size, blocks, kernels.backward_bounded, rows, v, d, grid, mode, rounding, *to)
        widths = q.pull(_total(first), _total(second)) if any(ctx.needs_input_grad[4:]) else (None, None)
        return None, None, None, by_x if ctx.needs_input_grad[3] else None, *widths


def _blocks(work: int, count: int, kernel: Callable[..., None], *arguments: Any) -> None:
    """A kernel over all blocks; small ones do not ask how many threads there are."""
    if count == 1:
        kernel(0, 1, *arguments)
    else:
        spread(work, count, kernel, *arguments)


def _total(parts: NDArray[Any]) -> NDArray[Any]:
    """Gradients at widths, from sums by block."""
    whole: NDArray[Any] = (parts[0] if len(parts) == 1 else parts.sum(0)) * parts.dtype.type(LN2)
    return whole
