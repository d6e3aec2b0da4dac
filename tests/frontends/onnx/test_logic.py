"""Comparisons, logic, choices, casts and branches, against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx_models import Graph, ours, same_as_onnxruntime, samples

from lutc.diagnostics import LirError
from lutc.frontends.onnx import load_onnx

LIMITS = np.array([0.5, -0.3, 0.75, 1.2])
RELATIONS = ["Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual"]
MASK = np.array([True, False, True, True])


def as_float(g: Graph, bits: str) -> None:
    g.output(g.add("Cast", bits, to=TensorProto.FLOAT))


@pytest.mark.parametrize("factors", [1.0, [1.0, -1.0, 2.0, -0.5], -3.0])
@pytest.mark.parametrize("op", RELATIONS)
@pytest.mark.parametrize("constant_first", [False, True])
def test_with_a_constant(op: str, factors: Any, constant_first: bool) -> None:
    g = Graph()
    x = g.add("Mul", g.qdq(g.input(["n", 4]), 0.25, 3), g.constant(factors))
    operands = [x, g.constant(LIMITS)]
    as_float(g, g.add(op, *(reversed(operands) if constant_first else operands)))
    same_as_onnxruntime(g.model(), samples((4,), rows=150))


@pytest.mark.parametrize("op", RELATIONS)
def test_a_constant_that_float32_makes_equal(op: str) -> None:
    """3 * 0.1f is no multiple of 0.3f, but float32 rounds it to that."""
    g = Graph()
    x = g.qdq(g.input(["n", 5]), 0.1, 3)
    as_float(g, g.add(op, x, g.constant(np.array([0.3, 0.7, 1.1, -0.6, -1.2], np.float32))))
    data = (np.arange(-30, 30)[:, None] / 10 + np.zeros(5)).astype(np.float32)
    same_as_onnxruntime(g.model(), data)


@pytest.mark.parametrize("op", RELATIONS)
@pytest.mark.parametrize("scales", [(0.25, 0.25), (0.25, 0.0625), (0.1, 0.1)])
def test_two_tensors(op: str, scales: tuple[float, float]) -> None:
    g = Graph()
    x, y = (g.qdq(g.input(["n", 4], n), s, z) for n, s, z in zip("xy", scales, (3, 3), strict=True))
    as_float(g, g.add(op, x, y))
    step = 0 if scales[0] == 0.1 else 0.125
    same_as_onnxruntime(g.model(), *(samples((4,), 150, step, 3, seed) for seed in (1, 2)))


@pytest.mark.parametrize("op", ["And", "Or", "Xor"])
def test_logic(op: str) -> None:
    g = Graph()
    x = g.qdq(g.input(["n", 4]), 0.25)
    positive, large = g.add("Greater", x, g.constant(0.0)), g.add("GreaterOrEqual", x, g.constant(2.0))
    joined = g.add(op, g.add("Not", positive), g.add(op, large, g.constant(MASK)))
    as_float(g, g.add("Concat", joined, g.add("Reshape", positive, g.constant(np.array([0, 4]))), axis=1))
    same_as_onnxruntime(g.model(), samples((4,), rows=100))


def test_a_port_of_truth_values() -> None:
    g = Graph()
    b = g.input(["n", 4], "b", TensorProto.BOOL)
    g.output(g.add("Where", g.add("Not", b), g.qdq(g.input(["n", 4]), 0.25), g.constant(LIMITS)))
    bits = np.random.default_rng(0).integers(0, 2, (50, 4)).astype(bool)
    same_as_onnxruntime(g.model(), bits, samples((4,), rows=50))
    assert str(load_onnx(g.model()).params[0].type) == "u1[4]"


@pytest.mark.parametrize("factor", [1.0, 0.1, [0.5, -2.0, 1.0, 0.3]])
def test_where_chooses_between_tensors(factor: Any) -> None:
    g = Graph()
    x = g.qdq(g.input(["n", 4]), 0.25, 3)
    chosen = g.add("Where", g.add("Greater", x, g.constant(0.5)), x, g.add("Mul", x, g.constant(factor)))
    g.output(g.qdq(chosen, 0.1171))
    same_as_onnxruntime(g.model(), samples((4,), rows=150))


def test_where_chooses_between_constants_and_by_constants() -> None:
    g = Graph()
    x = g.qdq(g.input(["n", 4]), 0.25, 3)
    levels = g.add("Where", g.add("Less", x, g.constant(0.5)), g.constant(LIMITS), g.constant(0.3))
    # Nobody chooses the infinity.
    masked = g.add("Where", g.constant(MASK), x, g.constant([np.inf, 1.5, np.nan, -np.inf]))
    g.output(g.qdq(g.add("Add", levels, masked), 0.1171))
    same_as_onnxruntime(g.model(), samples((4,), rows=150, step=0))


def test_integers_stay_integers() -> None:
    g = Graph()
    x = g.qdq(g.input(["n", 4]), 0.25)
    index = g.add("ArgMax", x, axis=1)
    even = g.add("Equal", index, g.constant(np.array([[2]])))
    chosen = g.add("Where", even, g.constant(np.array([[7]])), index)
    g.output(chosen, TensorProto.INT64)
    same_as_onnxruntime(g.model(), samples((4,), rows=100))


def test_a_comparison_of_a_function_is_a_table() -> None:
    g = Graph()
    x = g.qdq(g.input(["n", 4]), 0.25)
    sure = g.add("Greater", g.add("Sigmoid", x), g.constant(0.7))
    g.output(g.add("Where", sure, x, g.constant(0.0)))
    same_as_onnxruntime(g.model(), samples((4,), rows=150))
    assert str(load_onnx(g.model())).count("lut ") == 1


@pytest.mark.parametrize(
    "kind", [TensorProto.INT8, TensorProto.INT32, TensorProto.BOOL, TensorProto.FLOAT16, TensorProto.BFLOAT16]
)
def test_casts_that_say_what_they_do(kind: int) -> None:
    g = Graph()
    scale = 0.25 if kind != TensorProto.BFLOAT16 else 0.5
    x = g.add("Cast", g.qdq(g.input(["n", 4]), scale, 0, "int8"), to=kind)
    as_float(g, x)
    same_as_onnxruntime(g.model(), samples((4,), rows=100))


# -- branches -------------------------------------------------------------------------------------------------------


def branches(condition: Any, **shapes: Any) -> Any:
    """`If` between scaling and handing through, behind a chain that computes the condition from a shape."""
    g = Graph()
    x = g.qdq(g.input(["n", 4]), 0.25)
    info = helper.make_empty_tensor_value_info
    two = helper.make_tensor("two", TensorProto.FLOAT, [], [2.0])
    nodes = [helper.make_node("Mul", [x, "two"], ["doubled"]), helper.make_node("Abs", ["doubled"], ["yes"])]
    then_branch = helper.make_graph(nodes, "then", [], [info("yes")], [two])
    else_branch = helper.make_graph([helper.make_node("Identity", [x], ["no"])], "else", [], [info("no")])
    found = condition(g, x)
    y = g.add("If", found, then_branch=then_branch, else_branch=else_branch, name="choice")
    g.output(g.qdq(g.add("Relu", y), 0.5))
    return g.model()


@pytest.mark.parametrize("length", [4, 5])
def test_if_with_a_condition_known_at_compile_time(length: int) -> None:
    def condition(g: Graph, x: str) -> str:
        last = g.add("Gather", g.add("Shape", x), g.constant(np.array(1)), axis=0)
        return str(g.add("Equal", last, g.constant(np.array(length))))

    model = branches(condition)
    same_as_onnxruntime(model, samples((4,)))
    assert ("abs" in str(load_onnx(model))) == (length == 4)


def test_shapes_ranges_and_constants_are_folded() -> None:
    g = Graph()
    x = g.qdq(g.input(["n", 2, 3]), 0.25)
    shape = g.add("Shape", x)
    count = g.add("Squeeze", g.add("Slice", shape, *(g.constant(np.array([v])) for v in (2, 3))))
    row = g.add("Cast", g.add("Range", g.constant(np.array(0)), count, g.constant(np.array(1))), to=1)
    ones = g.add("ConstantOfShape", shape, value=helper.make_tensor("v", TensorProto.FLOAT, [1], [0.5]))
    g.output(g.add("Add", g.add("Mul", x, row), ones))
    same_as_onnxruntime(g.model(), samples((2, 3)))


def test_an_integer_port_may_be_narrower_than_the_models_type() -> None:
    g = Graph()
    x = g.input(["n", 3], kind=TensorProto.INT64)
    g.output(g.add("Mul", g.add("Cast", x, to=1), g.constant(0.5)))
    data = np.arange(12).reshape(4, 3)
    np.testing.assert_array_equal(ours(g.model(), data, input_types={"x": "u4"}), data / 2)
    assert str(load_onnx(g.model(), input_types={"x": "u4"}).params[0].type) == "u4[3]"
    assert str(load_onnx(g.model()).params[0].type) == "s64[3]"


def test_truth_values_have_one_format() -> None:
    g = Graph()
    g.output(g.add("Cast", g.input(["n", 3], kind=TensorProto.BOOL), to=1))
    assert str(load_onnx(g.model(), input_types={"x": "u1"}).params[0].type) == "u1[3]"
    with pytest.raises(LirError, match="truth values"):
        load_onnx(g.model(), input_types={"x": "s4"})
