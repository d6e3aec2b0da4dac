"""Movements of elements: what a numpy function does to an array of positions, by the plainest operations of the IR.

A movement is written once, as a numpy function. Run on the positions of the elements it says where each element of
the result comes from; `rearranged` then picks the plainest operation that does the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from lutc.build import Builder
from lutc.ir.graph import Value
from lutc.lowering.refusals import Refusal

Index = NDArray[np.int64]
SAMPLES = 3  # in the batch on which a movement must show that it keeps samples apart


def reshaped(b: Builder, x: Value, shape: Sequence[int]) -> Value:
    """The tensor under another shape; itself if it has it already."""
    result: Value = x if x.type.shape == tuple(shape) else b.reshape(x, shape=tuple(shape))
    return result


def spread(b: Builder, x: Value, shape: Sequence[int]) -> Value:
    """The tensor broadcast to a shape; itself if it has it already."""
    result: Value = x if x.type.shape == tuple(shape) else b.broadcast(x, shape=tuple(shape))
    return result


def ordered(b: Builder, x: Value, have: Sequence[object], want: Sequence[object]) -> Value:
    """Transpose the axes named ``have`` to the order ``want``."""
    perm = tuple(list(have).index(c) for c in want)
    result: Value = x if perm == tuple(range(len(perm))) else b.transpose(x, perm=perm)
    return result


def positions(shape: tuple[int, ...]) -> Index:
    """The position of every element, with a batch axis of length 1 in front as Keras sees the tensor."""
    return np.arange(math.prod(shape), dtype=np.int64).reshape(1, *shape)


def moved(fn: Callable[[Index], Index], index: Index) -> Index:
    """The movement `fn` of an array of positions with a batch axis of 1. Raises Refusal if it mixes samples.

    Whether it does cannot be seen on one sample: it is done again on several that differ.
    """
    size = int(index.max(initial=-1)) + 1
    try:
        result = np.asarray(fn(index))
        batch = np.concatenate([np.where(index < 0, -1, index + n * size) for n in range(SAMPLES)])
        many = np.asarray(fn(batch))
    except (ValueError, IndexError, TypeError, OverflowError, MemoryError) as cause:
        raise Refusal(f"it moves elements across the batch ({cause})", "keep the batch axis first") from None
    apart = np.concatenate([np.where(result < 0, -1, result + n * size) for n in range(SAMPLES)])
    if result.shape[:1] != (1,) or not np.array_equal(many, apart):
        raise Refusal("it mixes the samples of a batch", "keep the batch axis first and whole")
    return result


def joined(fn: Callable[[list[Index]], Index], parts: list[Index]) -> Index:
    """The same for a movement of several arrays into one."""
    ends = np.cumsum([p.size for p in parts])
    whole = np.concatenate([p.ravel() for p in parts])[np.newaxis]

    def apart(flat: Index) -> Index:
        pieces = np.split(flat, ends[:-1].tolist(), axis=1)
        return fn([a.reshape(len(flat), *p.shape[1:]) for a, p in zip(pieces, parts, strict=True)])

    return moved(apart, whole)


def gathered(b: Builder, x: Value, index: Index) -> Value:
    """The elements at these positions, in the shape of `index` (-1: the number 0), by one gather."""
    size = x.type.size
    flat = reshaped(b, x, (size,))
    if index.min(initial=0) < 0:
        flat = b.pad(flat, before=(0,), after=(1,))
    at = np.where(index < 0, size, index)
    return reshaped(b, b.gather(flat, indices=at.ravel(), axis=0), index.shape)


def rearranged(b: Builder, x: Value, index: Index) -> Value:
    """A tensor whose element at each place is the element of `x` that `index` names (-1: the number 0)."""
    shape, size = x.type.shape, x.type.size
    flat = index.ravel()
    if flat.size == size and np.array_equal(flat, np.arange(size)):
        return reshaped(b, x, index.shape)
    if index.min(initial=0) < 0:
        return _padded(b, x, index)
    if flat.size == size:
        where = np.arange(size).reshape(shape)
        for perm in permutations(range(len(shape))) if len(shape) <= 4 else ():
            if np.array_equal(where.transpose(perm).ravel(), flat):
                return reshaped(b, b.transpose(x, perm=perm), index.shape)
    picked = per_axis(index, shape)
    if picked is not None:
        return _pick(b, x, picked)
    return gathered(b, x, index)


def per_axis(index: Index, shape: tuple[int, ...]) -> list[Index] | None:
    """The indices taken of each axis, if the movement takes every axis on its own; else None."""
    if index.ndim != len(shape) or not index.size:
        return None
    picked = []
    for axis, coordinate in enumerate(np.unravel_index(index, shape)):
        along = np.moveaxis(coordinate, axis, 0).reshape(index.shape[axis], -1)
        if (along != along[:, :1]).any():
            return None
        picked.append(along[:, 0])
    return picked


def even(taken: Index) -> tuple[int, int, int] | None:
    """Start, stop and step of the slice that takes these indices, which are some; None if they are not even."""
    steps = np.diff(taken)
    if len(taken) > 1 and (steps[0] < 1 or (steps != steps[0]).any()):
        return None
    return int(taken[0]), int(taken[-1]) + 1, int(steps[0]) if len(taken) > 1 else 1


def _pick(b: Builder, x: Value, picked: list[Index]) -> Value:
    """Slices where an axis is taken in even steps, gathers where it is not."""
    cuts = [even(taken) or (0, n, 1) for taken, n in zip(picked, x.type.shape, strict=True)]
    start, stop, step = zip(*cuts, strict=True)
    if stop != x.type.shape or any(start) or set(step) != {1}:
        x = b.slice(x, start=start, stop=stop, step=() if set(step) == {1} else step)
    for axis, taken in enumerate(picked):
        if x.type.shape[axis] != len(taken) or not np.array_equal(
            taken - start[axis], np.arange(len(taken)) * step[axis]
        ):
            x = b.gather(x, indices=tuple(taken.tolist()), axis=axis)
    return x


def _padded(b: Builder, x: Value, index: Index) -> Value:
    """A movement with zeros in it: a border of them if that is all, else a gather from the tensor and one zero."""
    live = index >= 0
    if index.ndim == len(x.type.shape):
        before, after = [], []
        for axis in range(index.ndim):
            used = np.flatnonzero(live.any(axis=tuple(a for a in range(index.ndim) if a != axis)))
            if not len(used):
                break
            before.append(int(used[0]))
            after.append(index.shape[axis] - 1 - int(used[-1]))
        else:
            inner = index[tuple(slice(a, n - z) for a, z, n in zip(before, after, index.shape, strict=True))]
            if (inner >= 0).all():
                return b.pad(rearranged(b, x, inner), before=before, after=after)  # type: ignore[no-any-return]
    return gathered(b, x, index)
