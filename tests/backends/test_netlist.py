"""The netlist's own rules: what its constructors refuse, and what its builder shares and folds."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lutc.rtl import nets as nl
from lutc.rtl.builder import ModuleBuilder


def test_a_netlist_mistake_is_an_error() -> None:
    b = ModuleBuilder("m")
    x, y, z = b.input("x", 8, True), b.input("y", 8), b.input("z", 9, True)
    inner = ModuleBuilder("plain")
    inner.output("z", inner.not_(inner.input("x", 5)))
    plain = inner.build()
    inner = ModuleBuilder("clocked", clock=True, clock_enable=True)
    inner.output("z", inner.reg(inner.input("x", 8, True)))
    clocked = inner.build()
    mistakes: list[tuple[str, Callable[[], object]]] = [
        ("one format", lambda: b.add(x, y)), ("one format", lambda: b.mul(x, z)), ("one format", lambda: b.lt(x, y)),
        ("one format", lambda: b.add(x, b.const(0, 9, True))), ("one format", lambda: b.mux(b.bit(x, 0), x, y)),
        ("one unsigned bit", lambda: b.mux(y, x, b.neg(x))), ("only widens", lambda: b.resize(x, 7)),
        ("not all in", lambda: b.slice(x, 8, 1)), ("not all in", lambda: b.slice(x, 1, 2)),
        ("does not fit", lambda: b.const(128, 8, True)), ("at least one bit", lambda: b.const(0, 0)),
        ("at least one bit", lambda: b.append()), ("does not go with 2 entries", lambda: b.rom(x, [1, 2], 4)),
        ("does not fit", lambda: b.rom(b.bit(x, 0), [1, 16], 4)), ("no clock", lambda: b.reg(x)),
        ("two ports", lambda: b.input("x", 1)), ("no output", b.build), ("needs a clock", lambda: ModuleBuilder(
            "n", reset=True)), ("is not of module", lambda: b.not_(ModuleBuilder("n").input("x", 8))),
        ("is not of module", lambda: b.output("o", nl.Input("x", 8, True))),
        ("differ in clock", lambda: b.instance(clocked, {})),
        ("inputs of plain", lambda: b.instance(plain, {"y": x})),
        ("plain.x takes unsigned 5 bits, not signed 8 bits", lambda: b.instance(plain, {"x": x})),
    ]  # fmt: skip
    for message, mistake in mistakes:
        with pytest.raises(ValueError, match=message):
            mistake()


def test_the_obvious_is_folded() -> None:
    b = ModuleBuilder("m", clock=True)
    x, y, s = b.input("x", 8, True), b.input("y", 8, True), b.input("s", 1)
    zero, one = b.const(0, 8, True), b.const(1, 8, True)
    assert b.add(x, y) is b.add(x, y)
    assert b.add(x, zero) is x and b.add(zero, x) is x and b.sub(x, zero) is x and b.mul(one, x) is x
    assert b.mul(x, zero) is zero and b.sub(zero, one) is b.const(-1, 8, True)
    assert (
        b.mux(s, x, x) is x and b.mux(b.const(1, 1), x, y) is x and b.mux(b.not_(s), x, y) is b.mux(s, y, x)
    )
    assert (
        b.resize(x, 8) is x and b.as_(b.as_(x, False), True) is x and b.resize(one, 9) is b.const(1, 9, True)
    )
    assert b.slice(b.slice(x, 6, 2), 3, 1) is b.slice(x, 5, 3)
    assert b.slice(b.append(x, y), 11, 9) is b.slice(x, 3, 1)
    assert b.slice(b.resize(x, 20), 7, 0) is b.as_(x, False)
    assert b.append(b.append(x, y), s) is b.append(x, y, s) and b.append(one, zero) is b.const(256, 16)
    assert b.lt(x, b.const(-128, 8, True)) is b.const(0, 1) and b.gt(x, b.const(127, 8, True)) is b.const(
        0, 1
    )
    wide = b.resize(x, 12)
    assert b.gt(wide, b.const(127, 12, True)) is b.const(0, 1) and b.lt(
        wide, b.const(128, 12, True)
    ) is b.const(1, 1)
    assert b.eq(wide, b.const(200, 12, True)) is b.const(0, 1)
    assert b.slice(b.append(x, s, y), 9, 5) is b.append(b.bit(x, 0), s, b.slice(y, 7, 5))
    assert b.slice(b.resize(s, 9), 4, 1) is b.const(0, 4) and b.slice(b.resize(s, 9), 4, 0) is b.resize(s, 5)
    assert b.xor(x, x) is zero and b.sub(x, x) is zero and b.and_(x, x) is x
    assert b.or_(x, b.const(-1, 8, True)) is b.const(-1, 8, True)
    assert b.and_(x, zero) is zero and b.and_(x, b.const(-1, 8, True)) is x and b.or_(zero, x) is x
    assert b.reg(one) is one and b.fit(x, 8, True) is x and b.shift_left(x, 0) is x
    assert b.rom(s, [3, 3], 4) is b.const(3, 4) and b.rom(b.const(1, 1), [2, 3], 4) is b.const(3, 4)
    b.output("o", x)
    b.add(x, one)
    assert b.build().nets == (x, y, s)
