"""Static timing of what was routed, from the delays that a router wrote as SDF (IEEE 1497).

nextpnr 0.11 knows no delay of a LUT or a wide multiplexer on Gowin's devices: its own report leaves out every path
through one, and names no clock where no other path is left. Their delays are put in here. The wires' and the other
cells' are the router's.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import networkx as nx

from lutc.diagnostics import error

Pin = tuple[str, str]  # of a cell

# Nanoseconds from each input of cells without delays to their outputs, at their slowest, for a GW2A of grade C8/I7, as
# the vendor's data have them that Project Apicula read out; and a register's clock to output there, by which they are
# scaled for other parts.
_REGISTER = 0.231
_LACKING: tuple[tuple[str, Mapping[str, float]], ...] = (
    ("LUT", {"I0": 0.549, "I1": 0.570, "I2": 0.462, "I3": 0.371}),
    ("MUX2", {"I0": 0.105, "I1": 0.105, "S0": 0.269}),
    ("ALU", {"I0": 0.549, "I1": 0.570, "I3": 0.371, "CIN": 0.470}),
)
_CHAIN = 0.035  # from a carry's input to its output


@dataclass(frozen=True)
class Hop:
    """A step of a path: a kind as nextpnr's reports have it, nanoseconds, and the pins that it leads from and to."""

    kind: str
    delay: float
    start: Pin
    end: Pin

    def facts(self) -> dict[str, Any]:
        ends = {"from": self.start, "to": self.end}
        return {"type": self.kind, "delay": self.delay} | {
            k: {"cell": cell, "port": port} for k, (cell, port) in ends.items()
        }


@dataclass
class Delays:
    """What an SDF file says: wires from pin to pin, paths through cells, set-up times; all in ns, the longest."""

    kinds: dict[str, str] = field(default_factory=dict)
    wires: dict[Pin, tuple[Pin, float]] = field(default_factory=dict)  # by the pin that they lead to
    cells: defaultdict[str, dict[tuple[str, str], float]] = field(default_factory=lambda: defaultdict(dict))
    setup: defaultdict[str, dict[str, float]] = field(default_factory=lambda: defaultdict(dict))

    @staticmethod
    def of(text: str) -> Delays:
        found = Delays()
        scale = {"1ps": 1e-3, "1ns": 1.0}[re.search(r"\(TIMESCALE (\w+)\)", text)[1]]  # type: ignore[index]
        for cell in re.split(r"\n\s*\(CELL\s", text)[1:]:
            name = _name(re.search(r"\(INSTANCE ((?:[^\\)\s]|\\.)*)", cell)[1])  # type: ignore[index]
            found.kinds[name] = re.search(r'\(CELLTYPE "(\w+)"', cell)[1]  # type: ignore[index]
            for a, b, delay in re.findall(r"\(INTERCONNECT (\S+) (\S+) \(([^)]*)\)", cell):
                found.wires[_pin(b)] = _pin(a), scale * _most(delay)
            for a, b, delay in re.findall(r"\(IOPATH (\S+|\(\w+ \S+\)) (\S+) \(([^)]*)\)", cell):
                pins = a.strip("()").split()[-1], b
                found.cells[name][pins] = max(scale * _most(delay), found.cells[name].get(pins, 0.0))
            for pin, delay in re.findall(r"\(SETUPHOLD \(\w+ (\S+)\) \(\w+ \S+\) \(([^)]*)\)", cell):
                found.setup[name][pin] = max(scale * _most(delay), found.setup[name].get(pin, 0.0))
        found.complete()
        return found

    def complete(self) -> None:
        """Give cells without delays those that they have by their kind."""
        outputs, inputs = defaultdict(set), defaultdict(set)
        for (cell, pin), ((source, port), _) in self.wires.items():
            inputs[cell].add(pin)
            outputs[source].add(port)
        known = [d for name in self.setup for (a, _), d in self.cells[name].items() if a == "CLK"]
        scale = max(known, default=_REGISTER) / _REGISTER
        for cell, kind in self.kinds.items():
            lacking = next((delays for begins, delays in _LACKING if kind.startswith(begins)), None)
            if lacking and not self.cells[cell]:
                self.cells[cell] = {
                    (a, b): scale * (_CHAIN if (a, b) == ("CIN", "COUT") else lacking[a])
                    for a in inputs[cell] & lacking.keys()
                    for b in outputs[cell]
                }

    def clock_of(self, register: str) -> tuple[str, float]:
        """The cell that drives a register's clock in the end, and how long that takes."""
        pin, late = (register, "CLK"), 0.0
        while pin in self.wires:
            (cell, _), delay = self.wires[pin]
            late += delay
            before = next((p for p in self.wires if p[0] == cell and self.kinds.get(cell) == "BUFG"), None)
            if before is None:
                return cell, late
            pin = before
        return pin[0], late


def analysed(text: str, clock: str) -> dict[str, Any]:
    """What nextpnr's own report says of a clock, from its SDF file: the period, and the slowest path.

    `clock` is a part of the name of what drives it; a path counts if both of its registers have that clock. Raises
    LirError if paths go round in a circle.
    """
    delays = Delays.of(text)
    late = {}
    for name in delays.setup:
        source, arrives = delays.clock_of(name)
        if clock in source:
            late[name] = arrives
    graph: nx.DiGraph[Pin] = nx.DiGraph()
    for end, (start, delay) in delays.wires.items():
        graph.add_edge(start, end, hop=Hop("routing", delay, start, end))
    for name, paths in delays.cells.items():
        if name not in delays.setup:
            for (a, b), delay in paths.items():
                graph.add_edge((name, a), (name, b), hop=Hop("logic", delay, (name, a), (name, b)))
    try:
        order = list(nx.topological_sort(graph))
    except nx.NetworkXUnfeasible:
        raise error("the routed circuit has a combinational loop") from None
    ready: dict[Pin, float] = {}
    came: dict[Pin, Hop] = {}
    for name, arrives in late.items():
        for (_, q), delay in delays.cells[name].items():
            ready[name, q] = arrives + delay
            came[name, q] = Hop("clk-to-q", delay, (name, q), (name, q))
    for pin in order:
        if pin in ready:
            for _, after, hop in graph.out_edges(pin, data="hop"):
                if ready[pin] + hop.delay > ready.get(after, -1.0):
                    ready[after], came[after] = ready[pin] + hop.delay, hop
    ends = [
        (ready[name, pin] + needed - arrives, (name, pin), needed)
        for name, arrives in late.items()
        for pin, needed in delays.setup[name].items()
        if (name, pin) in ready
    ]
    if not ends:
        return {"fmax": {}, "critical_paths": []}
    period, end, needed = max(ends)
    path = [Hop("setup", needed, end, end), *_back(came, end)][::-1]
    skew = late[path[0].start[0]] - late[end[0]]
    if skew:
        path.insert(0, Hop("clk-skew", skew, path[0].start, path[0].start))
    where = {"from": f"posedge {clock}", "to": f"posedge {clock}", "path": [hop.facts() for hop in path]}
    return {"fmax": {clock: {"achieved": 1000 / period}}, "critical_paths": [where]}


def _back(came: Mapping[Pin, Hop], end: Pin) -> Iterator[Hop]:
    while True:
        hop = came[end]
        yield hop
        if hop.kind == "clk-to-q":
            return
        end = hop.start


def _most(delay: str) -> float:
    """The longest of the best, the usual and the worst case."""
    return max(float(x) for x in delay.split(":") if x)


def _name(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def _pin(text: str) -> Pin:
    cell, _, port = text.rpartition("/")
    return _name(cell), _name(port)
