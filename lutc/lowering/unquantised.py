"""One message for a model of floats: it is not quantised, and these are the ways from it to a circuit.

The list of refusals names the places where something is amiss. Of a model that nothing quantises it would name every
layer, and say of each what is true of the whole.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lutc.diagnostics import Diagnostic, LirError
from lutc.lowering.refusals import named

_BELOW = "\n" + " " * 10  # a line of a help, below its first word


@dataclass(frozen=True)
class Framework:
    """What a model's framework has to do with the two ways: how a live model gets into a file, and who trains it."""

    file: str
    saving: str
    training: str


@dataclass(frozen=True)
class FloatModel:
    """A model of floats: what it is called, its file if it has one, and the layers that multiply by floats."""

    name: str
    file: str | None
    layers: Sequence[str]
    framework: Framework

    def said(self, target: str | None) -> Diagnostic:
        """That it is not quantised, with the commands for it and for the target, where that is known."""
        saved = "" if self.file else f"{self.framework.saving}, then "
        file = self.file or self.framework.file
        words = ["lutc", "quantize", file, "--data", "calibration.npz", "--target", target or "PART"]
        command = shlex.join([*words, "-o", f"{Path(file).stem}.quantised.onnx"])
        return Diagnostic(
            f"is not quantised: its weights are floats ({named(self.layers)}), and a circuit computes in fixed point",
            where=self.file or self.name,
            help="quantise it, in one of two ways, and compile what comes of it"
            f"{_BELOW}after training, by samples of its inputs: {saved}{command}"
            f"{_BELOW}in training, which goes on: {self.framework.training}",
        )


class Unquantised(LirError):
    """The refusal of a model of floats."""

    def __init__(self, model: FloatModel, target: str | None = None) -> None:
        super().__init__(model.said(target))
        self.model = model


@contextmanager
def loading_for(target: str) -> Iterator[None]:
    """Around the loading of a model by those who know for which target: what is refused as floats names it."""
    try:
        yield
    except Unquantised as e:
        raise Unquantised(e.model, target) from None
