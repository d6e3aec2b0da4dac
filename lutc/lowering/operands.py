"""What a rule asks of its operands: each function returns what it asked for, or raises Refusal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lutc.diagnostics import error
from lutc.lowering.refusals import Refusal
from lutc.lowering.tensors import Known, Missing, Scaled, Tensor

FOLDED_AT_MOST = 1 << 26  # elements: more than a circuit can hold
BROKEN = "the model is broken: export it again"
NOTHING = ("leaves nothing of its input", BROKEN)
ACROSS_HELP = "export the model with a batch of 1 if this is meant"
ACROSS = ("works across the batch: dimension 0 counts samples, and a circuit sees one at a time", ACROSS_HELP)


def computed(t: Tensor | None) -> Scaled:
    """An input the design computes. Raises Refusal for a constant."""
    if isinstance(t, Scaled):
        return t
    raise Refusal("has a constant where it should have data", "fold it into the model's constants first")


def known(t: Tensor | None, what: str) -> Known:
    """A constant operand. Raises Refusal if it is computed from the inputs."""
    if isinstance(t, Known):
        return t
    raise Refusal(f"needs a constant {what}", f"export the model with a fixed {what}")


def small(t: Tensor | Missing | None) -> Any:
    """A constant's array. Raises Refusal if it is not known at compile time."""
    if isinstance(t, Known):
        return t.array
    raise Refusal(
        "needs constant parameters, but one is computed from the inputs",
        "export the model with fixed parameters",
    )


def axis_of(axis: Any, rank: int) -> int:
    """A dimension counted from the front. Raises Refusal if there is none such."""
    at = int(axis)
    if not -rank <= at < rank:
        raise Refusal(f"names axis {at} of a tensor with {rank} dimensions", BROKEN)
    return at % rank


def keep_samples_apart(t: Scaled, axes: Sequence[int]) -> None:
    """Raise Refusal if one of the dimensions counts samples, whose number the model leaves open."""
    if t.batched and 0 in axes:
        raise Refusal(*ACROSS)


def check_elements(count: int) -> None:
    """Raise LirError for a constant of more elements than any circuit can hold."""
    if count > FOLDED_AT_MOST:
        raise error(
            f"makes a constant of {count:,} numbers, and {FOLDED_AT_MOST:,} are the most",
            help="is a shape of the model wrong? no circuit holds as many",
        )
