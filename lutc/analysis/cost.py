"""What a design costs, per layer: a scalar-stage one by its operations' own estimates, a netlist as it is counted."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lutc.analysis.layers import layers
from lutc.ir.graph import Design, Func, Stage, Value, body, owners
from lutc.ir.ops import Call
from lutc.ir.ops.base import Op
from lutc.rtl.nets import Module
from lutc.rtl.sites import counts, sites
from lutc.target import Target


@dataclass
class Cost:
    """Estimated LUTs and counted DSP blocks."""

    luts: float = 0.0
    dsps: int = 0


# The LUTs and DSP blocks of values.
Known = dict[Value, tuple[float, int]]


def costs(design: Design, target: Target, known: Known | None = None) -> dict[str, Cost]:
    """The cost of each layer (`""` for what belongs to none, see `layers`). Functions count once per instance.

    `known` keeps what values cost for the next design that shares them.
    """
    total: defaultdict[str, Cost] = defaultdict(Cost)
    known = {} if known is None else known
    home = layers(design)
    for owner, times in instances(design).items():
        for value in body(owner):
            if isinstance(value, Op) and not isinstance(value, Call):
                cost = total[home[value]]
                if value not in known:
                    known[value] = value.luts(target), value.dsps(target)
                luts, dsps = known[value]
                cost.luts += times * luts
                cost.dsps += times * dsps
    return {k: c for k, c in total.items() if c.luts or c.dsps}


def built(design: Design, modules: Sequence[Module], target: Target) -> dict[str, Cost]:
    """The same of a design whose netlist is there: its LUTs are counted, on targets for which that can be done."""
    found = costs(design, target)
    if not counts(target):
        return found
    luts = sites(modules, target)
    named = [*found, *(k for k in luts if k not in found)]
    every = {k: Cost(luts.get(k, 0.0), found[k].dsps if k in found else 0) for k in named}
    return {k: c for k, c in every.items() if c.luts or c.dsps}


def by_pass(stages: Iterable[tuple[str, Design]], target: Target) -> list[tuple[str, dict[str, Cost] | None]]:
    """The costs after each pass; None where they cannot be told yet, because an operation has no circuit of its own."""
    known: Known = {}
    return [(name, costs(design, target, known) if _priced(design) else None) for name, design in stages]


def _priced(design: Design) -> bool:
    every = (v for owner in owners(design) for v in owner.values if isinstance(v, Op))
    return design.stage is Stage.SCALAR and all(
        type(v).rtl is not Op.rtl or isinstance(v, Call) for v in every
    )


def instances(design: Design) -> Counter[Design | Func]:
    """How often each function stands in the circuit, and the design itself once."""
    count: Counter[Design | Func] = Counter({design: 1})
    for owner in reversed(owners(design)):
        for value in body(owner):
            if isinstance(value, Call):
                count[value.func] += count[owner]
    return count
