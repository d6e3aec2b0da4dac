#!/usr/bin/env python3
"""Fit the wires of a target's delay model to periods that place and route reached.

    tools/bench/fit_delays.py ROWS.json MODEL ... --target ice40up5k [--longer 0.05] [--all]

ROWS.json is what `implemented.py` wrote with the target as it is. Each of its rows is compiled again, and the longest
stage of that very circuit taken by other figures: `net` so that the model is longer than what was reached by the share
`--longer`, as a geometric mean. With `--all` also `fan_out` and `spread`, by least squares of the periods' logarithms,
with a tenth of what was measured per unit of a figure's change held against it, so that few rows do not move far what
they say little of. What the cells take is the router's own and stays. Prints the figures, and how far off each row is
with them.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import exp, log
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
import lutc
from lutc import target as targets
from lutc.analysis.timing import longest_stage
from lutc.ir.graph import Design
from lutc.target import Target

HELD = 0.1


@dataclass(frozen=True)
class Routed:
    """A circuit that was placed and routed: its row, its final stage and its estimated LUTs."""

    row: dict[str, Any]
    design: Design
    luts: int

    def off(self, target: Target) -> float:
        """The logarithm of the period that was reached over the model's."""
        return log(self.row["reached_ns"] / longest_stage(self.design, target.crowded(self.luts)))


def compiled(row: dict[str, Any], model: Path) -> Routed:
    """Raises SystemExit where it is not the circuit that the row is of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        build = lutc.compile(model, row["target"], clock_ns=row["asked_ns"], compare=False)
    found = build.report["estimate"]
    if abs(found["stage_ns"] - row["estimate"]["stage_ns"]) > 0.002:
        sys.exit(
            f"{row['model']} for {row['asked_ns']} ns is another circuit by now: run implemented.py again"
        )
    return Routed(row, build.design, found["luts"])


def fitted_net(rows: Sequence[Routed], target: Target, longer: float) -> Target:
    """The target with wires such that the model is longer by a share, as a geometric mean; to a thousandth of a ns."""
    low, high = 0.0, 10 * target.net
    while high - low > 1e-3:
        middle = (low + high) / 2
        mean = sum(r.off(replace(target, net=middle)) for r in rows) / len(rows)
        low, high = (middle, high) if mean > -log(1 + longer) else (low, middle)
    return replace(target, net=round(high, 2))


def fitted(rows: Sequence[Routed], target: Target, longer: float) -> Target:
    """The same with the shares of fan-out and size of the circuit, too."""

    def badness(fan_out: float, spread: float) -> tuple[float, Target]:
        one = fitted_net(rows, replace(target, fan_out=fan_out, spread=spread), longer)
        spent = sum((r.off(one) + log(1 + longer)) ** 2 for r in rows) / len(rows)
        moved = (fan_out - target.fan_out) ** 2 + (spread - target.spread) ** 2
        return spent + HELD * moved, one

    steps = [n / 20 for n in range(9)]
    return min((badness(*pair) for pair in product(steps, steps)), key=lambda found: found[0])[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("rows", type=Path)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--target", required=True)
    parser.add_argument("--longer", type=float, default=0.05)
    parser.add_argument("--all", action="store_true")
    args = parser.parse_args()
    files = {model.name: model for model in args.models}
    listed = json.loads(args.rows.read_text())["rows"]
    rows = [
        compiled(r, files[r["model"]]) for r in listed if r["target"] == args.target and r["model"] in files
    ]
    if not rows:
        sys.exit(f"there are no rows of {args.target} and these models")
    target = targets.load(args.target)
    found = (fitted if args.all else fitted_net)(rows, target, args.longer)
    print(f"net = {found.net}\nfan_out = {found.fan_out}\nspread = {found.spread}")
    for said, one in (("before", target), ("after", found)):
        off = [r.off(one) for r in rows]
        each = ", ".join(f"{exp(o):.2f}" for o in off)
        print(f"{said}: reached over model {exp(sum(off) / len(off)):.3f} as a geometric mean; {each}")


if __name__ == "__main__":
    main()
