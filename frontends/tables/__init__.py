"""Networks that already are truth tables: lutc's own form (JSON, npz), KANELE's folders and DWN's checkpoints.

The chapter `tables.md` of the specification says what the form means. Reading a checkpoint runs no code of its maker
and needs no PyTorch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lutc.ir.graph import Design
from lutc.plugins import LoadOptions

from .dwn import is_dwn, read_dwn
from .form import Encoder, Input, Layer, Network, Rounded
from .kanele import is_kanele, read_kanele
from .read import is_form, read_form
from .to_design import lower_network
from .write import save

__all__ = [
    "FRONTEND",
    "Encoder",
    "Input",
    "Layer",
    "Network",
    "Rounded",
    "lower_network",
    "read_network",
    "save",
]


def read_network(path: str | Path) -> Network:
    """The network of a file or folder, whichever kind it is. Raises LirError listing everything wrong with it."""
    place = Path(path)
    if is_kanele(place):
        return read_kanele(place)
    return read_dwn(place) if place.suffix in (".pt", ".pth") else read_form(place)


class _Tables:
    name = "tables"
    suffixes = (".json", ".npz", ".pth")

    def reads(self, path: Path) -> bool:
        """Whether a file or folder holds tables; files of these endings may hold anything."""
        return is_kanele(path) or is_dwn(path) or is_form(path)

    def matches(self, source: object) -> bool:
        return isinstance(source, Network)

    def load(self, source: Any, options: LoadOptions) -> Design:
        options.only("input_types", kind="a network of tables")
        network = source if isinstance(source, Network) else read_network(source)
        where = network.name if source is network else Path(source).name
        return lower_network(network, where, options.input_types)


FRONTEND = _Tables()
