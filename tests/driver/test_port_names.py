"""Ports called like those that lutc adds, like words of the languages, or at a length no file name has."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import lutc
from lutc.ir.graph import Design

LONG = "n" * 5000


def design(*ports: str, name: str = "d", hidden: str = "h") -> Design:
    """The first ports read, the last one written."""
    b = lutc.Builder(name)
    values = [b.input(port, "s4") for port in ports[:-1]]
    total = values[0]
    for value in values[1:]:
        total = b.add(total, value)
    inner = lutc.Builder(hidden)
    negated = inner.neg(inner.input(hidden, total.type), name=hidden, origin=hidden)
    b.output(ports[-1], b.call(inner.function(negated), total, name=hidden, origin=hidden))
    return b.design()


def checked(made: Design, folder: Path, hdl: str, valid: bool = True) -> None:
    """Compiled with every port that lutc can add, simulated, and the report maps each port to one of the text's."""
    build = lutc.compile(made, stages=1, hdl=hdl, valid=valid, clock_enable=True)
    build.write(folder, vectors=30)
    assert lutc.simulate(folder).passed
    report = json.loads((folder / "report.json").read_text())
    text = "".join(p.read_text() for p in (folder / "rtl").iterdir())
    ports = [*report["inputs"], *report["outputs"]]
    names = [p["port"].lower() for p in ports]
    assert (
        len({*names, "clk", "ce", *(("valid_in", "valid_out") if valid else ())})
        == len(names) + 2 + 2 * valid
    )
    assert all(f" {p['port']}" in text for p in ports)
    assert all(len(p.name) <= 200 for p in folder.rglob("*"))


@pytest.mark.parametrize("hdl", ["verilog", "vhdl"])
@pytest.mark.parametrize(
    "ports",
    [
        ("valid_in", "y"),
        ("x", "valid_out"),
        ("valid_out", "valid_in"),
        ("Valid_In", "VALID_IN", "valid__out"),
        ("_valid_in_", "valid_in_data", "valid_in"),
        ("clk", "ce", "rst", "d"),
        ("module", "signal", "always_ff", "out"),
        ("x", "X", "_x", "x_", "x__", "__"),
    ],
)
def test_ports_named_like_ours(tmp_path: Path, hdl: str, ports: tuple[str, ...]) -> None:
    checked(design(*ports), tmp_path / "b", hdl)


@pytest.mark.parametrize("hdl", ["verilog", "vhdl"])
def test_names_of_5000_letters(tmp_path: Path, hdl: str) -> None:
    checked(
        design(LONG + "a", LONG + "b", LONG, name=LONG, hidden=LONG + "c"), tmp_path / "b", hdl, valid=False
    )


@pytest.mark.parametrize("hdl", ["verilog", "vhdl"])
@pytest.mark.parametrize("name", ["clk", "CE", "rst", "valid_in", "Valid_Out", "LUT6", "x"])
def test_a_top_named_like_a_port(tmp_path: Path, hdl: str, name: str) -> None:
    """It gets another name, which the report says; so does a module inside."""
    made = design("x", "y", name=name, hidden="clk")
    checked(made, tmp_path / "b", hdl)
    top = json.loads((tmp_path / "b" / "report.json").read_text())["top"]
    assert (top == name) == (name == "x")
    assert (tmp_path / "b" / "rtl" / f"{top}{'.v' if hdl == 'verilog' else '.vhd'}").exists()
