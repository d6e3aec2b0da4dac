"""LUT layers as operations of the IR: a truth table on every edge from an input to an output, summed by output."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lutc.build import Builder
from lutc.ir.graph import Table, Value
from lutc.lowering.lookup import Codes, rom_order, rom_tables
from lutc.types import Fixed, Overflow, Rounding, tensor


def edge_tables(
    name: str, shape: tuple[int, ...], keys: Sequence[Fixed], fractions: Sequence[int], codes: Codes
) -> Table:
    """The tables of a layer [n_in, n_out], or one of shape (), in the order of a ROM, each in the narrowest format.

    keys: the key's format by edge, row-major.  fractions: by edge, the bits after the point of the table's values.
    codes: the values' codes (integers), all tables one after the other, each from its lowest key code to its highest.
    """
    parts = np.split(codes, np.cumsum([1 << key.width for key in keys])[:-1])
    ordered = [rom_order(key, part) for key, part in zip(keys, parts, strict=True)]
    return rom_tables(name, tensor(shape, keys), ordered, fractions)


def edge_sums(b: Builder, x: Value, tables: Table, rounding: Rounding, overflow: Overflow) -> Value:
    """``y_o = sum_i T_io(x_i)`` for ``x`` [n_in], which is quantised to each table's key."""
    shape = list(tables.key.shape)
    wide = b.broadcast(b.reshape(x, shape=[shape[0], 1]), shape=shape)
    key = b.quant(wide, to=tables.key, round=rounding, overflow=overflow)
    return b.sum(b.lut(key, tables), axes=[0])  # type: ignore[no-any-return]
