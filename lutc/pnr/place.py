"""Any circuit in Verilog, between registers, through synthesis, place and route; `dut.v` in a folder is the circuit."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lutc.pnr import tools
from lutc.pnr.flows import PINS, Flow, pins
from lutc.pnr.harness import CLOCK, PADS, TOP, Ports, harness, stub
from lutc.pnr.sdf import analysed
from lutc.pnr.timing import SOURCE, Layers, Timing, timing
from lutc.primitives import PRIMITIVES
from lutc.target import Target

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Circuit:
    """What is to be placed: its ports, the device and its flow, and whether products may go to DSP blocks."""

    ports: Ports
    device: Target
    flow: Flow
    dsp: bool

    @property
    def synth(self) -> str:
        """Synthesis' command, with its options."""
        return self.flow.synth if self.dsp else f"{self.flow.synth} {self.flow.no_dsp}"


def synthesised(work: Path, circuit: Circuit, jobs: tools.Jobs) -> dict[str, int]:
    """Make harness.json, with the circuit in it as it was synthesised alone. Returns the circuit's cells by type.

    Of a function such as `a & b` in front of a register synthesis makes a reset, which comes later than data do: such
    resets are made logic again.
    """
    (work / "stub.v").write_text(stub(circuit.ports))
    (work / "harness.v").write_text(harness(circuit.ports))
    (work / PINS).write_text(pins(circuit.device, PADS))
    top, inside = circuit.ports.top, circuit.flow.inside
    script = f"""read_verilog -sv {SOURCE}
{circuit.synth} {inside} -top {top} -run begin:map_ffs
dffunmap -srst-only
{circuit.synth} {inside} -top {top} -run map_ffs:check
autoname
tee -q -o cells.json stat -json
design -stash circuit
read_verilog -sv stub.v harness.v
{circuit.synth} -top {TOP}
delete {top}
design -copy-from circuit {top}
setattr -mod -unset top {top}
flatten
clean
delete {top}
write_json harness.json
"""
    (work / "synth.ys").write_text(script)
    jobs.run([*tools.find("yosys"), "-s", "synth.ys"], work, "synth.log")
    stat = json.loads((work / "cells.json").read_text())
    return dict(stat["design"]["num_cells_by_type"])


def rtl(build: Path, bench: Mapping[str, Any]) -> dict[str, str]:
    """A build's circuit by its files, without models of cells, which are for simulators."""
    return {name: (build / name).read_text() for name in bench["sources"] if name.startswith("rtl/")}


def sources(work: Path, texts: Mapping[str, str], bench: Mapping[str, Any], jobs: tools.Jobs) -> None:
    """The circuit as one file of Verilog. VHDL goes through GHDL's synthesis, which writes Verilog."""
    if bench["hdl"] == "verilog":
        (work / SOURCE).write_text("\n".join(texts.values()))
        return
    names = []
    for source, text in texts.items():
        (work / Path(source).name).write_text(text)
        names.append(Path(source).name)
    options = ["--std=08", "-Wno-binding", "--out=verilog"]
    command = [*tools.find("ghdl"), "--synth", *options, *names, "-e", bench["top"]]
    said = jobs.run(command, work, SOURCE, errors="ghdl.log")  # which has notes of ROMs, among others
    (work / SOURCE).write_text(kept(said))


def kept(text: str) -> str:
    """GHDL's Verilog with nothing but instances of the LUTs that are asked for by name.

    It writes an empty module for each, which would take the place of the device's own.
    """
    cells = "|".join(cell for p in PRIMITIVES.values() for _, cell in p.cells)
    return re.sub(rf"^module (?:{cells})\n.*?^endmodule\n", "", text, flags=re.M | re.S)


def with_pads(work: Path, circuit: Circuit, jobs: tools.Jobs) -> None:
    """Make circuit.json: the circuit synthesised as `synthesised` does it, for its own pads."""
    top = circuit.ports.top
    script = f"""read_verilog -sv {SOURCE}
{circuit.synth} -top {top} -run begin:map_ffs
dffunmap -srst-only
{circuit.synth} -top {top} -run map_ffs:check
autoname
blackbox =A:whitebox
write_json circuit.json
"""
    (work / "synth.ys").write_text(script)
    jobs.run([*tools.find("yosys"), "-s", "synth.ys"], work, "synth.log")


def placed(
    work: Path, circuit: Circuit, asked: float, seeds: int, layers: Layers, jobs: tools.Jobs, tell: Progress
) -> list[Timing]:
    """Place and route harness.json with seeds from 1 on, aiming at a period of `asked` ns."""
    done = 0

    def one(seed: int) -> Timing:
        nonlocal done
        found = timing(routed(work, circuit, asked, seed, jobs), layers, seed)
        done += 1
        tell(f"placed and routed {done} of {seeds}")
        return found

    tell(f"placing and routing {seeds} times")
    with ThreadPoolExecutor(min(seeds, os.cpu_count() or 1)) as pool:
        try:
            return list(pool.map(one, range(1, seeds + 1)))
        except BaseException:
            jobs.stop()
            raise


def routed(work: Path, circuit: Circuit, asked: float, seed: int, jobs: tools.Jobs) -> dict[str, Any]:
    """Place and route with a seed. Returns nextpnr's report."""
    flow, name = circuit.flow, f"report-{seed}"
    command = [
        *tools.find(flow.router),
        *flow.device(circuit.device),
        *("--json", "harness.json", "--freq", f"{1000 / asked:.3f}", "--seed", str(seed)),
        *("--timing-allow-fail", "--write", f"routed-{seed}.json"),
        *reporting(flow, name),
        *flow.options,
    ]
    jobs.run(command, work, f"route-{seed}.log")
    return report_of(flow, work / name, CLOCK)


def reporting(flow: Flow, name: str) -> list[str]:
    """The options by which a router says how long paths take."""
    return ["--report", f"{name}.json", *(["--sdf", f"{name}.sdf"] if flow.lacks_delays else [])]


def report_of(flow: Flow, path: Path, clock: str) -> dict[str, Any]:
    """What it said, as nextpnr's reports are; `clock` is a part of the name of the one that is wanted."""
    if flow.lacks_delays:
        return analysed(path.with_suffix(".sdf").read_text(), clock)
    return dict(json.loads(path.with_suffix(".json").read_text()))
