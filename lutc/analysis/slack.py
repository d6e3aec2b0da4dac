"""How late every value may be ready, if nothing is to be ready later than the slowest output of its body."""

from __future__ import annotations

from lutc.analysis.timing import of_scalars
from lutc.ir.graph import Design, Func, Value, body, owners
from lutc.ir.ops import Call, Reg
from lutc.ir.ops.base import Op
from lutc.target import Target


def required(design: Design, target: Target) -> dict[Value, float]:
    """Nanoseconds after the inputs (of the design, or of the function) at which each value has to be ready.

    A way ends at a register, and a function that is called takes as long as its slowest way.
    """
    depths: dict[Func, float] = {}
    found: dict[Value, float] = {}
    for owner in owners(design):
        delays = {v: _delay(v, target, depths) for v in body(owner)}
        ready: dict[Value, float] = {}
        for v in body(owner):
            ready[v] = delays[v] + (
                0.0 if isinstance(v, Reg) else max((ready[o] for o in v.operands), default=0.0)
            )
        latest = max(ready.values(), default=0.0)
        if isinstance(owner, Func):
            depths[owner] = latest
        due = dict.fromkeys(ready, latest)
        for v in reversed(body(owner)):
            for o in v.operands:
                due[o] = min(due[o], latest if isinstance(v, Reg) else due[v] - delays[v])
        found |= due
    return found


def _delay(value: Value, target: Target, depths: dict[Func, float]) -> float:
    if isinstance(value, Call):
        return depths[value.func]
    return value.delay(target) if isinstance(value, Op) and of_scalars(value) else 0.0
