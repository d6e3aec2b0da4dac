"""Rows in the form of the MAGIC data set's file, for tests without a network: ten random numbers and a class each."""

from __future__ import annotations

import numpy as np

ROWS = 19020  # of the whole file


def rows(count: int = ROWS) -> list[str]:
    """Lines of CSV text; the class is the sign of the first number."""
    values = np.random.default_rng(0).normal(size=(count, 10)).round(4)
    return [",".join(map(str, v)) + (",g" if v[0] > 0 else ",h") for v in values.tolist()]
