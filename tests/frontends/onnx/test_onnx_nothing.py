"""What no circuit is: random numbers, tensors of nothing or without end, shapes and numbers that are none."""

from __future__ import annotations

import warnings
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx_models import QONNX, Graph, refused

from lutc.diagnostics import LirError
from lutc.frontends.onnx import load_onnx

# -- random numbers ------------------------------------------------------------------------------------------------

DRAWS: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "RandomNormal": ([], {"shape": [1, 4], "seed": 1.0}),
    "RandomUniform": ([], {"shape": [1, 4]}),
    "RandomNormalLike": ([np.ones((1, 4), np.float32)], {}),
    "RandomUniformLike": ([np.ones((1, 4), np.float32)], {}),
    "Bernoulli": ([np.full((1, 4), 0.5, np.float32)], {}),
    "Multinomial": ([np.ones((1, 4), np.float32)], {"sample_size": 4}),
}


@pytest.mark.parametrize("op", DRAWS)
def test_random_numbers(op: str) -> None:
    given, attributes = DRAWS[op]
    g = Graph()
    drawn = g.add("Cast", g.add(op, *map(g.constant, given), **attributes), to=TensorProto.FLOAT)
    g.output(g.add("Add", g.qdq(g.input([1, 4])), drawn))
    assert f"({op}): error: makes random numbers" in refused(g.model())


def test_random_numbers_in_a_branch() -> None:
    g = Graph()
    x, yes = g.qdq(g.input([1, 4])), g.constant(np.array(True))
    node = helper.make_node("RandomNormal", [], ["r"], shape=[1, 4])
    body = helper.make_graph([node], "body", [], [helper.make_empty_tensor_value_info("r")])
    g.output(g.add("Add", x, g.add("If", yes, then_branch=body, else_branch=body)))
    assert "(RandomNormal): error: makes random numbers" in refused(g.model())


def test_random_numbers_in_a_function() -> None:
    g = Graph()
    g.output(g.add("Add", g.qdq(g.input([1, 4])), g.add("Draw", domain="own")))
    model = g.model()
    node = helper.make_node("RandomNormal", [], ["r"], shape=[1, 4])
    model.functions.append(
        helper.make_function("own", "Draw", [], ["r"], [node], [helper.make_opsetid("", 21)])
    )
    model.opset_import.append(helper.make_opsetid("own", 1))
    assert "(RandomNormal): error: makes random numbers" in refused(model)


def test_dropout_of_a_constant_in_training() -> None:
    g = Graph()
    w = g.add("Dropout", g.constant(np.ones((1, 4))), g.constant(0.5), g.constant(np.array(True)))
    g.output(g.add("Add", g.qdq(g.input([1, 4])), w))
    assert "drops elements at random" in refused(g.model())


def test_dropout_of_a_constant() -> None:
    g = Graph()
    w = g.add("Dropout", g.dq(np.eye(4, dtype=int)))
    g.output(g.add("MatMul", g.qdq(g.input([1, 4])), w))
    assert load_onnx(g.model()).run(np.ones((1, 4))).tolist() == [[0.5] * 4]


# -- nothing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", ["Add", "Div", "Equal", "Max", "Mul", "PRelu", "Pow", "Sub", "Sum"])
def test_an_empty_operand(op: str) -> None:
    g = Graph()
    g.output(g.add(op, g.qdq(g.input([1, 1])), g.constant(np.zeros(0))))
    assert "leaves nothing of its input" in refused(g.model())


@pytest.mark.parametrize("op", ["MatMul", "Gemm"])
def test_an_empty_matrix(op: str) -> None:
    g = Graph()
    g.output(g.add(op, g.qdq(g.input([1, 4])), g.constant(np.zeros((4, 0)))))
    assert "leaves nothing of its input" in refused(g.model())


def test_an_empty_condition() -> None:
    g = Graph()
    x = g.qdq(g.input([1, 1]))
    g.output(g.add("Where", g.constant(np.zeros(0, bool)), x, x))
    assert "leaves nothing of its input" in refused(g.model())


# -- without end ---------------------------------------------------------------------------------------------------


def test_doublings_are_counted_before_they_are_made() -> None:
    g = Graph()
    x = g.qdq(g.input([1, 4]))
    for _ in range(26):
        x = g.add("Concat", x, x, axis=1)
    g.output(x)
    assert "has more elements than any circuit" in refused(g.model())


def i64(*values: int) -> Any:
    return np.array(values, np.int64)


LARGE: dict[str, list[Any]] = {
    "Tile": [i64(1, 1 << 23)],
    "Expand": [i64(1 << 23, 1, 4)],
    "Pad": [i64(0, 0, 0, 1 << 25)],
    "Resize": [None, None, i64(1, 1 << 25)],
}


@pytest.mark.parametrize("behind", [False, True])  # a shape that only lutc knows
@pytest.mark.parametrize("op", LARGE)
def test_sizes_are_counted_before_they_are_made(op: str, behind: bool) -> None:
    g = Graph()
    x = g.qdq(g.input([1, 4]))
    given = ["" if v is None else g.constant(v) for v in LARGE[op]]
    if behind:
        given[-1] = g.add("Cast", g.add("Exp", g.add("Log", g.add("Cast", given[-1], to=11))), to=7)
    g.output(g.add(op, x, *given))
    assert "has more elements than any circuit" in refused(g.model())


# -- numbers that are none -----------------------------------------------------------------------------------------


def test_a_dimension_below_zero() -> None:
    g = Graph()
    w = g.constant(np.ones((4, 3)))
    g.output(g.add("Relu", g.add("MatMul", g.qdq(g.input([1, 4])), w)))
    model = g.model()
    next(t for t in model.graph.initializer if t.name == w).dims[1] = -3
    assert "has the shape [4, -3], and no dimension has a length below 0" in refused(model)


@pytest.mark.parametrize("op", ["QuantizeLinear", "Quant"])
@pytest.mark.parametrize("scale", [np.float32(3e38), np.complex64(1)])
def test_nothing_is_printed(op: str, scale: Any) -> None:
    g = Graph(qonnx=True)
    x, s = g.input([1, 4]), g.constant(scale)
    if op == "Quant":
        g.output(g.add(op, x, s, g.constant(0.0), g.constant(8.0), domain=QONNX))
    else:
        g.output(g.add("DequantizeLinear", g.add(op, x, s, g.constant(0, "int8")), s, g.constant(0, "int8")))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if scale.dtype.kind == "c":
            assert "holds complex numbers" in refused(g.model())
        else:
            with suppress(LirError):  # 127 steps are infinite: nothing to compare with
                load_onnx(g.model())


@pytest.mark.parametrize("moved", [False, True])
def test_a_cast_that_rounds_before_a_quantiser(moved: bool) -> None:
    g = Graph()
    x = g.input([1, 4], kind=TensorProto.DOUBLE)
    x = g.add("Reshape", x, g.constant(i64(1, 2, 2))) if moved else x
    g.output(g.qdq(g.add("Cast", x, to=TensorProto.FLOAT), 0.5))
    assert "casts double numbers to float, which rounds" in refused(g.model())
