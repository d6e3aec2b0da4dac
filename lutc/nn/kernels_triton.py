"""Inner loops of training on the grid on a GPU (Triton).

A layer's tables lie as ``[n_in, rows, n_out]``: a sample reads one row of every input, hence ``n_out`` numbers that
lie together.  Nothing of size B * n_in * n_out is stored.  With TRITON_INTERPRET=1 in the environment before the
first import, the kernels run on CPU tensors, slowly; so they are tested.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

TILE = 64, 4096  # of a program: samples, and numbers at most


@triton.jit  # type: ignore[untyped-decorator]
def _gather_sum(table, index, out, samples, n_in, rows, n_out, S: tl.constexpr, O: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: E741
    b = tl.program_id(0) * S + tl.arange(0, S)
    o = tl.arange(0, O)
    stored = (b < samples)[:, None] & (o < n_out)[None, :]
    total = tl.zeros((S, O), out.dtype.element_ty)
    for i in range(n_in):
        row = tl.load(index + i * samples + b, mask=b < samples, other=0)
        at = (i * rows + row)[:, None] * n_out + o[None, :]
        there = (row >= 0) & (row < rows)
        # a sample on no row: not a number, so that it cannot go unseen
        total += tl.load(table + at, mask=stored & there[:, None], other=float("nan"))
    tl.store(out + b[:, None] * n_out + o[None, :], total, mask=stored)


@triton.jit  # type: ignore[untyped-decorator]
def _scatter(grad, x, level, index, by_row, by_error, samples, rows, n_out, S: tl.constexpr, O: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: E741
    b = tl.program_id(0) * S + tl.arange(0, S)
    i = tl.program_id(1)
    o = tl.arange(0, O)
    row = tl.load(index + i * samples + b, mask=b < samples, other=rows)
    there = (row >= 0) & (row < rows)
    error = tl.load(x + i * samples + b, mask=there, other=0) - tl.load(
        level + i * rows + row, mask=there, other=0
    )
    mask = there[:, None] & (o < n_out)[None, :]
    g = tl.load(grad + b[:, None] * n_out + o[None, :], mask=mask, other=0)
    at = (i * rows + row)[:, None] * n_out + o[None, :]
    tl.atomic_add(by_row + at, g, mask=mask)
    tl.atomic_add(by_error + at, g * error[:, None], mask=mask)


@triton.jit  # type: ignore[untyped-decorator]
def _through(grad, slope, offset, index, out, samples, rows, n_out, S: tl.constexpr, O: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: E741
    b = tl.program_id(0) * S + tl.arange(0, S)
    i = tl.program_id(1)
    o = tl.arange(0, O)
    row = tl.load(index + i * samples + b, mask=b < samples, other=rows)
    there = (row >= 0) & (row < rows)
    mask = there[:, None] & (o < n_out)[None, :]
    g = tl.load(grad + b[:, None] * n_out + o[None, :], mask=mask, other=0)
    s = tl.load(slope + (i * rows + row)[:, None] * n_out + o[None, :], mask=mask, other=0)
    v = tl.sum(g * s, 1) + tl.load(offset + i * rows + row, mask=there, other=0)
    tl.store(out + i * samples + b, v, mask=b < samples)


def _shape(index: Tensor, n_out: int) -> tuple[tuple[int, int], dict[str, Any]]:
    """Programs to launch over (samples, inputs), and the kernels' constants."""
    n_in, samples = index.shape
    width = triton.next_power_of_2(n_out)
    block = max(1, min(TILE[0], TILE[1] // width))
    return (triton.cdiv(samples, block), n_in), {"S": block, "O": width}


def gather_sum(table: Tensor, index: Tensor) -> Tensor:
    """``out[b, o] = sum_i table[i, index[i, b], o]``.

    table [n_in, rows, n_out], index [n_in, B] int32; a sample with an index outside 0..rows gets NaN.  Gives
    [B, n_out].
    """
    n_in, rows, n_out = table.shape
    out = table.new_empty(index.shape[1], n_out)
    (blocks, _), constants = _shape(index, n_out)
    _gather_sum[(blocks,)](table, index, out, index.shape[1], n_in, rows, n_out, **constants)
    return out


def scatter(grad: Tensor, x: Tensor, level: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Sums over the samples on each row: of ``grad[b, o]`` and of ``grad[b, o] * (x[i, b] - level[i, row])``.

    grad [B, n_out], x and index [n_in, B], level [n_in, rows]; gives two of [n_in, rows, n_out].  The order of the
    additions, hence the last bits, may differ from run to run.
    """
    n_out = grad.shape[1]
    by_row, by_error = torch.zeros(2, *level.shape, n_out, dtype=grad.dtype, device=grad.device)
    blocks, constants = _shape(index, n_out)
    _scatter[blocks](grad, x, level, index, by_row, by_error, x.shape[1], level.shape[1], n_out, **constants)
    return by_row, by_error


def through(grad: Tensor, slope: Tensor, offset: Tensor, index: Tensor) -> Tensor:
    """``out[i, b] = sum_o grad[b, o] * slope[i, row, o] + offset[i, row]`` with row = index[i, b].

    grad [B, n_out], slope [n_in, rows, n_out], offset [n_in, rows], index [n_in, B]; gives [n_in, B].
    """
    out = grad.new_empty(index.shape)
    blocks, constants = _shape(index, grad.shape[1])
    _through[blocks](
        grad, slope, offset, index, out, index.shape[1], slope.shape[1], grad.shape[1], **constants
    )
    return out
