#!/usr/bin/env python3
"""Constant matrix times vector: lutc's networks against alkaid's and da4ml's, on the same matrices in one run.

    tools/bench/cmvm.py [--alkaid PYTHON] [--da4ml PYTHON] [--seeds 5] [--out FILE]

PYTHON is the interpreter of a virtual environment with alkaid 0.8.2 or da4ml 0.6.0. The matrices are random integers
of 8 bits, 16x16 and 64x64, inputs of 8 bits: uniform over -128 to 127, and over 129 to 255 (the eighth bit always
used, as in much of the literature). What is counted are additions and subtractions of two operands, processor time
over all threads and wall time, imports left out. lutc is asked for the fewest adders (it otherwise minimises carry
bits for the target), by each effort, with nothing remembered. The peers run with their defaults.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from importlib.metadata import version
from math import exp, log
from pathlib import Path
from typing import Any

import numpy as np

from lutc.cmvm.network import Problem, Span, right
from lutc.cmvm.search import EFFORTS, Goal, solve
from lutc.files.writing import write_text

SIZES = (16, 64)
RANGES = ((-128, 128), (129, 256))
SEEDS_OF_LARGE = 1  # the peers take half a minute for one

Row = tuple[int, float, float]

# Runs in the peer's environment: matrices in, one line of JSON out.
PEER = """
import json, sys, time
from importlib.metadata import version
import numpy as np
name = sys.argv[1]
if name == "alkaid":
    from alkaid.cmvm import cmvm_solve as solve
else:
    from da4ml.cmvm import solve
rows = []
for matrix in json.loads(sys.stdin.read()):
    kernel = np.array(matrix, dtype=np.float32)
    wall, start = time.perf_counter(), time.process_time()
    answer = solve(kernel)
    times = time.process_time() - start, time.perf_counter() - wall
    stages = answer.solutions if hasattr(answer, "solutions") else answer
    rows.append([sum(op.opcode in (0, 1) for s in stages for op in s.ops), *times])
print(json.dumps({"version": version(name), "rows": rows}))
"""


def matrices(seeds: int) -> list[tuple[str, np.ndarray[Any, Any]]]:
    """`(name, matrix)`, the same for everybody."""
    found = []
    for size in SIZES:
        for low, high in RANGES:
            for seed in range(seeds if size < 64 else SEEDS_OF_LARGE):
                matrix = np.random.default_rng(seed).integers(low, high, (size, size))
                found.append((f"{size}x{size} {low}..{high - 1}", matrix))
    return found


def problem(matrix: np.ndarray[Any, Any]) -> Problem:
    rows = tuple(tuple((i, int(w)) for i, w in enumerate(column) if w) for column in matrix.T)
    return Problem((Span(-128, 127),) * len(matrix), rows)


def ours(matrix: np.ndarray[Any, Any], effort: str) -> tuple[int, float, float]:
    """Adders, processor and wall seconds."""
    question = problem(matrix)
    wall, start = time.perf_counter(), time.process_time()
    network = solve(question, Goal(most=0, extra=99), effort)
    times = time.process_time() - start, time.perf_counter() - wall
    if not right(question, network):
        sys.exit("a network of lutc's is wrong")
    return network.adders(), *times


def peer(name: str, python: Path, kernels: list[np.ndarray[Any, Any]]) -> tuple[str, list[Row]]:
    """A peer's version, and what it finds for all matrices."""
    text = json.dumps([k.tolist() for k in kernels])
    done = subprocess.run([python, "-c", PEER, name], input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{name} failed:\n{done.stderr}")
    answer = json.loads(done.stdout.splitlines()[-1])
    return answer["version"], [(int(n), float(cpu), float(wall)) for n, cpu, wall in answer["rows"]]


def geometric(numbers: list[float]) -> float:
    return exp(sum(map(log, numbers)) / len(numbers))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--alkaid", type=Path, metavar="PYTHON")
    parser.add_argument("--da4ml", type=Path, metavar="PYTHON")
    parser.add_argument(
        "--seeds", type=int, default=5, help="16x16 matrices of each kind (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, help="write the figures there too, as JSON")
    args = parser.parse_args()
    named = matrices(args.seeds)
    kernels = [matrix for _, matrix in named]
    versions = {"lutc": version("lutc")}
    tables = {f"lutc {effort}": [ours(k, effort) for k in kernels] for effort in EFFORTS[:2]}
    for name in ("alkaid", "da4ml"):
        if python := getattr(args, name):
            versions[name], tables[name] = peer(name, python, kernels)
    print(", ".join(f"{n} {v}" for n, v in versions.items()) + "; geometric means")
    print(f"{'matrix':18}{'':13}{'adders':>9}{'cpu s':>9}{'wall s':>9}")
    for label in dict.fromkeys(label for label, _ in named):
        here = [k for k, (other, _) in enumerate(named) if other == label]
        for name, rows in tables.items():
            adders, cpu, wall = (geometric([rows[k][i] for k in here]) for i in range(3))
            print(f"{label:18}{name:13}{adders:9.1f}{cpu:9.3f}{wall:9.3f}")
    if args.out:
        data = {"versions": versions, "matrices": [label for label, _ in named], **tables}
        write_text(args.out, json.dumps(data, indent=1) + "\n")


if __name__ == "__main__":
    main()
