"""When values are ready, by a target's delay model."""

from __future__ import annotations

from lutc.analysis.wires import fan_out_ns
from lutc.ir.graph import Design, Func, Value, body, functions, topo
from lutc.ir.ops import Call, Reg
from lutc.ir.ops.base import Op
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
        if value in known:
            return known[value]
        for v in [value] if all(v in known for v in value.operands) else topo([value], known):
            ready = max((known[o] for o in v.operands), default=0.0)
            known[v] = ready + (v.delay(self.target) if isinstance(v, Op) and of_scalars(v) else 0.0)
        return known[value]


def of_scalars(op: Op) -> bool:
    """Whether an operation reads and gives numbers: what happens to whole tensors is taken to cost nothing."""
    return not op.type.shape and not any(v.type.shape for v in op.operands)


def longest_stage(design: Design, target: Target) -> float:
    """The nanoseconds of the longest way between registers (or ports) of a scalar-stage design, registers included.

    It is the shortest clock period, as far as the delay model knows.
    """
    ways = _Ways(target)
    for func in functions(design):
        ways.walk(func)
    return ways.walk(design) + target.register


class _Ways:
    """Of each function: from its inputs to its result, if no register is between; and from its last register on."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.through: dict[Func, float | None] = {}
        self.after: dict[Func, float] = {}
        self.before: dict[Func, float] = {}  # from its inputs to its first register

    def walk(self, owner: Design | Func) -> float:
        """The longest way inside; what is known of the function is kept."""
        ready: dict[Value, float] = {}  # since the last register, or since the inputs
        entered: dict[Value, float | None] = {}  # since the inputs, where no register was met
        longest = before = 0.0
        wires = fan_out_ns(owner, self.target)
        fixed: set[Value] = set()  # what depends on no input is always there
        for value in body(owner):
            moving = [v for v in value.operands if v not in fixed]
            if isinstance(value, Op) and not moving:
                fixed.add(value)
                ready[value], entered[value] = 0.0, None
                continue
            start = max((ready[v] for v in moving), default=0.0)
            direct = max((t for v in moving if (t := entered[v]) is not None), default=None)
            match value:
                case Reg():
                    before = max(before, direct or 0.0)
                    ready[value], entered[value] = 0.0, None
                case Call(func=func):
                    longest = max(longest, start + self.before[func])
                    through = self.through[func]
                    before = max(before, (direct or 0.0) + self.before[func])
                    ready[value] = max(self.after[func], 0.0 if through is None else start + through)
                    entered[value] = None if direct is None or through is None else direct + through
                case Op():
                    delay = value.delay(self.target) + wires.get(value, 0.0) if of_scalars(value) else 0.0
                    ready[value] = start + delay
                    entered[value] = None if direct is None else direct + delay
                case _:
                    ready[value] = entered[value] = 0.0
            longest = max(longest, ready[value])
        if isinstance(owner, Func):
            self.through[owner], self.before[owner] = entered[owner.result], before
            self.after[owner] = 0.0 if entered[owner.result] is not None else ready[owner.result]
        return longest
