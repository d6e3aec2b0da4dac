"""Approximation on request: within what is allowed, smaller, and nobody can take it for the exact circuit."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from random_designs import random_design
from table_networks import tables
from test_errors import check, network

import lutc
from lutc.cli import main
from lutc.diagnostics import LirError
from lutc.ir.graph import Design, Output, Param, Stage, Table, Value, body
from lutc.ir.interp import execute
from lutc.ir.ops import Element, Lincomb, Lut, Number, Pack, Quant, Relu
from lutc.passes.approximate.approximate import Approximate
from lutc.passes.approximate.deviation import deviations
from lutc.passes.context import Context
from lutc.passes.manager import Pass, random_codes, run
from lutc.passes.pipelines import standard
from lutc.passes.rebuild import rebuild
from lutc.text.print import print_design
from lutc.types import Fixed, Overflow, Rounding, scalar, uniform

ONE = Fraction(1)


def luts(design: Design, lsb: float) -> int:
    return int(lutc.compile(design, stages=0, approx_lsb=lsb).report["estimate"]["luts"])


def test_nothing_changes_unless_asked() -> None:
    design = tables()
    assert Approximate(0)(design, Context()) is design
    plain, asked = lutc.compile(design, stages=0), lutc.compile(design, stages=0, approx_lsb=0)
    assert plain.report == asked.report and "approximation" not in plain.report and plain.files == asked.files
    assert [n for n, _ in plain.stages] == [n for n, _ in asked.stages]
    assert not any(isinstance(p, Approximate) for p in standard())
    assert Approximate(0.5)(design, Context()) is design  # the outputs count in whole units


@pytest.mark.parametrize("keep", [0, 1])
def test_it_is_smaller_and_within_what_is_allowed(keep: int) -> None:
    design = tables(keep=keep)
    before = luts(design, 0)
    found = []
    for lsb in (1, 4, 16, 64):
        near = Approximate(lsb)(design, Context())
        proven = deviations(design, near)
        worst = check(design, near, proven)
        assert 0 < worst <= max(max(-lo, hi) for lo, hi in proven["y"]) <= lsb
        assert near.notes and f"{lsb} were allowed" in near.notes[-1]
        found.append(luts(design, lsb))
    # What an error of 1 takes from tables may be nothing once LUTs are put together.
    assert before >= found[0] > found[1] > found[2] > found[3]
    assert found[2] < 0.85 * before
    assert print_design(Approximate(4)(design, Context())) == print_design(
        Approximate(4)(tables(keep=keep), Context())
    )


def test_errors_are_balanced() -> None:
    design = tables()
    for lo, hi in deviations(design, Approximate(8)(design, Context()))["y"]:
        assert abs(lo + hi) <= 2 and hi - lo >= 10


def test_inner_sums_take_part_if_outputs_can_bear_it() -> None:
    """A wide first layer that few coarse outputs read: the error is spent there."""
    design = tables(seed=3, inputs=10, hidden=1, outputs=1, keep=1)
    near = Approximate(24)(design, Context())
    (old,) = (v for v in body(design) if isinstance(v, Lincomb) and len(v.terms) == 10)
    (new,) = (v for v in body(near) if isinstance(v, Lincomb) and len(v.terms) == 10)
    changed = [a for a, b in zip(old.terms, new.terms, strict=True) if a.table is not b.table]  # type: ignore[attr-defined]
    assert len(changed) >= 5
    assert 0 < check(design, near, deviations(design, near)) <= 24
    for lsb in (1, 2, 5, 10):  # and not if they cannot
        near = Approximate(lsb)(design, Context())
        assert check(design, near, deviations(design, near)) <= lsb


def arithmetic(overflow: Overflow) -> Design:
    """Relus and saturating or wrapping conversions, and sums of many digits."""
    x = Param(uniform((4,), Fixed(True, 6, 2)), name="x")
    parts = [Element(x, i) for i in range(4)]
    hidden = []
    for i, weights in enumerate([(37, -11, 5, 3), (-7, 21, 19, 45), (3, 3, -9, 17)]):
        total = Lincomb(tuple(parts), tuple(Fraction(w, 16) for w in weights), Fraction(i, 4))
        to = scalar(Fixed(False, 5, 1))
        hidden.append(Quant(Relu(total), to, Rounding.HALF_UP, overflow))
    first, second, third = hidden
    ends = (
        Lincomb((first, second, third), (Fraction(13, 8), Fraction(27, 8), Fraction(5, 8))),
        Lincomb((first, second), (Fraction(-9, 8), Fraction(1, 8))),
    )
    return Design("arithmetic", (x,), (Output("y", Pack(ends, (2,))),), Stage.SCALAR)


@pytest.mark.parametrize("overflow", [Overflow.WRAP, Overflow.SATURATE])
def test_weights_lose_digits_and_terms_low_bits(overflow: Overflow) -> None:
    design = arithmetic(overflow)
    near = Approximate(16)(design, Context())
    assert 0 < check(design, near, deviations(design, near)) <= 16
    first, second = near.outputs[0].value.operands
    assert isinstance(first, Lincomb) and isinstance(second, Lincomb)
    assert isinstance(first.terms[2], Quant) and first.terms[2].to.scalar.frac < 1
    assert second.weights == (Fraction(-1), Fraction(1, 8))


def test_no_error_goes_into_a_number_that_may_wrap() -> None:
    """Of the first layer, whose conversions wrap, nothing changes."""
    design = arithmetic(Overflow.WRAP)
    near = Approximate(64)(design, Context())
    old, new = (
        [v for v in body(d) if isinstance(v, Quant) and not v.to.scalar.signed] for d in (design, near)
    )
    assert all(any(a is b for b in new) for a in old)
    assert 0 < check(design, near, deviations(design, near)) <= 64


def test_an_output_at_the_edge_of_its_format_does_not_wrap() -> None:
    """Every code of the output's format is reached: nothing can be added at its ends."""
    x = Param(scalar(Fixed(True, 7)), name="x")
    ramp = np.roll(np.arange(-64, 64), 64).astype(object)
    halves = [Lut(x, Table(n, x.type, scalar(Fixed(True, 7)), ramp)) for n in "ab"]
    total = Lincomb((halves[0], halves[1], Number(ONE)), (ONE, ONE, ONE))
    design = Design("edge", (x,), (Output("y", Quant(total, scalar(Fixed(True, 8)))),), Stage.SCALAR)
    near = Approximate(3)(design, Context())
    assert check(design, near, deviations(design, near)) <= 3


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 1 << 32), st.sampled_from([1, 2, 5, 20, 300]))
def test_any_design_stays_within_what_is_allowed(seed: int, lsb: int) -> None:
    rng = random.Random(seed)
    design = random_design(rng, "scalar") if seed % 4 == 0 else network(rng)
    near = Approximate(lsb)(design, Context())
    proven = deviations(design, near)
    assert all(-lsb <= lo <= hi <= lsb for some in proven.values() for lo, hi in some)
    check(design, near, proven)


def test_random_designs_are_changed_often_enough_to_count() -> None:
    changed = sum(
        Approximate(8)(d, Context()) is not d for d in (network(random.Random(s)) for s in range(60))
    )
    assert changed > 15


# -- what watches over it ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Careless(Pass):
    """Moves every bias by a step, and says that outputs are off by as much as `promised`."""

    name: ClassVar[str] = "careless"
    promised: int = 0

    def __call__(self, design: Design, context: Context) -> Design:
        def rule(rw: Any, op: Any) -> Value:
            if isinstance(op, Lincomb) and all(isinstance(v, Lut) for v in op.terms) and len(op.terms) == 4:
                return rw.make(Lincomb, op.terms, op.weights, op.bias + Fraction(1, 32))  # type: ignore[no-any-return]
            return op  # type: ignore[no-any-return]

        return rebuild(design, rule)

    def tolerance(self, before: Design, after: Design) -> dict[str, list[tuple[int, int]]] | None:
        return {"y": [(0, self.promised)] * 3} if self.promised else None


def test_check_holds_the_pass_to_its_promise() -> None:
    design = tables()
    run(design, [Careless(1), *standard(stages=0)], check=50)
    with pytest.raises(LirError, match="changed output 'y'"):
        run(design, [Careless()], check=50)
    with pytest.raises(LirError, match="by more than is proven"):
        run(design, [Careless(1), Careless(1), CarelessTwice(1)], check=50)
    run(design, standard(stages=0, approx_lsb=4), check=200)


@dataclass(frozen=True)
class CarelessTwice(Careless):
    """Promises half of what it does."""

    name: ClassVar[str] = "careless-twice"

    def __call__(self, design: Design, context: Context) -> Design:
        return super().__call__(super().__call__(design, context), context)


@pytest.mark.parametrize("lsb", [-1, float("nan"), float("inf")])
def test_numbers_that_are_none_to_be_off_by(lsb: float) -> None:
    with pytest.raises(LirError, match="least significant bit") as caught:
        lutc.compile(tables(), stages=0, approx_lsb=lsb)
    assert "1 allows one unit" in str(caught.value)
    with pytest.raises(LirError, match="least significant bit"):
        Approximate(lsb)(tables(), Context())


def test_own_passes() -> None:
    steps = standard(stages=0, approx_lsb=2)
    build = lutc.compile(tables(), passes=steps)
    assert build.approximation and build.report["approximation"]["allowed_lsb"] == 2
    with pytest.raises(LirError, match="no place for approx_lsb"):
        lutc.compile(tables(), passes=steps, approx_lsb=2)
    with pytest.raises(LirError, match="approximated once"):
        lutc.compile(tables(), passes=[Approximate(1), *steps])


def test_tensors_come_first() -> None:
    with pytest.raises(LirError, match="tensors"):
        Approximate(1)(
            lutc.loads("lir 1\n\ndesign d(%x: s4[2]) -> (y = %y) {\n  %y = add %x, %x\n}\n"), Context()
        )


# -- the build --------------------------------------------------------------------------------------------------------


@pytest.fixture(name="compile_it")
def _compile_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(tmp_path)
    Path("tables.lir").write_text(print_design(tables()))

    def compile_it(*options: str, code: int = 0) -> Result:
        result = CliRunner().invoke(main, ["compile", "tables.lir", *options])
        assert result.exit_code == code, result.output
        return result

    return compile_it


@pytest.mark.parametrize("hdl", ["verilog", "vhdl"])
def test_the_circuit_is_the_approximated_design_and_says_so(
    compile_it: Callable[..., Result], hdl: str
) -> None:
    rows = np.random.default_rng(0).normal(0, 2, (40, 6))
    np.save("rows.npy", rows)
    options = ("--hdl", hdl, "--stages", "1", "--approx-lsb", "4", "--check", "--verify", "--vectors", "60")
    result = compile_it(*options, "--test-data", "rows.npy")
    assert "verified: 100 vectors" in result.output and "no bit wrong" in result.output
    assert "every output within 4 LSB (proven, 4 allowed); on 40 rows of test data" in " ".join(
        result.output.split()
    )
    exact, near = lutc.load("build/model.lir"), lutc.load("build/approximated.lir")
    last = lutc.load(sorted(Path("build/stages").iterdir())[-1])
    assert any("approximates its model" in n for n in near.notes) and near.notes == last.notes
    codes = random_codes(exact, 300)
    want, got = execute(exact, codes)["y"], execute(near, codes)["y"]
    assert np.array_equal(execute(last, codes)["y"], got)
    assert 0 < np.abs(got - want).max() <= 4
    header = "".join(
        p.read_text().split("\n\n")[0] for p in Path("build/rtl").iterdir() if "tables" in p.name
    )
    assert "not exact: every output is within 4 LSB of model.lir" in header
    facts = json.loads(Path("build/report.json").read_text())["approximation"]
    off = np.abs(np.asarray(near.run(rows)) - np.asarray(exact.run(rows))) * 32
    (output,) = facts["outputs"]
    assert (output["max_lsb"], output["mean_lsb"]) == (off.max(), round(float(off.mean()), 4))
    assert output["rows_differing"] == round(float(off.any(axis=1).mean()), 4)
    assert facts["vectors"] == 40 and facts["measured_on"] == "rows of test data"
    assert facts["luts"] < facts["luts_exact"] and facts["allowed_lsb"] == 4 == facts["proven_lsb"]
    assert all(-4 <= lo <= hi <= 4 for lo, hi in output["proven_lsb"])


def test_a_design_that_cannot_be_smaller_stays_exact(tmp_path: Path) -> None:
    x = Param(scalar(Fixed(True, 4)), name="x")
    wire = Design("wire", (x,), (Output("y", Quant(x, scalar(Fixed(True, 5)))),), Stage.SCALAR)
    build = lutc.compile(wire, stages=0, approx_lsb=2)
    facts = build.report["approximation"]
    assert build.approximation is None and build.reference is wire
    assert facts["proven_lsb"] == 0 and facts["luts"] == facts["luts_exact"]
    assert not (build.write(tmp_path / "b", vectors=5) / "approximated.lir").exists()
    assert "not exact" not in "".join(build.files.values()) and not build.report["notes"]


def test_measured_on_random_vectors_otherwise() -> None:
    facts = lutc.compile(tables(), stages=0, approx_lsb=2).report["approximation"]
    (output,) = facts["outputs"]
    assert facts["measured_on"] == "random vectors" and facts["vectors"] == 1000
    assert 0 < output["mean_lsb"] < output["max_lsb"] <= 2 and 0 < output["rows_differing"] <= 1


@pytest.mark.parametrize("text", ["-1", "nan", "inf"])
def test_a_wrong_number_is_exit_code_2(compile_it: Callable[..., Result], text: str) -> None:
    result = compile_it("--approx-lsb", text, code=2)
    assert "give a number from 0 on" in result.stderr and not Path("build").exists()
