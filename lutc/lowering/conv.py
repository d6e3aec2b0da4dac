"""Convolutions: the kernel becomes one function, mapped over the positions of its window."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from lutc.ir.graph import Value
from lutc.lowering import exact as ex
from lutc.lowering.exact import Exact
from lutc.lowering.layout import joined, settled
from lutc.lowering.linear import contract, integers, view
from lutc.lowering.operands import BROKEN, computed, known
from lutc.lowering.refusals import Refusal
from lutc.lowering.tensors import Known, Pending, Scaled, Shape, Tensor, core
from lutc.lowering.walk import Walk
from lutc.lowering.windows import Window, one_sample, positions


def _block_diagonal(weights: Known, groups: int) -> Known:
    """Kernels `[outputs, channels of a group, taps]` as a matrix `[all channels * taps, outputs]`."""
    outputs, channels, taps = weights.shape
    codes, scale = integers(weights)
    scales: Exact = ex.spread(ex.ranked(scale, 3), weights.shape) if scale.size > 1 else None
    matrix = np.zeros((groups, channels * taps, groups, outputs // groups), dtype=np.int64)
    factors = np.empty(matrix.shape, dtype=object)
    factors[...] = ex.lone(scale) if scales is None else None
    for g in range(groups):
        mine = slice(g * outputs // groups, (g + 1) * outputs // groups)
        matrix[g, :, g] = codes[mine].reshape(-1, channels * taps).T
        if scales is not None:
            factors[:, :, g] = scales[mine, 0, 0]  # where the matrix is 0, any scale of the column will do
            factors[g, :, g] = scales[mine].reshape(-1, channels * taps).T
    shape = (groups * channels * taps, outputs)
    whole = matrix.reshape(shape)
    return Known(whole.astype(np.float32), whole, ex.compress(factors.reshape(shape)))


def operands(x: Tensor, kernel: Tensor, groups: int = 1, transposed: bool = False) -> tuple[Scaled, Known]:
    """What is convolved, and its kernel; transposed it has the channels first. Raises Refusal if they do not fit."""
    t, weights = computed(x), known(kernel, "kernel")
    one_sample(t)
    channels = weights.shape[:1] if transposed else tuple(n * groups for n in weights.shape[1:2])
    if len(weights.shape) != len(t.shape) or channels != t.shape[1:2]:
        raise Refusal(f"convolves {list(t.shape)} with a kernel {list(weights.shape)}", BROKEN)
    return t, weights


def conv(
    walk: Walk, t: Scaled, kernel: Known, bias: Tensor | None, window: Window, groups: int = 1
) -> Scaled:
    """A convolution of `[1, channels, spatial...]` with `[outputs, channels of a group, taps...]`."""
    t = settled(walk, t)
    flat = view(kernel, lambda a: a.reshape(*a.shape[:2], -1))
    if groups == 1 and not isinstance(t.value, Pending) and ex.every(lambda v: not v, t.offset):
        rows = _rows(walk, t, window)
        # Here the channels of a tap lie side by side.
        done = _product(walk, t, rows, _block_diagonal(view(flat, lambda a: a.swapaxes(1, 2)), 1), 1)
    else:
        at, near = positions(t.shape, window)
        done = _windows(walk, t, at, near, _block_diagonal(flat, groups), groups)
    shape = (1, kernel.shape[0], *window.outputs(t.shape[2:]))
    return _biased(walk.reshape(done, shape), bias)


def _rows(walk: Walk, t: Scaled, window: Window) -> Scaled:
    """What the window sees at every position, `[1, positions, taps * channels]`, as slices of the padded tensor."""
    rank = len(window.size)
    last = walk.transpose(t, (0, *range(2, rank + 2), 1))
    counts, channels = window.outputs(t.shape[2:]), t.shape[1]
    starts = [
        tuple(k * d for k, d in zip(tap, window.dilations, strict=True)) for tap in np.ndindex(window.size)
    ]
    reach = [(n - 1) * s + 1 for n, s in zip(counts, window.strides, strict=True)]
    stops = [tuple(a + r for a, r in zip(start, reach, strict=True)) for start in starts]
    shape = (1, math.prod(counts), len(starts) * channels)

    def emit(v: Value) -> Value:
        if any(window.before) or any(window.after):
            v = walk.b.pad(v, before=[*window.before, 0], after=[*window.after, 0])
        strided = {"step": [*window.strides, 1]} if max(window.strides) > 1 else {}
        parts = [
            walk.b.slice(v, start=[*a, 0], stop=[*z, channels], **strided)
            for a, z in zip(starts, stops, strict=True)
        ]
        return walk.reshaped(parts[0] if len(parts) == 1 else walk.b.concat(parts, axis=rank), core(shape))

    def numpy(a: Any) -> Any:
        # Zeros take the scale of an element of their own channel.
        a = np.pad(a, [(0, 0), *zip(window.before, window.after, strict=True), (0, 0)], mode="edge")
        parts = []
        for first, stop in zip(starts, stops, strict=True):
            steps = zip(first, stop, window.strides, strict=True)
            parts.append(a[(slice(None), *(slice(*e) for e in steps))])
        return np.concatenate(parts, axis=-1).reshape(shape)

    return walk.move(last, shape, emit, numpy)


def _windows(walk: Walk, t: Scaled, at: Any, near: Any, matrix: Known, groups: int) -> Scaled:
    """The product with the window at every position: `[1, outputs, positions]`."""
    count = math.prod(at.shape[:-2])
    rows = walk.index(t, at.reshape(1, count, -1), near.reshape(1, count, -1))
    return _product(walk, t, rows, matrix, groups)


def _product(walk: Walk, t: Scaled, rows: Scaled, matrix: Known, groups: int) -> Scaled:
    done = contract(walk, replace(rows, batched=t.batched), matrix, groups)
    return walk.transpose(done, (0, 2, 1))


def _biased(t: Scaled, bias: Tensor | None) -> Scaled:
    if bias is None:
        return t
    term = ex.spread(known(bias, "bias").reals(), (t.shape[1],))
    return t.plus(ex.compress(term.reshape(-1, *(1,) * (len(t.shape) - 2))))


def grown(spatial: Shape, window: Window, extra: Shape) -> Shape:
    """The lengths that a transposed convolution makes before its padding is cut off; `extra` are added behind."""
    sizes = zip(spatial, window.strides, window.reach(), extra, strict=True)
    return tuple((n - 1) * s + r + e for n, s, r, e in sizes)


def conv_transpose(
    walk: Walk, t: Scaled, kernel: Known, bias: Tensor | None, window: Window, counts: Shape, groups: int = 1
) -> Scaled:
    """A transposed convolution with `[channels, outputs of a group, taps...]`, of `counts` elements in each dimension.

    Every output position sees the taps its stride reaches, so there is one function for each phase.
    """
    t = settled(walk, t)
    size, strides, before = window.size, window.strides, window.before
    taps = _taps(counts, size, strides, window.dilations, before)
    outputs = kernel.shape[1] * groups
    # The kernel as [outputs, channels of a group, taps], as a convolution has it.
    ordered = view(kernel, lambda a: _as_conv(a, groups))
    parts, order, idle = [], [], []
    for phase in np.ndindex(*strides):
        spots = np.stack(
            [
                m.ravel()
                for m in np.meshgrid(
                    *(
                        np.arange(n)[(np.arange(n) + b) % s == p]
                        for n, b, s, p in zip(counts, before, strides, phase, strict=True)
                    ),
                    indexing="ij",
                )
            ],
            axis=-1,
        )
        if not len(spots):
            continue
        at, near, live = _phase(t.shape, spots, taps, size)
        matrix = view(ordered, lambda a, live=live: a[:, :, live]) if live else None
        if matrix is None:
            idle.append(np.ravel_multi_index(tuple(spots.T), counts))
            continue
        order.append(np.ravel_multi_index(tuple(spots.T), counts))
        parts.append(_windows(walk, t, at, near, _block_diagonal(matrix, groups), groups))
    if not parts:
        raise Refusal("has outputs that no tap of the kernel reaches alone", "leave the layer away")
    if idle:  # what no tap reaches is 0, and then the bias; it takes the scale of the other elements
        order += idle
        count = sum(map(len, idle))
        zeros = walk.constant(ex.number(0), (outputs, count))
        parts.append(Scaled((1, outputs, count), zeros, scale=parts[0].scale))
    whole = joined(walk, parts, 2) if len(parts) > 1 else parts[0]
    back = np.argsort(np.concatenate(order))
    index = np.arange(outputs * len(back)).reshape(outputs, -1)[:, back]
    placed = whole if len(parts) == 1 else walk.index(whole, index[None])
    return _biased(walk.reshape(placed, (1, outputs, *counts)), bias)


def _as_conv(kernel: Any, groups: int) -> Any:
    channels, outputs = kernel.shape[:2]
    split = kernel.reshape(groups, channels // groups, outputs, -1)
    return split.transpose(0, 2, 1, 3).reshape(groups * outputs, channels // groups, -1)


def _taps(counts: Any, size: Any, strides: Any, dilations: Any, before: Any) -> list[Any]:
    """For each dimension `[positions, taps]`: the element a tap reaches, or -1 where the stride skips it."""
    found = []
    for n, k, s, d, b in zip(counts, size, strides, dilations, before, strict=True):
        at = np.arange(n)[:, None] + b - np.arange(k)[None, :] * d
        found.append(np.where(at % s == 0, at // s, -(1 << 30)))
    return found


def _phase(shape: Any, spots: Any, taps: list[Any], size: Any) -> tuple[Any, Any, list[int]]:
    """What a phase's positions see: element positions as `positions` gives them, and which taps they use at all."""
    spatial = shape[2:]
    index = np.arange(math.prod(shape)).reshape(shape[1:])
    columns, near, live = [], [], []
    for flat, tap in enumerate(np.ndindex(*size)):
        at = [taps[i][spots[:, i], tap[i]] for i in range(len(size))]
        if any((a < -(1 << 29)).all() for a in at):
            continue
        live.append(flat)
        inside = np.all([(a >= 0) & (a < n) for a, n in zip(at, spatial, strict=True)], axis=0)
        close = index[(slice(None), *(np.clip(a, 0, n - 1) for a, n in zip(at, spatial, strict=True)))].T
        columns.append(np.where(inside[:, None], close, -1))
        near.append(close)
    if not live:
        return None, None, live
    return np.stack(columns, axis=-1), np.stack(near, axis=-1), live
