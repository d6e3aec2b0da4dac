"""A `.keras` file on disk: a zip with a JSON config and an HDF5 of weights. Neither Keras nor HGQ2 is needed.

The HDF5 mirrors the tree of saved objects: every object has a group `vars` whose datasets 0, 1, ... are its
variables, trainable ones first, each in the order they were made, and one group per attribute that holds objects.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from lutc.diagnostics import error
from lutc.files import foreign

from . import hdf5

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
    save = "save the model with Keras 3: model.save('model.keras')"
    with foreign.opened(path, where, ".keras file", save) as members:
        lacking = [n for n in ("config.json", "model.weights.h5") if n not in members]
        if lacking:
            has = ", ".join(map(foreign.shown, members.names[:6])) or "nothing"
            raise error(
                f"this zip holds no {' and no '.join(lacking)}, but {has}",
                where=where,
                help="save the whole model in one file: model.save('model.keras')",
            )
        config = members.json("config.json")
        metadata = members.json("metadata.json") if "metadata.json" in members else {}
        weights = _read_weights(members.read("model.weights.h5"), f"{where}: model.weights.h5")
    if not isinstance(config, dict) or not isinstance(metadata, dict):
        raise error("its config.json describes no model", where=where, help="save the model again")
    return Archive(where, config, weights, str(metadata.get("keras_version", "unknown")))


def _read_weights(data: bytes, where: str) -> Weights:
    tree: dict[str, list[Array]] = {}
    names: dict[str, str] = {}
    with hdf5.opened(data, where) as root:
        waiting = [root]
        while waiting:
            group = waiting.pop()
            if group.path == "vars" or group.path.endswith("/vars"):
                tree[group.path] = [group.array(key) for key in sorted(group, key=int)]
                name = group.attribute("name")
                if name is not None:
                    names[group.path] = str(name)
                continue
            # What the optimiser keeps is as large again, and no part of the model.
            below = (n for n in group if group.path or n != "optimizer")
            waiting += [g for n in reversed(list(below)) if (g := group.group(n)) is not None]
    return Weights(tree, names)
