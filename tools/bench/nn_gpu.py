"""Training steps of a LUT network on a CUDA GPU: first whether they are right, then how fast, against HGQ2 on JAX.

    python tools/bench/nn_gpu.py --peer-python /path/to/venv/with/hgq2/and/cuda/jax/bin/python

The grid on the device is compared with plain autograd, values and every gradient, over kinds of layers in float64,
and a step replayed from a CUDA graph with the same step made eagerly; a difference ends the run with exit code 1.
Then a step (forward, cross entropy plus the resource term, backward, Adam) of 16-20-5 is timed eagerly and as a CUDA
graph, in turns with HGQ2's on the same GPU; a line gives the medians, the ratios and the peak of device memory.

Without a GPU,  TRITON_INTERPRET=1 python tools/bench/nn_gpu.py --device cpu  makes the comparison with plain autograd
on the CPU; the tests do.
"""

from __future__ import annotations

import argparse
import copy
import functools
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from lutc.nn import LUTDense, grid_device

sys.path.insert(0, str(Path(__file__).parents[2]))
from tools.bench import nn_step

CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "no batch norm": {"batch_norm": False},
    "saturate": {"overflow": "saturate"},
    "symmetric, floor": {"overflow": "saturate-symmetric", "rounding": "floor"},
    "half-even, relu": {"rounding": "nearest-half-even", "activation": "relu"},
    "floor, silu, deep": {"rounding": "floor", "activation": "silu", "depth": 3, "hidden": 4},
    "saturate, half-even, deep": {"overflow": "saturate", "rounding": "nearest-half-even", "depth": 2},
}
SHAPES = ((385, 1, 1), (450, 3, 5), (513, 4, 17))
TOLERANCE = 1e-9  # relative to the largest entry (at least 0.01), float64


def made(n_in: int, n_out: int, device: str, **options: Any) -> LUTDense:
    """A layer with all sorts of formats, pruned edges and statistics of its own."""
    layer = LUTDense(n_in, n_out, fraction=3, **options).double()
    iq, tq = layer.input_quantizer, layer.table_quantizer
    with torch.no_grad():
        iq.precision.add_(torch.randint(-6, 2, iq.shape))
        tq.precision.add_(torch.randint(-8, 2, tq.shape))
        tq.integer += torch.randint(-3, 1, tq.shape)
        if not iq.tracks:
            iq.integer += torch.randint(-3, 1, iq.shape)
            iq.sign.copy_(torch.randint(0, 2, iq.shape))
        if layer.batch_norm:
            layer.gamma.normal_()
            layer.beta.normal_()
    return layer.to(device)


def everything(
    layer: LUTDense, forward: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, weight: torch.Tensor
) -> dict[str, torch.Tensor]:
    """The output, all gradients of a weighted sum of it, and the buffers that the step leaves."""
    x = x.clone().requires_grad_()
    y = forward(x)
    torch.autograd.backward((y * weight).sum() + 0.01 * layer.resources())
    found = {"y": y.detach(), "x": x.grad} | {f"grad {k}": p.grad for k, p in layer.named_parameters()}
    return {k: v.clone() for k, v in found.items() if v is not None} | dict(layer.named_buffers())


def differences(options: dict[str, Any], shape: tuple[int, int, int], device: str) -> dict[str, float]:
    """By name, the largest difference between the grid and plain autograd, relative to the largest entry."""
    samples, n_in, n_out = shape
    torch.manual_seed(samples)
    layer = made(n_in, n_out, device, **options)
    reference = copy.deepcopy(layer)
    x = torch.randn(samples, n_in, dtype=torch.float64).to(device)
    weight = torch.randn(samples, n_out, dtype=torch.float64).to(device)
    got = everything(layer, functools.partial(grid_device.forward, layer), x, weight)
    want = everything(reference, reference.evaluate_reference, x, weight)
    if layer.room is None or got.keys() != want.keys():
        sys.exit(f"{options}, {shape}: the layer was not trained on the grid")
    return {
        name: ((got[name] - v).abs().max() / max(v.abs().max().item(), 1e-2)).item()
        for name, v in want.items()
    }


def check(device: str) -> float:
    """All cases, a line of JSON each; returns the largest difference."""
    worst = 0.0
    for name, options in CASES.items():
        for shape in SHAPES:
            found = differences(options, shape, device)
            print(
                json.dumps({"case": name, "shape": shape, "worst": max(found.values()), "of": sorted(found)})
            )
            worst = max(worst, *found.values())
    return worst


class Graph:
    """A training step as a CUDA graph."""

    def __init__(self, model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> None:
        self.optimiser = torch.optim.Adam(model.parameters(), 1e-4, fused=True, capturable=True)
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                nn_step.train(model, self.optimiser, x, y)
        torch.cuda.current_stream().wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        self.optimiser.zero_grad(set_to_none=True)
        with torch.cuda.graph(self.graph):
            nn_step.train(model, self.optimiser, x, y)

    def __call__(self) -> None:
        self.graph.replay()


def replay_differs(batch: int) -> float:
    """How far three steps from a graph lie from three made eagerly, as a share of how far these led.

    Sums of absolute differences over weights and buffers: where a gradient is 0 but for rounding, Adam's steps differ.
    """
    model, x, y = nn_step.network("trained", "cuda"), *data(batch)
    graph = Graph(model, x, y)
    eager = copy.deepcopy(model)
    before = copy.deepcopy(model.state_dict())
    optimiser = torch.optim.Adam(eager.parameters(), 1e-4, fused=True, capturable=True)
    optimiser.load_state_dict(copy.deepcopy(graph.optimiser.state_dict()))
    for _ in range(3):
        graph()
        nn_step.train(eager, optimiser, x, y)
    torch.cuda.synchronize()
    got, want = model.state_dict(), eager.state_dict()
    apart, way = (sum((v - other[k]).abs().sum().item() for k, v in want.items()) for other in (got, before))
    return float(apart / way)


def data(batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    return (
        torch.randn(batch, nn_step.SIZES[0], device="cuda"),
        torch.randint(0, nn_step.SIZES[-1], (batch,), device="cuda"),
    )


def timed(batch: int, steps: int, bits: str, form: str) -> dict[str, float]:
    """Milliseconds a step, the host not waiting between steps, and the peak of device memory in MiB."""
    torch.cuda.reset_peak_memory_stats()
    model, x, y = nn_step.network(bits, "cuda"), *data(batch)
    if form == "graph":
        step: Callable[[], None] = Graph(model, x, y)
    else:
        optimiser = torch.optim.Adam(model.parameters(), 1e-4, fused=True)
        step = functools.partial(nn_step.train, model, optimiser, x, y)
    for _ in range(3):
        step()
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(steps):
        step()
    torch.cuda.synchronize()
    ms = 1e3 * (time.perf_counter() - start) / steps
    if not all(p.isfinite().all() for p in model.parameters()):
        sys.exit("the training diverged")
    peak = torch.cuda.max_memory_allocated() / 1024**2
    return {"ms": ms, "device_mib": peak, "key_bits": nn_step.key_bits(model)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--peer-python", help="Python with hgq2, keras and jax for CUDA; without it lutc alone"
    )
    parser.add_argument("--batches", type=int, nargs="+", default=[1024, 33200])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: the comparison alone")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--steps", type=int, default=100, help="steps timed per turn")
    args = parser.parse_args()
    worst = check(args.device)
    if worst > TOLERANCE:
        sys.exit(f"the grid differs from plain autograd: {worst}")
    if args.device == "cpu":
        return
    if (drift := replay_differs(1024)) > 0.05:
        sys.exit(f"steps from a CUDA graph differ from eager ones by {drift:.0%}")
    head = ("batch", "formats", "key bits", "form", "lutc ms", "HGQ2 ms", "ratio", "lutc MiB", "HGQ2 MiB")
    print(" ".join(f"{h:>9}" for h in head))
    for batch in args.batches:
        mine: dict[tuple[str, str], list[dict[str, float]]] = {
            (bits, form): [] for bits in ("initial", "trained") for form in ("eager", "graph")
        }
        theirs: list[dict[str, float]] = []
        for _ in range(args.turns):
            for (bits, form), turns in mine.items():
                turns.append(timed(batch, args.steps, bits, form))
            if args.peer_python:
                theirs.append(peer_turn(args.peer_python, batch, args.steps))
        for (bits, form), turns in mine.items():
            ms = statistics.median(r["ms"] for r in turns)
            cells = [str(batch), bits, f"{turns[0]['key_bits']:.2f}", form, f"{ms:.3f}"]
            if theirs:
                other = statistics.median(r["ms"] for r in theirs)
                cells += [f"{other:.3f}", f"{other / ms:.1f}"]
                cells += [f"{max(r['device_mib'] for r in side):.0f}" for side in (turns, theirs)]
            print(" ".join(f"{c:>9}" for c in cells), flush=True)


def peer_turn(python: str, batch: int, steps: int) -> dict[str, float]:
    torch.cuda.empty_cache()
    return nn_step.run(
        python, "--side", "peer", "--batches", str(batch), "--steps", str(steps), "--device", "cuda"
    )


if __name__ == "__main__":
    main()
