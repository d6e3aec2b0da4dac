"""Registers: the design cut into stages of equal delay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import ClassVar

from lutc import settings
from lutc.analysis.cost import costs
from lutc.analysis.wires import fan_out_ns
from lutc.diagnostics import LirError, error
from lutc.ir.graph import Design, Func, Output, Param, Stage, Value, body, functions, owners
from lutc.ir.latency import latency
from lutc.ir.ops import Call, Element, Pack, Reg
from lutc.ir.ops.base import Op
from lutc.passes.context import Context
from lutc.passes.halves import halved
from lutc.passes.manager import Pass
from lutc.passes.placement import Cut, Times
from lutc.passes.retime import fewest_bits
from lutc.passes.rewriter import Rewriter, with_operands
from lutc.target import Target

_TRIED = 4  # periods between the shortest and the one asked for


@dataclass(frozen=True)
class Pipeline(Pass):
    """Cut the design into stages by the target's delay model; registers only where values pass from stage to stage.

    Give `period` (the clock in nanoseconds; without either, the target's usual one) or `stages` (how many ranks of
    registers; 0 for none). The last rank is
    at the outputs. With a period, the fewest stages that meet it are taken, and then cut as evenly as they can be.
    """

    name: ClassVar[str] = "pipeline"
    period: float | None = None
    stages: int | None = None

    def __post_init__(self) -> None:
        settings.one_of(self.period, self.stages)
        if self.period is not None:
            settings.period(self.period)
        if self.stages is not None:
            settings.stages(self.stages)

    def __call__(self, design: Design, context: Context) -> Design:
        if design.stage is not Stage.SCALAR:
            raise error(
                "only a scalar-stage design can be pipelined", where=design.name, help="run scalarize first"
            )
        if latency(design):
            raise registered(design, f"leave out {self}")
        if self.stages == 0:
            return design
        target = context.target.crowded(sum(c.luts for c in costs(design, context.target).values()))
        period = self.period or target.clock_ns
        if self.stages is None:
            design = halved(design, target, period - target.register)
        times = Times(design, target)
        if self.stages is not None:
            period = _shortest_period(times, self.stages)
        elif period <= target.register:
            raise error(
                f"a clock of {period} ns leaves no time between registers, which take {target.register} ns",
                help="choose a longer clock period",
            )
        else:
            # The same number of stages, with the slack spread over them as long as a percent of the period does not
            # cost more than a percent of the registers.
            ranks = Cut(times, period).ranks
            shortest = _shortest_period(times, ranks, period)
            between = [shortest + (period - shortest) * n / _TRIED for n in range(_TRIED + 1)]
            period = min(between, key=lambda p: p * Cut(times, p).register_bits(times))
        cut = fewest_bits(times, Cut(times, period, self.stages or 0))
        done = _registered(cut, design)
        return _noting(done, target, self.period) if self.period else done


def _noting(design: Design, target: Target, period: float) -> Design:
    """The design, with a note if operations take longer than a clock that was asked for leaves them."""
    room = period - target.register
    slow: dict[Op, float] = {}
    for owner in owners(design):
        wires = fan_out_ns(owner, target)
        for v in body(owner):
            if isinstance(v, Op) and not v.type.shape and not isinstance(v, Call):
                delay = v.delay(target) + wires.get(v, 0.0)
                if delay > room + 1e-9:
                    slow[v] = delay
    if not slow:
        return design
    worst = max(slow, key=slow.__getitem__)
    what = f"{worst.keyword} of {worst.type}" + (f" in {worst.origin}" if worst.origin else "")
    number = f"{len(slow)} operations take" if len(slow) > 1 else "an operation takes"
    note = (
        f"by the model of delays the clock of {period:g} ns is missed: {number} longer than the {room:.2f} ns between "
        f"registers, at most {slow[worst]:.2f} ns ({what})"
    )
    return replace(design, notes=(*design.notes, note))


def registered(design: Design, instead: str) -> LirError:
    """That a design is not cut a second time."""
    help = f"take them out, or {instead}"
    return error("the design has registers already", where=design.name, help=help)


def _shortest_period(times: Times, stages: int, enough: float = 0.0) -> float:
    """The shortest clock period (to 10 ps) with which this many stages are enough. They are with `enough`."""
    longest = max((time for _, time in Cut(times, inf).places.values()), default=0.0)
    low = times.target.register + max(longest / stages - 0.01, 0.0)  # stages as long as that at the least
    high = enough or low + 0.01
    while not enough and Cut(times, high).ranks > stages:
        low, high = high, high * 2
        if high > 1e6:
            raise error(f"{stages} stages are not enough whatever the clock", where=times.design.name)
    while high - low > 0.01:
        middle = (low + high) / 2
        low, high = (low, middle) if Cut(times, middle).ranks <= stages else (middle, high)
    return high


def _registered(cut: Cut, design: Design) -> Design:
    """The design with the registers of a cut."""
    made: dict[Func, Func] = {}
    for func in functions(design):
        ranks = cut.funcs[func][0]
        insert = _Insertion(cut, made)
        insert.values(body(func))
        made[func] = replace(func, result=insert.at(func.result, ranks))
    insert = _Insertion(cut, made)
    insert.values(body(design))
    outputs = tuple(
        Output(o.name, insert.at(o.value, cut.ranks), o.scale, o.offset, o.span) for o in design.outputs
    )
    return replace(design, outputs=outputs)


class _Insertion:
    """The same values with registers between the stages; each value's registers form one shared chain."""

    def __init__(self, cut: Cut, made: dict[Func, Func]) -> None:
        self.cut = cut
        self.made = made
        self.rw = Rewriter()
        self.new: dict[Value, Value] = {}

    def values(self, values: Sequence[Value]) -> None:
        for value in values:
            if isinstance(value, Param):
                self.new[value] = value
                continue
            assert isinstance(value, Op)
            operands = [self.at(v, self.cut.start(value)) for v in value.operands]
            changes = {"func": self.made[value.func]} if isinstance(value, Call) else {}
            self.new[value] = with_operands(value, operands, **changes)

    def at(self, value: Value, stage: int) -> Value:
        """The value as it is in a later stage."""
        current = self.new[value]
        ranks = stage - self.cut.places[value][0]
        if value in self.cut.fixed or not ranks:
            return current
        if value.type.shape:
            return self.bundle(value, ranks)
        return self.delayed(current, ranks, value)

    def delayed(self, wire: Value, ranks: int, like: Value) -> Value:
        self.rw.origin = like.origin
        for _ in range(ranks):
            wire = self.rw.make(Reg, wire, name=f"{like.name}_r" if like.name else None)
        return wire

    def bundle(self, value: Value, ranks: int) -> Value:
        """A bundle some ranks later: its wires have the registers, and share them with whoever reads them alone."""
        current = self.new[value]
        if isinstance(value, Pack):
            late = [self.at(p, self.cut.places[value][0] + ranks) for p in value.parts]
        else:
            wires = [self.rw.make(Element, current, i) for i in range(value.type.size)]
            late = [self.delayed(w, ranks, value) for w in wires]
        return self.rw.make(Pack, tuple(late), value.type.shape)
