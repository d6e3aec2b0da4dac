"""Reductions and pooling: sums, means, largest and smallest elements."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from lutc.ir.graph import Value
from lutc.lowering import exact as ex
from lutc.lowering.exact import Exact
from lutc.lowering.operands import axis_of, computed, keep_samples_apart, small
from lutc.lowering.tensors import Scaled, Tensor, concrete, core, plain
from lutc.lowering.walk import Walk
from lutc.lowering.windows import Window, one_sample, positions

from .elementwise import product
from .linear import settled
from .model import Node
from .rule import Inputs, Rule, needed, optional, rule
from .windows import window_of


def _axes(node: Node, inputs: Inputs, rank: int) -> list[int]:
    """The dimensions reduced: an attribute in older operator sets, an input in newer ones."""
    given, keep_all = node.get("axes", None), node.get("noop_with_empty_axes", 0)
    if given is None and optional(inputs, 1) is not None:
        given = [int(v) for v in np.asarray(small(inputs[1])).ravel()]
    if not given:
        return [] if keep_all else list(range(rank))
    return sorted({axis_of(a, rank) for a in given})


def _kept(shape: Sequence[int], axes: Sequence[int], keep: bool) -> tuple[int, ...]:
    return tuple(1 if i in axes else n for i, n in enumerate(shape) if keep or i not in axes)


def reduce(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """ReduceSum, ReduceMean, ReduceMax, ReduceMin, ReduceSumSquare and ReduceL1."""
    t = computed(needed(inputs, 0))
    axes = _axes(node, inputs, len(t.shape))
    keep_samples_apart(t, axes)
    shape = _kept(t.shape, axes, bool(node.get("keepdims", 1)))
    if node.op in ("ReduceMax", "ReduceMin"):
        done = extreme(walk, t, axes, node.op == "ReduceMax")
    else:
        if node.op == "ReduceSumSquare":
            t = product(walk, t, t)
        elif node.op == "ReduceL1":
            unit, value = walk.exact(t)
            t = plain(t.shape, walk.b.abs(value), t, unit)
        done = summed(walk, t, axes)
        if node.op == "ReduceMean":
            done = done.times(ex.number(Fraction(1, math.prod(t.shape[i] for i in axes))))
    return walk.reshape(done, shape)


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
    common = all(_equal(getattr(p, f), getattr(first, f)) for p in parts for f in fields)
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


def _equal(a: Exact, b: Exact) -> bool:
    return a.shape == b.shape and bool((a == b).all())


# -- pooling --------------------------------------------------------------------------------------------------------


def _window(node: Node, t: Scaled) -> Window:
    one_sample(t)
    return window_of(node, node.get("kernel_shape", ()), t.shape[2:])


def max_pool(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    t = computed(needed(inputs, 0))
    at, _ = positions(t.shape, _window(node, t))
    at = np.moveaxis(at, -2, 0)[None]  # [1, channels, positions..., taps]
    # What lies in the padding counts as minus infinity: an element of the same window stands in for it.
    at = np.where(at < 0, at.max(axis=-1, keepdims=True), at)
    choices = [at[..., i] for i in range(at.shape[-1])]
    return largest_of(walk, t, choices)


def average_pool(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    t = settled(walk, computed(needed(inputs, 0)))
    window = _window(node, t)
    at, near = positions(t.shape, window)
    at, near = np.moveaxis(at, -2, 0)[None], np.moveaxis(near, -2, 0)[None]
    counts = (at >= 0).sum(axis=-1)
    if node.get("count_include_pad", 0):
        counts = np.broadcast_to(window.elements(t.shape[2:]), counts.shape)
    done = summed(walk, walk.index(t, at, near), [at.ndim - 1])
    done = walk.reshape(done, tuple(at.shape[:-1]))
    return done.times(ex.compress(np.asarray(Fraction(1) / ex.exact(counts), dtype=object)))


def global_pool(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    t = computed(needed(inputs, 0))
    axes = list(range(2, len(t.shape)))
    if node.op == "GlobalMaxPool":
        return extreme(walk, t, axes, largest=True)
    return summed(walk, t, axes).times(ex.number(Fraction(1, math.prod(t.shape[2:]))))


RULES: dict[str, Rule] = {
    **{f"Reduce{what}": rule(reduce) for what in ("Sum", "Mean", "Max", "Min", "SumSquare", "L1")},
    "MaxPool": rule(max_pool),
    "AveragePool": rule(average_pool),
    "GlobalAveragePool": rule(global_pool),
    "GlobalMaxPool": rule(global_pool),
}
