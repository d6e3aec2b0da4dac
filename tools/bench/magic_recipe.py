"""What both sides of magic_front.py have in common: the recipe, and how resources are counted. Needs NumPy alone."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

TRAINING_ROWS = 11412


@dataclass(frozen=True)
class Recipe:
    """One training run: 10 -> hidden -> 2, cross entropy + beta * resources, Adam, cosine restarts.

    Records are made of the running mean of the weights, with the decay ``average`` per step.
    """

    data: str | None
    folder: str
    epochs: int
    every: int  # epochs between records
    seed: int = 0
    hidden: int = 10
    batch: int = 1024
    lr: float = 5e-3
    beta_first: float = 3e-6
    beta_last: float = 3e-3
    average: float = 0.99

    @property
    def steps_per_epoch(self) -> int:
        return TRAINING_ROWS // self.batch

    @property
    def steps(self) -> int:
        return self.steps_per_epoch * self.epochs

    @property
    def period(self) -> int:
        """Steps of one cosine of the learning rate, from ``lr`` to 0."""
        return max(self.steps // 5, 1)

    def beta(self, step: int) -> float:
        """Factor of the resources: held for a tenth of the steps, then geometric to the end."""
        share = min(max((step - self.steps // 10) / (self.steps * 9 // 10), 0.0), 1.0)
        return self.beta_first * math.exp(share * math.log(self.beta_last / self.beta_first))


@dataclass(frozen=True)
class Row:
    """A record: accuracies of the model with traced ranges, LUTs by `surrogate` and by the trainer's own count."""

    epoch: int
    validation: float
    test: float
    luts: float
    own_luts: float
    file: str


def surrogate(widths: Iterable[tuple[NDArray[Any], NDArray[Any]]]) -> float:
    """LUTs of layers with key and value widths (sign included) per edge: HGQ-LUT, arXiv 2604.22293, (X, Y) = (6, 5).

    n / 2 * phi(m) + n for m key and n value bits, phi(m) = 2**(m - 5) for m >= 5, else m / 5. A value of one bit in a
    range that is symmetric about zero is zero, and costs nothing; both trainers still count that bit themselves.
    """
    total = 0.0
    for key, value in widths:
        m, n = key.astype(float), np.where(value > 1, value, 0).astype(float)
        phi = np.where(m >= 5, np.exp2(m - 5), m / 5)
        total += float((n * (phi / 2 + 1)).sum())
    return total


def front(rows: Iterable[Row]) -> list[Row]:
    """The rows that no other beats in both validation accuracy and LUTs, smallest first."""
    kept: list[Row] = []
    for row in sorted(rows, key=lambda r: (r.luts, -r.validation)):
        if not kept or row.validation > kept[-1].validation:
            kept.append(row)
    return kept
