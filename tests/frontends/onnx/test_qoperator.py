"""Operators on quantised integers, against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx_models import Graph, onnxruntime, ours, same_as_onnxruntime, samples

MICROSOFT = "com.microsoft"


def opened(g: Graph, q: str, scale: Any = 0.5, zero: int = 0, kind: str = "uint8") -> None:
    parameters = [g.constant(np.asarray(scale, np.float32)), g.constant(zero, kind)]
    g.output(g.add("DequantizeLinear", q, *parameters))


def integers(
    g: Graph, shape: tuple[int, ...], name: str = "x", scale: float = 0.1371, zero: int = 9
) -> list[str]:
    """Quantised data, and its scale and zero point."""
    parameters = [g.constant(np.float32(scale)), g.constant(zero, "uint8")]
    return [
        g.add("QuantizeLinear", g.input(["n" if len(shape) < 3 else 1, *shape], name), *parameters),
        *parameters,
    ]


def model(g: Graph) -> Any:
    made = g.model()
    made.opset_import.append(helper.make_opsetid(MICROSOFT, 1))
    return made


@pytest.mark.parametrize("kind,zero", [("int8", 0), ("uint8", 120)])
@pytest.mark.parametrize("per_column", [False, True])
def test_qlinear_matmul(kind: str, zero: int, per_column: bool) -> None:
    rng = np.random.default_rng(3)
    g = Graph()
    w = g.constant(rng.integers(0, 120, (5, 3)), kind)
    scale = rng.uniform(0.01, 0.05, 3) if per_column else np.float32(0.0373)
    zeros = [zero] * 3 if per_column else zero
    q = g.add(
        "QLinearMatMul",
        *integers(g, (5,)),
        w,
        g.constant(scale),
        g.constant(zeros, kind),
        g.constant(np.float32(0.4173)),
        g.constant(7, "uint8"),
    )
    opened(g, q)
    same_as_onnxruntime(g.model(), samples((5,), rows=100, step=0))


@pytest.mark.parametrize("attributes", [{}, {"pads": [1, 1, 1, 1], "strides": [2, 1]}, {"group": 2}])
def test_qlinear_conv(attributes: dict[str, Any]) -> None:
    rng = np.random.default_rng(4)
    g = Graph()
    w = g.constant(rng.integers(-127, 128, (4, 4 // attributes.get("group", 1), 3, 3)), "int8")
    rest = [
        g.constant(rng.uniform(0.01, 0.05, 4)),
        g.constant([0] * 4, "int8"),
        g.constant(np.float32(0.9173)),
        g.constant(7, "uint8"),
        g.constant(rng.integers(-500, 500, 4), "int32"),
    ]
    opened(g, g.add("QLinearConv", *integers(g, (4, 5, 5)), w, *rest, **attributes))
    same_as_onnxruntime(g.model(), samples((4, 5, 5), rows=5, step=0))


def test_matmul_integer() -> None:
    g = Graph()
    q, _, zero = integers(g, (5,))
    w = g.constant(np.random.default_rng(5).integers(0, 255, (5, 3)), "uint8")
    y = g.add("MatMulInteger", q, w, zero, g.constant(100, "uint8"))
    g.output(g.add("Mul", g.add("Cast", y, to=TensorProto.FLOAT), g.constant(np.float32(0.125))))
    same_as_onnxruntime(g.model(), samples((5,), step=0))


def test_conv_integer() -> None:
    g = Graph()
    q, _, zero = integers(g, (2, 5, 5))
    w = g.constant(np.random.default_rng(6).integers(0, 255, (3, 2, 3, 3)), "uint8")
    y = g.add("ConvInteger", q, w, zero, g.constant(100, "uint8"), pads=[1, 1, 1, 1])
    g.output(g.add("Cast", y, to=TensorProto.FLOAT))
    same_as_onnxruntime(g.model(), samples((2, 5, 5), rows=5, step=0))


@pytest.mark.parametrize("op", ["QLinearAdd", "QLinearMul"])
def test_two_quantised_tensors(op: str) -> None:
    g = Graph()
    a, b = integers(g, (4,)), integers(g, (4,), "y", 0.2173, 30)
    q = g.add(op, *a, *b, g.constant(np.float32(0.3371)), g.constant(12, "uint8"), domain=MICROSOFT)
    opened(g, q)
    same_as_onnxruntime(model(g), samples((4,), step=0, seed=1), samples((4,), step=0, seed=2))


def test_qgemm_with_bias() -> None:
    rng = np.random.default_rng(7)
    g = Graph()
    w = [
        g.constant(rng.integers(-127, 128, (3, 5)), "int8"),
        g.constant(np.float32(0.0371)),
        g.constant(0, "int8"),
    ]
    rest = [
        g.constant(rng.integers(-500, 500, 3), "int32"),
        g.constant(np.float32(0.6371)),
        g.constant(12, "uint8"),
    ]
    opened(g, g.add("QGemm", *integers(g, (5,)), *w, *rest, transB=1, domain=MICROSOFT))
    same_as_onnxruntime(model(g), samples((5,), rows=100, step=0))


def test_qlinear_concat_and_global_average() -> None:
    g = Graph()
    a, b = integers(g, (2, 3, 3)), integers(g, (1, 3, 3), "y", 0.2173, 30)
    close = [g.constant(np.float32(0.3371)), g.constant(12, "uint8")]
    q = g.add("QLinearConcat", *close, *a, *b, axis=1, domain=MICROSOFT)
    q = g.add(
        "QLinearGlobalAveragePool",
        q,
        *close,
        g.constant(np.float32(0.1713)),
        g.constant(3, "uint8"),
        domain=MICROSOFT,
        channels_last=0,
    )
    opened(g, q)
    same_as_onnxruntime(model(g), samples((2, 3, 3), 20, 0, seed=1), samples((1, 3, 3), 20, 0, seed=2))


@pytest.mark.parametrize("kind", ["int16", "uint16", "int4"])
def test_onnxruntimes_own_quantisers(kind: str) -> None:
    """Before operator set 21 its tools wrote 16-bit and 4-bit quantisers under their own domain."""
    g = Graph(17)
    parameters = [g.constant(np.float32(0.0371)), g.constant(2, kind)]
    q = g.add("QuantizeLinear", g.input(["n", 4]), *parameters, domain=MICROSOFT)
    g.output(g.add("DequantizeLinear", q, *parameters, domain=MICROSOFT))
    made = model(g)
    data = samples((4,), step=0)
    np.testing.assert_array_equal(ours(made, data), onnxruntime(made, data)[:, 0])


def closing(g: Graph, scale: float = 0.0171, zero: int = 3) -> list[str]:
    return [g.constant(np.float32(scale)), g.constant(zero, "uint8")]


@pytest.mark.parametrize("op,attributes", [("QLinearSigmoid", {}), ("QLinearLeakyRelu", {"alpha": 0.137})])
def test_functions_of_quantised_integers(op: str, attributes: dict[str, Any]) -> None:
    g = Graph(13)
    opened(g, g.add(op, *integers(g, (6,)), *closing(g), domain=MICROSOFT, **attributes), 0.0171, 3)
    same_as_onnxruntime(model(g), samples((6,), rows=150, step=0))


def test_qlinear_where() -> None:
    g = Graph(13)
    x, y = integers(g, (6,)), integers(g, (6,), "y", 0.217, 30)
    large = g.add("Greater", g.add("DequantizeLinear", *x), g.constant(1.0))
    opened(g, g.add("QLinearWhere", large, *x, *y, *closing(g, 0.19), domain=MICROSOFT), 0.19, 3)
    same_as_onnxruntime(model(g), *(samples((6,), 150, 0, seed=s) for s in (1, 2)))


def test_matmul_integer_to_float() -> None:
    g = Graph(13)
    q, scale, zero = integers(g, (6,))
    w = g.constant(np.random.default_rng(0).integers(0, 255, (6, 3)), "uint8")
    rest = [scale, g.constant(np.float32(0.013)), zero, g.constant(100, "uint8"), g.constant([0.5, 1, 2])]
    y = g.add("MatMulIntegerToFloat", q, w, *rest, domain=MICROSOFT)
    g.output(g.qdq(y, 0.19, 3, "uint8"))
    same_as_onnxruntime(model(g), samples((6,), rows=150, step=0))
