"""Several products in one DSP block: how many fit, that every design answers as before, and that no pass undoes it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lutc import target as targets
from lutc.analysis.cost import costs
from lutc.ir.graph import Design, body
from lutc.ir.interp import execute
from lutc.ir.ops import Not, Quant, Scale
from lutc.numbers import signed_digits
from lutc.passes import pipelines
from lutc.passes.canonical.narrow import Narrow
from lutc.passes.context import Context
from lutc.passes.manager import run
from lutc.passes.sums.adders import Adders
from lutc.passes.sums.collect import Collect
from lutc.passes.sums.dsp import Dsp
from lutc.passes.sums.share import Share
from lutc.text.parse import parse
from lutc.text.print import print_design

TARGETS = ("xcvu13p", "xc7z020", "ecp5-85k", "ice40up5k")


def sums(fmt: str, weights: list[int], bias: int = 3) -> Design:
    """A sum of x times each weight and of another value."""
    lines = [f"  %y{i} = lincomb %x, %z, weights=[{w}, {2**i}], bias={bias}\n" for i, w in enumerate(weights)]
    ports = ", ".join(f"y{i} = %y{i}" for i in range(len(weights)))
    return parse(f"lir 1 scalar\ndesign d(%x: {fmt}, %z: s5) -> ({ports}) {{\n{''.join(lines)}}}\n")


def blocks(design: Design, target: str) -> int:
    return sum(c.dsps for c in costs(design, targets.load(target)).values())


def sent(design: Design, target: str, mode: str = "all") -> Design:
    return run(design, [Dsp(mode)], Context.of(target), check=300)


@pytest.mark.parametrize(
    ("fmt", "weights", "target", "count"),
    [
        ("u8", [-93, 115], "xcvu13p", 1),
        ("s8", [-93, 115], "xcvu13p", 1),
        ("s8f7", [-93, 115], "xcvu13p", 1),
        ("u8", [-93, 115], "xc7z020", 1),
        ("s8", [-93, 115], "xc7z020", 1),
        ("u8", [-127, 125, 123, 121], "xcvu13p", 2),
        ("u8", [-93, 115], "ecp5-85k", 2),  # 22 bits of constant, and 18 are there
        ("u4", [11, -13, 15], "xcvu13p", 1),  # 4 + 4 bits twice, and 4
        ("u4", [11, -13, 15], "xc7z020", 1),
        ("s4", [11, -13, 15], "ecp5-85k", 2),  # of 20 bits 18 are there, and two fit
        ("s4", [11, -13], "ice40up5k", 1),
        ("u8", [2047, 1023], "xcvu13p", 2),  # 18 + 11 bits
        ("u10", [255, 253], "xcvu13p", 1),  # 18 + 8 bits and no sign: 26
        ("u10", [255, 253], "xc7z020", 2),
        ("u12", [93, 11], "xcvu13p", 1),
        ("s18", [93, 11], "xcvu13p", 2),  # 19 bits without the sign, and a zero in its place
        ("u17", [5, 3], "xcvu13p", 1),  # 19 + 3 bits
        ("u8", [93, -93, 186], "xcvu13p", 1),  # one product
        ("u8", [1, 2, -4], "xcvu13p", 0),
        ("u1", [93, 115], "xcvu13p", 0),
    ],
)
def test_how_many_blocks(fmt: str, weights: list[int], target: str, count: int) -> None:
    done = sent(sums(fmt, weights), target)
    assert blocks(done, target) == count
    after = run(
        done, [Narrow(), Collect(), Narrow(), Share(), Adders(), Narrow()], Context.of(target), check=300
    )
    assert blocks(after, target) == count
    again = parse(print_design(after))
    assert blocks(again, target) == count


@pytest.mark.parametrize("fmt", ["u8", "s8"])
def test_products_are_taken_out_by_wires(fmt: str) -> None:
    """A sign costs an inverter of one bit; slices and shifts cost nothing."""
    device = targets.load("xcvu13p")
    done = sent(sums(fmt, [-93, 115]), "xcvu13p")
    made = [v for v in body(done) if isinstance(v, Scale | Quant)]
    assert sum(isinstance(v, Quant) for v in made) >= 2 and all(v.luts(device) == 0 for v in made)
    inverters = [v.luts(device) for v in body(done) if isinstance(v, Not)]
    assert inverters == ([device.mux_luts(1)] if fmt == "s8" else [])


def test_the_blocks_of_functions_count_once_an_instance() -> None:
    text = (
        "lir 1 scalar\nfunc @f(%a: u8) -> %y {\n  %p = scale %a, by=93\n  %q = scale %a, by=-115\n"
        "  %y = lincomb %p, %q, weights=[1, 256]\n}\n"
        "design d(%a: u8, %b: u8) -> (p = %p, q = %q) {\n  %p = call @f, %a\n  %q = call @f, %b\n}\n"
    )
    assert blocks(sent(parse(text), "xcvu13p"), "xcvu13p") == 2


WIDTHS = st.tuples(st.booleans(), st.integers(2, 12), st.integers(-2, 9))
WEIGHTS = st.lists(st.integers(-(1 << 8), 1 << 8).filter(bool), min_size=1, max_size=7)


@settings(max_examples=80, deadline=None)
@given(WIDTHS, WEIGHTS, st.sampled_from(TARGETS), st.sampled_from(["all", "auto"]))
def test_any_products_mean_the_same(
    x: tuple[bool, int, int], weights: list[int], target: str, mode: str
) -> None:
    """All codes of the value, and never more blocks than products."""
    design = sums(f"{'s' if x[0] else 'u'}{x[1]}f{x[2]}", weights)
    done = sent(design, target, mode)
    products = {abs(w) // (w & -w) for w in weights}
    count = blocks(done, target)
    assert count <= sum(len(signed_digits(odd)) > 1 for odd in products)
    fmt = design.params[0].type.scalar
    codes = np.arange(fmt.lo, fmt.hi + 1)
    given = {"x": codes, "z": codes % 32 - 16}
    want, got = execute(design, given), execute(done, given)
    assert all((want[port] == got[port]).all() for port in want)
    after = run(done, [Narrow(), Share(), Adders(), Narrow()], Context.of(target), check=300)
    assert blocks(after, target) == count


def test_the_whole_pipeline_keeps_them() -> None:
    design = sums("s8", [-93, 115, 77, 51])
    for target, count in (("xcvu13p", 2), ("xc7z020", 2), ("ecp5-85k", 4)):
        steps = pipelines.standard(stages=2, dsp="all")
        assert blocks(run(design, steps, Context.of(target), check=300), target) == count
