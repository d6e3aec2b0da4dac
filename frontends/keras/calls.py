"""Walking a model: every layer call in order, nested models included."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .functional import Call, Layer, Model, Ref, leaves, refs, substitute

# Stands for the result of a layer that was refused, or of one whose refusal is not ours to judge again.
UNKNOWN = object()

Visit = Callable[[Call, list[Any], dict[str, Any]], Any]
# Told of every call of a nested model, with the values of its inputs; says whether to walk it.
Enter = Callable[[Call, list[Any]], bool]


def walk(model: Model, inputs: Sequence[Any], visit: Visit, enter: Enter = lambda call, values: True) -> Any:
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
        elif (inner := call.layer.model) is not None:
            given = substitute(call.args[0] if call.args else call.kwargs["inputs"], value)
            values = _as_inputs(inner, given)
            result = walk(inner, values, visit, enter) if enter(call, values) else UNKNOWN
            result = list(leaves(result)) if isinstance(result, list | tuple | dict) else result
        else:
            result = visit(call, substitute(list(call.args), value), substitute(call.kwargs, value))
        known[call.layer.name, call.index] = result
    return substitute(model.outputs, value)


def _as_inputs(model: Model, given: Any) -> list[Any]:
    """What a model is called with, in the order of its inputs. A dict for a list of inputs goes by their names."""
    if isinstance(given, dict) and not isinstance(model.structure, dict):
        return [given[r.layer] for r in refs(model.structure)]
    return list(leaves(given))


def all_calls(model: Model) -> Iterator[Call]:
    """Every call of a layer or model, those inside nested models included."""
    for call in model.calls:
        if call.layer.kind != "InputLayer":
            yield call
        if call.layer.model is not None and not call.index:
            yield from all_calls(call.layer.model)


def all_layers(model: Model) -> Iterator[Layer]:
    """Every layer, inputs and those of nested models included."""
    for layer in model.layers.values():
        if layer.model is not None:
            yield from all_layers(layer.model)
        else:
            yield layer
