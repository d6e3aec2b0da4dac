"""LUT layers as operations of the IR: a truth table on every edge from an input to an output, summed by output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lutc.build import Builder
from lutc.ir.graph import Table, Value
from lutc.types import Fixed, Overflow, Rounding, holding, tensor


def edge_tables(
    name: str, shape: tuple[int, ...], keys: Sequence[Fixed], fractions: Sequence[int], codes: Any
) -> Table:
    """The tables of a layer [n_in, n_out], or one of shape (), in the order of a ROM, each in the narrowest format.

    keys: the key's format by edge, row-major.  fractions: by edge, the bits after the point of the table's values.
    codes: the values' codes (integers), all tables one after the other, each from its lowest key code to its highest.
    """
    values, entries, first = [], [], 0
    for key, frac in zip(keys, fractions, strict=True):
        mine = codes[first : first + (1 << key.width)]
        first += 1 << key.width
        if key.signed:
            mine = np.roll(mine, len(mine) // 2)  # a ROM has the negative half last
        values.append(holding(int(mine.min()), int(mine.max()), int(frac)))
        entries.append(mine)
    return Table(
        name, tensor(shape, list(keys)), tensor(shape, values), np.concatenate(entries).astype(object)
    )


def edge_sums(b: Builder, x: Value, tables: Table, rounding: Rounding, overflow: Overflow) -> Value:
    """``y_o = sum_i T_io(x_i)`` for ``x`` [n_in], which is quantised to each table's key."""
    shape = list(tables.key.shape)
    wide = b.broadcast(b.reshape(x, shape=[shape[0], 1]), shape=shape)
    key = b.quant(wide, to=tables.key, round=rounding, overflow=overflow)
    return b.sum(b.lut(key, tables), axes=[0])  # type: ignore[no-any-return]
