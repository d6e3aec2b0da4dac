"""LUTs by name: what a netlist asks for is what a vendor's library gives."""

from __future__ import annotations

from pathlib import Path

from lut_circuits import luts

from conftest import need_module
from lutc.backends import verilog


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
