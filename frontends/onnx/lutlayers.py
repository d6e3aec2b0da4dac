"""The operators of lutc's own domain, in which `lutc.nn.export_onnx` writes what no other dialect can say.

ir_spec/onnx.md defines them: Quantize (formats by element, overflow of every kind), LUTDense and LUTConv (truth
tables on every edge).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lutc.build import Builder
from lutc.ir.graph import Table, Value
from lutc.limits import MAX_WIDTH
from lutc.lowering.edges import edge_sums, edge_tables
from lutc.lowering.formats import formats
from lutc.lowering.linear import along_last, mapped
from lutc.lowering.operands import computed, small
from lutc.lowering.refusals import Refusal
from lutc.lowering.tensors import Pending, Scaled, Tensor, concrete, core, plain
from lutc.lowering.walk import Walk
from lutc.lowering.windows import one_sample, positions
from lutc.types import Fixed, Overflow, Rounding, tensor, uniform

from .conv import window_of
from .model import Node
from .rule import Inputs, Rule, needed, rule

DOMAIN = "lutc"
DAMAGED = "the model is broken: export it again with lutc.nn.export_onnx"
_MAX_KEY = 24  # bits: a table with a wider key has more entries than a file could hold


def modes(node: Node) -> tuple[Rounding, Overflow]:
    """The attributes that say how numbers are rounded and brought into range."""
    try:
        return Rounding(node.get("rounding", "")), Overflow(node.get("overflow", ""))
    except ValueError as e:
        words = ", ".join(m.value for m in (*Rounding, *Overflow))
        raise Refusal(f"has a rounding or overflow that is none: {e}", f"known are {words}") from None


def whole(t: Tensor | None, what: str) -> Any:
    """A constant tensor of integers. Raises Refusal for another."""
    array = np.asarray(small(t))
    if array.dtype.kind not in "iu" or (array.dtype == np.uint64 and (array >> 63).any()):
        raise Refusal(
            f"has a {what} of {array.dtype} numbers, and they must be integers below 2**63", DAMAGED
        )
    return array.astype(np.int64)


def fractions(t: Tensor | None, what: str) -> Any:
    """Numbers of bits after the point. Raises Refusal for some that no format of a circuit has."""
    array = whole(t, what)
    if (abs(array) > MAX_WIDTH).any():
        raise Refusal(f"has a {what} outside of -{MAX_WIDTH} to {MAX_WIDTH}", DAMAGED)
    return array


def stated(inputs: Inputs) -> Any:
    """The formats that inputs 1 to 3 give: an object array of `Fixed`, of their common shape."""
    width, signed = (whole(needed(inputs, i), n) for i, n in ((2, "width"), (3, "signed")))
    try:
        fraction, width, signed = np.broadcast_arrays(fractions(needed(inputs, 1), "fraction"), width, signed)
    except ValueError:
        raise Refusal("has fraction, width and signed of different shapes", DAMAGED) from None
    if (width < 0).any() or (width > MAX_WIDTH).any() or not np.isin(signed, (0, 1)).all():
        raise Refusal(f"has widths outside of 0 to {MAX_WIDTH}, or a sign that is neither 0 nor 1", DAMAGED)
    return formats(signed, width, fraction)


def quantize(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """Quantize: to a format of each element's own."""
    t, made = computed(needed(inputs, 0)), stated(inputs)
    rounding, overflow = modes(node)
    try:
        spread = np.broadcast_to(made, t.shape).ravel().tolist()
    except ValueError:
        raise Refusal(f"has formats {list(made.shape)} for a tensor {list(t.shape)}", DAMAGED) from None
    if isinstance(t.value, Pending):
        return _port(walk, t, t.value, set(spread), rounding, overflow)
    unit, value = walk.exact(t)
    to = tensor(value.type.shape, spread)
    if unit == 1:
        done = walk.b.quant(value, to=to, round=rounding, overflow=overflow)
    else:
        done = walk.b.rescale(value, to=to, by=[unit], round=rounding, overflow=overflow)
    return plain(t.shape, done, t)


def _port(
    walk: Walk, t: Scaled, pending: Pending, kinds: set[Fixed], rounding: Rounding, overflow: Overflow
) -> Scaled:
    """An input's first quantiser becomes the rule of its port, and costs no hardware."""
    name = pending.port.name
    if len(kinds) > 1 or not t.bare():
        raise Refusal(
            f"quantises input {name!r} to several formats, and a port has only one", pending.way_out
        )
    (fmt,) = kinds
    kind = uniform(core(pending.port.shape), fmt)
    rule = (fmt, rounding, overflow)
    param = pending.settled(rule, lambda: walk.port(name, kind, rounding, overflow))
    return plain(t.shape, pending.moved(param), t)


# -- tables ---------------------------------------------------------------------------------------------------------


def _tables(walk: Walk, inputs: Inputs, rank: int) -> list[Table]:
    """The tables of inputs 1 to 5, one tensor of them for each group (of a LUTDense: one)."""
    keys, fraction, codes = (
        stated(inputs),
        fractions(needed(inputs, 4), "table_fraction"),
        whole(needed(inputs, 5), "codes"),
    )
    if keys.ndim != rank or keys.size == 0 or fraction.shape != keys.shape:
        raise Refusal(f"has keys {list(keys.shape)} and table_fraction {list(fraction.shape)}", DAMAGED)
    widest = max(k.width for k in keys.ravel().tolist())
    if widest > _MAX_KEY:
        raise Refusal(f"has a table with a key of {widest} bits", f"a key has up to {_MAX_KEY}")
    entries = sum(1 << k.width for k in keys.ravel().tolist())
    if codes.shape != (entries,):
        raise Refusal(f"has {list(codes.shape)} codes, and its keys ask for [{entries}]", DAMAGED)
    shape = keys.shape[-2:]
    name = walk.owner
    made, first = [], 0
    for key, frac in zip(
        keys.reshape(-1, math.prod(shape)), fraction.reshape(-1, math.prod(shape)), strict=True
    ):
        size = sum(1 << k.width for k in key)
        word = walk.names.take(f"{name}_tables", "t")
        made.append(edge_tables(word, shape, key.tolist(), frac.tolist(), codes[first : first + size]))
        first += size
    return made


def lut_dense(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """LUTDense: a table on every edge of `[..., n_in]`, summed over the inputs."""
    t, rounding = computed(needed(inputs, 0)), modes(node)
    (table,) = _tables(walk, inputs, 2)
    n_in, n_out = table.key.shape
    if not t.shape or t.shape[-1] != n_in:
        raise Refusal(f"reads {list(t.shape)}, and has tables for {n_in} inputs", DAMAGED)
    shape = (*t.shape[:-1], n_out)

    def inner(b: Builder, x: Value) -> Value:
        return edge_sums(b, x, table, *rounding)

    return plain(shape, along_last(walk, walk.fixed_point(t), n_in, inner, core(shape)), t)


def lut_conv(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """LUTConv: a LUTDense for each group of channels at every position of a window, padded with zeros."""
    t, rounding = computed(needed(inputs, 0)), modes(node)
    one_sample(t)
    size = tuple(node.get("kernel_shape", ()))
    tables = _tables(walk, inputs, 3)
    n_in, n_out = tables[0].key.shape
    if t.shape[1] * math.prod(size) != n_in * len(tables):
        raise Refusal(f"reads {list(t.shape)}, and has {len(tables)} groups of {n_in} inputs", DAMAGED)
    window = window_of(node, size, t.shape[2:])
    at, near = positions(t.shape, window)
    counts = window.outputs(t.shape[2:])
    count = math.prod(counts)
    rows = walk.index(
        Scaled(t.shape, walk.fixed_point(t)), at.reshape(1, count, -1), near.reshape(1, count, -1)
    )

    def inner(b: Builder, x: Value) -> Value:
        if len(tables) == 1:
            return edge_sums(b, x, tables[0], *rounding)
        parts = [b.slice(x, start=[g * n_in], stop=[(g + 1) * n_in]) for g in range(len(tables))]
        sums = [edge_sums(b, p, table, *rounding) for p, table in zip(parts, tables, strict=True)]
        return b.concat(sums, axis=0)  # type: ignore[no-any-return]

    value, filters = walk.reshaped(concrete(rows), (count, n_in * len(tables))), n_out * len(tables)
    if count == 1:
        done = walk.reshaped(inner(walk.b, walk.reshaped(value, (n_in * len(tables),))), (filters, *counts))
    else:

        def place(v: Value) -> Value:
            return walk.reshaped(walk.turned(v, (1, 0)), (filters, *counts))

        done = mapped(walk, value, inner, place, 0)
    return plain((1, filters, *counts), done, t)


RULES: dict[str, Rule] = {
    "Quantize": rule(quantize),
    "LUTDense": rule(lut_dense),
    "LUTConv": rule(lut_conv),
}
