#!/usr/bin/env python3
"""Post-training quantisation: `lutc.quantize` against ONNX Runtime and Brevitas on four float models.

    tools/bench/quantise.py --dry-bean FILE.npz --magic FOLDER --fashion FOLDER [--out runs/quantise] [--sites]

Trains the models of `quantise_models.py`, and gives each with its training rows to every quantiser; `lutc.quantize`
gets their labels, too, which the others have no use for. Test rows are seen by none of them; all accuracies are of
these, as the compiled circuit computes them. ONNX Runtime is shown in the best of its six settings by that very
accuracy, the one with fewer LUTs among equals; Brevitas at several widths. `lutc.quantize` is asked for a loss of at
most half a point (by its own account, on training rows that it holds back), and for at most a fifth of the LUTs of
ONNX Runtime's best, at both efforts. All are compiled by lutc for the same part. LUTs are lutc's estimate; --sites adds
those of open synthesis (`sites.py`) to ONNX Runtime's and to lutc's at a fifth, where the circuit is not too large.

Finished rows in the folder are used again. Writes quantise.json, .svg and .md beside this file, in results/; what is
not asked for stays there as it is, if the float model is the same.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
import numpy as np
import torch

import lutc
from lutc.files.writing import write_text

sys.path.insert(0, str(Path(__file__).parents[2]))
from tools.bench import quantise_rivals as rivals
from tools.bench.quantise_models import CASES, Data, trained
from tools.bench.sites import measure

HERE = Path(__file__).parent
TARGET = "xcvu13p"
LOSS = 0.5  # points
SHARE = 5  # of ONNX Runtime's LUTs, one part
MOST_SITES = 60_000  # estimated LUTs of a circuit that open synthesis is asked for
ORT = "ONNX Runtime"
PEERS = (ORT, *(f"Brevitas, {bits} bits" for bits in rivals.BITS))
FIFTH = "1/5 of the LUTs"
LUTC = {
    f"lutc, {effort}, {what}": (effort, what)
    for effort in ("normal", "high")
    for what in ("0.5 points", FIFTH)
}
INKS = {ORT: "#d1691b", "Brevitas": "#999999", "lutc, normal": "#6aa6d6", "lutc, high": "#1668a8"}
Row = dict[str, Any]


def accuracy(answers: Any, right: Any) -> float:
    return round(float((np.asarray(answers).reshape(len(right), -1).argmax(1) == right).mean()), 6)


def circuit(build: Any, data: Data) -> Row:
    """A row of the table: the figures of a compiled circuit, and its accuracy on the test rows."""
    report = build.report
    return {
        "accuracy": accuracy(build.run(data.test_x), data.test_y),
        "luts": int(report["estimate"]["luts"]),
        "ffs": int(report["estimate"]["ffs"]),
        "cycles": int(report["latency_cycles"]),
        "clock_ns": report["clock_ns"],
        "compared": report["compared"],
    }


def by_onnxruntime(source: Path, data: Data, folder: Path) -> tuple[Row, Any]:
    """The most accurate of ONNX Runtime's settings, with fewer LUTs among equals, and the accuracies of all."""
    rows, tried = {}, {}
    start = time.perf_counter()
    for setting, path in rivals.onnxruntime(source, data.x, folder):
        seconds = time.perf_counter() - start
        own = accuracy(rivals.answers(path, data.test_x), data.test_y)
        try:
            build = lutc.compile(path, TARGET)
        except lutc.LirError as refusal:
            tried[setting] = {"accuracy": own, "refused": str(refusal).splitlines()[0]}
        else:
            rows[setting] = {**circuit(build, data), "setting": setting, "seconds": round(seconds, 1)}, build
            tried[setting] = {"accuracy": own, "luts": rows[setting][0]["luts"]}
        start = time.perf_counter()
    row, build = max(rows.values(), key=lambda r: (r[0]["accuracy"], -r[0]["luts"]))
    return {**row, "tried": tried}, build


def by_brevitas(model: Any, data: Data, bits: int, folder: Path) -> tuple[Row, Any]:
    start = time.perf_counter()
    path = folder / f"brevitas_{bits}.onnx"
    rivals.brevitas(model, data.x, bits, path)
    seconds = time.perf_counter() - start
    build = lutc.compile(path, TARGET)
    return {**circuit(build, data), "seconds": round(seconds, 1)}, build


def by_lutc(source: Path, data: Data, effort: str, luts: int | None) -> tuple[Row, Any]:
    """Within `luts`, or within the half point if that is None."""
    start = time.perf_counter()
    bound: dict[str, Any] = {"max_loss": LOSS} if luts is None else {"max_luts": luts}
    found = lutc.quantize(source, data.x, data.y, target=TARGET, effort=effort, **bound)
    seconds = time.perf_counter() - start
    held = {"held": round(found.score, 6), "held_float": round(found.float_score, 6)}
    return {**circuit(found.build, data), **held, **bound, "seconds": round(seconds, 1)}, found.build


def synthesised(build: Any, folder: Path) -> Row:
    """Sites and depth by open synthesis."""
    build.write(folder, vectors=10)
    found = measure(build.report["top"], sorted((folder / "rtl").glob("*.v")))
    return {k: found[k] for k in ("sites", "ff", "depth_ps", "flow")}


def case(name: str, path: Path | None, folder: Path, methods: list[str], sites: bool) -> Row:
    """All rows of one model; those that stand in `folder` are read from there."""
    of = CASES[name]
    data = of.data(path)
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "float.onnx"
    model = trained(of, data, source)
    result: Row = {
        "about": of.about,
        "train": len(data.x),
        "test": len(data.test_x),
        "float": accuracy(rivals.answers(source, data.test_x), data.test_y),
        "rows": {},
    }
    print(f"{name}: float {100 * result['float']:.2f} %", flush=True)
    for method in methods:
        kept = folder / f"{method.replace('/', '_of_').replace(' ', '_').replace(',', '')}.json"
        if kept.exists():
            result["rows"][method] = json.loads(kept.read_text())
            continue
        run: Callable[[], tuple[Row, Any]]
        if method == ORT:
            run = lambda: by_onnxruntime(source, data, folder)  # noqa: E731
        elif method in LUTC:
            effort, what = LUTC[method]
            bound = None if what == "0.5 points" else result["rows"][ORT]["luts"] // SHARE
            run = lambda: by_lutc(source, data, effort, bound)  # noqa: B023, E731
        else:
            bits = int(method.split()[1])
            run = lambda: by_brevitas(model, data, bits, folder)  # noqa: B023, E731
        heard = io.StringIO()
        try:
            with contextlib.redirect_stdout(heard), contextlib.redirect_stderr(heard):
                row, build = run()
        except lutc.LirError as refusal:
            row = {"refused": str(refusal).splitlines()[0]}
        else:
            asked = method == ORT or method.endswith("LUTs")
            if sites and asked and row["luts"] <= MOST_SITES:
                row["synthesis"] = synthesised(build, folder / kept.stem)
        write_text(kept, json.dumps(row, indent=1) + "\n")
        result["rows"][method] = row
        print(f"  {method}: {json.dumps({k: v for k, v in row.items() if k != 'tried'})}", flush=True)
    return result


def merged(results: Path, cases: dict[str, Row]) -> dict[str, Row]:
    """The cases with what stands in earlier results of the same float models, in the order of `CASES`."""
    before = json.loads(results.read_text())["cases"] if results.exists() else {}
    found = {**before, **cases}
    for name, case in cases.items():
        old = before.get(name, {})
        if all(old.get(key) == case[key] for key in ("about", "train", "test", "float")):
            rows = {**old["rows"], **case["rows"]}
            found[name] = {**case, "rows": {m: rows[m] for m in (*PEERS, *LUTC) if m in rows}}
    return {name: found[name] for name in CASES if name in found}


def picture(cases: dict[str, Row]) -> str:
    """A panel for each model: accuracy against LUTs of everything in the table."""
    import matplotlib
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 6.4), layout="constrained")
    for axes, (name, found) in zip(figure.subplots(2, 2).flat, cases.items(), strict=False):
        floor = 100 * found["float"] - LOSS
        axes.axhline(100 * found["float"], color="#333", lw=1, ls="--", label="float")
        axes.axhspan(floor, 100 * found["float"], color="#333", alpha=0.08, lw=0)
        for side, ink in INKS.items():
            rows = [r for m, r in found["rows"].items() if m.startswith(side) and "luts" in r]
            points = sorted((r["luts"], 100 * r["accuracy"]) for r in rows)
            axes.plot(*zip(*points, strict=True), "o-", color=ink, lw=1, ms=6, label=side) if points else None
        peer = found["rows"].get(ORT, {}).get("luts")
        if peer:
            axes.axvline(peer / SHARE, color=INKS[ORT], lw=1, ls=":", label="a fifth")
        low = min(
            (100 * r["accuracy"] for m, r in found["rows"].items() if m in LUTC and "luts" in r),
            default=floor,
        )
        axes.set_ylim(min(floor, low) - 1.5, None)
        axes.set_xscale("log")
        axes.set_title(name, fontsize=11)
        axes.set_xlabel("LUTs (estimated)")
        axes.set_ylabel("test accuracy in %")
        axes.grid(color="#ddd")
        axes.set_axisbelow(True)
    figure.axes[0].legend(fontsize=8)
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "lutc", "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def page(result: Row) -> str:
    """The results as Markdown."""
    told = ", ".join(f"{k} {v}" for k, v in result["versions"].items())
    out = [
        "# Post-training quantisation: accuracy against LUTs",
        "",
        "![test accuracy against LUTs](quantise.svg)",
        "",
        f"By `tools/bench/quantise.py` ({told}). Every quantiser is given the float model and its training rows; "
        "accuracies are of test rows that none has seen, as the compiled circuit computes them.",
        f"All are compiled by lutc for {TARGET}, and compared with the framework that computes the model; *exact* says "
        "that all samples were equal. LUTs are lutc's estimate, *ratio* is that to ONNX Runtime's.",
        "ONNX Runtime is shown in the best by test accuracy of six settings (MinMax, Entropy and Percentile, by tensor "
        "and by channel). Brevitas calibrates, takes GPTQ and corrects biases, with scales of powers of two.",
        "hls4ml's automatic precision is left out: its LUTs take a vendor's HLS compiler.",
        "*sites* are LUT6 sites by open synthesis, where the circuit is not too large for it (`sites.py`).",
        "",
    ]
    for name, found in result["cases"].items():
        error = 100 * (found["float"] * (1 - found["float"]) / found["test"]) ** 0.5
        out += [
            f"## {name}",
            "",
            f"{found['about']}; {found['train']:,} rows for training, {found['test']:,} for the test. "
            f"Float accuracy {100 * found['float']:.2f} % (the rows' own statistical error is {error:.1f} points).",
            "",
            "| | accuracy | against float | LUTs | ratio | sites | cycles | exact | s |",
            "|---|--:|--:|--:|--:|--:|--:|---|--:|",
        ]
        peer = found["rows"].get(ORT, {}).get("luts")
        for method, row in found["rows"].items():
            label = f"{method} ({row['setting']})" if "setting" in row else method
            if "refused" in row:
                out.append(f"| {label} | {row['refused']} | | | | | | | |")
                continue
            ratio = f"{row['luts'] / peer:.3f}" if peer else ""
            exact = "exact" if str(row["compared"]).endswith("equal") else str(row["compared"])
            sites = row.get("synthesis", {}).get("sites")
            out.append(
                f"| {label} | {100 * row['accuracy']:.2f} % | {100 * (row['accuracy'] - found['float']):+.2f} "
                f"| {row['luts']:,} | {ratio} | {f'{sites:,}' if sites else ''} | {row['cycles']} | {exact} "
                f"| {row['seconds']:.0f} |"
            )
        out += [f"| {m} | not run | | | | | | | |" for m in (*PEERS, *LUTC) if m not in found["rows"]]
        out.append("")
    return "\n".join(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--dry-bean", type=Path, help="an .npz with x and y")
    parser.add_argument(
        "--magic", type=Path, help="the public file, or a folder of CSV files that together are it"
    )
    parser.add_argument("--fashion", type=Path, help="the folder of its four files")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/quantise"), help="models, and rows that are done"
    )
    parser.add_argument("--results", type=Path, default=HERE / "results")
    parser.add_argument("--only", choices=CASES, action="append", help="only this model; may be given again")
    parser.add_argument(
        "--method", choices=[*PEERS, *LUTC], action="append", help="only this one; may be repeated"
    )
    parser.add_argument("--sites", action="store_true", help="synthesise as well, which takes minutes")
    args = parser.parse_args()
    torch.set_num_threads(1)
    paths = {"dry bean": args.dry_bean, "magic": args.magic, "digits": None, "fashion": args.fashion}
    asked = set(args.method or (*PEERS, *LUTC))
    if any(LUTC.get(m, ("", ""))[1] == FIFTH for m in asked):
        asked.add(ORT)  # a fifth of whose LUTs it is
    methods = [m for m in (*PEERS, *LUTC) if m in asked]
    cases = {
        name: case(name, path, args.out / name.replace(" ", "_"), methods, args.sites)
        for name, path in paths.items()
        if (path is not None or name == "digits") and (not args.only or name in args.only)
    }
    versions = {n: version(n) for n in ("lutc", "onnxruntime", "brevitas", "torch")}
    cases = merged(args.results / "quantise.json", cases)
    result = {"versions": versions, "target": TARGET, "cases": cases}
    args.results.mkdir(parents=True, exist_ok=True)
    write_text(args.results / "quantise.json", json.dumps(result, indent=1) + "\n")
    write_text(args.results / "quantise.svg", picture(cases))
    write_text(args.results / "quantise.md", page(result))


if __name__ == "__main__":
    main()
