#!/usr/bin/env python3
"""Fit the wires of a target's delay model to periods that place and route reached.

    tools/bench/fit_delays.py ROWS.json MODEL ... --target ice40up5k [--longer 0.05] [--register | --all]

ROWS.json is what `implemented.py` wrote with the target as it is. Each of its rows is compiled again, and the longest
stage of that very circuit taken by other figures: `net` so that the model is longer than what was reached by the share
`--longer`, as a geometric mean. With `--register` also `register`, with `--all` `fan_out` and `spread` besides, by
least squares of the periods' logarithms, with a little held against every figure's change, so that few rows do not
move far what they say little of. What the cells take is the router's own and stays.

Of the many ways of a stage one has wires longer than most; that happens once a stage however many levels it has, so it
is found in `register`, which rows of short and of long periods tell from `net`. Prints the figures, and how far off
each row is with them.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import exp, log
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
from scipy.optimize import minimize

import lutc
from lutc import target as targets
from lutc.analysis.timing import longest_stage
from lutc.ir.graph import Design
from lutc.target import Target

HELD = 0.003


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


def fitted(rows: Sequence[Routed], target: Target, longer: float, figures: Sequence[str]) -> Target:
    """The target with other figures, `net` among them, by a simplex search (Nelder and Mead) from what they are."""
    start = [getattr(target, name) for name in figures]

    def one(shares: Iterable[float]) -> Target:
        found = {name: max(s * old, 0.0) for name, old, s in zip(figures, start, shares, strict=True)}
        return replace(target, **found)

    def badness(shares: Sequence[float]) -> float:
        spent = sum((r.off(one(shares)) + log(1 + longer)) ** 2 for r in rows) / len(rows)
        return spent + HELD * sum((s - 1) ** 2 for s in shares)

    options = {"maxfev": 60 * len(figures), "xatol": 0.005, "fatol": 1e-6}
    best = minimize(badness, [1.0] * len(figures), method="Nelder-Mead", options=options).x
    return replace(target, **{name: round(getattr(one(best), name), 2) for name in figures})


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("rows", type=Path)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--target", required=True)
    parser.add_argument("--longer", type=float, default=0.05)
    parser.add_argument("--register", action="store_true")
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
    figures = ["net", "register", *(["fan_out", "spread"] if args.all else [])]
    if args.all or args.register:
        found = fitted(rows, target, args.longer, figures)
    else:
        found = fitted_net(rows, target, args.longer)
    print("\n".join(f"{name} = {getattr(found, name)}" for name in ("net", "register", "fan_out", "spread")))
    for said, one in (("before", target), ("after", found)):
        off = [r.off(one) for r in rows]
        each = ", ".join(f"{exp(o):.2f}" for o in off)
        error = 100 * sum(abs(exp(o) - 1) for o in off) / len(off)
        print(
            f"{said}: reached over model {exp(sum(off) / len(off)):.3f} as a geometric mean; {each}; {error:.1f} % off"
        )


if __name__ == "__main__":
    main()
