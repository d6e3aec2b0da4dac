"""One function over all rows: a kernel, a neuron or a head is built once, and mapped over its positions."""

from __future__ import annotations

import math
from collections.abc import Callable

from lutc.build import Builder
from lutc.ir.graph import Value
from lutc.ir.ops.flow import Map
from lutc.lowering.formats import array, hull
from lutc.types import Type, tensor, uniform


def agree(kind: Type, keep: int = 1) -> bool:
    """Whether all rows, which are the last `keep` axes, have the same formats."""
    if kind.format is not None or not kind.size:
        return True
    size = math.prod(kind.shape[len(kind.shape) - keep :])
    first = kind.formats[:size]
    return all(kind.formats[at : at + size] == first for at in range(size, kind.size, size))


def alike(b: Builder, rows: Value) -> Value:
    """Rows `[n, ...]` in formats that are the same in all of them, by widening: no number changes."""
    if agree(rows.type, len(rows.type.shape) - 1):
        return rows
    count = rows.type.shape[0]
    wide = [hull(set(column)) for column in array(rows.type).reshape(count, -1).T.tolist()]
    widened: Value = b.quant(rows, to=tensor(rows.type.shape, wide * count))
    return widened


def mapped(b: Builder, rows: Value, inner: Builder, fn: Callable[[Value], Value], origin: str | None) -> Map:
    """`fn` at each of the rows `[n, *row]`, which agree in their formats: one function, which `inner` builds."""
    row, kind = rows.type.shape[1:], rows.type.format
    size = math.prod(row)
    x = inner.input("x", uniform(row, kind) if kind else tensor(row, rows.type.formats[:size]))
    with inner.origin(origin):
        func = inner.function(fn(x))
    return b.map(func, rows)  # type: ignore[no-any-return]
