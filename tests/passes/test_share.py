"""The passes `share` and `adders` on designs: the meaning stays, sharing pays, partial sums have their true width."""

from __future__ import annotations

import itertools
import random
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lutc.cmvm.network import Network, Problem, Sum, right
from lutc.cmvm.search import Goal
from lutc.diagnostics import LirError
from lutc.ir.graph import Design, body, owners
from lutc.ir.interp import execute
from lutc.ir.ops import Add, Add3, Lincomb, Neg, Quant, Scale, Sub
from lutc.passes import pipelines
from lutc.passes.canonical.narrow import Narrow
from lutc.passes.context import Context
from lutc.passes.manager import run
from lutc.passes.scalarize import Scalarize
from lutc.passes.sums.adders import Adders
from lutc.passes.sums.collect import Collect
from lutc.passes.sums.share import Share
from lutc.text.parse import parse
from lutc.types import Fixed


def layer(seed: int, inputs: int = 8, outputs: int = 8, formats: str = "s6f3") -> str:
    rng = np.random.default_rng(seed)
    rows = "\n".join(
        "  " + " ".join(str(w / 8) for w in row) for row in rng.integers(-63, 64, (inputs, outputs))
    )
    bias = " ".join(str(b / 16) for b in rng.integers(-60, 60, outputs))
    return f"""lir 1
const @w: s8f3[{inputs}, {outputs}] = [
{rows}
]
const @b: s9f4[{outputs}] = [{bias}]
design d(%x: {formats}[{inputs}]) -> (y = %q) {{
  %b = const @b
  %h = dense %x, @w  !"dense"
  %s = add %h, %b    !"dense"
  %r = relu %s
  %q: u8f1[{outputs}] = quant %r, round=nearest-half-up, overflow=saturate
}}
"""


def scalars(design: Design) -> Design:
    return run(design, [Scalarize(), Collect(), Narrow()], check=20)


def count(design: Design, *kinds: type) -> int:
    return sum(isinstance(v, kinds) for owner in owners(design) for v in body(owner))


MIXED = "<s6f3*3, u1, s9f7, u0, s2f-2, u4f4>"


@pytest.mark.parametrize("target", ["xcvu13p", "ice40up5k"])
@pytest.mark.parametrize("formats", ["s6f3", MIXED])
def test_the_pass_shares(target: str, formats: str) -> None:
    """The meaning stays, and fewer adder bits are left."""
    before = scalars(parse(layer(2, formats=formats)))
    after = run(before, [Share()], Context.of(target), check=100)
    assert count(after, Lincomb) > count(before, Lincomb)
    bits = []
    for design in (before, after):
        final = run(design, [Adders(), Narrow()], Context.of(target), check=100)
        adders = [v for owner in owners(final) for v in body(owner) if isinstance(v, Add | Sub | Add3 | Neg)]
        bits.append(sum(v.type.scalar.width for v in adders))
    assert bits[1] < 0.9 * bits[0]
    assert [o.value.type for o in after.outputs] == [o.value.type for o in before.outputs]
    assert str(run(before, [Share()], Context.of(target))) == str(after), "not the same twice"
    assert {v.origin for v in body(after) if isinstance(v, Lincomb)} == {"dense"}


def test_the_pass_in_functions_and_across_levels() -> None:
    """A function is shared within; a layer of sums on sums is two products, not one."""
    text = """lir 1 scalar
func @f(%a: s4, %b: s4, %c: s4) -> %r {
  %p = lincomb %a, %b, %c, weights=[5, 3, 7]
  %q = lincomb %a, %b, %c, weights=[-10, -6, 1], bias=0.5
  %r = max %p, %q
}
design d(%x: s4, %y: s4, %z: s4) -> (u = %u, v = %v, w = %w) {
  %s = lincomb %x, %y, %z, weights=[13, -11, 1]
  %t = lincomb %x, %y, %z, weights=[13, -11, 2]
  %u = lincomb %s, %t, %x, weights=[3, 5, 1]
  %v = lincomb %s, %t, %y, weights=[3, 5, -1], bias=-2
  %w = call @f, %x, %y, %z
}
"""
    design = parse(text)
    after = run(design, [Share()], Context.of("ice40up5k"), check=200)
    assert count(after, Lincomb, Scale) > count(design, Lincomb, Scale)
    run(design, [Share(), Adders(), Narrow()], check=200)


def test_outputs_that_are_others_or_inputs() -> None:
    text = """lir 1 scalar
design d(%x: s5f1, %y: s5) -> (a = %a, b = %b, c = %c, e = %e) {
  %a = lincomb %x, %y, weights=[5, 3], bias=1
  %b = lincomb %x, %y, weights=[-10, -6], bias=2
  %c = lincomb %x, %y, weights=[5, 3]
  %e = lincomb %x, weights=[4], bias=3
}
"""
    after = run(parse(text), [Share(), Adders(), Narrow()], check=500)
    assert count(after, Add, Sub, Add3) <= 7


def test_nothing_to_share_changes_nothing() -> None:
    text = """lir 1 scalar
design d(%x: s5, %y: s5) -> (a = %a) {
  %a = lincomb %x, %y, weights=[1, 2], bias=1
}
"""
    design = parse(text)
    assert Share()(design, Context()) is design
    tensors = parse(layer(1))
    assert Share()(tensors, Context()) is tensors


def test_weights_of_any_width() -> None:
    text = f"""lir 1 scalar
design d(%x: s5, %y: s5) -> (a = %a, b = %b) {{
  %a = lincomb %x, %y, weights=[{2**1200 + 5}, 3]
  %b = lincomb %x, %y, weights=[{2**1200 + 5}, {2**100 - 1}]
}}
"""
    run(parse(text), [Share()], check=50)
    run(parse(text.replace("1200", "70")), [Share(), Adders()], check=50)


def test_unknown_effort() -> None:
    with pytest.raises(LirError) as caught:
        Context(effort="hard")
    assert "effort 'hard'" in str(caught.value)


def test_the_whole_pipeline() -> None:
    for seed in range(3):
        run(parse(layer(seed)), pipelines.standard(stages=2), check=100)


# -- any product ------------------------------------------------------------------------------------------------------


@st.composite
def products(draw: st.DrawFn) -> str:
    """Sums that have much in common, over inputs of formats of their own, and what reads them."""
    formats = st.builds(
        lambda signed, width, frac: str(Fixed(signed, width + signed, frac)),
        st.booleans(),
        st.sampled_from([0, 1, 2, 3, 4, 5, 8, 17]),
        st.integers(-5, 6),
    )
    count, rows = draw(st.integers(1, 6)), draw(st.integers(1, 8))
    sizes = [1, 8, 127, 2**20]
    weight = st.sampled_from([0, *sizes]).flatmap(lambda size: st.integers(-size, size))
    made: list[list[int]] = []
    for _ in range(rows):
        row = draw(st.lists(weight, min_size=count, max_size=count))
        if draw(st.booleans()) and made:  # an older row, shifted or negated, with one weight more
            old, factor = draw(st.sampled_from(made)), draw(st.sampled_from([1, -1, 2, -4]))
            row = [factor * w for w in old]
            row[draw(st.integers(0, count - 1))] += draw(weight)
        made.append(row)
    step = draw(st.sampled_from([1.0, 0.125, 4.0]))
    lines, ports = [], []
    for j, row in enumerate(made):
        bias = Fraction(draw(st.integers(-40, 40)), draw(st.sampled_from([1, 64])))
        terms = ", ".join(f"%x{i}" for i in range(count))
        weights = ", ".join(str(step * w) for w in row)
        lines.append(f"  %s{j} = lincomb {terms}, weights=[{weights}], bias={float(bias)}")
        way = draw(st.sampled_from(["sum", "relu", "wrap", "round", "next"]))
        match way:
            case "relu":
                lines += [
                    f"  %r{j} = relu %s{j}",
                    f"  %q{j}: u5f-1 = quant %r{j}, round=floor, overflow=wrap",
                ]
            case "wrap":
                lines.append(
                    f"  %q{j}: s{draw(st.integers(1, 9))}f1 = quant %s{j}, round=floor, overflow=wrap"
                )
            case "round":
                lines.append(f"  %q{j}: s7f2 = quant %s{j}, round=nearest-half-up, overflow=saturate")
            case "next":  # a sum of sums
                lines.append(f"  %q{j} = lincomb %s{j}, %x0, %s0, weights=[3, -1, -5], bias=-1.5")
        ports.append(f"y{j} = %{'s' if way == 'sum' else 'q'}{j}")
    inputs = ", ".join(f"%x{i}: {draw(formats)}" for i in range(count))
    body = "\n".join(lines)
    return f"lir 1 scalar\ndesign d({inputs}) -> ({', '.join(ports)}) {{\n{body}\n}}\n"


@settings(max_examples=80, deadline=None)
@given(products(), st.sampled_from(["xcvu13p", "ice40up5k"]))
def test_any_product_keeps_its_meaning(text: str, target: str) -> None:
    """The pass, the adders and the formats of all partial sums, against the interpreter on whole ranges."""
    design = parse(text)
    run(design, [Share(), Adders(), Narrow()], Context.of(target), check=64)
    run(design, [Collect(), Narrow(), Share(), Adders(), Narrow()], Context.of(target), check=64)


def scrambled(problem: Problem, rng: random.Random) -> Network:
    """A network that is right, and as odd as can be: nodes and outputs read inputs, nodes and outputs before them."""
    known: dict[int, dict[int, int]] = {i: {i: 1} for i in range(len(problem.inputs))}
    nodes: list[Sum] = []
    outputs: list[Sum] = []

    def some(values: list[int], most: int) -> dict[int, int]:
        return {
            v: rng.choice([1, -1, 2, -4, 3, 5])
            for v in rng.sample(values, min(rng.randint(1, most), len(values)))
        }

    def total(terms: dict[int, int]) -> dict[int, int]:
        made: dict[int, int] = {}
        for v, w in terms.items():
            for i, factor in known[v].items():
                made[i] = made.get(i, 0) + w * factor
        return {i: w for i, w in made.items() if w}

    for j, row in enumerate(problem.rows):
        for _ in range(rng.randint(0, 2)):
            terms = some(list(known), 3)
            nodes.append(tuple(sorted(terms.items())))
            known[len(problem.inputs) + len(nodes) - 1] = total(terms)
        read = some([v for v in known if not 0 <= v < len(problem.inputs)], 2) if nodes or outputs else {}
        rest = dict(row)
        for i, w in total(read).items():
            rest[i] = rest.get(i, 0) - w
        outputs.append(tuple(sorted((read | {i: w for i, w in rest.items() if w}).items())))
        known[-1 - j] = dict(row)
    return Network(len(problem.inputs), tuple(nodes), tuple(outputs))


@settings(max_examples=100, deadline=None)
@given(products(), st.randoms(use_true_random=False))
def test_any_network_is_written_as_it_means(text: str, rng: random.Random) -> None:
    """Biases of the outputs that nodes and outputs read, formats of nodes, weights of any size."""

    def solver(problem: Problem, goal: Goal, effort: str) -> Network:
        network = scrambled(problem, rng)
        assert right(problem, network)
        return network

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lutc.passes.sums.share.solved", solver)
        run(parse(text), [Share(), Adders(), Narrow()], check=64)


@pytest.mark.parametrize("target", ["xcvu13p", "ice40up5k"])
def test_every_code(target: str) -> None:
    """Each partial sum at both of its ends: all inputs there are, where there are few."""
    codes = np.array(list(itertools.product(range(-4, 4), range(8), range(-4, 4))))
    inputs = {f"x{i}": codes[:, i] for i in range(3)}
    rng = np.random.default_rng(0)
    for _ in range(12):
        rows = rng.integers(-40, 41, (6, 3)) * rng.integers(0, 2, (6, 3))
        sums = [
            f"  %s{j} = lincomb %x0, %x1, %r, weights=[{a}, {b}, {c / 4}], bias={rng.integers(-20, 20) / 2}"
            for j, (a, b, c) in enumerate(rows)
        ]
        ports = ", ".join(f"y{j} = %s{j}" for j in range(6))
        text = "\n".join(["  %r = relu %x2", *sums])
        design = parse(
            f"lir 1 scalar\ndesign d(%x0: s3f2, %x1: u3f-1, %x2: s3) -> ({ports}) {{\n{text}\n}}\n"
        )
        after = run(design, [Share(), Adders(), Narrow()], Context.of(target))
        expected, got = execute(design, inputs), execute(after, inputs)
        assert all(np.array_equal(got[port], codes) for port, codes in expected.items())


@pytest.mark.parametrize("seed", range(4))
def test_whole_layers_keep_their_meaning(seed: int) -> None:
    """Matrices large enough for rows by way of others, nodes that read outputs, and biases in both."""
    rng = np.random.default_rng(seed)
    inputs, outputs = 12, 20
    base = rng.integers(-31, 32, (4, inputs)) * (rng.random((4, inputs)) < 0.7)
    rows = [
        base[j % 4] * [1, -1, 2][j % 3] + rng.integers(-9, 10, inputs) * (rng.random(inputs) < 0.3)
        for j in range(outputs)
    ]
    terms = ", ".join(f"%x{i}" for i in range(inputs))
    sums = [
        f"  %y{j} = lincomb {terms}, weights=[{', '.join(str(w / 4) for w in row)}], bias={rng.integers(-99, 99) / 8}"
        for j, row in enumerate(rows)
    ]
    widths = rng.integers(1, 12, inputs)
    params = ", ".join(f"%x{i}: {'su'[i % 2]}{w + 1}f{rng.integers(-3, 6)}" for i, w in enumerate(widths))
    ports = ", ".join(f"y{j} = %y{j}" for j in range(outputs))
    body = "\n".join(sums)
    design = parse(f"lir 1 scalar\ndesign d({params}) -> ({ports}) {{\n{body}\n}}\n")
    after = run(design, [Share()], check=100)
    assert count(after, Lincomb) > outputs
    run(after, [Adders(), Narrow()], check=100)


# -- what the sums become ---------------------------------------------------------------------------------------------


def sum_of(weights: list[str], bias: str = "0", target: str = "xcvu13p") -> Design:
    names = [f"%x{i}" for i in range(len(weights))]
    text = f"""lir 1 scalar
design d({", ".join(f"{n}: s5" for n in names)}) -> (y = %y) {{
  %y = lincomb {", ".join(names)}, weights=[{", ".join(weights)}], bias={bias}
}}
"""
    return run(parse(text), [Adders()], Context.of(target), check=200)


@pytest.mark.parametrize("target", ["xcvu13p", "ice40up5k"])
@pytest.mark.parametrize(
    "weights", ["1 -1 -1", "-1 -1 -1 1", "-4 -2 1 -1 -1 -1 -8", "3 -5", "-1 -1 -1 -1 -1 2"]
)
def test_no_negation_where_something_is_added(weights: str, target: str) -> None:
    assert count(sum_of(weights.split(), target=target), Neg) == 0


def test_a_bias_is_something_added() -> None:
    assert count(sum_of(["-1", "-1"], "3"), Neg) == count(sum_of(["-1", "-1", "-1"], "-3"), Neg) == 0
    assert count(sum_of(["-1", "-1"]), Neg) == 1


def test_three_operands_to_a_chain() -> None:
    assert count(sum_of(["1"] * 9), Add3) == 4 and count(sum_of(["1"] * 9), Add) == 0
    assert (count(sum_of(["1"] * 8), Add3), count(sum_of(["1"] * 8), Add)) == (3, 1)
    assert count(sum_of(["1"] * 9, target="ice40up5k"), Add) == 8


def test_partial_sums_have_their_true_range() -> None:
    """Of `7*x` as `8*x - x`, and of a value that comes in more than one partial sum."""
    final = sum_of(["7", "1", "-7", "3"])
    (root,) = (o.value for o in final.outputs)
    assert root.type.scalar.width == (18 * 16).bit_length() + 1
    seven = run(parse("lir 1 scalar\ndesign d(%x: u3) -> (y = %y) {\n  %y = scale %x, by=7\n}\n"), [Adders()])
    assert [v.type.scalar.lo for v in body(seven) if isinstance(v, Quant | Sub)][-1] >= 0
