"""Reductions and pooling: sums, means, largest and smallest elements."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from lutc.ir.graph import Value
from lutc.lowering import exact as ex
from lutc.lowering.elementwise import absolute, product
from lutc.lowering.layout import settled
from lutc.lowering.operands import keep_samples_apart
from lutc.lowering.tensors import Scaled, concrete, core, plain
from lutc.lowering.walk import Walk
from lutc.lowering.windows import Window, positions

Reduction = Callable[[Walk, Scaled, Sequence[int]], Scaled]


def _kept(shape: Sequence[int], axes: Sequence[int], keep: bool) -> tuple[int, ...]:
    return tuple(1 if i in axes else n for i, n in enumerate(shape) if keep or i not in axes)


def reduce(walk: Walk, t: Scaled, axes: Sequence[int], by: Reduction, keep: bool = True) -> Scaled:
    """The elements along dimensions made one `by` a function below; the dimensions stay with length 1, or go."""
    keep_samples_apart(t, axes)
    return walk.reshape(by(walk, t, axes), _kept(t.shape, axes, keep))


def summed(walk: Walk, t: Scaled, axes: Sequence[int]) -> Scaled:
    """The sum along dimensions, which stay with length 1."""
    t = settled(walk, t)
    scale = ex.ranked(t.scale, len(t.shape))
    if any(scale.shape[i] > 1 for i in axes):
        unit, value = walk.exact(t)
        t = plain(t.shape, value, t, unit)
        scale = ex.ranked(t.scale, len(t.shape))
    shape = _kept(t.shape, axes, keep=True)
    value = concrete(t)
    gone = len(t.shape) - len(core(t.shape))
    inner = [i - gone for i in axes if i >= gone]
    if inner:
        value = walk.b.sum(value, axes=inner)
    value = walk.reshaped(value, core(shape))
    offset = ex.ranked(t.offset, len(t.shape))
    for i in axes:
        offset = offset.sum(axis=i, keepdims=True) * (1 if offset.shape[i] > 1 else t.shape[i])
    return Scaled(shape, value, scale, ex.compress(offset), integer=t.integer, batched=t.batched)


def mean(walk: Walk, t: Scaled, axes: Sequence[int]) -> Scaled:
    return summed(walk, t, axes).times(ex.number(Fraction(1, math.prod(t.shape[i] for i in axes))))


def sum_square(walk: Walk, t: Scaled, axes: Sequence[int]) -> Scaled:
    return summed(walk, product(walk, t, t), axes)


def sum_absolute(walk: Walk, t: Scaled, axes: Sequence[int]) -> Scaled:
    return summed(walk, absolute(walk, t), axes)


def largest(walk: Walk, t: Scaled, axes: Sequence[int]) -> Scaled:
    return extreme(walk, t, axes, largest=True)


def smallest(walk: Walk, t: Scaled, axes: Sequence[int]) -> Scaled:
    return extreme(walk, t, axes, largest=False)


def extreme(walk: Walk, t: Scaled, axes: Sequence[int], largest: bool) -> Scaled:
    """The largest or smallest element along dimensions, which stay with length 1."""
    rest = [i for i in range(len(t.shape)) if i not in axes]
    turned = walk.transpose(t, (*rest, *axes))
    outer = tuple(t.shape[i] for i in rest)
    count = math.prod(t.shape[i] for i in axes)
    index = np.arange(math.prod(t.shape)).reshape(*outer, count)
    done = largest_of(walk, turned, [index[..., i] for i in range(count)], largest)
    return walk.reshape(done, _kept(t.shape, axes, keep=True))


def largest_of(walk: Walk, t: Scaled, choices: Sequence[Any], largest: bool = True) -> Scaled:
    """Element by element the largest (smallest) of those at several arrays of flat positions.

    A common scale and common clips stay outside, for a monotone map commutes with the choice.
    """
    parts = [walk.index(t, at) for at in choices]
    first = parts[0]
    fields = ("scale", "offset", "lo", "hi")
    common = all(ex.equal(getattr(p, f), getattr(first, f)) for p in parts for f in fields)
    if not common or not (ex.every(lambda v: v > 0, first.scale) or ex.every(lambda v: v < 0, first.scale)):
        unit, value = walk.exact(t)
        t = plain(t.shape, value, t, unit)
        parts = [walk.index(t, at) for at in choices]
        first = parts[0]
    up = largest == ex.every(lambda v: v > 0, first.scale)
    values = [concrete(p) for p in parts]
    while len(values) > 1:  # pairs, so that the tree is flat
        pairs = zip(values[::2], values[1::2], strict=False)
        joined: list[Value] = [walk.b.max(a, b) if up else walk.b.min(a, b) for a, b in pairs]
        values = joined + values[len(joined) * 2 :]
    return replace(first, value=values[0], batched=t.batched)


# -- pooling --------------------------------------------------------------------------------------------------------


def max_pool(walk: Walk, t: Scaled, window: Window) -> Scaled:
    """The largest element of every window; what lies in the padding counts as minus infinity."""
    at, _ = positions(t.shape, window)
    at = np.moveaxis(at, -2, 0)[None]  # [1, channels, positions..., taps]
    at = np.where(at < 0, at.max(axis=-1, keepdims=True), at)  # another element of the window in its place
    choices = [at[..., i] for i in range(at.shape[-1])]
    return largest_of(walk, t, choices)


def average_pool(walk: Walk, t: Scaled, window: Window, count_padding: bool = False) -> Scaled:
    """The mean of every window, over its elements of the tensor, or with those of the padding."""
    t = settled(walk, t)
    at, near = positions(t.shape, window)
    at, near = np.moveaxis(at, -2, 0)[None], np.moveaxis(near, -2, 0)[None]
    counts = (at >= 0).sum(axis=-1)
    if count_padding:
        counts = np.broadcast_to(window.elements(t.shape[2:]), counts.shape)
    done = summed(walk, walk.index(t, at, near), [at.ndim - 1])
    done = walk.reshape(done, tuple(at.shape[:-1]))
    return done.times(ex.compress(np.asarray(Fraction(1) / ex.exact(counts), dtype=object)))
