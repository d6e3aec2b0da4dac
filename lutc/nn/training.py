"""Training with resources in the loss: an exactly resumable loop that keeps the whole Pareto front in one run."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from lutc.diagnostics import error

from . import checks, resume
from .average import RunningMean
from .batches import Batch, Source
from .finite import check_weights
from .history import History, Record
from .mistakes import SettingMistake, number, whole
from .pareto import ParetoFront, save
from .progress import TensorBoard, bar, tensorboard_needed
from .ranges import traced
from .schedules import Constant, Schedule
from .steps import Loss, Stepper
from .surrogate import resource_total

Callback = Callable[["Trainer", Record], Any]


class Trainer:
    """Trains ``loss(model(x), y) + beta * resources`` and keeps the front of validation metric against resources.

    Data (`train`, `validation`, `ranges`) are (x, y) or (x, y, weights) of tensors or arrays (the fast way, shuffled
    by `seed`), a Dataset, a DataLoader, or another iterable of such batches. x may be a tuple or dict of tensors,
    which become the arguments of the model, and y anything that `loss` takes. With weights, ``loss`` gives one number
    for each sample (``reduction="none"``), and the weighted mean counts.

    - `validation`: the only data that checkpoints are chosen by; without it, the training data.
    - `metric`: of the validation outputs and targets, a number or a tensor of one, larger is better; it gets the
      weights if it has an argument ``weight`` or ``sample_weight``. Without it, the negative loss.
    - `beta`: the factor of the resources: a number, or a schedule by step (`lutc.nn.LogRamp` and its like).
    - `folder`: holds ``last.pt`` (everything needed to resume), ``front/``, ``history.json``, and ``report.html`` and
      ``front.svg``, which grow while it trains. A run that finds them goes on from there and ends with the weights of
      a run that was never interrupted; if it is made of something else, it says what, and stops.
    - `fresh`: begin anew, and remove what a run has left in the folder.
    - `initial`: a state to begin with, such as ``front.load(point)``; another run in the folder is moved aside.
    - `schedule`: a learning-rate scheduler, or a function that makes it of the optimiser. It steps once per optimiser
      step, or per epoch if `schedule_by` is "epoch"; ReduceLROnPlateau at each validation, by the metric if its mode is
      "max", else by the training loss.
    - `batch`: samples of a batch (a DataLoader has its own); `accumulate`: batches of an optimiser step.
    - `clip`: limit of the norm of all gradients together.
    - `every`: epochs between validations, which are also the checkpoints.
    - `average`: decay per step of the running mean of the weights that checkpoints are made of (`RunningMean`); 0 makes
      them of the weights themselves.
    - `ranges`: data that set the checkpoints' ranges, by default the training data, all of them in memory.
    - `budget`, `patience`: stop when the resources are at most the budget and, with a patience, that many validations
      in a row have brought nothing to the front.
    - `callbacks`: called after each validation with the trainer and its `Record`; one that returns True stops the run.
    - `report`: whether to draw the page; `tensorboard`: whether to write for TensorBoard as well.

    A checkpoint is a copy of the model with those weights, whose batch norms and ranges are set by the training data
    (`trace_ranges`); `checkpoint` gives it at any time. The training goes on with what it had.

    Under ``torchrun`` (a process group is initialised) each rank trains on its share of every batch, with
    DistributedDataParallel; rank 0 keeps the files. A DataLoader has to share out its data itself.

    Raises LirError (a ValueError) naming the argument, before any training, for whatever does not fit together, and
    during it, naming the sample, weight or layer, when a number is not finite.

    Examples
    --------
    >>> import torch
    >>> from lutc import nn
    >>> _ = torch.manual_seed(0)
    >>> x = torch.randn(512, 4)
    >>> y = (x[:, 0] > x[:, 1]).long()
    >>> model = torch.nn.Sequential(nn.LUTDense(4, 2))
    >>> adam = torch.optim.Adam(model.parameters(), 1e-2)
    >>> options = {"metric": nn.accuracy, "beta": 1e-5, "folder": "run", "batch": 128, "every": 5}
    >>> trainer = nn.Trainer(model, adam, torch.nn.functional.cross_entropy, train=(x, y), **options)
    >>> front = trainer.fit(epochs=10)
    >>> front.best().metric > 0.8
    True
    """

    def __init__(
        self,
        model: nn.Module,
        optimiser: torch.optim.Optimizer,
        loss: Loss,
        *,
        train: Any,
        validation: Any = None,
        metric: Callable[..., Any] | None = None,
        beta: Any,
        folder: str | Path,
        batch: int = 1024,
        seed: int = 0,
        every: int = 10,
        schedule: Any = None,
        average: float = 0.99,
        schedule_by: str = "step",
        accumulate: int = 1,
        clip: float | None = None,
        ranges: Any = None,
        budget: float | None = None,
        patience: int | None = None,
        fresh: bool = False,
        initial: dict[str, Tensor] | None = None,
        callbacks: Sequence[Callback] = (),
        report: bool = True,
        tensorboard: bool = False,
    ) -> None:
        checks.check_model(model)
        checks.check_optimiser(optimiser, model)
        self.model, self.optimiser, self.loss, self.metric = model, optimiser, loss, metric
        self.batch, self.every, self.accumulate = whole("batch", batch), whole("every", every), accumulate
        self.seed = whole("seed", seed, 0)
        whole("accumulate", accumulate)
        self.clip = None if clip is None else number("clip", clip, above=0)
        self.budget = None if budget is None else number("budget", budget, 0)
        self.patience = None if patience is None else whole("patience", patience)
        if isinstance(beta, int | float):
            beta = Constant(beta)
        if not callable(beta) or not hasattr(beta, "state") or not hasattr(beta, "restore"):
            raise SettingMistake("beta", f"{beta!r} is neither a number nor a schedule such as nn.LogRamp")
        self.beta: Schedule = beta
        self.callbacks = tuple(callbacks)
        if not all(map(callable, self.callbacks)):
            raise SettingMistake("callbacks", "one of them is no function of the trainer and a record")
        if number("average", average, 0) >= 1:
            raise SettingMistake("average", f"the decay of a running mean is between 0 and 1, not {average}")
        self.average = average
        if tensorboard:
            tensorboard_needed()
        self.folder = Path(folder)
        if self.folder.exists() and not self.folder.is_dir():
            raise SettingMistake("folder", f"{folder} is a file")
        self.parallel = distributed.is_available() and distributed.is_initialized()
        self.rank = distributed.get_rank() if self.parallel else 0
        self.ranks = distributed.get_world_size() if self.parallel else 1
        self.train = self._source("train", train)
        self.validation = self.train if validation is None else self._source("validation", validation)
        self.ranges = self.train if ranges is None else self._source("ranges", ranges)
        self.batch = self.train.batch
        if self.batch < self.ranks:
            raise SettingMistake("batch", f"{self.batch} samples cannot be shared by {self.ranks} processes")
        self.schedule_by = schedule_by
        facts = self._facts(initial)  # before the scheduler changes the rate
        self.scheduler = checks.scheduler_of(schedule, schedule_by, optimiser)
        facts |= resume.scheduler_facts(self.scheduler)
        checks.rehearse(model, self.train, self.validation, metric, loss)
        self.epoch = self.step = 0
        self.used = self._factor = math.nan
        self._losses: list[float] = []  # of the epochs since the last validation
        self._facts_now = facts
        state = self._begun(fresh, initial)
        self.mean = RunningMean(model, average) if average else None
        if state is not None:
            self._resume(state)
        self.front = ParetoFront(self.folder / "front")
        self.history = History(self.folder, self.epoch)
        self.report = report
        self._board = (
            TensorBoard(self.folder / "tensorboard", self.step) if tensorboard and not self.rank else None
        )
        net = nn.parallel.DistributedDataParallel(model) if self.parallel else model
        self._stepper = Stepper(model, net, optimiser, loss, self.clip)

    def _source(self, where: str, data: Any) -> Source:
        share = (self.rank, self.ranks) if where == "train" else (0, 1)
        return Source(
            where, data, self.model, batch=self.batch, seed=self.seed, rank=share[0], ranks=share[1]
        )

    # -- the folder -------------------------------------------------------------------------------------------------

    def _facts(self, initial: dict[str, Tensor] | None) -> resume.Facts:
        facts = resume.model_facts(self.model) | resume.optimiser_facts(self.optimiser, self.model)
        for source in {s.where: s for s in (self.train, self.validation, self.ranges)}.values():
            facts |= resume.data_facts(source)
        for name in ("loss", "metric", "beta"):
            facts |= resume.object_facts(name, getattr(self, name))
        for name in ("batch", "seed", "every", "average", "accumulate", "clip", "schedule_by"):
            facts |= resume.object_facts(name, getattr(self, name))
        facts["processes"] = str(self.ranks)
        if initial is not None:
            facts["initial"] = resume.state_digest(initial)
        return facts

    def _begun(self, fresh: bool, initial: dict[str, Tensor] | None) -> dict[str, Any] | None:
        """The state of a run in the folder that this one goes on with; None if it begins."""
        state = None if fresh else resume.read_last(self.folder)
        same = state is not None and state.get("made_of") == self._facts_now
        if state is not None and not same and initial is None:
            resume.refuse_another(self.folder, state.get("made_of"), self._facts_now)
        if not same and initial is not None:
            resume.load_initial(self.model, initial)
        self._meet()  # all have read before anything moves
        if self.rank == 0:
            self.folder.mkdir(parents=True, exist_ok=True)
            if fresh:
                resume.clear(self.folder)
            elif not same and any((self.folder / name).exists() for name in resume.FILES):
                resume.set_aside(self.folder)  # also what was left by a run that came to no state
        self._meet()
        return state if same else None

    def _meet(self) -> None:
        if self.parallel:
            distributed.barrier()

    def _agreed(self, *values: float) -> list[float]:
        """Rank 0's numbers, on all ranks."""
        if not self.parallel:
            return list(values)
        like = next(self.model.parameters())
        told = torch.tensor(values, dtype=torch.float64, device=like.device)
        distributed.broadcast(told, 0)
        return told.tolist()

    # -- the loop ---------------------------------------------------------------------------------------------------

    def fit(self, epochs: int, progress: bool = False, *, seconds: float | None = None) -> ParetoFront:
        """Train until ``epochs`` in all are done, those before a resume included, or for ``seconds`` at most.

        The time is looked at after every epoch. ``progress`` shows a bar in the terminal.
        """
        whole("epochs", epochs, 0)
        end = math.inf if seconds is None else time.monotonic() + number("seconds", seconds, 0)
        device = next(self.model.parameters()).device.type
        if torch.is_autocast_enabled(device):
            text = "in mixed precision a layer's sums are rounded to 8 or 11 bits, and are not those of its circuit"
            raise error(text, where="autocast", help="call fit outside of torch.autocast")
        stop = bool(self._agreed(self._enough())[0])
        with bar(self.epoch, epochs, shown=progress and self.rank == 0) as shown:
            while self.epoch < epochs and not stop:
                loss = self._epoch()
                if seconds is not None:
                    stop = bool(self._agreed(time.monotonic() >= end)[0])
                record = None
                if stop or self.epoch % self.every == 0 or self.epoch == epochs:
                    record, enough = self._validate()
                    stop |= enough
                shown.told(self.epoch, loss, self.used, self._factor, record)
        if self.rank == 0 and self.report:
            self.history.draw(self.front, last=True)
        return self.front

    def _epoch(self) -> float:
        """Train on all batches once; the mean loss."""
        self.model.train()
        losses: list[float] = []
        group: list[Batch] = []
        for batch in self.train.epoch(self.epoch):
            group.append(batch)
            if len(group) == self.accumulate:
                losses.append(self._step(group))
                group = []
        if group:
            losses.append(self._step(group))
        if not losses:
            raise SettingMistake("train", f"it gave no batch in epoch {self.epoch + 1}")
        self.epoch += 1
        if self.scheduler is not None and self.schedule_by == "epoch" and not self._plateau:
            self.scheduler.step()
        self._losses.append(sum(losses) / len(losses))
        return self._losses[-1]

    def _step(self, group: list[Batch]) -> float:
        if math.isnan(self.used):
            self.used = resource_total(self.model).item()
        when = f"epoch {self.epoch + 1}, step {self.step + 1}"
        self._factor = self.beta(self.step, self.used)
        loss, self.used = self._stepper.step(group, self._factor, when)
        if self.mean is not None:
            self.mean.update()
        if self.scheduler is not None and self.schedule_by == "step" and not self._plateau:
            self.scheduler.step()
        self.step += 1
        return loss

    @property
    def _plateau(self) -> bool:
        return isinstance(self.scheduler, ReduceLROnPlateau)

    # -- validations ------------------------------------------------------------------------------------------------

    @contextmanager
    def checkpoint(self) -> Iterator[nn.Module]:
        """The model as a checkpoint has it, in evaluation mode."""
        model = self.model
        if self.mean is not None:
            model = copy.deepcopy(model)
            self.mean.give(model)
        with traced(model, [b.x for b in self.ranges.all()], norms=True) as twin:
            yield twin

    def _validate(self) -> tuple[Record, bool]:
        """Look at a checkpoint, keep it, and tell of it; and whether that is enough."""
        check_weights(self.model, f"after epoch {self.epoch}")
        loss = sum(self._losses) / len(self._losses)
        self._losses.clear()
        with self.checkpoint() as twin, torch.no_grad():
            metric = checks.validated(twin, self.validation, self.metric, self.loss)
            if not math.isfinite(metric):
                help = "let it be a finite number for every model"
                raise error(f"after epoch {self.epoch}, it is {metric}", where="metric", help=help)
            cost = resource_total(twin).item()
            metric, cost = self._agreed(metric, cost)
            kept = self.rank == 0 and self.front.offer(metric, cost, self.epoch, twin.state_dict())
            if hasattr(self.beta, "look"):
                self.beta.look(twin)
        if self.scheduler is not None and self._plateau:
            self.scheduler.step(metric if self.scheduler.mode == "max" else self._agreed(loss)[0])
        rate = float(self.optimiser.param_groups[0]["lr"])
        record = Record(self.epoch, self.step, loss, metric, cost, self._factor, rate, kept)
        return record, bool(self._agreed(self._told(record) if self.rank == 0 else False)[0])

    def _told(self, record: Record) -> bool:
        """Write down a validation; whether to stop."""
        self.history.add(record)
        save(self._state(), self.folder / resume.LAST)
        if self.report:
            self.history.draw(self.front)
        if self._board is not None:
            self._board.write(record)
        asked = [bool(call(self, record) is True) for call in self.callbacks]
        return any(asked) or self._enough()

    def _enough(self) -> bool:
        """Whether the budget is kept, and patience is at its end."""
        if (self.budget is None and self.patience is None) or not self.history.records:
            return False
        waited = 0
        inside = False
        for r in self.history.records:
            inside = self.budget is None or r.luts <= self.budget
            waited = 0 if r.kept or not inside else waited + 1
        return inside and waited >= (self.patience or 0)

    def _state(self) -> dict[str, Any]:
        return {
            "made_of": self._facts_now,
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scheduler": self.scheduler.state_dict() if self.scheduler is not None else None,
            "mean": self.mean.state() if self.mean is not None else None,
            "beta": self.beta.state(),
            "epoch": self.epoch,
            "step": self.step,
            "used": self.used,
            "random": resume.random_state(),
        }

    def _resume(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.scheduler is not None:
            self.scheduler.load_state_dict(state["scheduler"])
        if self.mean is not None:
            self.mean.restore(state["mean"])
        self.beta.restore(state["beta"])
        self.epoch, self.step, self.used = state["epoch"], state["step"], state["used"]
        resume.restore_random(state["random"])


def accuracy(output: Tensor, target: Tensor, weight: Tensor | None = None) -> float:
    """Share of samples whose largest output is the target class, by ``weight`` if there is one."""
    right = (output.argmax(-1) == target).double()
    if weight is None:
        return right.mean().item()
    return ((right * weight).sum() / weight.sum()).item()
