"""`rescale` with its product in DSP blocks: every code, every way of the offset, and no more blocks than there are."""

from __future__ import annotations

import random
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lutc import target as targets
from lutc.analysis.cost import costs
from lutc.analysis.ranges import range_of
from lutc.diagnostics import LirError
from lutc.ir.graph import Design, Output, Param, Stage, body
from lutc.ir.interp import execute
from lutc.ir.ops import Add, Add3, Lincomb, Rescale, Sub
from lutc.passes import pipelines
from lutc.passes.context import Context
from lutc.passes.manager import run
from lutc.passes.rescale.blocks import OnBlocks, on_blocks
from lutc.passes.rescale.line import stairs_of
from lutc.passes.rescale.rescale import LowerRescale
from lutc.passes.sums.blocks import Prices
from lutc.text.parse import parse
from lutc.types import Fixed, Overflow, Rounding, scalar

TARGETS = ("xcvu13p", "xc7z020", "ecp5-85k", "ice40up5k")
ROUNDINGS = list(Rounding)


def requantised(source: str, to: str, by: str, add: str = "0", rounding: str = "nearest-half-even") -> Design:
    return parse(
        f"lir 1 scalar\ndesign d(%x: {source}) -> (y = %y) {{\n"
        f"  %y: {to} = rescale %x, by={by}, add={add}, round={rounding}, overflow=saturate\n}}\n"
    )


def figures(design: Design, target: str) -> tuple[int, float]:
    found = costs(design, targets.load(target)).values()
    return sum(c.dsps for c in found), sum(c.luts for c in found)


def lowered(design: Design, target: str, mode: str) -> Design:
    return run(design, pipelines.standard(stages=0, dsp=mode), Context.of(target), check=200)


@pytest.mark.parametrize(
    ("source", "to", "by", "target", "count"),
    [
        ("s18", "u8", "0.00317", "xcvu13p", 1),
        ("u18", "u8", "0.00317", "xcvu13p", 1),  # stopped first, and then of 17 bits
        ("s18", "u8", "0.00317", "xc7z020", 1),
        ("s18", "s8", "0.00317", "ecp5-85k", 2),  # the multiplier is cut
        ("s12", "s8", "0.0317", "ecp5-85k", 1),
        ("s12", "s8", "0.0317", "ice40up5k", 1),
        ("s12", "s8", "3/128", "xcvu13p", 1),  # two signed digits, and all products are asked for
        ("s12", "s8", "1/128", "xcvu13p", 0),
        ("u5", "u3", "0.2", "xcvu13p", 0),  # a table of 1.5 LUTs
    ],
)
def test_all_takes_blocks_where_these_leave_fewer_luts(
    source: str, to: str, by: str, target: str, count: int
) -> None:
    design = requantised(source, to, by)
    blocks, luts = figures(lowered(design, target, "all"), target)
    assert blocks == count
    before = figures(lowered(design, target, "none"), target)
    assert before[0] == 0 and (luts < before[1] if count else luts == before[1])


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("source", ["s18", "u12", "s24"])
def test_auto_is_never_dearer(source: str, target: str) -> None:
    """A block counts what the device has for each."""
    design, rate = requantised(source, "s8", "0.00317"), targets.load(target).dsp_luts()
    auto, none = (figures(lowered(design, target, mode), target) for mode in ("auto", "none"))
    assert auto[0] * rate + auto[1] <= none[1]


def test_auto_takes_a_block_for_what_luts_make_dearer() -> None:
    """A constant of eight signed digits times 24 bits: more than the 94 LUTs that the device has for each block."""
    design = requantised("s24", "s26", "87381/65536", rounding="floor")
    (blocks, luts), none = (figures(lowered(design, "xck26", mode), "xck26") for mode in ("auto", "none"))
    assert blocks == 1 and luts + targets.load("xck26").dsp_luts() < none[1]


def test_with_a_bias_nothing_is_added_behind_the_product() -> None:
    text = (
        "lir 1 scalar\ndesign d(%a: s12, %b: s12) -> (y = %y) {\n"
        "  %x = lincomb %a, %b, weights=[1, -1], bias=77\n"
        "  %y: s8 = rescale %x, by=0.0217, add=-12, round=nearest-half-up, overflow=saturate\n}\n"
    )
    done = lowered(parse(text), "xcvu13p", "all")
    assert figures(done, "xcvu13p")[0] == 1
    assert sum(isinstance(v, Add | Add3 | Sub | Lincomb) for v in body(done)) == 1


def test_an_unknown_choice() -> None:
    with pytest.raises(LirError, match="no choice of DSP blocks 'al'"):
        LowerRescale("al")


def test_a_bias_may_lose_its_bits_behind_the_point() -> None:
    """The sum has steps of a half for its bias alone, and what is added to that may make it an integer."""
    for add in range(-40, 40):
        text = (
            "lir 1 scalar\ndesign d(%a: s9, %b: s9) -> (y = %y) {\n"
            "  %x = lincomb %a, %b, weights=[1, -1], bias=7.5\n"
            f"  %y: s8 = rescale %x, by=0.0817, add={add}, round=nearest-half-up, overflow=saturate\n}}\n"
        )
        run(parse(text), [LowerRescale("all")], Context.of("xcvu13p"), check=400)


FORMATS = st.builds(Fixed, st.booleans(), st.integers(2, 11), st.integers(-2, 4))
SLOPES = st.fractions(Fraction(-3), Fraction(3), max_denominator=3000).filter(bool)


@settings(max_examples=150, deadline=None)
@given(
    FORMATS,
    FORMATS,
    SLOPES,
    st.fractions(-9, 9, max_denominator=99),
    st.sampled_from(ROUNDINGS),
    st.sampled_from([Overflow.SATURATE, Overflow.SATURATE_SYMMETRIC, Overflow.WRAP]),
    st.sampled_from(TARGETS),
    st.sampled_from([0.0, 9.0]),
)
def test_products_are_right_for_every_code(
    source: Fixed,
    to: Fixed,
    by: Fraction,
    add: Fraction,
    rounding: Rounding,
    overflow: Overflow,
    target: str,
    rate: float,
) -> None:
    """By themselves: with offsets behind the product, and with any before it."""
    op = Rescale(Param(scalar(source), name="x"), scalar(to), (by,), (add,), -1, rounding, overflow)
    stairs, prices = stairs_of(op), Prices(targets.load(target), rate)
    lo, hi = range_of(op.x)
    assume(stairs.answer(lo) != stairs.answer(hi))
    for moved in (False, True):
        found = on_blocks(stairs, source, prices, moved)
        if not found:
            continue
        assert moved or not found.before
        for x in range(stairs.lo, stairs.hi + 1):
            answer = found.at(x)
            answer = answer if stairs.least is None else max(answer, stairs.least)
            assert (answer if stairs.most is None else min(answer, stairs.most)) == stairs.answer(x)


def test_negative_codes_have_the_mirrored_product() -> None:
    one = OnBlocks(37, 0, 9, before=-5, behind=3, bits=5)
    assert one.mirrored().mirrored() == one
    assert all(one.mirrored().at(x) == one.at(-x) for x in range(-99, 99))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_the_pass_on_sums_and_inputs(rounding: Rounding, target: str) -> None:
    """Every code of an input, and many of a sum; in all modes the design answers the same."""
    rng = random.Random(f"{rounding}{target}")
    for _ in range(3):
        by, add = (
            Fraction(rng.randrange(1, 999), rng.randrange(300, 9999)),
            Fraction(rng.randrange(-99, 99), 7),
        )
        by = rng.choice([1, 1, -1]) * by
        a, b = (Param(scalar(Fixed(rng.random() < 0.5, 9, 2)), name=n) for n in "ab")
        every = np.arange(512)
        to = scalar(Fixed(rng.random() < 0.5, rng.randrange(3, 9), 1))
        x = Lincomb((a, b), (Fraction(1), Fraction(-3)), Fraction(rng.randrange(2), 2))
        alone, total = (Rescale(v, to, (by,), (add,), -1, rounding, Overflow.SATURATE) for v in (a, x))
        design = Design("d", (a, b), (Output("y", alone), Output("z", total)), stage=Stage.SCALAR)
        codes = {"a": every + a.type.scalar.lo, "b": every * 37 % 512 + b.type.scalar.lo}
        want = execute(design, codes)
        for mode in ("all", "auto"):
            got = execute(run(design, [LowerRescale(mode)], Context.of(target)), codes)
            assert all((want[port] == got[port]).all() for port in want), (by, add, to)
