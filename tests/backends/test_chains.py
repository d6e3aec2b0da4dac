"""Sums are priced by the carry chains that are written for them."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lutc import target
from lutc.build import Builder
from lutc.emit import netlist
from lutc.ir.graph import Stage, body
from lutc.ir.ops import Add, Add3, Sub
from lutc.rtl.chains import chain_bits
from lutc.rtl.nets import Add as AddNet
from lutc.rtl.nets import Sub as SubNet
from lutc.types import Fixed

FORMATS = st.builds(Fixed, st.booleans(), st.integers(1, 12), st.integers(-6, 6))
SUMS = st.tuples(
    st.sampled_from(["add", "sub", "add3"]),
    st.lists(FORMATS, min_size=2, max_size=3),
    st.lists(st.sampled_from([1, 1, -1]), min_size=3, max_size=3).filter(lambda signs: sum(signs) > -2),
)


@given(SUMS)
def test_a_sum_costs_the_bits_of_its_chain(drawn: tuple[str, list[Fixed], list[int]]) -> None:
    """But the highest, which may be a carry alone."""
    keyword, formats, signs = drawn
    b = Builder("sum", Stage.SCALAR)
    inputs = [b.input(f"x{i}", str(f)) for i, f in enumerate(formats)]
    if keyword == "add3":
        made = b.add3(*inputs, weights=signs[: len(inputs)])
    else:
        made = getattr(b, keyword)(*inputs[:2])
    b.output("y", made)
    design = b.design()
    (op,) = (v for v in body(design) if isinstance(v, Add | Sub | Add3))
    written = max((n.width for n in netlist(design)[-1].nets if isinstance(n, AddNet | SubNet)), default=0)
    found = op.luts(target.load("xcvu13p"))
    fmts = sorted((v.type.scalar for v in op.operands), key=lambda f: -f.frac)
    if any(
        not a.signed and a.width <= a.frac - b.frac for a, b in pairwise(fmts)
    ):  # wires, which are written as sums
        assert found <= written
    else:
        assert found in (written, written - 1)


@pytest.mark.parametrize(
    "rows, top, bits",
    [
        ([(0, 8, False, True), (3, 9, False, True)], 10, 7),  # three bits of the first pass by
        ([(0, 8, True, True), (3, 9, False, True)], 10, 10),  # not if they are subtracted
        ([(0, 8, False, False), (0, 8, False, False)], 9, 8),  # the ninth bit is the carry
        ([(0, 3, False, False), (3, 9, False, True)], 9, 0),  # one number beside another
        ([(0, 3, False, False), (3, 9, True, True)], 10, 7),  # whose sign changes
        ([(0, 8, True, True), (0, 8, True, True), (0, 8, False, True)], 10, 11),  # a place for the second 1
    ],
)
def test_bits_by_hand(rows: list[tuple[int, int, bool, bool]], top: int, bits: int) -> None:
    assert chain_bits(rows, top) == bits


def test_bits_that_pass_by_are_not_counted() -> None:
    b = Builder("sum", Stage.SCALAR)
    x, y = b.input("x", "u16f10"), b.input("y", "u8")
    b.output("z", b.add3(x, y, weights=[Fraction(1), Fraction(1)]))
    (op,) = (v for v in body(b.design()) if isinstance(v, Add3))
    assert op.luts(target.load("xcvu13p")) == 8 < op.type.max_width == 19
