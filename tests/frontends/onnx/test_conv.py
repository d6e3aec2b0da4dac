"""Convolutions, pooling, padding and functions as tables, against ONNX Runtime; a kernel stays one function."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx_models import QONNX, Graph, ours, quantised, same_as_onnxruntime, samples

from lutc.diagnostics import LirError
from lutc.frontends.onnx import load_onnx
from lutc.ir.graph import body, functions

RNG = np.random.default_rng(21)


@pytest.fixture(autouse=True)
def _same_numbers_whichever_tests_run() -> None:
    RNG.bit_generator.state = np.random.default_rng(22).bit_generator.state


def convolved(
    shape: tuple[int, ...],
    kernel: tuple[int, ...],
    op: str = "Conv",
    zero: int = 0,
    scale: Any = 0.5,
    **a: Any,
) -> Graph:
    g = Graph()
    x = g.qdq(g.input([1, *shape]), 0.25, zero, "int8")
    axis = 0 if op == "Conv" else 1
    w = g.dq(RNG.integers(-7, 8, kernel), scale, None, axis=axis)
    outputs = kernel[0] if op == "Conv" else kernel[1] * a.get("group", 1)
    bias = g.constant(RNG.integers(-8, 8, outputs) / 8)
    y = g.add(op, x, w, bias, **a)
    g.output(g.qdq(g.add("Relu", y), 0.5, 0, "uint8"))
    return g


@pytest.mark.parametrize("zero", [0, 4, -5])
@pytest.mark.parametrize(
    "shape,kernel,attributes",
    [
        ((2, 6, 5), (3, 2, 3, 3), {}),
        ((2, 6, 5), (3, 2, 3, 3), {"pads": [1, 1, 1, 1]}),
        ((2, 7, 6), (3, 2, 3, 2), {"strides": [2, 3], "pads": [0, 1, 2, 1]}),
        ((2, 7, 7), (3, 2, 2, 3), {"dilations": [3, 2]}),
        ((2, 7, 6), (3, 2, 3, 2), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
        ((2, 7, 6), (3, 2, 2, 2), {"auto_pad": "SAME_LOWER"}),
        ((2, 5, 5), (3, 2, 3, 3), {"auto_pad": "VALID"}),
        ((4, 5, 5), (6, 2, 3, 3), {"group": 2, "pads": [1, 1, 1, 1]}),
        ((3, 5, 5), (3, 1, 3, 3), {"group": 3}),
        ((2, 9), (3, 2, 4), {"strides": [2]}),
        ((2, 3, 4, 3), (2, 2, 2, 2, 2), {}),
        ((3, 3, 3), (4, 3, 3, 3), {}),
        ((3, 4, 4), (4, 3, 1, 1), {}),
    ],
)
def test_conv(shape: tuple[int, ...], kernel: tuple[int, ...], attributes: dict[str, Any], zero: int) -> None:
    model = convolved(shape, kernel, zero=zero, **attributes).model()
    same_as_onnxruntime(model, samples(shape, rows=5))


def test_conv_with_a_scale_for_each_kernel() -> None:
    scale = RNG.uniform(0.02, 0.1, 3)
    model = convolved((2, 5, 5), (3, 2, 3, 3), scale=scale, pads=[1, 1, 1, 1]).model()
    same_as_onnxruntime(model, samples((2, 5, 5), rows=10))
    design = load_onnx(model)
    (func,) = functions(design)
    assert type(func.result).__name__ == "Rescale", "the activation belongs to the kernel's function"


def test_conv_with_scales_for_each_input_channel() -> None:
    g = Graph()
    x = g.qdq(g.input([1, 2, 4, 4]), 0.25)
    x = g.add("Mul", x, g.constant(np.array([0.5, 3.0]).reshape(2, 1, 1)))
    w = g.dq(RNG.integers(-7, 8, (3, 2, 3, 3)), 0.5)
    g.output(g.qdq(g.add("Conv", x, w, pads=[1, 1, 1, 1]), 1.0))
    same_as_onnxruntime(g.model(), samples((2, 4, 4), rows=5))


@pytest.mark.parametrize(
    "shape,kernel,attributes",
    [
        ((2, 4, 3), (2, 3, 3, 3), {}),
        ((2, 4, 3), (2, 3, 2, 2), {"strides": [2, 2]}),
        ((2, 4, 3), (2, 3, 3, 3), {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]}),
        ((2, 4, 3), (2, 3, 3, 2), {"dilations": [2, 1], "pads": [1, 0, 0, 1]}),
        ((4, 3, 3), (4, 2, 3, 3), {"group": 2, "strides": [2, 2]}),
        ((2, 4, 3), (2, 3, 3, 3), {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
        ((2, 5), (2, 3, 3), {"strides": [2]}),
    ],
)
def test_conv_transpose(shape: tuple[int, ...], kernel: tuple[int, ...], attributes: dict[str, Any]) -> None:
    model = convolved(shape, kernel, op="ConvTranspose", **attributes).model()
    same_as_onnxruntime(model, samples(shape, rows=5))


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize(
    "attributes",
    [
        {"kernel_shape": [2, 2], "strides": [2, 2]},
        {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1]},
        {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1},
        {"kernel_shape": [2, 2], "dilations": [2, 1]},
        {"kernel_shape": [2, 2], "auto_pad": "SAME_UPPER"},
        {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1},
    ],
)
def test_pooling(op: str, attributes: dict[str, Any]) -> None:
    attributes = dict(attributes)
    if op == "MaxPool":
        attributes.pop("count_include_pad", None)
    g = Graph()
    x = g.qdq(g.input([1, 2, 5, 4]), 0.25, 3, "int8")
    x = g.add("Mul", x, g.constant(np.array([0.5, -2.0]).reshape(2, 1, 1)))
    g.output(g.qdq(g.add(op, g.add("Relu", x), **attributes), 0.125, 0, "uint8"))
    same_as_onnxruntime(g.model(), samples((2, 5, 4), rows=10))


@pytest.mark.parametrize("op", ["GlobalAveragePool", "GlobalMaxPool"])
def test_global_pooling(op: str) -> None:
    g = Graph()
    x = g.qdq(g.input([1, 2, 4, 4]), 0.25, 3, "int8")
    g.output(g.qdq(g.add(op, g.add("Relu", x)), 0.125))
    same_as_onnxruntime(g.model(), samples((2, 4, 4), rows=10))


@pytest.mark.parametrize("op", ["ReduceMean", "ReduceMax", "ReduceMin", "ReduceSum"])
@pytest.mark.parametrize("axes,keep", [([1], 0), ([-1, 1], 1), ([2], 1)])
def test_reductions(op: str, axes: list[int], keep: int) -> None:
    g = Graph()
    x = g.qdq(g.input([1, 4, 2, 4]), 0.25, 3, "int8")
    x = g.add("Mul", x, g.constant(np.array([0.5, -2.0, 1.0, 3.0]).reshape(4, 1, 1)))
    g.output(g.qdq(g.add(op, x, g.constant(np.array(axes)), keepdims=keep), 0.5))
    same_as_onnxruntime(g.model(), samples((4, 2, 4), rows=10))


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap"])
@pytest.mark.parametrize("value", [0.0, 1.5])
def test_pad(mode: str, value: float) -> None:
    g = Graph()
    x = g.qdq(g.input([1, 2, 4, 4]), 0.25, 3, "int8")
    pads = g.constant(np.array([0, 0, 1, 2, 0, 1, 3, 0] if mode == "constant" else [0, 0, 1, 2, 0, 0, 3, 1]))
    g.output(g.add("Pad", x, pads, g.constant(value), mode=mode))
    same_as_onnxruntime(g.model(), samples((2, 4, 4), rows=5))


@pytest.mark.parametrize("nearest", ["floor", "round_prefer_floor", "round_prefer_ceil", "ceil"])
@pytest.mark.parametrize("where", ["asymmetric", "half_pixel", "align_corners"])
@pytest.mark.parametrize("scales", [[1, 1, 2, 3], [1, 1, 1, 0.5], [1, 1, 1.5, 2.5]])
def test_resize_takes_the_nearest_element(scales: list[float], where: str, nearest: str) -> None:
    g = Graph()
    x = g.qdq(g.input([1, 2, 4, 6]), 0.25)
    how: dict[str, Any] = {
        "mode": "nearest",
        "coordinate_transformation_mode": where,
        "nearest_mode": nearest,
    }
    g.output(g.add("Resize", x, "", g.constant(np.array(scales, np.float32)), **how))
    same_as_onnxruntime(g.model(), samples((2, 4, 6), rows=4))


def small_cnn() -> Graph:
    """3x3 convolutions, pooling, a residual sum, a dense layer: everything a small image classifier has."""
    g = Graph()
    rng = np.random.default_rng(5)
    x = g.qdq(g.input([1, 3, 16, 16]), 0.25, 0, "int8")

    def layer(x: str, inputs: int, outputs: int) -> Any:
        w = g.dq(
            rng.integers(-7, 8, (outputs, inputs, 3, 3)),
            rng.uniform(0.02, 0.06, outputs),
            None,
            "int4",
            axis=0,
        )
        y = g.add("Conv", x, w, g.constant(rng.normal(size=outputs)), pads=[1, 1, 1, 1])
        return g.qdq(g.add("Relu", y), 0.2871, 0, "uint4")

    x = g.add("MaxPool", layer(x, 3, 4), kernel_shape=[2, 2], strides=[2, 2])
    y = layer(layer(x, 4, 4), 4, 4)
    x = g.qdq(g.add("Add", x, y), 0.5127, 0, "uint4")
    x = g.add("Flatten", g.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]))
    w = g.dq(rng.integers(-7, 8, (64, 5)), 0.0313, None, "int4")
    g.output(g.qdq(g.add("MatMul", x, w), 0.0917, 3))
    return g


def test_a_cnn_is_three_functions_and_a_short_text() -> None:
    model = small_cnn().model()
    design = load_onnx(model)
    assert len(functions(design)) == 3
    assert len(body(design)) < 110
    assert "gather" not in str(design), "windows and pools are slices, not lists of positions"
    same_as_onnxruntime(model, samples((3, 16, 16), rows=4, step=0))


# -- functions as tables --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "op,attributes",
    [
        ("Sigmoid", {}),
        ("Tanh", {}),
        ("Erf", {}),
        ("Exp", {}),
        ("Elu", {"alpha": 0.7}),
        ("Selu", {}),
        ("Softplus", {}),
        ("Softsign", {}),
        ("HardSigmoid", {"alpha": 0.25}),
        ("HardSwish", {}),
        ("Gelu", {}),
        ("Ceil", {}),
        ("Round", {}),
        ("Sin", {}),
    ],
)
def test_a_function_between_quantisers_is_a_table(op: str, attributes: dict[str, Any]) -> None:
    g = Graph()
    x = g.qdq(g.input(["n", 3]), 0.0613, 5, "int8")
    g.output(g.qdq(g.add(op, x, **attributes), 0.0717, 0, "int8"))
    x = samples((3,), rows=200, reach=8, step=0)
    same_as_onnxruntime(g.model(), x)
    text = str(load_onnx(g.model()))
    assert text.count("lut ") == 1 and "rescale" not in text


def test_a_function_with_a_quantiser_for_each_channel_is_a_table_for_each() -> None:
    g = Graph()
    x = g.qdq(g.input([1, 3, 2]), 0.125, 0, "int4")
    x = g.add("Mul", x, g.constant(np.array([0.5, 2.0, -1.3]).reshape(3, 1)))
    g.output(g.qdq(g.add("Tanh", x), [0.0613, 0.1171, 0.0971], [0, 0, 0], "int8", axis=1))
    same_as_onnxruntime(g.model(), samples((3, 2), rows=60))


def test_functions_made_of_several_operators_are_one_table() -> None:
    """SiLU and GELU as exporters write them out."""
    g = Graph()
    x = g.qdq(g.input(["n", 3]), 0.0613, 0, "int8")
    silu = g.qdq(g.add("Mul", x, g.add("Sigmoid", x)), 0.0517)
    root = g.add("Div", silu, g.constant(np.float32(np.sqrt(2))))
    half = g.add("Mul", silu, g.constant(0.5))
    gelu = g.add("Mul", half, g.add("Add", g.add("Erf", root), g.constant(1.0)))
    g.output(g.qdq(gelu, 0.0317))
    same_as_onnxruntime(g.model(), samples((3,), rows=200, reach=8, step=0))
    assert str(load_onnx(g.model())).count("lut ") == 2


def test_a_function_before_a_quantiser_of_the_qonnx_dialect() -> None:
    g = Graph(qonnx=True)
    x = g.quant(g.input(["n", 3]), scale=0.125, bits=6.0)
    g.output(g.quant(g.add("Tanh", x), scale=1 / 16, bits=4.0, rounding_mode="FLOOR"))
    data = samples((3,))
    exactly = np.tanh(np.float32(quantised(data, 0.125, bits=6.0)))
    want = quantised(exactly.astype(np.float64), 1 / 16, bits=4.0, mode="FLOOR")
    np.testing.assert_array_equal(ours(g.model(), data), want)
    bipolar = Graph(qonnx=True)
    x = bipolar.quant(bipolar.input(["n", 3]), scale=0.125, bits=6.0)
    bipolar.output(bipolar.add("BipolarQuant", bipolar.add("Sin", x), bipolar.constant(0.5), domain=QONNX))
    want = np.where(np.sin(quantised(data, 0.125, bits=6.0)) >= 0, 0.5, -0.5)
    np.testing.assert_array_equal(ours(bipolar.model(), data), want)


def test_a_convolution_that_is_too_large_is_counted_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some 10^8 products, named with their layer before any is made."""
    g = Graph()
    x = g.qdq(g.input([1, 3, 200, 200]), 0.25, 0, "int8")
    y = g.add("Conv", x, g.dq(np.ones((100, 3, 3, 3), dtype=int), 0.5, None), name="first")
    g.output(g.qdq(y, 0.5, 0, "uint8"))
    monkeypatch.setattr("lutc.ir.ops.flow.Map.infer", lambda self: pytest.fail("a function was mapped"))
    with pytest.raises(LirError, match=r"first \(Conv\): error: .* 105,850,812 operations"):
        load_onnx(g.model())
