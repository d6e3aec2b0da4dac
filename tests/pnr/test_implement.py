"""Builds through the open tools, and what is told of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from scorer import TEXT

import lutc
from lutc import target as targets
from lutc.cli import main
from lutc.diagnostics import LirError
from lutc.pnr import place, tools


def built(folder: Path, target: str, **options: Any) -> Path:
    design = lutc.loads(TEXT)
    return lutc.compile(design, target=target, **options).write(folder / "build", vectors=60)


@pytest.mark.parametrize("target", ["ecp5-25k", "ice40hx8k"])
@pytest.mark.parametrize("hdl", ["verilog", "vhdl"])
def test_what_was_routed_answers_as_the_design(tmp_path: Path, target: str, hdl: str) -> None:
    folder = built(tmp_path, target, hdl=hdl, clock_ns=12)
    told: list[str] = []
    found = lutc.implement(folder, seeds=2, vectors=60, progress=told.append)
    assert found.vectors == 60 and len(found.timings) == 2
    assert found.counts["luts"] > 20 and found.counts["carries"] > 0 and found.counts["dsps"] == 0
    assert found.counts["ffs"] > 0 and found.latency > 0
    assert 1 < found.reached_ns < 30 and found.reached_ns == max(t.period_ns for t in found.timings)
    path = found.usual.path
    assert sum(s.logic_ns + s.routing_ns for s in path) == pytest.approx(found.reached_ns, rel=0.02)
    assert {s.layer for s in path} <= {"hidden", "score", "(ports)"}
    if hdl == "verilog":
        assert {s.layer for s in path} & {"hidden", "score"}
    assert told[0] == "synthesising" and told[-1] == "simulating what was routed"


def test_controls_and_no_clock(tmp_path: Path) -> None:
    folder = built(tmp_path, "ecp5-25k", clock_ns=12, clock_enable=True, valid=True)
    assert lutc.implement(folder, seeds=1, vectors=20).vectors == 20
    folder = lutc.compile(lutc.loads(TEXT), target="ecp5-25k", stages=0).write(tmp_path / "flat", vectors=20)
    with pytest.raises(LirError, match="has no clock to aim at"):
        lutc.implement(folder)
    found = lutc.implement(folder, seeds=1, clock_ns=20, vectors=20)
    assert found.latency == 0 and found.vectors == 20 and found.counts["ffs"] == 0


def test_the_part_and_a_target_of_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = built(tmp_path, "orangecrab-85f", clock_ns=12)
    asked: list[list[str]] = []

    def stopped(work: Path, circuit: place.Circuit, *rest: Any) -> None:
        asked.append(circuit.flow.device(circuit.device))
        raise KeyboardInterrupt

    monkeypatch.setattr(place, "routed", stopped)
    with pytest.raises(KeyboardInterrupt):
        lutc.implement(folder, seeds=1)
    assert asked == [["--85k", "--package", "CSFBGA285", "--speed", "8"]]
    monkeypatch.undo()
    own = tmp_path / "mine.toml"
    own.write_text(targets.show("ecp5-25k"))
    folder = built(tmp_path / "own", str(own), clock_ns=12)
    with pytest.raises(LirError, match="compiled for 'mine', a file of your own"):
        lutc.implement(folder, seeds=1)
    assert lutc.implement(folder, seeds=1, vectors=0, target=str(own)).counts["luts"] > 20


def test_gowin(tmp_path: Path) -> None:
    """nextpnr alone tells no clock of this circuit."""
    folder = built(tmp_path, "gw2ar-18", clock_ns=12)
    found = lutc.implement(folder, seeds=1)
    assert found.counts["luts"] > 20 and found.counts["carries"] > 0 and 2 < found.reached_ns < 12
    assert {s.layer for s in found.usual.path} & {"hidden", "score"}
    with pytest.raises(LirError, match="no models of gowin's cells"):
        lutc.implement(folder, seeds=1, vectors=1)


def test_the_command(tmp_path: Path) -> None:
    folder = built(tmp_path, "ecp5-25k", clock_ns=12)
    out, kept = tmp_path / "found.json", tmp_path / "kept"
    run = ["implement", str(folder), "--seeds", "1", "--vectors", "5", "-o", str(out), "--keep", str(kept)]
    done = CliRunner().invoke(main, run)
    assert done.exit_code == 0, done.output
    assert "5 vectors on the routed netlist, no bit wrong" in done.output
    facts = json.loads(out.read_text())
    assert facts["met"] and facts["seeds"][0]["period_ns"] == facts["reached_ns"]
    assert (kept / "route-1.log").exists() and (kept / "routed-1.json").exists()
    nowhere = CliRunner().invoke(main, ["implement", str(folder), "-o", str(tmp_path / "no" / "x.json")])
    assert nowhere.exit_code == 2 and "No such folder" in nowhere.output
    again = CliRunner().invoke(main, run)
    assert again.exit_code == 2 and "not empty" in again.output


def test_a_clock_that_is_missed(tmp_path: Path) -> None:
    folder = built(tmp_path, "ecp5-25k", stages=1)
    run = ["implement", str(folder), "--seeds", "1", "--vectors", "0", "--clock-ns", "2"]
    missed = CliRunner().invoke(main, run)
    assert missed.exit_code == 2
    assert "2.00 ns were asked for" in missed.output and "the slowest path leads from" in missed.output
    assert "--missed-ok" in missed.output
    assert CliRunner().invoke(main, [*run, "--missed-ok"]).exit_code == 0


def test_what_cannot_be_implemented(tmp_path: Path) -> None:
    folder = built(tmp_path, "xcvu13p", clock_ns=3)
    with pytest.raises(LirError, match="no open tool places and routes on AMD"):
        lutc.implement(folder)
    with pytest.raises(LirError, match="no build of lutc's"):
        lutc.implement(tmp_path)
    for seeds in (0, 1.5, 1000):
        with pytest.raises(LirError, match="a number of seeds is"):
            lutc.implement(folder, seeds=seeds)  # type: ignore[arg-type]
    source = next((folder / "rtl").iterdir())
    source.write_text(source.read_text() + "\n")
    with pytest.raises(LirError, match="not as lutc wrote it"):
        lutc.implement(folder)


def test_a_wrong_answer_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lutc.pnr import routed

    folder = built(tmp_path, "ecp5-25k", clock_ns=12)
    real = routed._joined
    monkeypatch.setattr(routed, "_joined", lambda ports, words: real(ports, words) ^ ("y" in words))
    with pytest.raises(LirError, match="the routed netlist answers wrong: FAILED: vector 0"):
        lutc.implement(folder, seeds=1, vectors=3)


def test_a_tool_that_fails_or_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = built(tmp_path, "ice40up5k", clock_ns=30)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LirError, match="yosys is not installed"):
        lutc.implement(folder)
    fake = tmp_path / "yosys"
    fake.write_text("#!/bin/sh\necho 'file.v:3: ERROR: no such thing'\nexit 3\n")
    fake.chmod(0o755)
    (tmp_path / "nextpnr-ice40").write_text("#!/bin/sh\necho '(Version nextpnr-0)'\n")
    (tmp_path / "nextpnr-ice40").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(LirError, match="yosys failed with code 3") as failed:
        lutc.implement(folder)
    assert "no such thing" in str(failed.value)


def test_an_interrupted_command_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also by a signal that the command itself does not get."""
    started: list[subprocess.Popen[bytes]] = []

    def interrupted(self: subprocess.Popen[bytes], timeout: float | None = None) -> int:
        started.append(self)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, tools.jobs() as jobs, pytest.raises(KeyboardInterrupt):
        patched.setattr(subprocess.Popen, "wait", interrupted)
        jobs.run(["sleep", "60"], tmp_path, "log")
    assert started[0].wait(5) != 0


def test_no_process_outlives_its_block(tmp_path: Path) -> None:
    with tools.jobs() as jobs:
        process = subprocess.Popen(["sleep", "60"])
        jobs._running.add(process)
    assert process.wait(5) != 0
    with pytest.raises(LirError, match="stopped"):
        jobs.run(["true"], tmp_path, "log")


TABLES = """lir 1 scalar
table @code: u4 -> u2 = [0 0 1 1 1 2 2 2 2 3 3 3 3 3 0 1]
table @wide: u6 -> u2 = [
  0 3 1 2 2 1 3 0 1 1 2 3 0 2 3 1  3 0 2 1 1 2 0 3 2 3 1 0 2 1 0 3
  1 2 3 0 0 3 2 1 3 1 0 2 2 0 1 3  2 2 1 0 3 1 0 2 0 1 3 3 1 0 2 0
]

design coded(%x: u8) -> (y = %y) {
  %high = bit_slice %x, high=7, low=4
  %low  = bit_slice %x, high=3, low=0
  %c    = lut %high, @code
  %k    = bit_concat %c, %low
  %y    = lut %k, @wide
}
"""


@pytest.mark.parametrize("target", ["ecp5-25k", "ice40hx8k"])
def test_luts_by_name_and_tables_in_both_languages(tmp_path: Path, target: str) -> None:
    """The code's LUTs stay as they are, in front of the wide table, whichever language they come from."""
    counts, named = [], []
    for hdl in ("verilog", "vhdl"):
        build = lutc.compile(lutc.loads(TABLES), target=target, hdl=hdl, stages=0)
        folder = build.write(tmp_path / hdl, vectors=60)
        found = lutc.implement(folder, seeds=1, clock_ns=20, vectors=60, keep=tmp_path / f"{hdl}-tools")
        assert found.vectors == 60
        counts.append(found.counts["luts"])
        cell = build.settings.device.primitive
        assert cell
        text = (tmp_path / f"{hdl}-tools" / "dut.v").read_text()
        named.append(text.count(f"\n  {cell.cells[0][1]} #("))
    assert named[0] == named[1] >= 2 and counts[0] == counts[1]
