"""Registers: as many ranks as asked for, on every path, no more than needed, the clock met by the delay model."""

from __future__ import annotations

import random

import pytest
from random_designs import random_design

from lutc import target as targets
from lutc.analysis.timing import longest_stage
from lutc.build import Builder
from lutc.diagnostics import LirError
from lutc.ir.graph import Design, Func, Stage, body, functions, owners
from lutc.ir.latency import arrivals, latencies, latency
from lutc.ir.ops import Call, Pack, Reg
from lutc.ir.ops.base import Op
from lutc.passes.context import Context
from lutc.passes.manager import run
from lutc.passes.pipeline import Pipeline
from lutc.passes.pipelines import standard
from lutc.text.parse import parse

TARGET = targets.load("xcvu13p")


def combinational(seed: int, size: int = 12) -> Design:
    """A scalar-stage design as `pipeline` meets it."""
    design = random_design(random.Random(seed), "tensor", size=size)
    return run(design, standard()[:-1])


def registers(design: Design) -> list[Reg]:
    return [v for owner in owners(design) for v in body(owner) if isinstance(v, Reg)]


@pytest.mark.parametrize("stages", [1, 2, 3, 7])
def test_ranks_are_as_asked(stages: int) -> None:
    moved = 0
    for seed in range(12):
        design = combinational(seed)
        piped = run(design, [Pipeline(stages=stages)], check=24)  # verified: balanced
        times = arrivals(body(design), latencies(design))
        constant = all(times[o.value] is None for o in design.outputs)
        assert latency(piped) == stages or (constant and latency(piped) == 0), seed
        moved += latency(piped) > 0
    assert moved > 6


def test_no_ranks_changes_nothing() -> None:
    design = combinational(1)
    assert run(design, [Pipeline(stages=0)]) is design


def longest_operation(design: Design) -> float:
    return max(
        (v.delay(TARGET) for owner in owners(design) for v in body(owner)
         if isinstance(v, Op) and not isinstance(v, Call | Pack)),
        default=0.0,
    )  # fmt: skip


@pytest.mark.parametrize("period", [0.6, 0.9, 1.5, 4.0])
def test_the_period_is_met(period: float) -> None:
    deep = 0
    for seed in range(20):
        design = combinational(seed, 16)
        piped = run(design, [Pipeline(period=period)])
        limit = max(period, longest_operation(design) + TARGET.register)
        assert longest_stage(piped, TARGET) <= limit + 1e-9, seed
        deep += latency(piped) > 1
        if latency(piped) > 1 and not any(latencies(piped).values()):
            fewer = run(design, [Pipeline(stages=latency(piped) - 1)])
            assert longest_stage(fewer, TARGET) > period, "one rank less would do"
    assert deep > 3 or period > 3


def test_slack_is_not_bought_with_registers() -> None:
    """A cut between tables and their sum would make the longest stage shorter, and take 32 flip-flops, not 10."""
    entries = [" ".join(str((37 * n + 11 * key) % 256) for key in range(256)) for n in range(4)]
    tables = "\n".join(f"table @t{n}: u8 -> u8 = [{text}]" for n, text in enumerate(entries))
    small = " ".join(str(7 * key % 16) for key in range(16))
    design = parse(
        f"""lir 1 scalar
{tables}
table @last: u4 -> u4 = [{small}]
design wide(%x: u8) -> (y = %y) {{
{"".join(f"  %v{n} = lut %x, @t{n}{chr(10)}" for n in range(4))}  %a = add %v0, %v1
  %b = add %a, %v2
  %s = add %b, %v3
  %k: u4f-6 = quant %s, round=floor, overflow=wrap
  %c: u4 = scale %k, by=0.015625
  %y = lut %c, @last
}}
"""
    )
    whole = longest_stage(design, TARGET)
    piped = Pipeline(period=whole - 0.01)(design, Context())
    assert latency(piped) == 2 and longest_stage(piped, TARGET) <= whole - 0.01
    inner = [r for r in registers(piped) if arrivals(body(piped), {})[r] == 1]
    assert sum(r.type.bits for r in inner) <= 10


def test_more_stages_make_shorter_ones() -> None:
    b = Builder("chain", Stage.SCALAR)
    y = x = b.input("x", "s8")
    for _ in range(12):
        y = b.add(y, x)
    b.output("y", y)
    design = b.design()
    lengths = [longest_stage(run(design, [Pipeline(stages=n)]), TARGET) for n in (0, 1, 2, 3, 4, 6, 12)]
    assert lengths == sorted(lengths, reverse=True) and lengths[-1] < lengths[1] / 5
    assert lengths[0] == lengths[1]  # the one rank is at the outputs
    assert lengths[2] == pytest.approx(lengths[1] / 2, rel=0.15)


def test_more_stages_than_there_is_work() -> None:
    b = Builder("one", Stage.SCALAR)
    b.output("y", b.add(b.input("x", "s4"), b.input("z", "u3f1")))
    design = run(b.design(), [Pipeline(stages=5)], check=30)
    assert latency(design) == 5 and len(registers(design)) == 5


def test_registers_are_shared_and_none_is_idle() -> None:
    """x is needed in all three stages: its registers are one chain. The constant has none."""
    b = Builder("shared", Stage.SCALAR)
    x = b.input("x", "s8", origin="in")
    product = b.mul(x, x, name="product")
    power = b.mul(product, x, name="power")
    b.output("a", b.add(power, x))
    b.output("b", b.sub(b.number(value=3), x))
    piped = run(b.design(), [Pipeline(stages=3)], check=40)
    chain = [r for r in registers(piped) if r.type == x.type]
    assert next(r.x for r in chain) is piped.params[0]
    assert sum(r.x is piped.params[0] for r in chain) == 1
    names = [r.name for r in registers(piped)]
    assert "product_r" in names and "power_r" in names
    read = {o for v in body(piped) for o in v.operands} | {o.value for o in piped.outputs}
    assert set(registers(piped)) <= read


def test_bundles_are_delayed_wire_by_wire() -> None:
    """Found by the first random designs: a register cannot hold a tensor."""
    b = Builder("wide", Stage.TENSOR)
    x = b.input("x", "<s4f1, u0, u3>[3]")
    b.output("same", x)
    b.output("y", b.relu(b.neg(x)))
    for stages in (1, 3):
        piped = run(b.design(), [*standard(stages=stages)], check=60)
        assert latency(piped) == stages
        assert all(not r.type.shape for r in registers(piped))


FUNCTIONS = """
lir 1

const @w: s4[4, 2] = [3 -5 7 1 -3 2 5 -7]

func @long(%a: s6[4]) -> %r {
  %d = dense %a, @w
  %e = mul %d, %d
  %r: s20[2] = quant %e, round=floor, overflow=saturate
}

func @short(%a: s6) -> %r {
  %r = neg %a
}

func @outer(%a: s6[4]) -> %r {
  %l = call @long, %a
  %s = map @short, %a
  %q: s6[4] = quant %s, round=floor, overflow=saturate
  %m = call @long, %q
  %r = add %l, %m
}

design calls(%x: s6[2, 4], %y: s6) -> (a = %a, b = %b, c = %c) {
  %a = map @outer, %x
  %b = call @short, %y
  %f = reshape %x, shape=[8]
  %g = gather %f, indices=[0, 3, 5, 7]
  %l = call @long, %g
  %t = sum %l
  %c = add %t, %y
}
"""


@pytest.mark.parametrize("period", [0.0, 0.7, 1.0, 2.0, 100.0])
def test_functions_with_and_without_registers_inside(period: float) -> None:
    """Short functions stay combinational and share a stage; long ones have ranks of their own, each with its last."""
    design = parse(FUNCTIONS, "calls.lir")
    steps = standard(period or None, None if period else 0)
    piped = run(design, steps, check=100)
    inside: dict[str, int] = {f.name: n for f, n in latencies(piped).items()}
    assert set(inside) == {"long", "short", "outer"}
    if period in (0.7, 1.0):
        assert inside["long"] > 1 and inside["outer"] > inside["long"] and inside["short"] == 0
        assert latency(piped) > inside["outer"]
    elif period == 0.0:
        assert latency(piped) == 0 and set(inside.values()) == {0}
    elif period == 100.0:
        assert latency(piped) == 1 and set(inside.values()) == {0}
    if period:
        limit = max(period, longest_operation(piped) + TARGET.register)
        assert longest_stage(piped, TARGET) <= limit + 1e-9


@pytest.mark.parametrize("stages", [1, 2, 3, 5, 9])
def test_functions_in_a_number_of_stages(stages: int) -> None:
    piped = run(parse(FUNCTIONS, "calls.lir"), standard(stages=stages), check=60)
    assert latency(piped) == stages


def test_longest_stage_sees_into_functions() -> None:
    """By hand: registers inside a callee cut the way, and the parts before and after it count."""
    text = """
lir 1 scalar

func @f(%a: s8) -> %r {
  %b = add %a, %a
  %c = reg %b
  %r = mul %c, %c
}

design d(%x: s8) -> (y = %y) {
  %u = neg %x
  %v: s8 = quant %u, round=floor, overflow=wrap
  %w = call @f, %v
  %y = add %w, %w
}
"""
    design = parse(text, "d.lir")
    f: Func = functions(design)[0]
    delays = {v.name: v.delay(TARGET) for o in (f, design) for v in body(o) if isinstance(v, Op)}
    before = delays["u"] + delays["v"] + delays["b"]
    after = delays["r"] + delays["y"]
    assert longest_stage(design, TARGET) == pytest.approx(max(before, after) + TARGET.register)


def test_what_cannot_be_pipelined_is_said() -> None:
    tensor = random_design(random.Random(3), "tensor", size=4)
    with pytest.raises(LirError, match=r"only a scalar-stage design(.|\n)*run scalarize first"):
        Pipeline(stages=2)(tensor, Context())
    twice = run(combinational(2), [Pipeline(stages=2)])
    with pytest.raises(LirError, match="has registers already"):
        Pipeline(stages=2)(twice, Context())
    with pytest.raises(LirError, match=r"0\.1 ns leaves no time between registers"):
        Pipeline(period=0.1)(combinational(2), Context())
