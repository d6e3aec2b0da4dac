"""The search over rates between loss and logic, for the outcome that a bound asks for."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutc import driver
from lutc.diagnostics import error

from .result import Outcome, Quantized
from .search import Assignment, Progress, Widths
from .sites import Layer
from .task import Task
from .write import written

Array = NDArray[Any]

DEFAULT_LOSS = 0.5  # points of the metric, where the user names no bound
FIRST, RATE, STEPS = 4e-3, 2.0, 20  # of the sweep: the least loss that all LUTs are worth, and its growth
NARROW = 1.05  # how near to a bound in loss, as a ratio of rates
CLOSE = 0.04  # how near to a bound in LUTs a search comes
TRIES = 6


@dataclass
class Choice:
    """The search over rates, and the outcome it ends with."""

    task: Task
    widths: Widths
    target: str
    name: str
    effort: str
    tell: Progress
    factor: float = 1.0  # LUTs of the compiler over those estimated from digits
    builds: dict[Assignment, tuple[Any, Any]] = field(default_factory=dict)

    def made(self, max_luts: int | None, max_loss: float | None) -> Quantized:
        if self.widths.fixed:
            outcomes = [self._outcome(0.0)]
            chosen = self._compiled(self._tuned(outcomes[0]))
        elif max_luts is not None:
            chosen, outcomes = self._within_luts(max_luts)
        else:
            chosen, outcomes = self._within_loss(DEFAULT_LOSS if max_loss is None else max_loss)
        model, build = self.builds[chosen.found]
        others = [o for o in outcomes if o.found is not chosen.found]
        scaled = [o if o.compiled else replace(o, luts=round(o.luts * self.factor)) for o in others]
        task = self.task
        return Quantized(
            model, chosen, tuple(sorted([*scaled, chosen], key=lambda o: o.luts)), task.float_score,
            task.loss.metric, build, tuple(task.graph.notes), task.sites, self._ranges(),
        )  # fmt: skip

    def _outcome(self, slope: float) -> Outcome:
        self.tell(f"assigning formats at {slope:.1e} a LUT" if slope else "assigning formats")
        found = self.task.search.assigned(slope, self.widths)
        return self._told(found)

    def _told(self, found: Assignment) -> Outcome:
        return Outcome(found, *self.task.told(found), round(found.luts))

    def _tuned(self, outcome: Outcome) -> Outcome:
        """The outcome after training; the very same where that is not asked for."""
        if self.effort != "high":
            return outcome
        from .tune import tuned

        return self._told(tuned(self.task, outcome.found, self.widths, self.tell))

    def _compiled(self, outcome: Outcome) -> Outcome:
        """The outcome with what the compiler says of it; the factor of the others' estimates is told by it."""
        model = written(self.task.graph, self.task.sites, self.task.shapes, outcome.found)
        model.graph.name = self.name
        build = driver.compile(model, self.target, progress=lambda t: self.tell(f"compiling: {t}"))
        self.builds[outcome.found] = model, build
        luts = int(build.report["estimate"]["luts"])
        if luts and outcome.luts:
            self.factor = luts / outcome.luts
        return replace(outcome, luts=luts, latency=int(build.report["latency_cycles"]))

    def _sweep(self, most: float | None = None) -> list[Outcome]:
        """Outcomes from nearly no loss on, until little is left of the model, or they take no more LUTs than `most`."""
        start = self._outcome(1e-12)
        rate, outcomes = FIRST / max(start.luts, 1), [start]
        enough = self.task.float_score - 0.15
        for k in range(STEPS):
            found = self._outcome(rate * RATE**k)
            if not found.luts or found.score <= self.task.guessed:  # nothing is left of the model
                break
            outcomes.append(found)
            if outcomes[-1].score < enough if most is None else outcomes[-1].luts < most / 2:
                break
        return outcomes

    def _within_loss(self, points: float) -> tuple[Outcome, list[Outcome]]:
        """The cheapest outcome whose metric falls by no more than these points."""
        one = 1 / self.task.held.stop if points and self.task.loss.classes else 0.0
        allowed = max(points / 100, one) + 1e-9
        if one > points / 100:
            self.task.graph.notes.append(
                f"of {self.task.held.stop} rows held back one is {100 * one:.2f} points, and one may be told otherwise"
            )
        outcomes = self._trained() if self.effort == "high" else self._sweep()
        good = [o for o in outcomes if o.fall <= allowed]
        if not good:
            best = min(outcomes, key=lambda o: o.fall)
            raise error(
                f"the {self.task.loss.metric} falls by {100 * best.fall:.2f} points at least, and {points:g} are "
                "allowed",
                help="allow more loss or more bits, give more data, try --effort high, or train on: lutc.nn.convert",
            )
        cheapest = min(good, key=lambda o: o.luts)
        worse = [o for o in outcomes if o.luts < cheapest.luts]
        low, high = cheapest.found.slope, (max(worse, key=lambda o: o.luts).found.slope if worse else 0)
        for _ in range(TRIES if high > low else 0):
            if high / max(low, 1e-30) < NARROW:
                break
            middle = self._outcome(float(np.sqrt(low * high)))
            outcomes.append(middle)
            if self.effort == "high" and middle.fall > allowed:
                outcomes.append(middle := self._tuned(middle))
            low, high = (middle.found.slope, high) if middle.fall <= allowed else (low, middle.found.slope)
        chosen = min((o for o in outcomes if o.fall <= allowed), key=lambda o: o.luts)
        return self._compiled(chosen), outcomes

    def _trained(self) -> list[Outcome]:
        """Outcomes after training, every second rate of the sweep, from those that lose something by themselves."""
        plain = self._sweep()
        lossy = [o for o in plain if o.fall > 0] or plain
        ends = next((i for i, o in enumerate(lossy) if o.score < self.task.float_score - 0.10), len(lossy))
        return [*plain, *(self._tuned(o) for o in lossy[max(0, ends - 8) : ends + 1 : 2])]

    def _within_luts(self, most: int) -> tuple[Outcome, list[Outcome]]:
        """The outcome of the least loss that the compiler makes of no more than these LUTs."""
        outcomes = self._sweep(most)
        fitting: list[Outcome] = []
        seen: list[Assignment] = []
        factor = 1.0  # LUTs of the circuit over those estimated before: what training changes is part of it
        aim = 1.0  # of the bound: less where circuits came out larger than they were thought to be
        for _ in range(TRIES):
            outcomes += self._nearer(outcomes, aim * most / factor)
            below = [o for o in outcomes if o.luts * factor <= aim * most]
            best = max(below, key=lambda o: o.luts) if below else min(outcomes, key=lambda o: o.luts)
            if any(best.found is s for s in seen):
                if fitting:
                    break
                aim *= 1 - 2 * CLOSE
                continue
            seen.append(best.found)
            done = self._compiled(self._tuned(best))
            factor = max(done.luts, 1) / max(best.luts, 1)
            if done.luts <= most:
                fitting.append(done)
                if done.luts >= (1 - CLOSE) * most:
                    break
            else:
                aim *= 1 - CLOSE / 2
        if not fitting:
            done = self._compiled(self._tuned(min(outcomes, key=lambda o: o.luts)))
            if done.luts > most:
                raise error(
                    f"the circuit takes {done.luts:,} LUTs at least, at {100 * done.score:.2f} points, and {most:,} "
                    "are allowed",
                    help="allow more, or train a smaller model: lutc.nn",
                )
            fitting.append(done)
        return min(fitting, key=lambda o: o.loss), [*outcomes, *fitting]

    def _nearer(self, outcomes: list[Outcome], most: float) -> list[Outcome]:
        """Outcomes between those that stand on both sides of a number of estimated LUTs, nearer and nearer."""
        found: list[Outcome] = []
        for _ in range(TRIES):
            known = [*outcomes, *found]
            above = [o for o in known if o.luts > most]
            below = [o for o in known if o.luts <= most]
            if not above or not below:
                break
            high, low = min(above, key=lambda o: o.luts), max(below, key=lambda o: o.luts)
            if low.luts > (1 - CLOSE) * most or low.found.slope < 1.03 * high.found.slope:
                break
            found.append(self._outcome(float(np.sqrt(high.found.slope * low.found.slope))))
        return found

    def _ranges(self) -> dict[tuple[str, str], Array]:
        """Percentiles of the magnitudes of the float model's numbers, zeros left out."""
        task, found = self.task, {}
        task.sim.weights, task.sim.biases = (dict(x) for x in task.search.original)
        task.sim.formats = {}
        for site in task.sites.order:
            if isinstance(site, Layer):
                values = np.abs(task.search.original[0][site.name]).ravel()
            else:
                values = np.abs(task.search.values(site)).ravel()
            values = values[values > 0]
            found[site.name, "weights" if isinstance(site, Layer) else "data"] = (
                np.quantile(values, np.linspace(0, 1, 101)) if values.size else np.zeros(101)
            )
        return found
