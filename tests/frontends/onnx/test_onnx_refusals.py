"""What cannot be compiled exactly is refused, all of it in one run, each with its place, its reason and a way out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx_models import QONNX, Graph, refused

from lutc.diagnostics import LirError
from lutc.frontends.onnx import load_onnx

W = np.random.default_rng(0).normal(size=(4, 3))


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


@case("loss (Det): error: is no operator that can be compiled")
def _unknown_operator(g: Graph, x: str) -> Any:
    return g.add("Det", g.add("Reshape", x, g.constant(np.array([0, 2, 2]))), name="loss")


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
    return g.qdq(x, [0.5, 0.3, 1.0, 2.0], [0, 0, 0, 0], axis=1)


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


@case("casts data to int8, which rounds or wraps in a way no quantiser states")
def _cast_to_integers(g: Graph, x: str) -> Any:
    wide = g.add("Mul", x, g.constant(5.0))  # from -160 to 158.75
    return g.add("Cast", g.add("Cast", wide, to=TensorProto.INT8), to=TensorProto.FLOAT)


@case("casts data to float16, which rounds or wraps in a way no quantiser states")
def _cast_to_a_narrow_float(g: Graph, x: str) -> Any:
    return g.add("Cast", g.add("Cast", g.add("Mul", x, x), to=TensorProto.FLOAT16), to=TensorProto.FLOAT)


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


@case("norm (LayerNormalization): error: divides by a root of the data, which no table of one number gives")
def _layer_normalisation(g: Graph, x: str) -> Any:
    return g.add("LayerNormalization", x, g.constant(np.ones(4)), name="norm")


@case("chooses its scale by the data, sample by sample\n  = help: calibrate it")
def _dynamic_quantisation(g: Graph, x: str) -> Any:
    return g.add("DynamicQuantizeLinear", x, outputs=3)[0]


@case("memory (LSTM): error: runs its steps in a loop, and a circuit has none")
def _recurrent(g: Graph, x: str) -> Any:
    rows = g.add("Reshape", x, g.constant(np.array([1, 1, 4])))
    w, r = g.constant(np.ones((1, 8, 4))), g.constant(np.ones((1, 8, 2)))
    return g.add("LSTM", rows, w, r, hidden_size=2, name="memory")


@case("fused (FusedMatMul): error: is made by ONNX Runtime when it optimises a model")
def _optimised(g: Graph, x: str) -> Any:
    return g.add("FusedMatMul", x, g.dq(np.ones((4, 3), int)), domain="com.microsoft", name="fused")


@case("best (TopK): error: sorts its data, for which there is no circuit yet")
def _sorting(g: Graph, x: str) -> Any:
    return g.add("TopK", x, g.constant(np.array([2])), outputs=2, name="best")[0]


@case("has a constant that is not finite\n  = help: train or export the model again")
def _weights_that_are_no_numbers(g: Graph, x: str) -> Any:
    return g.add("MatMul", x, g.constant(np.where(W > 1, np.nan, W)))


@case("quantises constants that are not finite")
def _quantised_weights_that_are_no_numbers(g: Graph, x: str) -> Any:
    return g.add("MatMul", x, g.quant(g.constant(np.where(W > 1, np.nan, W))))


@case("has a zero point of type int8 for data of type uint8")
def _zero_point_of_another_type(g: Graph, x: str) -> Any:
    q = g.add("QuantizeLinear", x, g.constant(0.5), g.constant(0, "uint8"))
    return g.add("DequantizeLinear", q, g.constant(0.5), g.constant(0, "int8"))


@case("has 3 scales for 4 channels")
def _scales_for_other_channels(g: Graph, x: str) -> Any:
    return g.qdq(x, [0.5, 0.25, 1.0], [0, 0, 0], axis=1)


@case("choice (If): error: chooses between branches by data, and a circuit has both")
def _branch_by_data(g: Graph, x: str) -> Any:
    bodies = [
        helper.make_graph(
            [helper.make_node("Identity", [x], [n])], n, [], [helper.make_empty_tensor_value_info(n)]
        )
        for n in ("yes", "no")
    ]
    large = g.add("Greater", g.add("ReduceMax", x, keepdims=0), g.constant(1.0))
    return g.add("If", large, then_branch=bodies[0], else_branch=bodies[1], name="choice")


@case("chooses by data that is no truth value\n  = help: compare it first")
def _choice_by_numbers(g: Graph, x: str) -> Any:
    return g.add("Where", x, x, g.constant(0.0))


@case("works across the batch: dimension 0 counts samples")
def _einsum_over_the_batch(g: Graph, x: str) -> Any:
    return g.add("Einsum", x, g.dq(np.ones((4, 3), int)), equation="bi,io->o")


@case("joins lengths 4 and 5 in dimension 'i'")
def _einsum_that_does_not_fit(g: Graph, x: str) -> Any:
    return g.add("Einsum", x, g.dq(np.ones((5, 3), int)), equation="bi,io->bo")


@case("has the equation 'bi->b' for 2 operands")
def _einsum_of_too_many(g: Graph, x: str) -> Any:
    return g.add("Einsum", x, x, equation="bi->b")


@case("needs a constant kernel")
def _kernel_from_the_data(g: Graph, x: str) -> Any:
    image = g.add("Reshape", x, g.constant(np.array([1, 1, 2, 2])))
    return g.add("Conv", image, image)


@case("has a window of [3, 3] on [2, 2] elements")
def _window_larger_than_the_image(g: Graph, x: str) -> Any:
    image = g.add("Reshape", x, g.constant(np.array([1, 1, 2, 2])))
    return g.add("MaxPool", image, kernel_shape=[3, 3])


@case("gives [1, 4] the shape [1, 3]")
def _reshape_that_does_not_fit(g: Graph, x: str) -> Any:
    return g.add("Reshape", x, g.constant(np.array([1, 3])))


@case("names axis 5 of a tensor with 2 dimensions")
def _axis_beyond(g: Graph, x: str) -> Any:
    return g.add("Concat", x, x, axis=5)


@case("makes a tensor [1, 400000000], which has more elements than any circuit")
def _too_large(g: Graph, x: str) -> Any:
    return g.add(
        "Expand", g.add("ReduceSum", x, g.constant(np.array([1]))), g.constant(np.array([1, 400_000_000]))
    )


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
