"""KANELE and KAN-FPGA: a folder with `truth_tables.json` and `config.json`, as their converter writes them.

Key `l_i_o` of the tables is the function on the edge from input i to output o of layer l, as integers in units of the
layer's output step; edges that were pruned are marked inactive (`acive`, as it is spelled there). The first layer
reads the input's codes from 0 up. Every layer adds its edges up and clamps to a signed integer of `layers_bitwidth`
bits; the next layer's tables begin at the smallest of those (Hoang et al., KANELE, arXiv 2512.12850; checked against
its simulation vectors).
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from lutc.diagnostics import error
from lutc.files.foreign import read_json, shown
from lutc.lowering.refusals import Refusal, Refusals
from lutc.types import Fixed

from .form import Codes, Input, Layer, Network, Rounded

TABLES, CONFIG = "truth_tables.json", "config.json"


def is_kanele(path: Path) -> bool:
    """Whether it is such a folder, or the file of tables in one."""
    return (path / TABLES).is_file() or path.name == TABLES


def read_kanele(path: Path) -> Network:
    """The network of a folder (or of its `truth_tables.json`). Raises LirError listing what is missing or malformed."""
    folder = path if path.is_dir() else path.parent
    tables, config = (_json(folder / name) for name in (TABLES, CONFIG))
    where = str(path)
    sizes, bits = (_integers(config, key, where) for key in ("layers", "layers_bitwidth"))
    if len(sizes) != len(bits):
        raise error(f"config.json gives {len(sizes)} layers and {len(bits)} bit widths", where=where)
    wrong = Refusals()
    layers = []
    for number, (n_in, n_out) in enumerate(pairwise(sizes)):
        with wrong.at(f"{where}: layer {number}"):
            layers.append(_layer(tables, number, n_in, n_out, bits))
    wrong.check()
    name = folder.resolve().name
    port = Input("x", sizes[0], Rounded((Fixed(False, bits[0]),)))
    note = (
        "the input takes the codes of the first layer's quantiser, counted from 0, and the outputs are integers: "
        "the tables' files hold no scales"
    )
    return Network(name, port, tuple(layers), notes=(note,))


def _layer(tables: dict[str, Any], number: int, n_in: int, n_out: int, bits: list[int]) -> Layer:
    inputs: list[tuple[int, ...]] = []
    found: list[Codes] = []
    sums: list[tuple[int, ...]] = []
    for o in range(n_out):
        terms = []
        for i in range(n_in):
            entries = _entries(tables, f"{number}_{i}_{o}", bits[number])
            if entries is not None:
                terms.append(len(found))
                inputs.append((i,))
                found.append(entries)
        sums.append(tuple(terms))
    result = Rounded((Fixed(True, bits[number + 1]),))
    return Layer(
        f"layer{number}",
        tuple(inputs),
        tuple(found),
        by_value=number > 0,
        sums=tuple(sums),
        result=result,
    )


def _entries(tables: dict[str, Any], key: str, width: int) -> Codes | None:
    """The entries of an edge; None if it was pruned."""
    edge = tables.get(key)
    if not isinstance(edge, dict) or "values_int" not in edge:
        raise Refusal(f"{TABLES} has no table {key}", "convert the model again: the two files do not match")
    if not edge.get("acive", edge.get("active", 1)):
        return None
    values = edge["values_int"]
    if not isinstance(values, list) or not all(type(v) is int and abs(v) < 1 << 62 for v in values):
        raise Refusal(f"table {key} holds other things than integers", "convert the model again")
    if len(values) != 1 << width:
        raise Refusal(
            f"table {key} has {len(values)} entries, and layers_bitwidth asks for {1 << width}",
            "convert the model again: the two files do not match",
        )
    return np.array(values, dtype=np.int64)


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise error(
            f"{path.name} is missing",
            where=str(path.parent),
            help=f"{TABLES} and {CONFIG} of one model belong in one folder",
        )
    found = read_json(path, str(path))
    if not isinstance(found, dict):
        raise error("the file holds no object with keys", where=str(path))
    return found


def _integers(config: dict[str, Any], key: str, where: str) -> list[int]:
    found = config.get(key)
    least, most = (2, 1 << 20) if key == "layers" else (1, 64)
    if (
        not isinstance(found, list)
        or len(found) < 2
        or not all(type(v) is int and least - 1 <= v <= most for v in found)
    ):
        raise error(
            f"config.json has {key} {shown(found)}",
            where=where,
            help='such as "layers": [16, 8, 5], "layers_bitwidth": [6, 7, 6]',
        )
    return found
