"""A `.keras` file on disk: a zip with a JSON config and an HDF5 of weights. Neither Keras nor HGQ2 is needed.

The HDF5 mirrors the tree of saved objects: every object has a group `vars` whose datasets 0, 1, ... are its
variables, trainable ones first, each in the order they were made, and one group per attribute that holds objects.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutc.diagnostics import error

Array = NDArray[Any]


@dataclass(frozen=True)
class Weights:
    """The saved variables of one object, and of the objects below it.

    `tree` maps a path such as `layers/q_dense/vars` to the arrays there; `names` maps it to the object's name.
    """

    tree: dict[str, list[Array]]
    names: dict[str, str]
    path: str = ""

    def __call__(self, *steps: str) -> Weights:
        """The object below this one along `steps`."""
        return Weights(self.tree, self.names, "/".join([*([self.path] if self.path else []), *steps]))

    @property
    def own(self) -> list[Array]:
        """The object's own variables."""
        return self.tree.get(self._vars, [])

    @property
    def name(self) -> str | None:
        """The object's name when it was saved, where the file tells."""
        return self.names.get(self._vars)

    @property
    def _vars(self) -> str:
        return f"{self.path}/vars" if self.path else "vars"

    def __bool__(self) -> bool:
        """Whether the file holds anything for this object."""
        return self._vars in self.tree or any(p.startswith(self.path + "/") for p in self.tree)

    def below(self) -> Iterator[str]:
        """The names of the groups directly below."""
        start = self.path + "/" if self.path else ""
        seen = dict.fromkeys(p[len(start) :].split("/")[0] for p in self.tree if p.startswith(start))
        return (s for s in seen if s != "vars")


@dataclass(frozen=True)
class Archive:
    """An opened `.keras` file: the model's serialised config, its weights, and the Keras version that wrote it."""

    path: str
    config: dict[str, Any]
    weights: Weights
    version: str


def read_archive(path: str | os.PathLike[str]) -> Archive:
    """Open a `.keras` file. Raises LirError if it is none, or if h5py is missing."""
    where = str(path)
    try:
        with zipfile.ZipFile(path) as file:
            parts = {name: file.read(name) for name in file.namelist() if not name.startswith("assets/")}
    except FileNotFoundError:
        raise error("there is no such file", where=where) from None
    except (OSError, zipfile.BadZipFile) as cause:
        raise error(
            f"this is no .keras file ({cause})",
            where=where,
            help="save the model with Keras 3: model.save('model.keras')",
        ) from None
    if "config.json" not in parts or "model.weights.h5" not in parts:
        has = ", ".join(sorted(parts)) or "nothing"
        raise error(
            f"this zip holds no config.json and model.weights.h5, but {has}",
            where=where,
            help="save the whole model in one file: model.save('model.keras')",
        )
    try:
        config = json.loads(parts["config.json"])
        metadata = json.loads(parts.get("metadata.json", b"{}"))
        weights = _read_weights(parts["model.weights.h5"], where)
    except (ValueError, OSError, KeyError) as cause:
        raise error(f"the file is damaged: {cause}", where=where, help="save the model again") from None
    return Archive(where, config, weights, str(metadata.get("keras_version", "unknown")))


def load_h5py(where: str) -> Any:
    """The module h5py. Raises LirError if it is missing."""
    try:
        return importlib.import_module("h5py")
    except ImportError:
        raise error(
            "reading Keras's files needs the package h5py", where=where, help="pip install 'lutc[keras]'"
        ) from None


def _read_weights(data: bytes, where: str) -> Weights:
    h5py = load_h5py(where)
    tree: dict[str, list[Array]] = {}
    names: dict[str, str] = {}

    def visit(path: str, item: Any) -> None:
        if isinstance(item, h5py.Group) and (path == "vars" or path.endswith("/vars")):
            tree[path] = [_array(item[key]) for key in sorted(item, key=int)]
            name = item.attrs.get("name")
            if name is not None:
                names[path] = name.decode() if isinstance(name, bytes) else str(name)

    with h5py.File(io.BytesIO(data), "r") as file:
        file.visititems(visit)
    return Weights(tree, names)


def _array(data: Any) -> Array:
    if data.attrs.get("dtype") == "bfloat16":  # Keras stores it as the upper half of a float32
        return (np.asarray(data).view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    return np.asarray(data)
