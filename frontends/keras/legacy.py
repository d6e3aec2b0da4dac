"""An `.h5` file, as Keras 2 saves a whole model (and with it QKeras), in the terms of a `.keras` file.

The file has the model's config as an attribute and one group of weights for each top-level layer, whose attribute
`weight_names` lists its variables in order: `dense/kernel:0`; those of a nested model begin with the inner layer's
name. Keras 3 writes `.h5` files of the same build, with a config of its own form.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lutc.diagnostics import error
from lutc.foreign import read_json

from ..importer import Refusal
from . import hdf5
from .archive import Archive, Array, Weights
from .graph import MODELS

# Functions that go by the same name in Keras 2 and 3 and are not the same.
CHANGED = ("hard_sigmoid",)


def read_h5(path: str | os.PathLike[str]) -> Archive:
    """Open an `.h5` file. Raises LirError if it holds no whole model, or if h5py is missing."""
    where = str(path)
    with hdf5.opened(Path(path), where) as root:
        text = root.attribute("model_config")
        if text is None:
            raise Refusal(
                "the file holds weights, and not how the layers are connected",
                "save the whole model: model.save('model.h5')",
            )
        config = read_json(text if isinstance(text, str) else "", f"{where}: model_config")
        version = str(root.attribute("keras_version") or "unknown")
        groups = root.group("model_weights") if "model_weights" in root else None
        if groups is None:
            raise Refusal("the file holds no weights", "save the whole model: model.save('model.h5')")
        inner = {name: groups.group(name) for name in groups}
        stored = {name: dict(_variables(group)) for name, group in inner.items() if group is not None}
    try:
        tree: dict[str, list[Array]] = {}
        names: dict[str, str] = {}
        _place(config["config"]["layers"], stored, "", tree, names)
        config = _modern(config, version.split(".")[0] in ("1", "2"))
    except (KeyError, TypeError, IndexError, AttributeError, ValueError) as cause:
        raise error(
            f"the model's config is not as Keras 2 writes it ({type(cause).__name__}: {cause})",
            where=where,
            help="build the model with the functional or sequential API",
        ) from None
    return Archive(where, config, Weights(tree, names), version)


def _variables(group: hdf5.Group) -> Iterator[tuple[str, Array]]:
    """A layer's variables by name; a long list of names is cut into `weight_names0`, `weight_names1`, ..."""
    names = group.attribute("weight_names")
    if names is None:
        parts, names = 0, []
        while (part := group.attribute(f"weight_names{parts}")) is not None:
            names, parts = [*names, *part], parts + 1
    for name in names:
        yield str(name), group.array(str(name))


def _place(
    entries: list[dict[str, Any]],
    stored: dict[str, dict[str, Array]],
    path: str,
    tree: dict[str, list[Array]],
    names: dict[str, str],
) -> None:
    """Put the variables where a `.keras` file has them."""
    for number, entry in enumerate(entries):
        name = str(entry["config"]["name"])
        mine = stored.get(name, {})
        at = f"{path}layers/{number}"
        names[f"{at}/vars"] = name
        if entry["class_name"] in MODELS:
            inner: dict[str, dict[str, Array]] = {}
            for full, value in mine.items():
                inner.setdefault(full.split("/")[0], {})[full] = value
            _place(entry["config"]["layers"], inner, at + "/", tree, names)
        elif mine:
            tree[f"{at}/vars"] = list(mine.values())


# -- the config -------------------------------------------------------------------------------------------------------


def _modern(entry: dict[str, Any], old: bool) -> dict[str, Any]:
    """A model's config in the form of a `.keras` file; `old` if Keras 2 wrote it."""
    config = dict(entry["config"])
    config["layers"] = [_layer(e, old) for e in config["layers"]]
    if "input_layers" not in config and config["layers"][0]["class_name"] != "InputLayer":
        shape = config["layers"][0]["config"].get("batch_input_shape")
        config["build_input_shape"] = shape or config.get("build_input_shape")
    return {**entry, "config": config}


def _layer(entry: dict[str, Any], old: bool) -> dict[str, Any]:
    config = dict(entry["config"])
    if entry["class_name"] in MODELS:
        entry = _modern(entry, old)
        config = entry["config"]
    # Old files name no modules: the layers that QKeras has and Keras has not all begin with Q. Registered classes
    # have their package before the name.
    package, _, kind = str(entry["class_name"]).rpartition(">")
    plain = "qkeras" if kind.startswith("Q") and old else "keras.layers"
    module = str(entry.get("module") or package or plain)
    if old and kind == "LeakyReLU" and "alpha" in config:
        config["negative_slope"] = float(config.pop("alpha"))
    if old and config.get("activation") in CHANGED:
        config["activation"] = f"{config['activation']} of Keras 2"
    nodes = [_node(n) if isinstance(n, list) else n for n in entry.get("inbound_nodes", [])]
    return {**entry, "class_name": kind, "module": module, "config": config, "inbound_nodes": nodes}


def _node(node: Any) -> Any:
    """One call: `[[layer, call, output, options], ...]` as arguments."""
    tensors = []
    for layer, call, index, *options in node:
        used = {k: v for k, v in (options[0] if options else {}).items() if v is not None and k != "training"}
        if used:
            raise TypeError(f"{layer} is passed on with the arguments {', '.join(used)}")
        tensors.append({"class_name": "__keras_tensor__", "config": {"keras_history": [layer, call, index]}})
    return {"args": tensors if len(tensors) == 1 else [tensors], "kwargs": {}}
