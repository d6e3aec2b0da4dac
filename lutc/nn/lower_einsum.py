"""A product in Einstein's notation becomes one matrix product per index that both operands and the result share."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from lutc.ir.graph import Const, Value
from lutc.types import tensor

from .einsum import QEinsum
from .lowering import Exporter, Unsupported, constant, lower, over_rows, quantise


@lower.register
def _(layer: QEinsum, b: Exporter, x: Value) -> Value:
    data, letters, out = (t.removeprefix(layer.terms[0][0]) for t in layer.terms)
    sizes = dict(zip(letters, layer.weight.shape, strict=True))
    shape = x.type.shape
    if len(shape) != len(data) or any(sizes.get(c, n) != n for c, n in zip(data, shape, strict=True)):
        raise Unsupported(f"the layer computes {layer.equation}, but is given {list(shape)}")
    sizes |= dict(zip(data, shape, strict=True))
    x = quantise(layer.input_quantizer, b, x)
    if gone := [i for i, c in enumerate(data) if c not in letters + out]:  # summed before the product
        x = b.sum(x, axes=gone)
        data = "".join(c for c in data if c in letters + out)
    shared = [c for c in data if c in letters and c in out]
    joined = [c for c in data if c in letters and c not in out]
    rows = [c for c in data if c not in letters]
    columns = [c for c in letters if c not in data and c in out]
    x = _ordered(b, x, data, [*shared, *rows, *joined])
    groups, count, width, filters = (
        math.prod(sizes[c] for c in part) for part in (shared, rows, joined, columns)
    )
    lines = b.reshape(x, shape=[groups, count * width])
    weight, _ = layer.quantised()
    formats = np.empty(weight.numel(), dtype=object)
    formats[:] = constant(b, "weight", weight, layer.weight_quantizer).type.formats
    order = [letters.index(c) for c in (*shared, *joined, *columns)]
    reals, kinds = (
        a.reshape(weight.shape).transpose(order).reshape(groups, width, filters)
        for a in (weight.double().numpy(), formats)
    )
    parts = []
    for g in range(groups):
        kind = tensor((width, filters), kinds[g].ravel().tolist())
        matrix = b.constant(b.unique("weight"), kind, reals[g])
        mine = b.gather(lines, indices=[g], axis=0)
        mine = b.reshape(mine, shape=[count, width] if count > 1 else [width])
        done = over_rows(b, mine, width, partial(_product, matrix=matrix))
        parts.append(b.reshape(done, shape=[1, count * filters]))
    whole = parts[0] if groups == 1 else b.concat(*parts, axis=0)
    found = [*shared, *rows, *columns]
    return _ordered(b, b.reshape(whole, shape=[sizes[c] for c in found]), "".join(found), list(out))


def _product(b: Exporter, row: Value, matrix: Const) -> Value:
    return b.dense(row, matrix)  # type: ignore[no-any-return]


def _ordered(b: Exporter, x: Value, letters: str, wanted: list[str]) -> Value:
    perm = [letters.index(c) for c in wanted]
    return x if perm == list(range(len(perm))) else b.transpose(x, perm=perm)
