"""Sums by compressor trees: they add up exactly, no deeper than need be, and take fewer LUTs."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from netlist_model import Model

from lutc.cmvm import order
from lutc.cmvm.compressor import ROWS, CompressorTree, Row, compressor_tree
from lutc.cmvm.network import balanced
from lutc.cmvm.order import Operand
from lutc.ir.graph import Design, body
from lutc.ir.ops import BitSlice
from lutc.passes.canonical.narrow import Narrow
from lutc.passes.context import Context
from lutc.passes.manager import run
from lutc.passes.sums.adders import Adders
from lutc.primitives import XILINX
from lutc.rtl.builder import ModuleBuilder
from lutc.rtl.circuits import add, add3, sub
from lutc.rtl.nets import Lut, Net, Rom
from lutc.text.parse import parse
from lutc.types import Fixed

# Narrow operands in places of their own, as tables on the edges of a network give them.
EDGES = tuple(
    Operand(0, hi << low, low)
    for hi, low in [(7, 0), (15, 2), (3, 5), (31, 1), (5, 0), (7, 4), (1, 6), (14, 0), (3, 3)]
)


@st.composite
def operands(draw: st.DrawFn) -> tuple[Operand, ...]:
    one = st.builds(
        lambda lo, size, low, level: Operand(lo << low, (lo + size) << low, low, 1, level),
        st.integers(-20, 20) | st.just(0),
        st.integers(0, 40),
        st.integers(0, 6),
        st.integers(0, 2),
    )
    return tuple(draw(st.lists(one, min_size=2, max_size=14)))


def read(row: Row, values: list[int], taken: list[int]) -> int:
    """The number that a row's bits make; each bit may be read once, here or in another row."""
    total = 0
    for piece in row:
        mask = (1 << piece.high) - (1 << piece.low)
        assert not taken[piece.item] & mask, "a bit is added twice"
        taken[piece.item] |= mask
        total += values[piece.item] & mask
    return total


def added(found: CompressorTree, numbers: list[int]) -> int:
    """The sum, as the chains add it up, modulo `2**width`."""
    values = [*numbers, found.constant]
    taken = [0] * (len(values) + len(found.chains))
    for chain in found.chains:
        assert 2 <= len(chain.rows) <= ROWS
        assert all(row == tuple(sorted(row, key=lambda p: p.low)) for row in chain.rows)
        assert min(row[0].low for row in chain.rows) == chain.low
        total = sum(read(row, values, taken) for row in chain.rows)
        values.append(total & (1 << chain.low + chain.width) - 1)
        assert total == values[-1] or chain.low + chain.width == found.width
    return read(found.result, values, taken)


def levels(found: CompressorTree, given: tuple[Operand, ...]) -> int:
    """Chains one after the other, the operands' own levels counted."""
    at = [*(o.level for o in given), 0]
    for chain in found.chains:
        at.append(1 + max(at[piece.item] for row in chain.rows for piece in row))
    return max(at[piece.item] for piece in found.result)


@settings(max_examples=400)
@given(operands(), st.randoms(use_true_random=False))
def test_compressor_trees_add_up(given: tuple[Operand, ...], rng: random.Random) -> None:
    found = compressor_tree(given)
    if found is None or not found.result:
        return
    assert levels(found, given) <= balanced((o.level for o in given), ROWS)
    for _ in range(8):
        numbers = [rng.choice([o.lo, o.hi, rng.randrange(o.lo, o.hi + 1, 1 << o.low)]) for o in given]
        assert added(found, numbers) == sum(numbers) & (1 << found.width) - 1


def test_every_code_of_small_operands() -> None:
    small = (Operand(0, 2, 0), Operand(-2, 1, 0), Operand(0, 6, 1), Operand(-6, -4, 1), Operand(0, 3, 0))
    found = compressor_tree(small)
    assert found is not None
    for numbers in product(*(range(o.lo, o.hi + 1, 1 << o.low) for o in small)):
        assert added(found, list(numbers)) == sum(numbers) & (1 << found.width) - 1


def test_what_is_subtracted_is_left_to_whole_chains() -> None:
    assert compressor_tree((*EDGES, Operand(0, 3, 0, -1))) is None


def test_narrow_operands_take_fewer_luts() -> None:
    found = compressor_tree(EDGES)
    assert found is not None and found.luts <= 0.85 * order.chains(EDGES, ROWS)[0]


def test_bits_apart_need_no_chain() -> None:
    found = compressor_tree((Operand(0, 3, 0), Operand(0, 12, 2), Operand(0, 48, 4)))
    assert found is not None and not found.chains and not found.luts and found.width == 6


# -- the pass ---------------------------------------------------------------------------------------------------------


def summed(kinds: list[str], bias: str = "0", target: str = "xcvu13p") -> Design:
    names = [f"%x{i}" for i in range(len(kinds))]
    text = f"""lir 1 scalar
design d({", ".join(f"{n}: {k}" for n, k in zip(names, kinds, strict=True))}) -> (y = %y) {{
  %y = lincomb {", ".join(names)}, weights=[{", ".join("1" for _ in names)}], bias={bias}
}}
"""
    return run(parse(text), [Adders(), Narrow()], Context.of(target), check=300)


def sliced(design: Design) -> bool:
    return any(isinstance(v, BitSlice) for v in body(design))


@pytest.mark.parametrize("bias", ["0", "-5", "0.75", "200"])
@pytest.mark.parametrize(
    "kinds",
    [
        "u3 u4f-2 u2f-5 u5f-1 u3 u3f-4 u1f-6 u4 u2f-3",
        "u3f2 u4f1 s4 u2f-5 u5f-1 u3 u3f-4 u1f-6 u4f3 u2f-3",
        "s3f4 s4f1 s4 u2f-5 s5f-1 u3 u3f-4 u1 u4f3",
    ],
)
def test_the_pass(kinds: str, bias: str) -> None:
    """Checked against the sum itself; the compressor tree is chosen where there are few signs."""
    design = summed(kinds.split(), bias)
    assert sliced(design) or bias == "-5" or kinds.startswith("s3")


def test_targets_without_chains_of_three_are_left_alone() -> None:
    assert not sliced(summed(["u3", "u4f-2", "u5f-1", "u3", "u1f-6", "u2f-3"], target="ice40up5k"))


# -- LUTs by name that a chain's own LUTs can take in -----------------------------------------------------------------


def table(build: ModuleBuilder, key: Net, answers: list[int], width: int) -> Net:
    """A table, all of whose bits are LUTs by name."""
    bits = [build.bit(key, i) for i in range(key.width)]
    return build.append(*(build.lut(bits, [a >> b & 1 for a in answers]) for b in reversed(range(width))))


@pytest.mark.parametrize("operation", [add, sub, add3])
@pytest.mark.parametrize("inputs", [1, 2, 3, 5, 6])
def test_tables_inside_chains(operation: Callable[..., Net], inputs: int) -> None:
    """The sum is right for every key; tables narrow enough for the chain's LUTs are logic, the others stay."""
    rng = random.Random(inputs)
    build = ModuleBuilder("m", luts=XILINX)
    narrow, wide = Fixed(False, 4), Fixed(False, 6)
    x = build.input("x", 4)
    # Every bit depends on every input: flipped for one key, it is no function of fewer.
    answers = [15 * (k.bit_count() & 1) ^ (rng.getrandbits(4) if k < 1 else 0) for k in range(1 << inputs)]
    y = table(build, build.input("k", inputs), answers, 4)
    if operation is add3:
        total = add3(build, [(x, narrow, 1), (y, narrow, 1), (x, narrow, 1)], wide)
    elif operation is sub:
        total = sub(build, x, y, narrow, narrow, Fixed(True, 6))
    else:
        total = add(build, y, x, narrow, narrow, wide)  # whichever comes first
    build.output("total", total)
    module = build.build()
    named = any(isinstance(net, Lut) for net in module.nets)
    assert named == (inputs > (2 if operation is add3 else 5))
    assert any(type(net) is Rom for net in module.nets) == (not named and inputs > 2)
    model = Model(module)
    for a, k in product(range(16), range(1 << inputs)):
        expected = {add: a + answers[k], sub: a - answers[k], add3: 2 * a + answers[k]}[operation]
        assert model.outputs({"x": a, "k": k})["total"] == expected


def test_every_function_of_two_bits_inside_a_chain() -> None:
    for contents in product((0, 1), repeat=4):
        build = ModuleBuilder("m", luts=XILINX)
        x, key = build.input("x", 2), build.input("k", 2)
        y = table(build, key, [c * 3 for c in contents], 2)
        build.output("total", add(build, x, y, Fixed(False, 2), Fixed(False, 2), Fixed(False, 3)))
        model = Model(build.build())
        for a, k in product(range(4), repeat=2):
            assert model.outputs({"x": a, "k": k})["total"] == a + 3 * contents[k]
