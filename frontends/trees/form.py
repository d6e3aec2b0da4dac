"""A file of trees as it is read, whichever package wrote it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lutc.lowering.trees import Ensemble

# Margins of samples (float64, `(samples, targets)`), from samples, with leaves rounded by a function and with these
# base margins in the place of the model's own, or with all as they are.
Margins = Callable[[Any, Callable[[float], float] | None, Sequence[float] | None], Any]


@dataclass(frozen=True, eq=False)
class Forest:
    """An ensemble by the name of its package and file; `margins` runs it in its own package, if that is installed.

    `classes` is 0 for a regression. What the package makes of margins (a sigmoid, a softmax, an exponential) is
    `link`, "" if nothing. `dtype` is what the package compares in.
    """

    name: str
    package: str
    ensemble: Ensemble
    features: int
    classes: int
    link: str
    dtype: str
    margins: Margins
