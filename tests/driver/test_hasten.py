"""Quicker LUTs for the same functions: equal on every input, no slower, within the LUTs that are allowed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lutc
from conftest import need_tool
from lutc.build import Builder
from lutc.ir.graph import Design
from lutc.primitives import XILINX
from lutc.rtl.bits import bits_of
from lutc.rtl.builder import ModuleBuilder
from lutc.rtl.hasten import hastened
from lutc.rtl.nets import Append, As, Const, Input, Lut, Module, Net, Not, Slice
from lutc.rtl.sites import sites
from lutc.rtl.ways import PINS, Ways, through
from lutc.target import load

TARGET = load("xcvu13p")


def _cascade(seed: int, inputs: int = 10, luts: int = 24) -> Module:
    """Random LUTs, each of some of the latest bits and some of the first."""
    rng = np.random.default_rng(seed)
    build = ModuleBuilder("cascade", luts=XILINX)
    x = build.input("x", inputs)
    bits = [build.bit(x, i) for i in range(inputs)]
    for _ in range(luts):
        count = int(rng.integers(2, 7))
        late = rng.choice(len(bits) - max(len(bits) - 8, 0), size=min(count, 3), replace=False)
        chosen = {int(len(bits) - 1 - n) for n in late} | {
            int(n) for n in rng.integers(0, len(bits), count - 1)
        }
        read = [bits[n] for n in sorted(chosen)][:6]
        made = build.lut(read, rng.integers(0, 2, 1 << len(read)).tolist())
        if not isinstance(made, Const):
            bits.append(made)
    build.output("y", build.append(*bits[-4:]))
    return build.build()


def _answers(module: Module) -> list[int]:
    """The output for every input, by what the nets mean."""
    width = module.inputs[0].width
    found = []
    for word in range(1 << width):
        values: dict[Net, int] = {}
        for net in module.nets:
            match net:
                case Input():
                    values[net] = word
                case Const(value=value):
                    values[net] = value
                case Slice(a=a, high=high, low=low):
                    values[net] = values[a] >> low & (1 << high - low + 1) - 1
                case As(a=a):
                    values[net] = values[a]
                case Not(a=a):
                    values[net] = values[a] ^ (1 << a.width) - 1
                case Append(parts=parts):
                    values[net] = 0
                    for part in parts:
                        values[net] = values[net] << part.width | values[part]
                case Lut(key=key, contents=contents):
                    values[net] = contents[values[key]]
                case _:
                    raise AssertionError(net)
        found.append(values[module.outputs[0].net])
    return found


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("more", [0.0, 0.3, 5.0])
def test_the_same_function_and_no_slower(seed: int, more: float) -> None:
    module = _cascade(seed)
    quick = hastened(module, TARGET, more)
    assert _answers(quick) == _answers(module)
    assert _longest(quick) <= _longest(module)
    assert _sites(quick) <= (1 + more) * _sites(module)


def test_some_are_quicker() -> None:
    modules = [_cascade(seed) for seed in range(8)]
    assert sum(_longest(hastened(m, TARGET, 5.0)) < _longest(m) for m in modules) >= 4


def _longest(module: Module) -> int:
    return Ways(bits_of(module, TARGET)).longest()


def _sites(module: Module) -> float:
    return sum(sites([module], TARGET).values())


def test_the_latest_input_has_the_quickest_pin() -> None:
    assert through([0, 0, 500]) == max(500 + PINS[0], PINS[2])
    assert through([]) == 0


def test_the_way_behind_a_bit_and_the_way_to_it_make_the_longest() -> None:
    bits = bits_of(_cascade(1), TARGET)
    ways = Ways(bits)
    assert max(ready + ways.behind[bit] for bit, ready in ways.ready.items()) == ways.longest() > 0


def _network() -> Design:
    """Rounded inputs, tables that need several LUTs, and a sum: what is put together otherwise."""
    b, rng = Builder("network"), np.random.default_rng(3)
    x = b.input("x", "s9f4[4]")
    h = b.quant(x, to="s7f2[4]", round="nearest-half-up", overflow="saturate")
    total: Any = None
    for i in range(4):
        key = b.slice(h, start=[i], stop=[i + 1])
        codes = np.round(20 * np.tanh(rng.normal() * np.arange(-64, 64) / 16 + rng.normal())).astype(int)
        table = b.table(f"t{i}", "s7f2", "s6", np.roll(codes, 64))
        found = b.lut(key, table)
        total = found if total is None else b.add(total, found)
    b.output("y", total)
    return b.design()


@pytest.mark.parametrize("hdl, tool", [("verilog", "iverilog"), ("vhdl", "ghdl")])
@pytest.mark.parametrize("stages", [0, 2])
def test_circuits_of_every_objective_answer_as_the_design(
    hdl: str, tool: str, stages: int, tmp_path: Any
) -> None:
    need_tool(tool)
    slowest = {}
    for objective in ("area", "balanced", "latency"):
        build = lutc.compile(_network(), "xcvu13p", hdl=hdl, stages=stages, objective=objective)
        result = lutc.simulate(build.write(tmp_path / objective, vectors=200))
        assert result.passed and result.vectors == 200
        slowest[objective] = max(_longest(m) for m in build.modules)
    others = min(slowest["balanced"], slowest["area"])
    assert slowest["latency"] < others or (stages and slowest["latency"] == others)
