"""How far answers are from the float model's: a smooth measure to search by, and the metric that people read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutc.diagnostics import error

Array = NDArray[Any]

LEAST = 1e-9  # probability, so that it has a logarithm


@dataclass(frozen=True)
class Loss:
    """Compares a model's outputs `(rows, ...)` with the float model's.

    With `classes` the last axis of the first output holds scores of classes, or one score of two, with `centre`
    between them; with `probabilities` their exponentials. `labels` are the right classes, or the right numbers;
    without them the float model's are taken.
    """

    classes: bool
    centre: float
    labels: Array | None
    probabilities: bool = False

    @property
    def metric(self) -> str:
        """What `score` counts, as a heading."""
        if self.classes:
            return "accuracy" if self.labels is not None else "agreement"
        return "R²"

    def apart(self, right: Sequence[Array], found: Sequence[Array]) -> float:
        """0 for equal answers: the divergence of Kullback and Leibler in nats for scores of classes, otherwise the
        mean squared error as a share of the outputs' variance; summed over the outputs."""
        total = 0.0
        for k, (a, b) in enumerate(zip(right, found, strict=True)):
            a, b = a.astype(np.float64), b.astype(np.float64)
            if self.classes and k == 0:
                if self.probabilities:
                    a, b = (np.log(np.maximum(x, LEAST)) for x in (a, b))
                total += _divergence(a - self.centre, b - self.centre)
            else:
                total += float(((a - b) ** 2).mean()) / spread(a)
        return total

    def score(self, right: Sequence[Array], found: Sequence[Array], rows: slice = slice(None)) -> float:
        """The metric: a share of right classes, or the coefficient of determination of the first output."""
        if self.classes:
            wanted = self.labels[rows] if self.labels is not None else self.classes_of(right[0])
            return float((self.classes_of(found[0]) == wanted).mean())
        wanted = (self.labels[rows] if self.labels is not None else right[0]).astype(np.float64)
        return 1 - float(((found[0].reshape(wanted.shape) - wanted) ** 2).mean()) / spread(wanted)

    def classes_of(self, scores: Array) -> Array:
        flat = scores.reshape(len(scores), -1)
        return np.asarray(flat[:, 0] > self.centre if flat.shape[1] == 1 else flat.argmax(1)).astype(np.int64)


def _one_hot(labels: Array) -> bool:
    return set(np.unique(labels)) <= {0, 1} and bool((labels.sum(1) == 1).all())


def spread(x: Array) -> float:
    """The variance of outputs over the rows, mean over the outputs, and never nothing."""
    each = np.asarray(x, np.float64).var(axis=0)
    return max(float(each.mean()), 1e-12 * max(float(np.abs(x).max()) ** 2, 1e-12))


def _divergence(a: Array, b: Array) -> float:
    a, b = (np.stack([np.zeros_like(x), x], -1) if x.shape[-1] == 1 else x for x in (a, b))
    p, q = (x - x.max(-1, keepdims=True) for x in (a, b))
    p, q = (x - np.log(np.exp(x).sum(-1, keepdims=True)) for x in (p, q))
    return float((np.exp(p) * (p - q)).sum(-1).mean())


def loss_for(outputs: Sequence[Array], labels: Array | None, softmax: str, sigmoid: bool) -> Loss:
    """The measure that suits outputs and labels.

    `softmax` is what `Graph.softmax` says, `sigmoid` whether one makes the first output. Raises LirError for labels
    that are not those of the outputs.
    """
    first = outputs[0]
    rows = len(first)
    wide = int(np.prod(first.shape[1:]))
    one = sigmoid and wide == 1  # several that each say yes or no are numbers, unless labels say otherwise
    centre, probabilities = 0.5 if one else 0.0, softmax == "probabilities"
    if labels is None:
        return Loss(bool(softmax) or one, centre, None, probabilities)
    if len(labels) != rows:
        raise error(f"there are {len(labels)} labels for {rows} rows of data", help="give one for each row")
    if labels.ndim == 2 and labels.shape[1] == wide > 1 and _one_hot(labels):
        labels = labels.argmax(1)
    labels = labels.reshape(rows) if labels.size == rows else labels
    whole = labels.ndim == 1 and (labels == np.rint(labels)).all()
    if whole and (labels.dtype.kind in "iub" or wide > 1 or one):
        if labels.min() < 0 or labels.max() >= max(wide, 2):
            raise error(
                f"the labels reach from {labels.min():g} to {labels.max():g}, and the model tells {max(wide, 2)} "
                "classes apart",
                help="number the classes from 0, in the order of the outputs; give numbers of a regression as floats",
            )
        return Loss(True, centre, labels.astype(np.int64), probabilities)
    if labels.size != first.size:
        raise error(
            f"labels of shape {list(labels.shape)} are no classes, and no numbers for outputs of shape "
            f"{list(first.shape)}",
            help="give a class (an integer) for each row, or a number for each output",
        )
    return Loss(False, 0.0, labels)
