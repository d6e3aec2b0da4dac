"""Tables made smaller: encoders, coarse tables with a rest, roundings that sums take in. Exact, and worth it."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest

from lutc import target as targets
from lutc.analysis.cost import costs
from lutc.ir.graph import Design, body
from lutc.ir.interp import execute
from lutc.ir.ops import Lut, Quant
from lutc.passes.context import Context
from lutc.passes.manager import Pass, run
from lutc.passes.pipelines import standard
from lutc.passes.tables.dont_care import DontCare
from lutc.passes.tables.encode import Encode
from lutc.passes.tables.encoders import encoded_luts, encoder, groups
from lutc.passes.tables.offsets import Offsets
from lutc.passes.tables.rounding_constant import RoundingConstant
from lutc.text.parse import parse
from lutc.text.print import print_design
from lutc.truth import table_luts
from lutc.types import Rounding

TARGET = targets.load("xcvu13p")


def smooth(inputs: int, width: int, seed: int) -> Any:
    """A clipped, bent ramp, as quantised activations are: `2**inputs` codes of `width` bits."""
    rng = np.random.default_rng(seed)
    x = np.linspace(-1, 1, 1 << inputs)
    y = np.tanh(rng.uniform(0.5, 4) * (x + rng.uniform(-0.6, 0.6)))
    return np.clip(np.floor((y + 1) / 2 * (1 << width)), 0, (1 << width) - 1).astype(np.int64)


@pytest.mark.parametrize("inputs", [7, 8, 9, 10])
def test_an_encoder_and_its_table_are_the_table(inputs: int) -> None:
    rng = np.random.default_rng(inputs)
    found = 0
    for seed in range(20):
        codes = smooth(inputs, 5, seed) if seed % 4 else rng.integers(0, 3, 1 << inputs)
        got = encoder(codes, 5, TARGET)
        if got is None:
            continue
        found += 1
        keys = np.arange(1 << inputs)
        run = keys >> got.low & ((1 << got.bits) - 1)
        high, low = keys >> got.low + got.bits, keys & ((1 << got.low) - 1)
        inner = (high << got.width | got.codes[run]) << got.low | low
        assert np.array_equal(got.inner[inner], codes)
        assert got.width < got.bits
        assert got.luts < table_luts(codes, 5, TARGET)
    assert found >= 8


def test_no_encoder_where_synthesis_would_undo_it_or_nothing_repeats() -> None:
    assert encoder(smooth(8, 5, 1), 5, replace(targets.load("ice40up5k"), named_luts="")) is None
    assert encoder(np.random.default_rng(0).integers(0, 1 << 12, 1 << 8), 12, TARGET) is None
    assert encoder(smooth(5, 5, 1), 5, TARGET) is None


@pytest.mark.parametrize("name", ["ecp5-85k", "ice40hx8k", "gw2ar-18"])
def test_encoders_for_luts_of_four_inputs(name: str) -> None:
    """What is looked up in two steps is the table, for fewer LUTs; runs may be longer than a LUT is wide."""
    target = targets.load(name)
    longest = 0
    for seed in range(12):
        codes = smooth(9, 4, seed)
        found = encoder(codes, 4, target)
        if found is None:
            continue
        longest = max(longest, found.bits)
        assert found.luts < table_luts(codes, 4, target)
        key = np.arange(len(codes))
        low, run = key & ((1 << found.low) - 1), key >> found.low & ((1 << found.bits) - 1)
        above = key >> found.low + found.bits
        inner = ((above << found.width | found.codes[run]) << found.low) | low
        assert (found.inner[inner] == codes).all()
    assert longest > target.lut_inputs


@pytest.mark.parametrize("seed", range(6))
def test_groups_are_all_bits_once_and_cost_no_more(seed: int) -> None:
    codes = smooth(8, 6, seed)
    found = groups(codes, 6, TARGET)
    assert [low + i for low, bits in found for i in range(bits)] == list(range(6))
    apart = sum(encoded_luts(codes >> low & ((1 << bits) - 1), bits, TARGET) for low, bits in found)
    assert apart <= encoded_luts(codes, 6, TARGET)


def test_functions_that_share_a_lut() -> None:
    identity = np.arange(64)
    assert table_luts(identity, 6, TARGET) == 0  # wires
    five = np.random.default_rng(0).integers(0, 16, 32)
    assert table_luts(five, 4, TARGET) == 2
    # Two functions of five inputs each that have six together do not share one.
    low, high = identity & 31, identity >> 1
    apart = (five[low] & 1) | (five[high] & 2)
    assert table_luts(apart, 2, TARGET) == 1.5


def luts(design: Design) -> float:
    return sum(c.luts for c in costs(design, TARGET).values())


def same(before: Design, after: Design) -> None:
    """Equal on every input there is."""
    ranges = [range(p.type.scalar.lo, p.type.scalar.hi + 1) for p in before.params]
    rows = np.array(list(product(*ranges)), dtype=np.int64)
    codes: Any = {p.name: rows[:, i] for i, p in enumerate(before.params)}
    want, got = execute(before, codes), execute(after, codes)
    assert all(np.array_equal(want[name], got[name]) for name in want)


def text_of(codes: Any, frac: int) -> str:
    return ", ".join(str(c / 2**frac) for c in codes.tolist())


def sum_of_tables(step: Pass, context: Context | None = None) -> tuple[Design, Design]:
    design = parse(f"""lir 1 scalar
table @a: s8f4 -> u6f2 = [{text_of(np.roll(smooth(8, 6, 2), 128), 2)}]
table @b: u7 -> u5f3 = [{text_of(smooth(7, 5, 3), 3)}]
design sum(%x: s8f4, %y: u7) -> (z = %z) {{
  %t = lut %x, @a
  %u = lut %y, @b
  %z = lincomb %t, %u, weights=[1, -1], bias=0.375
}}
""")
    return design, run(design, [step], context)


@pytest.mark.parametrize("step", [Offsets(), Encode()], ids=str)
def test_tables_get_smaller_and_stay_what_they_are(step: Pass) -> None:
    before, after = sum_of_tables(step)
    same(before, after)
    assert luts(after) < luts(before)


def test_tables_are_shifted_and_split_without_encoders_too() -> None:
    before, after = sum_of_tables(Offsets(), Context(effort="fast"))
    same(before, after)
    assert "_rest" in print_design(after)


def test_a_sum_takes_in_its_coarsest_rounding() -> None:
    rng = np.random.default_rng(5)
    design = parse(f"""lir 1 scalar
table @a: u4f1 -> s5f3 = [{text_of(rng.integers(-16, 16, 16), 3)}]
table @b: s5f2 -> s5f3 = [{text_of(rng.integers(-16, 16, 32), 3)}]
table @c: u6f3 -> s5f3 = [{text_of(rng.integers(-16, 16, 64), 3)}]
design halves(%x: u5f4, %y: s6f4) -> (z = %z) {{
  %s = lincomb %x, %y, weights=[1, 1]
  %a: u4f1 = quant %s, round=nearest-half-up, overflow=wrap
  %b: s5f2 = quant %s, round=nearest-half-up, overflow=wrap
  %c: u6f3 = quant %s, round=floor, overflow=wrap
  %t = lut %a, @a
  %u = lut %b, @b
  %v = lut %c, @c
  %z = lincomb %t, %u, %v, weights=[1, 1, 1]
}}
""")
    after = run(design, [RoundingConstant()])
    same(design, after)
    rounds = [v.to.scalar.frac for v in body(after) if isinstance(v, Quant) and v.round is Rounding.HALF_UP]
    assert rounds == [2]
    assert len([v for v in body(after) if isinstance(v, Lut)]) == 3
    # Where the sum itself goes out, or a coarser floor reads it, it has to stay.
    text = print_design(design)
    for old, new in (("overflow=wrap", "overflow=saturate"), ("z = %z", "z = %z, s = %s")):
        assert old in text
        one = parse(text.replace(old, new))
        held = run(one, [RoundingConstant()])
        same(one, held)
        assert len([v for v in body(held) if isinstance(v, Quant) and v.round is Rounding.HALF_UP]) == 2


@pytest.mark.parametrize("signed", [False, True])
def test_entries_that_no_key_reaches_are_free(signed: bool) -> None:
    """The keys end at 40 of 63, or begin at -9 of -32; the entries beyond look like noise, and go."""
    keys = np.arange(64)
    values = np.where(keys > 31, keys - 64, keys) if signed else keys
    read = (values >= -9) if signed else (values <= 40)
    codes = np.where(read, values // 8 + 8, np.random.default_rng(1).integers(0, 16, 64))
    key, key_range = ("s6", "-9") if signed else ("u6", "40")
    last = "max" if signed else "min"
    text = (
        f"lir 1 scalar\ntable @t: {key} -> u4 = [{' '.join(map(str, codes.tolist()))}]\n"
        f"design d(%x: {key}) -> (y = %y) {{\n  %n = number value={key_range}\n"
        f"  %m = {last} %x, %n\n  %k: {key} = quant %m, round=floor, overflow=wrap\n  %y = lut %k, @t\n}}\n"
    )
    design = parse(text)
    filled = run(design, [DontCare()], check=64)
    before, after = (sum(v.luts(TARGET) for v in body(d) if isinstance(v, Lut)) for d in (design, filled))
    assert after < before
    assert any(isinstance(p, DontCare) for p in standard(effort="high"))
    assert not any(isinstance(p, DontCare) for p in standard())
