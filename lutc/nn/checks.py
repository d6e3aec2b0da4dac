"""Whether what a `Trainer` is given fits together, before anything is trained."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lutc.files.foreign import first_line

from .batches import Batch, Source, called, joined, leaves, unmoved
from .finite import check_weights, not_finite
from .mistakes import SettingMistake
from .steps import Loss, loss_of
from .surrogate import resource_total

WEIGHTS = ("weight", "weights", "sample_weight", "sample_weights")  # what metrics call them


def check_model(model: Any) -> None:
    """Raise SettingMistake for what cannot be trained exactly as it will be built."""
    if not isinstance(model, nn.Module):
        raise SettingMistake("model", f"a {type(model).__name__} is no torch.nn.Module")
    for m in model.modules():
        if "_orig_mod" in m._modules or getattr(m, "_compiled_call_impl", None) is not None:
            text = "it is compiled by torch.compile, which follows neither compiled kernels nor formats"
            raise SettingMistake(
                "model", f"{text} that follow the data", "give it the module that was compiled"
            )
        if isinstance(m, nn.DataParallel | nn.parallel.DistributedDataParallel):
            text = f"it is wrapped in {type(m).__name__}"
            help = "give it the module inside; started by torchrun, the trainer makes it parallel itself"
            raise SettingMistake("model", text, help)
    parameters = dict(model.named_parameters())
    if not any(p.requires_grad for p in parameters.values()):
        raise SettingMistake("model", "it has no parameters that are trained")
    for name, p in parameters.items():
        if p.is_meta:
            raise SettingMistake(
                "model", f"its {name!r} is on the device 'meta', where tensors hold no numbers"
            )
        if p.dtype in (torch.float16, torch.bfloat16):
            kind = str(p.dtype).removeprefix("torch.")
            text = f"its {name!r} is {kind}, whose rounding is coarser than many formats: training would not compute"
            raise SettingMistake("model", f"{text} what is built", "train model.float()")
    check_weights(model, "before the training")


def check_optimiser(optimiser: Any, model: nn.Module) -> None:
    if not isinstance(optimiser, torch.optim.Optimizer):
        raise SettingMistake("optimiser", f"a {type(optimiser).__name__} is no torch.optim.Optimizer")
    own = set(model.parameters())
    if any(p not in own for group in optimiser.param_groups for p in group["params"]):
        help = "make it of model.parameters(), after the model was made, copied or converted"
        raise SettingMistake("optimiser", "it holds parameters that are not the model's", help)


def scheduler_of(schedule: Any, by: str, optimiser: torch.optim.Optimizer) -> Any:
    """The learning-rate scheduler: ``schedule`` itself, or what it makes of the optimiser; None if it is None."""
    if by not in ("step", "epoch"):
        raise SettingMistake("schedule_by", f'{by!r} is neither "step" nor "epoch"')
    made = schedule
    if schedule is not None and not hasattr(schedule, "state_dict"):
        try:
            made = schedule(optimiser)
        except Exception as e:  # whatever a user's function raises
            raise SettingMistake("schedule", f"it fails: {type(e).__name__}: {first_line(e)}") from e
    if made is None:
        return None
    if not all(hasattr(made, name) for name in ("step", "state_dict", "load_state_dict")):
        raise SettingMistake(
            "schedule", f"a {type(made).__name__} is no scheduler of torch.optim.lr_scheduler"
        )
    if getattr(made, "optimizer", optimiser) is not optimiser:
        raise SettingMistake("schedule", "it is the scheduler of another optimiser")
    return made


def metric_of(metric: Callable[..., Any] | None, loss: Loss, output: Any, batch: Batch) -> float:
    """The metric of answers and targets as a number; the negative loss if it is None. With weights if it takes them.

    Raises SettingMistake for what is no number.
    """
    if metric is None:
        return -loss_of(loss, output, batch).item()
    name = next((n for n in WEIGHTS if n in _arguments(metric)), None)
    more = {} if batch.weight is None or name is None else {name: batch.weight}
    value = metric(output, batch.y, **more)
    if isinstance(value, Tensor) and value.numel() == 1:
        value = value.item()
    try:
        return float(value)
    except (TypeError, ValueError):
        raise SettingMistake("metric", f"it gives {value!r}, which is no number") from None


def _arguments(metric: Callable[..., Any]) -> tuple[str, ...]:
    try:
        return tuple(inspect.signature(metric).parameters)
    except (TypeError, ValueError):  # of a function written in C
        return ()


@torch.no_grad()
def validated(model: nn.Module, source: Source, metric: Callable[..., Any] | None, loss: Loss) -> float:
    """The metric of a model in evaluation mode, over all samples together."""
    batches = list(source.all())
    answers = [called(model, b.x) for b in batches]
    if len(batches) == 1:
        return metric_of(metric, loss, answers[0], batches[0])
    weights = [b.weight for b in batches if b.weight is not None]
    targets = joined([b.y for b in batches])
    whole = Batch(None, targets, torch.cat(weights) if len(weights) == len(batches) else None)
    return metric_of(metric, loss, joined(answers), whole)


def rehearse(
    model: nn.Module, train: Source, validation: Source, metric: Callable[..., Any] | None, loss: Loss
) -> None:
    """Run a copy of the model once through everything. Raises SettingMistake for what does not fit."""
    if not callable(loss):
        raise SettingMistake("loss", f"a {type(loss).__name__} is no function of outputs and targets")
    if metric is not None and not callable(metric):
        raise SettingMistake("metric", f"a {type(metric).__name__} is no function of outputs and targets")
    batch = train.first
    twin = _attempt("model", "cannot be copied", lambda: copy.deepcopy(model))
    with unmoved():
        twin.train()
        output = _attempt("model", _fails("train", batch), lambda: called(twin, batch.x))
        value: Tensor = _attempt("loss", "fails on the first batch", lambda: loss_of(loss, output, batch))
        if not value.requires_grad:
            raise SettingMistake("loss", "no gradient flows from it to the model")
        if not bool(torch.isfinite(value)):
            raise not_finite(model, batch, "loss", value.item(), "before the training")
        resource_total(twin)
        twin.eval()
        with torch.no_grad():
            first = validation.first
            output = _attempt("model", _fails(validation.where, first), lambda: called(twin, first.x))
            if validation.whole is not None:
                _attempt("metric", "fails", lambda: validated(twin, validation, metric, loss))


def _fails(where: str, batch: Batch) -> str:
    return f"fails on the first batch of {where}, of shape " + ", ".join(
        str(list(v.shape)) for v in leaves(batch.x)
    )


def _attempt(where: str, what: str, run: Callable[[], Any]) -> Any:
    try:
        return run()
    except SettingMistake:
        raise
    except Exception as e:  # whatever a user's module or function raises
        raise SettingMistake(where, f"{what}: {type(e).__name__}: {first_line(e)}") from e
