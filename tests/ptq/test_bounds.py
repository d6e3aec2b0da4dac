"""A bound in LUTs is come near to, though training changes what a circuit takes."""

from dataclasses import replace
from typing import Any, cast

import pytest

from lutc.ptq.choice import Choice
from lutc.ptq.result import Outcome
from lutc.ptq.search import Assignment, Widths


class Played(Choice):
    """A search whose outcomes follow formulas: LUTs fall with the rate, and training and the compiler change them."""

    trained, compiled = 1.0, 1.0

    def _outcome(self, slope: float) -> Outcome:
        luts = round(10_000 / (1 + slope * 1e4))
        return Outcome(Assignment(slope, {}, {}, {}, {}, {}, {}), slope, 1 - slope / 10, slope / 10, luts)

    def _tuned(self, outcome: Outcome) -> Outcome:
        return replace(outcome, found=replace(outcome.found), luts=round(outcome.luts * self.trained))

    def _compiled(self, outcome: Outcome) -> Outcome:
        luts = round(outcome.luts * self.compiled * (1 + 0.1 * outcome.luts / 10_000))
        self.builds[outcome.found] = None, None
        self.factor = luts / max(outcome.luts, 1)
        return replace(outcome, luts=luts, latency=1)

    def _sweep(self, most: float | None = None) -> list[Outcome]:
        return [self._outcome(1e-12), *(self._outcome(1e-6 * 2**k) for k in range(14))]


@pytest.mark.parametrize("trained", [0.7, 1.0, 1.6])
@pytest.mark.parametrize("compiled", [0.5, 1.0, 1.8])
@pytest.mark.parametrize("most", [800, 3000])
def test_a_bound_in_luts_is_come_near_to(trained: float, compiled: float, most: int) -> None:
    choice = Played(cast(Any, None), Widths(), "xcvu13p", "x", "high", lambda text: None)
    choice.trained, choice.compiled = trained, compiled
    chosen, _ = choice._within_luts(most)
    assert 0.9 * most <= chosen.luts <= most
