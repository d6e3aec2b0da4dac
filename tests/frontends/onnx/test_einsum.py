"""Einsum, and operators that move elements, against ONNX Runtime; Softmax and layer norm made of their parts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx_models import Graph, same_as_onnxruntime, samples

from lutc.frontends.onnx import load_onnx


@pytest.mark.parametrize(
    "equation,shape,constant",
    [
        ("bi,io->bo", (4,), (4, 3)),
        ("bi,oi->bo", (4,), (3, 4)),
        ("...i,io", (4,), (4, 5)),
        ("bi->b", (4,), None),
        ("bi,i->bi", (4,), (4,)),
        ("bi,jk->bijk", (4,), (2, 3)),
        ("bii->bi", (3, 3), None),
        ("bqd,hdk->bhqk", (3, 4), (2, 4, 3)),
        ("hdk,bhqd->bhqk", (2, 3, 4), (2, 4, 3)),
        ("bhqd,de->bqhe", (2, 3, 4), (4, 5)),
        ("bhqd->bdq", (2, 3, 4), None),
        ("b...d,dk->b...k", (2, 3, 4), (4, 2)),
        ("bhq,hq->b", (2, 3), (2, 3)),
    ],
)
def test_einsum(equation: str, shape: tuple[int, ...], constant: tuple[int, ...] | None) -> None:
    g = Graph()
    x = g.qdq(g.input(["n", *shape]), 0.25, 3)
    operands = [x]
    if constant:
        w = g.dq(np.random.default_rng(0).integers(-7, 8, constant), 0.375)
        operands = [w, x] if equation.startswith("hdk") else [x, w]
    g.output(g.add("Einsum", *operands, equation=equation))
    same_as_onnxruntime(g.model(), samples(shape, rows=20))


@pytest.mark.parametrize(
    "equation,first,second",
    [
        ("bhqd,bhkd->bhqk", (2, 3, 4), (2, 5, 4)),
        ("bi,bj->bij", (3,), (4,)),
        ("bi,bi->b", (4,), (4,)),
        ("bqd,bkd->bqk", (3, 4), (2, 4)),
        ("b...k,bk->b...", (2, 3, 4), (4,)),
    ],
)
def test_einsum_of_two_tensors(equation: str, first: tuple[int, ...], second: tuple[int, ...]) -> None:
    g = Graph()
    x, y = g.qdq(g.input(["n", *first]), 0.25, 3), g.qdq(g.input(["n", *second], "y"), 0.5)
    g.output(g.add("Einsum", x, y, equation=equation))
    same_as_onnxruntime(g.model(), samples(first, rows=20, seed=1), samples(second, rows=20, seed=2))


def test_einsum_of_three_tensors() -> None:
    g = Graph()
    rng = np.random.default_rng(1)
    x = g.qdq(g.input(["n", 3]), 0.25)
    a, b = (g.dq(rng.integers(-3, 4, s), 0.5) for s in ((3, 4), (4, 2)))
    g.output(g.add("Einsum", x, a, b, equation="bi,ij,jk->bk"))
    same_as_onnxruntime(g.model(), samples((3,), rows=20))


@pytest.mark.parametrize(
    "op,constants,attributes",
    [
        ("Tile", [np.array([1, 2, 1, 3])], {}),
        ("DepthToSpace", [], {"blocksize": 2}),
        ("DepthToSpace", [], {"blocksize": 2, "mode": "CRD"}),
        ("SpaceToDepth", [], {"blocksize": 2}),
        ("GatherND", [np.array([[[1, 0], [3, 1]]])], {"batch_dims": 1}),
        ("Trilu", [np.array(1)], {"upper": 0}),
        ("CumSum", [np.array(2)], {}),
        ("CumSum", [np.array(-1)], {"reverse": 1, "exclusive": 1}),
    ],
)
def test_elements_moved(op: str, constants: list[Any], attributes: dict[str, Any]) -> None:
    g = Graph()
    x = g.qdq(g.input([1, 4, 2, 6]), 0.25, 3)
    x = g.add("Mul", x, g.constant(np.array([0.5, -2.0, 1.0, 3.0]).reshape(4, 1, 1)))
    g.output(g.add(op, x, *map(g.constant, constants), **attributes))
    same_as_onnxruntime(g.model(), samples((4, 2, 6), rows=5))


@pytest.mark.parametrize("op", ["ReduceL1", "ReduceSumSquare"])
def test_reductions_of_squares_and_sizes(op: str) -> None:
    g = Graph()
    x = g.add("Add", g.qdq(g.input(["n", 4]), 0.25), g.constant(0.5))
    g.output(g.add(op, x, g.constant(np.array([1])), keepdims=0))
    same_as_onnxruntime(g.model(), samples((4,)))


# -- what is no operator of its own ---------------------------------------------------------------------------------

ROW = np.array([1])


def softmax(g: Graph, x: str) -> str:
    """As a stable softmax is written out, with a quantiser behind each step that rounds."""
    x = g.qdq(g.add("Sub", x, g.add("ReduceMax", x, g.constant(ROW))), 0.25, 127)
    e = g.qdq(g.add("Exp", x), 1 / 128, 0, "uint8")
    total = g.qdq(g.add("ReduceSum", e, g.constant(ROW)), 1 / 32, 0, "uint8")
    inverse = g.qdq(g.add("Reciprocal", total), 1 / 256, 0, "uint8")
    return g.qdq(g.add("Mul", e, inverse), 1 / 256, 0, "uint8")


def test_softmax_inside_of_a_network() -> None:
    g = Graph()
    y = softmax(g, g.qdq(g.input(["n", 5]), 0.25))
    w = g.dq(np.random.default_rng(0).integers(-7, 8, (5, 3)))
    g.output(g.add("MatMul", y, w))
    same_as_onnxruntime(g.model(), samples((5,), rows=200))
    assert str(load_onnx(g.model())).count("lut ") == 2


def test_layer_normalisation_of_its_parts() -> None:
    g = Graph()
    x = g.qdq(g.input(["n", 8]), 0.25)
    apart = g.add("Sub", x, g.add("ReduceMean", x, g.constant(ROW)))
    variance = g.qdq(g.add("ReduceMean", g.add("Mul", apart, apart), g.constant(ROW)), 0.5, 0, "uint8")
    root = g.add("Sqrt", g.add("Add", variance, g.constant(1 / 64)))
    normal = g.add("Mul", apart, g.qdq(g.add("Reciprocal", root), 1 / 64, 0, "uint8"))
    y = g.add(
        "Add", g.add("Mul", normal, g.constant(np.linspace(0.5, 2, 8))), g.constant(np.linspace(-1, 1, 8))
    )
    g.output(g.qdq(y, 0.0613))
    same_as_onnxruntime(g.model(), samples((8,), rows=200))
    assert str(load_onnx(g.model())).count("lut ") == 1


def test_a_quantised_softmax_at_the_end_is_left_to_the_host() -> None:
    g = Graph()
    x = g.add(
        "MatMul", g.qdq(g.input(["n", 4]), 0.25), g.dq(np.random.default_rng(0).integers(-7, 8, (4, 3)))
    )
    scores = Graph()
    scores.__dict__ |= {k: list(v) if isinstance(v, list) else v for k, v in g.__dict__.items()}
    scores.output(x)
    g.output(g.qdq(g.add("Softmax", x, name="probabilities"), 1 / 256, 0, "uint8"))
    design = load_onnx(g.model())
    assert "probabilities (Softmax), " in design.notes[0] and "left to the host" in design.notes[0]
    data = samples((4,))
    np.testing.assert_array_equal(design.run(data), load_onnx(scores.model()).run(data))
