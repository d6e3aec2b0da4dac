"""Truth tables that take longer than a stage, as halves with a choice behind, between which a register may stand."""

from __future__ import annotations

from lutc.analysis.wires import fan_out_ns
from lutc.ir.graph import Design, Table, Value, owners
from lutc.ir.ops import BitSlice, Lut, Select
from lutc.ir.ops.base import Op
from lutc.passes.rebuild import rebuild
from lutc.passes.rewriter import Rewriter
from lutc.target import Target


def halved(design: Design, target: Target, room: float) -> Design:
    """The design with every table of a scalar cut in half, again and again, until it takes at most `room` ns.

    The highest bit of the key chooses between the halves. One LUT is never cut.
    """

    wires = {v: ns for owner in owners(design) for v, ns in fan_out_ns(owner, target).items()}

    def rule(rw: Rewriter, op: Op) -> Value:
        return _halves(rw, op, target, room - wires.get(rw.original or op, 0.0))

    return rebuild(design, rule, canonical="never")


def _halves(rw: Rewriter, op: Op, target: Target, room: float) -> Value:
    if not isinstance(op, Lut) or op.type.shape or op.key.type.shape or op.table.key.shape:
        return op
    top = op.key.type.scalar.width - 1
    if top < target.lut_inputs or op.delay(target) <= room:
        return op
    low = rw.make(BitSlice, op.key, top - 1, 0)
    parts = []
    for name, codes in (("low", op.table.codes[: 1 << top]), ("high", op.table.codes[1 << top :])):
        table = Table(f"{op.table.name}_{name}", low.type, op.table.value, codes)
        parts.append(_halves(rw, rw.make(Lut, low, rw.symbol(table)), target, room))
    return rw.make(Select, rw.make(BitSlice, op.key, top, top), parts[1], parts[0])
