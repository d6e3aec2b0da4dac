"""Accuracy against resources on MAGIC gamma: lutc.nn and HGQ2's QDenseT, same network, data, recipe and epochs.

    python tools/bench/magic_front.py --peer-python /path/to/venv/with/hgq2/bin/python --data PATH --out runs/front

Each side trains once per seed along one ramp of beta (magic_recipe.py) and records a model every few epochs, with its
ranges traced on the training data. The front of a side is made of what all its seeds recorded: chosen by validation
accuracy, reported on the test set. LUTs are counted on both sides by one formula, from the bit widths of the models;
at each level of the table both models are also compiled, with the compiler's estimate and the test accuracy of the
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
from lutc.graph import body
from lutc.ops.table import Lut

sys.path.insert(0, str(Path(__file__).parents[2]))
from tools.bench.magic_plot import picture
from tools.bench.magic_recipe import Recipe, Row, front, surrogate
from tools.zoo.magic_gamma.data import Arrays, load

HERE = Path(__file__).parent
LEVELS = (75, 100, 150, 200, 300, 400, 600, 800, 1200, 1600)
SIDES = {"lutc.nn": "magic_front_lutc.py", "HGQ2": "magic_front_hgq2.py"}


def train(side: str, python: str, recipe: Recipe) -> dict[str, Any]:
    """A side's records; from its folder if it has finished there before with this recipe."""
    done = Path(recipe.folder) / "rows.json"
    if done.exists():
        kept: dict[str, Any] = json.loads(done.read_text())
        if kept["recipe"] == asdict(recipe):
            return kept
        sys.exit(f"{recipe.folder} holds a run of another recipe; give another --out")
    done.parent.mkdir(parents=True, exist_ok=True)
    print(f"{side}, seed {recipe.seed}: {recipe.epochs} epochs", flush=True)
    asked = json.dumps(asdict(recipe))
    with (done.parent / "log.txt").open("w") as log:
        ran = subprocess.run(
            [python, str(HERE / SIDES[side])], input=asked, text=True, stdout=subprocess.PIPE, stderr=log
        )
    if ran.returncode:
        sys.exit(f"{side} failed, see {log.name}")
    result: dict[str, Any] = {"recipe": asdict(recipe), **json.loads(ran.stdout.splitlines()[-1])}
    done.write_text(json.dumps(result))
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


def at_level(level: int, rows: list[list[Row]], data: Arrays) -> dict[str, Any] | None:
    """A side's best model of at most ``level`` LUTs, and the mean and deviation of each seed's; None without one."""
    best = [
        max(fits, key=lambda r: (r.validation, -r.luts))
        for f in rows
        if (fits := [r for r in f if r.luts <= level])
    ]
    if len(best) < len(rows):
        return None
    chosen = min(best, key=lambda r: (-r.validation, r.luts))
    test = np.array([r.test for r in best])
    spread = {"mean": round(test.mean(), 5), "deviation": round(test.std(ddof=1), 5)} if len(best) > 1 else {}
    return {**plain(chosen), "estimate": compiled(chosen, data), "test_of_seeds": spread}


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
    told = {
        side: ", ".join(f"{k} {v}" for k, v in found["versions"].items()) for side, found in sides.items()
    }
    seconds = {side: f"{np.mean(found['cpu_s']):.0f} s" for side, found in sides.items()}
    head = [
        "# Accuracy against LUTs on MAGIC gamma",
        "",
        "![test accuracy against LUTs](magic_front.svg)",
        "",
        f"By `tools/bench/magic_front.py`: 10-{recipe['hidden']}-2, {recipe['epochs']} epochs, batch "
        f"{recipe['batch']}, {len(result['seeds'])} seeds a side ({'; '.join(told.values())}).",
        "Models are chosen by validation accuracy; the figures are of the test set (3,804 showers, so 0.5 % of "
        "statistical error).",
        "LUTs are counted by the formula of HGQ-LUT on both sides; *compiled* is what `lutc compile` estimates for "
        "the same model, loaded from either.",
        "Initial formats and learning rates are the same; initial weights are HGQ2's own on its side, and "
        "`weight_scale=0.3` on lutc's, which was chosen by seed 0 of this task.",
        f"CPU time of a training: {', '.join(f'{side} {s}' for side, s in seconds.items())}.",
        "",
        "| LUTs at most | " + " | ".join(f"{s}: best | compiled | mean of seeds" for s in sides) + " |",
        "|---:|" + "---:|---:|---:|" * len(sides),
    ]
    for line in result["table"]:
        cells = [f"{line['level']}"]
        for side in sides:
            if found := line.get(side):
                of = found["test_of_seeds"]
                mean = f"{100 * of['mean']:.2f} ± {100 * of['deviation']:.2f} %" if of else ""
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
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3])
    args = parser.parse_args()
    python = {"lutc.nn": sys.executable, "HGQ2": args.peer_python}
    data = str(Path(args.data).resolve()) if args.data else None
    runs: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    rows: dict[str, list[list[Row]]] = {side: [] for side in SIDES}
    for seed in args.seeds:
        for side, found in runs.items():
            folder = args.out.resolve() / f"{side}_{seed}"
            found.append(train(side, python[side], Recipe(data, str(folder), args.epochs, args.every, seed)))
            rows[side].append([Row(**{**r, "file": str(folder / r["file"])}) for r in found[-1]["rows"]])
    test = load(data)["test"]
    table = []
    for level in LEVELS:
        line = {"level": level, **{side: at_level(level, rows[side], test) for side in SIDES}}
        table.append(line)
        print(json.dumps(line), flush=True)
    fronts = {side: front(r for one in rows[side] for r in one) for side in SIDES}
    sides = {
        side: {
            "versions": found[0]["versions"],
            "cpu_s": [run["cpu_s"] for run in found],
            "front": [plain(r) for r in fronts[side]],
        }
        for side, found in runs.items()
    }
    recipe = {k: v for k, v in runs["HGQ2"][0]["recipe"].items() if k not in ("data", "folder", "seed")}
    result = {"recipe": recipe, "seeds": args.seeds, "table": table, "sides": sides}
    points = {side: [(r.luts, r.test) for r in found] for side, found in fronts.items()}
    args.results.mkdir(parents=True, exist_ok=True)
    (args.results / "magic_front.json").write_text(json.dumps(result, indent=1) + "\n")
    (args.results / "magic_front.svg").write_text(picture(points))
    (args.results / "magic_front.md").write_text(page(result))


if __name__ == "__main__":
    main()
