"""QuantizeLinear and DequantizeLinear, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto
from onnx_models import Graph, onnxruntime, ours, same_as_onnxruntime, samples

from lutc.frontends.onnx import load_onnx


@pytest.mark.parametrize("kind", ["int8", "uint8", "int16", "uint16", "int4", "uint4"])
@pytest.mark.parametrize("zero", [0, 2, 5])
def test_every_integer_type_at_a_port_and_inside(kind: str, zero: int) -> None:
    g = Graph()
    x = g.qdq(g.input(["n", 4]), 0.125, 0, "int16")
    g.output(g.qdq(x, 0.5, zero, kind))
    data = samples((4,), rows=200)
    same_as_onnxruntime(g.model(), data)
    port = Graph()
    port.output(port.qdq(port.input(["n", 4]), 0.5, zero, kind))
    same_as_onnxruntime(port.model(), data)


@pytest.mark.parametrize("zero", [1, 128, -3])
def test_rounding_comes_before_the_zero_point(zero: int) -> None:
    """Ties go to even numbers of steps; an odd zero point added first would turn them over."""
    g = Graph()
    kind = "uint8" if zero > 0 else "int8"
    x = g.qdq(g.input(["n", 4]), 0.5, 0, "int8")
    g.output(g.qdq(x, 1.0, zero, kind))
    data = samples((4,), rows=200, step=0.5, reach=150)
    same_as_onnxruntime(g.model(), data)
    text = str(load_onnx(g.model()))
    assert ("max " in text) == (zero % 2 == 1), "only an odd zero point that meets ties needs comparisons"


@pytest.mark.parametrize(
    ("zero", "port"), [(0, "u8f2"), (36, "u8f2"), (128, "u8f2"), (37, "s9f2"), (255, "s9f2")]
)
def test_a_port_has_the_codes_of_its_quantiser(zero: int, port: str) -> None:
    """From 0 on, whatever the zero point; not beside an odd one, where ties would go to the other neighbour."""
    g = Graph()
    g.output(g.qdq(g.input(["n", 4]), 0.25, zero, "uint8"))
    same_as_onnxruntime(g.model(), samples((4,), rows=300, step=0.125, reach=80))
    design = load_onnx(g.model())
    assert str(design.params[0].type) == f"{port}[4]"
    assert ("max " in str(design)) == (port == "s9f2"), "codes that fill their format need no clamp"


@pytest.mark.parametrize("scale", [0.1, 0.377, 1.9])
def test_scales_that_are_no_power_of_two_become_rescale(scale: float) -> None:
    g = Graph()
    x = g.qdq(g.input(["n", 4]), 0.3, 8, "uint8")
    g.output(g.qdq(g.add("Relu", x), scale, 3, "uint8"))
    same_as_onnxruntime(g.model(), samples((4,), rows=300, step=0))
    text = str(load_onnx(g.model()))
    assert "rescale" in text and "min " not in text


@pytest.mark.parametrize("axis", [1, -1])
def test_a_scale_and_zero_point_for_each_channel(axis: int) -> None:
    g = Graph()
    x = g.qdq(g.input(["n", 3]), 0.125, 0, "int16")
    g.output(g.qdq(x, [0.5, 0.3117, 2.0], [0, 3, -4], "int8", axis=axis))
    same_as_onnxruntime(g.model(), samples((3,), rows=200))


@pytest.mark.parametrize(
    "kind,zero", [("int8", 0), ("int8", None), ("uint8", 131), ("int4", 0), ("int4", -3)]
)
@pytest.mark.parametrize("per_channel", [False, True])
def test_a_dense_layer_as_onnxruntime_quantises_it(kind: str, zero: int | None, per_channel: bool) -> None:
    rng = np.random.default_rng(4)
    low, high = {"int8": (-128, 128), "uint8": (0, 256), "int4": (-8, 8)}[kind]
    codes = rng.integers(low, high, (5, 8))
    scale = rng.uniform(0.01, 0.1, 5).astype(np.float32) if per_channel else np.float32(0.0371)
    bias = rng.integers(-300, 300, 5)
    g = Graph()
    x = g.qdq(g.input(["n", 8]), 0.1, 11, "uint8")
    if zero is not None and per_channel:
        w = g.dq(codes, scale, [zero] * 5, kind, axis=0)
    else:
        w = g.dq(codes, scale, zero, kind, axis=0)
    b = g.dq(bias, scale * np.float32(0.1), None, "int32", axis=0)
    y = g.add("Relu", g.add("Gemm", x, w, b, transB=1))
    g.output(g.qdq(y, 0.43, 5, "uint8"))
    same_as_onnxruntime(g.model(), samples((8,), rows=300, step=0, reach=15))


def test_weights_quantised_from_floats_with_clip_between() -> None:
    """How Brevitas exports narrow weights: QuantizeLinear, Clip on integers, DequantizeLinear."""
    w = np.random.default_rng(5).normal(size=(6, 3)).astype(np.float32)
    g = Graph()
    x = g.qdq(g.input(["n", 6]), 0.25, 0, "int8")
    scale, zero = g.constant(0.125), g.constant(0, "int8")
    q = g.add("QuantizeLinear", g.constant(w), scale, zero)
    q = g.add("Clip", q, g.constant(-7, "int8"), g.constant(7, "int8"))
    y = g.add("MatMul", x, g.add("DequantizeLinear", q, scale, zero))
    g.output(g.qdq(y, 0.5))
    same_as_onnxruntime(g.model(), samples((6,)))


def test_clip_on_the_integers_of_an_activation() -> None:
    g = Graph()
    scale, zero = g.constant(0.5), g.constant(3, "int8")
    q = g.add("QuantizeLinear", g.input(["n", 4]), scale, zero)
    q = g.add("Clip", q, g.constant(-4, "int8"), g.constant(9, "int8"))
    g.output(g.add("DequantizeLinear", q, scale, zero))
    same_as_onnxruntime(g.model(), samples((4,)))


def test_scale_of_integer_weights_as_a_factor_of_its_own() -> None:
    codes = np.random.default_rng(6).integers(-100, 100, (6, 3))
    g = Graph()
    x = g.qdq(g.input(["n", 6]), 0.25, 0, "int8")
    w = g.add("Mul", g.add("Cast", g.constant(codes, "int8"), to=TensorProto.FLOAT), g.constant(0.0213))
    g.output(g.qdq(g.add("MatMul", x, w), 1.7))
    same_as_onnxruntime(g.model(), samples((6,), rows=200))


def test_an_integer_input_is_its_own_port() -> None:
    g = Graph()
    x = g.input(["n", 4], kind=TensorProto.UINT8)
    g.output(g.add("DequantizeLinear", x, g.constant(0.25), g.constant(7, "uint8")))
    data = np.random.default_rng(7).integers(0, 256, (30, 4)).astype(np.uint8)
    same_as_onnxruntime(g.model(), data)
    assert str(load_onnx(g.model()).params[0].type) == "u8[4]"


def test_an_integer_output() -> None:
    g = Graph()
    g.output(
        g.add("QuantizeLinear", g.input(["n", 4]), g.constant(0.25), g.constant(6, "uint8")),
        TensorProto.UINT8,
    )
    same_as_onnxruntime(g.model(), samples((4,)))
    assert str(load_onnx(g.model()).outputs[0].value.type) == "u8[4]"


def test_output_dtype_without_a_zero_point() -> None:
    g = Graph()
    q = g.add("QuantizeLinear", g.input(["n", 4]), g.constant(0.25), output_dtype=TensorProto.INT8)
    g.output(g.add("DequantizeLinear", q, g.constant(0.25)))
    same_as_onnxruntime(g.model(), samples((4,)))


def test_a_residual_sum_of_unlike_scales_is_exact() -> None:
    g = Graph()
    x = g.qdq(g.input(["n", 4]), 0.1, 0, "int8")
    y = g.qdq(g.add("Mul", x, g.constant(0.3)), 0.037, 0, "int8")
    g.output(g.qdq(g.add("Add", x, y), 0.15, 0, "int8"))
    same_as_onnxruntime(g.model(), samples((4,), rows=300, step=0))


def test_the_model_computes_what_was_said() -> None:
    """The comparison itself can fail: another weight is another answer."""
    g = Graph()
    x = g.qdq(g.input(["n", 2]), 0.25, 0, "int8")
    g.output(g.add("MatMul", x, g.dq([[1, 2], [3, 4]])))
    other = Graph()
    x = other.qdq(other.input(["n", 2]), 0.25, 0, "int8")
    other.output(other.add("MatMul", x, other.dq([[1, 2], [3, 5]])))
    data = samples((2,))
    assert (ours(g.model(), data) != onnxruntime(other.model(), data)[:, 0]).any()


def clipped(g: Graph, x: str, scale: float, lo: int, hi: int, kind: str = "uint8") -> str:
    """As few bits as an exporter says by a type of eight bits and a Clip: the integers between."""
    scales = g.constant(np.float32(scale))
    zero = g.constant(np.array(0, kind))
    steps = g.add("QuantizeLinear", x, scales, zero)
    low, high = (g.constant(np.array(n, kind)) for n in (lo, hi))
    return str(g.add("DequantizeLinear", g.add("Clip", steps, low, high), scales, zero))


def test_a_clip_is_part_of_the_quantiser_before_it() -> None:
    """It does not wait until behind the pool: that, and the function of the convolution, are of four bits."""
    g = Graph()
    x = clipped(g, g.input([1, 1, 5, 5]), 0.5, -8, 7, "int8")
    y = g.add("Conv", x, g.dq(np.arange(18).reshape(2, 1, 3, 3) % 5 - 2, 0.5), kernel_shape=[3, 3])
    y = g.add("MaxPool", clipped(g, y, 0.377, 0, 15), kernel_shape=[3, 3])
    g.output(y)
    same_as_onnxruntime(g.model(), samples((1, 5, 5), rows=100))
    text = str(load_onnx(g.model()))
    assert "%x: s4f1[9]" in text and ": u4[2] = rescale" in text
    assert "u8" not in text and "min " not in text


def test_a_clip_of_a_quantiser_with_other_readers_stays() -> None:
    g = Graph()
    x = g.qdq(g.input(["n", 4]), 0.3, 8, "uint8")
    scale, zero = g.constant(np.float32(0.375)), g.constant(np.array(0, "uint8"))
    steps = g.add("QuantizeLinear", x, scale, zero)
    low, high = (g.constant(np.array(n, "uint8")) for n in (3, 11))
    some = g.add("DequantizeLinear", g.add("Clip", steps, low, high), scale, zero)
    g.output(g.add("Add", some, g.add("DequantizeLinear", steps, scale, zero)))
    same_as_onnxruntime(g.model(), samples((4,), rows=300, step=0))
    assert str(load_onnx(g.model())).count("rescale") == 1
