"""When values are ready, by a target's delay model."""

from __future__ import annotations

from lutc.graph import Value, topo
from lutc.ops.base import Op
from lutc.target import Target


class Arrivals:
    """Nanoseconds from the inputs to each value, as if there were no registers; kept as graphs grow.

    What happens to whole tensors is taken to cost nothing: delays are known of scalars.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self._known: dict[Value, float] = {}

    def of(self, value: Value) -> float:
        known = self._known
        if value not in known:
            for v in topo([value]) if any(o not in known for o in value.operands) else [value]:
                if v not in known:
                    ready = max((known[o] for o in v.operands), default=0.0)
                    known[v] = ready + (v.delay(self.target) if isinstance(v, Op) and _scalar(v) else 0.0)
        return known[value]


def _scalar(op: Op) -> bool:
    return not op.type.shape and not any(v.type.shape for v in op.operands)
