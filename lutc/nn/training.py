"""Training with resources in the loss: ranges, an exactly resumable loop, the whole Pareto front in one run."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn

from .average import RunningMean
from .pareto import ParetoFront, save
from .quantizer import Quantizer
from .schedules import Schedule
from .surrogate import resource_total


def quantizers(model: nn.Module) -> Iterator[Quantizer]:
    return (m for m in model.modules() if isinstance(m, Quantizer))


def freeze_ranges(model: nn.Module, frozen: bool = True) -> None:
    """Stop (or let) wrapping quantisers follow their data in training."""
    for q in quantizers(model):
        q.frozen = frozen


@torch.no_grad()
def settle_norms(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set the statistics of batch norms to those of ``batches``, the mean over them if there are several.

    A batch norm's running statistics are of weights that have changed since. These are of the weights as they are
    (Wu and Johnson, arXiv 2105.07576, sec. 3).
    """
    found: list[Any] = [m for m in model.modules() if isinstance(getattr(m, "running_mean", None), Tensor)]
    if not found:
        return
    modes = [(m, m.training) for m in model.modules()]
    momenta = [m.momentum for m in found]
    was = [(q, q.tracing) for q in quantizers(model)]
    ranges = [(q.integer.clone(), q.sign.clone()) for q, _ in was]
    model.eval()
    try:
        for q, _ in was:
            q.tracing = True  # rounds, and never wraps
        for count, x in enumerate(batches, 1):
            for m in found:
                m.training, m.momentum = True, 1 / count
            model(x)
    finally:
        for m, momentum in zip(found, momenta, strict=True):
            m.momentum = momentum
        for m, mode in modes:
            m.training = mode
        for (q, tracing), (integer, sign) in zip(was, ranges, strict=True):
            q.tracing = tracing
            q.integer.data.copy_(integer)
            q.sign.copy_(sign)


@torch.no_grad()
def trace_ranges(
    model: nn.Module, batches: Iterable[Tensor], passes: int = 3, *, norms: bool = False
) -> None:
    """Set the ranges of wrapping quantisers to what the model meets on ``batches``, evaluated in order.

    Ranges are forgotten first. Capped widths (``max_bits``) lose fraction bits while ranges grow, which moves later
    layers' data, so the batches are run again until nothing changes, at most ``passes`` times. If ``norms``, the
    batches first settle the batch norms (`settle_norms`).
    """
    data = list(batches)
    if norms:
        settle_norms(model, data)
    training = model.training
    model.eval()
    found = list(quantizers(model))
    try:
        for q in found:
            q.reset_range()
            q.tracing = True
        for _ in range(passes):
            before = [(q.integer.clone(), q.sign.clone()) for q in found]
            for x in data:
                model(x)
            if all(
                torch.equal(q.integer, i) and torch.equal(q.sign, s)
                for q, (i, s) in zip(found, before, strict=True)
            ):
                break
    finally:
        for q in found:
            q.tracing = False
        model.train(training)


@contextmanager
def traced(model: nn.Module, batches: Iterable[Tensor], *, norms: bool = False) -> Iterator[nn.Module]:
    """A copy of the model with ranges traced on ``batches`` (see `trace_ranges`), for evaluation and export."""
    twin = copy.deepcopy(model)
    trace_ranges(twin, batches, norms=norms)
    twin.eval()
    yield twin


class Trainer:
    """Trains ``loss(model(x), y) + beta * resources`` and keeps the front of validation metric against resources.

    - `train`: (x, y); `validation`: (x, y), the only data that checkpoints are chosen by.
    - `metric`: of the validation outputs and targets; larger is better.
    - `beta`: the schedule of the factor (`lutc.nn.schedules`), by step.
    - `folder`: holds ``last.pt`` (everything needed to resume) and ``front/``. A run that finds them goes on from there
      and ends with the weights of a run that was never interrupted.
    - `schedule`: makes the learning-rate scheduler, stepped once per batch.
    - `every`: epochs between validations, which are also the checkpoints.
    - `average`: decay per step of the running mean of the weights that checkpoints are made of (`RunningMean`); 0 makes
      them of the weights themselves.

    A checkpoint is a copy of the model with those weights, whose batch norms and ranges are set by the training data
    (`trace_ranges`); `checkpoint` gives it at any time. The training goes on with what it had.

    Under ``torchrun`` (a process group is initialised) each rank trains on its share of every batch, with
    DistributedDataParallel; rank 0 keeps the files.
    """

    def __init__(
        self,
        model: nn.Module,
        optimiser: torch.optim.Optimizer,
        loss: Callable[[Tensor, Tensor], Tensor],
        *,
        train: tuple[Tensor, Tensor],
        validation: tuple[Tensor, Tensor],
        metric: Callable[[Tensor, Tensor], float],
        beta: Schedule,
        folder: str | Path,
        batch: int = 1024,
        seed: int = 0,
        every: int = 10,
        schedule: Callable[[torch.optim.Optimizer], Any] | None = None,
        average: float = 0.99,
    ) -> None:
        self.model, self.optimiser, self.loss, self.metric, self.beta = model, optimiser, loss, metric, beta
        self.train, self.validation = train, validation
        self.batch, self.seed, self.every = min(batch, len(train[0])), seed, every
        self.folder = Path(folder)
        self.scheduler = schedule(optimiser) if schedule else None
        self.epoch = self.step = 0
        self.used = math.nan
        self.parallel = distributed.is_available() and distributed.is_initialized()
        self.rank = distributed.get_rank() if self.parallel else 0
        self.ranks = distributed.get_world_size() if self.parallel else 1
        self.mean = RunningMean(model, average) if average else None
        self.front = ParetoFront(self.folder / "front")
        if (self.folder / "last.pt").exists():
            self._resume()
        self._net: nn.Module = nn.parallel.DistributedDataParallel(model) if self.parallel else model

    def fit(self, epochs: int, progress: bool = False) -> ParetoFront:
        """Train until ``epochs`` in all are done, those before a resume included."""
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("epoch {task.completed:.0f}/{task.total:.0f}"),
            BarColumn(),
            TextColumn("{task.description}"),
        )
        with Progress(*columns, TimeRemainingColumn(), disable=not progress or self.rank > 0) as bar:
            task = bar.add_task("", total=epochs, completed=self.epoch)
            while self.epoch < epochs:
                loss = self._epoch()
                told = f"loss {loss:.4f}  {self.used:.0f} LUT"
                if self.epoch % self.every == 0 or self.epoch == epochs:
                    told += f"  validation {self._checkpoint():.4f}"
                bar.update(task, completed=self.epoch, description=told)
        return self.front

    def _epoch(self) -> float:
        self.model.train()
        x, y = self.train
        order = torch.randperm(
            len(x), generator=torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        )
        total, count = 0.0, 0
        for first in range(0, len(x) - self.batch + 1, self.batch):
            mine = order[first : first + self.batch][self.rank :: self.ranks]
            if math.isnan(self.used):
                self.used = resource_total(self.model).item()
            beta = self.beta(self.step, self.used)
            self.optimiser.zero_grad(set_to_none=True)
            data = self.loss(self._net(x[mine]), y[mine])
            cost = resource_total(self.model)
            torch.autograd.backward(data + beta * cost)
            self.optimiser.step()
            if self.mean is not None:
                self.mean.update()
            if self.scheduler is not None:
                self.scheduler.step()
            self.used = cost.item()
            total, count, self.step = total + data.item(), count + 1, self.step + 1
        self.epoch += 1
        return total / count

    @contextmanager
    def checkpoint(self) -> Iterator[nn.Module]:
        """The model as a checkpoint has it, in evaluation mode."""
        model = self.model
        if self.mean is not None:
            model = copy.deepcopy(model)
            self.mean.give(model)
        with traced(model, [self.train[0]], norms=True) as twin:
            yield twin

    def _checkpoint(self) -> float:
        with self.checkpoint() as twin, torch.no_grad():
            metric = self.metric(twin(self.validation[0]), self.validation[1])
            if self.rank == 0:
                self.front.offer(metric, resource_total(twin).item(), self.epoch, twin.state_dict())
        if self.rank == 0:
            save(self._state(), self.folder / "last.pt")
        return metric

    def _state(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scheduler": self.scheduler.state_dict() if self.scheduler is not None else None,
            "mean": self.mean.state() if self.mean is not None else None,
            "beta": self.beta.state(),
            "epoch": self.epoch,
            "step": self.step,
            "used": self.used,
            "random": torch.get_rng_state(),
        }

    def _resume(self) -> None:
        state = torch.load(self.folder / "last.pt", weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.scheduler is not None:
            self.scheduler.load_state_dict(state["scheduler"])
        if self.mean is not None:
            if kept := state.get("mean"):
                self.mean.restore(kept)
            else:  # of a run without: the mean begins here
                self.mean = RunningMean(self.model, self.mean.decay)
        self.beta.restore(state["beta"])
        self.epoch, self.step, self.used = state["epoch"], state["step"], state["used"]
        torch.set_rng_state(state["random"])


def accuracy(output: Tensor, target: Tensor) -> float:
    """Share of samples whose largest output is the target class."""
    return (output.argmax(-1) == target).double().mean().item()
