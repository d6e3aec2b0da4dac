"""A rule says how one operator is lowered. The table of all of them is in `table`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lutc.lowering.operands import BROKEN, computed
from lutc.lowering.refusals import Refusal
from lutc.lowering.tensors import Scaled, Tensor
from lutc.lowering.walk import Walk

from .model import Node

Inputs = Sequence["Tensor | None"]
Result = Any  # a tensor, several, or a function of one that becomes a table
Lower = Callable[[Walk, Node, Inputs], Result]


class Operands(Sequence["Tensor | None"]):
    """A node's inputs. Looking one up counts as understanding it, as with attributes."""

    def __init__(self, tensors: Iterable[Tensor | None]) -> None:
        self._tensors = list(tensors)
        self._read: set[int] = set()

    def __getitem__(self, at: Any) -> Any:
        found = self._tensors[at]
        self._read.update(range(len(self._tensors))[at] if isinstance(at, slice) else [range(len(self))[at]])
        return found

    def __len__(self) -> int:
        return len(self._tensors)

    def peek(self) -> Sequence[Tensor | None]:
        """The tensors, without understanding them."""
        return self._tensors

    def check(self) -> None:
        """Raise Refusal for an input that is there and that nobody looked at."""
        for at, t in enumerate(self._tensors):
            if t is not None and at not in self._read:
                raise Refusal(
                    f"has an input {at + 1}, which lutc does not read here",
                    "leave it away: what lutc does not read it would drop",
                )


@dataclass(frozen=True)
class Rule:
    """How an operator is lowered.

    A rule reads the attributes and inputs that it understands; what it leaves unread is refused (`options`). It
    is asked only where an input is computed by the design, unless it `folds` constants by itself. An operator that
    `moves` elements does to the codes and scales of a quantised constant what it does to positions. Where the
    standard's own evaluator has the last word, it is the one that has read every attribute and input: `evaluated`.
    """

    lower: Lower
    folds: bool = False
    moves: bool = False
    evaluated: bool = False


rule = Rule


def needed(inputs: Inputs, at: int) -> Tensor:
    """An input that must be there. Raises Refusal if it is not."""
    if at < len(inputs) and (found := inputs[at]) is not None:
        return found
    raise Refusal(f"lacks its input {at + 1}", BROKEN)


def unary(lower: Callable[[Walk, Scaled], Result]) -> Lower:
    """A rule for an operator on one tensor, without attributes, of a function of the lowering kit."""
    return lambda walk, node, inputs: lower(walk, computed(needed(inputs, 0)))


def binary(lower: Callable[[Walk, Tensor, Tensor], Result]) -> Lower:
    """The same for two operands, either of which may be a constant."""
    return lambda walk, node, inputs: lower(walk, needed(inputs, 0), needed(inputs, 1))


def optional(inputs: Inputs, at: int) -> Tensor | None:
    return inputs[at] if at < len(inputs) else None
