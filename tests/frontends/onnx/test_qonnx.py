"""The QONNX dialect, against its definition written in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx_models import QONNX, ROUNDINGS, Graph, ours, quantised, samples

from lutc.frontends.onnx import load_onnx
from lutc.types import Overflow, Rounding


def one_quant(shape: tuple[int, ...] = (5,), **a: Any) -> Graph:
    g = Graph(qonnx=True)
    g.output(g.quant(g.input(["n", *shape]), **a))
    return g


@pytest.mark.parametrize("mode", sorted(ROUNDINGS))
@pytest.mark.parametrize("signed,narrow", [(1, 0), (1, 1), (0, 0), (0, 1)])
def test_rounding_modes_and_ranges_at_a_port(mode: str, signed: int, narrow: int) -> None:
    model = one_quant(scale=0.5, bits=4.0, signed=signed, narrow=narrow, rounding_mode=mode).model()
    x = samples((5,))
    want = quantised(x, 0.5, bits=4.0, signed=signed, narrow=narrow, mode=mode)
    np.testing.assert_array_equal(ours(model, x), want)


@pytest.mark.parametrize("mode", sorted(ROUNDINGS))
@pytest.mark.parametrize("scale", [0.5, 0.7, 3.0])
@pytest.mark.parametrize("signed,narrow", [(1, 0), (1, 1), (0, 1)])
def test_rounding_modes_inside_of_the_network(mode: str, scale: float, signed: int, narrow: int) -> None:
    g = Graph(qonnx=True)
    x = g.quant(g.input(["n", 5]), scale=0.125, bits=10.0)
    y = g.quant(x, scale=scale, bits=5.0, signed=signed, narrow=narrow, rounding_mode=mode)
    g.output(y)
    data = samples((5,), rows=200, reach=40)
    want = quantised(quantised(data, 0.125, bits=10.0), scale, 0.0, 5.0, signed, narrow, mode)
    np.testing.assert_array_equal(ours(g.model(), data), want.astype(np.float32))


@pytest.mark.parametrize("zero", [3.0, -2.0, 0.25])
def test_the_zero_point_is_added_before_rounding(zero: float) -> None:
    g = Graph(qonnx=True)
    x = g.quant(g.input(["n", 5]), scale=0.125, bits=10.0)
    g.output(g.quant(x, scale=0.5, zero=zero, bits=4.0))
    data = samples((5,), rows=200, reach=12)
    want = quantised(quantised(data, 0.125, bits=10.0), 0.5, zero, 4.0)
    np.testing.assert_array_equal(ours(g.model(), data), want)


def test_a_scale_for_each_channel() -> None:
    scales = np.array([0.5, 0.3, 2.0, 0.0625, 1.1])
    g = Graph(qonnx=True)
    x = g.quant(g.input(["n", 5]), scale=0.125, bits=10.0)
    g.output(g.quant(x, scale=scales, bits=6.0))
    data = samples((5,), rows=200)
    want = quantised(quantised(data, 0.125, bits=10.0), scales, 0.0, 6.0)
    np.testing.assert_array_equal(ours(g.model(), data), want.astype(np.float32))


def test_a_bit_width_for_each_channel() -> None:
    bits = np.array([2.0, 3.0, 4.0, 5.0, 8.0])
    g = Graph(qonnx=True)
    x = g.quant(g.input(["n", 5]), scale=0.125, bits=10.0)
    g.output(g.quant(x, scale=0.25, bits=bits))
    data = samples((5,), rows=200)
    want = quantised(quantised(data, 0.125, bits=10.0), 0.25, 0.0, bits)
    np.testing.assert_array_equal(ours(g.model(), data), want)


@pytest.mark.parametrize(
    "op,domain", [("Quant", "onnx.brevitas"), ("IntQuant", "finn.custom_op.general"), ("Quant", "")]
)
def test_all_names_the_quantiser_has_had(op: str, domain: str) -> None:
    g = one_quant(op=op, bits=4.0)
    for node in g.nodes:
        node.domain = domain
    x = samples((5,))
    np.testing.assert_array_equal(ours(g.model(), x), quantised(x, 0.25, bits=4.0))


@pytest.mark.parametrize("scale", [1.0, 0.37])
@pytest.mark.parametrize("factor", [1.0, -0.3])
def test_bipolar_takes_zero_as_plus_one(scale: float, factor: float) -> None:
    g = Graph(qonnx=True)
    x = g.quant(g.input(["n", 5]), scale=0.5, bits=6.0)
    x = g.add("Add", g.add("Mul", x, g.constant(factor)), g.constant([0.0, 0.15, -0.15, -2.25, 100.0]))
    g.output(g.add("BipolarQuant", x, g.constant(scale), domain=QONNX))
    data = samples((5,), rows=200)
    moved = quantised(data, 0.5, bits=6.0) * np.float64(np.float32(factor))
    moved = moved + np.array([0.0, 0.15, -0.15, -2.25, 100.0], np.float32).astype(np.float64)
    want = np.where(moved >= 0, 1, -1) * np.float64(np.float32(scale))
    np.testing.assert_array_equal(ours(g.model(), data), want.astype(np.float32))


def test_bipolar_at_a_port_is_one_bit() -> None:
    g = Graph(qonnx=True)
    g.output(g.add("BipolarQuant", g.input(["n", 5]), g.constant(1.0), domain=QONNX))
    data = samples((5,))
    design = load_onnx(g.model())
    assert design.params[0].type.bits == 5
    np.testing.assert_array_equal(design.run(data), np.where(data >= 0, 1, -1))


def test_one_signed_bit_means_bipolar() -> None:
    x = samples((5,))
    model = one_quant(scale=0.5, bits=1.0).model()
    np.testing.assert_array_equal(ours(model, x), np.where(x >= 0, 0.5, -0.5))


def test_an_input_that_is_only_quantised_becomes_the_port() -> None:
    """`2x - 1` quantised to -1, 0, 1: port and affine map cost no hardware."""
    g = Graph(qonnx=True)
    x = g.add("Sub", g.add("Mul", g.input(["n", 1, 2, 2]), g.constant(2.0)), g.constant([1.0]))
    x = g.add("Flatten", g.quant(x, scale=1.0, bits=2.0, narrow=1))
    g.output(x)
    design = load_onnx(g.model())
    (port,) = design.params
    assert (port.round, port.overflow) == (Rounding.HALF_EVEN, Overflow.SATURATE_SYMMETRIC)
    assert (str(port.type), port.scale, port.offset) == ("s2[1, 2, 2]", 0.5, 0.5)
    data = samples((1, 2, 2), reach=1.5)
    want = quantised(2.0 * data - 1, 1.0, bits=2.0, narrow=1).reshape(-1, 4)
    np.testing.assert_array_equal(design.run(data), want)


def test_two_quantisers_of_one_kind_share_a_port() -> None:
    g = Graph(qonnx=True)
    x = g.input(["n", 3])
    g.output(g.add("Add", g.quant(x, bits=4.0), g.quant(g.add("Relu", x), bits=4.0)))
    data = samples((3,))
    with pytest.raises(Exception, match="quantises input 'x' in another way than an earlier layer"):
        load_onnx(g.model())
    wide = ours(g.model(), data, input_types="s20f8")
    want = quantised(data, 0.25, bits=4.0) + quantised(np.maximum(data, 0), 0.25, bits=4.0)
    np.testing.assert_array_equal(wide, want)
    same = Graph(qonnx=True)
    x = same.input(["n", 3])
    same.output(same.add("Add", same.quant(x, bits=4.0), same.quant(x, bits=4.0)))
    np.testing.assert_array_equal(ours(same.model(), data), 2 * quantised(data, 0.25, bits=4.0))


def test_weights_are_quantised_as_constants() -> None:
    rng = np.random.default_rng(1)
    w, b = rng.normal(size=(6, 3)), rng.normal(size=3)
    for scale in (0.125, 0.3, rng.uniform(0.1, 0.4, (1, 3))):
        g = Graph(qonnx=True)
        x = g.quant(g.input(["n", 6]), scale=0.25, bits=6.0)
        y = g.add("MatMul", x, g.quant(g.constant(w), scale=scale, bits=4.0, narrow=1))
        g.output(g.quant(g.add("Relu", g.add("Add", y, g.constant(b))), scale=0.3, bits=6.0, signed=0))
        data = samples((6,), rows=300, reach=8)
        wq = quantised(np.array(w, np.float32).astype(np.float64), scale, bits=4.0, narrow=1)
        z = quantised(data, 0.25, bits=6.0) @ wq + np.array(b, np.float32).astype(np.float64)
        want = quantised(np.maximum(z, 0), 0.3, bits=6.0, signed=0)
        np.testing.assert_array_equal(ours(g.model(), data), want.astype(np.float32))


def test_batch_normalisation_before_a_quantiser() -> None:
    rng = np.random.default_rng(2)
    gamma, beta, mean = rng.normal(size=(3, 4)).astype(np.float32)
    gamma[2] = 0
    var = rng.uniform(0.1, 2, 4).astype(np.float32)
    g = Graph(qonnx=True)
    x = g.quant(g.input(["n", 4]), scale=0.25, bits=8.0)
    x = g.add("BatchNormalization", x, *(g.constant(v) for v in (gamma, beta, mean, var)), epsilon=1e-3)
    g.output(g.quant(x, scale=0.21, bits=5.0))
    data = samples((4,), rows=300, reach=8)
    a = gamma.astype(np.float64) / np.sqrt(var.astype(np.float64) + np.float64(np.float32(1e-3)))
    z = (quantised(data, 0.25) - mean.astype(np.float64)) * a + beta
    np.testing.assert_array_equal(ours(g.model(), data), quantised(z, 0.21, bits=5.0).astype(np.float32))


def test_clips_are_taken_into_the_quantiser() -> None:
    """Relu and Clip before a quantiser narrow its range, and cost nothing where the range does the same."""
    g = Graph(qonnx=True)
    x = g.quant(g.input(["n", 4]), scale=0.125, bits=8.0)
    x = g.add("Clip", g.add("Relu", x), g.constant(0.3), g.constant(2.9))
    g.output(g.quant(x, scale=0.25, bits=6.0))
    data = samples((4,), rows=300, reach=8)
    want = quantised(np.clip(quantised(data, 0.125), np.float32(0.3), np.float32(2.9)), 0.25, bits=6.0)
    np.testing.assert_array_equal(ours(g.model(), data), want)
    plain = Graph(qonnx=True)
    x = plain.quant(plain.input(["n", 4]), scale=0.125, bits=8.0)
    plain.output(plain.quant(plain.add("Relu", x), scale=0.25, bits=4.0, signed=0))
    text = str(load_onnx(plain.model()))
    assert "relu" not in text and text.count("quant ") == 1 and "u4f2" in text


@pytest.mark.parametrize("mode", ["FLOOR", "ROUND", "CEIL"])
def test_trunc_version_1(mode: str) -> None:
    g = Graph(qonnx=True)
    x = g.quant(g.input(["n", 4]), scale=0.25, bits=8.0)
    bits = [g.constant(v) for v in (0.25, 0.0, 8.0, 5.0)]
    g.output(g.add("Trunc", x, *bits, domain=QONNX, rounding_mode=mode))
    data = samples((4,), rows=200, reach=40)
    want = ROUNDINGS[mode](quantised(data, 0.25) / 0.25 / 8) * 0.25
    np.testing.assert_array_equal(ours(g.model(), data), want)


@pytest.mark.parametrize("mode", ["FLOOR", "ROUND"])
@pytest.mark.parametrize("signed", [0, 1])
def test_trunc_version_2(mode: str, signed: int) -> None:
    g = Graph(qonnx=True)
    x = g.quant(g.input(["n", 4]), scale=0.25, bits=8.0)
    rest = [g.constant(v) for v in (0.25, 0.0, 8.0, 2.0, 4.0)]
    g.output(g.add("Trunc", x, *rest, domain=QONNX, rounding_mode=mode, signed=signed))
    data = samples((4,), rows=200, reach=40)
    low, high = (-8, 7) if signed else (0, 15)
    want = np.clip(ROUNDINGS[mode](quantised(data, 0.25) / 0.25 / 8), low, high) * 2.0
    np.testing.assert_array_equal(ours(g.model(), data), want)


@pytest.mark.parametrize("layout,shape", [("NCHW", (3,)), ("NCHW", (3, 2, 2)), ("NHWC", (2, 2, 3))])
def test_multi_threshold_counts_thresholds_reached(layout: str, shape: tuple[int, ...]) -> None:
    levels = np.sort(np.random.default_rng(3).normal(scale=4, size=(3, 5)), axis=1)
    levels[0, 2] = 0.25
    g = Graph(qonnx=True)
    x = g.quant(g.input(["n", *shape]), scale=0.25, bits=8.0)
    a: dict[str, Any] = {"out_dtype": "UINT3", "out_scale": 0.5, "out_bias": -1.0, "data_layout": layout}
    g.output(g.add("MultiThreshold", x, g.constant(levels), domain=QONNX, **a))
    data = samples(shape, rows=100, reach=10)
    x = quantised(data, 0.25)
    limits = np.array(levels, np.float32).astype(np.float64)
    axis = 1 if layout == "NCHW" else x.ndim - 1
    column = [1] * x.ndim
    column[axis] = 3
    counts = sum((x >= limits[:, i].reshape(column)).astype(float) for i in range(5))
    np.testing.assert_array_equal(ours(g.model(), data), 0.5 * counts - 1.0)


@pytest.mark.parametrize("pool", ["MaxPool", "AveragePool"])
def test_layers_with_channels_last(pool: str) -> None:
    """The same numbers as from the standard's layers between transpositions."""
    rng = np.random.default_rng(9)
    kernel, norm = rng.integers(-7, 8, (3, 2, 3, 3)) / 8, [rng.integers(1, 9, 3) / 4 for _ in range(4)]
    window: dict[str, Any] = {"kernel_shape": [2, 2], "strides": [2, 2]}
    answers = []
    for last in (False, True):
        g = Graph(qonnx=True)
        x = g.quant(g.input([1, 6, 6, 2]), bits=6.0)
        domain = "qonnx.custom_op.channels_last" if last else ""
        if not last:
            x = g.add("Transpose", x, perm=[0, 3, 1, 2])
        w = g.constant(kernel.transpose(0, 2, 3, 1) if last else kernel)
        x = g.add("Conv", x, w, domain=domain, pads=[1, 1, 1, 1])
        x = g.add("BatchNormalization", x, *map(g.constant, norm), domain=domain, epsilon=0.25)
        x = g.add(pool, g.quant(g.add("Relu", x), scale=0.375), domain=domain, **window)
        g.output(g.quant(x if last else g.add("Transpose", x, perm=[0, 2, 3, 1]), bits=5.0))
        answers.append(ours(g.model(), samples((6, 6, 2), rows=5)))
    np.testing.assert_array_equal(*answers)
    assert len(np.unique(answers[0])) > 5


@pytest.mark.parametrize("mode", sorted(ROUNDINGS))
@pytest.mark.parametrize("signed,narrow", [(1, 0), (1, 1), (0, 0)])
@pytest.mark.parametrize("scale", [[0.5, 0.25, 2.0, 0.0625, 16.0], 0.5, [4.0] * 5])
def test_a_port_with_a_format_for_each_element(mode: str, signed: int, narrow: int, scale: Any) -> None:
    """Powers of two differ as steps of formats do; and so may the widths."""
    bits = np.array([2.0, 3.0, 4.0, 5.0, 8.0])
    g = Graph(qonnx=True)
    x = g.quant(g.input(["n", 5]), scale=scale, bits=bits, signed=signed, narrow=narrow, rounding_mode=mode)
    g.output(g.add("Add", x, x))
    data = samples((5,), rows=200, reach=40)
    want = 2 * quantised(data, np.array(scale), 0.0, bits, signed, narrow, mode)
    np.testing.assert_array_equal(ours(g.model(), data), want)
    design = load_onnx(g.model())
    assert design.params[0].scale == 1 and len(design.params[0].to.runs) > 1


def test_a_port_of_an_image_with_a_format_for_each_channel() -> None:
    scale = np.array([0.5, 4.0]).reshape(1, 2, 1, 1)
    g = Graph(qonnx=True)
    g.output(g.quant(g.input(["n", 2, 3, 3]), scale=scale, bits=4.0))
    data = samples((2, 3, 3), rows=50, reach=40)
    np.testing.assert_array_equal(ours(g.model(), data), quantised(data, scale, 0.0, 4.0))


def test_a_clip_before_a_port_narrows_its_elements() -> None:
    g = Graph(qonnx=True)
    top = np.array([0.5, 1.0, 1.5, 1.75, 1.25], np.float32)
    clipped = g.add("Min", g.input(["n", 5]), g.constant(top))
    g.output(g.quant(clipped, scale=0.25, bits=4.0))
    data = samples((5,), rows=100, reach=4)
    np.testing.assert_array_equal(ours(g.model(), data), quantised(np.minimum(data, top), 0.25, 0.0, 4.0))


@pytest.mark.parametrize("shape", [(5,), (5, 2, 3)])
@pytest.mark.parametrize("plural", ["scale", "bits"])
def test_a_function_with_steps_or_widths_for_each_channel(plural: str, shape: tuple[int, ...]) -> None:
    each = {"scale": [0.5, 0.3, 0.125, 0.0625, 1.1], "bits": [2.0, 3.0, 4.0, 5.0, 8.0]}[plural]
    how: dict[str, Any] = {"scale": 0.125, "bits": 6.0, plural: np.reshape(each, (5, *(1,) * len(shape[1:])))}
    g = Graph(qonnx=True)
    x = g.quant(g.input(["n", *shape]), scale=0.125, bits=6.0)
    g.output(g.quant(g.add("Exp", x), **how))
    data = samples(shape, rows=200, reach=4)
    want = quantised(np.exp(quantised(data, 0.125, bits=6.0).astype(np.float32)), zero=0.0, **how)
    np.testing.assert_array_equal(ours(g.model(), data), want.astype(np.float32))
