"""The functional graph of a saved Keras model: layers, their calls in order, and nested models.

A layer called twice is one `Layer` with two `Call`s. Operations of `keras.ops` that a functional model recorded are
layers without weights. A sequential model becomes the chain it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lutc.diagnostics import error

from .archive import Archive, Weights
from .identity import is_model, owner


@dataclass(frozen=True)
class Ref:
    """One tensor of the graph: output `index` of call `call` of a layer."""

    layer: str
    call: int
    index: int


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer or recorded operation: its class, its config, its weights; `model` if it is a model itself."""

    name: str
    kind: str
    module: str
    config: dict[str, Any]
    weights: Weights
    build: dict[str, Any] = field(default_factory=dict)
    model: Model | None = None
    registered: str | None = None


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a layer: arguments as Keras recorded them, tensors replaced by `Ref`."""

    layer: Layer
    index: int
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @property
    def refs(self) -> list[Ref]:
        return [*refs(self.args), *refs(self.kwargs)]


@dataclass(frozen=True, eq=False)
class Model:
    """A model: its layers by name, its calls with callees before callers, its inputs and outputs as it nests them."""

    name: str
    layers: dict[str, Layer]
    calls: tuple[Call, ...]
    structure: Any
    outputs: Any

    @property
    def inputs(self) -> list[Ref]:
        """The inputs in Keras's order."""
        return list(refs(self.structure))


def leaves(tree: Any) -> Iterator[Any]:
    """The values in a nested structure, in Keras's order: that of the keys in a dict, whatever order it was made in."""
    if isinstance(tree, list | tuple):
        for item in tree:
            yield from leaves(item)
    elif isinstance(tree, dict):
        for key in sorted(tree):
            yield from leaves(tree[key])
    else:
        yield tree


def refs(tree: Any) -> Iterator[Ref]:
    """The tensors in a nested structure, in Keras's order."""
    return (leaf for leaf in leaves(tree) if isinstance(leaf, Ref))


def named(tree: Any, path: str = "") -> Iterator[tuple[Ref, str]]:
    """The tensors in a nested structure, in Keras's order, each with the keys that lead to it."""
    if isinstance(tree, Ref):
        yield tree, path
    elif isinstance(tree, list | tuple):
        for item in tree:
            yield from named(item, path)
    else:
        for key in sorted(tree):
            yield from named(tree[key], f"{path}_{key}" if path else str(key))


def paths(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where the values in a nested structure are, in Keras's order: keys and indices that lead to each."""
    if isinstance(tree, list | tuple | dict):
        for key in sorted(tree) if isinstance(tree, dict) else range(len(tree)):
            yield from paths(tree[key], (*path, key))
    else:
        yield path


def substitute(tree: Any, value: Callable[[Ref], Any]) -> Any:
    """A nested structure with every tensor replaced."""
    if isinstance(tree, Ref):
        return value(tree)
    if isinstance(tree, list | tuple):
        return type(tree)(substitute(item, value) for item in tree)
    if isinstance(tree, dict):
        return {key: substitute(item, value) for key, item in tree.items()}
    return tree


def read_model(archive: Archive) -> Model:
    """The graph of an archive. Raises LirError for a model that is neither functional nor sequential."""
    config = archive.config
    try:
        return _model(config, archive.weights, archive.path)
    except (KeyError, TypeError, IndexError, AttributeError, ValueError) as cause:
        raise error(
            f"the model's config is not as Keras 3 writes it ({type(cause).__name__}: {cause})",
            where=archive.path,
            help="save the model again with Keras 3.12 or newer; from Keras 2, save it as model.h5",
        ) from None


def _model(entry: dict[str, Any], weights: Weights, where: str) -> Model:
    config, kind = entry["config"], entry["class_name"]
    if not isinstance(config, dict) or "layers" not in config:
        raise error(
            f"{kind} is a subclassed model: its file holds weights, but not how the layers are connected",
            where=where,
            help="build it with the functional API: keras.Model(inputs, outputs)",
        )
    if not is_model(entry):
        raise error(
            f"{kind} is a class of its own, which may compute otherwise than the layers it lists",
            where=where,
            help="save a plain one of the same layers: keras.Model(model.inputs, model.outputs).save('model.keras')",
        )
    entries = config["layers"]
    layers = dict(_layers(entries, weights, where))
    name = str(config.get("name", "model"))
    if "input_layers" not in config:
        return _sequential(name, config, layers)
    calls = [_call(layers[e["name"]], i, node) for e in entries for i, node in enumerate(e["inbound_nodes"])]
    # Keras counts the calls of a nested functional model from 1 in this place alone.
    later = {e["name"] for e in entries if "input_layers" in e["config"]}

    def output(ref: Ref) -> Ref:
        return Ref(ref.layer, ref.call - 1, ref.index) if ref.layer in later else ref

    outputs = substitute(_history(config["output_layers"]), output)
    made = {(c.layer.name, c.index) for c in calls} | {
        (e["name"], 0) for e in entries if not e["inbound_nodes"]
    }
    own = {
        n for n, layer in layers.items() if owner(layer.kind, layer.module, layer.registered) or layer.model
    }
    inputs = _history(config["input_layers"])
    for ref in [*refs(inputs), *refs(outputs), *(r for c in calls for r in c.refs)]:
        if type(ref.layer) is not str or type(ref.call) is not int or type(ref.index) is not int:
            raise TypeError(f"{ref} names no result of a layer")
        if (ref.layer, ref.call) not in made and (ref.layer in own or ref.layer not in layers):
            raise KeyError(f"call {ref.call} of layer {ref.layer}, which is read and not there")
    return Model(name, layers, _sorted(calls), inputs, outputs)


def _layers(entries: list[dict[str, Any]], weights: Weights, where: str) -> Iterator[tuple[str, Layer]]:
    """Pair every layer with its weights: by the name stored beside them, else by class name and count."""
    named = {w.name: w for group in weights("layers").below() if (w := weights("layers", group)).name}
    counts: dict[str, int] = {}
    for e in entries:
        kind, module, config = e["class_name"], e.get("module") or "", e["config"]
        name = str(config.get("name") or e["name"])
        key = name
        own = Weights(weights.tree, weights.names, "-")
        if not module.startswith(("keras.src.ops", "keras.ops")):
            snake = _snake(kind)
            n = counts[snake] = counts.get(snake, -1) + 1
            counted = weights("layers", f"{snake}_{n}" if n else snake)
            own = named.get(name) or (counted if counted.name in (None, name) else own)
        model = _model(e, own, where) if is_model(e) and "layers" in config else None
        registered = e.get("registered_name")
        yield (
            e.get("name", key),
            Layer(name, kind, module, config, own, e.get("build_config") or {}, model, registered),
        )


def _snake(kind: str) -> str:
    """A class's name as the weights file spells it: `QEinsumDense` is `q_einsum_dense`."""
    kind = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", kind))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", kind).lower()


def _sequential(name: str, config: dict[str, Any], layers: dict[str, Layer]) -> Model:
    chain = list(layers.values())
    if len(chain) != len(config["layers"]):
        raise KeyError("a layer's name is given twice")
    if not chain or chain[0].kind != "InputLayer":
        first = "input"
        while first in layers:
            first += "_"
        shape = config.get("build_input_shape")
        chain.insert(0, Layer(first, "InputLayer", "keras.layers", {"batch_shape": shape}, Weights({}, {})))
    source = last = Ref(chain[0].name, 0, 0)
    calls = []
    for layer in chain[1:]:
        calls.append(Call(layer, 0, (last,), {}))
        last = Ref(layer.name, 0, 0)
    return Model(name, {c.name: c for c in chain}, tuple(calls), source, last)


def _call(layer: Layer, index: int, node: Any) -> Call:
    if not isinstance(node, dict):
        raise TypeError(f"layer {layer.name} was recorded by Keras 2")
    if not isinstance(node["args"], list) or not isinstance(node["kwargs"], dict):
        raise TypeError(f"a call of layer {layer.name} has no arguments")
    return Call(
        layer,
        index,
        tuple(_value(a) for a in node["args"]),
        {k: _value(v) for k, v in node["kwargs"].items()},
    )


def _value(raw: Any) -> Any:
    """A recorded argument: tensors become `Ref`, slices slices, arrays arrays."""
    if isinstance(raw, list):
        return [_value(r) for r in raw]
    if not isinstance(raw, dict):
        return raw
    match raw.get("class_name"):
        case "__keras_tensor__":
            layer, call, index = raw["config"]["keras_history"]
            return Ref(layer, call, index)
        case "__slice__":
            c = raw["config"]
            return slice(_value(c["start"]), _value(c["stop"]), _value(c["step"]))
        case "__ellipsis__":
            return ...
        case "__numpy__" | "__tensor__":
            return np.asarray(raw["config"]["value"], dtype=raw["config"]["dtype"])
        case None:
            return {k: _value(v) for k, v in raw.items()}
    return raw


def _history(tree: Any) -> Any:
    """Inputs or outputs as the config lists them: `[name, 0, 0]`, or lists and dicts of those."""
    if isinstance(tree, list) and len(tree) == 3 and isinstance(tree[0], str):
        return Ref(*tree)
    if isinstance(tree, list):
        return [_history(t) for t in tree]
    if isinstance(tree, dict):
        return {k: _history(t) for k, t in tree.items()}
    raise TypeError(f"an output is given as {tree!r}")


def _sorted(calls: list[Call]) -> tuple[Call, ...]:
    """Calls with what they read before them, else in the file's order."""
    by_key = {(c.layer.name, c.index): c for c in calls}
    done: dict[Call, None] = {}
    begun: set[Call] = set()
    for start in calls:
        stack = [(start, False)]
        while stack:
            call, ready = stack.pop()
            if ready:
                done.setdefault(call)
            elif call not in done:
                if call in begun:
                    raise TypeError(f"layer {call.layer.name} reads what is made of its own result")
                begun.add(call)
                stack.append((call, True))
                needed = (by_key.get((r.layer, r.call)) for r in reversed(call.refs))
                stack.extend((c, False) for c in needed if c is not None and c not in done)
    return tuple(done)
