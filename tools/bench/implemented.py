#!/usr/bin/env python3
"""Place and route: what lutc promised, and what open tools reach on the device.

    tools/bench/implemented.py MODEL ... [--target ecp5-85k ...] [--clock-ns 5 6.7 10] [--seeds 3] [--out FILE]

Every model is compiled for every target and clock, and implemented by `lutc.implement`: synthesised, placed and routed
between registers, with several seeds, of which the median counts. Clocks are in ns; `reached` over `stage` is how far
the model of delays is off, and `LUT4`, which counts two for every CCU2C on ECP5, over its estimate how far that of
area is. `met` says whether the clock that was asked for is reached.

Writes FILE.json and FILE.md; rows that stand there for the same model, target and clock are replaced.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import warnings
from pathlib import Path
from statistics import geometric_mean
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
import lutc
from lutc.files.writing import write_text

Row = dict[str, Any]
KEY = ("model", "target", "asked_ns")


def row(model: Path, target: str, clock: float, seeds: int) -> Row:
    """One line of the table."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        build = lutc.compile(model, target, clock_ns=clock)
        build.write(Path(folder, "build"), vectors=50)
        found = lutc.implement(Path(folder, "build"), seeds=seeds, vectors=0)
    facts = found.facts()
    return {
        "model": model.name,
        "target": target,
        "asked_ns": clock,
        "stages": found.latency,
        **{k: facts["counts"][k] for k in ("luts", "carries", "ffs", "dsps")},
        "estimate": facts["estimate"],
        "reached_ns": facts["reached_ns"],
        "seeds": [s["period_ns"] for s in facts["seeds"]],
        "met": found.met,
        "wires": round(found.usual.routing, 3),
    }


def page(rows: list[Row], versions: dict[str, str]) -> str:
    told = ", ".join(f"{k} {v}" for k, v in versions.items())
    lines = [
        "# After place and route",
        "",
        f"By `tools/bench/implemented.py` ({told}); what the columns mean stands in its first lines.",
        "",
    ]
    for target in sorted({r["target"] for r in rows}):
        own = [r for r in rows if r["target"] == target]
        clocks = [r["reached_ns"] / r["estimate"]["stage_ns"] for r in own if r["estimate"]["stage_ns"]]
        areas = [r["luts"] / r["estimate"]["luts"] for r in own if r["estimate"]["luts"]]
        flops = [r["ffs"] / r["estimate"]["ffs"] for r in own if r["estimate"]["ffs"] and r["ffs"]]
        lines += [
            f"## {target}",
            "",
            f"{sum(r['met'] for r in own)} of {len(own)} clocks met. Over the model, as geometric means: periods "
            f"{geometric_mean(clocks):.2f}, LUT4 {geometric_mean(areas):.2f}, FF {geometric_mean(flops):.2f}.",
            "",
            "| model | asked | stages | model | reached | wires | met | LUT4 | estimate | carries | FF | estimate |",
            "|---|--:|--:|--:|--:|--:|---|--:|--:|--:|--:|--:|",
        ]
        for r in own:
            e = r["estimate"]
            lines.append(
                f"| {r['model']} | {r['asked_ns']:g} | {r['stages']} | {e['stage_ns']:.2f} | {r['reached_ns']:.2f} "
                f"| {100 * r['wires']:.0f} % | {'yes' if r['met'] else 'no'} | {r['luts']:,} | {e['luts']:,} "
                f"| {r['carries']:,} | {r['ffs']:,} | {e['ffs']:,} |"
            )
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--target", nargs="+", default=["ecp5-85k"])
    parser.add_argument("--clock-ns", type=float, nargs="+", default=[5, 6.7, 10])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("runs/implemented"))
    args = parser.parse_args()
    kept = args.out.with_suffix(".json")
    before = json.loads(kept.read_text())["rows"] if kept.exists() else []
    rows = {tuple(r[k] for k in KEY): r for r in before}
    from lutc.pnr.tools import version

    versions = {"lutc": lutc.__version__} | {t: version(t) for t in ("yosys", "nextpnr-ecp5")}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    for model in args.models:
        for target in args.target:
            for clock in args.clock_ns:
                try:
                    found = row(model, target, clock, args.seeds)
                except lutc.LirError as refusal:
                    print(f"{model.name} {target} {clock}: {str(refusal).splitlines()[0]}", file=sys.stderr)
                    continue
                rows[tuple(found[k] for k in KEY)] = found
                print(json.dumps(found), flush=True)
                write_text(kept, json.dumps({"rows": list(rows.values())}, indent=1) + "\n")
                write_text(args.out.with_suffix(".md"), page(list(rows.values()), versions))


if __name__ == "__main__":
    main()
