#!/usr/bin/env python3
"""Estimated LUTs against LUT6 sites by open synthesis, over designs of all kinds.

    tools/bench/estimates.py [MODEL ...] [--only KIND ...] [--out FILE] [--effort normal]

Every design of `estimate_designs.py`, and every model file, is compiled for xcvu13p without registers. `estimate` is
what the report says, `sites` what `sites.py` counts (see there), `ratio` the one over the other: above 1 the estimate
is too high. The page has the geometric mean of the ratios and their quantiles, in all and by kind.

The page ends with what is published of vendors' place and route beside the yardstick: for whom it counts more and for
whom less.

Writes FILE.json and FILE.md; rows that stand there are replaced where they are measured again. A model file is known by
its name, and nothing else of it is kept but figures.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path
from statistics import geometric_mean
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
import numpy as np
from estimate_designs import designs  # type: ignore[import-not-found]
from sites import measure  # type: ignore[import-not-found]

import lutc
from lutc.files.writing import write_text

Row = dict[str, Any]
WITHIN = (0.05, 0.15)
RESULTS = Path(__file__).parent / "results"
# Published LUTs after Vivado's place and route, of circuits by their own makers' compilers, and where the sites of such
# circuits by open synthesis stand: a file of `results`, and the row of a model or of a structure in it.
PUBLISHED = (
    ("HGQ-LUT, jets, .770 (arXiv 2604.22293)", 5667, "area.json", "jsc_hlf_openml_0.770.traced"),
    ("HGQ, jets, .771 (arXiv 2604.22293)", 10182, "area.json", "jsc_hlf_openml_0.771.traced"),
    ("KANELE, jets (its report of Vivado 2024.1)", 1232, "kan.json", "published"),
)


def row(kind: str, name: str, source: Any, effort: str) -> Row:
    """One line of the table."""
    build = lutc.compile(source, "xcvu13p", stages=0, effort=effort, compare=False)
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for file, text in build.files.items():
            files.append(Path(folder, file))
            files[-1].write_text(text)
        start = time.perf_counter()
        found = measure(build.report["top"], files)
    luts = build.report["estimate"]["luts"]
    return {
        "kind": kind,
        "name": name,
        "estimate": luts,
        **{key: found[key] for key in ("sites", "carry", "logic", "shared", "beside_carry", "flow")},
        "ratio": round(luts / max(found["sites"], 1), 4),
        "seconds": round(time.perf_counter() - start, 1),
    }


def summary(rows: list[Row]) -> str:
    """Cells of the table of kinds: how many, the mean, quantiles, and how many are within bounds."""
    ratios = [r["ratio"] for r in rows if r["ratio"]]
    quantiles = " | ".join(f"{q:.3f}" for q in np.quantile(ratios, (0.05, 0.5, 0.95)))
    shares = " | ".join(f"{100 * np.mean([abs(x - 1) <= w for x in ratios]):.0f} %" for w in WITHIN)
    return f"{len(rows)} | {geometric_mean(ratios):.3f} | {quantiles} | {shares}"


def peer_sites(file: str, name: str) -> int:
    """The sites of a peer's circuit, pipelined where that was measured, in a file of results."""
    rows = json.loads((RESULTS / file).read_text())["rows"]
    if file == "kan.json":
        return int(rows[name]["sites"])
    return int(next(r["alkaid"]["sites"] for r in rows if (r["model"], r["form"]) == (name, "pipelined")))


def published() -> list[str]:
    """The table of what vendors' tools made of peers' circuits, and what it says of estimates."""
    rows = [(what, luts, peer_sites(file, name)) for what, luts, file, name in PUBLISHED]
    mean = geometric_mean([sites / luts for _, luts, sites in rows])
    return [
        "",
        "## Against published counts",
        "",
        "No circuit of lutc's has been through Vivado here, and what is published are counts of other compilers'",
        "circuits for these networks. So they are no measure of lutc's estimates, which are held to open synthesis",
        "above, but of open synthesis: the same makers' circuits by the yardstick, beside what Vivado made of them.",
        "",
        "| circuit | LUTs published | sites by open synthesis | ratio |",
        "|---|--:|--:|--:|",
        *(f"| {what} | {luts:,} | {sites:,} | {sites / luts:.2f} |" for what, luts, sites in rows),
        "",
        f"In geometric mean that is {mean:.2f}, but none is within 15 %, so no figure of Vivado's is promised. Vivado",
        "was given what the makers' releases of that time wrote, with registers and ranges of their own; the KAN is",
        "synthesised here without registers, from tables written as functions, of which Vivado makes fewer LUTs than",
        "Yosys, with 180 wide multiplexers beside them (F7) that are no LUTs.",
    ]


def page(rows: list[Row], told: str) -> str:
    kinds: defaultdict[str, list[Row]] = defaultdict(list)
    for r in rows:
        kinds[r["kind"]].append(r)
    lines = [
        "# Estimates against synthesis",
        "",
        f"By `tools/bench/estimates.py` ({told}); what the columns mean stands in its first lines.",
        "",
        "| kind | designs | geometric mean | 5 % | median | 95 % | within 5 % | within 15 % |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
        *(f"| {kind} | {summary(own)} |" for kind, own in kinds.items()),
        f"| all | {summary(rows)} |",
        "",
        "| kind | design | estimate | sites | ratio | carry | logic |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    for r in rows:
        figures = f"{r['estimate']:,} | {r['sites']:,} | {r['ratio']:.3f} | {r['carry']:,} | {r['logic']:,}"
        lines.append(f"| {r['kind']} | {r['name']} | {figures} |")
    lines += published()
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("models", type=Path, nargs="*")
    parser.add_argument("--only", metavar="KIND", nargs="+")
    parser.add_argument("--effort", default="normal")
    parser.add_argument("--out", type=Path, default=Path("runs/estimates"))
    args = parser.parse_args()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    told = f"lutc {lutc.__version__}, pyosys {version('pyosys')}"
    kept = args.out.with_suffix(".json")
    before = json.loads(kept.read_text())["rows"] if kept.exists() else []
    rows: dict[tuple[str, str], Row] = {(r["kind"], r["name"]): r for r in before}
    made = [(kind, name, make) for kind, name, make in designs() if not args.only or kind in args.only]
    models = [("models", path.stem, lambda path=path: path) for path in args.models]
    for kind, name, make in (*made, *models):
        try:
            rows[kind, name] = row(kind, name, make(), args.effort)
        except lutc.LirError as refusal:
            print(f"{kind} {name}: {str(refusal).splitlines()[0]}", file=sys.stderr)
            continue
        print(json.dumps(rows[kind, name]), flush=True)
        found = list(rows.values())
        write_text(kept, json.dumps({"versions": told, "rows": found}, indent=1) + "\n")
        write_text(args.out.with_suffix(".md"), page(found, told))


if __name__ == "__main__":
    main()
