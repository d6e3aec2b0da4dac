"""Bitstreams: a build's own ports on pins, packed for the device."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import lutc
from lutc.cli import main
from lutc.diagnostics import LirError

SUM = """lir 1
design sum(%x: u2, %y: u2) -> (z = %z) {
  %z = add %x, %y
}
"""
WIDE = """lir 1
design wide(%x: u8[30]) -> (z = %z) {
  %z = sum %x
}
"""
PINS = {
    "ecp5-85k": "".join(
        f'LOCATE COMP "{port}" SITE "{site}";\nIOBUF PORT "{port}" IO_TYPE=LVCMOS33;\n'
        for port, site in (
            *(("clk", "G2"), ("x[0]", "R1"), ("x[1]", "T1"), ("y[0]", "U1"), ("y[1]", "V1")),
            *(("z[0]", "B2"), ("z[1]", "C2"), ("z[2]", "C1")),
        )
    ),
    "ice40hx8k": "set_io clk J3\nset_io x[0] B5\nset_io x[1] B4\nset_io y[0] A2\nset_io y[1] A1\n"
    "set_io z[0] C5\nset_io z[1] C4\nset_io z[2] B3\n",
}
PINS["gw2ar-18"] = "".join(
    f'IO_LOC "{port}" {pin};\nIO_PORT "{port}" IO_TYPE=LVCMOS33;\n'
    for port, pin in zip(
        ("clk", "x[0]", "x[1]", "y[0]", "y[1]", "z[0]", "z[1]", "z[2]"),
        (4, 15, 16, 17, 18, 19, 20, 25),
        strict=True,
    )
)
BEGINS = {
    "ecp5-85k": b"\xff\x00Part: LFE5U-85F",
    "ice40hx8k": b"\xff\x00\x00\xff\x7e\xaa\x99\x7e",
    "gw2ar-18": b"1111",
}
ENDINGS = {"ecp5-85k": ".lpf", "ice40hx8k": ".pcf", "gw2ar-18": ".cst"}


def built(folder: Path, target: str, text: str = SUM, **options: Any) -> Path:
    return lutc.compile(lutc.loads(text), target, **options).write(folder / "build", vectors=20)


@pytest.mark.parametrize("target", list(PINS))
def test_on_pins_that_are_named(tmp_path: Path, target: str) -> None:
    folder, pins, bits = (
        built(tmp_path, target, clock_ns=10),
        tmp_path / f"board{ENDINGS[target]}",
        tmp_path / "bits",
    )
    pins.write_text(PINS[target])
    run = ["implement", str(folder), "--seeds", "1", "--vectors", "0", "--bitstream", str(bits)]
    out = tmp_path / "found.json"
    done = CliRunner().invoke(main, [*run, "--constraints", str(pins), "-o", str(out)])
    assert done.exit_code == 0, done.output
    assert "bits: 8 pins, seed 1" in re.sub(r"\s*\n\s*", "", done.output)
    assert bits.read_bytes().startswith(BEGINS[target])
    facts = json.loads(out.read_text())["bitstream"]
    assert facts["pins"] == 8 and facts["seed"] == 1 and facts["file"] == str(bits)
    assert facts["period_ns"] is None  # no way leads from a register to a register
    # A port that is not among the constraints is a mistake, and an old file stays.
    before = bits.read_bytes()
    pins.write_text(PINS[target].replace("z[2]", "z[7]"))
    again = CliRunner().invoke(main, [*run, "--constraints", str(pins)])
    assert again.exit_code == 2 and ("z[2]" in again.output or "Unconstrained IO:z" in again.output)
    assert bits.read_bytes() == before


def test_pins_that_the_router_chooses(tmp_path: Path) -> None:
    bits = tmp_path / "bits"
    folder = built(tmp_path, "ecp5-25k", clock_ns=4, hdl="vhdl")
    found = lutc.implement(folder, seeds=1, vectors=0, bitstream=bits)
    assert found.bitstream and found.bitstream.pins == 8 and bits.stat().st_size > 1000
    flat = lutc.compile(lutc.loads(SUM), "ecp5-25k", stages=0).write(tmp_path / "flat", vectors=20)
    found = lutc.implement(flat, seeds=1, vectors=0, clock_ns=20, bitstream=bits)
    assert found.bitstream and found.bitstream.pins == 7 and found.bitstream.period_ns is None


def test_a_bitstream_that_misses_its_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lutc.pnr import bitstream

    folder = built(tmp_path, "ice40hx8k", clock_ns=10)
    periods = iter([14.0, 12.0])
    monkeypatch.setattr(bitstream, "_period", lambda report: next(periods))
    run = ["implement", str(folder), "--seeds", "2", "--vectors", "0", "--bitstream", str(tmp_path / "bits")]
    done = CliRunner().invoke(main, run)
    assert done.exit_code == 2
    assert "the bitstream, with ports on pins, reaches 12.00 ns" in " ".join(done.output.split())
    assert (tmp_path / "bits").exists()  # of the better seed, for whoever wants to look


def test_more_ports_than_pins(tmp_path: Path) -> None:
    folder = built(tmp_path, "ice40hx8k", WIDE, clock_ns=30)
    with pytest.raises(LirError, match=r"does not fit ice40hx8k-ct256 with its \d+ port bits on pins"):
        lutc.implement(folder, seeds=1, vectors=0, bitstream=tmp_path / "bits")
    assert not (tmp_path / "bits").exists()


def test_what_is_said_before_any_work(tmp_path: Path) -> None:
    folder, bits = built(tmp_path, "ice40hx8k", clock_ns=10), tmp_path / "bits"
    (tmp_path / "pins.lpf").write_text("")
    with pytest.raises(LirError, match="constraints of pins are for a bitstream"):
        lutc.implement(folder, constraints=tmp_path / "pins.lpf")
    with pytest.raises(LirError, match=r"pins of ice40 devices are named in a \.pcf file"):
        lutc.implement(folder, bitstream=bits, constraints=tmp_path / "pins.lpf")
    with pytest.raises(LirError, match=r"none\.pcf: error: cannot read the file"):
        lutc.implement(folder, bitstream=bits, constraints=tmp_path / "none.pcf")
    with pytest.raises(FileNotFoundError, match="No such folder"):
        lutc.implement(folder, bitstream=tmp_path / "no" / "bits")
    gowin = lutc.compile(lutc.loads(SUM), "gw2ar-18", clock_ns=10).write(tmp_path / "gowin", vectors=20)
    with pytest.raises(LirError, match="the router chooses no pins for Gowin"):
        lutc.implement(gowin, bitstream=bits)
