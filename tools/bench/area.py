#!/usr/bin/env python3
"""Area, depth and compile time of lutc's circuits against alkaid's, from the same trained models, in one run.

    tools/bench/area.py --models DIR_OR_FILE ... --peer-python /path/to/venv/bin/python --out tools/bench/results/area
    tools/bench/area.py --models HGQ_DIR --trace JETS.npz:x_std --peer-python ... --out tools/bench/results/area
    tools/bench/area.py --models MODEL.keras --lutc-only [--breakdown] [--form combinational]

With --flow flat, both sides are measured by the quickest way of synthesis alone: 8 minutes instead of 26 for two
circuits of 18,000 and 30,000 LUTs, whose sites were less than 1 % more. Rows measured otherwise are not kept in --out.

Every model is compiled twice by each side, combinational and pipelined for --clock-ns, each time by the command a
user would give (`lutc compile`, `alkaid convert`) in a process of its own with empty caches; the wall time of that
process is the compile time. Sites, flip-flops, ranks of registers and depth come from `sites.py`, the same for both.
A model's family is the name of its folder. --lutc-only takes the peer's figures from --out's JSON where it has them.
With --trace, the ranges of the model's wrapping quantisers are first traced on samples (see `trace_ranges.py`), and
both sides read the model that this gives; a model whose name ends in `.traced` is taken as it is. Python's bytecode is
compiled before, as installers do.
"""

from __future__ import annotations

import argparse
import compileall
import hashlib
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

Json = dict[str, Any]
HERE = Path(__file__).parent
FORMS = ("combinational", "pipelined")
PEER_PACKAGES = ("alkaid", "hgq2", "keras", "jax")


def models(paths: Iterable[Path]) -> list[Path]:
    """The .keras files among `paths` and in the folders among them."""
    found = [f for p in paths for f in (sorted(p.rglob("*.keras")) if p.is_dir() else [p])]
    missing = [str(f) for f in found if not f.is_file()]
    if missing or not found:
        sys.exit(f"no such model: {', '.join(missing)}" if missing else "no .keras files there")
    return found


def run(command: list[str], log: Path, timeout: float) -> float:
    """Wall time in seconds of a process with an empty home, thus with cold caches. Exits when it fails."""
    with tempfile.TemporaryDirectory() as home, log.open("w") as out:
        caches = {"HOME": home, "XDG_CACHE_HOME": home, "TMPDIR": home, "KERAS_BACKEND": "jax"}
        start = time.perf_counter()
        done = subprocess.run(
            command,
            env={k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"} | caches,
            stdout=out,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            check=False,
        )
        seconds = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{log.read_text()[-2000:]}")
    return round(seconds, 2)


def sites(top: str, files: Iterable[Path], args: argparse.Namespace) -> Json:
    """The yardstick's row, with its own time under another name."""
    flows = [word for flow in args.flow or () for word in ("--flow", flow)]
    command = [sys.executable, str(HERE / "sites.py"), top, *map(str, files), *flows]
    done = subprocess.run(command, capture_output=True, text=True, timeout=args.timeout, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    row: Json = json.loads(done.stdout)
    row["synthesis_s"] = row.pop("seconds")
    return row


def lutc(model: Path, form: str, folder: Path, args: argparse.Namespace) -> Json:
    """Compile with lutc and measure."""
    clock = ["--stages", "0"] if form == "combinational" else ["--clock-ns", str(args.clock_ns)]
    program = Path(sys.executable).with_name("lutc")
    options = [
        "--no-compare",
        *args.lutc_options.split(),
    ]  # as alkaid, which does not look at the model again
    command = [str(program), "compile", str(model), "-o", str(folder), *clock, *options]
    seconds = run(command, folder.with_suffix(".log"), args.timeout)
    top = json.loads((folder / "report.json").read_text())["top"]
    row = sites(top, sorted((folder / "rtl").glob("*.v")), args) | {"compile_s": seconds}
    if args.breakdown and form == "combinational":
        row["breakdown"] = breakdown(sorted((folder / "stages").glob("*.lir"))[-1], args)
    return row


def alkaid(model: Path, form: str, folder: Path, args: argparse.Namespace) -> Json:
    """Compile with alkaid, without its own random test, and measure."""
    cutoff = -1 if form == "combinational" else args.clock_ns
    program = Path(args.peer_python).with_name("alkaid")
    clock = ["--clock-period", str(args.clock_ns), "--latency-cutoff", str(cutoff)]
    command = [str(program), "convert", str(model), str(folder), "--n-test-sample", "0", *clock]
    seconds = run(command, folder.with_suffix(".log"), args.timeout)
    files = [f for f in sorted((folder / "src").rglob("*.v")) if f.name != "model_wrapper.v"]
    return sites("model", files, args) | {"compile_s": seconds}


def breakdown(final: Path, args: argparse.Namespace) -> dict[str, int]:
    """Sites of the parts of a circuit, each synthesised alone; what they read is an input.

    The parts share and merge less than the whole does, so their sum lies above it.
    """
    from lutc.emit import netlist
    from lutc.ir.ops import Add, Add3, Lincomb, Lut, Neg, Quant, Scale, Sub
    from lutc.plugins import backend
    from lutc.primitives import XILINX
    from lutc.text.parse import parse_file

    design = parse_file(final)
    rows = {}
    parts = {"tables": (Lut,), "sums": (Add, Add3, Sub, Neg, Lincomb, Scale), "rounding": (Quant,)}
    listed = tuple(kind for kinds in parts.values() for kind in kinds)
    for name, kinds in {**parts, "other": ()}.items():
        cut = _part(
            design, lambda op, kinds=kinds: isinstance(op, kinds) if kinds else not isinstance(op, listed)
        )
        if cut is None:
            rows[name] = 0
            continue
        with tempfile.TemporaryDirectory() as folder:
            files = []
            for file, text in backend("verilog").emit(netlist(cut, luts=XILINX), "").items():
                files.append(Path(folder, file))
                files[-1].write_text(text)
            rows[name] = int(sites("part", files, args)["sites"])
    return rows


def _part(design: Any, wanted: Any) -> Any:
    """The design of those operations with a cost that are `wanted`, fed by inputs; None if there is none."""
    from lutc import target
    from lutc.ir.graph import Design, Output, Param, Stage, body
    from lutc.ir.ops.base import Op
    from lutc.passes.rewriter import with_operands

    device = target.load("xcvu13p")
    params: list[Param] = []
    outputs: list[Output] = []
    new: dict[Any, Any] = {}
    inside: dict[Any, bool] = {}  # whether the wanted operations take part in a value

    def given(value: Any) -> Param:
        params.append(Param(value.type, name=f"x{len(params)}"))
        return params[-1]

    values = body(design)
    for value in values:
        free = isinstance(value, Op) and not value.luts(device)
        if isinstance(value, Op) and (free or wanted(value)):
            new[value] = with_operands(value, [new[v] for v in value.operands], name=None)
            inside[value] = not free or any(inside[v] for v in value.operands)
        else:
            new[value], inside[value] = given(value), False
    ends = {o.value for o in design.outputs}
    ends |= {v for value in values if not inside[value] for v in value.operands}
    for value in values:
        if inside[value] and value in ends and value.type.bits:
            outputs.append(Output(f"y{len(outputs)}", new[value]))
    if not outputs:
        return None
    return Design("part", tuple(p for p in params if p.type.bits), tuple(outputs), Stage.SCALAR)


def traced(model: Path, folder: Path, args: argparse.Namespace) -> Path:
    """The model with its ranges traced on the samples of --trace; the model itself where that is not asked for."""
    if not args.trace or model.stem.endswith(".traced"):
        return model
    samples, _, names = args.trace.partition(":")
    result = folder / f"{model.stem}.traced.keras"
    script = Path(__file__).with_name("trace_ranges.py")
    command = [args.peer_python, str(script), str(model), samples, str(result)]
    run([*command, *filter(None, names.split(","))], folder / "trace.log", args.timeout)
    return result


def measure(model: Path, args: argparse.Namespace, known: dict[tuple[str, str], Json]) -> list[Json]:
    """One row per form of `model`."""
    with tempfile.TemporaryDirectory(prefix="area-") as folder:
        return _measured(model, traced(model, Path(folder), args), args, known)


def _measured(
    model: Path, file: Path, args: argparse.Namespace, known: dict[tuple[str, str], Json]
) -> list[Json]:
    data = model.read_bytes()
    if file != model:
        data += Path(args.trace.partition(":")[0]).read_bytes()
    digest = hashlib.sha256(data).hexdigest()[:16]
    rows = []
    for form in args.form or FORMS:
        row: Json = {"family": model.parent.name, "model": file.stem, "sha256": digest, "form": form}
        with tempfile.TemporaryDirectory(prefix="area-") as folder:
            row["lutc"] = lutc(file, form, Path(folder, "lutc"), args)
            if args.peer_python and not args.lutc_only:
                row["alkaid"] = alkaid(file, form, Path(folder, "alkaid"), args)
            elif (digest, form) in known:
                row["alkaid"] = known[digest, form]
        if peer := row.get("alkaid"):
            row["ratio"] = {
                name: round(row["lutc"][key] / peer[key], 3)
                for name, key in (("sites", "sites"), ("depth", "depth_ps"), ("time", "compile_s"))
            }
        rows.append(row)
        print(_line(row), flush=True)
    return rows


def _line(row: Json) -> str:
    cells = [f"{row['family']:<10} {row['model']:<30} {row['form']:<13}"]
    for side in ("lutc", "alkaid"):
        if one := row.get(side):
            cells.append(
                f"{side} {one['sites']:>6} sites {one['ff']:>5} FF {one['depth_ps']:>6} ps"
                f" {one['stages']:>2} ranks {one['compile_s']:>6.1f} s"
            )
    if "ratio" in row:
        cells.append(f"ratio {row['ratio']['sites']:.3f}, time {row['ratio']['time']:.2f}")
    if found := row["lutc"].get("breakdown"):
        cells.append("parts: " + ", ".join(f"{k} {v}" for k, v in found.items()))
    return " | ".join(cells)


def geometric_means(rows: list[Json]) -> Json:
    """Per family and form, the geometric mean of each ratio."""
    groups: dict[str, list[Json]] = defaultdict(list)
    for row in rows:
        if "ratio" in row:
            groups[f"{row['family']}, {row['form']}"].append(row["ratio"])
    return {
        name: {k: round(math.exp(sum(math.log(r[k]) for r in group) / len(group)), 3) for k in group[0]}
        for name, group in groups.items()
    }


def markdown(result: Json) -> str:
    """The committed table."""
    lines = [
        "# Area: lutc against alkaid",
        "",
        "Made by `tools/bench/area.py`; what the columns mean stands in its and in `sites.py`'s first lines.",
        "Ratios are lutc / alkaid. Versions: "
        + ", ".join(f"{k} {v}" for k, v in result["versions"].items())
        + ".",
        f"Pipelined for a clock of {result['clock_ns']} ns, as each compiler estimates it.",
        *([f"Synthesised in this way only: {', '.join(result['flows'])}."] if "flows" in result else []),
        "",
        "| family | model | form | | sites | FF | depth ps | ranks | compile s | sites ratio | time ratio |",
        "|---|---|---|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in result["rows"]:
        for side in ("lutc", "alkaid"):
            if one := row.get(side):
                first = [row["family"], row["model"], row["form"]] if side == "lutc" else ["", "", ""]
                ratio = row.get("ratio", {}) if side == "lutc" else {}
                figures = [one[k] for k in ("sites", "ff", "depth_ps", "stages", "compile_s")]
                cells = [*first, side, *figures, ratio.get("sites", ""), ratio.get("time", "")]
                lines.append("| " + " | ".join(map(str, cells)) + " |")
    lines += ["", "| geometric mean of | sites | depth | time |", "|---|--:|--:|--:|"]
    lines += [
        f"| {k} | {v['sites']} | {v['depth']} | {v['time']} |" for k, v in result["geometric_means"].items()
    ]
    if any("breakdown" in row["lutc"] for row in result["rows"]):
        lines += ["", "Where lutc's sites are (parts synthesised alone):", ""]
        lines += ["| model | whole | tables | sums | rounding | other |", "|---|--:|--:|--:|--:|--:|"]
        for row in result["rows"]:
            if parts := row["lutc"].get("breakdown"):
                cells = [row["model"], row["lutc"]["sites"], *parts.values()]
                lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines) + "\n"


def versions(peer_python: str | None) -> dict[str, str]:
    """Of the packages that the figures depend on."""
    found = {name: version(name) for name in ("lutc", "pyosys")}
    if peer_python:
        code = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"
        done = subprocess.run(
            [peer_python, "-c", code, *PEER_PACKAGES], capture_output=True, text=True, check=True
        )
        found |= dict(zip(PEER_PACKAGES, done.stdout.split(), strict=True))
    return found


def main() -> None:
    summary, _, rest = (__doc__ or "").partition("\n")
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=summary, epilog=rest, formatter_class=formatter)
    parser.add_argument(
        "--models", type=Path, nargs="+", required=True, help=".keras files, or folders of them"
    )
    parser.add_argument(
        "--peer-python", help="Python of the environment that has alkaid, hgq2, keras and jax"
    )
    parser.add_argument(
        "--trace",
        metavar="SAMPLES.npz[:ARRAY,...]",
        help="trace the ranges of the models on these samples first; needs --peer-python",
    )
    parser.add_argument("--lutc-only", action="store_true", help="do not run the peer")
    parser.add_argument("--clock-ns", type=float, default=5.0, help="for the pipelined form (default 5)")
    parser.add_argument("--form", choices=FORMS, action="append", help="only this form")
    parser.add_argument(
        "--breakdown", action="store_true", help="also where the sites are in lutc's circuits"
    )
    parser.add_argument(
        "--flow", action="append", help="synthesise in this way of sites.py only; may be given again"
    )
    parser.add_argument("--lutc-options", default="", help="more words for `lutc compile`, in one string")
    parser.add_argument(
        "--out", type=Path, help="write OUT.json and OUT.md; rows of other models in it are kept"
    )
    parser.add_argument("--timeout", type=float, default=7200, help="seconds for one process (default 7200)")
    args = parser.parse_args()
    if not args.lutc_only and not args.peer_python:
        parser.error("give --peer-python, or --lutc-only")
    if args.trace and not args.peer_python:
        parser.error("--trace needs --peer-python: it is HGQ2 that traces")
    for package in ("lutc", "lutc.frontends", "lutc.backends"):
        for folder in import_module(package).__path__:
            compileall.compile_dir(folder, quiet=1)
    stored = args.out.with_suffix(".json") if args.out else None
    old: Json = json.loads(stored.read_text()) if stored and stored.exists() else {"rows": [], "versions": {}}
    same_clock = old.get("clock_ns") == args.clock_ns
    same_flows = old.get("flows") == args.flow
    kept = [r for r in old["rows"] if same_flows and (r["form"] == "combinational" or same_clock)]
    known = {(r["sha256"], r["form"]): r["alkaid"] for r in kept if "alkaid" in r}
    fresh = []
    for model in models(args.models):
        try:
            fresh += measure(model, args, known)
        except (RuntimeError, subprocess.TimeoutExpired) as e:
            print(f"{model}: {e}", file=sys.stderr)
    now = {(r["family"], r["model"], r["form"]) for r in fresh}
    rows = [r for r in kept if (r["family"], r["model"], r["form"]) not in now] + fresh
    rows.sort(key=lambda r: (r["family"], r["model"], r["form"]))
    result = {
        "versions": old["versions"] | versions(None if args.lutc_only else args.peer_python),
        "clock_ns": args.clock_ns,
        **({"flows": args.flow} if args.flow else {}),
        "geometric_means": geometric_means(rows),
        "rows": rows,
    }
    for name, means in geometric_means(fresh).items():
        print(f"geometric mean, {name}: sites {means['sites']:.3f}, time {means['time']:.2f}")
    if stored:
        from lutc.files.writing import write_text

        stored.parent.mkdir(parents=True, exist_ok=True)
        write_text(stored, json.dumps(result, indent=1) + "\n")
        write_text(stored.with_suffix(".md"), markdown(result))


if __name__ == "__main__":
    main()
