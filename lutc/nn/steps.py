"""One step of an optimiser: the loss of one or several batches, its gradients with those of the resources."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, cast

import torch
from torch import Tensor, nn

from .batches import Batch, called
from .finite import not_finite
from .mistakes import SettingMistake
from .surrogate import resource_total

Loss = Callable[[Any, Any], Tensor]


def loss_of(loss: Loss, output: Any, batch: Batch) -> Tensor:
    """The loss of a batch as a scalar: with weights the weighted mean of what ``loss`` gives for each sample.

    Raises SettingMistake for a loss of another shape.
    """
    value = loss(output, batch.y)
    if not isinstance(value, Tensor):
        raise SettingMistake(
            "loss", f"it gives a {type(value).__name__}, not a tensor that gradients flow from"
        )
    if batch.weight is None:
        if value.numel() != 1:
            help = 'let it be one number, as with reduction="mean"'
            raise SettingMistake("loss", f"it gives {list(value.shape)} numbers for a batch", help)
        return value.reshape(())
    if value.numel() != len(batch.weight):
        text = f"it gives {list(value.shape)} numbers for {len(batch.weight)} weighted samples"
        raise SettingMistake("loss", text, 'let it be one number for each sample, as with reduction="none"')
    weight = batch.weight.to(value.dtype)
    total: Tensor = (value.reshape(-1) * weight).sum()
    return total / weight.sum().clamp(min=torch.finfo(value.dtype).tiny)


def takes_closure(optimiser: torch.optim.Optimizer) -> bool:
    """Whether a step needs a function that computes the loss anew, as that of L-BFGS does."""
    closure = inspect.signature(type(optimiser).step).parameters.get("closure")
    return closure is not None and closure.default is inspect.Parameter.empty


class Stepper:
    """Steps of ``loss(model(x), y) + beta * resources``; ``net`` is the model, or what runs it on several devices."""

    def __init__(
        self,
        model: nn.Module,
        net: nn.Module,
        optimiser: torch.optim.Optimizer,
        loss: Loss,
        clip: float | None,
    ) -> None:
        self.model, self.net, self.optimiser, self.loss, self.clip = model, net, optimiser, loss, clip
        self.closure = takes_closure(optimiser)
        self._trained = [p for group in optimiser.param_groups for p in group["params"]]

    def step(self, group: list[Batch], beta: float, when: str) -> tuple[float, float]:
        """Take a step on the mean over batches; loss (without the resources) and resources before it.

        Raises LirError, saying where it comes from, if one of them is not finite; nothing has changed then but ranges.
        """
        if not math.isfinite(beta) or beta < 0:
            raise SettingMistake("beta", f"{when}, the schedule gives {beta}")
        found: list[tuple[float, float]] = []

        def closure() -> Tensor:
            total, loss, cost = self._gradients(group, beta, when)
            found.append((loss, cost))
            return total

        if self.closure:
            step: Any = self.optimiser.step
            step(closure)
        else:
            closure()
            self.optimiser.step()
        return found[0]

    def _gradients(self, group: list[Batch], beta: float, when: str) -> tuple[Tensor, float, float]:
        self.optimiser.zero_grad(set_to_none=True)
        loss, share = 0.0, 1 / len(group)
        total = torch.zeros(())
        for batch in group:
            last = batch is group[-1]
            alone: Any = nullcontext() if last or self.net is self.model else cast(Any, self.net).no_sync()
            with alone:
                data = loss_of(self.loss, called(self.net, batch.x), batch)
                if len(group) > 1:
                    data = data * share
                own = data.item()
                if not math.isfinite(own):
                    raise not_finite(self.model, batch, "loss", own, when)
                loss += own
                if last:
                    resources = resource_total(self.model)
                    cost = resources.item()
                    if not math.isfinite(cost):
                        raise not_finite(self.model, batch, "resources", cost, when)
                    data = data + beta * resources
                torch.autograd.backward(data)
                total = total + data.detach() if len(group) > 1 else data.detach()
        if self.clip is not None:
            nn.utils.clip_grad_norm_(self._trained, self.clip)
        return total, loss, cost
