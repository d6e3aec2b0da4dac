"""The estimate and the netlist: LUTs by name are counted one by one, two by two where they share one."""

from __future__ import annotations

from itertools import chain

import numpy as np
import pytest

import lutc
from lutc.build import Builder
from lutc.ir.graph import Design
from lutc.rtl.nets import Add, Lut, Mul, Mux, Rom, Sub
from lutc.rtl.sites import paired, sites
from lutc.target import load


def _tables(key: int, value: int, count: int = 3) -> Design:
    b, rng = Builder("tables"), np.random.default_rng(key)
    for n in range(count):
        table = b.table(f"t{n}", f"u{key}", f"u{value}", rng.integers(0, 1 << value, 1 << key))
        b.output(f"y{n}", b.lut(b.input(f"x{n}", f"u{key}"), table))
    return b.design()


def _rounded(overflow: str) -> Design:
    b = Builder("rounded")
    x = b.input("x", "s9f4[5]")
    b.output("y", b.quant(x, to="s4f1[5]", round="nearest-half-up", overflow=overflow))
    return b.design()


@pytest.mark.parametrize("key, value", [(3, 4), (5, 5), (6, 3), (7, 3), (8, 2), (9, 2), (10, 1)])
def test_tables_are_priced_as_the_netlist_names_their_luts(key: int, value: int) -> None:
    build = lutc.compile(_tables(key, value), "xcvu13p", stages=0)
    luts = [net for module in build.modules for net in module.nets if isinstance(net, Lut)]
    assert luts and not any(type(net) in (Rom, Add, Sub, Mux, Mul) for m in build.modules for net in m.nets)
    _, pairs = paired([], [frozenset(id(bit) for bit in _bits(net)) for net in luts])
    assert build.report["estimate"]["luts"] == len(luts) - len(pairs)
    largest = sum(net.key.width == 6 for net in luts)
    assert largest + (len(luts) - largest) / 2 <= build.report["estimate"]["luts"] <= len(luts)


def _bits(net: Lut) -> tuple[object, ...]:
    return tuple(bit for _, bit in net.connected if bit is not None)


@pytest.mark.parametrize("overflow", ["wrap", "saturate"])
@pytest.mark.parametrize("hdl", ["verilog", "vhdl"])
def test_the_report_is_the_count(overflow: str, hdl: str) -> None:
    build = lutc.compile(_rounded(overflow), "xcvu13p", stages=2, hdl=hdl)
    counted = sites(build.modules, load("xcvu13p"))
    estimate = build.report["estimate"]
    assert estimate["luts"] == round(sum(counted.values()))
    assert {row["layer"] or "": row["luts"] for row in estimate["layers"]} == {
        layer: round(count) for layer, count in counted.items()
    }


def test_a_chain_of_three_operands_takes_a_lut_a_bit() -> None:
    b = Builder("three")
    b.output("y", b.sum(b.input("x", "u8[3]")))
    build = lutc.compile(b.design(), "xcvu13p", stages=0)
    assert 9 <= build.report["estimate"]["luts"] <= 10  # eight bits, and the carries above them


def test_the_ends_that_an_addition_only_passes_by_take_none() -> None:
    b = Builder("apart")
    b.output("y", b.add(b.input("x", "u4"), b.input("z", "u4f8")))
    assert lutc.compile(b.design(), "xcvu13p", stages=0).report["estimate"]["luts"] == 0


def test_what_an_instance_holds_counts_as_often_as_it_stands_there() -> None:
    text = """lir 1
func @half(%a: u6, %b: u6) -> %r {
  %r = add %a, %b
}
design twice(%a: u6, %b: u6, %c: u6) -> (y = %y, z = %z) {
  %y = call @half, %a, %b
  %z = call @half, %b, %c
}
"""
    build = lutc.compile(lutc.loads(text), "xcvu13p", stages=0)
    assert build.report["estimate"]["luts"] == 12


def test_luts_of_other_kinds_are_estimated_by_operations() -> None:
    build = lutc.compile(_tables(5, 3), "ice40hx8k", stages=0)
    assert build.report["estimate"]["luts"] == build.report["estimate"]["passes"][-1]["luts"]


def test_pairs_have_five_signals_at_most_and_chains_share_two() -> None:
    one, other, far = frozenset({1, 2, 3}), frozenset({3, 4, 5}), frozenset({6, 7, 8})
    assert paired([], [one, other, far]) == ([], [(0, 1)])
    assert paired([frozenset({1, 2, 9})], [one, other, far]) == ([0], [])
    assert paired([frozenset({1, 9})], [one]) == ([], [])
    used = [*chain.from_iterable(paired([], [one, one, one, one])[1])]
    assert sorted(used) == [0, 1, 2, 3]  # each once
