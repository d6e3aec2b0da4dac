"""A document that is not as the chapter says: every mistake at its place, with what to do next."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from tables_zoo import Document, edges, weightless

import lutc
from lutc.build import as_type
from lutc.cli import main
from lutc.diagnostics import LirError


def refused(document: Any, folder: Path, **options: Any) -> str:
    path = folder / "n.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    with pytest.raises(LirError) as caught:
        lutc.load(path, **options)
    return str(caught.value)


CASES: list[tuple[Callable[[], Document], str, Any, str]] = [
    (edges, "input/size", 0, "n.json: input: error: its size is 0\n  = help: give the number of inputs"),
    (edges, "input/format", None, "n.json: input: error: it has 'round' and no format"),
    (edges, "input/format", ["u4", "u4"], "input: error: it has 2 formats for 3 numbers"),
    (edges, "input/format", "u4[3]", "u4[3] is a type of tensors\n  = help: give a format such as s8f4"),
    (edges, "input/round", "nearest", "round is 'nearest'\n  = help: one of: floor, ceil,"),
    (edges, "layer", [], "n.json: error: it has an unknown key 'layer'\n  = help: did you mean layers"),
    (
        edges,
        "outputs",
        {"y": "softmax"},
        "n.json: outputs: error: y is 'softmax'\n  = help: one of: values, argmax",
    ),
    (edges, "layers/0/inputs/1", [3], "layer 'layer0': error: table 1 reads input 3\n  = help: there are 3,"),
    (edges, "layers/1/inputs/3", [3], "layer 'layer1': error: table 3 reads input 3"),
    (edges, "layers/0/inputs/1", 1, "layer 'layer0': error: table 1: it is 1 and no list"),
    (
        edges,
        "layers/0/tables/2",
        [0.5] * 16,
        "table 2: [0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0... is no list of integers",
    ),
    (
        edges,
        "layers/0/tables/2",
        [1, 2],
        "table 2 has 2 entries, and its key of 4 bits asks for 16\n  = help: the ",
    ),
    (edges, "layers/0/tables", [[0] * 16], "it connects 5 tables and holds 1"),
    (edges, "layers/0/sum", [[0, 5]], "sum 0 adds table 5\n  = help: there are 5, counted from 0"),
    (edges, "layers/0/sum", 2, "5 tables do not divide into 2 groups"),
    (edges, "layers/1/order", "gray", "order is 'gray'\n  = help: one of: bits, value"),
    (edges, "layers/1/frac", "2", "frac is '2'"),
    (edges, "layers/1/key", {"round": "floor"}, "it has 'round' and no format"),
    (edges, "layers/0/key", {"format": "s30"}, "table 0 has a key of 30 bits, and 20 are the most"),
    (weightless, "encoder/thresholds", [[0.5]], "encoder: error: it has thresholds for 1 inputs, not 3"),
    (weightless, "encoder/thresholds/0", [1e999], "encoder: error: input 0: inf is no number"),
    (weightless, "encoder/compare", "lt", "encoder: error: compare is 'lt'\n  = help: one of: gt, ge"),
    (weightless, "lutc tables", 2, "n.json: error: its version is 2, and lutc reads 1"),
]


@pytest.mark.parametrize(
    ("make", "place", "value", "message"), CASES, ids=[f"{c[1]}={c[2]}"[:40] for c in CASES]
)
def test_refused(make: Callable[[], Document], place: str, value: Any, message: str, tmp_path: Path) -> None:
    document: Any = make()
    inner, *path = document, *place.split("/")
    for step in path[:-1]:
        inner = inner[int(step) if step.isdigit() else step]
    inner[int(path[-1]) if path[-1].isdigit() else path[-1]] = value
    assert message in refused(document, tmp_path)


def test_everything_wrong_is_told_at_once(tmp_path: Path) -> None:
    document = edges()
    document["input"]["size"] = "three"
    document["layers"][0]["sum"] = 4
    document["layers"][1]["order"] = "gray"
    text = refused(document, tmp_path)
    assert text.count("error:") == 3
    document = edges()
    for layer in document["layers"]:
        layer["tables"][0] = [1]
    assert refused(document, tmp_path).count("has 1 entries") == 2


def test_an_input_without_a_format(tmp_path: Path) -> None:
    document = edges()
    document["input"] = {"size": 3}
    text = refused(document, tmp_path)
    assert "n.json: input 'x': error: it has no format\n  = help: give it one:" in text
    assert "--input-type x=s8f4" in text
    (tmp_path / "n.json").write_text(json.dumps(document))
    assert lutc.load(tmp_path / "n.json", input_types="u4").params[0].type == as_type("u4[3]")
    assert "the network has no input 'z'" in refused(document, tmp_path, input_types={"z": "u4"})
    assert "it has 3 numbers, and u4[2] has shape [2]" in refused(document, tmp_path, input_types="u4[2]")


def test_files_that_are_none(tmp_path: Path) -> None:
    assert "n.json: error: this is no network of tables: it lacks the key 'lutc tables'" in refused(
        {}, tmp_path
    )
    assert "n.json: error: this is no JSON that can be read: " in refused('{"lutc tables": 1,', tmp_path)
    np.savez(tmp_path / "n.npz", other=np.arange(3))
    with pytest.raises(LirError, match="it has no array named 'network'"):
        lutc.load(tmp_path / "n.npz")
    np.savez(
        tmp_path / "n.npz", network=np.array(json.dumps(edges() | {"layers": "@lay"})), layers=np.arange(3)
    )
    with pytest.raises(LirError, match="there is no array 'lay'\n  = help: did you mean layers"):
        lutc.load(tmp_path / "n.npz")
    np.savez(tmp_path / "n.npz", network=np.array([{"a": 1}], dtype=object))
    with pytest.raises(LirError, match="it holds Python objects, and opening those could run code"):
        lutc.load(tmp_path / "n.npz")


def test_the_command_line_says_it_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "n.json").write_text("[1, 2]")
    done = CliRunner().invoke(main, ["compile", str(tmp_path / "n.json"), "-o", str(tmp_path / "build")])
    assert done.exit_code == 2
    assert "this is no network of tables" in done.output
    assert "Traceback" not in done.output
