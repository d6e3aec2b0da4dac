"""Operators that only move elements, and those that ask for shapes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from lutc.lowering import layout as kit
from lutc.lowering.operands import axis_of, computed, keep_samples_apart, small
from lutc.lowering.tensors import SAMPLES, Known, Scaled, Tensor
from lutc.lowering.walk import Walk

from .model import Node, fold
from .rule import Inputs, Rule, needed, rule


def ints(t: Tensor | None) -> list[int]:
    return [int(v) for v in np.asarray(small(t)).ravel()]


def reshape(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    t = computed(needed(inputs, 0))
    wish = ints(needed(inputs, 1))
    if not node.get("allowzero", 0):
        wish = [t.shape[i] if n == 0 and i < len(t.shape) else n for i, n in enumerate(wish)]
    rest = math.prod(n for n in wish if n != -1)
    size = math.prod(t.shape)
    return kit.reshaped(walk, t, tuple(size // max(rest, 1) if n == -1 else n for n in wish))


def shaped(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """Flatten, Squeeze and Unsqueeze: the shape that the standard's own evaluator gives."""
    t = computed(needed(inputs, 0))
    others = [None if x is None else small(x) for x in inputs[1:]]
    return kit.reshaped(walk, t, np.asarray(fold(node, [np.zeros(t.shape), *others])[0]).shape)


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
    **{op: rule(shaped, moves=True, evaluated=True) for op in ("Flatten", "Squeeze", "Unsqueeze")},
    "Transpose": rule(transpose, moves=True),
    "Concat": rule(concat),
    "Expand": rule(expand, moves=True),
    "Shape": rule(shape_of),
    "Size": rule(size_of),
}
