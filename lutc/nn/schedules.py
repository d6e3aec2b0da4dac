"""How hard the resources weigh in the loss, over the steps of a training."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol

from torch import nn

from .mistakes import SettingMistake, number, whole


class Schedule(Protocol):
    """The factor of the resources in the loss at a step; ``used`` are the model's resources after the last step.

    One that also has a method ``look(model)`` is shown each checkpoint's model, in evaluation mode.
    """

    def __call__(self, step: int, used: float) -> float: ...

    def state(self) -> dict[str, float]:
        """What must be kept to resume."""

    def restore(self, state: dict[str, float]) -> None: ...


class _Plain:
    """A schedule that follows from the step alone, so that nothing of it must be kept."""

    def state(self) -> dict[str, float]:
        return {}

    def restore(self, state: dict[str, float]) -> None:
        pass


def _share(step: int, hold: int, steps: int) -> float:
    """How far a ramp of ``steps`` after ``hold`` is, from 0 to 1; without steps it is at its end after ``hold``."""
    if not steps:
        return float(step >= hold)
    return min(max((step - hold) / steps, 0.0), 1.0)


@dataclass
class Constant(_Plain):
    """Always ``beta``, at least 0. Raises LirError, a ValueError, for another."""

    beta: float

    def __post_init__(self) -> None:
        number("beta", self.beta, 0)

    def __call__(self, step: int, used: float) -> float:
        return self.beta


@dataclass
class LogRamp(_Plain):
    """``first`` for ``hold`` steps, then geometrically to ``last`` over ``steps`` more, and ``last`` from there.

    One run along a ramp visits the whole front of accuracy against resources (HGQ-LUT, arXiv 2604.22293, sec. 4).
    With 0 ``steps`` it jumps. Raises LirError, a ValueError, unless both ends are more than 0 (see `LinearRamp`).

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

    def __post_init__(self) -> None:
        number("first", self.first, above=0)
        number("last", self.last, above=0)
        whole("steps", self.steps, 0)
        whole("hold", self.hold, 0)

    def __call__(self, step: int, used: float) -> float:
        share = _share(step, self.hold, self.steps)
        return self.first * math.exp(share * math.log(self.last / self.first))


@dataclass
class LinearRamp(_Plain):
    """``first`` for ``hold`` steps, then in equal steps to ``last`` over ``steps`` more, and ``last`` from there.

    With 0 ``steps`` it jumps. Raises LirError, a ValueError, for an end below 0.

    Examples
    --------
    >>> from lutc import nn
    >>> ramp = nn.LinearRamp(0, 1e-3, steps=100)
    >>> [f"{ramp(step, used=0.0):.1e}" for step in (0, 50, 100, 200)]
    ['0.0e+00', '5.0e-04', '1.0e-03', '1.0e-03']
    """

    first: float
    last: float
    steps: int
    hold: int = 0

    def __post_init__(self) -> None:
        number("first", self.first, 0)
        number("last", self.last, 0)
        whole("steps", self.steps, 0)
        whole("hold", self.hold, 0)

    def __call__(self, step: int, used: float) -> float:
        return self.first + _share(step, self.hold, self.steps) * (self.last - self.first)


@dataclass
class CosineRamp(LinearRamp):
    """As `LinearRamp`, but along half a period of a cosine: flat at both ends.

    For learning rates it is of Loshchilov and Hutter, arXiv 1608.03983.

    Examples
    --------
    >>> from lutc import nn
    >>> ramp = nn.CosineRamp(0, 1e-3, steps=100)
    >>> [f"{ramp(step, used=0.0):.1e}" for step in (0, 25, 50, 100, 200)]
    ['0.0e+00', '1.5e-04', '5.0e-04', '1.0e-03', '1.0e-03']
    """

    def __call__(self, step: int, used: float) -> float:
        share = (1 - math.cos(math.pi * _share(step, self.hold, self.steps))) / 2
        return self.first + share * (self.last - self.first)


@dataclass
class Piecewise(_Plain):
    """Straight between points (step, beta), and constant before the first and after the last.

    If ``log``, it is the logarithm of beta that is straight. Raises LirError, a ValueError, unless the steps ascend
    and every beta is at least 0 (more than 0 if ``log``).

    Examples
    --------
    >>> from lutc import nn
    >>> beta = nn.Piecewise([(0, 0.0), (100, 0.0), (200, 1e-4), (300, 2e-5)])
    >>> [f"{beta(step, used=0.0):.0e}" for step in (50, 150, 250, 999)]
    ['0e+00', '5e-05', '6e-05', '2e-05']
    """

    points: Sequence[tuple[int, float]]
    log: bool = False

    def __post_init__(self) -> None:
        try:
            self.points = tuple((step, beta) for step, beta in self.points)
        except (TypeError, ValueError):
            raise SettingMistake("points", "they are no pairs (step, beta)") from None
        if not self.points:
            raise SettingMistake("points", "there is none")
        for step, beta in self.points:
            whole("points", step, 0)
            number("points", beta, 0, above=0 if self.log else -math.inf)
        if any(a >= b for (a, _), (b, _) in pairwise(self.points)):
            raise SettingMistake("points", "their steps do not ascend")

    def __call__(self, step: int, used: float) -> float:
        if step <= self.points[0][0]:
            return self.points[0][1]
        for (start, first), (stop, last) in pairwise(self.points):
            if step <= stop:
                share = (step - start) / (stop - start)
                if self.log:
                    return first * math.exp(share * math.log(last / first))
                return first + share * (last - first)
        return self.points[-1][1]


@dataclass
class PID:
    """Steers log(beta) until the model's resources are ``target``, or what ``measure`` says of it is.

    The error is log(used / target); p, i, d are the gains of a PID controller in its usual discrete form, with the
    integral held where beta is at its limits. It acts at every step. With ``measure``, a function of a model in
    evaluation mode such as ``lambda model: lutc.compile(nn.export(model)).report["estimate"]["stage_ns"]``, it acts
    at every checkpoint, on what that says of it, and beta stays in between: so a latency can be the target, as far as
    cheaper models are faster. The gains are for what they act on: with ``measure`` there are fewer occasions.

    Raises LirError, a ValueError, for a target, limits or a first beta that are not more than 0, or limits out of
    order, and for a measure that is no number.
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
    measure: Callable[[nn.Module], float] | None = None
    now: float = field(default=math.nan, init=False)

    def __post_init__(self) -> None:
        for name in ("target", "least", "most", "first"):
            number(name, getattr(self, name), above=0)
        for name in ("p", "i", "d"):
            number(name, getattr(self, name), 0)
        number("most", self.most, self.least)
        number("first", self.first, self.least, most=self.most)
        if self.measure is not None and not callable(self.measure):
            raise SettingMistake("measure", f"{self.measure!r} is no function of a model")

    def __call__(self, step: int, used: float) -> float:
        if self.measure is not None:
            return self.first if math.isnan(self.now) else self.now
        return self._act(used)

    def look(self, model: nn.Module) -> None:
        """Measure a checkpoint's model, if that is asked for, and act on it."""
        if self.measure is not None:
            self._act(number("measure", self.measure(model), 0))

    def _act(self, used: float) -> float:
        error = math.log(max(used, 1e-9) / self.target)
        slope = 0.0 if math.isnan(self.last) else error - self.last
        self.last = error
        wish = math.log(self.first) + self.p * error + self.i * (self.integral + error) + self.d * slope
        held = min(max(wish, math.log(self.least)), math.log(self.most))
        if held == wish:
            self.integral += error
        self.now = math.exp(held)
        return self.now

    def state(self) -> dict[str, float]:
        return {"integral": self.integral, "last": self.last, "now": self.now}

    def restore(self, state: dict[str, float]) -> None:
        self.integral, self.last = state["integral"], state["last"]
        self.now = state.get("now", math.nan)
