"""Periods and paths from a router's SDF file, with the delays that it leaves out."""

from __future__ import annotations

import pytest

from lutc.diagnostics import LirError
from lutc.pnr.sdf import analysed

WIRES = r"""
    (INTERCONNECT clk_IBUF/O lutc_dut.a\$DFF/CLK (300:300:300) (300:300:300))
    (INTERCONNECT clk_IBUF/O b_DFF/CLK (200:250:250) (200:250:250))
    (INTERCONNECT shift_IBUF/O c_DFF/CLK (200:200:200) (200:200:200))
    (INTERCONNECT lutc_dut.a\$DFF/Q sum_LUT2/I0 (500:600:700) (500:600:700))
    (INTERCONNECT c_DFF/Q sum_LUT2/I1 (5000:5000:5000) (5000:5000:5000))
    (INTERCONNECT sum_LUT2/F b_DFF/D (100:100:100) (100:100:100))
    (INTERCONNECT sum_LUT2/F c_DFF/D (9000:9000:9000) (9000:9000:9000))
"""


def cell(kind: str, name: str, *said: str) -> str:
    return f'  (CELL\n    (CELLTYPE "{kind}")\n    (INSTANCE {name})\n' + "\n".join(said) + "\n    )\n"


def register(name: str) -> str:
    return cell(
        "DFF",
        name,
        "(DELAY (ABSOLUTE (IOPATH CLK Q (201:216:462) (201:216:462))))",
        "(TIMINGCHECK (SETUPHOLD (posedge D) (posedge CLK) (35:35:40) (10:10:10)))",
    )


def file(wires: str = WIRES, *more: str) -> str:
    cells = [cell("LUT2", "sum_LUT2"), cell("IBUF", "clk_IBUF"), cell("IBUF", "shift_IBUF"), *more]
    cells += [register(name) for name in (r"lutc_dut.a\$DFF", "b_DFF", "c_DFF")]
    return f"(DELAYFILE\n  (TIMESCALE 1ps)\n{cell('top', '', wires)}{''.join(cells)})\n"


def test_a_path_through_a_cell_without_delays() -> None:
    found = analysed(file(), "clk")
    # Twice the register of the part whose delays are known, so twice its LUT's 0.549; the clock comes 0.05 later.
    steps = {"clk-skew": 0.05, "clk-to-q": 0.462, "routing": 0.8, "logic": 2 * 0.549, "setup": 0.04}
    (path,) = (p["path"] for p in found["critical_paths"])
    for kind, delay in steps.items():
        assert sum(hop["delay"] for hop in path if hop["type"] == kind) == pytest.approx(delay), kind
    assert 1000 / found["fmax"]["clk"]["achieved"] == pytest.approx(sum(steps.values()))
    assert [hop["type"] for hop in path] == ["clk-skew", "clk-to-q", "routing", "logic", "routing", "setup"]
    assert path[1]["from"] == {"cell": "lutc_dut.a$DFF", "port": "Q"}
    assert path[-1]["to"] == {"cell": "b_DFF", "port": "D"}


def test_delays_that_are_said_stay() -> None:
    said = cell("LUT2", "sum_LUT2", "(DELAY (ABSOLUTE (IOPATH I0 F (1:2:3) (1:2:4))))")
    (path,) = (p["path"] for p in analysed(file(WIRES, said), "clk")["critical_paths"])
    assert [hop["delay"] for hop in path if hop["type"] == "logic"] == [pytest.approx(0.003)]


def test_no_path_and_a_loop() -> None:
    none = WIRES.replace("(INTERCONNECT sum_LUT2/F b_DFF/D (100:100:100) (100:100:100))", "")
    assert analysed(file(none), "clk") == {"fmax": {}, "critical_paths": []}
    loop = WIRES + "(INTERCONNECT sum_LUT2/F sum_LUT2/I3 (1:1:1) (1:1:1))\n"
    with pytest.raises(LirError, match="combinational loop"):
        analysed(file(loop), "clk")
