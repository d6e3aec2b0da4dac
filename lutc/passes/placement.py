"""Where values stand in a pipeline: in which stage by a delay model, and what registers that takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import networkx as nx

from lutc.analysis.dataflow import Dataflow
from lutc.analysis.sources import Held, Sources
from lutc.analysis.wires import fan_out_ns
from lutc.ir.graph import Design, Func, Value, functions
from lutc.ir.ops import Call
from lutc.ir.ops.base import Op
from lutc.target import Target

# Where a value stands: the number of registers on its way, and the nanoseconds since the last of them.
Place = tuple[int, float]

# A value, its operands that are not the same in every cycle, the function it calls, its delay.
Row = tuple[Value, tuple[Value, ...], Func | None, float]


class Times:
    """What every attempt at a period needs of a design: its values along the data flow, and their delays."""

    def __init__(self, design: Design, target: Target) -> None:
        self.design = design
        self.target = target
        # What depends on no input: the same in every cycle, so without registers.
        self.fixed: set[Value] = set()
        self.funcs = [(f, self.rows(f)) for f in functions(design)]
        self.values = self.rows(design)
        self._sources: dict[Design | Func, tuple[Sources, list[Held]]] = {}

    def rows(self, owner: Design | Func) -> list[Row]:
        flow = Dataflow(owner)
        fixed = {*flow.values} - flow.above(owner.params)
        self.fixed |= fixed
        wires = fan_out_ns(owner, self.target)
        rows: list[Row] = []
        for node in nx.topological_sort(flow.digraph):
            value = flow.values[node]
            moving = tuple([v for p in flow.digraph.pred[node] if (v := flow.values[p]) not in fixed])
            func = value.func if isinstance(value, Call) else None
            delay = value.delay(self.target) if isinstance(value, Op) and not func else 0.0
            rows.append((value, moving, func, delay + wires.get(value, 0.0)))
        return rows

    def sources(self, owner: Design | Func, rows: Sequence[Row]) -> tuple[Sources, list[Held]]:
        """What only rewires in a body, and the bits that registers hold where they pass from stage to stage."""
        if owner not in self._sources:
            values = [row[0] for row in rows]
            wires = [v for v, _, func, delay in rows if isinstance(v, Op) and not func and not delay]
            found = Sources(values, [v for v in wires if v not in self.fixed], self.fixed)
            ends = [owner.result] if isinstance(owner, Func) else [o.value for o in owner.outputs]
            self._sources[owner] = found, found.held(ends)
        return self._sources[owner]


class Cut:
    """A placement of every value for one clock period: each as early as a stage's length lets it."""

    def __init__(self, times: Times, period: float, ranks: int = 0) -> None:
        self.fixed = times.fixed
        self.room = period - times.target.register
        self.places: dict[Value, Place] = {}
        # Of a function, its delay if it fits into one stage, else how many ranks it takes by itself.
        self.funcs: dict[Func, tuple[int, float]] = {}
        for func, rows in times.funcs:
            self.place(rows)
            rank, time = self.places[func.result]
            self.funcs[func] = (0, time) if rank == 0 else (rank + 1, 0.0)
        self.place(times.values)
        last = max((self.places[o.value][0] for o in times.design.outputs), default=0)
        self.ranks = max(last + 1, ranks)

    def place(self, rows: Sequence[Row], chosen: Mapping[Value, int] | None = None) -> None:
        """The longest path to every value, in stages and nanoseconds, as a stage holds so many of them.

        A value may have been `chosen` a later stage than that.
        """
        places = self.places
        for value, moving, func, delay in rows:
            if not moving:
                places[value] = (0, 0.0)
                continue
            stage, time = max([places[v] for v in moving])
            if func and (ranks := self.funcs[func][0]):
                # A pipelined function wants its arguments at the start of a stage, and ends in registers.
                stage, time, delay = stage + (time > 0) + ranks, 0.0, 0.0
            else:
                if func:
                    delay = self.funcs[func][1]
                if delay > 0 and time > 0 and time + delay > self.room:
                    stage, time = stage + 1, 0.0
            if chosen and (later := chosen.get(value, 0)) > stage:
                stage, time = later, 0.0
            places[value] = (stage, time + delay)

    def register_bits(self, times: Times) -> int:
        """The flip-flops that this takes outside of functions."""
        return self.bits_of(times.sources(times.design, times.values)[1], self.ranks)

    def bits_of(self, held: Sequence[Held], ranks: int) -> int:
        """The flip-flops of a body with so many ranks of registers."""
        total = 0
        for h in held:
            last = ranks if h.leaves else max(map(self.start, h.readers))
            total += h.bits * (last - self.places[h.value][0])
        return total

    def start(self, value: Value) -> int:
        """The stage in which a value's operands are read."""
        stage = self.places[value][0]
        return (
            stage - self.funcs[value.func][0]
            if isinstance(value, Call) and value not in self.fixed
            else stage
        )
