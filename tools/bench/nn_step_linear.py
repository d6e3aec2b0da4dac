"""Time of one training step of ordinary layers, lutc.nn against HGQ2 (Keras on JAX), on the CPU.

    python tools/bench/nn_step_linear.py --peer-python /path/to/venv/with/hgq2/bin/python

Both train width-width-7 with biases and a ReLU between (`QLinear`, HGQ2's QDense), formats per weight and per input
element, on the same random batch: forward, cross entropy plus beta times the resources, backward, Adam. Each side runs
in a process of its own, with one thread, in turns; a line gives the medians of CPU time over all turns, because the
machine may have other work to do, and the ratio. A column for plain ``torch.nn.Linear`` says what the step costs
without quantisers.

With ``--write`` the table goes to results/nn_step.md. Correctness comes first: the values and gradients of the compiled
quantisers are compared with plain autograd, and a difference ends the run with exit code 1.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))
from tools.bench.nn_step import run, train

CLASSES = 7
WIDTHS = (16, 64, 256)
BATCHES = (256, 1024, 4096, 32768)
HERE = Path(__file__).parent


def network(width: int, plain: bool = False) -> Any:
    """width-width-7 of `lutc.nn.QLinear`, or of `torch.nn.Linear`."""
    import torch

    from lutc import nn as lnn

    torch.manual_seed(0)
    kind = torch.nn.Linear if plain else lnn.QLinear
    return torch.nn.Sequential(kind(width, width), torch.nn.ReLU(), kind(width, CLASSES))


def ours(width: int, batch: int, steps: int, plain: bool) -> dict[str, float]:
    import torch

    torch.set_num_threads(1)
    model = network(width, plain)
    x, y = torch.randn(batch, width), torch.randint(0, CLASSES, (batch,))
    differs = 0.0 if plain else _differs(model, x[:500])
    optimiser = torch.optim.Adam(model.parameters(), 1e-4, fused=True)
    times = []
    for _ in range(steps + 3):
        start = time.process_time()
        train(model, optimiser, x, y)
        times.append(time.process_time() - start)
    return {"ms": 1e3 * statistics.median(times[3:]), "differs": differs}


def _differs(model: Any, x: Any) -> float:
    """Largest relative difference of values and gradients between the compiled quantisers and plain autograd."""
    import contextlib
    import copy

    import torch

    from lutc.nn import fused, resource_total

    found = []
    for compiled in (True, False):
        twin = copy.deepcopy(model).double()
        data = x.double().requires_grad_()
        with contextlib.nullcontext() if compiled else fused.plain():
            value = twin(data)
            weight = torch.linspace(-1, 1, value.numel(), dtype=value.dtype).view_as(value)
            torch.autograd.backward((value * weight).sum() + 1e-3 * resource_total(twin))
        found.append([value, data.grad, *(p.grad for p in twin.parameters() if p.grad is not None)])
    pairs = zip(*found, strict=True)
    return float(max(((a - b).abs().max() / (b.abs().max() + 1e-30)).item() for a, b in pairs))


def peer(width: int, batch: int, steps: int) -> dict[str, float]:
    os.environ["KERAS_BACKEND"] = "jax"
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    import keras
    import numpy as np
    from hgq.config import LayerConfigScope
    from hgq.layers import QDense

    keras.utils.set_random_seed(0)
    with LayerConfigScope(enable_ebops=True, beta0=1e-6):
        layers = [QDense(width, activation="relu"), QDense(CLASSES)]
        model = keras.Sequential([keras.Input((width,)), *layers])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(1e-4), loss=loss)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((batch, width), "float32"), rng.integers(0, CLASSES, batch)
    times = []
    for _ in range(steps + 3):
        start = time.process_time()
        model.train_on_batch(x, y)  # gives the loss as a number, hence waits for the step
        times.append(time.process_time() - start)
    return {"ms": 1e3 * statistics.median(times[3:])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--peer-python", help="Python with hgq2, keras and jax; without it only lutc is timed"
    )
    parser.add_argument("--widths", type=int, nargs="+", default=list(WIDTHS))
    parser.add_argument("--batches", type=int, nargs="+", default=list(BATCHES))
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="write results/nn_step.md")
    parser.add_argument("--side", choices=("ours", "plain", "peer"), help=argparse.SUPPRESS)
    parser.add_argument("--steps", type=int, default=0, help="steps timed per turn; 0: by the batch's size")
    args = parser.parse_args()
    if args.side:
        case = args.widths[0], args.batches[0], args.steps
        made = peer(*case) if args.side == "peer" else ours(*case, args.side == "plain")
        print(json.dumps(made))
        return
    os.environ["OMP_NUM_THREADS"] = "1"
    rows = []
    print(" ".join(f"{h:>9}" for h in ("width", "batch", "torch ms", "lutc ms", "HGQ2 ms", "ratio")))
    for width in args.widths:
        for batch in args.batches:
            rows.append(measured(width, batch, args))
            print(" ".join(f"{c:>9}" for c in cells(rows[-1])), flush=True)
    if args.write:
        write(rows)


def measured(width: int, batch: int, args: Any) -> dict[str, float]:
    """Medians of all sides, in turns."""
    steps = args.steps or max(8, min(200, 200_000 // batch))
    common = ("--widths", str(width), "--batches", str(batch), "--steps", str(steps))
    sides = {"plain": sys.executable, "ours": sys.executable}
    if args.peer_python:
        sides["peer"] = args.peer_python
    times: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(args.turns):
        for side, python in sides.items():
            made = run(python, "--side", side, *common, script=__file__)
            if made.get("differs", 0) > 1e-8:
                sys.exit(f"the compiled quantisers differ from plain autograd: {made['differs']}")
            times[side].append(made["ms"])
    return {"width": width, "batch": batch} | {side: statistics.median(t) for side, t in times.items()}


def cells(row: dict[str, float]) -> list[str]:
    """A line of the table."""
    told = [str(row["width"]), str(row["batch"]), f"{row['plain']:.2f}", f"{row['ours']:.2f}"]
    return told + (
        [f"{row['peer']:.2f}", f"{row['peer'] / row['ours']:.2f}"] if "peer" in row else ["-", "-"]
    )


def write(rows: list[dict[str, float]]) -> None:
    """The table as a page of the documentation."""
    from lutc.files.writing import write_text

    heads = ("width", "batch", "torch.nn.Linear, ms", "lutc.nn.QLinear, ms", "HGQ2 QDense, ms", "HGQ2 / lutc")
    lines = [
        "# Time of a training step with ordinary layers",
        "",
        "By `tools/bench/nn_step_linear.py`: width-width-7 with biases and a ReLU, formats per weight and per input "
        "element, float32; forward, cross entropy plus resources, backward and Adam. Medians of CPU time with one"
        " thread.",
        "HGQ2 runs on Keras with JAX, compiled. A ratio above 1 means that lutc.nn is faster.",
        "",
        "| " + " | ".join(heads) + " |",
        "|" + "--:|" * len(heads),
        *("| " + " | ".join(cells(row)) + " |" for row in rows),
        "",
    ]
    write_text(HERE / "results" / "nn_step.md", "\n".join(lines))


if __name__ == "__main__":
    main()
