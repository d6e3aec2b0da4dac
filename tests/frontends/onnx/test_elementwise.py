"""Operators that work element by element, against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx_models import Graph, same_as_onnxruntime, samples

from lutc.frontends.onnx import load_onnx

ROW = np.array([0.5, -1.25, 3.0, 0.0], np.float32)


def wrapped(
    op: str, *constants: Any, opset: int = 21, requantise: bool = True, first: bool = True, **a: Any
) -> Graph:
    """Quantised data, the operator with constants, and a quantiser after it."""
    g = Graph(opset)
    x = g.qdq(g.input(["n", 4]), 0.25, 0, "int8")
    others = [g.constant(c) for c in constants]
    y = g.add(op, *([x, *others] if first else [*others, x]), **a)
    g.output(g.qdq(y, 0.5, 3, "int8") if requantise else y)
    return g


@pytest.mark.parametrize("requantise", [False, True])
@pytest.mark.parametrize(
    "op,constants,first",
    [
        ("Add", [ROW], True),
        ("Add", [np.float32(1.5)], False),
        ("Sub", [ROW], True),
        ("Sub", [ROW], False),
        ("Mul", [ROW], True),
        ("Mul", [np.float32(-0.75)], False),
        ("Div", [np.array([0.5, -2, 4, 1], np.float32)], True),
        ("Min", [ROW], True),
        ("Max", [ROW, np.float32(-0.5)], True),
        ("Sum", [ROW, np.float32(0.25)], True),
        ("Pow", [np.float32(2)], True),
        ("Neg", [], True),
        ("Abs", [], True),
        ("Relu", [], True),
        ("Identity", [], True),
        ("PRelu", [ROW], True),
        ("Clip", [np.float32(-1), np.float32(2.25)], True),
        ("Clip", [np.float32(-1)], True),
        ("Clip", [np.float32(2), np.float32(-2)], True),
    ],
)
def test_with_constants(op: str, constants: list[Any], first: bool, requantise: bool) -> None:
    model = wrapped(op, *constants, first=first, requantise=requantise).model()
    same_as_onnxruntime(model, samples((4,), rows=150))


@pytest.mark.parametrize("alpha", [0.25, 0.1137])
def test_leaky_relu(alpha: float) -> None:
    same_as_onnxruntime(wrapped("LeakyRelu", alpha=alpha).model(), samples((4,), rows=150))


@pytest.mark.parametrize("bounds", [{"min": -1.0, "max": 2.0}, {"max": 0.75}, {}])
def test_clip_with_attributes(bounds: dict[str, Any]) -> None:
    same_as_onnxruntime(wrapped("Clip", opset=10, **bounds).model(), samples((4,)))


def test_negative_factors_turn_clips_over() -> None:
    g = Graph()
    x = g.qdq(g.input(["n", 4]), 0.25, 0, "int8")
    y = g.add("Mul", g.add("Relu", x), g.constant([-1.5, 2.0, 0.0, -0.25]))
    g.output(g.qdq(g.add("Clip", g.add("Add", y, g.constant(ROW)), g.constant(-4.0), g.constant(3.25)), 0.5))
    same_as_onnxruntime(g.model(), samples((4,), rows=150))


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Min", "Max", "Sum", "Mean"])
@pytest.mark.parametrize("scale", [0.25, 0.5])
def test_two_tensors(op: str, scale: float) -> None:
    g = Graph()
    x = g.qdq(g.input(["n", 4]), 0.25, 0, "int8")
    y = g.qdq(g.input(["n", 4], "y"), scale, 2, "int8")
    g.output(g.qdq(g.add(op, x, g.add("Relu", y)), 0.5, 1, "int8"))
    same_as_onnxruntime(g.model(), samples((4,), seed=1), samples((4,), seed=2))


def test_two_tensors_broadcast() -> None:
    g = Graph()
    x = g.qdq(g.input(["n", 3, 4]), 0.25, 0, "int8")
    y = g.qdq(g.input(["n", 1, 4], "y"), 0.5, 0, "int8")
    g.output(g.qdq(g.add("Add", x, y), 0.5))
    same_as_onnxruntime(g.model(), samples((3, 4), seed=1), samples((1, 4), seed=2))


def test_batch_normalisation_has_channels_second() -> None:
    parameters = [[2.0, -0.5, 1.0], [0.25, 1, -3], [0.5, 0, 2], [0.25 - 1 / 1024, 4 - 1 / 1024, 1 - 1 / 1024]]
    g = Graph()
    x = g.qdq(g.input(["n", 3, 2, 2]), 0.25, 0, "int8")
    x = g.add(
        "BatchNormalization", x, *(g.constant(np.array(p, np.float32)) for p in parameters), epsilon=1 / 1024
    )
    g.output(g.qdq(x, 0.5))
    same_as_onnxruntime(g.model(), samples((3, 2, 2)))


def test_dropout_and_casts_do_nothing() -> None:
    g = Graph()
    x = g.qdq(g.input(["n", 4]), 0.25, 0, "int8")
    x = g.add("Dropout", g.add("Cast", x, to=11), g.constant(np.float32(0.5)))
    g.output(g.qdq(g.add("Cast", x, to=1), 0.5))
    same_as_onnxruntime(g.model(), samples((4,)))


def test_affine_maps_leave_no_hardware_before_a_rescale() -> None:
    g = Graph()
    x = g.qdq(g.input(["n", 4]), 0.25, 0, "int8")
    x = g.add("Add", g.add("Mul", x, g.constant([0.3137, 0.7213, 1.1071, 0.9339])), g.constant(ROW))
    g.output(g.qdq(g.add("Relu", x), 0.3717, 0, "uint8"))
    text = str(load_onnx(g.model()))
    body = text[text.index("design") :]
    assert body.count(" = ") == 1 + body.split("{")[0].count(" = ") and "rescale" in body
    same_as_onnxruntime(g.model(), samples((4,), rows=200))
