"""Truth tables that take longer than a stage, as halves with a choice behind, between which a register may stand."""

from __future__ import annotations

from lutc.analysis.wires import fan_out_ns
from lutc.ir.graph import Design, Table, Value, body, owners
from lutc.ir.ops import BitSlice, Lut, Select
from lutc.ir.ops.base import Op
from lutc.passes.rebuild import rebuild
from lutc.passes.rewriter import Rewriter
from lutc.target import Target


def halved(design: Design, target: Target, room: float) -> Design:
    """The design with every table of a scalar cut in half, again and again, until it takes at most `room` ns.

    The highest bit of the key chooses between the halves. One LUT is never cut.
    """
    slow: dict[Value, float] = {}  # tables, and what is left of the room for them
    for owner in owners(design):
        wires = fan_out_ns(owner, target)
        for v in body(owner):
            left = room - wires.get(v, 0.0)
            if _too_slow(v, target, left):
                slow[v] = left
    if not slow:
        return design

    def rule(rw: Rewriter, op: Op) -> Value:
        original = rw.original
        assert original is not None
        return _halves(rw, op, target, slow[original]) if original in slow else op

    return rebuild(design, rule, canonical="never")


def _too_slow(value: Value, target: Target, room: float) -> bool:
    return (
        isinstance(value, Lut)
        and not (value.type.shape or value.key.type.shape or value.table.key.shape)
        and value.key.type.scalar.width > target.lut_inputs
        and value.delay(target) > room
    )


def _halves(rw: Rewriter, op: Value, target: Target, room: float) -> Value:
    if not isinstance(op, Lut) or not _too_slow(op, target, room):
        return op
    top = op.key.type.scalar.width - 1
    low = rw.make(BitSlice, op.key, top - 1, 0)
    parts = []
    for name, codes in (("low", op.table.codes[: 1 << top]), ("high", op.table.codes[1 << top :])):
        table = Table(f"{op.table.name}_{name}", low.type, op.table.value, codes)
        parts.append(_halves(rw, rw.make(Lut, low, rw.symbol(table)), target, room))
    return rw.make(Select, rw.make(BitSlice, op.key, top, top), parts[1], parts[0])
