"""Products, layout and ports, against ONNX Runtime; and what of the structure is kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto
from onnx_models import Graph, ours, same_as_onnxruntime, samples

from lutc.frontends.onnx import load_onnx
from lutc.ir.graph import functions
from lutc.text.parse import parse

RNG = np.random.default_rng(11)
W = RNG.integers(-7, 8, (4, 3))


@pytest.fixture(autouse=True)
def _same_numbers_whichever_tests_run() -> None:
    RNG.bit_generator.state = np.random.default_rng(12).bit_generator.state


def data(g: Graph, shape: tuple[int, ...] = (4,), name: str = "x", scale: float = 0.25, zero: int = 0) -> str:
    return str(g.qdq(g.input(["n", *shape], name), scale, zero, "int8"))


@pytest.mark.parametrize("attributes", [{}, {"alpha": 0.5, "beta": -2.0}, {"transB": 1}])
def test_gemm(attributes: dict[str, Any]) -> None:
    g = Graph()
    w = g.dq(W.T if attributes.get("transB") else W, 0.5)
    g.output(g.qdq(g.add("Gemm", data(g), w, g.constant([0.25, 1.0, -3.0]), **attributes), 1.0))
    same_as_onnxruntime(g.model(), samples((4,)))


@pytest.mark.parametrize("zero", [0, 5])
def test_matmul_with_an_asymmetric_input(zero: int) -> None:
    g = Graph()
    g.output(g.add("MatMul", data(g, zero=zero), g.dq(W, 0.5, 2, "int8")))
    same_as_onnxruntime(g.model(), samples((4,)))


@pytest.mark.parametrize(
    "shape,weights", [((5, 4), (4, 3)), ((2, 5, 4), (4, 3)), ((5, 4), (1, 4, 3)), ((5, 4), (4,))]
)
def test_matmul_of_more_dimensions(shape: tuple[int, ...], weights: tuple[int, ...]) -> None:
    g = Graph()
    w = g.dq(RNG.integers(-7, 8, weights), 0.5)
    g.output(g.qdq(g.add("MatMul", data(g, shape), w), 0.5))
    same_as_onnxruntime(g.model(), samples(shape, rows=20))


@pytest.mark.parametrize("shape", [(4, 5), (2, 4, 5)])
def test_matmul_from_the_left(shape: tuple[int, ...]) -> None:
    g = Graph()
    w = g.dq(RNG.integers(-7, 8, (3, 4)), 0.5)
    g.output(g.qdq(g.add("MatMul", w, data(g, shape)), 0.5))
    same_as_onnxruntime(g.model(), samples(shape, rows=20))


@pytest.mark.parametrize(
    "shapes", [((3, 4), (4, 2)), ((2, 3, 4), (2, 4, 2)), ((2, 3, 4), (1, 4, 2)), ((1, 4), (4, 1))]
)
def test_matmul_of_two_tensors(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    g = Graph()
    a, b = data(g, shapes[0]), data(g, shapes[1], "y", 0.5, 3)
    g.output(g.qdq(g.add("MatMul", a, b), 4.0))
    same_as_onnxruntime(g.model(), samples(shapes[0], rows=20, seed=1), samples(shapes[1], rows=20, seed=2))


def test_inputs_scaled_apart_are_folded_into_the_matrix() -> None:
    g = Graph()
    x = g.add("Mul", data(g), g.constant([0.5, 2.0, 0.25, 3.0]))
    g.output(g.add("MatMul", x, g.dq(W, 0.5)))
    same_as_onnxruntime(g.model(), samples((4,)))


def test_a_relu_before_a_product_without_a_quantiser_between() -> None:
    g = Graph()
    x = g.add("Relu", g.add("Add", data(g), g.constant([0.5, -1.0, 0.125, 2.0])))
    g.output(g.add("MatMul", x, g.dq(W, 0.5)))
    same_as_onnxruntime(g.model(), samples((4,)))


def test_folded_weights_are_recognised() -> None:
    """Weights whose quantisers somebody folded: floats that are multiples of one number."""
    codes = RNG.integers(-7, 8, (4, 3))
    codes[0, 0] = 1
    g = Graph()
    g.output(
        g.qdq(g.add("MatMul", data(g), g.constant(codes.astype(np.float32) * np.float32(0.3137))), 0.7173)
    )
    same_as_onnxruntime(g.model(), samples((4,), rows=200))
    assert "s4[4, 3]" in str(load_onnx(g.model()))


def test_a_layer_applied_to_every_particle_is_one_function() -> None:
    g = Graph()
    x = data(g, (6, 4))
    for scale in (0.2971, 0.4173):
        w = g.dq(RNG.integers(-7, 8, (4, 4)), 0.5)
        x = g.qdq(g.add("Relu", g.add("MatMul", x, w)), scale, 0, "uint8")
    g.output(g.qdq(g.add("ReduceSum", x, g.constant(np.array([1])), keepdims=0), 3.137, 0, "uint8"))
    design = load_onnx(g.model())
    text = str(design)
    assert len(functions(design)) == 2 and text.count(" map ") == 2
    for func in functions(design):  # the activation went into the function
        assert type(func.result).__name__ in ("Rescale", "Quant")
    same_as_onnxruntime(g.model(), samples((6, 4), rows=30))


# -- layout ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "op,constants,attributes",
    [
        ("Reshape", [[0, 6, 4]], {}),
        ("Reshape", [[-1, 24]], {}),
        ("Reshape", [[0, -1, 2]], {}),
        ("Flatten", [], {}),
        ("Flatten", [], {"axis": 2}),
        ("Flatten", [], {"axis": -1}),
        ("Transpose", [], {"perm": [0, 2, 3, 1]}),
        ("Transpose", [], {"perm": [3, 0, 2, 1]}),
        ("Transpose", [], {}),
        ("Unsqueeze", [[1, -1]], {}),
        ("Slice", [[1, 0], [3, 2], [2, 3]], {}),
        ("Slice", [[-1], [-100], [2], [-1]], {}),
        ("Slice", [[0], [100], [-1], [3]], {}),
        ("Gather", [[2, 0, -1]], {"axis": 2}),
        ("Gather", [1], {"axis": 3}),
        ("Expand", [[2, 1, 1, 1]], {}),
        ("ReduceSum", [[1, 2]], {"keepdims": 0}),
        ("ReduceSum", [[-1]], {"keepdims": 1}),
        ("ReduceSum", [], {}),
    ],
)
@pytest.mark.parametrize("at_port", [False, True])
def test_moves(op: str, constants: list[Any], attributes: dict[str, Any], at_port: bool) -> None:
    """Also of an input that gets its format only after it was moved."""
    g = Graph()
    shape = (2, 3, 4)
    batch = (
        1 if attributes.get("perm", [0])[0] or op in ("Expand", "Flatten", "ReduceSum", "Transpose") else "n"
    )
    x = g.input([batch, *shape])
    given = [g.constant(np.array(c, np.int64)) for c in constants]
    if at_port and not op.startswith("Reduce"):
        y = g.qdq(g.add(op, x, *given, **attributes))
    else:
        y = g.add(op, g.qdq(x), *given, **attributes)
    g.output(y)
    same_as_onnxruntime(g.model(), samples(shape, rows=10))


def test_squeeze_in_both_forms() -> None:
    for opset in (11, 21):
        g = Graph(opset)
        x = data(g, (1, 4, 1))
        axes = [] if opset == 11 else [g.constant(np.array([1, 3]))]
        given: dict[str, Any] = {"axes": [1, 3]} if opset == 11 else {}
        g.output(g.add("Squeeze", x, *axes, **given))
        same_as_onnxruntime(g.model(), samples((1, 4, 1)))


@pytest.mark.parametrize("axis", [1, 2, -1])
def test_concat_keeps_scales_apart(axis: int) -> None:
    g = Graph()
    a, b = data(g, (3, 3)), data(g, (3, 3), "y", 0.5, 3)
    c = g.constant(np.full((1, 3, 3), 1.5, np.float32))
    g.output(g.qdq(g.add("Concat", a, g.add("Relu", b), c, axis=axis), 0.25, 1))
    same_as_onnxruntime(g.model(), samples((3, 3), rows=20, seed=1), samples((3, 3), rows=20, seed=2))


@pytest.mark.parametrize("opset", [11, 21])
def test_split(opset: int) -> None:
    g = Graph(opset)
    x = data(g, (6,)) if opset > 12 else g.input(["n", 6])
    sizes = [] if opset == 11 else [g.constant(np.array([2, 4]))]
    given: dict[str, Any] = {"split": [2, 4]} if opset == 11 else {}
    a, b = g.add("Split", x, *sizes, outputs=2, axis=1, **given)
    total = g.add("Concat", b, a, axis=1)
    g.output(total)
    same_as_onnxruntime(g.model(), np.round(samples((6,))), input_types="s16") if opset == 11 else (
        same_as_onnxruntime(g.model(), samples((6,)))
    )


def test_chains_that_compute_a_shape_are_folded() -> None:
    """How PyTorch exports `x.view(x.shape[0], -1)`."""
    g = Graph()
    x = data(g, (2, 3))
    length = g.add("Gather", g.add("Shape", x), g.constant(np.array(0)), axis=0)
    length = g.add("Unsqueeze", length, g.constant(np.array([0])))
    target = g.add("Concat", length, g.constant(np.array([-1])), axis=0)
    g.output(g.add("Reshape", x, target))
    same_as_onnxruntime(g.model(), samples((2, 3)))
    assert str(load_onnx(g.model()).outputs[0].value.type) == "s8f2[6]"


def test_quantised_constants_keep_their_codes_when_moved() -> None:
    g = Graph()
    w = g.dq(RNG.integers(-127, 128, (3, 2, 2)), RNG.uniform(0.01, 0.1, 3), None, axis=0)
    w = g.add("Transpose", g.add("Reshape", w, g.constant(np.array([3, 4]))), perm=[1, 0])
    g.output(g.qdq(g.add("MatMul", data(g), w), 0.317))
    same_as_onnxruntime(g.model(), samples((4,), rows=200))
    assert "s8[4, 3]" in str(load_onnx(g.model()))


# -- the end of a classifier, and ports -----------------------------------------------------------------------------


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
def test_a_last_softmax_is_left_to_the_host(op: str) -> None:
    g = Graph()
    y = g.add("MatMul", data(g), g.dq(W, 0.5))
    g.output(g.add("Flatten", g.add(op, y, axis=-1, name="probabilities")))
    design = load_onnx(g.model())
    assert design.notes == (
        f"probabilities ({op}) is left to the host: outputs are the scores before it, whose argmax is the same",
    )
    x = samples((4,))
    scores = Graph()
    scores.output(scores.add("MatMul", data(scores), scores.dq(W, 0.5)))
    np.testing.assert_array_equal(design.run(x), ours(scores.model(), x))


@pytest.mark.parametrize(
    "attributes", [{"axis": 1}, {"axis": -1, "keepdims": 0}, {"axis": 1, "select_last_index": 1}]
)
@pytest.mark.parametrize("op", ["ArgMax", "ArgMin"])
def test_argmax(op: str, attributes: dict[str, Any]) -> None:
    g = Graph()
    scores = g.add("Softmax", data(g)) if op == "ArgMax" else g.add("Relu", data(g))
    if op == "ArgMax" and "select_last_index" not in attributes:
        scores = g.add("MatMul", data(g, name="y", scale=1.0), g.dq(W, 0.5, axis=1))
        g.inputs.pop(0)
        g.nodes = g.nodes[3:]
    g.output(g.add(op, scores, **attributes), TensorProto.INT64)
    x = samples((4,), step=1.0, reach=3)
    same_as_onnxruntime(g.model(), x)


def test_argmax_along_another_axis() -> None:
    g = Graph()
    g.output(
        g.add("ArgMax", g.add("Mul", data(g, (3, 4)), g.constant([1.0, -0.5, 2.0, 0.0])), axis=1),
        TensorProto.INT64,
    )
    same_as_onnxruntime(g.model(), samples((3, 4), step=1.0, reach=3))


def test_ports_carry_the_numbers_or_say_their_scale() -> None:
    g = Graph()
    x = data(g)
    g.output(g.add("MatMul", x, g.dq(W, 0.5)))
    g.output(g.add("MatMul", x, g.dq(W, 0.3)))
    g.output(g.add("MatMul", x, g.dq(W, [0.3, 0.7, 0.11], None, axis=1)))
    design = load_onnx(g.model())
    plain, scaled, apart = design.outputs
    assert plain.scale == (1,) and plain.value.type.format is None
    assert len(scaled.scale) == 1 and float(scaled.scale[0]) == pytest.approx(0.3)
    assert [float(s) for s in apart.scale] == pytest.approx([0.3, 0.7, 0.11])
    assert design.notes == (
        f"output {apart.name} has a scale and offset for each index of its last dimension: apply them first",
    )


def test_offsets_that_differ_are_added_so_that_scores_compare() -> None:
    g = Graph()
    g.output(g.add("Add", g.add("MatMul", data(g), g.dq(W, 0.5)), g.constant([0.3, 7.1, -2.2])))
    design = load_onnx(g.model())
    assert design.outputs[0].offset == (0,) and design.outputs[0].scale == (1,)
    x = samples((4,))
    want = np.clip(np.rint(x / 0.25), -128, 127) * 0.25 @ (W * 0.5) + np.array(
        [0.3, 7.1, -2.2], np.float32
    ).astype(float)
    np.testing.assert_array_equal(design.run(x).astype(float), want)


def test_input_types_by_name_or_for_all() -> None:
    g = Graph()
    g.output(g.add("Add", g.input(["n", 2], "a"), g.input(["n", 2], "b/c")))
    design = load_onnx(g.model(), input_types={"a": "s8f4", "": "u4"})
    assert [(p.name, str(p.type)) for p in design.params] == [("a", "s8f4[2]"), ("b_c", "u4[2]")]
    answer = design.run(np.array([[0.5, -3.0]]), np.array([[1.0, 20.0]]))
    np.testing.assert_array_equal(answer, [[1.5, 12.0]])


def test_the_text_reads_back_to_the_same_design() -> None:
    g = Graph()
    x = data(g, (6, 4))
    x = g.qdq(g.add("Relu", g.add("MatMul", x, g.dq(RNG.integers(-7, 8, (4, 4)), 0.5))), 0.2971, 0, "uint8")
    g.output(g.add("Concat", x, x, axis=2))
    design = load_onnx(g.model())
    again = parse(str(design), "again")
    assert str(again) == str(design)
    numbers = samples((6, 4), rows=20)
    np.testing.assert_array_equal(again.run(numbers), design.run(numbers))


def test_a_fixed_first_dimension_is_data() -> None:
    g = Graph()
    x = g.qdq(g.input([3, 4]))
    g.output(g.add("MatMul", x, g.dq(W, 0.5)))
    design = load_onnx(g.model())
    assert str(design.params[0].type) == "s8f2[3, 4]" and "export with a batch of 1" in design.notes[0]
