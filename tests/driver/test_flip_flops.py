"""The flip-flops of the report are those of the HDL: its registers are counted there, line by line."""

from __future__ import annotations

import random
import re
from fractions import Fraction

import pytest
from random_designs import random_design

import lutc
from lutc.diagnostics import LirError
from lutc.ir.graph import Design, Output, Param, Stage
from lutc.ir.latency import latency
from lutc.ir.ops import Add, Neg, Quant, Scale
from lutc.types import BIT, Fixed, scalar

_REGISTER = re.compile(r"^ *reg +(?:signed +)?(?:\[(\d+):0\] +)?\w+(?: += .*)?;", re.M)
_INSTANCE = re.compile(r"^ *(\w+) \w+ \(\.", re.M)


def written(build: lutc.Build) -> int:
    """The bits of the registers in the Verilog of a build, its modules counted once per instance."""
    modules = {m[1]: m[2] for text in build.files.values() for m in _modules(text)}
    bits, waiting = 0, [build.report["top"]]
    while waiting:
        name = waiting.pop()
        bits += sum(int(high or 0) + 1 for high in _REGISTER.findall(modules[name]))
        waiting += [inner for inner in _INSTANCE.findall(modules[name]) if inner in modules]
    return bits


def _modules(text: str) -> list[re.Match[str]]:
    return list(re.finditer(r"^module (\w+)(.*?)^endmodule", text, re.M | re.S))


def counted(build: lutc.Build) -> int:
    """The same by the report, in all and by layer."""
    estimate = build.report["estimate"]
    assert sum(layer["ffs"] for layer in estimate["layers"]) == estimate["ffs"]
    return int(estimate["ffs"])


@pytest.mark.parametrize("stage", ["scalar", "tensor"])
def test_of_random_designs(stage: str) -> None:
    found = 0
    for seed in range(24):
        rng = random.Random(seed)
        design = random_design(rng, stage, size=12)
        if latency(design):
            continue  # with registers of its own, which have to stay
        try:
            build = lutc.compile(
                design, stages=rng.randint(1, 4), effort="fast", valid=rng.random() < 0.5, clock_enable=True
            )
        except LirError as mistake:  # every output is a constant without bits
            assert "nothing to build" in str(mistake)
            continue
        assert counted(build) == written(build), seed
        found += counted(build)
    assert found > 500


def test_wires_constants_and_valid() -> None:
    """A value under another point has the registers it has; a bit that is always 0 has none; `valid` has its own."""
    x, y = Param(scalar(Fixed(True, 3, -1)), name="x"), Param(scalar(Fixed(True, 8)), name="y")
    twice = [Output(name, Scale(y, Fraction(by))) for name, by in (("a", "2"), ("b", "1/4"))]
    ends = (*twice, Output("sum", Add(x, y)), Output("zero", Quant(x, scalar(BIT))), Output("n", Neg(y)))
    build = lutc.compile(Design("d", (x, y), ends, Stage.SCALAR), stages=2, valid=True)
    assert counted(build) == written(build) == 2 * (8 + 9 + 9 + 1)
