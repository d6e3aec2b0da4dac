"""LUTs by name: what a netlist asks for is what a vendor's library gives."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

from lut_circuits import luts

from conftest import need_module
from lutc.backends import verilog
from lutc.rtl.builder import ModuleBuilder
from lutc.rtl.nets import Append, Lut


def test_luts_by_name_are_those_of_the_library(tmp_path: Path) -> None:
    """With our models of LUT1 to LUT6, or with a library's own: proved to be the same function."""
    need_module("pyosys")
    from pyosys import libyosys as ys

    files = verilog.emit([luts()], "")
    assert set(files) == {"luts.v", *(f"LUT{inputs}.v" for inputs in range(1, 7))}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    design = ys.Design()
    ours = " ".join(f"{tmp_path}/{name}" for name in files)
    for command in (
        f"read_verilog -formal {ours}",  # which does not define SYNTHESIS
        "hierarchy -check -top luts",
        "proc",
        "flatten",
        "design -stash ours",
        f"read_verilog {ours} +/xilinx/cells_sim.v",
        "hierarchy -check -top luts",
        "proc",
        "flatten",
        "design -copy-from ours -as ours luts",
        "miter -equiv -flatten -make_outputs ours luts miter",
        "sat -verify -prove trigger 0 miter",
    ):
        ys.run_pass(f"tee -q -a {tmp_path}/yosys.log {command}", design)


def test_what_is_ready_last_goes_to_the_last_input() -> None:
    """Which is a LUT's quickest; the function stays what it was."""
    build = ModuleBuilder("late", luts=True)
    x, y = build.input("x", 2), build.input("y", 4)
    a, b = build.bit(x, 0), build.bit(x, 1)
    both = build.lut([a, b], [0, 0, 0, 1])
    high = build.bit(build.add(y, y), 3)
    for inputs in permutations((a, both, high)):
        at = {net: i for i, net in enumerate(inputs)}
        # high ? a & ~both : both
        words = [[w >> at[net] & 1 for net in (a, both, high)] for w in range(8)]
        made = build.lut(inputs, [int(one and not two) if three else two for one, two, three in words])
        assert isinstance(made, Lut) and isinstance(made.key, Append)
        assert made.key.parts[::-1] == (a, both, high)
        assert made.contents == (0, 0, 1, 1, 0, 1, 0, 0)
