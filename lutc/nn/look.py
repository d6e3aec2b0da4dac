"""An independent look at an exported design: the model itself runs on a few samples, and has to give the same."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from lutc.diagnostics import error
from lutc.files.foreign import first_line
from lutc.ir.graph import Design
from lutc.lowering import compare


class _Own:
    """A model in evaluation mode as PyTorch runs it, on doubles: its layers compute in them, and are exact there."""

    def __init__(self, model: nn.Module) -> None:
        self.name = f"PyTorch {torch.__version__.split('+')[0]}"
        try:
            self._model = copy.deepcopy(model)
        except (RuntimeError, TypeError):  # some modules keep what they computed last, which cannot be copied
            self._model = model

    def run(self, inputs: compare.Arrays, double: bool) -> Sequence[Any]:
        """Its answers; see `lutc.lowering.compare.Framework`."""
        (x,) = inputs.values()
        return [self.answer(x)]

    def answer(self, x: Any) -> Any:
        """Its answers to samples, all at once."""
        like = next(self._model.parameters(), torch.zeros(()))
        with torch.no_grad():
            return self._model(torch.as_tensor(x, device=like.device)).cpu().double().numpy()


def check_runs(model: nn.Module, shape: tuple[int, ...], name: str) -> None:
    """Raise LirError unless PyTorch runs a model, which is in evaluation mode, on inputs of a shape."""
    _answered(_Own(model), np.zeros((2, *shape)), name)


def _answered(own: _Own, x: Any, name: str) -> Any:
    try:
        return own.answer(x)
    except Exception as e:  # whatever the model raises
        text = f"PyTorch does not run it: {type(e).__name__}: {first_line(e)}"
        raise error(text, where=name, help="make it run on a batch of its inputs first") from e


def looked_at(model: nn.Module, design: Design) -> Design:
    """The design. Raises LirError if it is not the model, which is in evaluation mode, or if that mixes samples."""
    own = _Own(model)
    x = compare.samples(design.params[0])[-3:]
    together = _answered(own, x, design.name)
    alone = [own.answer(x[i : i + 1]) for i in range(len(x))]
    if together.shape[:1] != (len(x),) or any(
        not np.array_equal(together[i : i + 1], a) for i, a in enumerate(alone)
    ):
        raise error(
            "mixes the samples of a batch: one gives other answers alone than among others",
            where=design.name,
            help="compute along the other dimensions: the first one counts samples",
        )
    return compare.compared(design, own, design.name)
