"""How much longer wires are that lead to many places, by a target's delay model."""

from __future__ import annotations

from math import log2

from lutc.ir.graph import Design, Func, Value
from lutc.ir.ops import Call, Lut, Reg
from lutc.ir.ops.base import Op
from lutc.target import Target


def fan_out_ns(owner: Design | Func, target: Target) -> dict[Value, float]:
    """Nanoseconds to add to the delays of a body's scalar operations, for the fan-out of what they read.

    An operation's delay has the wire that leads to it in it. That is longer by the share `target.fan_out` with every
    doubling of the LUTs that read a bit of the same value, whether as it is or through what only rewires, which may
    read some of the bits. Registers that are put between lengthen no wire.
    """
    if not target.fan_out:
        return {}
    wires = {v for v in owner.values if _rewires(v, target)}
    sinks: dict[Value, float] = {}
    for v in reversed(owner.values):
        load = _load(v, sinks.get(v, 0.0), target, v in wires)
        for o in v.operands:
            share = min(v.type.bits / o.type.bits, 1.0) if v in wires and o.type.bits else 1.0
            sinks[o] = sinks.get(o, 0.0) + load * share
    seen: dict[Value, float] = {}
    found: dict[Value, float] = {}
    for v in owner.values:
        read = max((seen[o] for o in v.operands), default=1.0)
        here = sinks.get(v, 1.0)
        if v in wires:  # constants have no wires; and some bits may be read more than others
            here = max(read, here) if v.operands else 1.0
        seen[v] = here
        if isinstance(v, Op) and v not in wires and not isinstance(v, Reg | Call) and read > 1:
            found[v] = target.net * target.fan_out * log2(read)
    return found


def _load(value: Value, read: float, target: Target, wire: bool) -> float:
    """How many LUTs an operation is for what it reads, itself read by so many."""
    if isinstance(value, Reg):
        return min(read, 1.0) or 1.0  # a flip-flop for the bits that are read
    if wire:
        return max(read, 1.0)
    return max(value.luts(target), 1.0) if isinstance(value, Lut) else 1.0  # a table is several LUTs


def _rewires(value: Value, target: Target) -> bool:
    return isinstance(value, Op) and not isinstance(value, Reg | Call) and not value.delay(target)
