"""The exact range each value can reach, given that the inputs may be anything their formats hold."""

from __future__ import annotations

from lutc.graph import Bounds, Value, topo
from lutc.ops import Call
from lutc.ops.base import Op


class Ranges:
    """The smallest and largest code of values, in steps of their own types; kept as graphs grow.

    A call's result counts as anything its type holds: a function is optimised for all of its uses.
    """

    def __init__(self) -> None:
        self._known: dict[Value, Bounds] = {}

    def of(self, value: Value) -> Bounds:
        known = self._known
        if value not in known:
            if all(v in known for v in value.operands):
                known[value] = self._of(value)
            else:
                for v in topo([value], known):
                    known[v] = self._of(v)
        return known[value]

    def set(self, value: Value, bounds: Bounds) -> None:
        """What is known of a value better than its operation shows."""
        self._known[value] = bounds

    def _of(self, value: Value) -> Bounds:
        if not isinstance(value, Op) or isinstance(value, Call):
            return value.type.ranges
        return value.bounds(*(self._known[v] for v in value.operands))
