"""Clock cycles from the inputs to a value: how many registers every path passes."""

from __future__ import annotations

from collections.abc import Sequence

from lutc.ir.facts import Fact
from lutc.ir.graph import Design, Func, Param, Value, body, functions
from lutc.ir.ops.flow import Call, Reg


def latency(owner: Design | Func) -> int:
    """The clock cycles from the inputs of a verified design or function to its outputs; 0 if none depends on them."""
    kept = _LATENCY.of(owner)
    return _LATENCY.keep(owner, _latency(owner)) if kept is None else kept


_LATENCY: Fact[int] = Fact("latency", from_below=True)


def _latency(owner: Design | Func) -> int:
    times = arrivals(body(owner), latencies(owner))
    return max((t for v in owner.roots if (t := times[v]) is not None), default=0)


def latencies(owner: Design | Func) -> dict[Func, int]:
    """The latency of every function called from here, directly or not."""
    cycles: dict[Func, int] = {}
    for func in functions(owner):
        cycles[func] = arrivals(body(func), cycles)[func.result] or 0
    return cycles


def arrivals(values: Sequence[Value], cycles: dict[Func, int]) -> dict[Value, int | None]:
    """When each of `values`, which stand in order, is there: cycles after the inputs, or None for constants.

    Constants are always there. Where operands come at different times, which no verified design has, the last counts.
    `cycles` holds the latency of every function called.
    """
    times: dict[Value, int | None] = {}
    for value in values:
        if isinstance(value, Param):
            times[value] = 0
            continue
        before = [t for v in value.operands if (t := times[v]) is not None]
        if not before:
            times[value] = None
            continue
        extra = 1 if isinstance(value, Reg) else cycles[value.func] if isinstance(value, Call) else 0
        times[value] = max(before) + extra
    return times
