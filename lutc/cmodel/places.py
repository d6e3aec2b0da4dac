"""Places for rows: those that nobody reads any more make room for others."""

from __future__ import annotations

import bisect

import numpy as np
from numpy.typing import NDArray

from lutc.cmodel import rows as at
from lutc.cmodel.program import Body, Calls, Compute, Product, Step

Rows = NDArray[np.int64]
_END = 1 << 60


def reads_of(step: Step) -> list[tuple[int, Rows]]:
    """What a step reads, as pools and rows."""
    if isinstance(step, Product):
        return [(step.read_pool, step.reads.ravel())]
    return [(p, step.reads[:, k]) for k, p in enumerate(step.pools)]


def makes_of(step: Step) -> list[tuple[int, Rows]]:
    """What a step makes, as pools and rows, one block each."""
    if isinstance(step, Calls):
        return [(p, step.rows[:, k]) for k, p in enumerate(step.result_pools)]
    return [(step.pool, step.rows.ravel())]


def placed(body: Body) -> tuple[dict[int, Rows], dict[int, int]]:
    """Where each row of each pool is kept, and how many places each pool has.

    Params come first, in order, and keep their places. A step may write where it reads only if it is one element: all
    else would read what it has written.
    """
    last = {pool: np.full(count, -1, dtype=np.int64) for pool, count in body.counts.items()}
    for number, step in enumerate(body.steps):
        for pool, rows in reads_of(step):
            last[pool][rows] = number
    for found in body.results:
        pools, rows = at.pools_of(found), at.rows_of(found)
        for pool in np.unique(pools).tolist():
            if pool != at.LITERAL:
                last[pool][rows[pools == pool]] = _END
    where = {pool: np.full(count, -1, dtype=np.int64) for pool, count in body.counts.items()}
    rooms = {pool: _Room() for pool in body.counts}
    ends: dict[int, list[tuple[int, int, int]]] = {}
    for found in body.params:
        pools, rows = at.pools_of(found), at.rows_of(found)
        for pool in np.unique(pools).tolist():
            if pool != at.LITERAL:
                mine = rows[pools == pool]
                where[pool][mine] = rooms[pool].take(len(mine)) + np.arange(len(mine))
    for number, step in enumerate(body.steps):
        alone = isinstance(step, Compute) and len(step.rows) == 1
        if alone:
            _free(ends.pop(number, []), rooms)
        for pool, rows in makes_of(step):
            if (where[pool][rows] >= 0).any():
                continue  # a part of a block that has its places
            block = np.arange(rows.min(), rows.max() + 1)
            until = int(last[pool][block].max())
            first = rooms[pool].take(len(block))
            where[pool][block] = first + np.arange(len(block))
            if until < _END:
                ends.setdefault(max(until, number), []).append((pool, first, len(block)))
        _free(ends.pop(number, []), rooms)
    return where, {pool: room.most for pool, room in rooms.items()}


def _free(found: list[tuple[int, int, int]], rooms: dict[int, _Room]) -> None:
    for pool, first, count in found:
        rooms[pool].give(first, count)


class _Room:
    """Places from 0 on; the first gap that is large enough is taken."""

    def __init__(self) -> None:
        self.most = 0
        self._gaps: list[tuple[int, int]] = []

    def take(self, count: int) -> int:
        for n, (first, size) in enumerate(self._gaps):
            if size >= count:
                del self._gaps[n]
                if size > count:
                    bisect.insort(self._gaps, (first + count, size - count))
                return first
        self.most += count
        return self.most - count

    def give(self, first: int, count: int) -> None:
        bisect.insort(self._gaps, (first, count))
        joined: list[tuple[int, int]] = []
        for start, size in self._gaps:
            if joined and joined[-1][0] + joined[-1][1] == start:
                joined[-1] = (joined[-1][0], joined[-1][1] + size)
            else:
                joined.append((start, size))
        self._gaps = joined
