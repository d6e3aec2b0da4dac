"""`lutc.quantize`: a float model, calibrated and searched for the circuit that a user's bound allows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutc.diagnostics import LirError, error
from lutc.settings import Settings

from . import source
from .fold import plain
from .formats import Formats
from .graph import Graph
from .loss import Loss, loss_for
from .search import Assignment, Search, Widths
from .simulator import Simulator, shapes_of
from .sites import Layer, Sites, sites
from .write import written

Array = NDArray[Any]
Progress = Callable[[str], None]

EFFORTS = ("normal", "high")
SCALES = ("powers", "free")
GRANULARITIES = ("channel", "tensor")
DEFAULT_LOSS = 0.5  # points of the metric, where the user names no bound
HELD = 5  # every fifth row is kept from calibration, to tell the metric by
MOST_ROWS = 4096  # rows that gains and moments are measured on
NUMBERS = 1 << 27  # of one tensor: fewer rows of large ones
FIRST, RATE, STEPS = 4e-3, 2.0, 20  # of the sweep: the least loss that all LUTs are worth, and its growth
NARROW = {"normal": 1.05, "high": 1.25}  # how near to a bound in loss, as a ratio of rates
CLOSE = 0.04  # how near to a bound in LUTs a search comes
TRIES = 6


@dataclass(frozen=True)
class Outcome:
    """A quantised model: how far it is from the float one on rows that were held back, and what it takes.

    `luts` and `latency` (cycles) are the compiler's if it was compiled; else `luts` is an estimate from the digits of
    its weights, and `latency` is None.
    """

    found: Assignment
    loss: float
    score: float
    luts: int
    latency: int | None = None

    @property
    def compiled(self) -> bool:
        return self.latency is not None


@dataclass(frozen=True)
class Quantized:
    """The result: `model` is an `onnx.ModelProto` in the QONNX dialect, `outcomes` the trade-off it was chosen from.

    `score` and those of the outcomes are shares of right answers (or R²) on the rows held back; `float_score` is the
    float model's. `build` is what lutc makes of the model.
    """

    model: Any
    chosen: Outcome
    outcomes: tuple[Outcome, ...]
    float_score: float
    metric: str
    build: Any
    notes: tuple[str, ...]
    sites: Sites = field(repr=False)
    ranges: dict[tuple[str, str], Array] = field(
        repr=False
    )  # percentiles of magnitudes, as `layers` names them

    @property
    def score(self) -> float:
        """The metric of what was chosen."""
        return self.chosen.score

    def front(self) -> list[Outcome]:
        """The outcomes that no other is better than in LUTs and in the metric, and the one chosen, from small on."""
        found: list[Outcome] = []
        for o in sorted(self.outcomes, key=lambda o: (o.luts, -o.score)):
            if o is self.chosen or all(p.score < o.score for p in found):
                found.append(o)
        return found

    def write(self, path: str | Path) -> list[Path]:
        """Write the model as a QONNX file, and its figures and pictures beside it; the paths of all four."""
        from . import files

        files.may_write(path)
        return files.write(self, path)

    def layers(self) -> list[dict[str, Any]]:
        """A row for each layer and point: its name, what it is, and its bits, for tables and pictures."""
        rows: list[dict[str, Any]] = []
        for site in self.sites.order:
            if isinstance(site, Layer):
                w, step = self.chosen.found.weights[site.name], self.chosen.found.steps[site.name]
                rows.append({"name": site.name, "kind": "weights", **_weight_facts(w, step, site)})
            else:
                f = self.chosen.found.formats[site.name]
                rows.append({"name": site.name, "kind": "data", **_data_facts(f)})
        return rows


def _weight_facts(w: Array, step: Array, layer: Layer) -> dict[str, Any]:
    """Bits of a weight of the widest in its output, mean over the outputs; the powers of two between which all lie."""
    columns = [
        (np.abs(m[:, j]).max(), s[0, j])
        for m, s in zip(layer.matrices(w.astype(np.float64)), layer.matrices(step), strict=True)
        for j in range(m.shape[1])
    ]
    live = [(np.floor(np.log2(top)) + 1, np.log2(unit)) for top, unit in columns if top > 0]
    return {
        "bits": float(np.mean([msb - lsb + 1 for msb, lsb in live])) if live else 0.0,
        "msb": float(max((msb for msb, _ in live), default=0)),
        "lsb": float(min((lsb for _, lsb in live), default=0)),
        "zeros": float((w == 0).mean()),
    }


def _data_facts(f: Formats) -> dict[str, Any]:
    live = f.bits > 0
    steps, bits = (f.step[live], f.bits[live]) if live.any() else (np.ones(1), np.zeros(1))
    return {
        "bits": float(f.bits.mean()),
        "msb": float((np.log2(steps) + bits - f.signed).max()),
        "lsb": float(np.log2(steps).min()),
        "zeros": float((~live).mean()),
    }


def widths_of(bits: Any, scales: str) -> Widths:
    """The widths that `--bits` asks for: None, a number, `"4..8"`, or a pair. Raises LirError for anything else."""
    free = scales == "free"
    if bits is None:
        return Widths(free=free)
    try:
        if isinstance(bits, str):
            parts = [int(p) for p in bits.split("..")]
        else:
            parts = [int(p) for p in bits] if isinstance(bits, tuple | list) else [int(bits)]
        least, most = (parts[0], parts[-1]) if len(parts) in (1, 2) else (0, 0)
    except (TypeError, ValueError):
        least = most = 0
    if not 1 <= least <= most <= 16:
        raise error(f"{bits!r} are no bits", help="give a number from 1 to 16, or a range such as 4..8")
    if most < 2:
        raise error("weights of one bit are not found after training", help="train them: lutc.nn")
    return Widths((least, most), (least, most), fixed=len(parts) == 1, free=free)


def quantize(
    model: Any,
    data: Any,
    labels: Any = None,
    *,
    target: str = "xcvu13p",
    max_luts: int | None = None,
    max_loss: float | None = None,
    bits: Any = None,
    effort: str = "normal",
    scales: str = "powers",
    granularity: str = "channel",
    keep_softmax: bool = False,
    example_inputs: Any = None,
    progress: Progress | None = None,
) -> Quantized:
    """Quantise a float model after training, for the smallest circuit within a bound.

    Parameters
    ----------
    model
        The path of an ONNX, Keras or PyTorch (`.pt2`) model, or a live one. BatchNorm is folded into the layers.
    data
        What the model will see, `(rows, ...)`: an array, a mapping by input name, or the path of an `.npy` or `.npz`
        file. A fifth of the rows is kept from calibration, and the metric is told on those.
    labels
        The right classes `(rows,)` or numbers, as an array or a path, or `"labels"` in an `.npz` of data. Without
        them the float model's answers are taken for right.
    target
        The part whose LUTs are counted.
    max_luts
        LUTs of the circuit, by lutc's own count, at most.
    max_loss
        What the metric may fall by, in points (hundredths); 0.5 if nothing else is asked for.
    bits
        One width of all weights and data, or a range (`"4..8"`) within which each gets its own.
    effort
        `"high"` trains the weights on the data between their steps, which needs PyTorch.
    scales
        `"powers"` of two, which cost nothing in hardware, or `"free"`: then data has one format for each tensor.
    granularity
        Formats of data for each `"channel"`, or for each `"tensor"`.
    keep_softmax
        Keep a softmax at the end; else it is left to the host.
    example_inputs
        For a PyTorch module: what it may be called with; the first rows of the data if left out.
    progress
        Is told what is being done.

    Raises
    ------
    LirError
        For a model, data or bounds that make no sense, for a bound that cannot be met, and for what lutc cannot
        compile.

    Examples
    --------
    >>> import lutc
    >>> found = lutc.quantize("float.onnx", "calibration.npz", max_loss=0.5)  # doctest: +SKIP
    >>> found.write("quantised.onnx")  # doctest: +SKIP
    """
    tell = progress or (lambda text: None)
    _asked(effort, scales, granularity, max_luts, max_loss)
    widths = widths_of(bits, scales)
    if widths.fixed and (max_luts is not None or max_loss is not None):
        raise error(
            "one width for everything leaves nothing to search", help="give a range, such as bits='4..8'"
        )
    Settings(target=target)
    given = source.arrays(data, "the data")
    right = given.pop("labels", None) if labels is None else _only(source.arrays(labels, "the labels"))
    if example_inputs is None and given:
        example_inputs = tuple(x[:1] for x in given.values())
    tell("reading the model")
    proto, name = source.as_onnx(model, example_inputs)
    graph = plain(proto, keep_softmax)
    task = Task.of(graph, given, right, granularity, scales, tell)
    return _Choice(task, widths, target, name, effort, tell).made(max_luts, max_loss)


def _only(found: dict[str, Array]) -> Array:
    if len(found) > 1 and "labels" not in found:
        raise error(f"there are several arrays of labels: {', '.join(found)}", help="give one")
    return found.get("labels", next(iter(found.values())))


def _asked(effort: str, scales: str, granularity: str, luts: Any, loss: Any) -> None:
    for value, what, words in (
        (effort, "effort", EFFORTS),
        (scales, "scales", SCALES),
        (granularity, "granularity", GRANULARITIES),
    ):
        if value not in words:
            raise error(f"there is no {what} {value!r}", help=f"one of {', '.join(words)}")
    if luts is not None and loss is not None:
        raise error("give one bound, in LUTs or in loss: the other is what is made as small as it goes")
    if luts is not None and not (isinstance(luts, int) and luts > 0):
        raise error(f"{luts!r} is no number of LUTs", help="give an integer above 0")
    if loss is not None and not (isinstance(loss, int | float) and 0 <= loss <= 100):
        raise error(
            f"{loss!r} is no loss in points", help="give points of the metric, 0 to 100: 0.5 is usual"
        )


RECURRENT = ("LSTM", "GRU", "RNN", "Scan", "Loop", "If")


def _no_layers(graph: Graph) -> LirError:
    kinds = sorted({n.op_type for n in graph.nodes} & {*RECURRENT})
    if kinds:
        return error(
            f"its layers are {', '.join(kinds)}, which are not quantised after training",
            where=graph.proto.graph.name,
            help="unroll them into MatMul, Add and their activations, or train with quantisers: lutc.nn, HGQ2",
        )
    return error(
        "the model has no layer with constant weights",
        where=graph.proto.graph.name,
        help="there is nothing to quantise; give its input a format: lutc compile --input-type s8f4",
    )


@dataclass(frozen=True)
class Task:
    """The model with its data: what a search needs, and how its outcomes are told."""

    graph: Graph
    sites: Sites
    shapes: dict[str, tuple[int, ...]]
    sim: Simulator
    loss: Loss
    right: list[Array]  # the float model's answers to all rows
    calibration: slice
    held: slice
    search: Search

    @classmethod
    def of(
        cls,
        graph: Graph,
        given: dict[str, Array],
        labels: Array | None,
        granularity: str,
        scales: str,
        tell: Progress,
    ) -> Task:
        inputs = source.by_input(graph, given)
        count = len(next(iter(inputs.values())))
        order = np.random.default_rng(0).permutation(count)
        inputs = {n: x[order] for n, x in inputs.items()}
        if labels is not None and len(labels) == count:
            labels = labels[order]
        tell("running the float model")
        shapes = shapes_of(graph, inputs)
        found = sites(graph, shapes)
        if granularity == "tensor" or scales == "free":  # of sums, the terms have to share their scale
            found = found.by_tensor()
        if not found.layers:
            raise _no_layers(graph)
        sim = Simulator(graph, found.layers, found.points, shapes, inputs)
        right = sim.answers()
        first = right[0]
        if not all(np.isfinite(r).all() for r in right):
            raise error("the float model's answers are not all finite", where=graph.proto.graph.name)
        loss = loss_for(right, labels, graph.softmax, graph.sigmoid(0)) if len(first) else None
        assert loss is not None
        held = slice(0, max(1, count // HELD))
        largest = max(int(np.prod(s[1:])) for s in shapes.values())
        rows = min(MOST_ROWS, max(16, NUMBERS // max(largest, 1)), count - held.stop)
        calibration = slice(held.stop, held.stop + rows)
        return cls(
            graph, found, shapes, sim, loss, right, calibration, held,
            Search(graph, found, sim, loss, calibration, shapes, tell),
        )  # fmt: skip

    @property
    def training(self) -> slice:
        """The rows that weights may be trained on: all that are not held back."""
        return slice(self.held.stop, None)

    def value(self, found: Assignment) -> float:
        """What training is to make small, on the rows held back: the loss against the right answers if it has them."""
        found.put(self.sim)
        answers = self.sim.answers(self.held)
        right = [r[self.held] for r in self.right]
        return self.loss.apart(right, answers) - self.loss.score(right, answers, self.held)

    def told(self, found: Assignment) -> tuple[float, float]:
        """Loss and score of an assignment on the rows held back."""
        found.put(self.sim)
        answers = self.sim.answers(self.held)
        right = [r[self.held] for r in self.right]
        return self.loss.apart(right, answers), self.loss.score(right, answers, self.held)

    @property
    def guessed(self) -> float:
        """The score of answering the same to everything."""
        if not self.loss.classes:
            return 0.0
        right = self.loss.labels if self.loss.labels is not None else self.loss.classes_of(self.right[0])
        return float(np.bincount(right[self.held]).max() / max(self.held.stop, 1))

    @property
    def float_score(self) -> float:
        right = [r[self.held] for r in self.right]
        return self.loss.score(right, right, self.held)


@dataclass
class _Choice:
    """The search over rates, and the outcome it ends with."""

    task: Task
    widths: Widths
    target: str
    name: str
    effort: str
    tell: Progress
    factor: float = 1.0  # LUTs of the compiler over those estimated from digits
    builds: dict[int, Any] = field(default_factory=dict)

    def made(self, max_luts: int | None, max_loss: float | None) -> Quantized:
        if self.widths.fixed:
            outcomes = [self._outcome(0.0)]
            chosen = self._compiled(self._tuned(outcomes[0]))
        elif max_luts is not None:
            chosen, outcomes = self._within_luts(max_luts)
        else:
            chosen, outcomes = self._within_loss(DEFAULT_LOSS if max_loss is None else max_loss)
        model, build = self.builds[id(chosen.found)]
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
        loss, score = self.task.told(found)
        return Outcome(found, loss, score, round(found.luts))

    def _tuned(self, outcome: Outcome) -> Outcome:
        """The outcome after training; the very same where that is not asked for."""
        if self.effort != "high":
            return outcome
        from .tune import tuned

        return self._told(tuned(self.task, outcome.found, self.widths, self.tell))

    def _compiled(self, outcome: Outcome) -> Outcome:
        """The outcome with what the compiler says of it; the factor of the others' estimates is told by it."""
        from lutc import driver

        model = written(self.task.graph, self.task.sites, self.task.shapes, outcome.found)
        model.graph.name = self.name
        build = driver.compile(model, self.target, progress=lambda t: self.tell(f"compiling: {t}"))
        self.builds[id(outcome.found)] = model, build
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
        one = (
            1 / self.task.held.stop if points and self.task.loss.classes else 0.0
        )  # row may differ in any case
        floor = self.task.float_score - max(points / 100, one) - 1e-9
        outcomes = self._trained() if self.effort == "high" else self._sweep()
        good = [o for o in outcomes if o.score >= floor]
        if not good:
            best = max(outcomes, key=lambda o: o.score)
            raise error(
                f"the {self.task.loss.metric} falls by {100 * (self.task.float_score - best.score):.2f} points at "
                f"least, and {points:g} are allowed",
                help="allow more loss or more bits, give more data, try --effort high, or train on: lutc.nn.convert",
            )
        cheapest = min(good, key=lambda o: o.luts)
        worse = [o for o in outcomes if o.luts < cheapest.luts]
        low, high = cheapest.found.slope, (max(worse, key=lambda o: o.luts).found.slope if worse else 0)
        for _ in range(TRIES if high > low else 0):
            if high / max(low, 1e-30) < NARROW[self.effort]:
                break
            middle = self._tuned(self._outcome(float(np.sqrt(low * high))))
            outcomes.append(middle)
            low, high = (middle.found.slope, high) if middle.score >= floor else (low, middle.found.slope)
        chosen = min((o for o in outcomes if o.score >= floor), key=lambda o: o.luts)
        return self._compiled(chosen), outcomes

    def _trained(self) -> list[Outcome]:
        """Outcomes after training, every second rate of the sweep, from those that lose something by themselves."""
        plain = self._sweep()
        lossy = [o for o in plain if o.score < self.task.float_score] or plain
        ends = next((i for i, o in enumerate(lossy) if o.score < self.task.float_score - 0.10), len(lossy))
        return [self._tuned(o) for o in lossy[max(0, ends - 8) : ends + 1 : 2]]

    def _within_luts(self, most: int) -> tuple[Outcome, list[Outcome]]:
        """The outcome of the least loss that the compiler makes of no more than these LUTs."""
        outcomes = self._sweep(most)
        fitting: list[Outcome] = []
        for _ in range(TRIES):
            outcomes += self._nearer(outcomes, most / self.factor)
            below = [o for o in outcomes if o.luts * self.factor <= most]
            best = max(below, key=lambda o: o.luts) if below else min(outcomes, key=lambda o: o.luts)
            if id(best.found) in self.builds:
                break
            done = self._compiled(self._tuned(best))
            self.builds[id(best.found)] = self.builds[id(done.found)]
            if done.luts <= most:
                fitting.append(done)
                if done.luts >= (1 - CLOSE) * most:
                    break
        if not fitting:
            done = self._compiled(self._tuned(min(outcomes, key=lambda o: o.luts)))
            if done.luts > most:
                raise error(
                    f"the circuit takes {done.luts:,} LUTs at least, at {100 * done.score:.2f} points, and {most:,} "
                    "are allowed",
                    help="allow more, or train a smaller model: lutc.nn",
                )
            fitting.append(done)
        return min(fitting, key=lambda o: o.loss), outcomes

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
