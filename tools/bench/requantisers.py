#!/usr/bin/env python3
"""Requantisers by themselves: what lutc estimates against the LUT sites that open synthesis counts.

    tools/bench/requantisers.py [--count 40] [--seed 0] [--out FILE.json]

A requantiser takes a sum's code to a few bits: `rescale` by a number with float32's digits, a zero point added, to u8,
s8 or u4, from 10 to 20 bits. Its scale is such that the answers are about the format's, by half or twice; one in four
is a ratio of small integers, so that there are ties, and the rounding is any of those that frameworks use. Both
figures are of the combinational circuit; sites are those of `sites.py`, of its first flow.

A requantiser by itself is not one behind a sum, with which synthesis may merge it: choose a circuit by what whole
neurons take. Each takes some ten seconds; no results are kept here.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from sites import measure  # type: ignore[import-not-found]

import lutc
from lutc.files.writing import write_text

Json = dict[str, Any]

ANSWERS = ("u8", "s8", "u4")
ROUNDINGS = ("nearest-half-even", "nearest-half-even", "nearest-half-up", "nearest-half-away", "floor")
NEAR = 0.15  # of the sites: estimates within are near


def program(rng: random.Random) -> str:
    """A requantiser as a `.lir` program."""
    width, to = rng.randint(10, 20), rng.choice(ANSWERS)
    bits, signed = int(to[1:]), to[0] == "s"
    steps = 2.0 ** (bits - width + rng.uniform(-1, 3))
    if rng.random() < 0.25:
        by = Fraction(rng.randint(3, 31), rng.randint(3, 31) * max(round(1 / steps), 1))
    else:
        by = Fraction(float(np.float32(steps)))
    zero = rng.choice(
        (0, rng.randint(-(1 << bits - 1), (1 << bits - 1) - 1) if signed else rng.randrange(1 << bits))
    )
    add = f" add={zero}," if zero else ""
    return (
        f"lir 1\n\ndesign requantiser(%x: s{width}) -> (y = %y) {{\n"
        f"  %y: {to} = rescale %x, by={by},{add} round={rng.choice(ROUNDINGS)}, overflow=saturate\n}}\n"
    )


def row(text: str) -> Json:
    """Estimate and sites of a program's circuit."""
    built = lutc.compile(lutc.loads(text), stages=0)
    with tempfile.TemporaryDirectory() as folder:
        built.write(Path(folder, "build"), vectors=1)
        files = sorted(Path(folder, "build").rglob("*.v"))
        sites = int(measure(built.design.name, files, ["flat"])["sites"])
    estimate = float(built.report["estimate"]["luts"])
    source, to = (line.strip() for line in text.splitlines()[2:4])
    return {
        "from": source.split()[2].rstrip(")"),
        "to": to,
        "estimate": estimate,
        "sites": sites,
    }


def summary(rows: list[Json]) -> Json:
    ratios = [r["estimate"] / r["sites"] for r in rows]
    near = sum(abs(r - 1) <= NEAR for r in ratios) / len(ratios)
    whole = sum(r["estimate"] for r in rows) / sum(r["sites"] for r in rows)
    return {
        "requantisers": len(rows),
        "mean ratio": round(float(np.mean(ratios)), 3),
        "ratio of the sums": round(whole, 3),
        "within 15 %": round(near, 3),
        "sites": sum(r["sites"] for r in rows),
    }


def main() -> None:
    first, _, rest = (__doc__ or "").partition("\n")
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=first, epilog=rest, formatter_class=formatter)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write FILE.json")
    args = parser.parse_args()
    rng = random.Random(args.seed)
    rows: list[Json] = []
    while len(rows) < args.count:
        r = row(program(rng))
        if not r["sites"]:
            continue  # all codes have one answer
        rows.append(r)
        print(
            f"{r['estimate']:6.1f} {r['sites']:4}  {r['estimate'] / r['sites']:.2f}  {r['from']} {r['to']}",
            flush=True,
        )
    print(json.dumps(summary(rows)))
    if args.out:
        write_text(args.out, json.dumps({**summary(rows), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
