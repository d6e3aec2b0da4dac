"""A product in Einstein's notation becomes one matrix product per index that both operands and the result share."""

from __future__ import annotations

import math

from lutc.ir.graph import Value
from lutc.lowering.letters import Contraction, without
from lutc.lowering.moves import ordered
from lutc.lowering.refusals import Refusal

from .einsum import QEinsum
from .rules import Exporter, Weights, lower, over_rows, product, quantise


@lower.register
def _(layer: QEinsum, b: Exporter, x: Value) -> Value:
    data, letters, out = (t.removeprefix(layer.terms[0][0]) for t in layer.terms)
    sizes = dict(zip(letters, layer.weight.shape, strict=True))
    shape = x.type.shape
    if len(shape) != len(data) or any(sizes.get(c, n) != n for c, n in zip(data, shape, strict=True)):
        raise Refusal(f"the layer computes {layer.equation}, but is given {list(shape)}")
    sizes |= dict(zip(data, shape, strict=True))
    axes = Contraction.of(data, letters, out)
    x = quantise(layer.input_quantizer, b, x)
    if gone := axes.alone[0]:  # summed before the product
        x = b.sum(x, axes=[data.index(c) for c in gone])
        data = without(data, gone)
    x = ordered(b, x, data, axes.shared + axes.rows + axes.summed)
    groups, count, width, filters = (
        math.prod(sizes[c] for c in part) for part in (axes.shared, axes.rows, axes.summed, axes.columns)
    )
    lines = b.reshape(x, shape=[groups, count * width])
    order = [letters.index(c) for c in axes.shared + axes.summed + axes.columns]
    weight = Weights.of(layer.quantised()[0], layer.weight_quantizer).moved(
        lambda a: a.transpose(order).reshape(groups, width, filters)
    )
    parts = []
    for g in range(groups):
        mine = b.gather(lines, indices=[g], axis=0)
        mine = b.reshape(mine, shape=[count, width] if count > 1 else [width])
        done = over_rows(b, mine, width, product(weight.moved(lambda a, g=g: a[g])))  # type: ignore[misc]
        parts.append(b.reshape(done, shape=[1, count * filters]))
    whole = parts[0] if groups == 1 else b.concat(*parts, axis=0)
    found = axes.shared + axes.rows + axes.columns
    return ordered(b, b.reshape(whole, shape=[sizes[c] for c in found]), found, out)
