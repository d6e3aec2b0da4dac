"""Elements chosen, looked up and written by index, and other layers that models from elsewhere have."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto
from onnx_models import Graph, ours, refused, same_as_onnxruntime, samples

from lutc.frontends.onnx import load_onnx

RNG = np.random.default_rng(4)


def i64(g: Graph, array: Any) -> str:
    return g.constant(np.asarray(array, np.int64))


@pytest.mark.parametrize("largest", [0, 1])
@pytest.mark.parametrize("axis", [-1, 1, 2])
@pytest.mark.parametrize("which", [0, 1])
def test_the_first_of_one(axis: int, largest: int, which: int) -> None:
    """As ArgMax: the lowest index where several are the largest."""
    g = Graph()
    x = g.qdq(g.input(["n", 2, 5]), 1.0)
    found = g.add("TopK", x, i64(g, [1]), outputs=2, axis=axis, largest=largest)[which]
    g.output(found, TensorProto.FLOAT if which == 0 else TensorProto.INT64)
    same_as_onnxruntime(g.model(), samples((2, 5), reach=2.0))


def test_more_than_one_is_refused() -> None:
    g = Graph()
    g.output(g.add("TopK", g.qdq(g.input(["n", 5])), i64(g, [2]), outputs=2)[0])
    assert "sorts its data" in refused(g.model())


@pytest.mark.parametrize("axis,shape", [(0, (6, 3)), (1, (2, 6)), (0, (6,)), (-1, (2, 6))])
@pytest.mark.parametrize("quantised", [True, False])
def test_rows_of_a_table_by_data(axis: int, shape: tuple[int, ...], quantised: bool) -> None:
    g = Graph()
    codes = RNG.integers(-8, 8, shape)
    table = g.dq(codes, 0.25) if quantised else g.constant(codes / 4)
    g.output(g.add("Gather", table, g.input([1, 4], kind=TensorProto.INT64), axis=axis))
    x = np.concatenate([RNG.integers(0, 6, (20, 4)), [[-6, -1, 5, 0]]])
    same_as_onnxruntime(g.model(), x, input_types={"x": "s4"})


def test_rows_with_scales_of_their_columns() -> None:
    g = Graph()
    table = g.dq(RNG.integers(-8, 8, (5, 3)), [0.5, 0.25, 0.3], [0, 0, 0], axis=1)
    g.output(g.add("Gather", table, g.input(["n", 2], kind=TensorProto.INT64)))
    same_as_onnxruntime(g.model(), RNG.integers(0, 5, (9, 2)), input_types="u3")


def test_rows_of_floats_that_a_quantiser_rounds() -> None:
    g = Graph()
    table = g.constant(RNG.normal(size=(7, 3)))
    g.output(g.qdq(g.add("Gather", table, g.input(["n", 2], kind=TensorProto.INT64)), 1 / 32))
    same_as_onnxruntime(g.model(), RNG.integers(0, 7, (9, 2)), input_types="u3")


def test_an_index_of_64_bits_says_what_to_do() -> None:
    g = Graph()
    g.output(g.add("Gather", g.dq(np.ones((5, 2), int)), g.input(["n", 2], kind=TensorProto.INT64)))
    assert "an input type such as u3" in refused(g.model())


@pytest.mark.parametrize("op", ["ScatterND", "ScatterElements"])
@pytest.mark.parametrize("data_written", [True, False])
def test_elements_written_at_constant_places(op: str, data_written: bool) -> None:
    g = Graph()
    x = g.qdq(g.input([1, 6]))
    at = i64(g, [[0, 4], [0, 1]]) if op == "ScatterND" else i64(g, [[4, -5]])
    shape = [2] if op == "ScatterND" else [1, 2]
    new = g.constant(np.array([0.3, -7.0]).reshape(shape))
    if data_written:
        new = g.add("Reshape", g.add("Slice", x, *(i64(g, [v]) for v in (2, 4, 1))), i64(g, shape))
    given: dict[str, Any] = {"axis": 1} if op == "ScatterElements" else {}
    g.output(g.qdq(g.add(op, x, at, new, **given), 0.5))
    same_as_onnxruntime(g.model(), samples((6,)))


@pytest.mark.parametrize(
    "reduction,at,message", [("add", [[0], [1]], "reduction='add'"), ("none", [[0, 1], [0, 1]], "twice")]
)
def test_writing_that_has_no_one_meaning(reduction: str, at: Any, message: str) -> None:
    g = Graph()
    x = g.qdq(g.input([2, 6]))
    shape = (2, 6) if reduction == "add" else (2,)
    g.output(g.add("ScatterND", x, i64(g, at), g.constant(np.ones(shape)), reduction=reduction))
    assert message in refused(g.model())


@pytest.mark.parametrize("low,high", [(-np.inf, np.inf), (-np.inf, 1.0), (-1.0, np.inf)])
def test_bounds_that_are_infinite_are_none(low: float, high: float) -> None:
    g = Graph()
    x = g.add("Clip", g.qdq(g.input([1, 4])), g.constant(low), g.constant(high))
    x = g.add("Max", g.add("Min", x, g.constant(np.inf)), g.constant(-np.inf))
    g.output(x)
    same_as_onnxruntime(g.model(), samples((4,)))


def test_a_sign_joins_other_numbers() -> None:
    g = Graph()
    x = g.qdq(g.input([1, 4]))
    g.output(g.add("Add", g.add("Sign", g.add("Neg", x)), x))
    same_as_onnxruntime(g.model(), samples((4,)))


@pytest.mark.parametrize("tiny", [0.0, 1e-30])
def test_channels_whose_weights_are_dead(tiny: float) -> None:
    """A scale of 0 makes weights of 0; numbers that a float forgets beside the bias are forgotten here as well."""
    g = Graph()
    w = g.dq(RNG.integers(-9, 9, (4, 3)), [0.25, tiny, 0.5], axis=1)
    h = g.add("Add", g.add("MatMul", g.qdq(g.input([1, 4])), w), g.constant([0.5, 0.75, 0]))
    g.output(g.qdq(g.add("Relu", h), 0.5))
    same_as_onnxruntime(g.model(), samples((4,)))


@pytest.mark.parametrize("shape", [(3, 2, 2), (3, 2, 1), (3, 1, 1), (2, 3, 3)])
@pytest.mark.parametrize("op", ["Sigmoid", "Tanh", "Elu", "Selu"])
@pytest.mark.parametrize("opset", [13, 21])  # they are evaluated otherwise below 14
def test_functions_normalised_by_channel(op: str, shape: tuple[int, ...], opset: int) -> None:
    g = Graph(opset)
    parts = [g.constant(np.round(RNG.uniform(0.5, 2, shape[0]) * 8) / 8) for _ in range(4)]
    g.output(
        g.qdq(g.add("BatchNormalization", g.add(op, g.qdq(g.input(["n", *shape]), 0.25)), *parts), 1 / 32)
    )
    same_as_onnxruntime(g.model(), samples(shape))


@pytest.mark.parametrize("behind", ["Relu", "Sigmoid"])
def test_normalisation_of_another_number_of_channels(behind: str) -> None:
    g = Graph()
    x = g.add(behind, g.qdq(g.input(["n", 3, 2, 2])))
    g.output(g.qdq(g.add("BatchNormalization", x, *(g.constant(np.ones(5)) for _ in range(4)))))
    assert "[5]" in refused(g.model()) and "[1, 3, 2, 2]" in refused(g.model())


@pytest.mark.parametrize("scale", [np.full((1, 1, 1), 0.25), np.full(3, 0.25), np.full((5, 1), 0.25)])
def test_scales_that_do_not_fit_say_both_shapes(scale: Any) -> None:
    for constant in (False, True):
        g = Graph(qonnx=True)
        x = g.qdq(g.input(["n", 6]))
        y = g.quant(g.constant(RNG.normal(size=(1, 6))) if constant else x, scale)
        g.output(g.add("Add", x, y) if constant else y)
        text = refused(g.model())
        assert f"has a scale of shape {list(scale.shape)} for data of shape [1, 6]" in text


def test_outputs_that_no_tap_reaches_are_the_bias() -> None:
    g = Graph()
    x = g.qdq(g.input([1, 2, 3, 3]))
    w = g.dq(RNG.integers(-4, 4, (2, 3, 1, 2)), [0.5, 0.25, 1.0], [0, 0, 0], axis=1)
    y = g.add("ConvTranspose", x, w, g.constant([0.5, -1.0, 2.0]), strides=[2, 3], output_padding=[1, 0])
    g.output(g.qdq(y, 0.25))
    same_as_onnxruntime(g.model(), samples((2, 3, 3)))


def test_a_layer_of_unknown_shape_hides_no_reason() -> None:
    g = Graph(13, qonnx=True)
    x = g.input([1, 2, 2, 2])
    w = g.quant(g.constant(RNG.normal(size=(3, 2, 1, 1))))
    y = g.add("Conv", x, w)
    g.output(g.quant(g.add("BatchNormalization", y, *(g.constant(np.ones(3)) for _ in range(4)))))
    model = g.model()
    info = model.graph.value_info.add()
    info.name, info.type.tensor_type.elem_type = y, TensorProto.FLOAT
    for n in (1, None, None, None):
        d = info.type.tensor_type.shape.dim.add()
        if n:
            d.dim_value = n
        else:
            d.dim_param = "a"
    assert "reads input 'x', which has no format" in refused(model)


def test_a_common_input_type_is_for_integers_too() -> None:
    g = Graph()
    g.output(g.add("Cast", g.input(["n", 2], kind=TensorProto.INT64), to=TensorProto.FLOAT))
    assert str(load_onnx(g.model(), input_types="u3").params[0].type) == "u3[2]"
    assert any("does not fit it" in n for n in load_onnx(g.model(), input_types="s8f2").notes)


def test_names_of_the_dialect_in_the_standards_domain() -> None:
    g = Graph(qonnx=True)
    x = g.quant(g.input(["n", 2]))
    g.nodes[-1].domain = ""
    g.output(x)
    assert ours(g.model(), np.array([[0.3, -9.0]])).ravel().tolist() == [0.25, -9.0]
