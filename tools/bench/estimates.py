#!/usr/bin/env python3
"""Estimated LUTs against LUT6 sites by open synthesis, over designs of all kinds.

    tools/bench/estimates.py [MODEL ...] [--only KIND ...] [--out FILE] [--effort normal]

Every design of `estimate_designs.py`, and every model file, is compiled for xcvu13p without registers. `estimate` is
what the report says, `sites` what `sites.py` counts (see there), `ratio` the one over the other: above 1 the estimate
is too high. The page has the geometric mean of the ratios and their quantiles, in all and by kind.

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
