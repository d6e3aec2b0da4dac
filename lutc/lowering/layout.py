"""Moving elements: under other shapes, from and to other places, out of and into other tensors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lutc.ir.graph import Value
from lutc.lowering import exact as ex
from lutc.lowering.exact import Exact
from lutc.lowering.operands import ACROSS_HELP, BROKEN, NOTHING, keep_samples_apart
from lutc.lowering.refusals import Refusal
from lutc.lowering.tensors import Known, Scaled, Tensor, concrete, core, plain
from lutc.lowering.walk import Walk


def settled(walk: Walk, t: Scaled) -> Scaled:
    """The tensor without clips: products do not commute with them, nor do zeros beside its elements."""
    if not t.clips():
        return replace(t, lo=ex.number(-ex.INF), hi=ex.number(ex.INF))
    unit, value = walk.exact(t)
    return plain(t.shape, value, t, unit)


def reshaped(walk: Walk, t: Scaled, shape: tuple[int, ...]) -> Scaled:
    """The elements under another shape; samples stay in the first dimension. Raises Refusal if they do not."""
    if int(np.prod(shape)) != int(np.prod(t.shape)):
        raise Refusal(f"gives {list(t.shape)} the shape {list(shape)}", BROKEN)
    if t.batched and (not shape or shape[0] != 1):
        raise Refusal(
            "mixes the batch with other dimensions: dimension 0 counts samples, and a circuit sees one at a time",
            ACROSS_HELP,
        )
    return walk.reshape(t, shape)


def concat(walk: Walk, parts: Sequence[Tensor], axis: int) -> Scaled:
    """Tensors one after the other along a dimension."""
    for p in parts:
        if isinstance(p, Scaled):
            keep_samples_apart(p, (axis,))
    return joined(walk, parts, axis)


def joined(walk: Walk, parts: Sequence[Tensor], axis: int) -> Scaled:
    """Tensors one after the other; each keeps its scale. Constants become values of the design."""
    data = [p if isinstance(p, Scaled) else given(walk, p) for p in parts]
    shape = list(data[0].shape)
    shape[axis] = sum(p.shape[axis] for p in data)
    values: list[Value] = []
    for p in data:
        values.append(walk.reshaped(concrete(p), p.shape))
    inner = axis
    if shape[0] == 1 and axis > 0:
        values, inner = [concrete(p) for p in data], axis - 1
    value: Value = walk.b.concat(values, axis=inner)
    to = tuple(shape)
    value = walk.reshaped(value, core(to))
    scale, offset, lo, hi = (
        ex.compress(np.concatenate([ex.spread(getattr(p, part), p.shape) for p in data], axis=axis))
        for part in ("scale", "offset", "lo", "hi")
    )
    first = next(p for p in parts if isinstance(p, Scaled))
    return Scaled(to, value, scale, offset, lo, hi, first.integer, any(p.batched for p in data))


def given(walk: Walk, constant: Known) -> Scaled:
    """A constant as a value of the design: codes and a scale if it is quantised, else the dyadic numbers it is."""
    if constant.codes is not None:
        whole = ex.exact(constant.codes)
        value = walk.constant(
            ex.spread(whole, constant.shape).reshape(core(constant.shape)), core(constant.shape)
        )
        return Scaled(constant.shape, value, scale=constant.scale)
    reals = ex.spread(constant.reals(), constant.shape).reshape(core(constant.shape))
    return Scaled(constant.shape, walk.constant(reals, core(constant.shape)))


def merged(walk: Walk, parts: Sequence[Tensor], index: Any) -> Scaled:
    """Elements of several tensors: `index` are flat positions in all of them, one tensor after the other."""
    flat = [walk.reshape(given(walk, t) if isinstance(t, Known) else t, (math.prod(t.shape),)) for t in parts]
    data = [t for t in parts if isinstance(t, Scaled)]
    done = walk.index(joined(walk, flat, 0), index)
    return replace(done, integer=data[0].integer, batched=any(t.batched for t in data))


def picked(walk: Walk, t: Scaled, pick: Any) -> Scaled:
    """The elements that a function of arrays picks: it is run on their positions."""
    positions = np.ascontiguousarray(pick(np.arange(int(np.prod(t.shape))).reshape(t.shape)))
    if not positions.size:
        raise Refusal(*NOTHING)
    if positions.size == np.prod(t.shape) and (positions.ravel() == np.arange(positions.size)).all():
        return walk.reshape(t, tuple(positions.shape))
    return walk.index(t, positions)


def rearranged(walk: Walk, t: Scaled, at: Any) -> Scaled:
    """The elements at flat positions, in the shape of the array `at`; -1 stands for the number 0."""
    if at.shape[:1] != t.shape[:1]:
        keep_samples_apart(t, (0,))
    if not at.size:
        raise Refusal(*NOTHING)
    if (at >= 0).all():
        return picked(walk, t, lambda a: a.ravel()[at])
    # A zero takes the scale of an element of the same row, so that scales of channels stay together.
    near = np.where(at < 0, at.max(axis=-1, keepdims=True), at)
    t = settled(walk, t)
    if (near < 0).any() and ex.lone(t.scale) is None:
        unit, value = walk.exact(t)
        t = Scaled(t.shape, value, ex.number(unit), integer=t.integer, batched=t.batched)
    return walk.index(t, at, np.maximum(near, 0))


def pad(
    walk: Walk, t: Scaled, widths: Sequence[tuple[int, int]], number: Exact, mode: Any = "constant"
) -> Scaled:
    """The tensor with a number around it, or with elements of its own in another of numpy's modes.

    The widths say how much is added before and after in every dimension; below 0 they cut elements off.
    """
    keep_samples_apart(t, [i for i, w in enumerate(widths) if w != (0, 0)])
    cut = tuple(slice(max(-a, 0), n - max(-b, 0)) for n, (a, b) in zip(t.shape, widths, strict=True))
    if any(min(w) < 0 for w in widths):
        t = picked(walk, t, lambda a: a[cut])
    index = np.arange(int(np.prod(t.shape))).reshape(t.shape)
    more = [(max(a, 0), max(b, 0)) for a, b in widths]
    if mode != "constant":
        return walk.index(t, np.pad(index, more, mode=mode))
    near = np.pad(index, more, mode="edge")
    # The constant is moved to 0, which is what stands in for elements outside.
    moved = settled(walk, t.plus(ex.times(number, ex.number(-1))))
    return walk.index(moved, np.pad(index, more, constant_values=-1), near).plus(number)
