"""Walking a model: every layer call in order, nested models included."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .graph import Call, Layer, Model, Ref, substitute

# Stands for the result of a layer that was refused, or of one whose refusal is not ours to judge again.
UNKNOWN = object()

Visit = Callable[[Call, list[Any], dict[str, Any]], Any]


def walk(model: Model, inputs: Sequence[Any], visit: Visit) -> Any:
    """Call `visit` for every layer call in order, nested models included. Returns the outputs, nested as the model's.

    A result is one value, a list of them, or UNKNOWN; a call that reads UNKNOWN is not visited and is UNKNOWN itself.
    """
    known: dict[tuple[str, int], Any] = {
        (r.layer, r.call): v for r, v in zip(model.inputs, inputs, strict=True)
    }

    def value(ref: Ref) -> Any:
        result = known.get((ref.layer, ref.call), UNKNOWN)
        return result[ref.index] if isinstance(result, list) else result

    for call in model.calls:
        if call.layer.kind == "InputLayer":
            continue
        read = [value(r) for r in call.refs]
        if any(v is UNKNOWN for v in read):
            result: Any = UNKNOWN
        elif call.layer.model is not None:
            result = walk(call.layer.model, read, visit)
            result = list(leaves(result)) if isinstance(result, list | tuple | dict) else result
        else:
            result = visit(call, substitute(list(call.args), value), substitute(call.kwargs, value))
        known[call.layer.name, call.index] = result
    return substitute(model.outputs, value)


def leaves(tree: Any) -> Iterator[Any]:
    """The values in a nested structure, in order."""
    if isinstance(tree, list | tuple):
        for item in tree:
            yield from leaves(item)
    elif isinstance(tree, dict):
        for item in tree.values():
            yield from leaves(item)
    else:
        yield tree


def paths(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """The values in a nested structure, in the order of `leaves`, each with the keys and indices that lead to it."""
    if isinstance(tree, list | tuple | dict):
        for key, item in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from paths(item, (*path, key))
    else:
        yield path, tree


def all_layers(model: Model) -> Iterator[Layer]:
    """Every layer, those of nested models included."""
    for layer in model.layers.values():
        if layer.model is not None:
            yield from all_layers(layer.model)
        elif layer.kind != "InputLayer":
            yield layer
