"""What an approximation is worth and what it does: proven, measured, and set against the exact circuit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from lutc.analysis.cost import costs
from lutc.diagnostics import error
from lutc.ir.graph import Design
from lutc.ir.interp import execute, port_codes
from lutc.passes.approximate.approximate import Approximate
from lutc.passes.approximate.deviation import deviations
from lutc.passes.approximate.errors import Interval
from lutc.passes.context import Context
from lutc.passes.manager import Pass, random_codes, run
from lutc.target import Target

_VECTORS = 1000

Stages = list[tuple[str, Design]]


@dataclass(frozen=True)
class Approximation:
    """A design in front of the pass `approximate` and behind it, and the stages that the exact one goes through.

    `luts_exact` and `luts` are the estimates of the finished circuits.
    """

    allowed: float
    exact: Design
    near: Design
    exact_stages: Stages
    luts_exact: float
    luts: float

    @property
    def pays(self) -> bool:
        """Whether the approximated circuit is the smaller one."""
        return self.luts < self.luts_exact

    @cached_property
    def proven(self) -> dict[str, list[Interval]]:
        """The guaranteed error of every element of every output, in its least significant bits."""
        if not self.pays:
            return {o.name: [(0, 0)] * o.value.type.size for o in self.exact.outputs}
        return deviations(self.exact, self.near)

    @property
    def worst(self) -> int:
        """The largest of these."""
        return max((max(-lo, hi) for some in self.proven.values() for lo, hi in some), default=0)

    @property
    def said(self) -> str:
        """In one line, for the header of the circuit."""
        return f"not exact: every output is within {self.worst} LSB of model.lir (proven)"

    def _codes(self, rows: Mapping[str, Any]) -> dict[str, Any]:
        """Rows as codes; those of an only input may come without its name."""
        names = [p.name or "" for p in self.exact.params]
        given = {names[0]: rows[""]} if set(rows) == {""} and len(names) == 1 else rows
        return {n: port_codes(p, given[n]) for n, p in zip(names, self.exact.params, strict=True)}

    def facts(self, rows: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """For `report.json`. Measured on `rows` of real numbers by input name, or on random codes.

        `*_lsb` are in units of the least significant bit of each element. `rows_differing` is the share of vectors
        for which any element of the output is not what the model gives.
        """
        codes = self._codes(rows) if rows else random_codes(self.exact, _VECTORS)
        want = execute(self.exact, codes)
        got = execute(self.near, codes) if self.pays else want
        return {
            "allowed_lsb": self.allowed,
            "proven_lsb": self.worst,
            "luts_exact": round(self.luts_exact),
            "luts": round(self.luts if self.pays else self.luts_exact),
            "vectors": len(next(iter(want.values()))),
            "measured_on": "rows of test data" if rows else "random vectors",
            "outputs": [
                {
                    "name": name,
                    "proven_lsb": [list(i) for i in self.proven[name]],
                    **_measured(got[name], want[name]),
                }
                for name in want
            ],
        }


def _measured(got: Any, want: Any) -> dict[str, Any]:
    steps = np.abs(np.asarray(got, dtype=object) - want).reshape(len(want), -1)
    off = steps.astype(np.float64)
    return {
        "max_lsb": int(steps.max(initial=0)),
        "mean_lsb": round(float(off.mean()), 4) if off.size else 0.0,
        "rows_differing": round(float(off.any(axis=1).mean()), 4) if len(off) else 0.0,
    }


def weighed(model: Design, steps: Sequence[Pass], stages: Stages, context: Context) -> Approximation | None:
    """What the pass `approximate` did among `steps`, which gave `stages`; None if it was not among them.

    The exact design goes the rest of the way too, to be compared with.
    """
    found = [(i, step) for i, step in enumerate(steps) if isinstance(step, Approximate) and step.lsb]
    if not found:
        return None
    if len(found) > 1:
        raise error(
            "a design is approximated once: the bounds of two passes are not added up", help="keep one"
        )
    ((at, step),) = found
    device = context.target
    exact, near = stages[at - 1][1] if at else model, stages[at][1]
    before = stages[:at]
    if near is exact:
        luts = _luts(stages[-1][1], device)
        return Approximation(step.lsb, exact, near, [*before, *stages[at + 1 :]], luts, luts)
    rest: Stages = []
    run(
        exact,
        steps[at + 1 :],
        context,
        observer=lambda number, done, design: rest.append((done.name, design)),
    )
    final = rest[-1][1] if rest else exact
    luts_exact, luts = (_luts(d, device) for d in (final, stages[-1][1]))
    return Approximation(step.lsb, exact, near, [*before, *rest], luts_exact, luts)


def _luts(design: Design, device: Target) -> float:
    return sum(c.luts for c in costs(design, device).values())
