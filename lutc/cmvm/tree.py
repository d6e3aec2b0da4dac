"""Rows written as another row plus a difference, where that takes fewer digits: a spanning tree of the rows.

After Gustafsson, Ohlsson and Wanhammar, "Low-complexity constant coefficient matrix multiplication using a minimum
spanning tree approach" (2004). The tree is grown by Prim's algorithm with a bound on its height, which a library's
minimum spanning tree would not keep.
"""

from __future__ import annotations

import numpy as np

from lutc.cmvm.network import Problem
from lutc.numbers import signed_digits

_WIDEST = 60  # bits of the weights, so that three times one still is an int64


def parents(problem: Problem, height: int) -> list[tuple[int, int] | None] | None:
    """For each row the row it is written by and that row's sign, or None if it stands on its own.

    None as a whole if no row gains, or if a weight is too wide to try.
    """
    count = len(problem.rows)
    if count < 2 or height < 1 or max((abs(w) for r in problem.rows for _, w in r), default=0) >> _WIDEST:
        return None
    matrix = np.zeros((count, len(problem.inputs)), dtype=np.int64)
    for j, row in enumerate(problem.rows):
        for i, w in row:
            matrix[j, i] = w
    alone = digit_counts(matrix).sum(axis=1)
    best = alone.copy()
    parent: list[tuple[int, int] | None] = [None] * count
    level = np.zeros(count, dtype=np.int64)
    waiting = np.ones(count, dtype=bool)
    gained = False
    for _ in range(count):
        j = int(np.argmin(np.where(waiting, best, np.iinfo(np.int64).max)))
        waiting[j] = False
        found = parent[j]
        if found is not None:
            gained = True
            level[j] = level[found[0]] + 1
        if level[j] >= height or not alone[j]:
            continue
        for sign in (1, -1):
            cost = digit_counts(matrix - sign * matrix[j]).sum(axis=1) + 1
            for k in np.nonzero(waiting & (cost < best))[0].tolist():
                best[k], parent[k] = cost[k], (j, sign)
    return parent if gained else None


def digit_counts(x: np.ndarray) -> np.ndarray:
    """How many canonical signed digits each number has: the ones of `x ^ 3x`."""
    size = np.abs(x)
    changed = (size ^ (3 * size)).astype(np.uint64)
    return np.bitwise_count(changed).astype(np.int64)


def digits(weight: int, value: int) -> list[tuple[int, int, int]]:
    """`weight * value` as digits."""
    return [(value, shift, sign) for shift, sign in signed_digits(weight)]
