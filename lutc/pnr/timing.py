"""The clock that a router reached, and where its slowest path goes, in the words of whoever made the network."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from lutc.pnr.harness import CLOCK, WHOLE

PORTS = "(ports)"  # registers of the harness, and wires to them


@dataclass(frozen=True)
class Step:
    """A stretch of the slowest path in one layer; times in ns, `cells` counts LUTs and carry chains on the way."""

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
    starts: str = ""
    ends: str = ""

    @property
    def routing(self) -> float:
        """The share of the period that is spent in wires."""
        return sum(s.routing_ns for s in self.path) / self.period_ns if self.period_ns else 0.0


def timing(report: Mapping[str, Any], layers: Mapping[str, str], seed: int) -> Timing:
    """What nextpnr's report says of the measured clock; `layers` are those of the HDL's identifiers."""
    reached = [v["achieved"] for clock, v in report["fmax"].items() if CLOCK in clock]
    path: list[Any] = next(
        (p["path"] for p in report["critical_paths"] if CLOCK in p["from"] and CLOCK in p["to"]), []
    )
    if not reached:  # no path from register to register
        return Timing(seed, 0.0, ())
    return Timing(
        seed,
        1000 / max(reached),
        tuple(_steps(path, layers)),
        _root(path[0]["from"]["cell"], layers) if path else "",
        _root(path[-1]["to"]["cell"], layers) if path else "",
    )


def _steps(path: Sequence[Mapping[str, Any]], layers: Mapping[str, str]) -> list[Step]:
    """The path by layers. What is routed belongs to the layer that it leads to, as a user reads it."""
    named = []
    layer = PORTS
    for hop in path:
        cell = hop["to"]["cell"] if hop["type"] == "routing" else hop["from"]["cell"]
        layer = layers.get(_root(cell, layers), layer)
        named.append((layer, hop))
    found = []
    for layer, group in groupby(named, key=lambda n: n[0]):
        hops = [hop for _, hop in group]
        wires = sum(h["delay"] for h in hops if h["type"] == "routing")
        # Along a carry chain a wire takes no time: a chain is one cell.
        cells = sum(h["type"] == "logic" and not _along(h) for h in hops)
        found.append(Step(layer, cells, sum(h["delay"] for h in hops) - wires, wires))
    return found


def _along(hop: Mapping[str, Any]) -> bool:
    """Whether a step goes from one bit of a carry chain to the next."""
    return str(hop["from"].get("port", "")) in ("FCI", "CIN", "CI", "I3") and str(
        hop["to"].get("port", "")
    ) in (
        "FCO",
        "COUT",
        "CO",
    )


def _root(cell: str, layers: Mapping[str, str]) -> str:
    """The identifier in the HDL that a cell is named after: tools add what it is, and where it leads."""
    name = cell.split(f"{WHOLE}.")[-1].rsplit(".", 1)[-1]
    while name and name not in layers:
        name = name[: max(name.rfind("_"), name.rfind("$"), name.rfind("["), 0)]
    return name


def layers_of(texts: Iterable[str]) -> dict[str, str]:
    """The layer of every identifier of HDL that lutc wrote: a comment stands before the wires of each.

    Where modules use a name twice, it is the first one's.
    """
    found: dict[str, str] = {}
    for text in texts:
        layer = PORTS
        for line in text.splitlines():
            if heading := re.fullmatch(r"  (?://|--) (.+)", line):
                layer = heading[1].strip()
            elif made := re.match(r"\s+(?:wire|reg)\b[^=;(]*?(\w+)\s*(?:=|;)|\s+(\w+)\s*<=", line):
                found.setdefault(made[1] or made[2], layer)
    return found
