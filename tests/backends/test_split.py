"""A module cut into parts does, cycle by cycle, what it did in one piece."""

from __future__ import annotations

import random

import pytest
from fuzzing import random_case
from netlist_model import Model

import lutc
from lutc.rtl.builder import ModuleBuilder
from lutc.rtl.nets import Input, Module, Slice
from lutc.rtl.split import split


def modules(seed: int) -> tuple[Module, ...]:
    case = random_case(seed)
    setting = case.setting
    return lutc.compile(
        case.design, stages=setting.stages, clock_enable=setting.clock_enable, valid=True
    ).modules


def same(whole: Module, parts: list[Module], seed: int) -> None:
    """Both answer alike, with and without clock enable and reset."""
    rng = random.Random(seed)
    before, after = Model(whole), Model(parts[-1])
    for _ in range(8):
        words = {port.port: rng.getrandbits(port.width) for port in whole.inputs}
        pins = {
            port.port: words[port.port] - (1 << port.width)
            if port.signed and words[port.port] >> (port.width - 1)
            else words[port.port]
            for port in whole.inputs
        }
        assert before.outputs(pins) == after.outputs(pins)
        enable, reset = int(rng.random() < 0.7), int(rng.random() < 0.2)
        before.clock(enable, reset)
        after.clock(enable, reset)


@pytest.mark.parametrize("largest", [1, 4, 15])
def test_random_designs(largest: int) -> None:
    cut = 0
    for seed in range(40):
        top = modules(seed)[-1]
        parts = split(top, largest)
        cut += len(parts) > 1
        assert [port.port for port in top.inputs] == [port.port for port in parts[-1].inputs]
        assert [port.port for port in top.outputs] == [port.port for port in parts[-1].outputs]
        same(top, parts, seed)
    assert cut > 10


def layers(count: int) -> Module:
    """Sums, one after the other, of pieces of one wide port; three nets a layer."""
    build = ModuleBuilder("net", clock=True)
    port = build.input("x", 4 * count)
    total = build.const(0, 8)
    for layer in range(count):
        with build.at(f"model/layer{layer // 4}"):
            piece = build.resize(build.slice(port, 4 * layer + 3, 4 * layer), 8)
            total = build.reg(build.xor(build.add(total, piece), build.not_(piece)))
    build.output("y", total)
    return build.build()


def test_a_small_module_stays() -> None:
    module = layers(4)
    assert split(module) == [module]


def test_parts_are_named_after_layers_and_take_only_what_they_read() -> None:
    module = layers(32)
    parts = split(module, 20)
    same(module, parts, 1)
    assert {part.name for part in parts[:-1]} > {"net_layer0_1", "net_layer2_1"}
    for part in parts[:-1]:
        assert sum(port.width for port in part.inputs) <= 4 * 10 + 8
        assert all(
            not isinstance(net, Slice) or not isinstance(net.a, Input) or net.a.width <= 8
            for net in part.nets
        )
