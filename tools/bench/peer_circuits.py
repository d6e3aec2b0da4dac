"""Circuits of another compiler through lutc's own harness, synthesis, place and route: what `implemented.py` compares.

alkaid is run by the command that a user would give, in an environment of its own; what it writes is taken as it is.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import networkx as nx

from lutc import target as targets
from lutc.pnr import tools
from lutc.pnr.flows import counted, flow_of
from lutc.pnr.harness import Ports
from lutc.pnr.place import Circuit, placed, synthesised
from lutc.pnr.timing import SOURCE, Layers

Row = dict[str, Any]
TOP = "model"
CLOCK_NS = 5.0  # what both are given: alkaid, and the router for its circuits


class Missing(Exception):
    """The peer is not there, or refuses."""


@dataclass(frozen=True)
class Found:
    """What a netlist tells of a circuit: ranks of registers on the way from inputs to outputs, and register bits that
    hold inputs as they come, with no logic before them."""

    ports: Ports
    ranks: int
    input_bits: int


def row(model: Path, cutoff: float, target: str, python: str, seeds: int) -> Row:
    """alkaid's circuit with a latency cut-off, placed and routed. Raises Missing, or LirError of the tools."""
    device = targets.load(target)
    with tempfile.TemporaryDirectory(prefix="lutc-") as folder, tools.jobs() as jobs:
        work = Path(folder)
        text = _converted(model, cutoff, python, work / "alkaid")
        (work / SOURCE).write_text(text)
        found = described(work, jobs)
        circuit = Circuit(found.ports, device, flow_of(device), dsp=False)
        cells = synthesised(work, circuit, jobs)
        timings = placed(work, circuit, CLOCK_NS, seeds, Layers((), {}), jobs, lambda told: None)
    middle = sorted(timings, key=lambda t: t.period_ns)[len(timings) // 2]
    counts = counted(circuit.flow, cells)
    return {
        "model": model.name,
        "sha256": _digest(model),
        "target": target,
        "cutoff": cutoff,
        "stages": found.ranks,
        "input_bits": found.input_bits,
        **{k: counts[k] for k in ("luts", "carries", "ffs", "dsps")},
        "reached_ns": round(middle.period_ns, 3),
        "seeds": [round(t.period_ns, 3) for t in timings],
        "wires": round(middle.routing, 3),
    }


def known(before: Row | None, model: Path, seeds: int) -> bool:
    """Whether a row is of this very file, with as many seeds at least."""
    return before is not None and before["sha256"] == _digest(model) and len(before["seeds"]) >= seeds


def _digest(model: Path) -> str:
    return hashlib.sha256(model.read_bytes()).hexdigest()[:16]


def _converted(model: Path, cutoff: float, python: str, folder: Path) -> str:
    """The Verilog that alkaid writes, as one text."""
    program = Path(python).with_name("alkaid")
    clock = ["--clock-period", str(CLOCK_NS), "--latency-cutoff", str(cutoff)]
    command = [str(program), "convert", str(model), str(folder), "--n-test-sample", "0", *clock]
    try:
        done = subprocess.run(
            command, env=os.environ | {"KERAS_BACKEND": "jax"}, capture_output=True, text=True, check=False
        )
    except OSError as reason:
        raise Missing(f"alkaid cannot be run: {reason.strerror}: {program}") from None
    if done.returncode:
        raise Missing(f"alkaid failed: {' / '.join((done.stdout + done.stderr).strip().splitlines()[-2:])}")
    files = [f for f in sorted((folder / "src").rglob("*.v")) if f.name != "model_wrapper.v"]
    return "\n".join(f.read_text() for f in files)


def described(work: Path, jobs: tools.Jobs, top: str = TOP) -> Found:
    """Ports and ranks of the circuit in a folder, as Yosys reads it."""
    script = (
        f"read_verilog -sv {SOURCE}; hierarchy -top {top}; proc; flatten; opt_clean; write_json read.json"
    )
    jobs.run([*tools.find("yosys"), "-p", script], work, "read.log")
    return described_by(json.loads((work / "read.json").read_text())["modules"][top], top)


def described_by(module: Row, top: str) -> Found:
    """The same of Yosys' JSON netlist. The clock is the port that registers are clocked by."""
    registers = [cell for cell in module["cells"].values() if cell["type"] == "$dff"]
    clocks = {cell["connections"]["CLK"][0] for cell in registers}
    ends: dict[str, list[tuple[str, int]]] = {"input": [], "output": []}
    clock, given = None, set()
    for name, port in module["ports"].items():
        if port["bits"] and port["bits"][0] in clocks:
            clock = name
            continue
        ends[port["direction"]].append((name, len(port["bits"])))
        if port["direction"] == "input":
            given.update(port["bits"])
    held = [bit for cell in registers for bit in cell["connections"]["D"] if bit in given]
    return Found(Ports(top, clock, ends["input"], ends["output"]), _ranks(module), len(held))


def _ranks(module: Row) -> int:
    """Most registers on any path."""
    graph: nx.DiGraph[int] = nx.DiGraph()
    for cell in module["cells"].values():
        wires, directions = cell["connections"], cell["port_directions"]
        if cell["type"] == "$dff":  # bit by bit
            pairs = zip(wires["D"], wires["Q"], strict=True)
            graph.add_weighted_edges_from((d, q, 1) for d, q in pairs if not isinstance(d, str))
            continue
        sides: dict[str, list[int]] = {"input": [], "output": []}
        for pin, bits in wires.items():
            sides[directions[pin]] += [b for b in bits if not isinstance(b, str)]
        graph.add_weighted_edges_from((a, b, 0) for a in sides["input"] for b in sides["output"])
    return int(nx.dag_longest_path_length(graph))


def compared(ours: Sequence[Row], theirs: Sequence[Row]) -> Row:
    """The circuits of the shortest latency of each side, and ours over theirs.

    The peer's first rank may hold inputs with no logic before it, which the harness' registers do as well: `bare`
    leaves it out of latency and flip-flops.
    """
    a, b = (min(rows, key=latency) for rows in (ours, theirs))
    less = int(b["input_bits"] > 0)
    bare = (b["stages"] - less) * b["reached_ns"], b["ffs"] - b["input_bits"]
    return {
        "ours": a,
        "theirs": b,
        "latency": latency(a) / latency(b),
        "luts": a["luts"] / b["luts"],
        "ffs": a["ffs"] / b["ffs"],
        "bare": {"latency": latency(a) / bare[0], "ffs": a["ffs"] / bare[1]},
    }


def latency(found: Row) -> float:
    """From an input to its answer in ns, at the clock that is reached."""
    return float(found["stages"] * found["reached_ns"])


def version(python: str) -> str | None:
    """alkaid's version; None where it is not."""
    code = "from importlib.metadata import version; print(version('alkaid'))"
    try:
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() or None
