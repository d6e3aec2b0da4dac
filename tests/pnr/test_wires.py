"""The delay model's wires: longer in large circuits, and where many read one value."""

from __future__ import annotations

from dataclasses import replace
from math import log2

import pytest

import lutc
from lutc import target as targets
from lutc.analysis.timing import longest_stage
from lutc.analysis.wires import fan_out_ns
from lutc.ir.graph import body
from lutc.ir.ops import Add, Lut, Sub
from lutc.passes.halves import halved

READ_OFTEN = """lir 1 scalar
design d(%a: u8, %b: u2) -> (p = %p, q = %q, r = %r, s = %s) {
  %l: u4 = quant %a, overflow=wrap
  %p = add %l, 1
  %q = add %l, 2
  %r = add %l, 3
  %s = sub %b, 1
}
"""


def test_a_value_that_many_read() -> None:
    design, target = lutc.loads(READ_OFTEN), targets.load("ecp5-85k")
    found = fan_out_ns(design, target)
    adders = [v for v in body(design) if isinstance(v, Add | Sub)]
    assert [v in found for v in adders] == [True, True, True, False]
    # Three adders read the lower half of the bits, whoever reads the other.
    assert found[adders[0]] == pytest.approx(target.net * target.fan_out * log2(3))
    assert longest_stage(design, target) > longest_stage(design, replace(target, fan_out=0.0))
    assert not fan_out_ns(design, targets.load("xcvu13p"))


def test_a_large_circuit_has_longer_wires() -> None:
    target = targets.load("ecp5-85k")
    assert target.crowded(900) is target
    assert target.crowded(4000) is target.crowded(4010)
    assert target.crowded(4000).net == pytest.approx(target.net * (1 + 2 * target.spread))
    assert targets.load("xcvu13p").crowded(1e6).net == targets.load("xcvu13p").net


def test_tables_are_halved_until_they_fit() -> None:
    codes = ", ".join(str((k * k + k // 7) // 3 % 16) for k in range(512))
    text = f"lir 1 scalar\ntable @t: s9 -> u4 = [{codes}]\ndesign d(%k: s9) -> (y = %y) {{\n  %y = lut %k, @t\n}}\n"
    design, target = lutc.loads(text), targets.load("ice40hx8k")
    assert halved(design, target, 100.0) is design
    short = halved(design, target, 2.0)
    tables = [v for v in body(short) if isinstance(v, Lut)]
    assert len(tables) > 1 and all(v.delay(target) <= 2.0 for v in tables)
    keys = range(-256, 256)
    assert (short.run(list(keys)) == design.run(list(keys))).all()
