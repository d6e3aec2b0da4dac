"""The fewest flip-flops for a number of stages: retiming by difference constraints.

Leiserson and Saxe, "Retiming synchronous circuitry", Algorithmica 6 (1991): whichever way between two values takes
longer than a stage has a register on it, and a value has as many registers as the last of its readers stands later.
Both are bounds on differences of stages, so the optimum of the linear program is in whole numbers. Ways are looked at
only where the earliest and the latest stages of their ends leave a choice, as Maheshwari and Sapatnekar have it in
"Efficient retiming of large circuits", IEEE Transactions on VLSI Systems 6 (1998).
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from copy import copy
from dataclasses import dataclass, field
from math import inf

import numpy as np

from lutc.analysis.sources import Held
from lutc.ir.graph import Design, Func, Value
from lutc.passes.placement import Cut, Row, Times

_WAYS = 4_000_000  # looked at in a body at most; with more, it stays as it is
_ROUNDED = 1e-9  # ns by which the same sums may differ that are added up from both ends


def fewest_bits(times: Times, cut: Cut) -> Cut:
    """The same stages with the fewest flip-flops, functions by themselves; the very cut where it has them."""
    better = copy(cut)
    better.places = dict(cut.places)
    for func, rows in times.funcs:
        if ranks := cut.funcs[func][0]:
            _improve(better, func, rows, times, ranks)
    _improve(better, times.design, times.values, times, cut.ranks)
    return better


def _improve(cut: Cut, owner: Design | Func, rows: Sequence[Row], times: Times, ranks: int) -> None:
    """Give a body's values other places, if that takes fewer flip-flops."""
    if ranks < 2:
        return  # the one rank is at the outputs
    sources, held = times.sources(owner, rows)
    before, bits = {row[0]: cut.places[row[0]] for row in rows}, cut.bits_of(held, ranks)
    chosen = _Stages(cut, rows, sources.wires, ranks).solved(held)
    if chosen is None:
        return
    cut.place(rows, chosen)
    met = all(cut.places[v][0] == stage for v, stage in chosen.items())
    if not met or cut.bits_of(held, ranks) >= bits:
        cut.places |= before
        return
    cut.place(rows, chosen | _wires(cut, rows, sources.wires, ranks))


def _wires(cut: Cut, rows: Sequence[Row], wires: Set[Value], ranks: int) -> dict[Value, int]:
    """Stages of what only rewires: where there are the fewer wires, before it or behind it.

    It takes the same flip-flops anywhere, for synthesis sees whose bits they are.
    """
    late: dict[Value, int] = {}
    found: dict[Value, int] = {}
    for value, moving, _, _ in reversed(rows):
        if value in wires and value.type.bits >= sum(v.type.bits for v in {*moving}):
            found[value] = late.get(value, ranks - 1)
        start = found.get(value, cut.start(value))
        for v in moving:
            late[v] = min(late.get(v, ranks - 1), start)
    return found


@dataclass
class _Program:
    """Minimise `costs` over variables with `bounds`, where for every `(a, b, by)` b is at least `by` above a."""

    costs: list[float] = field(default_factory=list)
    bounds: list[tuple[int, int]] = field(default_factory=list)
    above: set[tuple[int, int, int]] = field(default_factory=set)

    def variable(self, low: int, high: int) -> int:
        self.costs.append(0.0)
        self.bounds.append((low, high))
        return len(self.costs) - 1

    def need(self, a: int, b: int, by: int) -> None:
        if self.bounds[a][1] + by > self.bounds[b][0]:  # else the bounds say so
            self.above.add((a, b, by))

    def solved(self) -> list[int] | None:
        from scipy.optimize import linprog  # takes a third of a second to load
        from scipy.sparse import csr_matrix

        rows = sorted(self.above)
        if not rows or not any(self.costs):
            return None
        a, b, by = np.array(rows).T
        at = np.arange(len(rows))
        signs = np.repeat([1.0, -1.0], len(rows))
        shape = len(rows), len(self.costs)
        matrix = csr_matrix((signs, (np.tile(at, 2), np.concatenate([a, b]))), shape=shape)
        found = linprog(self.costs, A_ub=matrix, b_ub=-by, bounds=self.bounds, method="highs")
        return [round(x) for x in found.x] if found.status == 0 else None


class _Stages:
    """The stages of a body's values as a linear program."""

    def __init__(self, cut: Cut, rows: Sequence[Row], wires: Set[Value], ranks: int) -> None:
        self.cut, self.rows, self.wires, self.ranks = cut, rows, wires, ranks
        self.own = [cut.funcs[func][0] if func else 0 for _, _, func, _ in rows]  # ranks inside calls
        self.delays = [cut.funcs[func][1] if func else delay for _, _, func, delay in rows]
        self.at = {row[0]: i for i, row in enumerate(rows)}
        self.moving = [[self.at[v] for v in row[1]] for row in rows]
        self.values = [i for i, row in enumerate(rows) if row[0] not in cut.fixed]
        self.early = [cut.places[row[0]][0] for row in rows]
        self.late = self.latest()

    def latest(self) -> list[int]:
        """The latest stage of each value, found from the ends."""
        late = [self.ranks - 1] * len(self.rows)
        tail = [0.0] * len(self.rows)  # ns from the value to the end of the stage
        for i in reversed(self.values):
            if not self.moving[i]:
                late[i] = self.early[i]  # a parameter
                continue
            start, after = late[i] - self.own[i], tail[i] + self.delays[i]
            if self.own[i]:
                after = inf  # wants what it reads at the start of a stage
            for o in self.moving[i]:
                self.before(o, start, after, late, tail)
        return late

    def before(self, i: int, start: int, after: float, late: list[int], tail: list[float]) -> None:
        """What a reader that begins in stage `start`, with `after` ns from there to its end, asks of a value."""
        if self.delays[i] > 0 and after > 0 and self.delays[i] + after > self.cut.room + _ROUNDED:
            start, after = start - 1, 0.0
        if (start, -after) < (late[i], -tail[i]):
            late[i], tail[i] = start, after

    def solved(self, held: Sequence[Held]) -> dict[Value, int] | None:
        """The stages of all that is computed; None where there is nothing to choose."""
        program = _Program()
        for low, high in zip(self.early, self.late, strict=True):
            program.variable(low, max(low, high))
        for i in self.values:
            for o in self.moving[i]:
                program.need(o, i, self.own[i])
        if not self.ways(program):
            return None
        for h in held:
            self.counted(h, program)
        found = program.solved()
        if found is None:
            return None
        computed = (i for i in self.values if self.moving[i] and self.rows[i][0] not in self.wires)
        return {self.rows[i][0]: found[i] for i in computed}

    def ways(self, program: _Program) -> bool:
        """A register on all that is longer than a stage; False if that is too much to look at."""
        begun: list[dict[int, float]] = [
            {} for _ in self.rows
        ]  # values whose stage goes on, with the ns from them
        nearest: list[set[int]] = [set() for _ in self.rows]  # at or before a value, those that take time
        readers = [0] * len(self.rows)
        for i in self.values:
            for o in self.moving[i]:
                readers[o] += 1
        looked = 0
        for i in self.values:
            joined: dict[int, float] = {}
            for o in self.moving[i]:
                for u, time in begun[o].items():
                    if joined.get(u, -1.0) < time and self.late[u] >= self.early[i] - self.own[i]:
                        joined[u] = time
                nearest[i] |= nearest[o]
                looked += len(begun[o])
                readers[o] -= 1
                if not readers[o]:
                    begun[o] = {}
            if looked > _WAYS:
                return False
            delay = self.delays[i]
            if self.own[i]:
                delay = inf
            if not delay:
                begun[i] = joined
                continue
            crossing = {u for u, time in joined.items() if time + delay > self.cut.room}
            # A register after a value is one after those before it, too.
            implied = {w for u in crossing for o in self.moving[u] for w in nearest[o]}
            for u in crossing - implied:
                program.need(u, i, 1 + self.own[i])
            if self.own[i]:
                nearest[i] = set()
                continue
            begun[i] = {u: time + delay for u, time in joined.items() if u not in crossing}
            begun[i][i], nearest[i] = delay, {i}
        return True

    def counted(self, held: Held, program: _Program) -> None:
        """What registers cost: bits, from the stage of their value to the last in which they are read."""
        i = self.at[held.value]
        program.costs[i] -= held.bits
        if held.leaves:
            return
        readers = [self.at[r] for r in held.readers]
        until = readers[0]
        if len(readers) > 1:
            latest = max(program.bounds[r][1] - self.own[r] for r in readers)
            until = program.variable(self.early[i], max(self.early[i], latest))
            for r in readers:
                program.need(r, until, -self.own[r])
        program.costs[until] += held.bits
