"""A device's bitstream: a build with its own ports on pins, placed, routed and packed by open tools."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lutc.diagnostics import LirError, error
from lutc.files.foreign import read_text
from lutc.files.writing import written
from lutc.pnr import tools
from lutc.pnr.flows import flow_of
from lutc.pnr.harness import Ports
from lutc.pnr.place import Circuit, report_of, reporting, rtl, sources, with_pads
from lutc.target import Target

_FULL = ("Unable to place cell", "Unable to find a placement", "no BELs remaining", "no Bels remaining")


@dataclass(frozen=True)
class Bitstream:
    """A bitstream that was written: `pins` of the circuit, the router's seed, and the period between its registers
    that the router promises with it, in ns; None for a circuit without registers on a way to registers."""

    file: str
    pins: int
    seed: int
    period_ns: float | None

    def facts(self) -> dict[str, Any]:
        return asdict(self) | {"period_ns": self.period_ns and round(self.period_ns, 3)}


@dataclass(frozen=True)
class Pinned:
    """How a family's router is told of pins and asked for a file to pack, and how that is packed into bits.

    `free` are its options where no file of constraints is given; None where it places no pin by itself.
    """

    constraints: str  # the ending of such a file
    given: Callable[[str], list[str]]
    free: list[str] | None
    routed: list[str]
    packer: str
    pack: Callable[[Target], list[str]]


PINNED: dict[str, Pinned] = {
    "ecp5": Pinned(
        ".lpf",
        lambda file: ["--lpf", file],
        ["--lpf-allow-unconstrained"],
        ["--textcfg", "routed.config"],
        "ecppack",
        lambda target: ["routed.config", "bits"],
    ),
    "ice40": Pinned(
        ".pcf",
        lambda file: ["--pcf", file],
        [],
        ["--asc", "routed.asc"],
        "icepack",
        lambda target: ["routed.asc", "bits"],
    ),
    "gowin": Pinned(
        ".cst",
        lambda file: ["--vopt", f"cst={file}"],
        None,
        ["--write", "routed.json"],
        "gowin_pack",
        lambda target: ["-d", flow_of(target).variant(target), "-o", "bits", "routed.json"],
    ),
}


def possible(device: Target, constraints: Path | None) -> tuple[Pinned, str]:
    """How a bitstream for a device is made, and the text of its constraints.

    Raises LirError for constraints of another family, or where they are needed.
    """
    how = PINNED[device.family]
    tools.find(how.packer)
    if constraints is None:
        if how.free is None:
            help = f"name them in a file: --constraints PINS{how.constraints}"
            raise error(f"the router chooses no pins for {device.description}", help=help)
        return how, ""
    if constraints.suffix != how.constraints:
        raise error(
            f"pins of {device.family} devices are named in a {how.constraints} file", where=str(constraints)
        )
    return how, read_text(constraints)


def bitstream(
    build: Path,
    device: Target,
    file: Path,
    constraints: Path | None,
    period: float,
    seeds: int,
    tell: Callable[[str], None],
) -> Bitstream:
    """Write the bitstream of a build that is as lutc wrote it: of the first seed that reaches the period, or the best.

    Raises LirError where the ports do not fit the package, or a tool refuses the constraints.
    """
    how, text = possible(device, constraints)
    report = json.loads((build / "report.json").read_text())
    about = json.loads((build / "sim" / "bench.json").read_text())
    ports, flow = Ports.of(about), flow_of(device)
    pins = sum(ports.bits) + bool(ports.clock)
    circuit = Circuit(ports, device, flow, report["dsp"] != "none")
    best: tuple[float, int, bytes] | None = None
    with tempfile.TemporaryDirectory(prefix="lutc-") as temporary, tools.jobs() as jobs:
        work = Path(temporary)
        tell("synthesising with pins")
        sources(work, rtl(build, about), about, jobs)
        with_pads(work, circuit, jobs)
        name = f"constraints{how.constraints}"
        (work / name).write_text(text)
        options = how.given(name) if constraints else how.free or []
        for seed in range(1, seeds + 1):
            tell(f"placing and routing with pins ({seed} of {seeds})")
            command = [
                *tools.find(flow.router),
                *flow.part(device),
                *("--json", "circuit.json", "--freq", f"{1000 / period:.3f}", "--seed", str(seed)),
                *("--timing-allow-fail", *reporting(flow, "report"), *how.routed, *options),
            ]
            try:
                jobs.run(command, work, "route.log")
            except LirError as failed:
                raise _explained(failed, (work / "route.log").read_text(), device, pins) from None
            reached = _period(report_of(flow, work / "report", ports.clock or ""))
            if best is None or reached < best[0]:
                jobs.run([*tools.find(how.packer), *how.pack(device)], work, "pack.log")
                best = reached, seed, (work / "bits").read_bytes()
            if reached <= period:
                break
    assert best is not None  # there is a seed at least
    with written(file) as out:
        out.write(best[2])
    return Bitstream(str(file), pins, best[1], best[0] or None)


def _period(report: Mapping[str, Any]) -> float:
    """The period of the slowest clock; 0 without one."""
    return max((1000 / v["achieved"] for v in report["fmax"].values()), default=0.0)


def _explained(failed: LirError, log: str, device: Target, pins: int) -> LirError:
    """Why the router failed: a word for it, where that is plain."""
    if any(word in log for word in _FULL):
        return error(
            f"the circuit does not fit {device.part} with its {pins} port bits on pins",
            help="a circuit with fewer ports can be put around it, or leave out --bitstream; the router said: "
            + " / ".join(line for line in log.splitlines() if "ERROR" in line)[:300],
        )
    return failed
