"""Registers where they are fewest: as many stages, none longer, the same answers, never more bits."""

from __future__ import annotations

import random
from itertools import pairwise, product

import pytest
from random_designs import random_design

from lutc import target as targets
from lutc.analysis.flipflops import flip_flops
from lutc.analysis.timing import longest_stage
from lutc.build import Builder
from lutc.emit import netlist
from lutc.ir.graph import Design, Func, Stage, Value, body, functions
from lutc.ir.latency import latency
from lutc.ir.ops.flow import Call
from lutc.passes import pipeline, retime
from lutc.passes.context import Context
from lutc.passes.manager import run
from lutc.passes.pipeline import Pipeline
from lutc.passes.pipelines import standard
from lutc.passes.placement import Cut, Times
from lutc.text.parse import parse

TARGET = targets.load("ecp5-25k")


def combinational(seed: int, size: int = 16) -> Design:
    return run(random_design(random.Random(seed), "tensor", size=size), standard()[:-1])


def greedy(monkeypatch: pytest.MonkeyPatch, design: Design, step: Pipeline) -> Design:
    """The design cut with every value as early as it can be."""
    with monkeypatch.context() as patched:
        patched.setattr(pipeline, "fewest_bits", lambda times, cut: cut)
        return run(design, [step])


@pytest.mark.parametrize("period", [3.0, 4.5, 8.0])
def test_the_stages_are_as_long_as_the_cut_has_them(period: float) -> None:
    """Where wires of a large fan-out are longer: registers between lengthen none."""
    context = Context.of("ecp5-25k")
    for seed in range(100, 118):
        design = combinational(seed)
        piped = Pipeline(period=period)(design, context)
        alone = max((row[3] for row in Times(design, context.target).values), default=0.0)
        assert longest_stage(piped, TARGET) <= max(period, alone + TARGET.register) + 1e-9, seed


def bits(design: Design) -> int:
    return flip_flops(netlist(design)).total()


@pytest.mark.parametrize(
    "step",
    [Pipeline(period=p) for p in (0.7, 1.0, 1.6, 3.0)] + [Pipeline(stages=n) for n in (2, 3, 6)],
    ids=str,
)
def test_never_more_bits_nor_longer_stages(monkeypatch: pytest.MonkeyPatch, step: Pipeline) -> None:
    fewer = 0
    for seed in range(100, 130):
        design = combinational(seed)
        before, after = greedy(monkeypatch, design, step), run(design, [step], check=40)
        assert latency(after) == latency(before), seed
        if not latency(after):
            continue
        longest = max(longest_stage(before, targets.load("xcvu13p")), step.period or 0.0)
        assert longest_stage(after, targets.load("xcvu13p")) <= longest + 1e-9, seed
        assert bits(after) <= bits(before), seed
        fewer += bits(after) < bits(before)
    assert fewer > 2


def tree(weights: list[int]) -> Design:
    """Sums of neighbours down to one, of values of these widths; some are read again further down."""
    b = Builder("tree", Stage.SCALAR)
    level = [b.input(f"x{i}", f"s{w}") for i, w in enumerate(weights)]
    first = level[0]
    while len(level) > 1:
        level = [b.add(p, q) for p, q in pairwise(level)]
    b.output("y", b.add(level[0], first))
    return b.design()


def cheapest(design: Design, period: float) -> int:
    """The fewest bits of all placements, by trying every one."""
    times = Times(design, TARGET)
    cut = Cut(times, period)
    rows = [row for row in times.values if row[1]]
    _, held = times.sources(design, times.values)
    found = []
    for chosen in product(range(cut.ranks), repeat=len(rows)):
        stages: dict[Value, int] = {row[0]: s for row, s in zip(rows, chosen, strict=True)}
        cut.place(times.values, stages)
        if all(cut.places[v][0] == s for v, s in stages.items()):
            found.append(cut.bits_of(held, cut.ranks))
    return min(found)


@pytest.mark.parametrize("weights", [[3, 8, 5], [9, 1, 9], [2, 7, 2]], ids=str)
@pytest.mark.parametrize("period", [3.5, 6.0])
def test_none_is_cheaper_of_all_placements(weights: list[int], period: float) -> None:
    design = tree(weights)
    times = Times(design, TARGET)
    cut = Cut(times, period)
    assert cut.ranks > 1
    assert retime.fewest_bits(times, cut).register_bits(times) == cheapest(design, period)


def test_a_sum_is_held_instead_of_what_it_adds() -> None:
    """What is compared is the one bit that waits for the long way, and not both numbers; x waits anyway."""
    b = Builder("late", Stage.SCALAR)
    x, y = b.input("x", "u8"), b.input("y", "u8")
    slow = x
    for _ in range(3):
        slow = b.quant(b.add(slow, x), to="u8", overflow="wrap")
    narrow = b.compare(x, y, rel="lt")
    b.output("q", b.add(slow, narrow))
    design = b.design()
    times = Times(design, TARGET)
    cut = Cut(times, 3.5)
    best = retime.fewest_bits(times, cut)
    assert best.ranks == cut.ranks > 2
    one_bit = [h for h in times.sources(design, times.values)[1] if h.value is narrow]
    assert [h.bits for h in one_bit] == [1] and best.places[narrow][0] == 0


def test_wires_take_the_flip_flops_of_what_they_rewire() -> None:
    """By hand: x has 8 bits, of which the slices read 4 and 6, overlapping in 2 and both in all 8."""
    design = parse(
        """lir 1 scalar
design d(%x: u8, %z: u8) -> (a = %a, b = %b) {
  %low = bit_slice %x, high=3, low=0
  %high = bit_slice %x, high=7, low=2
  %m = mul %z, %z
  %a = add %m, %low
  %b = add %m, %high
}
""",
        "d.lir",
    )
    times = Times(design, TARGET)
    _, held = times.sources(design, times.values)
    named = {v.name: v for v in body(design)}
    found = {(h.value.name, tuple(sorted(r.name or "" for r in h.readers)), h.leaves): h.bits for h in held}
    assert (
        found["x", ("a",), False] == 2
        and found["x", ("b",), False] == 4
        and found["x", ("a", "b"), False] == 2
    )
    assert found["m", ("a", "b"), False] == named["m"].type.bits
    piped = run(design, [Pipeline(stages=2)], check=40)
    inner = 8 + named["m"].type.bits
    outer = named["a"].type.bits + named["b"].type.bits
    assert bits(piped) <= inner + outer


FUNCTIONS = """lir 1 scalar

func @f(%a: s6, %b: s6) -> %r {
  %m = mul %a, %a
  %n = mul %m, %a
  %r = add %n, %b
}

design d(%x: s6, %y: s6) -> (q = %q) {
  %c = call @f, %x, %y
  %d = call @f, %y, %x
  %q = add %c, %d
}
"""


def test_functions_are_cut_in_themselves() -> None:
    """The callee keeps its ranks; its second parameter waits in registers until it is read."""
    design = parse(FUNCTIONS, "d.lir")
    piped = run(design, [Pipeline(period=6.0)], check=60)
    times = Times(design, TARGET)
    cut = Cut(times, 6.0)
    best = retime.fewest_bits(times, cut)
    func: Func = functions(design)[0]
    assert cut.funcs[func][0] > 1 and best.funcs == cut.funcs
    assert latency(piped) > 1
    calls = [v for v in body(design) if isinstance(v, Call)]
    assert all(best.start(c) >= 0 for c in calls)


def test_too_much_to_look_at_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    design = tree([3, 8, 2, 5])
    monkeypatch.setattr(retime, "_WAYS", 0)
    times = Times(design, TARGET)
    cut = Cut(times, 4.0)
    assert retime.fewest_bits(times, cut).places == cut.places
