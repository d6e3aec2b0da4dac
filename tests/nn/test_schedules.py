"""Schedules at their ends, with none and one step, and with settings that cannot be meant."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from test_trainer_data import trainer
from torch import nn

from lutc import nn as lnn
from lutc.diagnostics import LirError

RAMPS: list[Any] = [lnn.LogRamp, lnn.LinearRamp, lnn.CosineRamp]


@pytest.mark.parametrize("kind", RAMPS)
@pytest.mark.parametrize("hold", [0, 3])
def test_ends(kind: Any, hold: int) -> None:
    for steps in (0, 1, 2, 100):
        ramp = kind(1e-6, 1e-2, steps, hold)
        assert ramp(hold + steps, 0) == pytest.approx(1e-2)
        assert ramp(10**9, 0) == pytest.approx(1e-2)
        if hold or steps:
            assert ramp(0, 0) == pytest.approx(1e-6)
        values = [ramp(s, 0) for s in range(hold + steps + 2)]
        assert values == sorted(values)
        assert ramp.state() == {}


def test_middles() -> None:
    assert lnn.LogRamp(1e-6, 1e-2, 100)(50, 0) == pytest.approx(1e-4)
    assert lnn.LinearRamp(0, 4, 100)(25, 0) == 1
    assert lnn.LinearRamp(4, 0, 100, hold=50)(75, 0) == 3
    assert lnn.CosineRamp(0, 4, 100)(25, 0) == pytest.approx(4 * (1 - math.sqrt(0.5)) / 2)
    assert lnn.CosineRamp(2, 2, 100)(33, 0) == 2


def test_pieces() -> None:
    plain = lnn.Piecewise([(10, 1.0), (20, 3.0), (40, 0.0)])
    assert [plain(s, 0) for s in (0, 10, 15, 20, 30, 40, 99)] == [1, 1, 2, 3, 1.5, 0, 0]
    log = lnn.Piecewise([(0, 1e-6), (10, 1e-2)], log=True)
    assert log(5, 0) == pytest.approx(1e-4)
    assert lnn.Piecewise([(5, 0.25)])(0, 0) == lnn.Piecewise([(5, 0.25)])(9, 0) == 0.25


WRONG: list[tuple[Callable[[], Any], str]] = [
    (lambda: lnn.LogRamp(0, 1e-3, 10), "first: error: 0 is not more than 0"),
    (lambda: lnn.LogRamp(1e-6, -1, 10), "last: error: -1 is not more than 0"),
    (lambda: lnn.LogRamp(1e-6, 1e-3, -1), "steps: error: -1 is no whole number of at least 0"),
    (lambda: lnn.LogRamp(1e-6, 1e-3, 1.5), "steps: error: 1.5 is no whole number"),  # type: ignore[arg-type]
    (lambda: lnn.LogRamp(1e-6, 1e-3, 10, hold=-2), "hold: error: -2 is no"),
    (lambda: lnn.LogRamp(1e-6, math.inf, 10), "last: error: inf is no finite number"),
    (lambda: lnn.LogRamp("a", 1, 10), "first: error: 'a' is no finite number"),  # type: ignore[arg-type]
    (lambda: lnn.LinearRamp(-1, 1, 10), "first: error: -1 is not at least 0"),
    (lambda: lnn.CosineRamp(0, math.nan, 10), "last: error: nan is no finite number"),
    (lambda: lnn.Constant(-1), "beta: error: -1 is not at least 0"),
    (lambda: lnn.Piecewise([]), "points: error: there is none"),
    (lambda: lnn.Piecewise([(5, 1.0), (5, 2.0)]), "points: error: their steps do not ascend"),
    (lambda: lnn.Piecewise([(5, 0.0), (6, 2.0)], log=True), "points: error: 0.0 is not more than 0"),
    (lambda: lnn.Piecewise([5, 6]), "points: error: they are no pairs"),  # type: ignore[list-item]
    (lambda: lnn.PID(0), "target: error: 0 is not more than 0"),
    (lambda: lnn.PID(-5), "target: error: -5 is not"),
    (lambda: lnn.PID(math.nan), "target: error: nan is no finite number"),
    (lambda: lnn.PID(5, least=1, most=0.1), "most: error: 0.1 is not at least 1"),
    (lambda: lnn.PID(5, first=1), "first: error: 1 is not at least 1e-09 and at most 0.1"),
    (lambda: lnn.PID(5, p=-1), "p: error: -1 is not at least 0"),
    (lambda: lnn.PID(5, measure=3), "measure: error: 3 is no function"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("make", "message"), WRONG)
def test_settings_that_cannot_be_meant(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(LirError, match=message):
        make()
    with pytest.raises(ValueError):
        make()


def test_a_pid_stays_within_its_limits() -> None:
    pid = lnn.PID(100, first=1e-6, least=1e-8, most=1e-4)
    assert [pid(s, 1e9) for s in range(50)][-1] == pytest.approx(1e-4)
    assert [pid(s, 0.0) for s in range(50)][-1] == pytest.approx(1e-8)


def test_a_pid_on_what_is_measured(tmp_path: Path) -> None:
    """It acts at checkpoints, on evaluated models, and beta stays in between."""
    seen: list[float] = []

    def measure(model: nn.Module) -> float:
        assert not model.training
        seen.append(float(lnn.resource_total(model)))
        return seen[-1]

    pid = lnn.PID(20, p=1.0, measure=measure)
    made = trainer(tmp_path, beta=pid, every=1, optimiser=lambda p: torch.optim.SGD(p, 1e-3))
    made.fit(3)
    assert len(seen) == 3
    betas = [r.beta for r in made.history.records]
    assert betas[0] == 1e-6  # before anything was measured
    assert betas[1] == pytest.approx(1e-6 * math.exp(1.01 * math.log(seen[0] / 20)))
    again = lnn.PID(20, p=1.0, measure=measure)
    again.restore(pid.state())
    assert again(0, 0.0) == pid(99, 1e9)


def test_a_measure_that_is_no_number(tmp_path: Path) -> None:
    made = trainer(tmp_path, beta=lnn.PID(20, measure=lambda model: math.nan))
    with pytest.raises(LirError, match="measure: error: nan is no finite number"):
        made.fit(2)


def test_a_pid_on_latency_shortens_the_circuit(tmp_path: Path) -> None:
    import lutc

    def stage_ns(model: nn.Module) -> float:
        return float(lutc.compile(lnn.export(model)).report["estimate"]["stage_ns"])

    pid = lnn.PID(0.8, first=1e-4, p=3.0, i=0.5, measure=stage_ns)
    made = trainer(tmp_path, beta=pid, every=2, optimiser=lambda p: torch.optim.Adam(p, 5e-2))
    with made.checkpoint() as model:
        before = stage_ns(model)
    made.fit(30)
    with made.checkpoint() as model:
        assert stage_ns(model) < before
    assert made.history.records[-1].beta > 1e-4
