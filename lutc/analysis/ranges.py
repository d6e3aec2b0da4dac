"""The exact range each value can reach, given that the inputs may be anything their formats hold.

It follows from the graph below a value, which never changes, and is kept with the value for every pass that asks.
"""

from __future__ import annotations

from lutc.ir.facts import Fact
from lutc.ir.graph import Bounds, Value, topo
from lutc.ir.ops import Call
from lutc.ir.ops.base import Op

RANGE: Fact[Bounds] = Fact("range", from_below=True)


def range_of(value: Value) -> Bounds:
    """The smallest and largest code of a value, in steps of its own type.

    A call's result counts as anything its type holds: a function is optimised for all of its uses.
    """
    known = RANGE.of(value)
    if known is not None:
        return known
    for v in [value] if all(v in RANGE for v in value.operands) else topo([value], RANGE):
        known = RANGE.keep(v, _found(v))
    assert known is not None
    return known


def set_range(value: Value, bounds: Bounds) -> None:
    """What is known of a value better than its operation shows."""
    RANGE.keep(value, bounds)


def _found(value: Value) -> Bounds:
    if not isinstance(value, Op) or isinstance(value, Call):
        return value.type.ranges
    return value.bounds(*[range_of(v) for v in value.operands])
