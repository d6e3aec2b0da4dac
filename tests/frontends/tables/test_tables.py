"""Networks that are tables: what a made-up one of each kind means, in the interpreter and in both HDLs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tables_zoo import KINDS, Document, meaning, rows

import lutc
from conftest import need_tool
from lutc.driver import compile as build
from lutc.driver import simulate
from lutc.frontends.tables import Network, read_network, save
from lutc.ir.graph import Design
from lutc.types import ZERO


def written(document: Document, folder: Path) -> Path:
    path = folder / f"{document['name']}.json"
    path.write_text(json.dumps(document))
    return path


def answers(design: Design, x: Any) -> dict[str, Any]:
    """The design's outputs by name, as floats."""
    found = design.run(x)
    found = found if isinstance(found, dict) else {design.outputs[0].name: found}
    return {name: np.asarray(v, dtype=float) for name, v in found.items()}


def expected(document: Document, x: Any) -> dict[str, Any]:
    each = [meaning(document, row) for row in x.tolist()]
    return {name: np.array([e[name] for e in each], dtype=float) for name in each[0]}


def same(design: Design, document: Document, x: Any) -> None:
    want, have = expected(document, x), answers(design, x)
    assert want.keys() == have.keys()
    for name in want:
        np.testing.assert_array_equal(have[name], want[name])


@pytest.mark.parametrize("kind", KINDS)
def test_design_means_what_the_document_says(kind: str, tmp_path: Path) -> None:
    document = KINDS[kind]()
    design = lutc.load(written(document, tmp_path))
    assert design.name == kind
    same(design, document, rows(document))


@pytest.mark.parametrize("hdl", ["verilog", "vhdl"])
@pytest.mark.parametrize("kind", KINDS)
def test_circuit(kind: str, hdl: str, tmp_path: Path) -> None:
    need_tool("iverilog" if hdl == "verilog" else "ghdl")
    document = KINDS[kind]()
    x = rows(document, 60)
    built = build(written(document, tmp_path), clock_ns=2.0, hdl=hdl)
    same(built.design, document, x)
    folder = built.write(tmp_path / "build", vectors=60, user_vectors={built.source.params[0].name: x})
    result = simulate(folder)
    assert result.passed, result.message
    assert result.vectors >= 120


@pytest.mark.parametrize("ending", [".json", ".npz"])
@pytest.mark.parametrize("kind", KINDS)
def test_saved_network_is_the_same(kind: str, ending: str, tmp_path: Path) -> None:
    network = read_network(written(KINDS[kind](), tmp_path))
    path = tmp_path / ("again" + ending)
    save(network, path)
    assert str(lutc.load(path)) == str(lutc.load(network))


def test_arrays_of_an_npz(tmp_path: Path) -> None:
    """Rows of one length may be arrays; `@name` stands for them."""
    document = KINDS["weightless"]()
    arrays: dict[str, Any] = {
        "t": np.array(document["encoder"]["thresholds"], dtype=np.float32),
        "w": np.array(document["layers"][0]["inputs"], dtype=np.int32),
        "b": np.array(document["layers"][0]["tables"], dtype=bool),
    }
    short = json.loads(json.dumps(document))
    short["encoder"]["thresholds"] = "@t"
    short["layers"][0] |= {"inputs": "@w", "tables": "@b"}
    np.savez(tmp_path / "n.npz", network=np.array(json.dumps(short)), **arrays)
    assert str(lutc.load(tmp_path / "n.npz")) == str(lutc.load(written(document, tmp_path)))


def test_encoder_by_the_users_format(tmp_path: Path) -> None:
    """A format too coarse for the thresholds: numbers of that format are still encoded exactly."""
    document = KINDS["weightless"]()
    x = np.round(rows(document) * 4) / 4
    x = np.clip(x, -8, 7.75)
    exact = written(document, tmp_path)
    same(lutc.load(exact, input_types="s6f2"), document, x)
    same(lutc.load(exact, input_types={"x": "<s6f2*2, s7f3>[3]"}), document, x)
    inclusive = document | {"encoder": document["encoder"] | {"compare": "ge"}}
    strict = lutc.load(written(inclusive, tmp_path))
    x = rows(document)
    bits = [
        [v >= t for v, row in zip(r, document["encoder"]["thresholds"], strict=True) for t in row] for r in x
    ]
    plain = {k: v for k, v in document.items() if k != "encoder"} | {"input": {"size": 12, "format": "u1"}}
    want = expected(plain, np.array(bits, dtype=float))
    np.testing.assert_array_equal(answers(strict, x)["score"], want["score"])


@pytest.mark.parametrize("compare", ["gt", "ge"])
def test_the_outermost_thresholds_at_the_end_of_a_format(compare: str, tmp_path: Path) -> None:
    """There must be a number beyond them to saturate at."""
    document: Document = {
        "lutc tables": 1,
        "name": "ends",
        "input": {"name": "x", "size": 2},
        "encoder": {"thresholds": [[-1.0, 0.75], [0.0, 1.75]], "compare": compare},
    }
    x = np.array([[a, b] for a in (-9, -1.01, -1, 0.75, 0.76, 9) for b in (-9, -0.01, 0, 1.75, 1.76, 9)])
    above = np.greater if compare == "gt" else np.greater_equal
    want = above(x[:, [0, 0, 1, 1]], [-1.0, 0.75, 0.0, 1.75])
    np.testing.assert_array_equal(answers(lutc.load(written(document, tmp_path)), x)["y"], want)


def test_unread_thresholds_take_no_wires(tmp_path: Path) -> None:
    document = KINDS["weightless"]()
    for layer in document["layers"][:1]:
        layer["inputs"] = [[i % 4 for i in row] for row in layer["inputs"]]  # only those of the first number
    design = lutc.load(written(document, tmp_path))
    assert design.params[0].type.formats[1:] == (ZERO, ZERO)
    same(design, document, rows(document))


def test_a_network_is_taken_live(tmp_path: Path) -> None:
    network = read_network(written(KINDS["edges"](), tmp_path))
    assert isinstance(network, Network)
    same(lutc.load(network), KINDS["edges"](), rows(KINDS["edges"]()))
