"""How hard the resources weigh in the loss, over the steps of a training."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol


class Schedule(Protocol):
    """The factor of the resources in the loss at a step; ``used`` are the model's resources after the last step."""

    def __call__(self, step: int, used: float) -> float: ...

    def state(self) -> dict[str, float]:
        """What must be kept to resume."""

    def restore(self, state: dict[str, float]) -> None: ...


@dataclass
class Constant:
    """Always ``beta``."""

    beta: float

    def __call__(self, step: int, used: float) -> float:
        return self.beta

    def state(self) -> dict[str, float]:
        return {}

    def restore(self, state: dict[str, float]) -> None:
        pass


@dataclass
class LogRamp:
    """``first`` for ``hold`` steps, then geometrically to ``last`` over ``steps`` more, and ``last`` from there.

    One run along a ramp visits the whole front of accuracy against resources (HGQ-LUT, arXiv 2604.22293, sec. 4).

    Examples
    --------
    >>> from lutc import nn
    >>> ramp = nn.LogRamp(1e-5, 1e-3, steps=100)
    >>> [f"{ramp(step, used=0.0):.0e}" for step in (0, 50, 100, 200)]
    ['1e-05', '1e-04', '1e-03', '1e-03']
    """

    first: float
    last: float
    steps: int
    hold: int = 0

    def __call__(self, step: int, used: float) -> float:
        share = min(max((step - self.hold) / self.steps, 0.0), 1.0)
        return self.first * math.exp(share * math.log(self.last / self.first))

    def state(self) -> dict[str, float]:
        return {}

    def restore(self, state: dict[str, float]) -> None:
        pass


@dataclass
class PID:
    """Steers log(beta) until the model's resources are ``target``.

    The error is log(used / target); p, i, d are the gains of a PID controller in its usual discrete form, with the
    integral held where beta is at its limits.
    """

    target: float
    first: float = 1e-6
    p: float = 0.5
    i: float = 0.01
    d: float = 0.0
    least: float = 1e-9
    most: float = 1e-1
    integral: float = 0.0
    last: float = math.nan

    def __call__(self, step: int, used: float) -> float:
        error = math.log(max(used, 1e-9) / self.target)
        slope = 0.0 if math.isnan(self.last) else error - self.last
        self.last = error
        wish = math.log(self.first) + self.p * error + self.i * (self.integral + error) + self.d * slope
        held = min(max(wish, math.log(self.least)), math.log(self.most))
        if held == wish:
            self.integral += error
        return math.exp(held)

    def state(self) -> dict[str, float]:
        return {"integral": self.integral, "last": self.last}

    def restore(self, state: dict[str, float]) -> None:
        self.integral, self.last = state["integral"], state["last"]
