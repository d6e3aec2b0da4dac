"""The exact range each value can reach, given that the inputs may be anything their formats hold.

It follows from the graph below a value, which never changes, and is kept with the value for every pass that asks.
"""

from __future__ import annotations

from lutc.ir.graph import RANGE, Bounds, Value, topo
from lutc.ir.ops import Call
from lutc.ir.ops.base import Op


def range_of(value: Value) -> Bounds:
    """The smallest and largest code of a value, in steps of its own type.

    A call's result counts as anything its type holds: a function is optimised for all of its uses.
    """
    known: Bounds | None = value.__dict__.get(RANGE)
    if known is None:
        for v in [value] if all(v in _RANGED for v in value.operands) else topo([value], _RANGED):
            set_range(v, _found(v))
        known = value.__dict__[RANGE]
    return known


def set_range(value: Value, bounds: Bounds) -> None:
    """What is known of a value better than its operation shows."""
    value.__dict__[RANGE] = bounds


class _Ranged:
    """The values whose range is known."""

    def __contains__(self, value: object) -> bool:
        return RANGE in value.__dict__


_RANGED = _Ranged()


def _found(value: Value) -> Bounds:
    if not isinstance(value, Op) or isinstance(value, Call):
        return value.type.ranges
    return value.bounds(*[v.__dict__[RANGE] for v in value.operands])
