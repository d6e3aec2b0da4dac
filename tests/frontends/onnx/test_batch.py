"""A model may leave open how many samples there are; what makes one sample of several is refused, however it does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx_models import Graph, onnxruntime, ours, refused, samples

MIXES: dict[str, Callable[[Graph, str], Any]] = {}
KEEPS: dict[str, Callable[[Graph, str], Any]] = {}


def i64(g: Graph, *values: int) -> str:
    return g.constant(np.array(values, np.int64))


def shape_of(g: Graph, x: str) -> str:
    return str(g.add("Shape", x))


def count(g: Graph, x: str) -> str:
    """How many samples there are, as a float."""
    first = g.add("Gather", shape_of(g, x), g.constant(np.array(0)))
    return str(g.add("Cast", first, to=TensorProto.FLOAT))


def sliced(g: Graph, x: str, start: int, end: int, step: int = 1) -> str:
    return str(g.add("Slice", x, i64(g, start), i64(g, end), i64(g, 0), i64(g, step)))


MIXES |= {
    "constant [2,3]": lambda g, x: g.add("Add", x, g.constant(np.ones((2, 3)))),
    "constant [1,2,3]": lambda g, x: g.add("Mul", x, g.constant(np.ones((1, 2, 3)))),
    "constant [1,1,3]": lambda g, x: g.add("Max", x, g.constant(np.ones((1, 1, 3)))),
    "compared [2,3]": lambda g, x: g.add("Cast", g.add("Greater", x, g.constant(np.ones((2, 3)))), to=1),
    "where": lambda g, x: g.add("Where", g.constant(np.ones((2, 1), bool)), x, g.constant(0.0)),
    "expand": lambda g, x: g.add("Expand", x, i64(g, 2, 3)),
    "expand rank": lambda g, x: g.add("Expand", x, i64(g, 1, 1, 3)),
    "number of samples": lambda g, x: g.add("Mul", x, count(g, x)),
    "mean over samples": lambda g, x: g.add("Div", x, count(g, x)),
    "size": lambda g, x: g.add("Mul", x, g.add("Cast", g.add("Size", x), to=1)),
    "half of them": lambda g, x: g.add("Add", x, g.add("Mod", count(g, x), g.constant(2.0), fmod=1)),
    "reshape to one": lambda g, x: g.add("Reshape", x, i64(g, 1, -1)),
    "reshape then sum": lambda g, x: g.add("ReduceSum", g.add("Reshape", x, i64(g, 1, -1)), i64(g, 1)),
    "reshape by three": lambda g, x: g.add("Reshape", x, i64(g, 3, -1)),
    "trilu": lambda g, x: g.add("Trilu", x, upper=0),
    "first sample": lambda g, x: sliced(g, x, 0, 1),
    "last sample": lambda g, x: sliced(g, x, -1, 1 << 62),
    "samples turned": lambda g, x: sliced(g, x, -1, -(1 << 62), -1),
    "every second": lambda g, x: sliced(g, x, 0, 1 << 62, 2),
    "tile": lambda g, x: g.add("Tile", x, i64(g, 2, 1)),
    "gather": lambda g, x: g.add("Gather", x, i64(g, 0, 0), axis=0),
    "gather one": lambda g, x: g.add("Gather", x, g.constant(np.array(0)), axis=0),
    "gather elements": lambda g, x: g.add("GatherElements", x, g.constant(np.zeros((1, 3), np.int64)), axis=0),
    "gather nd": lambda g, x: g.add("GatherND", x, g.constant(np.array([[0]]))),
    "concat": lambda g, x: g.add("Concat", x, x, axis=0),
    "concat constant": lambda g, x: g.add("Concat", g.constant(np.ones((1, 3))), x, axis=0),
    "cumsum": lambda g, x: g.add("CumSum", x, g.constant(np.array(0))),
    "einsum": lambda g, x: g.add("Einsum", x, x, equation="ni,mi->nm"),
    "einsum turned": lambda g, x: g.add("Einsum", x, equation="ni->in"),
    "matmul of samples": lambda g, x: g.add("MatMul", x, g.add("Transpose", x)),
    "matmul from the left": lambda g, x: g.add("MatMul", g.constant(np.ones((1, 1))), x),
    "gram": lambda g, x: g.add("MatMul", g.add("Transpose", x), x),
    "transpose": lambda g, x: g.add("Transpose", x),
    "transpose of one": lambda g, x: g.add("Transpose", g.add("ReduceSum", x, i64(g, 1))),
    "scatter nd": lambda g, x: g.add("ScatterND", x, g.constant(np.array([[0]])), g.constant(np.ones((1, 3)))),
    "argmax": lambda g, x: g.add("Cast", g.add("ArgMax", x, axis=0), to=1),
    "softmax": lambda g, x: g.add("Softmax", x, axis=0),
    "largest": lambda g, x: g.add("ReduceMax", x, i64(g, 0)),
    "all axes": lambda g, x: g.add("ReduceSum", x),
    "flatten": lambda g, x: g.add("Flatten", x, axis=0),
    "pad": lambda g, x: g.add("Pad", x, i64(g, 1, 0, 0, 0)),
    "unsqueeze": lambda g, x: g.add("Unsqueeze", x, i64(g, 0)),
    "split": lambda g, x: g.add("Split", x, i64(g, 1), axis=0),
    "range": lambda g, x: g.add("Add", x, g.add("Unsqueeze", g.add(
        "Range", g.constant(np.float32(0)), count(g, x), g.constant(np.float32(1))), i64(g, 1))),
    "sizes": lambda g, x: g.add("Resize", x, "", "", i64(g, 1, 6)),
    "scales": lambda g, x: g.add("Resize", x, "", g.constant(np.array([2, 1], np.float32))),
    "top": lambda g, x: g.add("TopK", x, i64(g, 1), axis=0, outputs=2)[0],
    "columns [1,3,1]": lambda g, x: g.add("MatMul", x, g.constant(np.ones((2, 3, 1)))),
}  # fmt: skip


def of_shape(g: Graph, x: str, op: str) -> str:
    """A tensor of the shape of the data, made of constants."""
    made = g.add(
        "ConstantOfShape", shape_of(g, x), value=helper.make_tensor("v", TensorProto.FLOAT, [1], [1.5])
    )
    return str(g.add(op, x, made))


KEEPS |= {
    "shape back": lambda g, x: g.add("Reshape", g.add("Relu", x), shape_of(g, x)),
    "batch of the shape": lambda g, x: g.add(
        "Reshape", x, g.add("Concat", g.add("Gather", shape_of(g, x), i64(g, 0)), i64(g, 3, 1), axis=0)),
    "flattened by shape": lambda g, x: g.add(
        "Reshape", x, g.add("Concat", g.add("Slice", shape_of(g, x), i64(g, 0), i64(g, 1)), i64(g, -1), axis=0)),
    "constant of the shape": lambda g, x: of_shape(g, x, "Add"),
    "expand to the shape": lambda g, x: g.add("Add", x, g.add(
        "Expand", g.constant(np.ones((1, 3))), shape_of(g, x))),
    "constant [1,3]": lambda g, x: g.add("Add", x, g.constant(np.ones((1, 3)))),
    "last dimension": lambda g, x: g.add("Mul", x, g.add("Cast", g.add(
        "Gather", shape_of(g, x), g.constant(np.array(1))), to=1)),
    "whole slice": lambda g, x: sliced(g, x, 0, (1 << 63) - 1),
    "turned inside": lambda g, x: g.add("Slice", x, i64(g, -1), i64(g, -9), i64(g, 1), i64(g, -1)),
    "einsum": lambda g, x: g.add("Einsum", x, g.dq(np.eye(3), 0.5), equation="ni,ij->nj"),
    "sum": lambda g, x: g.add("ReduceSum", x, i64(g, -1)),
    "unsqueeze": lambda g, x: g.add("Unsqueeze", x, i64(g, 1)),
}  # fmt: skip


def model(make: Callable[[Graph, str], Any], samples_: int | str) -> Any:
    g = Graph()
    g.output(make(g, g.qdq(g.input([samples_, 3]))))
    return g.model()


@pytest.mark.parametrize("name", sorted(MIXES))
def test_samples_that_are_mixed(name: str) -> None:
    assert "batch" in refused(model(MIXES[name], "n"))


@pytest.mark.parametrize("name", sorted(KEEPS))
def test_samples_that_are_kept_apart(name: str) -> None:
    x = samples((3,), 16)
    whole = model(KEEPS[name], "n")
    np.testing.assert_array_equal(ours(whole, x).ravel(), onnxruntime(whole, x).ravel())


@pytest.mark.parametrize(
    "name", ["samples turned", "reshape to one", "all axes", "number of samples", "first sample"]
)
def test_a_batch_of_one_has_no_other_samples(name: str) -> None:
    x = samples((3,), 16)
    whole = model(MIXES[name], 1)
    np.testing.assert_array_equal(ours(whole, x).ravel(), onnxruntime(whole, x).ravel())


def test_a_branch_by_the_number_of_samples() -> None:
    g = Graph()
    x = g.qdq(g.input(["n", 3]))
    bodies = [
        helper.make_graph(
            [helper.make_node(op, [x], [op])], op, [], [helper.make_empty_tensor_value_info(op)]
        )
        for op in ("Relu", "Neg")
    ]
    one = g.add("Equal", count(g, x), g.constant(1.0))
    g.output(g.add("If", one, then_branch=bodies[0], else_branch=bodies[1]))
    assert "chooses between branches by the length of the batch" in refused(g.model())
