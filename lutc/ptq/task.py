"""A float model with its data: what a search needs, and how what it finds is judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutc.diagnostics import LirError, error
from lutc.lazy import lazy

from . import source
from .formats import LEVELS
from .graph import Graph
from .loss import Loss, loss_for
from .search import Assignment, Progress, Search
from .simulator import Simulator, shapes_of
from .sites import Sites, sites

Array = NDArray[Any]

HELD = 5  # every fifth row is kept from calibration, to tell the metric by
MOST_ROWS = 4096  # rows that gains and moments are measured on
NUMBERS = 1 << 27  # of one tensor: fewer rows of large ones


def _mixtures(x: Array) -> Array:
    """As many points on the lines between rows, each nearer to one of them."""
    rng = np.random.default_rng(1)
    share = rng.uniform(0.5, 1, len(x)).astype(np.float32).reshape(-1, *(1,) * (x.ndim - 1))
    found = np.asarray(x * share + x[rng.permutation(len(x))] * (1 - share), np.float32)
    levels = np.unique(x)
    if len(levels) > LEVELS:
        return found
    return np.asarray(
        levels[np.abs(found[..., None] - levels).argmin(-1)]
    )  # such as pixels, whole steps only


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
    mixed: slice  # mixtures of the rows held back, behind all rows
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
        held = slice(0, max(1, count // HELD))
        mixed = slice(count, count + held.stop)
        inputs = {n: np.concatenate([x[order], _mixtures(x[order[held]])]) for n, x in inputs.items()}
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
        if not all(np.isfinite(r).all() for r in right):
            raise error("the float model's answers are not all finite", where=graph.proto.graph.name)
        if all(np.ptp(r[:count].astype(np.float64), axis=0).max(initial=0) == 0 for r in right):
            raise error(
                "the float model answers the same to every row of the data",
                where=graph.proto.graph.name,
                help="give rows that differ, scaled as the model was trained on them",
            )
        loss = loss_for([r[:count] for r in right], labels, graph.softmax, graph.sigmoid(0))
        largest = max(int(np.prod(s[1:])) for s in shapes.values())
        rows = min(MOST_ROWS, max(16, NUMBERS // max(largest, 1)), count - held.stop)
        calibration = slice(held.stop, held.stop + rows)
        return cls(
            graph, found, shapes, sim, loss, right, calibration, held, mixed,
            Search(found, sim, loss, right, calibration, shapes, tell),
        )  # fmt: skip

    @property
    def training(self) -> slice:
        """The rows that weights may be trained on: all that are not held back."""
        return slice(self.held.stop, self.mixed.start)

    def value(self, found: Assignment) -> float:
        """What training is to make small: the loss on the rows held back and on their mixtures, and wrong answers."""
        found.put(self.sim)
        held, mixed = self.sim.answers(self.held), self.sim.answers(self.mixed)
        right = [[r[rows] for r in self.right] for rows in (self.held, self.mixed)]
        losses = self.loss.apart(right[0], held) + self.loss.apart(right[1], mixed)
        return losses - self.loss.score(right[0], held, self.held)

    def told(self, found: Assignment) -> tuple[float, float, float]:
        """Loss, score and fall of an assignment, as `Outcome` says them."""
        found.put(self.sim)
        seen = slice(0, self.calibration.stop)
        answers, right = self.sim.answers(seen), [r[seen] for r in self.right]
        held = [r[self.held] for r in right], [a[self.held] for a in answers]
        score = self.loss.score(*held, self.held)
        falls = [
            self.float_score - score,
            self.loss.score(right, right, seen) - self.loss.score(right, answers, seen),
        ]
        if self.loss.classes:
            classes = self.loss.classes_of
            changed = classes(self.sim.answers(self.mixed)[0]) != classes(self.right[0][self.mixed])
            falls.append(float(changed.mean()) / 4)
        return self.loss.apart(*held), score, max(falls)

    @lazy
    def guessed(self) -> float:
        """The score of answering the same to everything."""
        if not self.loss.classes:
            return 0.0
        right = self.loss.labels if self.loss.labels is not None else self.loss.classes_of(self.right[0])
        return float(np.bincount(right[self.held]).max() / max(self.held.stop, 1))

    @lazy
    def float_score(self) -> float:
        """The float model's score on the rows held back."""
        right = [r[self.held] for r in self.right]
        return self.loss.score(right, right, self.held)
