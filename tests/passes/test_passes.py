"""Every pass keeps the meaning of random designs; what each one is for; and the runner, which watches over them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from random_designs import random_design

from lutc.cmvm import order
from lutc.diagnostics import LirError
from lutc.ir.graph import Const, Design, Output, Param, Stage, Value, body, functions, owners
from lutc.ir.interp import execute
from lutc.ir.latency import latency
from lutc.ir.ops import (
    ALL,
    TABLE,
    Add3,
    And,
    Call,
    ConstOp,
    Dense,
    Gather,
    Lincomb,
    Lut,
    Map,
    Not,
    Number,
    Or,
    Pack,
    Quant,
    Xor,
)
from lutc.ir.ops.base import Op
from lutc.passes import pipelines, registry
from lutc.passes.approximate.approximate import Approximate
from lutc.passes.assume.ranges import AssumeRanges
from lutc.passes.assume.tables import AssumeKeys, AssumeTables
from lutc.passes.canonical.narrow import Narrow
from lutc.passes.canonical.prune import Prune
from lutc.passes.canonical.simplify import Simplify
from lutc.passes.context import Context
from lutc.passes.manager import Pass, run
from lutc.passes.rebuild import keep_all, rebuild
from lutc.passes.rewriter import with_operands
from lutc.passes.scalarize import Scalarize
from lutc.passes.sums.adders import Adders
from lutc.passes.sums.collect import Collect
from lutc.passes.sums.dsp import Dsp
from lutc.passes.sums.share import Share
from lutc.passes.tables.dont_care import DontCare
from lutc.text.parse import parse
from lutc.text.print import print_design
from lutc.types import Fixed, Overflow, scalar, uniform

OPS: Any = TABLE  # to be made with operands, which mypy cannot know
PAIR = uniform((2,), Fixed(True, 4))
ALONE = [p for p in pipelines.ALL if p.name != "pipeline"]


def ops_of(design: Design) -> list[Op]:
    return [v for owner in owners(design) for v in body(owner) if isinstance(v, Op)]


def kinds(design: Design) -> list[str]:
    return [op.keyword for op in ops_of(design)]


@pytest.mark.parametrize("stage", ["tensor", "scalar"])
@pytest.mark.parametrize("kind", ALONE, ids=lambda p: p.name)
def test_a_pass_keeps_the_meaning(kind: type[Pass], stage: str) -> None:
    changed = 0
    for seed in range(30):
        design = random_design(random.Random(seed), stage, size=15)
        after = run(design, [kind()], check=40)
        assert [o.value.type for o in after.outputs] == [o.value.type for o in design.outputs]
        assert latency(after) in (latency(design), 0)
        changed += len(ops_of(after)) != len(ops_of(design))
    # Random designs have no matrix whose products share anything: test_cmvm_pass.py makes them. Nor have they
    # tables worth filling: test_table_passes.py has one.
    # Without being allowed to, `approximate` changes nothing.
    # What is dear enough for `dsp` is in few of them: test_products.py makes more.
    # Nor is anything assumed of their inputs here: test_assume.py does.
    rare = (Share, Approximate, AssumeRanges, AssumeTables, AssumeKeys, DontCare, Dsp)
    assert changed or kind in rare or (kind is Scalarize and stage == "scalar")


@pytest.mark.parametrize("kind", ALONE, ids=lambda p: p.name)
def test_a_pass_takes_sums_as_they_are_written(kind: type[Pass]) -> None:
    """Of tables, with weights of 0 and terms that come twice: no pass may count on another one before it."""
    for seed in range(20):
        design = random_design(random.Random(seed), "scalar", [Lut, Lincomb, Add3], size=8)
        run(design, [kind()], check=20)


def test_bits_are_what_they_were() -> None:
    """Of designs in which they often meet themselves, their complements and constants."""
    ops = [And, Or, Xor, Not, Number, Quant]
    changed = 0
    for seed in range(60):
        design = random_design(random.Random(seed), "scalar" if seed % 3 else "tensor", ops, size=15)
        changed += len(run(design, [Simplify()], check=40).values) < len(design.values)
    assert changed > 30


@pytest.mark.parametrize("seed", range(16))
def test_passes_in_any_order(seed: int) -> None:
    """On either side of scalarize, and twice; `check` compares after every step."""
    rng = random.Random(seed)
    design = random_design(rng, "tensor", size=15)
    loose = [p() for p in ALONE if p is not Scalarize]
    steps = [*rng.choices(loose, k=3), Scalarize(), *rng.choices(loose, k=6)]
    run(design, steps, check=30)


@pytest.mark.parametrize("seed", range(10))
def test_the_standard_pipeline_settles(seed: int) -> None:
    """Running the cleaning passes once more finds nothing to do."""
    steps = pipelines.standard()[:-1]
    design = run(random_design(random.Random(seed), "tensor", size=15), steps)
    again = run(design, [Simplify(), Narrow(), Simplify()])
    assert sum(v.type.bits for v in ops_of(again)) <= sum(v.type.bits for v in ops_of(design))
    assert len(ops_of(again)) >= 0.8 * len(ops_of(design))


TENSOR_ONLY = [op for op in ALL if op.stages == frozenset({Stage.TENSOR})]


@pytest.mark.parametrize("op", [o for o in ALL if Stage.TENSOR in o.stages], ids=lambda op: op.keyword)
def test_scalarize(op: type[Op]) -> None:
    """Every operation of the tensor stage crosses over, in functions too."""
    met = 0
    for seed in range(10):
        ops = [op, *(TABLE[k] for k in ("reshape", "call", "map"))] if seed % 2 else [op]
        design = random_design(random.Random(seed), "tensor", ops, size=4)
        met += op.keyword in kinds(design)
        scalar = run(design, [Scalarize()], check=40)
        assert scalar.stage is Stage.SCALAR
        assert not {k.keyword for k in TENSOR_ONLY} & set(kinds(scalar))
        assert len(functions(scalar)) <= len(functions(design)), "a function stays one function"
    assert met > 3


def test_scalarize_keeps_functions_whole() -> None:
    """A map becomes one call for each position, all of one function."""
    design = parse(
        "lir 1\nfunc @f(%a: s4[2]) -> %r {\n  %r = sum %a\n}\n"
        "design d(%x: s4[5, 2]) -> (y = %y) {\n  %y = map @f, %x\n}\n"
    )
    scalar = run(design, [Scalarize()], check=50)
    calls = [op for op in ops_of(scalar) if isinstance(op, Call)]
    assert len(calls) == 5 and len({c.func for c in calls}) == 1
    assert not any(isinstance(op, Map) for op in ops_of(scalar))


def test_scalarize_names_elements() -> None:
    design = parse('lir 1\ndesign d(%x: s4[2, 2]) -> (y = %q) {\n  %q = neg %x  !"layer"\n}\n')
    scalar = run(design, [Scalarize()])
    negated = [op for op in ops_of(scalar) if op.keyword == "neg"]
    assert [op.name for op in negated] == ["q_0_0", "q_0_1", "q_1_0", "q_1_1"]
    assert {op.origin for op in negated} == {"layer"}


def kept_while_running(design: Design, steps: Sequence[Pass]) -> tuple[list[Design], list[str]]:
    """A design and what each pass makes of it, and how each printed at the time."""
    kept, printed = [design], [print_design(design)]

    def observe(number: int, step: Pass, after: Design) -> None:
        kept.append(after)
        printed.append(print_design(after))

    run(design, steps, observer=observe)
    return kept, printed


def test_passes_change_nothing_they_were_given() -> None:
    """Not even a name: designs share values, and the one before must print as it did."""
    for seed in range(12):
        design = random_design(random.Random(seed), "tensor", size=15)
        steps = pipelines.standard(stages=2)
        kept, printed = kept_while_running(design, steps)
        assert [print_design(d) for d in kept] == printed


def test_what_is_merged_stays_with_its_layer() -> None:
    """The report counts by layer: a sum that takes in a rounding remains the sum's."""
    text = """
lir 1
const @w: s4[2, 1] = [3 -5]
design d(%x: s6f2[2]) -> (y = %q) {
  %h = dense %x, @w  !"dense"
  %q: s6[1] = quant %h, round=nearest-half-up, overflow=saturate  !"act"
}
"""
    final = run(parse(text), pipelines.standard(stages=0))
    assert {op.origin for op in ops_of(final) if op.keyword in ("add", "sub", "add3")} == {"dense"}


# -- what each pass is for --------------------------------------------------------------------------------------------


def core(design: Design) -> list[str]:
    """The operations, without a last one that only brings the output into the port's format."""
    last = design.outputs[0].value
    fitted = isinstance(last, Quant) and last.name is None
    return kinds(design)[:-1] if fitted else kinds(design)


def simplified(text: str, *steps: Pass) -> Design:
    """A scalar body with the inputs `x` and `z` and the output `y`, after simplify and other steps."""
    lines = "\n".join(f"  {line.strip()}" for line in text.strip().splitlines())
    source = f"lir 1 scalar\ndesign d(%x: s6f2, %z: s6f2) -> (y = %y) {{\n{lines}\n}}\n"
    return run(parse(source), [Simplify(), *steps], check=64)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("%a = neg %x\n%y = neg %a", []),
        ("%c = number value=3\n%a = mul %x, %c\n%b = scale %a, by=0.5\n%y = scale %b, by=2", ["scale"]),
        ("%a = add %x, %z\n%b = add %x, %z\n%y = mul %a, %b", ["add", "mul"]),
        ("%c = number value=5\n%d = number value=-5\n%y = add %c, %d", ["number"]),
        ("%y = sub %x, %x", ["number"]),
        ("%c = number value=1\n%y = select %c, %x, %z", []),
        ("%y = lincomb %x, %z, %x, weights=[1, 0, 3]", ["scale"]),
        ("%a = scale %x, by=-2\n%y = lincomb %a, %z, weights=[0.5, 1], bias=0", ["lincomb"]),
        ("%r = abs %x\n%y = relu %r", ["abs"]),
        ("%p = pack %x, %z, shape=[2]\n%y = element %p, at=1", []),
        (
            "%w: s12f5 = quant %x, round=floor, overflow=wrap\n%y: s6f2 = quant %w, round=floor, overflow=wrap",
            [],
        ),
        ("%y: s6f2 = quant %x, round=away, overflow=saturate", []),
        ("%a = number value=2\n%y = reg %a", ["number"]),
        ("%a = number value=0\n%y = add %x, %a", []),
    ],
)
def test_simplify(text: str, left: list[str]) -> None:
    assert core(simplified(text)) == left


def test_symmetric_saturation_is_no_identity() -> None:
    """Found by the fuzzer: into the same format it still moves the lowest code."""
    assert kinds(simplified("%y: s6f2 = quant %x, round=floor, overflow=saturate-symmetric")) == ["quant"]
    text = """%a: s7f3 = quant %x, round=floor, overflow=saturate-symmetric
    %y: s6f2 = quant %a, round=floor, overflow=wrap"""
    assert kinds(simplified(text)) == ["quant", "quant"]


def test_equal_tables_become_one() -> None:
    text = (
        "lir 1 scalar\ntable @a: u1 -> u2 = [1, 3]\ntable @b: u1 -> u2 = [1, 3]\n"
        "design d(%x: u1, %z: u1) -> (y = %y) {\n  %p = lut %x, @a\n  %q = lut %z, @b\n  %y = add %p, %q\n}\n"
    )
    design = run(parse(text), [Simplify()], check=8)
    assert {op.table.name for op in ops_of(design) if op.keyword == "lut"} == {"a"}  # type: ignore[attr-defined]


def test_new_symbols_get_names_of_their_own() -> None:
    """Found by the fuzzer: constants folded in two places, of values whose names are no names for a constant."""
    x = Param(PAIR, name="x")
    made: list[Value] = []
    for i in range(3):
        two = ConstOp(Const(f"c{i}", PAIR, np.array([i, 1], dtype=object)))
        made.append(OPS["add"](OPS["neg"](two, name="layer 1/Mul"), x))
    design = Design("d", (x,), tuple(Output(f"y{i}", v) for i, v in enumerate(made)))
    after = run(design, [Simplify()], check=10)
    names = [op.symbol.name for op in ops_of(after) if isinstance(op, ConstOp)]
    assert len(set(names)) == 3 and all(n.startswith("layer_1_Mul") for n in names)


def test_prune() -> None:
    """Rows of zero weight go, a constant table too, and inputs that nobody reads are named."""
    text = """
lir 1
const @w: s4[4, 2] = [1 0 0 0 2 3 0 0]
table @t: u2[2] -> u3[2] = [5 5 5 5 2 2 2 2]
design d(%x: s4[4], %k: u2[2], %unused: s3) -> (y = %y, z = %z) {
  %y = dense %x, @w
  %z = lut %k, @t
}
"""
    design = run(parse(text), [Prune()], check=50)
    dense = next(op for op in ops_of(design) if isinstance(op, Dense))
    assert dense.w.type.shape == (2, 2) and isinstance(dense.x, Gather) and dense.x.indices == (0, 2)
    assert "lut" not in kinds(design)
    assert design.notes == ("input 'k' is read by nothing", "input 'unused' is read by nothing")
    assert run(design, [Prune()]).notes == design.notes


def test_sums_grow_over_additions_read_once() -> None:
    design = simplified("%a = add %x, %z\n%b = scale %a, by=2\n%n = neg %x\n%y = add %b, %n", Collect())
    assert core(design) == ["lincomb"]
    only = next(op for op in ops_of(design) if isinstance(op, Lincomb))
    assert dict(zip(only.terms, only.weights, strict=True)) == {
        design.params[0]: Fraction(1),
        design.params[1]: Fraction(2),
    }
    product = simplified("%a = add %x, %z\n%b = scale %a, by=7\n%y = sub %b, %x", Collect())
    assert kinds(product).count("lincomb") == 2, "x + z times 7 is three numbers to add, 7 x + 7 z four"
    shared = simplified("%a = add %x, %z\n%b = mul %a, %a\n%y = add %a, %b", Collect())
    assert kinds(shared).count("lincomb") == 2, "what is read twice is computed once"


def test_narrow() -> None:
    wide = run(
        simplified(
            "%a: u8f2 = quant %x, round=floor, overflow=saturate\n%c = add %a, 1\n%y: u12f2 = quant %c"
        ),
        [Narrow()],
        check=64,
    )
    assert {v.type.bits for v in ops_of(wide) if not isinstance(v, Quant | Number)} <= {6}
    useless = simplified("%y: s9f2 = quant %x, round=floor, overflow=saturate", Narrow())
    assert [op.overflow.value for op in ops_of(useless) if isinstance(op, Quant)] == ["wrap"]
    known = simplified("%a = abs %x\n%b = number value=-1\n%y = compare %a, %b, rel=gt", Narrow())
    assert core(known) == ["number"]


# -- the runner -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Wrong(Pass):
    """Negates the first output, for the runner to notice."""

    name: ClassVar[str] = "wrong"

    def __call__(self, design: Design, context: Context) -> Design:
        first = design.outputs[0]
        changed = Quant(OPS["not"](first.value), first.value.type)
        return replace(design, outputs=(replace(first, value=changed), *design.outputs[1:]))


@dataclass(frozen=True)
class Untyped(Pass):
    """Leaves a design that is not well-formed."""

    name: ClassVar[str] = "untyped"

    def __call__(self, design: Design, context: Context) -> Design:
        return replace(design, params=tuple(replace(p) for p in design.params))


def test_a_long_chain_of_sums_is_the_same_few_problems() -> None:
    """However late its links are: what one takes does not grow with those before it."""
    byte = scalar(Fixed(True, 8))
    params = [Param(byte, name=name) for name in ("x", "y")]
    value: Value = params[0]
    for n in range(400):
        value = Quant(Lincomb((value, params[n % 2]), (Fraction(1),) * 2), byte, overflow=Overflow.SATURATE)
    design = Design("d", tuple(params), (Output("o", value),), Stage.SCALAR)
    order.chains.cache_clear()
    run(design, [Adders()])
    assert order.chains.cache_info().misses < 10


def small() -> Design:
    return parse("lir 1 scalar\ndesign d(%x: s4, %z: s4) -> (y = %y) {\n  %y = add %x, %z\n}\n")


def test_a_pass_that_is_wrong_is_caught() -> None:
    with pytest.raises(
        LirError, match=r"the pass 'wrong' \(test_passes.Wrong\) changed output 'y' on random vector 0"
    ):
        run(small(), [Simplify(), Wrong()], check=5)
    with pytest.raises(LirError, match=r"'untyped' \(test_passes.Untyped\) made what is no design"):
        run(small(), [Untyped()])
    with pytest.raises(LirError, match=r"^<text>:2:8: error: d has no output"):  # it had none before
        run(replace(small(), outputs=()), [Untyped()])


def test_dump_and_observer(tmp_path: Path) -> None:
    seen: list[tuple[int, str]] = []
    run(
        small(),
        [Simplify(), Narrow()],
        dump=tmp_path / "d",
        observer=lambda n, p, d: seen.append((n, p.name)),
    )
    assert sorted(p.name for p in (tmp_path / "d").iterdir()) == [
        ".lutc-dump.json",
        "00-input.lir",
        "01-simplify.lir",
        "02-narrow.lir",
    ]
    assert seen == [(1, "simplify"), (2, "narrow")]
    again = parse((tmp_path / "d" / "02-narrow.lir").read_text())
    codes = {"x": np.arange(-8, 8), "z": np.arange(-8, 8)}
    assert (execute(again, codes)["y"] == np.arange(-16, 16, 2)).all()


def test_passes_as_text() -> None:
    steps = registry.parse(
        " scalarize,narrow , approximate{ lsb = 2.5 }, share{ extra=2 },pipeline{stages = 3}"
    )
    assert [str(s) for s in steps] == [
        "scalarize",
        "narrow",
        "approximate{lsb=2.5}",
        "share{extra=2}",
        "pipeline{stages=3}",
    ]
    assert registry.parse("") == []
    again = registry.parse(", ".join(map(str, steps)))
    assert again == steps


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("narow", r"no pass 'narow'(.|\n)*did you mean narrow"),
        ("pipeline{stages=two}", r"pipeline\{stages\} cannot be 'two'"),
        ("pipeline{stage=2}", r"has no option 'stage'(.|\n)*did you mean stages"),
        ("pipeline{stages=2, stages=3}", "pipeline is given 'stages' twice"),
        ("pipeline{stages=2, period=3}", "exclude each other"),
        ("narow, prune, nada, pipeline{stages=x}", r"narow(.|\n)*nada(.|\n)*cannot be 'x'"),
        ("narrow; prune", r"cannot read the passes from ' *narrow; prune'"),
        ("pipeline{stages=2", r"cannot read the passes"),
        ("narrow{}{}", r"cannot read the passes"),
        ("narrow,,prune", r"cannot read the passes"),
    ],
)
def test_mistakes_in_that_text(text: str, message: str) -> None:
    with pytest.raises(LirError, match=message):
        registry.parse(text)


def test_every_pass_says_what_it_is_for() -> None:
    for kind in pipelines.ALL:
        assert (kind.__doc__ or "").strip().endswith("."), kind
        assert kind.name == kind.name.lower()
    used = {p.name for p in pipelines.standard()}
    assert used <= {p.name for p in pipelines.ALL}


def test_rebuild_merges_equals_and_forgets_the_unused() -> None:
    design = parse(
        "lir 1 scalar\ndesign d(%x: s4, %z: s4) -> (y = %y) {\n"
        "  %a = add %x, %z\n  %b = add %x, %z\n  %c = mul %x, %z\n  %y = min %a, %b\n}\n"
    )
    after = rebuild(design, keep_all)
    assert kinds(after) == ["add", "min"] and after.params == design.params
    assert not any(isinstance(op, Pack) for op in ops_of(after))


def test_other_operands_of_the_same_types() -> None:
    """What follows from types is taken along, and the operands are not."""
    design = parse(
        "lir 1 scalar\ndesign d(%x: s4, %z: s4, %w: s6f1) -> (y = %y) {\n"
        "  %y = lincomb %x, %z, %w, weights=[3, 1, -0.5], bias=1\n}\n"
    )
    (op,) = ops_of(design)
    assert isinstance(op, Lincomb)
    x, z, w = design.params
    assert op.operands == (x, z, w) and op.attributes is not None
    moved = with_operands(op, [z, x, w], name="other")
    assert isinstance(moved, Lincomb)
    assert (moved.operands, moved.type, moved.name) == ((z, x, w), op.type, "other")
    assert moved.attributes == op.attributes and moved.terms == (z, x, w)
    wider = with_operands(op, [w, z, x])
    assert wider.operands == (w, z, x) and wider.type == wider.infer() != op.type
