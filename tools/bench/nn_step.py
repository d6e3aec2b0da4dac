"""Time of one training step of a LUT network, lutc.nn against HGQ2 (Keras on JAX), on the CPU; nn_gpu.py is for GPUs.

    python tools/bench/nn_step.py --peer-python /path/to/venv/with/hgq2/bin/python

Both train 16-20-5 (the jet tagger's shape) on the same random batch: forward, cross entropy plus the resource term,
backward, Adam. Each side runs in a process of its own, with its own Python, in turns; a line gives the medians of
wall-clock time over all turns and the ratio. Correctness comes first: the grid's values and gradients are compared
with plain autograd before anything is timed, and a difference ends the run with exit code 1.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import time
from typing import Any

SIZES = (16, 20, 5)


def network(bits: str, device: str = "cpu") -> Any:
    """The model, with formats as they are at first or as in a trained network."""
    import torch

    from lutc import nn as lnn

    torch.manual_seed(0)
    layers = [lnn.LUTDense(a, b) for a, b in itertools.pairwise(SIZES)]
    if bits == "trained":  # widths 3 to 8 at keys and values, 5.5 on average with the sign
        with torch.no_grad():
            for layer in layers:
                for quantizer in (layer.input_quantizer, layer.table_quantizer):
                    quantizer.precision.add_(torch.randint(-6, 0, quantizer.shape))
    return torch.nn.Sequential(*layers).to(device)


def train(model: Any, optimiser: Any, x: Any, y: Any) -> None:
    """One step."""
    import torch

    from lutc import nn as lnn

    optimiser.zero_grad(set_to_none=True)
    loss = torch.nn.functional.cross_entropy(model(x), y) + 1e-6 * lnn.resource_total(model)
    torch.autograd.backward(loss)
    optimiser.step()


def key_bits(model: Any) -> float:
    return float(statistics.mean(q.input_quantizer.formats().width.double().mean().item() for q in model))


def ours(batch: int, steps: int, bits: str) -> dict[str, float]:
    import resource

    import torch

    from lutc.nn import points

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # torch's own ops here are too small to share; the grid's are shared
    points.threads = lambda: threads
    model = network(bits)
    x, y = torch.randn(batch, SIZES[0]), torch.randint(0, SIZES[-1], (batch,))
    same = _agrees(model, x[: min(batch, 2000)])
    optimiser = torch.optim.Adam(model.parameters(), 1e-4, fused=True)
    times = []
    for _ in range(steps + 3):
        start = time.perf_counter()
        train(model, optimiser, x, y)
        times.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "ms": 1e3 * statistics.median(times[3:]),
        "key_bits": key_bits(model),
        "agrees": same,
        "peak_mib": peak,
    }


def _agrees(model: Any, x: Any) -> float:
    """Largest relative difference of values and gradients between the grid and plain autograd, in float64."""
    import copy

    import torch

    found = []
    for method in ("auto", "reference"):
        twin = copy.deepcopy(model).double()
        for layer in twin:
            layer.method = method
        data = x.double().requires_grad_()
        value = twin(data)
        (
            value
            * torch.linspace(-1, 1, value.numel(), dtype=value.dtype, device=value.device).view_as(value)
        ).sum().backward()
        found.append([value, data.grad, *(p.grad for p in twin.parameters() if p.grad is not None)])
    worst: float = max(
        ((a - b).abs().max() / (b.abs().max() + 1e-30)).item() for a, b in zip(*found, strict=True)
    )
    return worst


def peer(batch: int, steps: int, device: str = "cpu") -> dict[str, float]:
    import os
    import resource

    os.environ["KERAS_BACKEND"] = "jax"
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    import jax
    import keras
    import numpy as np
    from hgq.config import LayerConfigScope, QuantizerConfigScope
    from hgq.layers import QDenseT

    keras.utils.set_random_seed(0)
    with (
        LayerConfigScope(enable_ebops=True, beta0=1e-6),
        QuantizerConfigScope(place="table", homogeneous_axis=(0,), heterogeneous_axis=None),
    ):
        layers = [QDenseT(n, batch_norm=True) for n in SIZES[1:]]
        model = keras.Sequential([keras.Input(SIZES[:1]), *layers])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(1e-4), loss=loss)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((batch, SIZES[0]), "float32"), rng.integers(0, SIZES[-1], batch)
    if device == "cpu":
        for _ in range(3):
            model.train_on_batch(x, y)
        times = []
        for _ in range(steps):
            start = time.perf_counter()
            model.train_on_batch(x, y)  # gives the loss as a number, hence waits for the step
            times.append(time.perf_counter() - start)
        step = statistics.median(times)
    else:  # many steps without looking at the loss, so that the host's time is not counted
        data = (np.tile(x, (steps, 1)), np.tile(y, steps))
        model.fit(*data, batch_size=batch, shuffle=False, verbose=0)
        start = time.perf_counter()
        model.fit(*data, batch_size=batch, shuffle=False, verbose=0)
        step = (time.perf_counter() - start) / steps
    memory = jax.local_devices()[0].memory_stats() or {}  # a CPU has none
    return {
        "ms": 1e3 * step,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "device_mib": memory.get("peak_bytes_in_use", 0) / 1024**2,
    }


def run(python: str, *arguments: str, script: str = __file__) -> dict[str, float]:
    """What a side of a bench prints on its last line. Ends the run if it fails."""
    done = subprocess.run([python, script, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(arguments)} failed:\n{done.stderr[-2000:]}")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--peer-python", help="Python with hgq2, keras and jax; without it only lutc is timed"
    )
    parser.add_argument("--batches", type=int, nargs="+", default=[1024, 33200])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--side", choices=("ours", "peer"), help=argparse.SUPPRESS)
    parser.add_argument("--steps", type=int, default=0, help="steps timed per turn; 0: by the batch's size")
    parser.add_argument("--device", default="cpu", help=argparse.SUPPRESS)
    parser.add_argument("--bits", choices=("initial", "trained"), default="initial", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        batch = args.batches[0]
        found = (
            ours(batch, args.steps, args.bits)
            if args.side == "ours"
            else peer(batch, args.steps, args.device)
        )
        print(json.dumps(found))
        return
    heads = ("batch", "formats", "key bits", "lutc ms", "HGQ2 ms", "ratio", "lutc MiB", "HGQ2 MiB")
    print(" ".join(f"{h:>9}" for h in heads))
    for batch in args.batches:
        steps = args.steps or max(6, min(100, 100_000 // batch))
        common = ("--batches", str(batch), "--steps", str(steps))
        mine: dict[str, list[dict[str, float]]] = {"initial": [], "trained": []}
        theirs = []
        for _ in range(args.turns):
            for bits, turns in mine.items():
                turns.append(run(sys.executable, "--side", "ours", "--bits", bits, *common))
                if turns[-1]["agrees"] > 1e-8:
                    sys.exit(f"the grid differs from plain autograd: {turns[-1]['agrees']}")
            if args.peer_python:
                theirs.append(run(args.peer_python, "--side", "peer", *common))
        for bits, turns in mine.items():
            ms = statistics.median(r["ms"] for r in turns)
            cells = [str(batch), bits, f"{turns[0]['key_bits']:.2f}", f"{ms:.3f}"]
            if theirs:
                other = statistics.median(r["ms"] for r in theirs)
                cells += [
                    f"{other:.2f}",
                    f"{other / ms:.1f}",
                    f"{turns[0]['peak_mib']:.0f}",
                    f"{theirs[0]['peak_mib']:.0f}",
                ]
            line = " ".join(f"{c:>9}" for c in cells)
            print(line, flush=True)


if __name__ == "__main__":
    main()
