#!/usr/bin/env python3
"""Samples a second: lutc's C model against alkaid's `predict`, on the same models and samples, in one run.

    tools/bench/emulator.py --peer-python PYTHON --out tools/bench/results/emulator MODEL...

PYTHON is the interpreter of an environment with alkaid, hgq2, keras and jax. Both sides take float64 samples and give
float64 answers. Figures are samples per CPU second of one thread: medians of 5 calls after a first one; and once with
all that comes before, from the loaded model on (lutc: passes, C compiler, loading; alkaid: tracing). The answers of
both are compared. A `.lir` model is measured for lutc alone.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

SAMPLES = 1 << 20
CALLS = 5

PEER = """
import json, os, statistics, sys, time
os.environ["KERAS_BACKEND"] = "jax"
import keras, hgq, numpy as np
from alkaid.converter import trace_model
from alkaid.trace import trace
model = keras.models.load_model(sys.argv[1], compile=False)
x = np.load(sys.argv[2])
start = time.process_time()
comb = trace(*trace_model(model))
made = time.process_time() - start
x = x.reshape(len(x), -1)
y = comb.predict(x[:1000], n_threads=1)
times = []
for _ in range(int(sys.argv[4])):
    start = time.process_time()
    y = comb.predict(x, n_threads=1)
    times.append(time.process_time() - start)
np.save(sys.argv[3], y)
print(json.dumps({"made_s": made, "run_s": statistics.median(times)}))
"""


def cpu() -> float:
    """CPU seconds of this process and of those it has waited for."""
    found = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(f.ru_utime + f.ru_stime for f in found)


def lutc_side(path: Path, x: Any) -> tuple[dict[str, float], Any, Any]:
    import lutc
    from lutc.engines import engine

    design = lutc.load(path, compare=False)
    given = x(design)
    start = cpu()
    native = engine.native(design)
    made = cpu() - start
    times = []
    for _ in range(CALLS + 1):
        start = time.process_time()
        found = native.numbers([given], 1)
        times.append(time.process_time() - start)
    assert found is not None, "these samples are left to the reference"
    walls = []
    for threads in (1, 2):
        spent = []
        for _ in range(CALLS):
            start = time.perf_counter()
            native.numbers([given], threads)
            spent.append(time.perf_counter() - start)
        walls.append(statistics.median(spent))
    few = min(len(given), 2000)
    assert (design.run(given[:few]) == found[0][:few]).all(), f"{path}: not what the reference answers"
    return (
        {"made_s": made, "run_s": statistics.median(times[1:]), "two_threads": walls[0] / walls[1]},
        given,
        found[0],
    )


def peer_side(python: str, path: Path, given: Any, answers: Any) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        x, y = Path(folder, "x.npy"), Path(folder, "y.npy")
        np.save(x, given)
        env = os.environ | {"OMP_NUM_THREADS": "1"}
        words = [python, "-c", PEER, str(path), str(x), str(y), str(CALLS)]
        done = subprocess.run(words, capture_output=True, text=True, env=env)
        if done.returncode:
            return {"error": (done.stderr.strip().splitlines() or ["no word"])[-1][:200]}
        found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        theirs = np.load(y).reshape(len(given), -1)
        found["different"] = int((theirs != answers.reshape(len(given), -1)).any(axis=1).sum())
        return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--peer-python")
    parser.add_argument("--out", type=Path, help="write OUT.json and OUT.md")
    options = parser.parse_args()
    rows = []
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as cache:
        os.environ["XDG_CACHE_HOME"] = cache

        def samples(design: Any) -> Any:
            return np.random.default_rng(0).normal(size=(SAMPLES, *design.params[0].type.shape)) * 2

        for path in options.models:
            mine, given, answers = lutc_side(path, samples)
            peer = None
            if options.peer_python and path.suffix == ".keras":
                peer = peer_side(options.peer_python, path, given, answers)
            rows.append({"model": path.name, "lutc": mine, "alkaid": peer})
            print(json.dumps(rows[-1]), flush=True)
    if options.out:
        options.out.with_suffix(".json").write_text(
            json.dumps({"samples": SAMPLES, "rows": rows}, indent=2) + "\n"
        )
        options.out.with_suffix(".md").write_text(page(rows))
    return 0


def page(rows: list[dict[str, Any]]) -> str:
    lines = [
        "# Emulator: samples a second",
        "",
        "The C model of lutc against alkaid's `predict`; `tools/bench/emulator.py` says what is measured. Million",
        "samples per CPU second, one thread, float64 in and out; *with the first call* counts what comes before, over",
        f"{SAMPLES:,} samples. Samples that the sides answer differently are counted, not explained away.",
        "The C compiler takes one to three seconds, which a million samples of a small model do not pay back; it is",
        "asked once, for its libraries are kept. Other work on the machine moves the times, those of two threads most.",
        "",
        "| model | lutc | alkaid | ratio | first call: lutc | alkaid | ratio | made in, s | two threads | different |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        mine, peer = row["lutc"], row["alkaid"] or {}
        known = "run_s" in peer
        speed, total = (SAMPLES / s / 1e6 for s in (mine["run_s"], mine["run_s"] + mine["made_s"]))
        theirs = [SAMPLES / s / 1e6 for s in (peer["run_s"], peer["run_s"] + peer["made_s"])] if known else []
        cells = [f"{speed:.1f}", *([f"{theirs[0]:.2f}", f"{speed / theirs[0]:.1f}"] if known else ["", ""])]
        cells += [f"{total:.2f}", *([f"{theirs[1]:.2f}", f"{total / theirs[1]:.1f}"] if known else ["", ""])]
        made = f"{mine['made_s']:.2f}" + (f" / {peer['made_s']:.2f}" if known else "")
        cells += [made, f"{mine['two_threads']:.2f}", str(peer.get("different", ""))]
        lines.append(f"| {row['model']} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
