"""Rows written as another row plus a difference, where that takes fewer digits: a spanning tree of the rows.

After Gustafsson, Ohlsson and Wanhammar, "Low-complexity constant coefficient matrix multiplication using a minimum
spanning tree approach" (2004). The tree is grown by Prim's algorithm with a bound on its height, which a library's
minimum spanning tree would not keep.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutc.cmvm.network import Problem

_WIDEST = 60  # bits of the weights, so that three times a difference still is an int64
_LARGEST = 1 << 26  # numbers to look at: beyond, the tree takes longer than it is worth

Parent = tuple[int, int]  # a row, and the sign it is taken with


def parents(problem: Problem, height: int) -> list[Parent | None] | None:
    """For each row the row it is written by and that row's sign, or None if it stands on its own.

    None as a whole if no row gains, or if the matrix is too wide or too large to try.
    """
    count = len(problem.rows)
    widest = max((abs(w).bit_length() for r in problem.rows for _, w in r), default=0)
    if count < 2 or height < 1 or widest > _WIDEST or count * count * len(problem.inputs) > _LARGEST:
        return None
    matrix = np.zeros((count, len(problem.inputs)), dtype=np.int64)
    for j, row in enumerate(problem.rows):
        for i, w in row:
            matrix[j, i] = w
    best = digit_counts(matrix).sum(axis=1)
    parent: list[Parent | None] = [None] * count
    level = [0] * count
    waiting = np.ones(count, dtype=bool)
    for _ in range(count):
        j = int(np.argmin(np.where(waiting, best, np.iinfo(np.int64).max)))
        waiting[j] = False
        found = parent[j]
        level[j] = level[found[0]] + 1 if found else 0
        if level[j] >= height or not matrix[j].any():
            continue
        for sign in (1, -1):
            cost = digit_counts(matrix - sign * matrix[j]).sum(axis=1) + 1
            for k in np.nonzero(waiting & (cost < best))[0].tolist():
                best[k], parent[k] = cost[k], (j, sign)
    return parent if any(parent) else None


def digit_counts(numbers: NDArray[Any]) -> NDArray[Any]:
    """How many canonical signed digits each number has: the ones of `x ^ 3x`."""
    size = np.abs(numbers)
    counts: NDArray[Any] = np.bitwise_count((size ^ (3 * size)).astype(np.uint64)).astype(np.int64)
    return counts
