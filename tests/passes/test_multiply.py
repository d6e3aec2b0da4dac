"""The pass `multiply`: products of two values as sums of partial products."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

import lutc
from lutc.ir.graph import Design, body
from lutc.ir.ops import Lincomb, Mul, Select
from lutc.passes.manager import run
from lutc.passes.scalarize import Scalarize
from lutc.passes.sums.collect import Collect
from lutc.passes.sums.multiply import Multiply
from lutc.text.parse import parse


def written(design: Design) -> Design:
    """The design after the pass, which is held to mean the same by the pass runner."""
    return run(design, [Multiply()], check=60)


def count(design: Design, kind: type) -> int:
    return sum(isinstance(v, kind) for v in body(design))


SIDES = st.tuples(st.booleans(), st.integers(1, 12), st.integers(-3, 3))


@settings(max_examples=60, deadline=None)
@given(SIDES, SIDES, st.sampled_from(["1", "-0.25", "3"]))
def test_any_product_means_the_same(a: tuple[bool, int, int], b: tuple[bool, int, int], weight: str) -> None:
    fa, fb = (f"{'s' if s else 'u'}{w}f{f}" for s, w, f in (a, b))
    done = written(
        parse(
            f"lir 1 scalar\ndesign d(%a: {fa}, %b: {fb}) -> (y = %y, z = %z, q = %q) {{\n"
            f"  %y = mul %a, %b\n  %p = mul %b, %b\n  %z = lincomb %p, %a, weights=[{weight}, 2], bias=-1\n"
            "  %q = mul %a, %a, dsp=true\n}\n"
        )
    )
    narrow = min(a[1], b[1])
    stay = (narrow == 2) + (b[1] == 2)
    assert sum(not v.dsp for v in body(done) if isinstance(v, Mul)) == stay
    assert count(done, Mul) == stay + 1


def test_the_rows_of_a_matrix_product_are_one_sum() -> None:
    design = parse("lir 1\ndesign d(%a: s6[2, 4], %b: s5[4, 2]) -> (y = %y) {\n  %y = matmul %a, %b\n}\n")
    done = written(run(design, [Scalarize(), Collect()]))
    assert count(done, Lincomb) == 4 and count(done, Mul) == 0
    assert {len(v.terms) for v in body(done) if isinstance(v, Lincomb)} == {4 * 5}


def test_a_product_with_other_readers_is_made_once() -> None:
    design = parse(
        "lir 1 scalar\ndesign d(%a: s6, %b: s6) -> (p = %p, y = %y) {\n"
        "  %p = mul %a, %b\n  %y = lincomb %p, %a, weights=[1, 1]\n}\n"
    )
    done = written(design)
    assert count(done, Select) == 6 and sorted(
        len(v.terms) for v in body(done) if isinstance(v, Lincomb)
    ) == [2, 6]


def test_nothing_to_do() -> None:
    design = parse("lir 1 scalar\ndesign d(%a: s9, %b: s2) -> (y = %y) {\n  %y = mul %a, %b\n}\n")
    assert written(design) is design


def test_registers_stand_between_the_rows() -> None:
    """As one operation, 12 by 12 bits take 3.6 ns, and no clock is faster."""
    text = "lir 1\ndesign d(%a: s12, %b: s12) -> (y = %y) {\n  %y = mul %a, %b\n}\n"
    report = lutc.compile(parse(text), clock_ns=2.0).report
    assert report["stages"] > 1 and report["estimate"]["stage_ns"] <= 2.0 and not report["notes"]
