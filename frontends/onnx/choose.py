"""Operators that choose elements by index: the largest one, rows of a table, places that others are written to."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from lutc.lowering import exact as ex
from lutc.lowering.operands import axis_of, computed, keep_samples_apart, small
from lutc.lowering.refusals import Refusal
from lutc.lowering.scores import argmax
from lutc.lowering.tensors import Curve, Known, Scaled, Tensor, concrete, core
from lutc.lowering.walk import Walk
from lutc.types import Fixed, uniform

from .curve import KEY_BITS, looked_up
from .layout import given, joined, picked
from .linear import hull, integers
from .model import Node, fold
from .reasons import REASONS
from .reduce import extreme
from .rule import Inputs, Rule, needed, rule


def top_k(walk: Walk, node: Node, inputs: Inputs) -> tuple[Tensor, ...]:
    """TopK of one element: the largest (or smallest) and the first index it has. Raises Refusal for more elements."""
    t = computed(needed(inputs, 0))
    count = node.get("k", None) if node.version < 10 else int(np.asarray(small(needed(inputs, 1))).item())
    if count != 1:
        raise Refusal(*REASONS["TopK"])
    node.get("sorted", 1)  # one element is sorted
    axis = axis_of(node.get("axis", -1), len(t.shape))
    keep_samples_apart(t, (axis,))
    largest = bool(node.get("largest", 1))
    used = [n for n in node.outputs[:2] if n and (n in walk.consumers or n in walk.model.outputs)]
    value = extreme(walk, t, [axis], largest) if node.outputs[0] in used else t
    if not node.outputs[1:] or node.outputs[1] not in used:
        return (value,)
    return value, argmax(walk, t, axis, largest=largest)


def gather(walk: Walk, node: Node, inputs: Inputs) -> Tensor | Curve:
    """Gather at constant indices, or of a constant at indices that are data: a table for every column."""
    x, where = needed(inputs, 0), needed(inputs, 1)
    axis = axis_of(node.get("axis", 0), len(x.shape))
    if isinstance(where, Scaled):
        if isinstance(x, Scaled):
            raise Refusal("takes elements of data at indices that are data", "take them at constant indices")
        return _rows(walk, node, x, where, axis)
    t, at = computed(x), where.array
    keep_samples_apart(t, (axis,))
    if at.size and not -t.shape[axis] <= at.min() <= at.max() < t.shape[axis]:
        raise Refusal(f"takes an index beyond a dimension of length {t.shape[axis]}", "check the model")
    return picked(walk, t, lambda a: np.take(a, at % t.shape[axis], axis=axis))


def _rows(walk: Walk, node: Node, table: Known, t: Scaled, axis: int) -> Scaled | Curve:
    """The rows of a constant at indices computed by the design. An index beyond the table has no meaning: 0 here."""
    value, length = concrete(t), table.shape[axis]
    fmt = value.type.format or hull(value.type.formats)
    if fmt.width > KEY_BITS:
        raise Refusal(
            f"takes rows of a constant at an index of {fmt.width} bits: a table for it would be too large",
            f"say how many bits the index has: an input type such as u{max((length - 1).bit_length(), 1)}, "
            f"of at most {KEY_BITS}",
        )
    before, after = table.shape[:axis], table.shape[axis + 1 :]
    shape = (*before, *t.shape, *after)
    spread = walk.broadcast(walk.reshape(t, (*(1,) * len(before), *t.shape, *(1,) * len(after))), shape)
    key = concrete(spread)
    if key.type.format is None:
        key = walk.b.quant(key, to=uniform(key.type.shape, fmt))
    index = _indices(t, fmt)
    if any(not -length <= i < length for i in index):
        walk.note(f"{node.label} has rows 0 to {length - 1}: for other indices its result is 0")
    codes, scale = (table.codes, table.scale)
    if codes is None:
        try:
            codes, scale = integers(table)
        except Refusal:  # a quantiser behind may round it
            codes, scale = None, ex.number(1)
    rows = [_placed(table.array if codes is None else codes, i, axis, t.shape) for i in index]
    array = np.stack(rows).reshape(len(rows), *core(shape)) if core(shape) != shape else np.stack(rows)
    curve = Curve(shape, key, array.astype(np.float64 if codes is not None else table.array.dtype), "Gather")
    if codes is None:
        return curve
    factor = ex.lone(scale)
    if factor is None:
        wide = ex.spread(scale, table.shape)
        scale = (
            ex.compress(_placed(wide, 0, axis, t.shape))
            if wide.shape[axis] == 1 or _alike(wide, axis)
            else None
        )
        if scale is None:
            raise Refusal(
                "has a scale for each row of its table", "quantise the table per tensor or per column"
            )
        scale = ex.compress(ex.spread(scale, shape))
    done = looked_up(walk, curve, Known(array, array.astype(np.int64), ex.number(1)))
    return done.times(scale if factor is None else ex.number(factor))


def _alike(array: ex.Exact, axis: int) -> bool:
    return bool((array == array.take([0], axis=axis)).all())


def _placed(table: ex.Exact, row: int, axis: int, inside: tuple[int, ...]) -> ex.Exact:
    """One row for every index of a tensor of indices."""
    n = table.shape[axis]
    line = (
        np.take(table, [row % n], axis=axis)
        if -n <= row < n
        else np.zeros_like(np.take(table, [0], axis=axis))
    )
    shape = (*table.shape[:axis], *inside, *table.shape[axis + 1 :])
    wide = line.reshape(*table.shape[:axis], *(1,) * len(inside), *table.shape[axis + 1 :])
    return np.broadcast_to(wide, shape)


def _indices(t: Scaled, fmt: Fixed) -> list[int]:
    """The index that every code of the value stands for."""
    scale, offset, lo, hi = (ex.lone(x) for x in (t.scale, t.offset, t.lo, t.hi))
    if scale is None or offset is None or lo is None or hi is None:
        raise Refusal("takes rows at indices with scales of their own", "use integer indices as they are")
    found = []
    for c in range(1 << fmt.width):
        code = c if c <= fmt.hi else c - (1 << fmt.width)
        found.append(int(min(max(code * fmt.step * scale + offset, lo), hi)))
    return found


def scatter(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """ScatterND and ScatterElements at constant indices: elements of the updates stand in the place of others."""
    data, where, updates = (needed(inputs, i) for i in range(3))
    at = small(where)
    if node.get("reduction", "none") not in ("none", None):
        raise Refusal(
            f"writes with reduction={node.get('reduction', '')!r}", "add the updates with Pad and Add instead"
        )
    count, more = math.prod(data.shape), math.prod(updates.shape)
    numbers = np.arange(count).reshape(data.shape)
    written = np.arange(count, count + more).reshape(updates.shape)
    index = np.asarray(fold(node, [numbers, at, written])[0])
    if (index >= count).sum() != more:
        raise Refusal("writes an element twice, and which of the two stays is not said", "write it once")
    parts = [_flat(walk, t) for t in (data, updates)]
    done = walk.index(joined(walk, parts, 0), index)
    batched = any(isinstance(t, Scaled) and t.batched for t in (data, updates))
    return replace(done, batched=batched)


def _flat(walk: Walk, t: Tensor) -> Scaled:
    return walk.reshape(given(walk, t) if isinstance(t, Known) else t, (math.prod(t.shape),))


RULES: dict[str, Rule] = {
    "TopK": rule(top_k),
    "Gather": rule(gather, moves=True),
    "ScatterElements": rule(scatter, evaluated=True),
    "ScatterND": rule(scatter, evaluated=True),
}
