"""Whether a model that was refused is one of floats, which nothing quantises."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from lutc.lowering.linear import floating
from lutc.lowering.tensors import Known
from lutc.lowering.unquantised import FloatModel, Framework, Unquantised

from .archive import Array, Weights
from .calls import all_layers
from .functional import Layer, Model
from .identity import owner
from .registry import QUANTISED

FRAMEWORK = Framework(
    "model.keras",
    "model.save('model.keras')",
    "build it of HGQ2's layers (QDense for Dense, QConv2D for Conv2D), which learn how many bits they need",
)
PRODUCTS = re.compile("Dense|Conv|LSTM|GRU|RNN|Attention|Bidirectional|TimeDistributed")
ROUNDS = ("Round", "Floor", "Ceil", "Trunc", "Sign", "FloorDivide")


def float_model(model: Model, name: str, file: str | None) -> Unquantised | None:
    """What is said of a model that has weights, and not one of them nor any of its data is quantised."""
    layers = list(all_layers(model))
    if any(map(_quantises, layers)):
        return None
    found = floating(
        (f"{layer.name} ({layer.kind})", Known(array))
        for layer in layers
        if PRODUCTS.search(layer.kind)
        for array in _arrays(layer.weights)
        if array.ndim > 1
    )
    return Unquantised(FloatModel(name, file, found, FRAMEWORK)) if found else None


def _quantises(layer: Layer) -> bool:
    """Whether a layer rounds data or weights, or may do so for all that is known."""
    whose = owner(layer.kind, layer.module, layer.registered)
    if whose not in ("keras", "ops") or (whose == "ops" and layer.kind in ROUNDS):
        return True
    if any(mode in str(layer.config.get("dtype")) for mode in QUANTISED):
        return True
    return any(map(_of_others, _objects(layer.config)))


def _of_others(entry: dict[str, Any]) -> bool:
    """Whether an object of a layer's options, such as a quantiser, is none of Keras's own."""
    module = entry.get("module")
    return bool(entry.get("registered_name")) or not (module is None or str(module).startswith("keras"))


def _objects(config: Any) -> Iterator[dict[str, Any]]:
    """The serialised objects among options."""
    if isinstance(config, dict) and "class_name" in config:
        yield config
    below = config.values() if isinstance(config, dict) else config if isinstance(config, list) else ()
    for value in below:
        yield from _objects(value)


def _arrays(weights: Weights) -> Iterator[Array]:
    """A layer's own variables and those of the layers in it."""
    yield from weights.own
    for name in weights.below():
        yield from _arrays(weights(name))
