"""Devices' names, cells' counts, layers of a path: what is told to the tools, and read from them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lutc import target as targets
from lutc.diagnostics import LirError
from lutc.pnr.flows import FLOWS, counted, flow_of, pins
from lutc.pnr.harness import PADS
from lutc.pnr.netlist import verilog
from lutc.pnr.timing import Layers, timing


@pytest.mark.parametrize(
    "name, part, options",
    [
        ("ecp5-85k", "LFE5U-85F-6BG381C", "--85k --package CABGA381 --speed 6"),
        ("ecp5-85k", "LFE5UM5G-45F-8BG554I", "--um5g-45k --package CABGA554 --speed 8"),
        ("ice40up5k", "ice40up5k-sg48", "--up5k --package sg48"),
        ("ice40hx8k", "ice40hx8k-ct256", "--hx8k --package ct256"),
        ("gw2ar-18", "GW2AR-LV18QN88C8/I7", "--device GW2AR-LV18QN88C8/I7 --vopt family=GW2A-18C --vopt cst=pins.cst"),
    ],
)  # fmt: skip
def test_parts_as_the_router_calls_them(name: str, part: str, options: str) -> None:
    target = replace(targets.load(name), part=part)
    assert flow_of(target).device(target) == options.split()


@pytest.mark.parametrize("name", ["ecp5-85k", "ice40up5k", "gw2ar-18"])
def test_a_part_that_no_router_knows(name: str) -> None:
    target = replace(targets.load(name), part="XYZ-1")
    with pytest.raises(LirError, match="'XYZ-1' of the target"):
        flow_of(target).device(target)


def test_every_target_has_a_flow_or_is_amds() -> None:
    for target, _ in targets.listed()[0]:
        if target.family in FLOWS:
            assert flow_of(target).device(target)
        else:
            assert target.named_luts


def test_pins() -> None:
    assert pins(targets.load("ecp5-85k"), PADS) == ""
    assert pins(targets.load("gw2ar-18"), PADS).splitlines()[0] == 'IO_LOC "lutc_clk" 4;'


def test_cells() -> None:
    cells = {"LUT4": 10, "CCU2C": 4, "TRELLIS_FF": 3, "PFUMX": 2}
    assert counted(FLOWS["ecp5"], cells) == {"luts": 18, "carries": 8, "ffs": 3, "dsps": 0, "brams": 0}
    assert counted(FLOWS["ice40"], {"SB_LUT4": 7, "SB_DFF": 1, "SB_DFFE": 2})["ffs"] == 3


HDL = """module top (
  input  wire       clk,
  input  wire [3:0] x
);

  // first
  wire [4:0] t1 = x + 1;
  reg  [4:0] t1_d1;

  // second
  wire [5:0] t2 = t1_d1 + 3;
"""


def test_layers_by_lines_and_names() -> None:
    layers = Layers.of(HDL)
    assert layers.by_name == {"t1": "first", "t1_d1": "first", "t2": "second"}
    hop = {"from": {"cell": "lutc_dut.t1_d1_DFF_Q_LC"}, "sources": ["lib.v:3.1-3.2", "/a/dut.v:11.3-11.9"]}
    assert layers.of_net(hop) == "second"
    assert layers.of_net({"from": {"cell": "$flatten\\lutc_dut.t1_d1_DFF_Q[3]"}}) == "first"
    assert layers.of_net({"from": {"cell": "from_DFF"}}) is None
    # What is synthesised of VHDL is another text, whose lines say nothing.
    assert Layers.of(HDL, as_it_is=False).of_net(hop) == "first"


def test_a_path_by_layers() -> None:
    def hop(kind: str, delay: float, a: str, b: str) -> dict[str, object]:
        return {"type": kind, "delay": delay, "from": {"cell": a}, "to": {"cell": b}}

    path = [
        hop("clk-to-q", 0.5, "from_FF", "from_FF"),
        hop("routing", 1.0, "from_FF", "lutc_dut.t1_LUT4"),
        hop("logic", 0.25, "lutc_dut.t1_LUT4", "lutc_dut.t1_LUT4"),
        hop("routing", 1.5, "lutc_dut.t1_LUT4", "lutc_dut.t2_CARRY"),
        hop("logic", 0.5, "lutc_dut.t2_CARRY", "lutc_dut.t2_CARRY"),
        hop("routing", 0.0, "lutc_dut.t2_CARRY", "lutc_dut.t2_CARRY_1"),
        hop("logic", 0.25, "lutc_dut.t2_CARRY_1", "lutc_dut.t2_CARRY_1"),
        hop("routing", 0.5, "lutc_dut.t2_CARRY_1", "lutc_dut.t2_DFF"),
    ]
    clock = "posedge lutc_clk"
    report = {
        "fmax": {"lutc_clk$glb": {"achieved": 1000 / 4.5}, "shift$glb": {"achieved": 500.0}},
        "critical_paths": [
            {"from": clock, "to": "posedge shift", "path": []},
            {"from": clock, "to": clock, "path": path},
        ],
    }
    found = timing(report, Layers.of(HDL), 7)
    assert found.period_ns == pytest.approx(4.5) and found.seed == 7
    assert (found.starts, found.ends) == ("a port", "t2")
    steps = [(s.layer, s.cells, s.logic_ns, s.routing_ns) for s in found.path]
    assert steps == [("first", 2, 0.75, 2.5), ("second", 1, 0.75, 0.5)]
    assert found.routing == pytest.approx(3 / 4.5)


def test_nothing_between_registers() -> None:
    with pytest.raises(LirError, match="reports no clock"):
        timing({"fmax": {}, "critical_paths": []}, Layers.of(HDL), 1)


def test_a_netlist_as_verilog() -> None:
    cell = {
        "type": "TRELLIS_FF",
        "parameters": {"SD": "1 ", "INIT": "0101", "REGSET": "RESET"},
        "port_directions": {"CLK": "input", "DI": "input", "LSR": "input", "M": "input", "Q": "output"},
        "connections": {"CLK": [2], "DI": ["0"], "LSR": [], "M": [], "Q": [3]},
    }
    ports = {"clk": {"direction": "input", "bits": [2]}, "q": {"direction": "output", "bits": [3]}}
    text = verilog({"modules": {"top": {"cells": {"a": cell}, "ports": ports}}}, "whole", "ecp5")
    assert text.splitlines()[0] == "module whole (clk, q);"
    parameters = '.SD("1"), .INIT(4\'b0101), .REGSET("RESET")'
    pins = ".CLK(clk), .DI(1'b0), .LSR(1'b0), .M(1'b1), .Q(q)"
    assert f"  TRELLIS_FF #({parameters}) c0 ({pins});" in text.splitlines()
