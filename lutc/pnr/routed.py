"""The netlist that a router wrote, simulated on a build's own vectors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from lutc.diagnostics import error
from lutc.pnr import tools
from lutc.pnr.harness import TOP, Ports, bench
from lutc.pnr.netlist import verilog

SEED = 1  # of the routed netlist that is simulated
_CONTROLS = {"ce": 1, "rst": 0, "valid_in": 1, "valid_out": 1}


def checked(
    work: Path, build: Path, family: str, ports: Ports, about: Mapping[str, Any], count: int, jobs: tools.Jobs
) -> int:
    """Compare the routed netlist's answers to the first `count` vectors of a build. Returns how many there were.

    Raises LirError with the first vector that is answered wrong.
    """
    rows = [_words(build / "sim" / f"{name}s.hex", about[f"{name}s"], count) for name in ("input", "output")]
    for name, ends, words in zip(("inputs", "outputs"), (ports.inputs, ports.outputs), rows, strict=True):
        (work / f"{name}.mem").write_text("".join(f"{_joined(ends, row):x}\n" for row in words))
    routed = verilog(json.loads((work / f"routed-{SEED}.json").read_text()), TOP, family)
    (work / "routed.v").write_text((models_of(family) or "") + routed)
    (work / "bench.v").write_text(bench(ports, int(about["latency"]), len(rows[0])))
    jobs.run(
        [*tools.find("iverilog"), "-g2012", "-o", "bench.vvp", "routed.v", "bench.v"], work, "iverilog.log"
    )
    said = jobs.run([*tools.find("vvp"), "-n", "bench.vvp"], work, "simulation.log")
    if "PASSED" not in said:
        wrong = next((line for line in said.splitlines() if line.startswith("FAILED")), said.strip()[-200:])
        raise error(
            f"the routed netlist answers wrong: {wrong}",
            help="please report it, with the build: a tool is at fault",
        )
    return len(rows[0])


def models_of(family: str) -> str | None:
    """What the cells of a family's routed netlists do, in Verilog; None where that is not written."""
    path = resources.files("lutc.pnr") / "models" / f"{family}.v"
    return path.read_text() if path.is_file() else None


def _words(path: Path, ports: Sequence[tuple[str, int]], count: int) -> list[dict[str, int]]:
    """The words of the first vectors by port."""
    lines = path.read_text().splitlines()[1 : count + 1]
    return [
        {name: int(word, 16) for (name, _), word in zip(ports, line.split(), strict=True)} for line in lines
    ]


def _joined(ports: Sequence[tuple[str, int]], words: Mapping[str, int]) -> int:
    """The bits of all ports, the first lowest."""
    total = at = 0
    for name, width in ports:
        total |= (words[name] if name in words else _CONTROLS[name]) << at
        at += width
    return total
