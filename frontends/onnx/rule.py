"""A rule says how one operator is lowered. The table of all of them is in `table`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..importer import Refusal
from .model import Node
from .tensors import Scaled, Tensor
from .walk import Walk

Inputs = Sequence[Tensor | None]
Result = Tensor | tuple[Tensor, ...]


@dataclass(frozen=True)
class Rule:
    """How an operator is lowered, and which attributes it may have.

    A rule is asked only where an input is computed by the design, unless it `folds` constants by itself. An operator
    that `moves` elements does to the codes and scales of a quantised constant what it does to positions.
    """

    lower: Callable[[Walk, Node, Inputs], Result]
    attributes: frozenset[str] = frozenset()
    folds: bool = False
    moves: bool = False


def rule(
    lower: Callable[[Walk, Node, Inputs], Result], *attributes: str, folds: bool = False, moves: bool = False
) -> Rule:
    return Rule(lower, frozenset(attributes), folds, moves)


def needed(inputs: Inputs, at: int) -> Tensor:
    """An input that must be there. Raises Refusal if it is not."""
    if at < len(inputs) and (found := inputs[at]) is not None:
        return found
    raise Refusal(f"lacks its input {at + 1}", "the model is broken: export it again")


def optional(inputs: Inputs, at: int) -> Tensor | None:
    return inputs[at] if at < len(inputs) else None


def computed(t: Tensor | None) -> Scaled:
    """An input the design computes. Raises Refusal for a constant."""
    if isinstance(t, Scaled):
        return t
    raise Refusal("has a constant where it should have data", "fold it into the model's constants first")


def axis_of(axis: Any, rank: int) -> int:
    """A dimension counted from the front. Raises Refusal if there is none such."""
    at = int(axis)
    if not -rank <= at < rank:
        raise Refusal(
            f"names axis {at} of a tensor with {rank} dimensions", "the model is broken: export it again"
        )
    return at % rank


def keep_samples_apart(t: Scaled, axes: Sequence[int]) -> None:
    """Raise Refusal if one of the dimensions counts samples, whose number the model leaves open."""
    if t.batched and 0 in axes:
        raise Refusal(
            "works across the batch: dimension 0 counts samples, and a circuit sees one at a time",
            "export the model with a batch of 1 if this is meant",
        )


def unwrapped(t: Scaled) -> Scaled:
    """Integer tensors of the model would wrap around; floats do not. Raises Refusal for narrow integers."""
    if t.integer not in (None, "int32", "int64"):
        raise Refusal(
            f"computes with {t.integer} numbers, which wrap around in the model",
            "dequantise them first",
        )
    return t
