"""Softmax, sigmoid and several outputs: what the host gets is said, and what is inside stays as it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from float_models import Array, Net, answers

import lutc
from lutc.diagnostics import LirError
from lutc.ptq import files
from lutc.ptq.fold import plain
from lutc.ptq.simulator import Simulator, shapes_of
from lutc.ptq.sites import sites


def floats(graph: Any, x: Array) -> list[Array]:
    """The answers of a model in plain form."""
    shapes = shapes_of(graph, {"x": x})
    found = sites(graph, shapes)
    return Simulator(graph, found.layers, found.points, shapes, {"x": x}).answers()


def near(right: list[Array], found: list[Array]) -> bool:
    return all(np.abs(a - b).max() < 1e-4 for a, b in zip(right, found, strict=True))


def test_a_softmax_that_is_read_inside_stays() -> None:
    """Such as the weights of an attention, given as a second output."""
    n = Net([4])
    weights = n.add("Softmax", n.gemm("x", 4, 5), axis=1)
    model, x = n.model(n.gemm(weights, 5, 2), weights), n.data()
    graph = plain(model)
    assert near(answers(model, x), floats(graph, x))
    assert not graph.softmax and not graph.notes


def test_logits_and_probabilities() -> None:
    n = Net([4])
    logits = n.gemm("x", 4, 3)
    model, x = n.model(logits, n.add("Softmax", logits, axis=1)), n.data()
    graph = plain(model)
    right = answers(model, x)
    assert near([right[0], right[0]], floats(graph, x))
    assert not graph.softmax  # which makes the second output
    assert lutc.quantize(model, x, bits=6).metric == "R²"


def test_a_softmax_right_behind_an_input() -> None:
    n = Net([4])
    model = n.model(n.gemm("x", 4, 3), n.add("Softmax", "x", axis=1))
    x = n.data()
    assert near([answers(model, x)[0], x], floats(plain(model), x))


def test_a_softmax_that_is_kept() -> None:
    n = Net([4])
    model = n.model(n.add("Softmax", n.gemm("x", 4, 3), axis=1))
    found = lutc.quantize(model, n.data(), bits=7, keep_softmax=True)
    assert found.metric == "agreement" and found.score > 0.8 and not found.notes


def test_several_sigmoids_are_numbers() -> None:
    n = Net([4])
    model = n.model(n.add("Sigmoid", n.gemm("x", 4, 3)))
    assert lutc.quantize(model, n.data(), bits=7).metric == "R²"


def test_one_sigmoid_says_yes_or_no() -> None:
    n = Net([4])
    model, x = n.model(n.add("Sigmoid", n.gemm("x", 4, 1))), n.data()
    labels = (answers(model, x)[0][:, 0] > 0.5).astype(np.float32)
    found = lutc.quantize(model, x, labels, bits=7)
    assert found.metric == "accuracy" and found.float_score == 1


def test_labels_twice() -> None:
    n = Net([4])
    model, x = n.model(n.gemm("x", 4, 3)), n.data()
    data = {"x": x, "labels": np.zeros(3)}
    found = lutc.quantize(model, data, answers(model, x)[0].argmax(1), bits=6)
    assert found.metric == "accuracy" and found.float_score == 1


def test_trained_outcomes_are_written(tmp_path: Any) -> None:
    n = Net([4])
    model, x = n.model(n.gemm(n.add("Relu", n.gemm("x", 4, 6)), 6, 3)), n.data()
    found = lutc.quantize(model, x, bits=4, effort="high")
    assert files.facts(found)["outcomes"][files.facts(found)["chosen"]]["compiled"]
    assert len(found.write(tmp_path / "q.onnx")) == 4


@pytest.mark.parametrize("scale", [1e-8, 1e-5, 1e8])
def test_numbers_of_any_size(scale: float) -> None:
    n = Net([4])
    model = n.model(n.gemm(n.add("Relu", n.gemm("x", 4, 6)), 6, 3))
    for c in (c for c in model.graph.initializer if len(c.dims) == 1):  # biases
        c.raw_data = (np.frombuffer(c.raw_data, np.float32) * np.float32(scale)).tobytes()
    x = (n.data() * scale).astype(np.float32)
    right = answers(model, x)
    graph = plain(model)
    assert all(
        np.abs(a - b).max() < 1e-5 * np.abs(a).max() for a, b in zip(right, floats(graph, x), strict=True)
    )
    assert lutc.quantize(model, x, max_loss=2.0).score > 0.98


def test_a_transposition_without_an_order() -> None:
    n = Net([3])
    turned = n.add("Transpose", n.gemm("x", 3, 4))
    model, x = n.model(n.add("Transpose", n.add("Relu", turned))), n.data()
    assert near(answers(model, x), floats(plain(model), x))


@pytest.mark.parametrize(
    "kind, batch, message", [(11, "N", "is no float32"), (1, 2, "is a batch of 2 samples")]
)
def test_inputs_that_are_refused(kind: int, batch: Any, message: str) -> None:
    n = Net([3])
    model = n.model(n.gemm("x", 3, 4))
    tensor = model.graph.input[0].type.tensor_type
    tensor.elem_type = kind
    if batch != "N":
        tensor.shape.dim[0].dim_value = batch
    if kind == 11:
        model.graph.node.insert(0, n.nodes[0])
        del model.graph.node[0]
        for c in model.graph.initializer:
            c.data_type, c.raw_data = 11, np.frombuffer(c.raw_data, np.float32).astype(np.float64).tobytes()
        model.graph.output[0].type.tensor_type.elem_type = 11
    with pytest.raises(LirError, match=message):
        lutc.quantize(model, n.data(), bits=6)


def test_what_cannot_be_trained_is_told_at_once() -> None:
    n = Net([4])
    model = n.model(n.gemm(n.add("CumSum", n.gemm("x", 4, 4), n.const(np.array(1))), 4, 2))
    told: list[str] = []
    with pytest.raises(LirError, match="CumSum cannot be trained here"):
        lutc.quantize(model, n.data(), effort="high", progress=told.append)
    assert told == ["reading the model"]


@pytest.mark.parametrize("last, runs", [(False, True), (True, False)])
def test_channels_behind_a_flattening(last: bool, runs: bool) -> None:
    n = Net([2, 4, 4])
    h = n.add("Relu", n.conv("x", 2, 3, (2, 2)))
    h = n.add("Transpose", h, perm=[0, 2, 3, 1]) if last else h
    model, x = n.model(n.gemm(n.add("Flatten", h), 27, 2)), n.data()
    graph = plain(model)
    found = sites(graph, shapes_of(graph, {"x": x}))
    assert found.feeding[found.layers[-1].input][1] is runs
