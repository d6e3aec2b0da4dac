#!/usr/bin/env python3
"""Place and route: what lutc promised, and what open tools reach on the device.

    tools/bench/implemented.py MODEL ... [--target ecp5-85k ...] [--clock-ns 5 6.7 10] [--seeds 3] [--out FILE]
                               [--peer-python /path/to/venv/bin/python [--cutoff 2 5] [--peer-again]]

Every model is compiled for every target and clock, and implemented by `lutc.implement`: synthesised, placed and routed
between registers, with several seeds, of which the median counts. Clocks are in ns; `reached` over `stage` is how far
the model of delays is off, and `LUT4`, which counts two for every CCU2C on ECP5, over its estimate how far that of
area is. `met` says whether the clock that was asked for is reached. `delays` are the wires and registers of the target
at that time, in ns: rows that were not run again since a fit are of the circuits and the model before it.

With --peer-python, alkaid's Verilog of the same models, at latency cut-offs of its own delay model, goes through the
same harness, synthesis, place and route. `stages` are ranks of registers from inputs to outputs, `latency` is stages
times the period reached. alkaid's first rank holds the inputs with no logic before it; the ratios in brackets leave it
out of its latency and flip-flops. What is known of the peer is kept: --peer-again measures it anew. Without the peer
its figures of before stand. `digits_hgq2.py` trains a network that both can read, besides the jet taggers.

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
sys.path.insert(0, str(Path(__file__).parents[2]))
import lutc
from lutc import target as targets
from lutc.files.writing import write_text
from tools.bench import peer_circuits as peer

Row = dict[str, Any]
KEY = ("model", "target", "asked_ns")
PEER_KEY = ("model", "target", "cutoff")


def row(model: Path, target: str, clock: float, seeds: int) -> Row:
    """One line of the table."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        build = lutc.compile(model, target, clock_ns=clock)
        build.write(Path(folder, "build"), vectors=50)
        found = lutc.implement(Path(folder, "build"), seeds=seeds, vectors=0)
    facts, device = found.facts(), targets.load(target)
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
        "delays": f"{device.net:g} + {device.register:g}",
    }


def page(rows: list[Row], theirs: list[Row], versions: dict[str, str]) -> str:
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
            f"{sum(r['met'] for r in own)} of {len(own)} clocks met, with {_seeds(own)}. Over the model, as geometric "
            f"means: periods {geometric_mean(clocks):.2f}, LUT4 {geometric_mean(areas):.2f}, "
            f"FF {geometric_mean(flops):.2f}.",
            "",
            "| model | asked | stages | model | reached | wires | met | LUT4 | estimate | carries | FF | estimate "
            "| delays |",
            "|---|--:|--:|--:|--:|--:|---|--:|--:|--:|--:|--:|---|",
        ]
        for r in own:
            e = r["estimate"]
            lines.append(
                f"| {r['model']} | {r['asked_ns']:g} | {r['stages']} | {e['stage_ns']:.2f} | {r['reached_ns']:.2f} "
                f"| {100 * r['wires']:.0f} % | {'yes' if r['met'] else 'no'} | {r['luts']:,} | {e['luts']:,} "
                f"| {r['carries']:,} | {r['ffs']:,} | {e['ffs']:,} | {r.get('delays', 'before')} |"
            )
        lines.append("")
        lines += against(own, [r for r in theirs if r["target"] == target])
    return "\n".join(lines)


def against(own: list[Row], theirs: list[Row]) -> list[str]:
    """The part of a page that sets the peer's circuits beside ours; nothing where there are none."""
    models = [m for m in dict.fromkeys(r["model"] for r in own) if any(r["model"] == m for r in theirs)]
    if not models:
        return []
    table, ratios = [], []
    for model in models:
        a, b = ([r for r in side if r["model"] == model] for side in (own, theirs))
        for said, r in [(f"lutc, {r['asked_ns']:g} ns", r) for r in a] + [
            (f"alkaid, cut-off {r['cutoff']:g}", r) for r in b
        ]:
            table.append(
                f"| {model} | {said} | {r['stages']} | {r['reached_ns']:.2f} | {peer.latency(r):.1f} "
                f"| {r['luts']:,} | {r['ffs']:,} |"
            )
        c = peer.compared(a, b)
        ratios.append(c)
        table.append(f"| {model} | **best latency, lutc / alkaid** | | | {_ratios(c)} |")
    means: Row = {k: geometric_mean([c[k] for c in ratios]) for k in ("latency", "luts", "ffs")}
    means["bare"] = {k: geometric_mean([c["bare"][k] for c in ratios]) for k in ("latency", "ffs")}
    return [
        f"### Against alkaid on {own[0]['target']}",
        "",
        f"alkaid with {_seeds(theirs)}. Ratios are of the circuits with the shortest latency of each side; in brackets "
        "without the rank of alkaid's that holds its inputs.",
        "",
        "| model | circuit | stages | reached | latency | LUT4 | FF |",
        "|---|---|--:|--:|--:|--:|--:|",
        *table,
        f"| geometric mean | **best latency, lutc / alkaid** | | | {_ratios(means)} |",
        "",
    ]


def _ratios(c: Row) -> str:
    bare = c["bare"]
    return (
        f"{c['latency']:.2f} ({bare['latency']:.2f}) | {c['luts']:.2f} | {c['ffs']:.2f} ({bare['ffs']:.2f})"
    )


def _seeds(rows: list[Row]) -> str:
    counts = sorted({len(r["seeds"]) for r in rows})
    return f"{' or '.join(map(str, counts))} seed{'s' * (counts[-1] > 1)} each"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--target", nargs="+", default=["ecp5-85k"])
    parser.add_argument("--clock-ns", type=float, nargs="*", default=[5, 6.7, 10])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--peer-python", help="Python of an environment that has alkaid, hgq2, keras and jax")
    parser.add_argument(
        "--cutoff", type=float, nargs="+", default=[2, 5], help="alkaid's, in ns of its model"
    )
    parser.add_argument("--peer-again", action="store_true", help="also where its figures are there already")
    parser.add_argument("--out", type=Path, default=Path("runs/implemented"))
    args = parser.parse_args()
    kept = args.out.with_suffix(".json")
    before = json.loads(kept.read_text()) if kept.exists() else {"rows": []}
    rows = {tuple(r[k] for k in KEY): r for r in before["rows"]}
    theirs = {tuple(r[k] for k in PEER_KEY): r for r in before.get("peer", [])}
    versions = {**before.get("versions", {}), **_versions(args)}
    args.out.parent.mkdir(parents=True, exist_ok=True)

    def put() -> None:
        ours, others = list(rows.values()), list(theirs.values())
        write_text(kept, json.dumps({"versions": versions, "rows": ours, "peer": others}, indent=1) + "\n")
        write_text(args.out.with_suffix(".md"), page(ours, others, versions))

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
                put()
            for cutoff in args.cutoff if args.peer_python else ():
                key = (model.name, target, cutoff)
                if not args.peer_again and peer.known(theirs.get(key), model, args.seeds):
                    continue
                try:
                    theirs[key] = peer.row(model, cutoff, target, args.peer_python, args.seeds)
                except (peer.Missing, lutc.LirError) as reason:
                    print(f"{model.name} {target} alkaid {cutoff}: {reason}", file=sys.stderr)
                    continue
                print(json.dumps(theirs[key]), flush=True)
                put()
    put()
    if not args.peer_python:
        print("no --peer-python: alkaid's figures are those of before, if any", file=sys.stderr)


def _versions(args: argparse.Namespace) -> dict[str, str]:
    from lutc import target as targets
    from lutc.pnr.flows import flow_of
    from lutc.pnr.tools import version

    routers = {flow_of(targets.load(t)).router for t in args.target}
    found = {"lutc": lutc.__version__} | {t: version(t) for t in ("yosys", *sorted(routers))}
    if args.peer_python and (said := peer.version(args.peer_python)):
        found["alkaid"] = said
    return found


if __name__ == "__main__":
    main()
