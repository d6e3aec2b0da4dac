"""Accuracy against resources on MAGIC gamma: lutc.nn and HGQ2's QDenseT, same network, data, recipe and epochs.

    python tools/bench/magic_front.py --peer-python /path/to/venv/with/hgq2/bin/python --data PATH --out runs/front

Each side trains once per seed along one ramp of beta (magic_recipe.py) and records a model every few epochs, with its
ranges traced on the training data. HGQ2's runs are recorded twice: the weights as they are, and their running mean by
Keras, because lutc.nn's trainer takes such a mean. A side's best model of at most so many LUTs is chosen by validation
accuracy, and reported on the test set. LUTs are counted on all sides by one formula, from the bit widths of the models;
at each level of the table the models are also compiled, with the compiler's estimate and the test accuracy of the
compiled design, which must be the trainer's own. Finished runs in the folder are used again.

Writes magic_front.json, .svg and .md beside this file, in results/.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import lutc
from lutc.files.writing import write_text
from lutc.ir.graph import body
from lutc.ir.ops.table import Lut

sys.path.insert(0, str(Path(__file__).parents[2]))
from lutc.nn.datasets import Arrays, magic_gamma
from tools.bench.magic_plot import picture
from tools.bench.magic_recipe import Recipe, Row, front, surrogate

HERE = Path(__file__).parent
LEVELS = (75, 100, 150, 200, 300, 400, 600, 800, 1200, 1600)
BUDGETS = tuple(round(float(v), 1) for v in np.geomspace(60, 1600, 60))  # of the picture's curves
SCRIPTS = {"lutc.nn": "magic_front_lutc.py", "HGQ2": "magic_front_hgq2.py"}
SIDES = {
    "lutc.nn": ("lutc.nn", "rows"),
    "HGQ2": ("HGQ2", "rows"),
    "HGQ2, mean weights": ("HGQ2", "mean_rows"),
}
Records = list[list[Row]]  # of a side, by seed


def train(script: str, python: str, recipe: Recipe) -> dict[str, Any]:
    """A script's records; from its folder if it has finished there before with this recipe."""
    done = Path(recipe.folder) / "rows.json"
    if done.exists():
        kept: dict[str, Any] = json.loads(done.read_text())
        if kept["recipe"] == asdict(recipe):
            return kept
        sys.exit(f"{recipe.folder} holds a run of another recipe; give another --out")
    done.parent.mkdir(parents=True, exist_ok=True)
    print(f"{script}, seed {recipe.seed}: {recipe.epochs} epochs", flush=True)
    asked = json.dumps(asdict(recipe))
    with (done.parent / "log.txt").open("w") as log:
        ran = subprocess.run(
            [python, str(HERE / SCRIPTS[script])], input=asked, text=True, stdout=subprocess.PIPE, stderr=log
        )
    if ran.returncode:
        sys.exit(f"{script} failed, see {log.name}")
    result: dict[str, Any] = {"recipe": asdict(recipe), **json.loads(ran.stdout.splitlines()[-1])}
    write_text(done, json.dumps(result))
    return result


def compiled(row: Row, data: Arrays) -> int:
    """The compiler's estimate for a recorded model, in LUTs.

    Ends the run if the design scores another accuracy than the model, or if its tables, whose values are as wide as
    what stands in them, count more than the model's widths.
    """
    design = lutc.load(row.file)
    logits = np.asarray(design.run(data[0].astype(float)))
    score = float((logits.argmax(-1) == data[1]).mean())
    if score != row.test:
        sys.exit(f"{row.file}: test accuracy {row.test} in training, {score} of the compiled design")
    tables = [v for v in body(design) if isinstance(v, Lut)]
    widths = [[np.array([f.width for f in t.formats]) for t in (v.key.type, v.type)] for v in tables]
    counted = surrogate((key, value) for key, value in widths)
    if not 0 < counted <= row.luts + 1e-6:
        sys.exit(f"{row.file}: {row.luts} LUTs in training, {counted} in the tables of the design")
    luts: int = lutc.compile(design, target="xcvu13p", clock_ns=2.0).report["estimate"]["luts"]
    return luts


def best_of_seeds(budget: float, rows: Records) -> list[Row]:
    """The best model of at most so many LUTs, by validation, of each seed that has one."""
    return [
        max(fits, key=lambda r: (r.validation, -r.luts))
        for f in rows
        if (fits := [r for r in f if r.luts <= budget])
    ]


def at_level(level: int, rows: Records, data: Arrays) -> dict[str, Any] | None:
    """A side's best model of at most ``level`` LUTs, and the mean and deviation of the seeds' own; None without one."""
    best = best_of_seeds(level, rows)
    if not best:
        return None
    chosen = min(best, key=lambda r: (-r.validation, r.luts))
    return {**plain(chosen), "estimate": compiled(chosen, data), "test_of_seeds": spread(best)}


def spread(best: list[Row]) -> dict[str, float]:
    """Mean and deviation of the seeds' test accuracies."""
    test = np.array([r.test for r in best])
    if len(test) < 2:
        return {}
    return {"mean": round(test.mean(), 5), "deviation": round(test.std(ddof=1), 5), "seeds": len(test)}


def curve(rows: Records) -> list[list[float]]:
    """(LUTs at most, mean of the seeds' test accuracies, deviation) at all budgets that every seed can keep."""
    points = []
    for budget in BUDGETS:
        best = best_of_seeds(budget, rows)
        if len(best) == len(rows):
            of = spread(best)
            points.append([budget, of.get("mean", best[0].test), of.get("deviation", 0.0)])
    return points


def plain(row: Row) -> dict[str, float]:
    """A row for the results: no file, and no more digits than mean anything."""
    return {
        "epoch": row.epoch,
        "validation": round(row.validation, 5),
        "test": round(row.test, 5),
        "luts": round(row.luts, 1),
    }


def page(result: dict[str, Any]) -> str:
    """The results as Markdown."""
    recipe, sides = result["recipe"], result["sides"]
    told = [", ".join(f"{k} {v}" for k, v in sides[side]["versions"].items()) for side in SCRIPTS]
    seconds = {side: f"{np.mean(sides[side]['cpu_s']):.0f} s" for side in SCRIPTS}
    head = [
        "# Accuracy against LUTs on MAGIC gamma",
        "",
        "![test accuracy against LUTs](magic_front.svg)",
        "",
        f"By `tools/bench/magic_front.py`: 10-{recipe['hidden']}-2, {recipe['epochs']} epochs, batch "
        f"{recipe['batch']}, {len(result['seeds'])} seeds a side ({'; '.join(told)}).",
        "Models are chosen by validation accuracy; the figures are of the test set (3,804 showers, so 0.5 % of "
        "statistical error, in common to all sides). *Mean* is that of the seeds' own choices with its deviation.",
        "LUTs are counted by the formula of HGQ-LUT on all sides; *compiled* is what `lutc compile` estimates for "
        "the same model, loaded from either.",
        "Initial formats and learning rates are the same; initial weights are HGQ2's own on its side, and "
        "`weight_scale=0.3` on lutc's, which was chosen by seed 0 of this task.",
        f"lutc.nn's trainer makes its checkpoints of a running mean of the weights (decay {recipe['average']}) and "
        "sets batch norms by the training data. HGQ2 is shown as it is, and with Keras's running mean of the same "
        "decay (`use_ema`), of the same runs.",
        f"CPU time of a training: {', '.join(f'{side} {s}' for side, s in seconds.items())}.",
        f"Mean of the curves in the picture from {BUDGETS[0]:.0f} to {BUDGETS[-1]:.0f} LUTs, where all have one: "
        + ", ".join(f"{side} {100 * v:.2f} %" for side, v in result["mean_of_curves"].items())
        + ".",
        "",
        "| LUTs at most | " + " | ".join(f"{s}: best | compiled | mean" for s in sides) + " |",
        "|---:|" + "---:|---:|---:|" * len(sides),
    ]
    for line in result["table"]:
        cells = [f"{line['level']}"]
        for side in sides:
            if found := line.get(side):
                of = found["test_of_seeds"]
                mean = f"{100 * of['mean']:.2f} ± {100 * of['deviation']:.2f} %" if of else ""
                if of and of["seeds"] < len(result["seeds"]):
                    mean += f" ({of['seeds']} seeds)"
                cells += [f"{100 * found['test']:.2f} % ({found['luts']:.0f})", f"{found['estimate']}", mean]
            else:
                cells += ["", "", ""]
        head.append("| " + " | ".join(cells) + " |")
    return "\n".join(head) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer-python", required=True, help="Python with hgq2, keras and jax")
    parser.add_argument("--data", help="the public file or a folder of CSV files; else it is downloaded")
    parser.add_argument("--out", type=Path, default=Path("runs/magic_front"), help="models of all records")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    parser.add_argument("--epochs", type=int, default=2000)
    parser.add_argument("--every", type=int, default=20, help="epochs between records")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(8)))
    args = parser.parse_args()
    python = {"lutc.nn": sys.executable, "HGQ2": args.peer_python}
    data = str(Path(args.data).resolve()) if args.data else None
    runs: dict[str, list[dict[str, Any]]] = {script: [] for script in SCRIPTS}
    rows: dict[str, Records] = {side: [] for side in SIDES}
    for seed in args.seeds:
        for script, found in runs.items():
            folder = args.out.resolve() / f"{script}_{seed}"
            recipe = Recipe(data, str(folder), args.epochs, args.every, seed)
            found.append(train(script, python[script], recipe))
            for side, (of, key) in SIDES.items():
                if of == script:
                    rows[side].append([Row(**{**r, "file": str(folder / r["file"])}) for r in found[-1][key]])
    test = magic_gamma(data)["test"]
    table = []
    for level in LEVELS:
        line = {"level": level, **{side: at_level(level, rows[side], test) for side in SIDES}}
        table.append(line)
        print(json.dumps(line), flush=True)
    curves = {side: curve(found) for side, found in rows.items()}
    common = [{budget: mean for budget, mean, _ in found} for found in curves.values()]
    shared = [budget for budget in BUDGETS if all(budget in means for means in common)]
    sides = {
        side: {
            "versions": runs[script][0]["versions"],
            "cpu_s": [run["cpu_s"] for run in runs[script]],
            "front": [plain(r) for r in front(r for one in rows[side] for r in one)],
            "curve": curves[side],
        }
        for side, (script, _) in SIDES.items()
    }
    told = {k: v for k, v in runs["HGQ2"][0]["recipe"].items() if k not in ("data", "folder", "seed")}
    means = {
        side: round(float(np.mean([of[budget] for budget in shared])), 5) if shared else float("nan")
        for side, of in zip(curves, common, strict=True)
    }
    result = {"recipe": told, "seeds": args.seeds, "mean_of_curves": means, "table": table, "sides": sides}
    args.results.mkdir(parents=True, exist_ok=True)
    write_text(args.results / "magic_front.json", json.dumps(result, indent=1) + "\n")
    write_text(args.results / "magic_front.svg", picture(curves))
    write_text(args.results / "magic_front.md", page(result))


if __name__ == "__main__":
    main()
