"""What the zoo's training scripts share: the run along a ramp of beta, its table, and the compiled result."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor, nn

import lutc
from lutc import nn as lnn
from lutc.files.writing import write_text
from lutc.report.terminal import show

Pair = tuple[Tensor, Tensor]
Parts = dict[str, Pair]  # train, validation and test: samples and targets
Arrays = tuple[NDArray[np.float32], NDArray[np.float32] | NDArray[np.int64]]


@dataclass(frozen=True)
class Task:
    """A data set, a model for it, and how good an answer is.

    parts: makes the data from the path given on the command line (None: generated) and the number of events.
    metric: of outputs and targets, larger is better; ``unit`` says what it is.
    outputs: how many the linear baseline has.
    """

    name: str
    parts: Callable[[str | None, int, int], Parts]
    model: Callable[[], nn.Module]
    loss: Callable[[Tensor, Tensor], Tensor]
    metric: Callable[[Tensor, Tensor], float]
    unit: str
    outputs: int
    events: int = 40_000
    steps: int = 1500
    batch: int = 512
    rate: float = 5e-3
    beta: tuple[float, float] = (1e-7, 1e-5)
    every: int = 1

    @property
    def folder(self) -> Path:
        return Path("runs") / self.name


def split(x: NDArray[np.float32], y: NDArray[np.float32] | NDArray[np.int64]) -> Parts:
    """``train`` (60 %), ``validation`` (20 %) and ``test`` (20 %) of events that come in random order."""
    a, b = len(x) * 6 // 10, len(x) * 8 // 10
    rows = {"train": slice(0, a), "validation": slice(a, b), "test": slice(b, None)}
    return {name: (torch.from_numpy(x[r]), torch.from_numpy(y[r])) for name, r in rows.items()}


def linear_baseline(task: Task, parts: Parts, iterations: int = 40) -> float:
    """The test metric of the best linear model of the same inputs in float, by L-BFGS on the training data."""
    x, y = parts["train"]
    mean, std = x.flatten(1).mean(0), x.flatten(1).std(0).clamp(min=1e-3)
    layer = nn.Linear(x[0].numel(), task.outputs)
    nn.init.zeros_(layer.weight)
    rows = (x.flatten(1) - mean) / std
    optimiser = torch.optim.LBFGS(layer.parameters(), max_iter=iterations, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        value = task.loss(layer(rows), y) + 1e-5 * layer.weight.square().sum()
        torch.autograd.backward(value)
        return value

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        test = layer((parts["test"][0].flatten(1) - mean) / std)
        return task.metric(test, parts["test"][1])


def train(
    task: Task, parts: Parts, folder: Path, *, steps: int, seed: int = 0, progress: bool = False
) -> tuple[nn.Module, lnn.ParetoFront]:
    """One run along the ramp: the model, and the front in ``folder``. Goes on with a run that was interrupted."""
    torch.manual_seed(seed)
    model = task.model()
    batch = min(task.batch, len(parts["train"][0]))
    per_epoch = len(parts["train"][0]) // batch
    epochs = max(1, steps // per_epoch)
    total = epochs * per_epoch
    trainer = lnn.Trainer(
        model,
        torch.optim.Adam(model.parameters(), task.rate),
        task.loss,
        train=parts["train"],
        validation=parts["validation"],
        metric=task.metric,
        beta=lnn.LogRamp(*task.beta, steps=max(total // 2, 1), hold=total // 4),
        folder=folder,
        batch=batch,
        seed=seed,
        every=min(task.every, epochs),
        schedule=lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, total, task.rate / 50),
    )
    return model, trainer.fit(epochs, progress)


def choose(front: lnn.ParetoFront, slack: float) -> lnn.pareto.Point:
    """The cheapest point whose validation metric is within ``slack`` (a share of it) of the best."""
    best = front.best().metric
    return min((p for p in front.points if p.metric >= best - slack * abs(best)), key=lambda p: p.cost)


def main(task: Task, words: list[str] | None = None) -> None:
    """Train, print the front beside the linear baseline, save the chosen model, compile and simulate it."""
    parser = argparse.ArgumentParser(description=f"Train {task.name}; selection is by validation data alone.")
    parser.add_argument(
        "--data", help="the public data set, where the task has a loader; else it is generated"
    )
    parser.add_argument("--events", type=int, default=task.events)
    parser.add_argument("--out", type=Path, default=task.folder)
    parser.add_argument("--steps", type=int, default=task.steps)
    parser.add_argument("--batch", type=int, default=task.batch)
    parser.add_argument("--lr", type=float, default=task.rate)
    parser.add_argument("--beta", type=float, nargs=2, default=task.beta, help="ends of the ramp")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--slack", type=float, default=0.01, help="of the metric, for a smaller model")
    parser.add_argument("--hdl", choices=("verilog", "vhdl"), default="verilog")
    parser.add_argument("--target", default="xcvu13p")
    parser.add_argument("--vectors", type=int, default=200, help="in the simulation")
    args = parser.parse_args(words)
    beta = (float(args.beta[0]), float(args.beta[1]))
    task = Task(**{**vars(task), "batch": args.batch, "rate": args.lr, "beta": beta})
    parts = task.parts(args.data, args.events, args.seed)
    print(f"linear baseline: test {task.unit} {linear_baseline(task, parts):.4f}", flush=True)
    model, front = train(task, parts, args.out, steps=args.steps, seed=args.seed, progress=True)
    rows = []
    x, y = parts["test"]
    for point in front.points:
        model.load_state_dict(front.load(point))
        with torch.no_grad():
            test = task.metric(model.eval()(x), y)
        rows.append({"epoch": point.epoch, "luts": point.cost, "validation": point.metric, "test": test})
        print(f"{point.cost:>9.0f} LUT  validation {point.metric:.4f}  test {test:.4f}", flush=True)
    write_text(args.out / "front_tested.json", json.dumps(rows, indent=1))
    point = choose(front, args.slack)
    model.load_state_dict(front.load(point))
    about = {"validation": point.metric, "luts": point.cost, "metric": task.unit}
    lnn.save(model, args.out / f"{task.name}.pt", shape=tuple(x.shape[1:]), about=about)
    finish(args.out / f"{task.name}.pt", x, args.target, args.hdl, args.vectors)


def finish(file: Path, x: Tensor, target: str, hdl: str, vectors: int) -> None:
    """Compile a checkpoint, compare its final stage with the model on ``x`` and simulate the HDL.

    Raises SystemExit if a bit is wrong.
    """
    x = x.double()
    with torch.no_grad():
        want = lnn.load(file)(x).numpy()
    build = lutc.compile(file, target, hdl=hdl)
    if not np.array_equal(build.run(x.numpy()), want):
        raise SystemExit("the circuit is NOT the model")
    folder = build.write(file.with_suffix(""), vectors=vectors, user_vectors={"": x[:vectors].numpy()})
    result = lutc.simulate(folder)
    if not result.passed:
        raise SystemExit(f"simulation FAILED: {result.message}")
    show(build.report, Console())
    print(
        f"exact on {len(x)} test events; {result.vectors} vectors simulated in {result.simulator}, no bit wrong"
    )
