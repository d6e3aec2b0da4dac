"""What a user gives beside a model: formats of its inputs, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lutc.build import as_type
from lutc.diagnostics import did_you_mean, error
from lutc.lowering.refusals import Refusal
from lutc.types import Fixed, Type, uniform


def by_name(names: Sequence[str], given: Any, what: str = "model") -> dict[str, Any]:
    """What was given for each input, for those that anything was given for.

    `given` is None, one thing for all inputs, a sequence in their order, or a mapping by name, in which `""` stands
    for every other input. Raises LirError for a name that no input has; `what` has the inputs.
    """
    if given is None:
        return {}
    if isinstance(given, Mapping):
        for name in given:
            if name and name not in names:
                help = did_you_mean(str(name), list(names)) or "inputs: " + ", ".join(names)
                raise error(f"the {what} has no input {name!r}", help=help)
        return {name: given.get(name, given.get("")) for name in names if name in given or "" in given}
    if isinstance(given, str | Type | Fixed):
        return dict.fromkeys(names, given)
    return dict(zip(names, given, strict=False))


def given_type(given: Type | Fixed | str, shape: tuple[int, ...]) -> Type:
    """The type of an input of this shape; a format alone is that of every element.

    Raises Refusal for a type of another shape, LirError for text that is no type.
    """
    kind = as_type(given)
    if kind.shape == ():
        return uniform(shape, kind.scalar)
    if kind.shape != shape:
        size = f"{shape[0]} numbers" if len(shape) == 1 else f"shape {list(shape)}"
        reason = f"it has {size}, and {kind} has shape {list(kind.shape)}"
        raise Refusal(reason, "give one format for all its elements")
    return kind
