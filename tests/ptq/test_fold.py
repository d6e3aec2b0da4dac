"""The plain form of a model computes what the model does, and every affine step has become part of a layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from float_models import KINDS, Net, answers

from lutc.diagnostics import LirError
from lutc.ptq.fold import plain
from lutc.ptq.graph import Graph
from lutc.ptq.simulator import Simulator, shapes_of
from lutc.ptq.sites import sites


def simulator(model: Any, x: Any) -> tuple[Graph, Simulator]:
    graph = plain(model)
    shapes = shapes_of(graph, {"x": x})
    found = sites(graph, shapes)
    return graph, Simulator(graph, found.layers, found.points, shapes, {"x": x})


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"scaled"}))
def test_the_plain_form_computes_what_the_model_does(kind: str) -> None:
    model, x = KINDS[kind]()
    _, sim = simulator(model, x)
    for right, found in zip(answers(model, x), sim.answers(), strict=True):
        assert np.abs(right - found).max() < 2e-5 * max(1, np.abs(right).max())


def _behind(step: Callable[[Net, str], Any]) -> Callable[[], tuple[Net, str]]:
    def made() -> tuple[Net, str]:
        n = Net([5])
        return n, step(n, n.gemm("x", 5, 4))

    return made


def _before(step: Callable[[Net, str], Any]) -> Callable[[], tuple[Net, str]]:
    def made() -> tuple[Net, str]:
        n = Net([5])
        return n, n.gemm(step(n, "x"), 5, 4)

    return made


def _image(step: Callable[[Net, str], Any]) -> Callable[[], tuple[Net, str]]:
    def made() -> tuple[Net, str]:
        n = Net([2, 4, 4])
        return n, step(n, n.conv("x", 2, 3, (2, 2)))

    return made


def _across(n: Net, h: str) -> Any:
    """As Keras exports it: the affine steps stand where the channels are last."""
    h = n.add("Transpose", h, perm=[0, 2, 3, 1])
    h = n.add("Mul", n.add("Sub", h, n.normal(3)), n.const([0.5, 2.0, -1.0]))
    return n.add("Transpose", h, perm=[0, 3, 1, 2])


def _grouped_transposed(n: Net, _: str) -> Any:
    h = n.add("ConvTranspose", "x", n.normal(2, 3, 2, 2), group=2)
    return n.bn(h, 6)


FOLDED = {
    "batch norm": _behind(lambda n, h: n.bn(h, 4)),
    "a factor": _behind(lambda n, h: n.add("Mul", h, n.const(0.5))),
    "a factor first": _behind(lambda n, h: n.add("Mul", n.const(2.0), h)),
    "factors": _behind(lambda n, h: n.add("Mul", h, n.normal(4))),
    "a term": _behind(lambda n, h: n.add("Add", n.normal(1, 4), h)),
    "less": _behind(lambda n, h: n.add("Sub", h, n.normal(4))),
    "less turned": _behind(lambda n, h: n.add("Sub", n.normal(4), h)),
    "a quotient": _behind(lambda n, h: n.add("Div", h, n.const([2.0, 4.0, 0.5, -1.0]))),
    "several": _behind(lambda n, h: n.add("Add", n.bn(n.add("Mul", h, n.const(3.0)), 4), n.normal(4))),
    "batch norm before": _before(lambda n, h: n.bn(h, 5)),
    "terms before": _before(
        lambda n, h: n.add("Div", n.add("Sub", h, n.normal(5)), n.const([1.0, 2, 3, 4, 5]))
    ),
    "batch norm of images": _image(lambda n, h: n.bn(h, 3)),
    "factors of images": _image(lambda n, h: n.add("Mul", h, n.normal(3, 1, 1))),
    "across a transposition": _image(_across),
    "a transposed convolution": _image(_grouped_transposed),
}


@pytest.mark.parametrize("kind", sorted(FOLDED))
def test_affine_steps_go_into_the_layer(kind: str) -> None:
    n, y = FOLDED[kind]()
    model, x = n.model(y), n.data(20)
    graph, sim = simulator(model, x)
    left = [
        node.op_type
        for node in graph.nodes
        if node.op_type not in ("Transpose", "Gemm", "Conv", "ConvTranspose")
    ]
    assert left == []
    (right,), (found,) = answers(model, x), sim.answers()
    assert np.abs(right - found).max() < 2e-5 * np.abs(right).max()


def _positions(n: Net, h: str) -> Any:
    return n.add("Mul", h, n.normal(1, 3, 3))


def _twice_read(n: Net, h: str) -> Any:
    return n.add("Mul", n.add("Mul", h, n.const(0.5)), n.add("Relu", h))


@pytest.mark.parametrize("step", [_positions, _twice_read])
def test_what_is_no_step_of_one_layer_stays(step: Any) -> None:
    n, y = _image(step)()
    model, x = n.model(y), n.data(20)
    graph, sim = simulator(model, x)
    assert any(node.op_type == "Mul" for node in graph.nodes)
    assert np.abs(answers(model, x)[0] - sim.answers()[0]).max() < 1e-4


def test_padding_keeps_a_step_before_a_convolution() -> None:
    n = Net([2, 4, 4])
    model = n.model(n.conv(n.bn("x", 2), 2, 3, (3, 3), pads=[1, 1, 1, 1]))
    x = n.data(20)
    _, sim = simulator(model, x)
    assert np.abs(answers(model, x)[0] - sim.answers()[0]).max() < 1e-4


@pytest.mark.parametrize("opset", [11, 13, 17, 18, 21])
@pytest.mark.parametrize("axis", [1, -1])
def test_a_softmax_taken_apart(opset: int, axis: int) -> None:
    n = Net([3, 4], opset=opset)
    h = n.add("MatMul", "x", n.normal(4, 4))
    model = n.model(n.add("MatMul", n.add("Softmax", h, axis=axis), n.normal(4, 2)))
    x = n.data(20)
    graph, sim = simulator(model, x)
    assert not any(node.op_type == "Softmax" for node in graph.nodes)
    assert np.abs(answers(model, x)[0] - sim.answers()[0]).max() < 1e-5


def test_layers_without_names_stay_apart() -> None:
    n = Net([5])
    model = n.model(n.gemm(n.add("Relu", n.gemm("x", 5, 4)), 4, 3))
    for node in model.graph.node:
        node.name = ""
    x = n.data(20)
    _, sim = simulator(model, x)
    assert len(sim.weights) == 2
    assert np.abs(answers(model, x)[0] - sim.answers()[0]).max() < 1e-5


def test_gemm_with_factors_and_transposed_weights() -> None:
    n = Net([5])
    model = n.model(n.gemm("x", 5, 4, transB=1, alpha=0.5, beta=2.0))
    x = n.data(20)
    _, sim = simulator(model, x)
    assert np.abs(answers(model, x)[0] - sim.answers()[0]).max() < 1e-5


def test_what_is_quantised_already_is_refused() -> None:
    n = Net([5])
    q = n.add("QuantizeLinear", "x", n.const(0.5))
    model = n.model(n.gemm(n.add("DequantizeLinear", q, n.const(0.5)), 5, 4))
    with pytest.raises(LirError, match="is quantised already"):
        plain(model)
