"""What cannot be compiled exactly is refused, all of it in one run, each with its place, its reason and a way out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_models import QONNX, Graph

from lutc.diagnostics import LirError
from lutc.frontends.onnx import load_onnx

W = np.random.default_rng(0).normal(size=(4, 3))


def refused(source: Any, **options: Any) -> str:
    with pytest.raises(LirError) as caught:
        load_onnx(source, **options)
    return str(caught.value)


CASES: dict[str, tuple[Callable[[Graph, str], Any], str]] = {}


def case(message: str, quantise: bool = True) -> Callable[[Callable[[Graph, str], Any]], None]:
    """A graph behind quantised data (or behind the bare input `x`), and the message that is expected."""

    def note(make: Callable[[Graph, str], Any]) -> None:
        name = make.__name__.strip("_")
        CASES[name] = (lambda g, x: make(g, g.qdq(x) if quantise else x)), message

    return note


@case(
    "reads input 'x', which has no format: nothing quantises it before this layer\n"
    "  = help: quantise it in the model, or give it a format: --input-type x=s16f10",
    quantise=False,
)
def _input_never_quantised(g: Graph, x: str) -> Any:
    return g.add("MatMul", x, g.dq(np.ones((4, 3), int)), name="fc")


@case("fc (MatMul): error: has weights that are not quantised: as they stand they take ")
def _float_weights(g: Graph, x: str) -> Any:
    return g.add("MatMul", x, g.constant(W), name="fc")


@case("norm (LayerNormalization): error: is no operator that can be compiled")
def _unknown_operator(g: Graph, x: str) -> Any:
    return g.add("LayerNormalization", x, g.constant(np.ones(4)), name="norm")


@case("odd (Frobnicate): error: belongs to the operator domain 'com.example', which is not known here")
def _unknown_domain(g: Graph, x: str) -> Any:
    return g.add("Frobnicate", x, domain="com.example", name="odd")


@case("quantises to 3.5 bits, and a format has a whole number of them from 1 to 64")
def _fractional_bits(g: Graph, x: str) -> Any:
    return g.quant(x, bits=3.5)


@case(
    "has rounding_mode 'STOCHASTIC'\n  = help: one of: ROUND, HALF_EVEN, CEIL, FLOOR, UP, DOWN, HALF_UP, HALF_DOWN"
)
def _rounding_mode(g: Graph, x: str) -> Any:
    return g.quant(x, rounding_mode="STOCHASTIC")


@case("has a scale of 0")
def _scale_of_zero(g: Graph, x: str) -> Any:
    return g.quant(x, scale=0.0)


@case("needs constant parameters, but one is computed from the inputs")
def _dynamic_scale(g: Graph, x: str) -> Any:
    scale = g.add("ReduceMax", x, keepdims=0)
    return g.add("Quant", x, scale, g.constant(0.0), g.constant(8.0), domain=QONNX)


@case("probabilities (Softmax): error: stands inside of the network: gate (Mul) reads it")
def _softmax_inside(g: Graph, x: str) -> Any:
    return g.add("Mul", g.add("Softmax", x, name="probabilities"), x, name="gate")


@case(
    "reads what Sigmoid computes, which is no number of a fixed format\n"
    "  = help: quantise behind Sigmoid, so that it becomes a table"
)
def _function_without_quantiser(g: Graph, x: str) -> Any:
    return g.add("MatMul", g.add("Sigmoid", x), g.dq(np.ones((4, 3), int)), name="fc")


@case("is what Tanh computes, which is no number of a fixed format")
def _function_at_the_end(g: Graph, x: str) -> Any:
    return g.add("Tanh", x)


@case("computes Tanh of numbers with 16 bits: a table for them would be too large")
def _function_of_wide_numbers(g: Graph, x: str) -> Any:
    return g.qdq(g.add("Tanh", g.qdq(g.add("Add", x, x), 0.001, 0, "int16")))


@case("joins Tanh with another tensor before a quantiser")
def _function_joined(g: Graph, x: str) -> Any:
    return g.qdq(g.add("Add", g.add("Tanh", x), g.qdq(x, 0.5)))


@case(
    "quantises input 'x' with a scale or an offset for each channel, and a port has only one\n"
    "  = help: give the input a format of its own: --input-type x=s16f10",
    quantise=False,
)
def _input_quantised_by_channel(g: Graph, x: str) -> Any:
    return g.qdq(x, [0.5, 0.25, 1.0, 2.0], [0, 0, 0, 0], axis=1)


@case("quantises input 'x' in another way than an earlier layer does", quantise=False)
def _input_quantised_twice(g: Graph, x: str) -> Any:
    return g.add("Add", g.qdq(x, 0.5), g.qdq(x, 0.25))


@case("works across the batch: dimension 0 counts samples, and a circuit sees one at a time")
def _sum_over_the_batch(g: Graph, x: str) -> Any:
    return g.add("ReduceSum", x, g.constant(np.array([0])))


@case("mixes the batch with other dimensions: dimension 0 counts samples")
def _batch_reshaped_away(g: Graph, x: str) -> Any:
    return g.add("Reshape", x, g.constant(np.array([-1])))


@case("computes with int8 numbers, which wrap around in the model")
def _integer_arithmetic(g: Graph, x: str) -> Any:
    q = g.add("QuantizeLinear", x, g.constant(0.5), g.constant(0, "int8"))
    return g.add("Cast", g.add("Add", q, q), to=TensorProto.FLOAT)


@case("casts data to type 3, which rounds or wraps in a way no quantiser states")
def _cast_to_integers(g: Graph, x: str) -> Any:
    return g.add("Cast", g.add("Cast", x, to=TensorProto.INT8), to=TensorProto.FLOAT)


@case("is in training mode")
def _training_mode(g: Graph, x: str) -> Any:
    ones = [g.constant(np.ones(4)) for _ in range(4)]
    return g.add("BatchNormalization", x, *ones, training_mode=1, outputs=3)[0]


@case("has a scale for each block of a channel, which no integer product can take out")
def _blocked_scales(g: Graph, x: str) -> Any:
    w = g.add(
        "DequantizeLinear",
        g.constant(np.ones((4, 3), int), "int4"),
        g.constant(np.ones((2, 3))),
        axis=0,
        block_size=2,
    )
    return g.add("MatMul", x, w)


@case("divides by zero")
def _division_by_zero(g: Graph, x: str) -> Any:
    return g.add("Div", x, g.constant([1.0, 0.0, 1.0, 1.0]))


@case("interpolates (mode='linear')")
def _interpolation(g: Graph, x: str) -> Any:
    return g.add("Resize", x, "", g.constant(np.array([1.0, 1.5], np.float32)), mode="linear")


@case("has a constant that is not finite")
def _infinite_constant(g: Graph, x: str) -> Any:
    return g.add("Add", x, g.constant([np.inf, 0, 0, 0]))


@case("multiplies [1, 4] by [3, 4]")
def _shapes_that_do_not_fit(g: Graph, x: str) -> Any:
    return g.add("MatMul", x, g.dq(np.ones((3, 4), int)))


@case("has the attribute 'fancy', which is not supported")
def _unknown_attribute(g: Graph, x: str) -> Any:
    return g.add("Relu", x, fancy=1)


@case("joins numbers whose scales have no unit in common: factors of ")
def _scales_far_apart(g: Graph, x: str) -> Any:
    return g.add("Add", g.add("Mul", x, g.constant(np.float32(1e-30))), x)


@pytest.mark.parametrize("name", sorted(CASES))
def test_refusal(name: str) -> None:
    make, message = CASES[name]
    g = Graph(qonnx=True)
    g.output(make(g, g.input(["n", 4])))
    text = refused(g.model())
    assert message in text
    assert "help: " in text


def test_all_refusals_come_at_once() -> None:
    """Behind a refused layer the walk goes on with what its result would look like."""
    g = Graph(qonnx=True)
    x = g.quant(g.add("MatMul", g.quant(g.input(["n", 4])), g.constant(W), name="first"), bits=4.0)
    x = g.quant(g.add("Frobnicate", x, domain="com.example", name="second"), bits=3.5)
    x = g.add("MatMul", g.quant(g.add("Relu", x)), g.constant(W.T), name="third")
    g.output(g.add("Sigmoid", x, name="last"))
    model = g.model()
    # Only the file itself can say what an unknown operator makes.
    second = next(n for n in g.nodes if n.name == "second")
    model.graph.value_info.append(helper.make_tensor_value_info(second.output[0], TensorProto.FLOAT, [1, 3]))
    with pytest.raises(LirError) as caught:
        load_onnx(model)
    places = [d.where for d in caught.value.diagnostics]
    assert [p.split()[0] for p in places if p] == [
        "first",
        "second",
        "quant18",
        "third",
        f"{g.outputs[0].name}",
    ]


def test_layers_behind_a_float_layer_are_looked_at() -> None:
    g = Graph(qonnx=True)
    x = g.quant(g.input(["n", 4]))
    for i, w in enumerate((W, W.T, W)):
        x = g.quant(g.add("Relu", g.add("MatMul", x, g.constant(w), name=f"fc{i}")), bits=4.0)
    g.output(x)
    with pytest.raises(LirError) as caught:
        load_onnx(g.model())
    assert [d.where for d in caught.value.diagnostics] == ["fc0 (MatMul)", "fc1 (MatMul)", "fc2 (MatMul)"]


# -- files ----------------------------------------------------------------------------------------------------------


def sound() -> Any:
    g = Graph()
    g.output(g.qdq(g.input(["n", 4])))
    return g.model()


def test_files_that_are_no_models(tmp_path: Path) -> None:
    assert "there is no such file" in refused(tmp_path / "none.onnx")
    assert "is no file" in refused(tmp_path)
    (tmp_path / "text.onnx").write_text("not a protobuf at all")
    assert "text.onnx: error: is no ONNX model: its protobuf cannot be decoded" in refused(
        tmp_path / "text.onnx"
    )
    whole = sound().SerializeToString()
    assert "cannot be decoded" in refused(whole[: len(whole) // 2]) or "no graph" in refused(
        whole[: len(whole) // 2]
    )
    assert "holds no graph" in refused(b"")
    path = tmp_path / "good.onnx"
    path.write_bytes(whole)
    assert str(load_onnx(path).params[0].type) == str(load_onnx(str(path)).params[0].type) == "s8f2[4]"
    assert str(load_onnx(whole).params[0].type) == "s8f2[4]"


@pytest.mark.parametrize(
    "opset,message", [(5, "follows operator set 5"), (10_000, "install a newer onnx package")]
)
def test_operator_sets_out_of_reach(opset: int, message: str) -> None:
    model = sound()
    model.opset_import[0].version = opset
    assert message in refused(model)
    del model.opset_import[:]
    assert "names no operator set of its own" in refused(model)


def test_weights_in_another_file(tmp_path: Path) -> None:
    g = Graph()
    g.output(g.add("MatMul", g.qdq(g.input(["n", 64])), g.constant(np.ones((64, 32)))))
    model = g.model()
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    assert str(load_onnx(tmp_path / "m.onnx").outputs[0].value.type) == "s14f2[32]"
    (tmp_path / "m.data").unlink()
    assert "its weights lie in another file, which cannot be read" in refused(tmp_path / "m.onnx")


def test_inputs_that_have_no_fixed_shape() -> None:
    g = Graph()
    g.output(g.qdq(g.input(["n", "m"])))
    assert "x (input): error: has no fixed length in dimension 1" in refused(g.model())
    model = sound()
    model.graph.input[0].type.tensor_type.ClearField("shape")
    assert "x (input): error: has no shape" in refused(model)
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", TensorProto.STRING, [1, 4]))
    assert "x (input): error: holds elements of type string, which are no numbers" in refused(model)


def test_input_types_that_fit_nothing() -> None:
    assert "the model has no input 'y'" in refused(sound(), input_types={"y": "s8"})
    assert "did you mean pixels?" in refused(_renamed("pixels"), input_types={"pixls": "s8"})
    assert "help" in refused(sound(), input_types="s8.4")


def _renamed(name: str) -> Any:
    g = Graph()
    g.output(g.qdq(g.input(["n", 4], name)))
    return g.model()


def test_outputs_nobody_makes_and_constant_ones() -> None:
    model = sound()
    model.graph.output[0].name = "nowhere"
    assert "nowhere (output): error: is made by no layer" in refused(model)
    g = Graph()
    g.output(g.add("Identity", g.constant([1.0])))
    g.input(["n", 4])
    assert "is a constant" in refused(g.model())
