"""Rows of a constant at indices that are data: a table for every column."""

from __future__ import annotations

import numpy as np

from lutc.lowering import exact as ex
from lutc.lowering.curve import KEY_BITS, looked_up
from lutc.lowering.formats import hull
from lutc.lowering.linear import integers
from lutc.lowering.refusals import Refusal
from lutc.lowering.tensors import Curve, Known, Scaled, concrete, core
from lutc.lowering.walk import Walk
from lutc.types import Fixed, uniform


def rows(walk: Walk, op: str, table: Known, t: Scaled, axis: int) -> Scaled | Curve:
    """The rows of a constant at indices computed by the design. An index beyond the table has no meaning: 0 here.

    A table of floats that are not quantised is a function, for a quantiser behind to round; `op` is what messages call
    it. Raises Refusal for an index of too many bits.
    """
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
        walk.note(
            f"{walk.layer.label if walk.layer else op} has rows 0 to {length - 1}: for other indices its result is 0"
        )
    codes, scale = (table.codes, table.scale)
    if codes is None:
        try:
            codes, scale = integers(table)
        except Refusal:  # a quantiser behind may round it
            codes, scale = None, ex.number(1)
    lines = [_placed(table.array if codes is None else codes, i, axis, t.shape) for i in index]
    array = np.stack(lines).reshape(len(lines), *core(shape)) if core(shape) != shape else np.stack(lines)
    curve = Curve(shape, key, array.astype(np.float64 if codes is not None else table.array.dtype), op)
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
