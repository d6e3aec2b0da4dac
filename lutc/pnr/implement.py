"""`lutc.implement`: a build folder synthesised, placed and routed on its device by open tools."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from lutc import settings
from lutc import target as targets
from lutc.built import whole
from lutc.diagnostics import error
from lutc.files.writing import may_be_written
from lutc.pnr import tools
from lutc.pnr.bitstream import Bitstream, possible
from lutc.pnr.bitstream import bitstream as written_to
from lutc.pnr.flows import counted, flow_of
from lutc.pnr.harness import Ports
from lutc.pnr.place import Circuit, Progress, placed, rtl, sources, synthesised
from lutc.pnr.routed import checked, models_of
from lutc.pnr.timing import Layers, Timing
from lutc.target import Target

SEEDS = 100  # at most
TRIES = 20
USUAL = 20  # vectors that are simulated on the routed netlist


@dataclass(frozen=True)
class Try:
    """One circuit that was placed and routed to meet a clock: the delays it was cut by, and what came of it."""

    delay_factor: float
    stages: int
    reached_ns: float
    met: bool

    def facts(self) -> dict[str, Any]:
        return {k: round(v, 3) if isinstance(v, float) else v for k, v in asdict(self).items()}


@dataclass(frozen=True)
class Implementation:
    """What place and route made of a build.

    `counts` are those of the circuit alone, after synthesis: `luts` (LUT4 equivalents, carry chains counted),
    `carries` (bits of them), `ffs`, `dsps`, `brams`. `timings` has one entry a seed. `asked_ns` is the period that was
    asked for. `vectors` says how many vectors were compared on the routed netlist. Where the clock was to be closed,
    `tries` has the circuits in turn, the first as it was, and `why` says what hindered those that followed.
    `bitstream` is what was written, if one was asked for.
    """

    target: str
    asked_ns: float
    latency: int
    counts: Mapping[str, int]
    estimate: Mapping[str, Any]
    timings: Sequence[Timing]
    versions: Mapping[str, str]
    vectors: int = 0
    tries: Sequence[Try] = ()
    why: str = ""
    bitstream: Bitstream | None = None

    @property
    def reached_ns(self) -> float:
        """The median of the seeds' periods; of an even number the longer one in the middle."""
        return self.usual.period_ns

    @property
    def met(self) -> bool:
        """Whether the clock that was asked for is reached, in the bitstream too if there is one."""
        pinned = self.bitstream.period_ns if self.bitstream else None
        return max(self.reached_ns, pinned or 0.0) <= self.asked_ns

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
            "tries": [t.facts() for t in self.tries],
            "bitstream": self.bitstream and self.bitstream.facts(),
        }

    def missed(self) -> str:
        """Why the clock is missed: the slowest path, in words."""
        if self.reached_ns <= self.asked_ns and self.bitstream:
            return (
                f"{self.asked_ns:.2f} ns were asked for and are reached where registers stand around the circuit; the "
                f"bitstream, with ports on pins, reaches {self.bitstream.period_ns:.2f} ns"
            )
        path = self.usual
        where = ", then ".join(
            f"{s.cells} cells of {s.layer} ({s.logic_ns + s.routing_ns:.2f} ns)" for s in path.path if s.cells
        )
        again = ""
        if len(self.tries) > 1:
            last = self.tries[-1].delay_factor
            again = (
                f"; compiled again {len(self.tries) - 1} times, by delays up to {last:.2f} times the target's"
            )
        return (
            f"{self.asked_ns:.2f} ns were asked for and {self.reached_ns:.2f} ns are reached; the slowest path leads "
            f"from {path.starts} to {path.ends} through {where}, {100 * path.routing:.0f} % "
            f"of it wires{again}" + (f"; {self.why}" if self.why else "")
        )


@dataclass(frozen=True)
class Asked:
    """What is asked of an implementation, checked before any work; see `implement`."""

    seeds: int = 3
    target: str | None = None
    clock_ns: float | None = None
    vectors: int | None = None
    progress: Progress = field(default=lambda text: None)

    def __post_init__(self) -> None:
        settings.count(self.seeds, "a number of seeds", SEEDS, 1)
        if self.vectors is not None:
            settings.count(self.vectors, "a number of vectors", settings.VECTORS)
        if self.clock_ns is not None:
            settings.period(self.clock_ns)

    def device(self, report: Mapping[str, Any]) -> Target:
        """The target of a build; one that open tools know."""
        found = _target(report) if self.target is None else targets.load(self.target)
        flow_of(found).device(found)  # or why not
        return found

    def period(self, report: Mapping[str, Any], build: Path) -> float:
        """The clock to aim at."""
        if self.clock_ns is None and report["clock_ns"] is None:
            raise error(
                "the build has no clock to aim at", where=str(build), help="name a period: --clock-ns"
            )
        return settings.period(report["clock_ns"] if self.clock_ns is None else self.clock_ns)

    def compared(self, device: Target) -> int:
        """How many vectors are simulated on the routed netlist."""
        if models_of(device.family) is not None:
            return USUAL if self.vectors is None else self.vectors
        if self.vectors:
            help = "ask for no vectors: --vectors 0"
            raise error(f"there are no models of {device.family}'s cells to simulate", help=help)
        return 0


def implement(
    folder: str | Path,
    *,
    seeds: int = 3,
    target: str | None = None,
    clock_ns: float | None = None,
    vectors: int | None = None,
    close: bool = False,
    tries: int = 3,
    bitstream: str | Path | None = None,
    constraints: str | Path | None = None,
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
    close
        If the clock is missed, compile the build again by the delays that were measured, with the same settings and
        test vectors, and implement that; up to `tries` times. The folder then holds the build that meets the clock,
        or else comes closest; `delay_factor` and `closure` in its report say how.
    tries
        How many times it is compiled again at most.
    bitstream
        A file for the device's bitstream: the build alone, with its ports on pins of the package. It is written whether
        or not its clock is met, which `met` says.
    constraints
        Which pins they are: a file for the family's router (`.lpf` for ecp5, `.pcf` for ice40, `.cst` for gowin) with
        all of them; `x[0]` is the lowest bit of a port. Without one the router chooses, which is good for a look only.
    keep
        A folder for the tools' files and logs; it may not be there yet. With `close` it has a folder for each try.
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
    (such as for a circuit that does not fit, or ports that do not fit the package), or a vector is wrong after routing;
    with `close` also for a build that
    was not compiled for a clock, or by passes of the user's own.
    """
    asked = Asked(seeds, target, clock_ns, vectors, progress or Asked().progress)
    most = settings.count(tries, "a number of tries", TRIES, 1)
    pins = None if constraints is None else Path(constraints)
    if pins and bitstream is None:
        raise error(
            "constraints of pins are for a bitstream", where=str(pins), help="name its file: --bitstream"
        )
    build = whole(folder)
    device = asked.device(json.loads((build / "report.json").read_text()))
    if bitstream is not None:
        may_be_written(Path(bitstream))
        possible(device, pins)
    if close:
        from lutc.pnr.close import closed

        found = closed(build, asked, most, None if keep is None else _kept(keep))
    else:
        found = implemented(build, asked, None if keep is None else Path(keep))
    if bitstream is None:
        return found
    made = written_to(build, device, Path(bitstream), pins, found.asked_ns, seeds, asked.progress)
    return replace(found, bitstream=made)


def implemented(build: Path, asked: Asked, keep: Path | None) -> Implementation:
    """Implement a build that is as lutc wrote it, once."""
    if not (build / "sim").is_dir():
        help = "compile it again with --hdl verilog or --hdl vhdl"
        raise error("no open tool reads what this build's emitter writes", where=str(build), help=help)
    report = json.loads((build / "report.json").read_text())
    device, bench = asked.device(report), json.loads((build / "sim" / "bench.json").read_text())
    flow, ports = flow_of(device), Ports.of(bench)
    period, wanted = asked.period(report, build), asked.compared(device)
    versions = {t: tools.version(t) for t in ("yosys", flow.router)}
    texts = rtl(build, bench)
    place = _kept(keep) if keep is not None else None
    with tempfile.TemporaryDirectory(prefix="lutc-") as temporary, tools.jobs() as jobs:
        work = place or Path(temporary)
        asked.progress("synthesising")
        sources(work, texts, bench, jobs)
        circuit = Circuit(ports, device, flow, report["dsp"] != "none")
        layers = Layers.of("\n".join(texts.values()), as_it_is=bench["hdl"] == "verilog")
        cells = synthesised(work, circuit, jobs)
        timings = placed(work, circuit, period, asked.seeds, layers, jobs, asked.progress)
        compared = 0
        if wanted:
            asked.progress("simulating what was routed")
            compared = checked(work, build, device.family, ports, bench, wanted, jobs)
    estimate = {k: report["estimate"][k] for k in ("luts", "ffs", "dsps", "stage_ns")}
    return Implementation(
        report["target"], period, report["latency_cycles"], counted(flow, cells), estimate, timings, versions, compared
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
