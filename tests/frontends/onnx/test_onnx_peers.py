"""Models as ONNX Runtime and qonnx run them: what they say, what they find wrong, and what nobody runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper
from onnx_models import QONNX, Graph

from lutc.diagnostics import LirError
from lutc.frontends.onnx import arithmetic as elementwise
from lutc.frontends.onnx import load_onnx, peers, qonnx, registry
from lutc.frontends.onnx.rule import rule
from lutc.lowering import exact as ex


def chain(*, opset: int = 21, function: str = "LeakyRelu", **options: Any) -> Graph:
    """Quantise, a function, a product with constants, quantise."""
    g = Graph(opset)
    x = g.qdq(g.input(["n", 4]), 0.25)
    x = g.add(function, x, **options)
    x = g.add("MatMul", x, g.dq(np.arange(-6, 6).reshape(4, 3), 0.25))
    g.output(g.qdq(x, 0.375, 3))
    return g


def dialect() -> ModelProto:
    """The same in QONNX."""
    g = Graph(13, qonnx=True)

    def quantised(x: str, scale: float, bits: int, **options: Any) -> str:
        parameters = [g.constant(np.float32(v)) for v in (scale, 0, bits)]
        return str(g.add("Quant", x, *parameters, domain=QONNX, **options))

    plain = {"signed": 1, "narrow": 0, "rounding_mode": "ROUND"}
    x = g.add("Relu", quantised(g.input(["n", 4]), 0.25, 6, **plain))
    weights = quantised(g.constant(np.linspace(-1, 1, 12).reshape(4, 3)), 0.2, 3, **plain | {"narrow": 1})
    g.output(quantised(g.add("MatMul", x, weights), 0.5, 5, **plain | {"rounding_mode": "FLOOR"}))
    return g.model()


def test_who_has_looked() -> None:
    assert load_onnx(chain(alpha=0.25).model()).compared.endswith("18 samples: equal")
    assert load_onnx(chain(alpha=0.25).model()).compared.startswith("ONNX Runtime 1.")
    assert load_onnx(dialect()).compared.startswith("qonnx 1.")
    assert load_onnx(dialect(), compare=False).compared == "not compared: it was not asked for"


def test_nobody_runs_operators_of_no_known_package(monkeypatch: pytest.MonkeyPatch) -> None:
    model = dialect()
    monkeypatch.setattr(peers, "QONNX", frozenset())
    monkeypatch.setattr(peers, "_is_dialect", lambda domain: False)
    assert (
        load_onnx(model).compared == f"not compared: no package is known that runs the operators of {QONNX}"
    )


@pytest.mark.parametrize("package", ["onnxruntime", "qonnx"])
def test_a_package_that_is_not_installed_is_named(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers.importlib.util, "find_spec", lambda name: None)
    model = dialect() if package == "qonnx" else chain(alpha=0.25).model()
    assert load_onnx(model).compared == f"not compared: the package {package} is not installed"


def test_float32_that_rounds_otherwise_is_decided_in_doubles() -> None:
    """1 + 2**-24 is 1 in float32: of the sum of 2**24 and a half nothing is left of the half."""
    g = Graph()
    x = g.qdq(g.input(["n", 2]), 1.0)
    wide = g.add("Add", g.add("Mul", x, g.constant(np.float32(2.0**18))), g.constant(np.float32(0.5)))
    g.output(g.add("Sub", wide, g.add("Mul", x, g.constant(np.float32(2.0**18)))))
    found = load_onnx(g.model())
    assert found.compared.endswith("equal in double precision")
    assert "in float32 the model gives" in found.notes[0]


@pytest.mark.parametrize("opset", [10, 13, 17, 19, 21])
def test_doubles_decide_in_every_operator_set(opset: int) -> None:
    """Tenths and fifths of float32 make ties that its own division misses."""
    g = Graph(opset)
    g.output(g.qdq(g.qdq(g.input(["n", 40]), 0.1), 0.2))
    assert load_onnx(g.model()).compared.endswith("equal in double precision")


def test_softmax_and_what_follows_is_left_out() -> None:
    g = chain(alpha=0.5)
    g.outputs.clear()
    last = str(g.nodes[-1].output[0])
    g.output(g.qdq(g.add("Softmax", last), 0.0078125))
    assert load_onnx(g.model()).compared.endswith("equal")


def test_samples_that_are_no_number_are_left_out() -> None:
    g = Graph()
    x = g.qdq(g.input(["n", 1]), 0.25)
    g.output(g.qdq(g.add("Sqrt", x), 0.25))
    found = load_onnx(g.model()).compared
    assert found.startswith("ONNX Runtime") and "18 samples" not in found


def test_a_function_is_run_as_the_file_has_it() -> None:
    """What takes functions apart is not trusted: in doubles, its result has to mean what the file means."""
    function = helper.make_function(
        "my",
        "half",
        ["x"],
        ["y"],
        [helper.make_node("LeakyRelu", ["x"], ["y"], alpha=0.5)],
        [helper.make_opsetid("", 21)],
    )
    g = Graph()
    x = g.qdq(g.input(["n", 4]), 0.25)
    g.output(g.qdq(g.add("half", x, domain="my"), 0.25))
    model = g.model()
    model.functions.append(function)
    model.opset_import.append(helper.make_opsetid("my", 1))
    assert load_onnx(model).compared.endswith("equal")


# -- a rule that is wrong is caught ------------------------------------------------------------------------------------


def _drop_alpha(walk: Any, node: Any, inputs: Any) -> Any:
    node.get("alpha", None)  # read, and forgotten
    return elementwise.leaky(walk, replace(node, attributes={"alpha": 0.01}), inputs)


def _skip(walk: Any, node: Any, inputs: Any) -> Any:
    node.get("alpha", None)
    return elementwise.identity(walk, node, inputs)


def _swap(walk: Any, node: Any, inputs: Any) -> Any:
    """The bounds of a clip in each other's place."""
    return elementwise.relu(walk, node, inputs).times(ex.number(2))


@pytest.mark.parametrize(
    ("function", "options", "wrong"),
    [
        ("LeakyRelu", {"alpha": 0.25}, _drop_alpha),
        ("LeakyRelu", {"alpha": 0.25}, _skip),
        ("Relu", {}, _skip),
        ("Relu", {}, _swap),
        ("Neg", {}, _skip),
        ("Abs", {}, _skip),
    ],
)
def test_a_wrong_rule_is_refused(
    function: str, options: dict[str, Any], wrong: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = chain(function=function, **options).model()
    assert load_onnx(model).compared.endswith("equal")
    monkeypatch.setitem(registry.STANDARD_RULES, function, rule(wrong, "alpha"))
    with pytest.raises(LirError, match=r"its output \w+\[\d\] is .* in ONNX Runtime .* numbers differ"):
        load_onnx(model)
    assert load_onnx(model, compare=False)


@pytest.mark.parametrize("option", ["narrow", "rounding_mode", "signed"])
def test_a_dropped_option_of_the_dialect_is_refused(option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = qonnx.RULES["Quant"]

    def dropped(walk: Any, node: Any, inputs: Any) -> Any:
        others = {"narrow": 0, "rounding_mode": "CEIL", "signed": 0}
        return right.lower(
            walk, replace(node, attributes={**node.attributes, option: others[option]}), inputs
        )

    monkeypatch.setitem(qonnx.RULES, "Quant", replace(right, lower=dropped))
    with pytest.raises(LirError, match="in qonnx"):
        load_onnx(dialect())


def test_integers_that_wrap_are_not_taken_for_numbers() -> None:
    """Whatever a rule says of them: -128 has no absolute value in eight bits."""
    x = helper.make_tensor_value_info("x", TensorProto.INT8, ["n", 4])
    y = helper.make_tensor_value_info("y", TensorProto.INT8, ["n", 4])
    graph = helper.make_graph([helper.make_node("Abs", ["x"], ["y"], name="a")], "g", [x], [y])
    with pytest.raises(LirError):
        load_onnx(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)]))


@pytest.mark.parametrize("channels", [False, True])
def test_biases_that_float32_does_not_hold(channels: bool) -> None:
    """2**24 + 1 steps of 2**-25: a step more than a tie, where the runtime sees the tie."""
    g = Graph(17)
    x = g.qdq(g.input(["n", 2]), 2.0**-12, 0, "int8")
    step = [2.0**-25] * 2 if channels else 2.0**-25
    bias = g.add(
        "DequantizeLinear",
        g.constant(np.array([2**24 + 1, -(2**24) - 1], np.int32)),
        g.constant(np.array(step, np.float32)),
        g.constant(np.zeros(2 if channels else (), np.int32)),
        axis=0,
    )
    y = g.add("Gemm", x, g.dq(np.eye(2), 2.0**-13), bias)
    g.output(g.qdq(y, 1.0, 0, "int8"))
    design = load_onnx(g.model())
    assert "in double precision" in design.compared
    assert design.run(np.zeros((1, 2))).ravel().tolist() == [1, -1]


@pytest.mark.parametrize("step, told", [(0.3, True), (0.25, False)])
def test_means_between_two_steps_are_told(step: float, told: bool) -> None:
    """ONNX Runtime computes them in float32, which takes some of them for more, and some for less."""
    g = Graph(17)
    q = [g.constant(np.float32(step)), g.constant(np.uint8(85))]
    codes = g.add("QuantizeLinear", g.input(["n", 1, 2, 2]), *q)
    pool = g.add(
        "QLinearAveragePool", codes, *q, *q, domain="com.microsoft", kernel_shape=[2, 2], strides=[2, 2]
    )
    g.output(g.add("DequantizeLinear", pool, *q))
    design = load_onnx(g.model(), compare=False)
    assert told == any("between two steps" in note for note in design.notes)
