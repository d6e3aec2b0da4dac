"""Whose class a layer is. A name is not enough: anybody may call a class of their own `Dense`.

Keras writes three things beside the name: the module of the class (`keras.layers` for what is exported, else where it
was defined), and the name it was registered under, with a package of the user's choice in front (`my>Dense`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lutc.lowering.refusals import Refusal

if TYPE_CHECKING:
    from .functional import Layer

FUNCTIONAL = ("Functional", "Model")
MODELS = (*FUNCTIONAL, "Sequential")

# The frameworks that lutc has rules for: their modules, and the packages under which they register their classes.
MODULES = {
    "ops": ("keras.src.ops", "keras.ops"),
    "model": ("keras.src.models", "keras.src.engine", "keras.models"),
    "keras": ("keras.layers", "keras.src.layers"),
    "hgq": ("hgq",),
    "qkeras": ("qkeras",),
}
PACKAGES: dict[str, tuple[str, ...]] = {"hgq": ("hgq", "hgq2"), "qkeras": ("qkeras",)}


def _within(module: str, homes: tuple[str, ...]) -> bool:
    return any(module == home or module.startswith(home + ".") for home in homes)


def owner(kind: str, module: str, registered: str | None) -> str | None:
    """Which framework's class this is: `ops`, `model`, `keras`, `hgq`, `qkeras`; None for anybody else's."""
    for name, homes in MODULES.items():
        if not _within(module, homes):
            continue
        known = (None, kind, *(f"{package}>{kind}" for package in PACKAGES.get(name, ())))
        return name if registered in known else None
    return None


def is_model(entry: dict[str, Any]) -> bool:
    """Whether a serialised object is a model of Keras's own class, whose layers and calls are all there is to it.

    The files of Keras 2 name no modules.
    """
    kind, module = entry["class_name"], entry.get("module")
    if kind not in MODELS:
        return False
    own = module is None and "registered_name" not in entry
    return own or module == "keras" or owner(kind, module or "", entry.get("registered_name")) == "model"


def family(layer: Layer) -> str:
    """The framework a layer is of. Raises Refusal for a class of the user's own."""
    found = owner(layer.kind, layer.module, layer.registered)
    if found is not None:
        return found
    whose = layer.registered or f"{layer.module or '?'}.{layer.kind}"
    raise Refusal(
        f"it is a class of its own ({whose}), of which lutc knows no more than the name",
        "build it from the layers of Keras, HGQ2 or QKeras",
    )
