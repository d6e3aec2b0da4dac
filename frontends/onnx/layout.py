"""Operators that only move elements, and those that ask for shapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lutc.lowering import layout as kit
from lutc.lowering.operands import BROKEN, axis_of, computed, keep_samples_apart, small
from lutc.lowering.refusals import Refusal
from lutc.lowering.tensors import SAMPLES, Known, Scaled, Tensor
from lutc.lowering.walk import Walk

from .model import Node
from .rule import Inputs, Rule, needed, optional, rule


def ints(t: Tensor | None) -> list[int]:
    return [int(v) for v in np.asarray(small(t)).ravel()]


def reshape(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    t = computed(needed(inputs, 0))
    wish = ints(needed(inputs, 1))
    if not node.get("allowzero", 0):
        wish = [t.shape[i] if n == 0 and i < len(t.shape) else n for i, n in enumerate(wish)]
    rest = int(np.prod([n for n in wish if n != -1], dtype=np.int64))
    size = int(np.prod(t.shape, dtype=np.int64))
    return kit.reshaped(walk, t, tuple(size // max(rest, 1) if n == -1 else n for n in wish))


def flatten(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    t = computed(needed(inputs, 0))
    axis = int(node.get("axis", 1))
    axis = axis + len(t.shape) if axis < 0 else axis
    ends = (int(np.prod(t.shape[:axis], dtype=np.int64)), int(np.prod(t.shape[axis:], dtype=np.int64)))
    return kit.reshaped(walk, t, ends)


def squeeze(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    t = computed(needed(inputs, 0))
    axes = list(node.get("axes", ())) or (ints(inputs[1]) if optional(inputs, 1) is not None else [])
    gone = [axis_of(a, len(t.shape)) for a in axes] or [i for i, n in enumerate(t.shape) if n == 1]
    return kit.reshaped(walk, t, tuple(n for i, n in enumerate(t.shape) if i not in gone))


def unsqueeze(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    t = computed(needed(inputs, 0))
    axes = list(node.get("axes", ())) or ints(needed(inputs, 1))
    rank = len(t.shape) + len(axes)
    new = {axis_of(a, rank) for a in axes}
    rest = iter(t.shape)
    return kit.reshaped(walk, t, tuple(1 if i in new else next(rest) for i in range(rank)))


def transpose(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    t = computed(needed(inputs, 0))
    perm = tuple(node.get("perm", None) or reversed(range(len(t.shape))))
    if perm[0] != 0:
        keep_samples_apart(t, (0,))
    return walk.transpose(t, perm)


def concat(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    parts = [p for p in inputs if p is not None]
    axis = axis_of(node.get("axis", 1), len(parts[0].shape))
    return kit.concat(walk, parts, axis)


def slice_(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """Slice: attributes before operator set 10, inputs since."""
    t = computed(needed(inputs, 0))
    rank = len(t.shape)
    if node.version < 10:
        starts, ends = list(node.get("starts", ())), list(node.get("ends", ()))
        axes, steps = list(node.get("axes", ())) or list(range(len(starts))), [1] * len(starts)
    else:
        starts, ends = ints(needed(inputs, 1)), ints(needed(inputs, 2))
        axes = ints(inputs[3]) if optional(inputs, 3) is not None else list(range(len(starts)))
        steps = ints(inputs[4]) if optional(inputs, 4) is not None else [1] * len(starts)
    where = [slice(None)] * rank
    for a, first, last, step in zip(axes, starts, ends, steps, strict=True):
        axis = axis_of(a, rank)
        keep_samples_apart(t, (axis,) if step != 1 or first != 0 or last < 1 else ())
        # An end far below zero means "through element 0" when walking backwards.
        stop = None if step < 0 and last < -t.shape[axis] else last
        where[axis] = slice(first, stop, step)
    return kit.picked(walk, t, lambda a: a[tuple(where)])


def split(walk: Walk, node: Node, inputs: Inputs) -> tuple[Tensor, ...]:
    """Split: the sizes are an attribute before operator set 13 and an input since."""
    t = computed(needed(inputs, 0))
    axis = axis_of(node.get("axis", 0), len(t.shape))
    keep_samples_apart(t, (axis,))
    length, count = t.shape[axis], len(node.outputs)
    if node.get("num_outputs", count) != count:
        raise Refusal(
            f"has num_outputs={node.get('num_outputs', count)} and {count} outputs",
            BROKEN,
        )
    sizes = list(node.get("split", ())) or (ints(inputs[1]) if optional(inputs, 1) is not None else [])
    if not sizes:
        each = -(-length // count)
        sizes = [each] * (count - 1) + [length - each * (count - 1)]
    edges = np.cumsum([0, *sizes])
    return tuple(
        kit.picked(walk, t, lambda a, i=i: np.take(a, range(edges[i], edges[i + 1]), axis=axis))
        for i in range(len(sizes))
    )


def expand(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    t = computed(needed(inputs, 0))
    return walk.broadcast(t, tuple(np.broadcast_shapes(t.shape, tuple(ints(needed(inputs, 1))))))


def shape_of(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """Shape: known, since a circuit has fixed dimensions; the length of a batch is known for several."""
    ends = slice(int(node.get("start", 0)), node.get("end", None))
    return _counted(needed(inputs, 0), lambda shape: np.array(shape[ends], dtype=np.int64))


def size_of(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    return _counted(needed(inputs, 0), lambda shape: np.array(int(np.prod(shape)), dtype=np.int64))


def _counted(t: Tensor, of: Callable[[tuple[int, ...]], Any]) -> Known:
    """A number of a shape, for every length of the batch."""
    once = of(t.shape)
    if not isinstance(t, Scaled) or not t.batched:
        return Known(once)
    counts = tuple(of((n, *t.shape[1:])) for n in SAMPLES)
    return Known(once) if all(np.array_equal(c, once) for c in counts) else Known(once, counts=counts)


RULES: dict[str, Rule] = {
    "Reshape": rule(reshape, moves=True),
    "Flatten": rule(flatten, moves=True),
    "Squeeze": rule(squeeze, moves=True),
    "Unsqueeze": rule(unsqueeze, moves=True),
    "Transpose": rule(transpose, moves=True),
    "Concat": rule(concat),
    "Slice": rule(slice_, moves=True),
    "Split": rule(split),
    "Expand": rule(expand, moves=True),
    "Shape": rule(shape_of),
    "Size": rule(size_of),
}
