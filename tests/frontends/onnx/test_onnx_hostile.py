"""ONNX models that reach for files outside their folder, or make constants without end."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx_models import Graph
from payload import refused

from lutc.diagnostics import LirError
from lutc.frontends.onnx import load_onnx

WEIGHTS = np.arange(12, dtype=np.float32).reshape(4, 3)


def elsewhere(location: str, **more: int) -> Any:
    """A tensor whose data lie in another file."""
    tensor = onnx.TensorProto(name="w", dims=WEIGHTS.shape, data_type=onnx.TensorProto.FLOAT)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": location, **more}.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def initializer(tensor: Any) -> Any:
    g = Graph()
    g.output(g.add("MatMul", g.qdq(g.input(["n", 4])), "w"))
    model = g.model()
    model.graph.initializer.append(tensor)
    return model


def constant(tensor: Any) -> Any:
    """In an attribute, where constants may stand as well."""
    model = initializer(tensor)
    del model.graph.initializer[-1]
    model.graph.node.insert(0, helper.make_node("Constant", [], ["w"], value=tensor))
    return model


def function(tensor: Any) -> Any:
    """In a function of the model's own."""
    model = initializer(tensor)
    del model.graph.initializer[-1]
    node = helper.make_node("Constant", [], ["v"], value=tensor)
    made = helper.make_function("own", "Weights", [], ["v"], [node], [helper.make_opsetid("", 21)])
    model.functions.append(made)
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.graph.node.insert(0, helper.make_node("Weights", [], ["w"], domain="own"))
    return model


def branch(tensor: Any) -> Any:
    """In a graph within the graph."""
    model = initializer(tensor)
    del model.graph.initializer[-1]
    out = helper.make_tensor_value_info("v", 1, [4, 3])
    inner = helper.make_graph([helper.make_node("Constant", [], ["v"], value=tensor)], "inner", [], [out])
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    node = helper.make_node("If", ["yes"], ["w"], then_branch=inner, else_branch=inner)
    model.graph.node.insert(0, node)
    return model


PLACES = [initializer, constant, function, branch]


def link(home: Path, secret: Path) -> str:
    (home / "data").symlink_to(secret)
    return "data"


def folder_link(home: Path, secret: Path) -> str:
    (home / "data").symlink_to(secret.parent)
    return f"data/{secret.name}"


def hard_link(home: Path, secret: Path) -> str:
    os.link(secret, home / "data")
    return "data"


OUTSIDE: dict[str, Callable[[Path, Path], str]] = {
    "absolute": lambda home, secret: str(secret),
    "parent": lambda home, secret: f"../{secret.name}",
    "parent within": lambda home, secret: f"sub/../../{secret.name}",
    "link": link,
    "folder link": folder_link,
    "hard link": hard_link,
    "nothing": lambda home, secret: "",
    "folder": lambda home, secret: ".",
}


@pytest.mark.parametrize("place", PLACES, ids=lambda p: p.__name__)
@pytest.mark.parametrize("how", OUTSIDE)
def test_weights_outside_the_folder(how: str, place: Callable[[Any], Any], tmp_path: Path) -> None:
    home, secret = tmp_path / "model", tmp_path / "secret.bin"
    home.mkdir()
    secret.write_bytes(WEIGHTS.tobytes())
    path = home / "m.onnx"
    path.write_bytes(place(elsewhere(OUTSIDE[how](home, secret))).SerializeToString())
    assert "its weights lie in another file, which cannot be read: 'w': " in refused(path, tmp_path / "mark")


@pytest.mark.parametrize("place", PLACES, ids=lambda p: p.__name__)
def test_weights_in_the_folder(
    place: Callable[[Any], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "w.bin").write_bytes(bytes(8) + WEIGHTS.tobytes())
    path = tmp_path / "m.onnx"
    model = place(elsewhere("sub/w.bin", offset=8))
    path.write_bytes(model.SerializeToString())
    assert load_onnx(path).run(np.ones((1, 4))).tolist() == [[18.0, 22.0, 26.0]]
    monkeypatch.chdir(tmp_path)  # and a model without a folder has none to look in
    with pytest.raises(LirError, match="load the model by its path"):
        load_onnx(model)
    with pytest.raises(LirError, match="load the model by its path"):
        load_onnx(model.SerializeToString())


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"length": 1 << 60}, "it states 1,152,921,504,606,846,976 bytes"),
        ({"length": 4}, "it states 4 bytes, and its [4, 3] numbers are 48"),
        ({"offset": 1 << 60}, "is too short"),
        ({"offset": -8}, "it states 48 bytes"),
        ({"length": -1}, "it states -1 bytes"),
    ],
)
def test_their_length(more: dict[str, int], message: str, tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(WEIGHTS.tobytes())
    path = tmp_path / "m.onnx"
    path.write_bytes(initializer(elsewhere("w.bin", **more)).SerializeToString())
    assert message in refused(path, tmp_path / "mark")


def test_dimensions_that_the_data_lack(tmp_path: Path) -> None:
    tensor = numpy_helper.from_array(WEIGHTS, "w")
    tensor.dims[0] = 1 << 40
    path = tmp_path / "m.onnx"
    path.write_bytes(initializer(tensor).SerializeToString())
    assert "its tensor 'w' cannot be read" in refused(path, tmp_path / "mark")


# -- what constants make ------------------------------------------------------------------------------------------

HUGE = 10**12
CONSTANTS: dict[str, list[Any]] = {
    "ConstantOfShape": [[10**6, 10**6]],
    "Expand": [np.ones(1, np.float32), [HUGE]],
    "Tile": [np.ones(1, np.float32), [HUGE]],
    "Pad": [np.ones(1, np.float32), [0, HUGE]],
    "Range": [np.float32(0), np.float32(HUGE), np.float32(1)],
    "OneHot": [[1], HUGE, np.array([0, 1], np.float32)],
}


@pytest.mark.parametrize("op", CONSTANTS)
def test_constants_are_counted_before_they_are_made(op: str) -> None:
    g = Graph()
    x = g.qdq(g.input(["n", 4]))
    given = [g.constant(np.asarray(v) if isinstance(v, list | int) else v) for v in CONSTANTS[op]]
    g.output(g.add("Mul", x, g.add("ReduceSum", g.add(op, *given), keepdims=0)))
    with pytest.raises(LirError, match=r"makes a constant of [\d,]{15,} numbers"):
        load_onnx(g.model())


def test_loops_are_not_run() -> None:
    g = Graph()
    x = g.qdq(g.input(["n", 4]))
    info = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Identity", ["a"], ["b"])],
        "body",
        [info("i", 7, []), info("go", 9, []), info("a", 1, [4])],
        [info("on", 9, []), info("b", 1, [4])],
    )
    often, start = g.constant(np.array(1 << 62)), g.constant(np.ones(4, np.float32))
    g.output(g.add("Mul", x, g.add("Loop", often, "", start, body=body)))
    with pytest.raises(LirError, match="is a Loop, which is not run at compile time"):
        load_onnx(g.model())
