"""`lutc.implement`: a build folder synthesised, placed and routed on its device by open tools."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lutc import settings
from lutc import target as targets
from lutc.built import whole
from lutc.diagnostics import error
from lutc.pnr import tools
from lutc.pnr.flows import PINS, Flow, counted, flow_of, pins
from lutc.pnr.harness import PADS, TOP, Ports, harness, stub
from lutc.pnr.routed import checked, models_of
from lutc.pnr.timing import SOURCE, Layers, Timing, timing
from lutc.primitives import PRIMITIVES
from lutc.target import Target

SEEDS = 100  # at most
USUAL = 20  # vectors that are simulated on the routed netlist
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Implementation:
    """What place and route made of a build.

    `counts` are those of the circuit alone, after synthesis: `luts` (LUT4 equivalents, carry chains counted),
    `carries` (bits of them), `ffs`, `dsps`, `brams`. `timings` has one entry a seed. `asked_ns` is the period that was
    asked for. `vectors` says how many vectors were compared on the routed netlist.
    """

    target: str
    asked_ns: float
    latency: int
    counts: Mapping[str, int]
    estimate: Mapping[str, Any]
    timings: Sequence[Timing]
    versions: Mapping[str, str]
    vectors: int = 0

    @property
    def reached_ns(self) -> float:
        """The median of the seeds' periods; of an even number the longer one in the middle."""
        return self.usual.period_ns

    @property
    def met(self) -> bool:
        """Whether the clock that was asked for is reached."""
        return self.reached_ns <= self.asked_ns

    @property
    def usual(self) -> Timing:
        """What `reached_ns` is of."""
        return sorted(self.timings, key=lambda t: t.period_ns)[len(self.timings) // 2]

    def facts(self) -> dict[str, Any]:
        """All of it for a JSON file."""
        return {
            "target": self.target,
            "asked_ns": self.asked_ns,
            "reached_ns": round(self.reached_ns, 3),
            "met": self.met,
            "latency_cycles": self.latency,
            "latency_ns": round(self.latency * max(self.reached_ns, self.asked_ns), 3),
            "counts": dict(self.counts),
            "estimate": dict(self.estimate),
            "seeds": [{"seed": t.seed, "period_ns": round(t.period_ns, 3)} for t in self.timings],
            "critical_path": {
                "starts": self.usual.starts,
                "ends": self.usual.ends,
                "layers": [s.facts() for s in self.usual.path],
            },
            "versions": dict(self.versions),
            "vectors_compared": self.vectors,
        }

    def missed(self) -> str:
        """Why the clock is missed: the slowest path, in words."""
        path = self.usual
        where = ", then ".join(
            f"{s.cells} cells of {s.layer} ({s.logic_ns + s.routing_ns:.2f} ns)" for s in path.path if s.cells
        )
        return (
            f"{self.asked_ns:.2f} ns were asked for and {self.reached_ns:.2f} ns are reached; the slowest path leads "
            f"from {path.starts} to {path.ends} through {where}, {100 * path.routing:.0f} % "
            "of it wires"
        )


def implement(
    folder: str | Path,
    *,
    seeds: int = 3,
    target: str | None = None,
    clock_ns: float | None = None,
    vectors: int | None = None,
    keep: str | Path | None = None,
    progress: Progress | None = None,
) -> Implementation:
    """Synthesise, place and route a build folder, between registers, and report what it takes and its clock.

    Parameters
    ----------
    folder
        A build of `lutc.compile`, for a target of a family with open tools: ecp5, ice40, gowin.
    seeds
        How many times it is placed and routed: a router's result varies by some 5 %, so the median counts.
    target
        The target's file or name; needed where the build was compiled for a file of the user's own.
    clock_ns
        The period that the tools aim at; the build's own if it is not given.
    vectors
        So many of the build's test vectors are simulated on the netlist after routing, and compared; 20 if nothing is
        said and it is known what the family's cells do.
    keep
        A folder for the tools' files and logs; it may not be there yet.
    progress
        Is told what is being done.

    Examples
    --------
    >>> import lutc
    >>> design = lutc.loads("lir 1\\ndesign sum(%x: u4, %y: u4) -> (z = %z) {\\n %z = add %x, %y\\n}\\n")
    >>> folder = lutc.compile(design, "ecp5-25k", clock_ns=10.0).write("build", vectors=20)
    >>> found = lutc.implement(folder, seeds=1)
    >>> found.met, found.counts["luts"], found.vectors
    (True, 6, 20)

    Raises LirError where the build is not as lutc wrote it, its family has no open tools, a tool is missing or fails
    (such as for a circuit that does not fit), or a vector is wrong after routing.
    """
    tell = progress or (lambda text: None)
    count = settings.count(seeds, "a number of seeds", SEEDS, 1)
    wanted = settings.count(USUAL if vectors is None else vectors, "a number of vectors", settings.VECTORS)
    build = whole(folder)
    report = json.loads((build / "report.json").read_text())
    device = _target(report) if target is None else targets.load(target)
    flow = flow_of(device)
    flow.device(device)  # or why not, before any work
    if wanted and models_of(device.family) is None:
        if vectors is not None:
            help = "ask for no vectors: --vectors 0"
            raise error(f"there are no models of {device.family}'s cells to simulate", help=help)
        wanted = 0
    if clock_ns is None and report["clock_ns"] is None:
        raise error("the build has no clock to aim at", where=str(build), help="name a period: --clock-ns")
    asked = settings.period(report["clock_ns"] if clock_ns is None else clock_ns)
    bench = json.loads((build / "sim" / "bench.json").read_text())
    ports = Ports.of(bench)
    versions = {t: tools.version(t) for t in ("yosys", flow.router)}
    rtl = [source for source in bench["sources"] if source.startswith("rtl/")]  # models are for simulators
    texts = {source: (build / source).read_text() for source in rtl}
    place = _kept(keep) if keep is not None else None
    with tempfile.TemporaryDirectory(prefix="lutc-") as temporary, tools.jobs() as jobs:
        work = place or Path(temporary)
        tell("synthesising")
        _sources(work, texts, bench, jobs)
        (work / "stub.v").write_text(stub(ports))
        (work / "harness.v").write_text(harness(ports))
        (work / PINS).write_text(pins(device, PADS))
        cells = _synthesised(work, flow, ports.top, report["dsp"] != "none", jobs)
        layers = Layers.of("\n".join(texts.values()), as_it_is=bench["hdl"] == "verilog")
        done = 0

        def routed(seed: int) -> Timing:
            nonlocal done
            found = timing(_routed(work, flow, device, asked, seed, jobs), layers, seed)
            done += 1
            tell(f"placed and routed {done} of {count}")
            return found

        tell(f"placing and routing {count} times")
        with ThreadPoolExecutor(min(count, os.cpu_count() or 1)) as pool:
            try:
                timings = list(pool.map(routed, range(1, count + 1)))
            except BaseException:
                jobs.stop()
                raise
        compared = 0
        if wanted:
            tell("simulating what was routed")
            compared = checked(work, build, device.family, ports, bench, wanted, jobs)
    estimate = {k: report["estimate"][k] for k in ("luts", "ffs", "dsps", "stage_ns")}
    return Implementation(
        report["target"], asked, report["latency_cycles"], counted(flow, cells), estimate, timings, versions, compared
    )  # fmt: skip


def _target(report: Mapping[str, Any]) -> Target:
    """The target of a build, with the part that it was compiled for. Raises LirError if it was the user's own file."""
    if report["target"] not in targets.names():
        raise error(
            f"the build was compiled for {report['target']!r}, a file of your own",
            help="name it again: --target",
        )
    return replace(targets.load(report["target"]), part=report["part"])


def _kept(place: str | Path) -> Path:
    path = Path(place)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise error(
            "the folder for the tools' files is not empty",
            where=str(path),
            help="give one that is not there yet",
        )
    path.mkdir(parents=True, exist_ok=True)
    return path


def _sources(work: Path, texts: Mapping[str, str], bench: Mapping[str, Any], jobs: tools.Jobs) -> None:
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


def _synthesised(work: Path, flow: Flow, top: str, dsp: bool, jobs: tools.Jobs) -> dict[str, int]:
    """Make harness.json, with the circuit in it as it was synthesised alone. Returns the circuit's cells by type.

    Of a function such as `a & b` in front of a register synthesis makes a reset, which comes later than data do: such
    resets are made logic again.
    """
    options = flow.synth if dsp else f"{flow.synth} {flow.no_dsp}"
    script = f"""read_verilog -sv {SOURCE}
{options} {flow.inside} -top {top} -run begin:map_ffs
dffunmap -srst-only
{options} {flow.inside} -top {top} -run map_ffs:check
autoname
tee -q -o cells.json stat -json
design -stash circuit
read_verilog -sv stub.v harness.v
{options} -top {TOP}
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


def _routed(
    work: Path, flow: Flow, target: Target, asked: float, seed: int, jobs: tools.Jobs
) -> dict[str, Any]:
    """Place and route with a seed. Returns nextpnr's report."""
    command = [
        *tools.find(flow.router),
        *flow.device(target),
        *("--json", "harness.json", "--freq", f"{1000 / asked:.3f}", "--seed", str(seed)),
        *("--timing-allow-fail", "--report", f"report-{seed}.json", "--write", f"routed-{seed}.json"),
        *flow.options,
    ]
    jobs.run(command, work, f"route-{seed}.log")
    return dict(json.loads((work / f"report-{seed}.json").read_text()))
