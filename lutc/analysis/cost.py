"""What a scalar-stage design costs, by its operations' own estimates: per layer, and in all."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

from lutc.graph import Design, Func, body, owners
from lutc.ops import Call, Reg
from lutc.ops.base import Op
from lutc.target import Target


@dataclass
class Cost:
    """Estimated LUTs and counted flip-flops."""

    luts: float = 0.0
    ffs: int = 0


def costs(design: Design, target: Target) -> dict[str, Cost]:
    """The cost of each layer, by `origin` (`""` for what comes from none). Functions count once per instance."""
    layers: defaultdict[str, Cost] = defaultdict(Cost)
    for owner, times in instances(design).items():
        for value in body(owner):
            if isinstance(value, Op) and not isinstance(value, Call):
                cost = layers[value.origin or ""]
                cost.luts += times * value.luts(target)
                if isinstance(value, Reg):
                    cost.ffs += times * value.type.bits
    return {k: c for k, c in layers.items() if c.luts or c.ffs}


def instances(design: Design) -> Counter[Design | Func]:
    """How often each function stands in the circuit, and the design itself once."""
    count: Counter[Design | Func] = Counter({design: 1})
    for owner in reversed(owners(design)):
        for value in body(owner):
            if isinstance(value, Call):
                count[value.func] += count[owner]
    return count
