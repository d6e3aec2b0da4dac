"""What an approximation does and what it is worth: proven, measured, and set against the exact circuit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from lutc.ir.graph import Design
from lutc.ir.interp import execute, port_codes
from lutc.passes.approximate.deviation import deviations
from lutc.passes.approximate.errors import Interval
from lutc.passes.manager import random_codes

_VECTORS = 1000


@dataclass(frozen=True)
class Approximation:
    """A design in front of the pass `approximate` and behind it, and what became of the two.

    `luts_exact` and `luts` are the estimates of the finished circuits; `taken` says whether the approximated one is
    what was built.
    """

    allowed: float
    exact: Design
    near: Design
    luts_exact: float
    luts: float
    taken: bool

    @cached_property
    def proven(self) -> dict[str, list[Interval]]:
        """The guaranteed error of every element of every output, in its least significant bits."""
        if not self.taken:
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
        got = execute(self.near, codes) if self.taken else want
        return {
            "allowed_lsb": self.allowed,
            "proven_lsb": self.worst,
            "luts_exact": round(self.luts_exact),
            "luts": round(self.luts if self.taken else self.luts_exact),
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
