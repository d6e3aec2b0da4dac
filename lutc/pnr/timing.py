"""The clock that a router reached, and where its slowest path goes, in the words of whoever made the network."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from lutc.diagnostics import error
from lutc.pnr.harness import CLOCK, WHOLE

PORTS = "(ports)"  # registers of the harness, and wires to them
SOURCE = "dut.v"  # what is synthesised
_MADE = re.compile(r"\s+(?:wire|reg)\b[^=;(]*?(\w+)\s*[=;]|\s+signal (\w+)\s*:|\s+(\w+)\s*<=")


@dataclass(frozen=True)
class Step:
    """A stretch of the slowest path in one layer; times in ns, `cells` counts LUTs, multiplexers and carry chains."""

    layer: str
    cells: int
    logic_ns: float
    routing_ns: float

    def facts(self) -> dict[str, Any]:
        return {k: round(v, 3) if isinstance(v, float) else v for k, v in asdict(self).items()}


@dataclass(frozen=True)
class Timing:
    """The shortest period that the router promises for a seed, in ns, and its slowest path, from register to register.

    `starts` and `ends` name what the path's first and last register hold, as the HDL does.
    """

    seed: int
    period_ns: float
    path: tuple[Step, ...]
    starts: str
    ends: str

    @property
    def routing(self) -> float:
        """The share of the period that is spent in wires."""
        return sum(s.routing_ns for s in self.path) / self.period_ns


@dataclass(frozen=True)
class Layers:
    """Which layer made what of the HDL: by identifiers, and by lines of the one file that is synthesised."""

    by_line: tuple[str, ...]
    by_name: Mapping[str, str]

    @staticmethod
    def of(text: str, as_it_is: bool = True) -> Layers:
        """From HDL that lutc wrote: a comment stands before the wires of each layer.

        Where modules use a name twice, it is the first one's. Lines count only if the text is synthesised `as_it_is`.
        """
        names: dict[str, str] = {}
        lines = []
        layer = PORTS
        for line in text.splitlines():
            if re.match(r"(module|entity|architecture)\b", line):
                layer = PORTS
            elif heading := re.fullmatch(r"  (?://|--) (.+)", line):
                layer = heading[1].strip()
            elif made := _MADE.match(line):
                names.setdefault(made[1] or made[2] or made[3], layer)
            lines.append(layer)
        return Layers(tuple(lines) if as_it_is else (), names)

    def of_net(self, hop: Mapping[str, Any]) -> str | None:
        """The layer of a routed net, if it can be told: by the line it was made in, or else by its name."""
        for source in hop.get("sources", ()):
            if found := re.match(rf"(?:.*/)?{re.escape(SOURCE)}:(\d+)", source):
                line = int(found[1])
                if 0 < line <= len(self.by_line) and self.by_line[line - 1] != PORTS:
                    return self.by_line[line - 1]
        return self.by_name.get(self.identifier(hop["from"]["cell"]))

    def identifier(self, cell: str) -> str:
        """The HDL's identifier that a cell is named after, if any: tools add what it is, and where it leads."""
        name = cell.split(f"{WHOLE}.")[-1].rsplit(".", 1)[-1]
        while name and name not in self.by_name:
            name = name[: max(name.rfind("_"), name.rfind("$"), name.rfind("["), 0)]
        return name


def timing(report: Mapping[str, Any], layers: Layers, seed: int) -> Timing:
    """What nextpnr's report says of the measured clock. Raises LirError if it says nothing."""
    reached = [v["achieved"] for clock, v in report["fmax"].items() if CLOCK in clock]
    if not reached:
        raise error(
            "the router reports no clock after routing",
            help="please report it, with the build",
        )
    path = next(p for p in report["critical_paths"] if CLOCK in p["from"] and CLOCK in p["to"])["path"]
    ends = path[0]["from"]["cell"], path[-1]["to"]["cell"]
    starts, stops = (layers.identifier(cell) or "a port" for cell in ends)
    return Timing(seed, 1000 / max(reached), tuple(_steps(path, layers)), starts, stops)


def _steps(path: Sequence[Mapping[str, Any]], layers: Layers) -> list[Step]:
    """The path by layers. A cell and the wire behind it belong to the layer that made what it computes."""
    layer = PORTS
    named = []
    for hop in reversed(path):
        if hop["type"] == "routing":
            layer = layers.of_net(hop) or layer
        if hop["delay"]:  # inside a carry chain, wires take no time
            named.append((layer, hop))
    found = []
    for layer, group in groupby(reversed(named), key=lambda n: n[0]):
        hops = [hop for _, hop in group]
        wires = sum(h["delay"] for h in hops if h["type"] == "routing")
        cells = sum(h["type"] == "routing" for h in hops)
        found.append(Step(layer, cells, sum(h["delay"] for h in hops) - wires, wires))
    return found
