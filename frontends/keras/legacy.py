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
from lutc.files.foreign import read_json
from lutc.lowering.refusals import Refusal

from . import hdf5
from .archive import Archive, Array, Weights
from .identity import FUNCTIONAL, MODELS

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
            scope = f"{name}/" if all(full.startswith(f"{name}/") for full in mine) else ""
            for full, value in mine.items():
                rest = full.removeprefix(scope)
                inner.setdefault(rest.split("/")[0], {})[rest] = value
            inner = inner or stored  # Keras 3 names a variable by its layer alone, however deep it is
            _place(entry["config"]["layers"], inner, at + "/", tree, names)
        elif mine:
            tree[f"{at}/vars"] = list(mine.values())


# -- the config -------------------------------------------------------------------------------------------------------


def _modern(entry: dict[str, Any], old: bool) -> dict[str, Any]:
    """A model's config in the form of a `.keras` file; `old` if Keras 2 wrote it."""
    config = dict(entry["config"])
    config["layers"] = [_layer(e, old) for e in config["layers"]]
    if old and "output_layers" in config:
        config = _recounted(config)
    if "input_layers" not in config and config["layers"][0]["class_name"] != "InputLayer":
        shape = config["layers"][0]["config"].get("batch_input_shape")
        config["build_input_shape"] = shape or config.get("build_input_shape")
    return {**entry, "config": config}


def _recounted(config: dict[str, Any]) -> dict[str, Any]:
    """The calls of nested models counted as Keras 3 does: from 0, and from 1 where outputs name a functional one.

    Keras 2 counts from 0 or 1 after what a model did before it was called. Every call it lists is read somewhere, so
    the least number that is read is where it began.
    """
    read = [
        t["config"]["keras_history"]
        for e in config["layers"]
        for n in e["inbound_nodes"]
        for t in _tensors(n)
    ]
    outputs = _outputs(config["output_layers"])
    for entry in (e for e in config["layers"] if e["class_name"] in MODELS):
        name = entry["name"]
        first = min((h[1] for h in [*read, *outputs] if h[0] == name), default=0)
        shown = first - (entry["class_name"] in FUNCTIONAL)
        for numbers, less in ((read, first), (outputs, shown)):
            for history in numbers:
                history[1] -= less if history[0] == name else 0
    return config


def _tensors(node: Any) -> list[Any]:
    """The tensors that one call of Keras 2 reads."""
    (args,) = node["args"]
    return args if isinstance(args, list) else [args]


def _outputs(tree: Any) -> list[list[Any]]:
    """The outputs `[layer, call, index]` of a model, however they are nested."""
    if isinstance(tree, dict):
        return [h for item in tree.values() for h in _outputs(item)]
    return [tree] if isinstance(tree[0], str) else [h for item in tree for h in _outputs(item)]


def _layer(entry: dict[str, Any], old: bool) -> dict[str, Any]:
    config = dict(entry["config"])
    if entry["class_name"] in MODELS:
        entry = _modern(entry, old)
        config = entry["config"]
    # Old files name no modules: the layers that QKeras has and Keras has not all begin with Q. Registered classes
    # have their package before the name.
    package, _, kind = str(entry["class_name"]).rpartition(">")
    plain = "qkeras" if kind.startswith("Q") and old else "keras.models" if kind in MODELS else "keras.layers"
    module = str(entry.get("module") or package or plain)
    registered = entry.get("registered_name") or (str(entry["class_name"]) if package else None)
    if old and kind == "LeakyReLU" and "alpha" in config:
        config["negative_slope"] = float(config.pop("alpha"))
    if old and config.get("activation") in CHANGED:
        config["activation"] = f"{config['activation']} of Keras 2"
    nodes = [_node(n) if isinstance(n, list) else n for n in entry.get("inbound_nodes", [])]
    own = {"class_name": kind, "module": module, "registered_name": registered}
    return {**entry, **own, "config": config, "inbound_nodes": nodes}


def _node(node: Any) -> Any:
    """One call: `[[layer, call, output, options], ...]` as arguments."""
    tensors = []
    used: dict[str, Any] = {}
    for layer, call, index, *options in node:
        used |= {k: v for k, v in (options[0] if options else {}).items() if v is not None}
        tensors.append({"class_name": "__keras_tensor__", "config": {"keras_history": [layer, call, index]}})
    return {"args": tensors if len(tensors) == 1 else [tensors], "kwargs": used}
