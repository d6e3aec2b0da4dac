#!/usr/bin/env python3
"""The area yardstick: how many UltraScale+ LUT6 sites a Verilog design takes, by open synthesis (pyosys).

    tools/bench/sites.py TOP FILE.v [FILE.v ...] [--flow NAME ...] [--netlist OUT.json]

Prints one line of JSON. The design is synthesised in several ways and the one with the fewest sites is reported, so
that nobody's Verilog suffers from an unlucky order of steps. What each number is:

- `sites`: the figure to compare. A carry bit whose propagate input is alive takes a site, any other LUT takes one,
  and two functions of at most five signals together share one (LUT6_2). The LUT at a carry bit shares its site in
  the same way with a function it has two signals or more in common with, which is how a ternary adder fits.
- `carry`, `logic`, `shared`, `beside_carry`: the parts; sites = carry + logic - shared - beside_carry.
- `ff`: flip-flops. `depth_ps`: the longest path by yosys' own cell delays, from register or port to register or
  port. There are no wires in it: it compares two designs and promises no clock. `stages`: registers on a path.

Open synthesis is not the vendor's: use ratios. pyosys 0.70 is what the published numbers were made with; other
versions map differently.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import networkx as nx

Json = dict[str, Any]
Signals = frozenset[int]

_SYNTH = "synth_xilinx -family xcup -noiopad -noclkbuf -nodsp -nobram -nosrl"
# "{top}" is filled in. The second flow maps arithmetic before modules are dissolved: adders that were written in
# modules of their own stay as they were written, and yosys does not merge them into compressor trees.
FLOWS: dict[str, tuple[str, ...]] = {
    "flat": (f"{_SYNTH} -flatten -top {{top}}",),
    "modules-first": (
        f"{_SYNTH} -run begin:map_luts -top {{top}}",
        "flatten",
        "opt -full",
        "clean",
        f"{_SYNTH} -run map_luts:edif -top {{top}}",
    ),
}
LUT_INPUTS = 6
SHARED_INPUTS = 5  # signals that two functions in one LUT6_2 may have together


def measure(
    top: str, files: Iterable[str | Path], flows: Iterable[str] = FLOWS, netlist: Path | None = None
) -> Json:
    """The yardstick's row for module `top` of the Verilog `files`: the flow with the fewest sites.

    Runs in a process of its own, since what yosys did before in a process moves its results by some per cent.
    Raises RuntimeError with the end of yosys' log when synthesis fails.
    """
    paths = [str(Path(f).resolve()) for f in files]
    with tempfile.TemporaryDirectory() as folder:
        options = [o for flow in flows for o in ("--flow", flow)]
        command = [sys.executable, __file__, "--inside", folder, *options, top, *paths]
        with open(f"{folder}/log.txt", "w") as log:
            done = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False)
        result = Path(folder, "row.json")
        if done.returncode or not result.exists():
            raise RuntimeError(f"synthesis of {top} failed:\n{Path(folder, 'log.txt').read_text()[-3000:]}")
        if netlist:
            netlist.write_bytes(Path(folder, "best.json").read_bytes())
        row: Json = json.loads(result.read_text())
        return row


def _measure_inside(top: str, files: Sequence[str], flows: Iterable[str], folder: Path) -> None:
    """The work of `measure`: flows one after the other, in this order, so that anyone gets the same numbers."""
    best: Json = {}
    for flow in flows:
        start = time.perf_counter()
        module = synthesise(top, files, flow, folder)
        row: Json = dict(count_sites(module))
        row["ff"] = sum(cell["type"].startswith("FD") for cell in module["cells"].values())
        row["stages"] = ranks(module)
        row["flow"], row["seconds"] = flow, round(time.perf_counter() - start, 1)
        if not best or row["sites"] < best["sites"]:
            best = row
            best["depth_ps"] = depth_ps(module, top, folder)
            (folder / "best.json").write_text(json.dumps({"modules": {top: module}}))
    (folder / "row.json").write_text(json.dumps(best))


def synthesise(top: str, files: Sequence[str], flow: str, folder: Path) -> Json:
    """The flat netlist (a module of yosys' JSON, made of Xilinx cells) that `flow` makes of `files`."""
    from pyosys import libyosys as ys

    design = ys.Design()
    # Not for the log: commands inside `tee` number their names otherwise than bare ones, and mapping depends on it.
    quiet = f"tee -q -o {folder}/yosys.txt "
    for file in files:
        ys.run_pass(f'{quiet} read_verilog -sv -defer "{file}"', design)
    ys.run_pass("scratchpad -set abc9.verify false", design)  # may run for hours on wide combinational sums
    ys.run_pass(f"{quiet} hierarchy -top {top}", design)
    ys.run_pass("setattr -unset rom_style m:* w:*", design)  # every table is to become LUTs
    for command in FLOWS[flow]:
        ys.run_pass(quiet + command.format(top=top), design)
    ys.run_pass(f"write_json {folder}/netlist.json", design)
    module: Json = json.loads((folder / "netlist.json").read_text())["modules"][top]
    return module


def depth_ps(module: Json, top: str, folder: Path) -> int | None:
    """Longest combinational path in ps; flip-flops are cut, for the timing command does not pass them."""
    from pyosys import libyosys as ys

    cells, ports = dict(module["cells"]), dict(module["ports"])
    registers = [name for name, cell in cells.items() if cell["type"].startswith("FD")]
    cut = [cells.pop(name)["connections"] for name in registers]
    for name in [n for n, cell in cells.items() if cell["type"] == "$scopeinfo"]:
        del cells[name]
    if cut:
        ports["ff_q"] = {"direction": "input", "bits": [bit for c in cut for bit in c["Q"]]}
        ports["ff_d"] = {"direction": "output", "bits": [bit for c in cut for bit in c["D"]]}
    path = folder / "cut.json"
    path.write_text(json.dumps({"modules": {top: {**module, "cells": cells, "ports": ports}}}))
    design = ys.Design()
    ys.run_pass(f"read_json {path}", design)
    ys.run_pass("read_verilog -lib -specify +/xilinx/cells_sim.v", design)
    ys.run_pass(f"tee -q -o {folder}/sta.txt sta", design)
    found = re.search(r"Latest arrival time in '.*' is (\d+)", (folder / "sta.txt").read_text())
    return int(found[1]) if found else None


def ranks(module: Json) -> int | None:
    """Most flip-flops on any path from an input to an output; None if registers feed themselves."""
    graph: nx.DiGraph[int] = nx.DiGraph()
    for cell in module["cells"].values():
        reads: list[int] = []
        drives: list[int] = []
        for port, bits in cell["connections"].items():
            side = reads if cell["port_directions"][port] == "input" else drives
            side += [b for b in bits if not isinstance(b, str)]
        step = int(cell["type"].startswith("FD"))
        graph.add_weighted_edges_from((r, d, step) for r in reads for d in drives)
    if not nx.is_directed_acyclic_graph(graph):
        return None
    return int(nx.dag_longest_path_length(graph))


@dataclass(frozen=True)
class _Lut:
    """A LUT cell: its input bits in order (numbers are signals, "0" and "1" constants) and its truth table."""

    inputs: tuple[int | str, ...]
    table: int
    inverter: bool

    @property
    def signals(self) -> Signals:
        return frozenset(b for b in self.inputs if not isinstance(b, str))

    def __call__(self, values: dict[int, int]) -> int:
        index = 0
        for place, bit in enumerate(self.inputs):
            value = bit == "1" if isinstance(bit, str) else values.get(bit, 0)
            index |= value << place
        return self.table >> index & 1


def _luts(cells: Json) -> dict[str, _Lut]:
    found = {}
    for name, cell in cells.items():
        conn = cell["connections"]
        if cell["type"] == "INV":
            found[name] = _Lut((conn["I"][0],), 0b01, True)
        elif re.fullmatch(r"LUT[1-6]", cell["type"]):
            init = cell["parameters"]["INIT"]
            inputs = tuple(conn[f"I{i}"][0] for i in range(int(cell["type"][3:])))
            found[name] = _Lut(inputs, int(init, 2) if isinstance(init, str) else init, False)
    return found


def count_sites(module: Json) -> dict[str, int]:
    """Sites of a flat module made of Xilinx cells, and the parts they are the sum of (see the file's docstring)."""
    cells = module["cells"]
    luts = _luts(cells)
    driver = {cells[name]["connections"]["O"][0]: name for name in luts}
    read = _read_bits(module)

    carry_bits, at_carry = 0, {}
    for cell in cells.values():
        if not cell["type"].startswith("CARRY"):
            continue
        conn = cell["connections"]
        none = [None] * len(conn["S"])
        ends = zip(conn["S"], conn["DI"], conn.get("O", none), conn.get("CO", none), strict=True)
        bits = [(s, di, read[o] or read[co]) for s, di, o, co in ends]
        while bits and not bits[-1][2]:
            bits.pop()
        for propagate, data, _ in bits:
            if isinstance(propagate, str):
                continue
            carry_bits += 1
            if propagate in driver:
                name = driver[propagate]
                at_carry[name] = _propagate_signals(luts[name], luts.get(driver.get(data, "")), data)

    free = [lut.signals for name, lut in luts.items() if name not in at_carry and not lut.inverter]
    beside_carry, pairs = _share([s for s in at_carry.values() if len(s) < LUT_INPUTS], free)
    return {
        "sites": carry_bits + len(free) - pairs - beside_carry,
        "carry": carry_bits,
        "logic": len(free),
        "shared": pairs,
        "beside_carry": beside_carry,
    }


def _read_bits(module: Json) -> Counter[int | str | None]:
    read: Counter[int | str | None] = Counter()
    for cell in module["cells"].values():
        for port, bits in cell["connections"].items():
            if cell["port_directions"][port] == "input":
                read.update(bits)
    for port in module["ports"].values():
        if port["direction"] == "output":
            read.update(port["bits"])
    return read


def _propagate_signals(lut: _Lut, below: _Lut | None, data: int | str) -> Signals:
    """Signals that the LUT at a carry bit needs.

    Synthesis may merge `below`, which drives the carry's data input, into the propagate LUT. If the LUT is some
    function of the other signals XOR `below`, it can read that data input instead of below's own inputs.
    """
    if below is None or isinstance(data, str) or len(below.signals) < 2 or not below.signals <= lut.signals:
        return lut.signals
    outer, inner = sorted(lut.signals - below.signals), sorted(below.signals)
    for x in product((0, 1), repeat=len(outer)):
        values = dict(zip(outer, x, strict=True))
        answers = set()
        for y in product((0, 1), repeat=len(inner)):
            values.update(zip(inner, y, strict=True))
            answers.add(lut(values) ^ below(values))
        if len(answers) > 1:
            return lut.signals
    return frozenset([*outer, data])


def _share(at_carry: list[Signals], free: list[Signals]) -> tuple[int, int]:
    """How many of the `free` functions go beside a carry's, and how many pairs the others form; greedily."""
    small = sorted((s for s in free if len(s) < LUT_INPUTS), key=len, reverse=True)
    reading = defaultdict(set)
    for i, signals in enumerate(small):
        for bit in signals:
            reading[bit].add(i)
    used: set[int] = set()

    def partner(signals: Signals, common: int) -> bool:
        near = set().union(*(reading[b] for b in signals)) - used
        together = [
            j for j in near if len(signals | small[j]) <= SHARED_INPUTS and len(signals & small[j]) >= common
        ]
        if together:
            used.add(max(together, key=lambda j: (len(signals & small[j]), len(small[j]))))
        return bool(together)

    beside = sum(partner(signals, 2) for signals in sorted(at_carry, key=len, reverse=True))
    pairs = 0
    for i, signals in enumerate(small):
        if i not in used:
            used.add(i)
            pairs += partner(signals, 0)
    return beside, pairs


def main() -> None:
    summary, _, rest = (__doc__ or "").partition("\n")
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=summary, epilog=rest, formatter_class=formatter)
    parser.add_argument("top")
    parser.add_argument("files", nargs="+")
    parser.add_argument("--flow", choices=FLOWS, action="append", help="only this one; may be given again")
    parser.add_argument("--netlist", type=Path, help="also write the best flow's netlist")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inside:
        _measure_inside(args.top, args.files, args.flow, args.inside)
        return
    try:
        print(json.dumps(measure(args.top, args.files, args.flow or FLOWS, args.netlist)))
    except RuntimeError as e:
        sys.exit(str(e))


if __name__ == "__main__":
    main()
