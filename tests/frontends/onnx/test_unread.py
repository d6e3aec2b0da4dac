"""What a rule does not read is refused: attributes, inputs, results, operator sets, and types whose numbers wrap."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_models import QONNX, Graph, ours, refused, same_as_onnxruntime, samples

from lutc.frontends.onnx import load_onnx

MS = "com.microsoft"
CASES: dict[str, tuple[Callable[[Graph, str], Any], str, int]] = {}


def case(message: str, opset: int = 21) -> Callable[[Callable[[Graph, str], Any]], None]:
    """A graph behind data `[1, 4]` on quarters, and what is said of it."""

    def note(make: Callable[[Graph, str], Any]) -> None:
        CASES[make.__name__.strip("_")] = (make, message, opset)

    return note


def q8(g: Graph, x: str, kind: str = "int8") -> str:
    return str(g.add("QuantizeLinear", x, g.constant(0.25), g.constant(0, kind)))


def back(g: Graph, x: str) -> str:
    return str(g.add("Cast", x, to=TensorProto.FLOAT))


@case("has the attribute 'alpha', which is not supported: operator set 21 has none of that name")
def _attribute_of_another_operator(g: Graph, x: str) -> Any:
    return g.add("Relu", x, alpha=0.5)


@case("has the attribute 'max', which is not supported: operator set 21 has none of that name")
def _attribute_of_an_older_operator_set(g: Graph, x: str) -> Any:
    return g.add("Clip", x, max=1.0)


@case("has the attribute 'axes', which is not supported: operator set 21 has none of that name")
def _axes_as_an_attribute_where_they_are_an_input(g: Graph, x: str) -> Any:
    return g.add("ReduceMax", x, axes=[1])


@case("has an attribute 'keepdims' of type FLOAT, and it is of type INT")
def _attribute_of_another_type(g: Graph, x: str) -> Any:
    return g.add("ReduceMax", x, keepdims=0.0)


@case("sets the attribute exclude_outside=1, which lutc does not read here")
def _attribute_of_another_mode(g: Graph, x: str) -> Any:
    return g.add("Resize", x, "", g.constant(np.array([1, 2], np.float32)), exclude_outside=1)


@case("has the attribute 'beta', which is not supported")
def _attribute_of_no_operator_of_onnxruntime(g: Graph, x: str) -> Any:
    a = [q8(g, x, "uint8"), g.constant(0.25), g.constant(0, "uint8")]
    b = [g.constant(np.ones((4, 2)), "uint8"), g.constant(0.5), g.constant(0, "uint8")]
    return g.add("QGemm", *a, *b, domain=MS, beta=2.0)


@case("has the attribute 'bits', which is not supported")
def _attribute_of_no_quantiser(g: Graph, x: str) -> Any:
    return g.quant(x, bits=4.0) and g.add(
        "Quant", x, *(g.constant(v) for v in (0.5, 0.0, 4.0)), domain=QONNX, bits=3
    )


@case("has an input 3, which lutc does not read here")
def _input_beyond(g: Graph, x: str) -> Any:
    return g.add("MatMul", x, g.dq(np.ones((4, 3), int)), g.constant(np.ones(3)))


@case("has an input 2, which lutc does not read here")
def _input_of_an_operator_with_one(g: Graph, x: str) -> Any:
    return g.add("Relu", x, g.constant(np.ones(4)))


@case("is in training mode", opset=13)
def _five_results_are_training(g: Graph, x: str) -> Any:
    return g.add("BatchNormalization", x, *(g.constant(np.ones(4)) for _ in range(4)), outputs=5)[0]


@case("divides by its scale in float16, which rounds", opset=23)
def _precision(g: Graph, x: str) -> Any:
    q = g.add("QuantizeLinear", x, g.constant(0.3), g.constant(0, "int8"), precision=TensorProto.FLOAT16)
    return back(g, q)


@case("computes in float16, which rounds at every step", opset=23)
def _result_in_float16(g: Graph, x: str) -> Any:
    d = g.add("DequantizeLinear", q8(g, x), g.constant(0.1), output_dtype=TensorProto.FLOAT16)
    return back(g, d)


@case("computes with uint8 numbers, which wrap around in the model")
def _difference_of_unsigned_numbers(g: Graph, x: str) -> Any:
    q = q8(g, x, "uint8")
    return back(g, g.add("Sub", q, g.constant(3, "uint8")))


@case("computes with int8 numbers, which wrap around in the model")
def _size_of_the_least_number(g: Graph, x: str) -> Any:
    return back(g, g.add("Abs", q8(g, x)))


@case("computes with int8 numbers, which wrap around in the model")
def _least_number_negated(g: Graph, x: str) -> Any:
    return back(g, g.add("Neg", q8(g, x)))


@case("computes with int32 numbers, which wrap around in the model")
def _int32_that_wraps(g: Graph, x: str) -> Any:
    wide = g.add("Cast", q8(g, x), to=TensorProto.INT32)
    return back(g, g.add("Mul", wide, g.constant(np.array(1 << 26, np.int32))))


@case("makes int32 numbers of others that are not whole, which the model rounds")
def _mean_of_integers(g: Graph, x: str) -> Any:
    wide = g.add("Cast", q8(g, x), to=TensorProto.INT32)
    return back(g, g.add("ReduceMean", wide, g.constant(np.array([1]))))


@case("divides integers, which rounds in the model")
def _quotient_of_products_of_integers(g: Graph, x: str) -> Any:
    wide = g.add("Cast", q8(g, x), to=TensorProto.INT32)
    square = g.add("Mul", wide, wide)
    return back(g, g.add("Div", square, g.constant(np.array(4, np.int32))))


@pytest.mark.parametrize("name", sorted(CASES))
def test_refusal(name: str) -> None:
    make, message, opset = CASES[name]
    g = Graph(opset, qonnx=True)
    x = g.qdq(g.input([1, 4]))
    g.output(make(g, x))
    model = g.model()
    model.opset_import.append(helper.make_opsetid(MS, 1))
    assert message in refused(model)


@pytest.mark.parametrize(
    "domain,version", [(MS, 2), ("lutc", 2), (QONNX, 9), ("qonnx.custom_op.channels_last", 9)]
)
def test_operator_sets_of_other_domains(domain: str, version: int) -> None:
    g = Graph()
    g.output(g.add("Quantize", g.qdq(g.input([1, 4])), domain=domain))
    model = g.model()
    model.opset_import.append(helper.make_opsetid(domain, version))
    assert f"follows operator set {version} of the domain {domain!r}" in refused(model)


@pytest.mark.parametrize("dtype", [TensorProto.FLOAT16, TensorProto.BFLOAT16])
def test_floats_of_16_bits_round(dtype: int) -> None:
    g = Graph()
    x = g.input([1, 4], kind=dtype)
    y = g.add("Mul", x, x)
    g.output(back(g, y))
    assert "rounds at every step" in refused(g.model(), input_types="s12f4")
    assert load_onnx(g.model(), input_types="s4f2")  # whose squares have few digits


def test_doubles_are_no_float32() -> None:
    g = Graph()
    d = g.add("Cast", g.qdq(g.input([1, 4]), 0.25), to=TensorProto.DOUBLE)
    t = g.add("Tanh", d)
    q = g.add(
        "QuantizeLinear", g.add("Cast", t, to=TensorProto.FLOAT), g.constant(1 / 64), g.constant(0, "int8")
    )
    g.output(g.add("DequantizeLinear", q, g.constant(1 / 64), g.constant(0, "int8")))
    same_as_onnxruntime(g.model(), samples((4,)))


@pytest.mark.parametrize("alpha", [0.5, 2.0])
@pytest.mark.parametrize("closed", [True, False])
def test_qgemm_reads_alpha_and_scales_its_bias(alpha: float, closed: bool) -> None:
    g = Graph(17)
    x = g.add("QuantizeLinear", g.input([1, 4]), g.constant(0.25), g.constant(3, "uint8"))
    w = np.arange(12).reshape(4, 3)
    a = [x, g.constant(0.25), g.constant(3, "uint8")]
    b = [g.constant(w, "uint8"), g.constant(0.5), g.constant(5, "uint8"), g.constant([7, -30, 2], "int32")]
    end = [g.constant(0.5), g.constant(2, "uint8")] if closed else []
    g.output(
        g.add("QGemm", *a, *b, *end, domain=MS, alpha=alpha),
        TensorProto.UINT8 if closed else TensorProto.FLOAT,
    )
    model = g.model()
    model.opset_import.append(helper.make_opsetid(MS, 1))
    same_as_onnxruntime(model, samples((4,)))


@pytest.mark.parametrize("op", ["QLinearAveragePool", "QLinearGlobalAveragePool"])
def test_pools_with_channels_last(op: str) -> None:
    g = Graph(17)
    x = g.add("QuantizeLinear", g.input([1, 4, 4, 3]), g.constant(0.25), g.constant(3, "uint8"))
    ends = [g.constant(0.25), g.constant(3, "uint8"), g.constant(0.5), g.constant(2, "uint8")]
    window: dict[str, Any] = {"kernel_shape": [2, 2], "strides": [2, 2]} if op == "QLinearAveragePool" else {}
    g.output(g.add(op, x, *ends, domain=MS, channels_last=1, **window), TensorProto.UINT8)
    model = g.model()
    model.opset_import.append(helper.make_opsetid(MS, 1))
    same_as_onnxruntime(model, samples((4, 4, 3)))


@pytest.mark.parametrize("scale", [0.6, 0.5, 0.75, 2.0, 1.5])
def test_resize_of_operator_set_10(scale: float) -> None:
    """Where elements go it rounds up, as its examples and ONNX Runtime do."""
    g = Graph(10)
    x = g.input([1, 1, 10])
    g.output(g.add("Resize", x, g.constant(np.array([1, 1, scale], np.float32)), mode="nearest"))
    mine = ours(g.model(), samples((1, 10)), input_types="s8f3")
    at = np.arange(int(np.float32(10 * scale))) / np.float32(scale)
    want = np.minimum((np.ceil(at) if scale < 1 else np.floor(at)).astype(int), 9)
    np.testing.assert_array_equal(mine, np.clip(samples((1, 10)), -16, 15.875)[..., want].astype(np.float32))


def test_scales_that_float32_rounds_are_refused() -> None:
    g = Graph()
    x = g.input([1, 1, 6])
    scales = g.constant(np.array([1, 1, 0.6], np.float32))
    g.output(g.add("Resize", x, "", scales, nearest_mode="floor"))
    text = refused(g.model(), input_types="s8f2")
    assert "as its scale 0.6 is rounded" in text


def test_scores_normalised_apart_have_another_order() -> None:
    def model(axis: int, over: int, opset: int = 21, turn: bool = False) -> Any:
        g = Graph(opset)
        scores = g.add("Softmax", g.qdq(g.input([1, 3, 4])), axis=axis)
        scores = g.add("Transpose", scores, perm=[0, 2, 1]) if turn else scores
        g.output(g.add("ArgMax", scores, axis=over), TensorProto.INT64)
        return g.model()

    x = samples((3, 4), reach=3.0)
    for axis, over, opset, turn in (
        (2, 2, 21, False),
        (-1, 1, 21, True),
        (1, 1, 21, False),
        (1, 2, 12, False),
    ):
        same_as_onnxruntime(model(axis, over, opset, turn), x)
    for axis, over, opset, turn in (
        (2, 1, 21, False),
        (-1, 2, 21, True),
        (1, 2, 21, False),
        (2, 1, 12, False),
    ):
        assert "so that their order changes" in refused(model(axis, over, opset, turn))


def test_overloads_that_no_function_has() -> None:
    g = Graph()
    g.output(g.add("Relu", g.qdq(g.input([1, 4]))))
    g.nodes[-1].overload = "fast"
    assert "asks for the overload 'fast'" in refused(g.model())


def test_inputs_with_defaults_are_noted() -> None:
    g = Graph()
    c = g.constant(np.ones(4))
    g.output(g.add("Add", g.qdq(g.input([1, 4])), c))
    g.inputs.append(helper.make_tensor_value_info(c, TensorProto.FLOAT, [4]))
    assert any("have a default" in n for n in load_onnx(g.model()).notes)


def test_operators_that_exist_are_no_slips_of_the_pen() -> None:
    g = Graph()
    g.output(g.add("GridSample", g.qdq(g.input([1, 1, 2, 2])), g.constant(np.zeros((1, 2, 2, 2)))))
    text = refused(g.model())
    assert "did you mean" not in text and "let the host compute it" in text


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_weights_of_16_bits_are_the_numbers_they_are(dtype: str) -> None:
    kind = helper.tensor_dtype_to_np_dtype(getattr(TensorProto, dtype.upper()))
    g = Graph()
    x = g.input([1, 2], kind=getattr(TensorProto, dtype.upper()))
    w = numpy_helper.from_array(np.array([[0.5, 1.5], [-0.25, 2]], np.float32).astype(kind), "w")
    g.constants.append(w)
    g.output(back(g, g.add("Add", g.add("MatMul", x, "w"), g.add("Cast", g.constant(0.5), to=w.data_type))))
    answer = ours(g.model(), np.array([[1.0, -2.0], [0.5, 1.5]]), input_types="s3f1")
    np.testing.assert_array_equal(answer.ravel(), [1.5, -2.0, 0.375, 4.25])


@pytest.mark.parametrize("kind", [TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT8E5M2])
def test_weights_of_8_bits_with_exponents(kind: int) -> None:
    g = Graph()
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    g.constants.append(numpy_helper.from_array(np.array([[0.5], [1.5]], np.float32).astype(dtype), "w"))
    w = g.add("DequantizeLinear", "w", g.constant(0.25))
    g.output(g.add("MatMul", g.qdq(g.input([1, 2])), w))
    assert "whose steps differ from number to number" in refused(g.model())


@pytest.mark.parametrize("op", ["QLinearConcat", "QLinearAdd", "QLinearWhere"])
def test_integers_that_mix_samples(op: str) -> None:
    g = Graph(17)
    ends = [g.constant(0.25), g.constant(3, "uint8")]
    x = [g.add("QuantizeLinear", g.input(["n", 3]), *ends), *ends]
    wide = [g.constant(np.ones((2, 3)), "uint8"), *ends]
    inputs = {
        "QLinearConcat": [*ends, *x, *x],
        "QLinearAdd": [*x, *wide, *ends],
        "QLinearWhere": [g.constant(np.ones((2, 1), bool)), *x, *x, *ends],
    }[op]
    given: dict[str, Any] = {"axis": 0} if op == "QLinearConcat" else {}
    g.output(g.add(op, *inputs, domain=MS, **given))
    model = g.model()
    model.opset_import.append(helper.make_opsetid(MS, 1))
    assert "batch" in refused(model)
