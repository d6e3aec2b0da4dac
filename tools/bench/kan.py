#!/usr/bin/env python3
"""A KAN given as integer truth tables: sites of the published structure, and of lutc's circuit for the same function.

    tools/bench/kan.py FOLDER [--out tools/bench/results/kan] [--keep FOLDER]

FOLDER holds `truth_tables.json` (for each edge LAYER_FROM_TO its `values_int`, and `acive` as it is spelled there) and
`config.json` (`layers`, `layers_bitwidth`), as KANELE writes them. The published structure is one table for each
active edge and one adder tree for each neuron, nothing shared; a neuron's sum stops at the ends of its format and is
the next layer's key in offset binary. Both circuits are combinational and measured by `sites.py`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

Edges = dict[tuple[int, int], list[int]]  # (from, to): the table


@dataclass(frozen=True)
class Kan:
    """Layers of edge tables; `sizes` and `widths` (bits of a neuron's number) have one entry more than `edges`."""

    sizes: list[int]
    widths: list[int]
    edges: list[Edges]

    def __call__(self, keys: list[int]) -> list[int]:
        """The outputs, signed, for the input layer's keys (unsigned)."""
        sums: list[int] = []
        for layer, edges in enumerate(self.edges):
            low = -(1 << self.widths[layer + 1] - 1)
            sums = [0] * self.sizes[layer + 1]
            for (i, j), table in edges.items():
                sums[j] += table[keys[i]]
            sums = [min(max(s, low), -low - 1) for s in sums]
            keys = [s - low for s in sums]
        return sums


def read(folder: Path) -> Kan:
    """The network of a KANELE folder."""
    config = json.loads((folder / "config.json").read_text())
    edges: list[Edges] = [{} for _ in config["layers"][1:]]
    for name, edge in json.loads((folder / "truth_tables.json").read_text()).items():
        layer, i, j = map(int, name.split("_"))
        if edge["acive"]:
            edges[layer][i, j] = edge["values_int"]
    return Kan(config["layers"], config["layers_bitwidth"], edges)


def _bits(low: int, high: int) -> int:
    """Width of the narrowest signed format with these numbers."""
    return max((~low if low < 0 else low).bit_length(), (~high if high < 0 else high).bit_length()) + 1


def published(kan: Kan) -> str:
    """Verilog of the published structure: module `kan`, ports `x` and `y`, neuron 0 in the lowest bits."""
    functions: list[str] = []
    lines: list[str] = []
    keys = [f"x[{i * kan.widths[0]} +: {kan.widths[0]}]" for i in range(kan.sizes[0])]
    for layer, edges in enumerate(kan.edges):
        clamped = []
        for j in range(kan.sizes[layer + 1]):
            terms = []
            for (i, to), table in sorted(edges.items()):
                if to != j:
                    continue
                name, width = f"t{layer}_{i}_{j}", _bits(min(table), max(table))
                functions.append(_function(name, kan.widths[layer], width, table))
                lines.append(f"wire signed [{width - 1}:0] v{layer}_{i}_{j} = {name}({keys[i]});")
                terms.append((f"v{layer}_{i}_{j}", min(table), max(table)))
            clamped.append(_neuron(f"n{layer}_{j}", terms, kan.widths[layer + 1], lines))
        half = 1 << kan.widths[layer + 1] - 1
        keys = [f"k{layer}_{j}" for j in range(len(clamped))]
        lines += [
            f"wire [{kan.widths[layer + 1] - 1}:0] {k} = {c} ^ {kan.widths[layer + 1]}'d{half};"
            for k, c in zip(keys, clamped, strict=True)
        ]
    lines.append(f"assign y = {{{', '.join(reversed(clamped))}}};")
    inputs, outputs = kan.sizes[0] * kan.widths[0], kan.sizes[-1] * kan.widths[-1]
    head = f"module kan(input [{inputs - 1}:0] x, output [{outputs - 1}:0] y);"
    return "\n".join([head, *functions, *lines, "endmodule", ""])


def _function(name: str, key: int, width: int, table: list[int]) -> str:
    head = f"function [{width - 1}:0] {name}; input [{key - 1}:0] key; case (key)"
    rows = [f"{key}'d{k}: {name} = {width}'d{v & (1 << width) - 1};" for k, v in enumerate(table)]
    return "\n".join([head, *rows, "endcase endfunction"])


def _neuron(name: str, terms: list[tuple[str, int, int]], width: int, lines: list[str]) -> str:
    """A balanced tree of adders and the stop at both ends; the name of the result."""
    terms = terms or [(f"{width}'sd0", 0, 0)]
    level = 0
    while len(terms) > 1:
        added = []
        for at in range(0, len(terms) - 1, 2):
            (a, a_low, a_high), (b, b_low, b_high) = terms[at : at + 2]
            wire, low, high = f"{name}_{level}_{at}", a_low + b_low, a_high + b_high
            lines.append(f"wire signed [{_bits(low, high) - 1}:0] {wire} = {a} + {b};")
            added.append((wire, low, high))
        terms = added + terms[len(terms) & ~1 :]
        level += 1
    (total, low, high), end = terms[0], (1 << width - 1) - 1
    chosen = total
    if high > end:
        chosen = f"{total} > {end} ? {end} : {chosen}"
    if low < -end - 1:
        chosen = f"{total} < {-end - 1} ? {-end - 1} : ({chosen})"
    lines.append(f"wire signed [{width - 1}:0] {name} = {chosen};")
    return name


def _sites(top: str, *files: Path) -> dict[str, Any]:
    command = [sys.executable, str(Path(__file__).with_name("sites.py")), top, *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    row: dict[str, Any] = json.loads(done.stdout)
    return row


def main() -> None:
    summary, _, rest = (__doc__ or "").partition("\n")
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=summary, epilog=rest, formatter_class=formatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, help="write OUT.json")
    parser.add_argument("--keep", type=Path, help="leave the Verilog and the build here")
    args = parser.parse_args()
    import numpy as np

    import lutc

    kan = read(args.folder)
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "kan.v").write_text(published(kan))
        build = lutc.compile(args.folder, stages=0)
        keys = np.random.default_rng(0).integers(0, 1 << kan.widths[0], (500, kan.sizes[0]))
        if not np.array_equal(build.run(keys), [kan(row) for row in keys.tolist()]):
            sys.exit("the two structures are not of one function: check the format of the folder")
        build.write(folder / "lutc", vectors=100)
        verilog = sorted((folder / "lutc" / "rtl").glob("*.v"))
        rows = {
            "published": _sites("kan", folder / "kan.v"),
            "lutc": _sites(build.report["top"], *verilog),
        }
    ratio = round(rows["lutc"]["sites"] / rows["published"]["sites"], 3)
    result = {"versions": {n: version(n) for n in ("lutc", "pyosys")}, "rows": rows, "ratio": ratio}
    for name, row in rows.items():
        print(f"{name:<10} {row['sites']:>6} sites {row['depth_ps']:>6} ps ({row['flow']})")
    print(f"ratio {ratio}")
    if args.out:
        from lutc.files.writing import write_text

        args.out.parent.mkdir(parents=True, exist_ok=True)
        write_text(args.out.with_suffix(".json"), json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
