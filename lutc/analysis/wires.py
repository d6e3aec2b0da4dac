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
    doubling of the LUTs that read a bit of the same value, whether as it is or through what only rewires.
    """
    if not target.fan_out:
        return {}
    wires = {v for v in owner.values if _rewires(v, target)}
    sinks: dict[Value, float] = {}
    for v in reversed(owner.values):
        # A table is several LUTs, and what only rewires may read some of the bits.
        load = sinks.get(v, 0.0) if v in wires else v.luts(target) if isinstance(v, Lut) else 1.0
        for o in v.operands:
            share = min(v.type.bits / o.type.bits, 1.0) if v in wires and o.type.bits else 1.0
            sinks[o] = sinks.get(o, 0.0) + max(load, 1.0) * share
    seen: dict[Value, float] = {}
    found: dict[Value, float] = {}
    for v in owner.values:
        read = max((seen[o] for o in v.operands), default=1.0)
        seen[v] = read if v in wires else sinks.get(v, 1.0)
        if isinstance(v, Op) and v not in wires and not isinstance(v, Reg | Call) and read > 1:
            found[v] = target.net * target.fan_out * log2(read)
    return found


def _rewires(value: Value, target: Target) -> bool:
    return isinstance(value, Op) and not isinstance(value, Reg | Call) and not value.delay(target)
