"""Writing the form, so that an imported network can be kept, looked at and edited."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from lutc.diagnostics import error
from lutc.files.writing import write_arrays, write_text

from .form import Layer, Network, Rounded
from .read import MARK, VERSION


def save(network: Network, path: str | Path) -> None:
    """Write a network to a `.json` or `.npz` file, from which the same network is read.

    Raises LirError for another ending, and for a threshold that is no float64 number.
    """
    place = Path(path)
    if place.suffix not in (".json", ".npz"):
        raise error(f"a network is saved as .json or .npz, not as {place.suffix or place.name!r}")
    arrays: dict[str, Any] = {}
    document = _document(network, arrays if place.suffix == ".npz" else None)
    text = json.dumps(document, indent=None if arrays else 1)
    if place.suffix == ".npz":
        write_arrays(place, {"network": np.array(text), **arrays}, compressed=True)
    else:
        write_text(place, text + "\n")


def _document(network: Network, arrays: dict[str, Any] | None) -> dict[str, Any]:
    source = network.input
    document: dict[str, Any] = {MARK: VERSION, "name": network.name}
    document["input"] = {"name": source.name, "size": source.size, **_rounded(source.rounded)}
    if network.encoder:
        rows = [[_float(t) for t in row] for row in network.encoder.thresholds]
        document["encoder"] = {
            "thresholds": _kept(rows, "thresholds", arrays),
            "compare": "ge" if network.encoder.inclusive else "gt",
        }
    document["layers"] = [_layer(layer, n, arrays) for n, layer in enumerate(network.layers)]
    document["outputs"] = network.outputs
    document["notes"] = list(network.notes)
    return document


def _layer(layer: Layer, number: int, arrays: dict[str, Any] | None) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": layer.name,
        "inputs": _kept([list(i) for i in layer.inputs], f"inputs{number}", arrays),
        "tables": _kept([t.tolist() for t in layer.tables], f"tables{number}", arrays),
        "frac": layer.frac,
        "order": "value" if layer.by_value else "bits",
    }
    if layer.key:
        entry["key"] = _rounded(layer.key)
    if layer.sums is not None:
        entry["sum"] = [list(s) for s in layer.sums]
    return entry | _rounded(layer.result)


def _rounded(rounded: Rounded | None) -> dict[str, Any]:
    if rounded is None:
        return {}
    formats = [str(f) for f in rounded.formats]
    return {
        "format": formats[0] if len(formats) == 1 else formats,
        "round": rounded.round.value,
        "overflow": rounded.overflow.value,
    }


def _kept(rows: list[list[Any]], name: str, arrays: dict[str, Any] | None) -> Any:
    """The rows, or a reference to them if they are one array of machine numbers."""
    if arrays is None or len({len(r) for r in rows}) != 1:
        return rows
    array = np.array(rows)
    if array.dtype.kind not in "if":
        return rows
    arrays[name] = array
    return "@" + name


def _float(number: Fraction) -> float:
    value = float(number)
    if Fraction(value) != number:
        raise error(f"the threshold {number} is no float64 number, and the form holds no other")
    return value
