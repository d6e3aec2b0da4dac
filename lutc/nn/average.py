"""A running mean of the weights, of which checkpoints are made."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class RunningMean:
    """The exponential running mean of a model's parameters, bit widths included.

    Steps at a high learning rate wander about a minimum; their mean is nearer to it (Polyak and Juditsky, SIAM J.
    Control Optim. 30 (1992) 838), so that a checkpoint is as good as if the rate had been lowered for it. ``decay``
    is that of the mean, per step; until it has seen some 10 / (1 - decay) steps, a smaller one is used.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        if not 0 < decay < 1:
            raise ValueError(f"the decay of a running mean is between 0 and 1, not {decay}")
        self.decay, self.steps = decay, 0
        self._weights = list(model.parameters())
        self._means = [w.detach().clone() for w in self._weights]

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after a step."""
        self.steps += 1
        share = 1 - min(self.decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(self._means, [w.detach() for w in self._weights], share)

    @torch.no_grad()
    def give(self, model: nn.Module) -> None:
        """Write the means into a model of the same kind."""
        for to, mean in zip(model.parameters(), self._means, strict=True):
            to.copy_(mean)

    def state(self) -> dict[str, Any]:
        """What must be kept to resume."""
        return {"steps": self.steps, "means": self._means}

    def restore(self, state: dict[str, Any]) -> None:
        self.steps = state["steps"]
        for mean, kept in zip(self._means, state["means"], strict=True):
            mean.copy_(kept)
