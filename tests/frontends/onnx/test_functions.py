"""Local functions, subgraphs and names as files store them: written out exactly, or refused with what is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx.parser
import pytest
from onnx import TensorProto, helper
from onnx_models import QONNX, Graph, ours, refused, same_as_onnxruntime

X = np.array([[-2.5, -0.25, 1.0, 3.75]], np.float32)
HEAD = 'ir_version: 10, opset_import: ["" : 21, "my" : 1, "qonnx.custom_op.general" : 1]'


def parsed(body: str, *functions: str, result: str = "float[1,4] y", head: str = HEAD) -> Any:
    """A model with data `d`, on steps of a quarter, from `body` and the functions of the domain `my`."""
    own = "".join(f'<domain: "my", {f}' for f in functions)
    return onnx.parser.parse_model(
        f"<{head}> g (float[1,4] x) => ({result}) <float s = {{0.25}}, int8 z = {{0}}, float half = {{0.5}}>\n"
        f"{{ q = QuantizeLinear(x, s, z)\n d = DequantizeLinear(q, s, z)\n {body} }}\n{own}"
    )


def function(text: str, opset: int = 21) -> str:
    return f'opset_import: ["" : {opset}, "my" : 1, "{QONNX}" : 1]> {text}'


def same(model: Any, right: Any) -> None:
    np.testing.assert_array_equal(ours(model, X).ravel(), np.asarray(right, np.float32).ravel())


LEAKY = function("f <beta: float = 0.25> (a) => (b) { b = LeakyRelu <alpha: float = @beta> (a) }")


@pytest.mark.parametrize("given,slope", [("", 0.25), ("<beta: float = 0.5>", 0.5), ("<beta = 1.0>", 1.0)])
def test_defaults_of_attributes(given: str, slope: float) -> None:
    same(parsed(f"y = my.f {given} (d)", LEAKY), np.where(X < 0, X * slope, X))


def test_defaults_pass_through_nested_functions() -> None:
    outer = function("g <k: float = 0.125> (a) => (b) { b = my.f <beta: float = @k> (a) }")
    same(parsed("y = my.g (d)", outer, LEAKY), np.where(X < 0, X * 0.125, X))
    bare = function("g (a) => (b) { b = my.f (a) }")
    same(parsed("y = my.g (d)", bare, LEAKY), np.where(X < 0, X * 0.25, X))


def test_an_attribute_that_is_not_given_and_has_no_default_is_absent() -> None:
    bare = function("f <beta> (a) => (b) { b = LeakyRelu <alpha: float = @beta> (a) }")
    same(parsed("y = my.f (d)", bare), ours(parsed("y = LeakyRelu (d)"), X))
    same(parsed("y = my.f <beta: float = 0.5> (d)", bare), np.where(X < 0, X / 2, X))


def test_defaults_of_a_quantiser() -> None:
    quant = function(
        'f <narrow: int = 1, signed: int = 0, rounding_mode: string = "CEIL"> (a, s, z, b) => (r) '
        "{ r = qonnx.custom_op.general.Quant "
        "<narrow: int = @narrow, rounding_mode: string = @rounding_mode, signed: int = @signed> (a, s, z, b) }"
    )
    model = parsed("zero = Constant <value_float: float = 0.0> () \n two = Constant <value_float = 2.0> ()\n"
                   "y = my.f (d, half, zero, two)", quant)  # fmt: skip
    same(model, np.clip(np.ceil(X / 0.5), 0, 2) / 2)


def test_a_function_follows_its_own_operator_set() -> None:
    old = function("f (a) => (b) { b = ReduceSum <axes: ints = [-1], keepdims: int = 1> (a) }", opset=11)
    same(parsed("y = my.f (d)", old, result="float[1,1] y"), X.sum())
    new = function("f (a) => (b) { k = Constant <value_ints: ints = [-1]> () \n b = ReduceSum (a, k) }")
    head = HEAD.replace('"" : 21', '"" : 11')
    text = "b = ReduceSum <axes: ints = [-1]> (x)\n c = my.f (x)\n y = Add (b, c)"
    model = onnx.parser.parse_model(
        f'<{head}> g (float[1,4] x) => (float[1,1] y) {{ {text} }}\n<domain: "my", {new}'
    )
    answer = ours(model, X, input_types="s8f2")
    assert answer.ravel().tolist() == [2 * X.sum()]


def test_operator_sets_that_are_unknown_or_missing() -> None:
    body = "f (a) => (b) { b = Relu (a) }"
    assert "follows operator set 99" in refused(parsed("y = my.f (d)", function(body, 99)))
    assert "follows operator set 6" in refused(parsed("y = my.f (d)", function(body, 6)))
    none = f'opset_import: ["my" : 1]> {body}'
    assert "names no operator set of its own domain ''" in refused(parsed("y = my.f (d)", none))


def test_the_standards_domain_has_two_names() -> None:
    model = parsed("e = Relu (d)\n y = Mul (e, half)")
    for node in model.graph.node:
        node.domain = "ai.onnx"
    same(model, np.maximum(X, 0) / 2)
    model.opset_import.append(helper.make_opsetid("ai.onnx", 20))
    assert "follows two operator sets of the domain ''" in refused(model)


def test_recursion_names_the_cycle() -> None:
    one = function("f (a) => (b) { b = my.g (a) }")
    other = function("g (a) => (b) { c = Relu (a)\n b = my.f (c) }")
    text = refused(parsed("y = my.f (d)", one, other))
    assert "has functions that call themselves: my.f calls my.g calls my.f" in text


def test_doubling_is_counted_before_it_is_written_out() -> None:
    chain = [function(f"f{i} (a) => (b) {{ c = my.f{i + 1} (a)\n b = my.f{i + 1} (c) }}") for i in range(40)]
    last = function("f40 (a) => (b) { b = Relu (a) }")
    assert "layers when its functions are written out" in refused(parsed("y = my.f0 (d)", *chain, last))
    short = [function(f"f{i} (a) => (b) {{ c = my.f{i + 1} (a)\n b = my.f{i + 1} (c) }}") for i in range(3)]
    end = function("f3 (a) => (b) { b = Neg (a) }")
    same(parsed("y = my.f0 (d)", *short, end), X)


def test_overloads_are_told_apart() -> None:
    two = [function(f"f (a) => (b) {{ b = {op} (a) }}") for op in ("Relu", "Neg")]
    model = parsed("e = my.f (d)\n y = my.f (e)", *two)
    model.functions[1].overload = model.graph.node[3].overload = "second"
    same(model, -np.maximum(X, 0))
    model.functions[1].overload = ""
    assert "has two functions my.f" in refused(model)


def test_a_function_with_the_name_of_an_operator_is_refused() -> None:
    model = parsed("y = Relu (d)", function("Relu (a) => (b) { b = Neg (a) }"))
    model.functions[0].domain = ""
    assert "has a function under the name of the operator 'Relu'" in refused(model)
    model.functions[0].domain = "ai.onnx"
    assert "has a function under the name of the operator 'Relu'" in refused(model)


def test_operators_of_the_dialect_may_be_functions() -> None:
    """What a file says of an operator in so many nodes is what it means."""
    model = parsed(
        "y = qonnx.custom_op.general.Quant (d, half)", function("Quant (a, s) => (b) { b = Mul (a, s) }")
    )
    model.functions[0].domain = QONNX
    same(model, X / 2)


def test_optional_inputs_and_results_that_are_left_away() -> None:
    clip = function("f (a, lo, hi) => (b, c) { b = Clip (a, lo, hi)\n c = Neg (b) }")
    same(parsed('y = my.f (d, "", half)', clip), np.minimum(X, 0.5))
    same(parsed("y = my.f (d, half)", clip), np.maximum(X, 0.5))
    same(parsed('"", y = my.f (d, half)', clip), -np.maximum(X, 0.5))
    assert "with 4 inputs, and it has 3" in refused(parsed("y = my.f (d, half, half, half)", clip))
    assert "with an attribute 'odd', which it does not have" in refused(
        parsed("y = my.f <odd = 1> (d)", clip)
    )


def test_names_inside_are_not_those_outside() -> None:
    same(parsed("t = Relu (d)\n e = my.f (d)\n y = Add (t, e)", function("f (x) => (y) { t = Neg (x)\n y = Neg (t) }")),
         np.maximum(X, 0) + X)  # fmt: skip
    leak = function("f (a) => (b) { b = Add (a, d) }")
    assert "reads" in refused(parsed("y = my.f (d)", leak))


def test_an_input_handed_through() -> None:
    same(parsed("y = my.f (d)", function("f (a) => (a) { t = Neg (a) }")), X)


def branch(name: str, *nodes: Any, result: str = "t") -> Any:
    return helper.make_graph(list(nodes), name, [], [helper.make_empty_tensor_value_info(result)])


@pytest.mark.parametrize("taken", [True, False])
def test_branches_shadow_and_repeat_names(taken: bool) -> None:
    g = Graph()
    x = g.qdq(g.input([1, 4]))
    outside = g.add("Neg", x)
    g.nodes[-1].output[0] = "t"
    bodies = [branch(op, helper.make_node(op, [x], ["t"])) for op in ("Relu", "Abs")]
    chosen = g.add("If", g.constant(np.array(taken)), then_branch=bodies[0], else_branch=bodies[1])
    del outside
    g.output(g.add("Add", chosen, "t"))
    same_as_onnxruntime(g.model(), X)


def test_references_inside_of_branches_of_functions() -> None:
    body = branch("b", helper.make_node("LeakyRelu", ["a"], ["t"]))
    slope = body.node[0].attribute.add()
    slope.name, slope.ref_attr_name, slope.type = "alpha", "beta", onnx.AttributeProto.FLOAT
    other = branch("c", helper.make_node("my.f", ["a"], ["t"]))
    other.node[0].op_type, other.node[0].domain = "f", "my"
    model = parsed("y = my.g (d)", LEAKY, function("g <beta: float = 0.5> (a) => (b) { b = Relu (a) }"))
    choose = helper.make_node("If", ["yes"], ["b"], then_branch=body, else_branch=other)
    for yes, slope_of in ((1, 0.5), (0, 0.25)):
        del model.functions[1].node[:]
        value = helper.make_tensor("v", TensorProto.BOOL, [], [yes])
        model.functions[1].node.extend([helper.make_node("Constant", [], ["yes"], value=value), choose])
        same(model, np.where(X < 0, X * slope_of, X))


def test_a_softmax_that_a_branch_reads_stands_inside() -> None:
    g = Graph()
    scores = g.add("Softmax", g.qdq(g.input([1, 4])))
    bodies = [branch(op, helper.make_node(op, [scores], ["t"])) for op in ("Relu", "Abs")]
    g.output(g.add("If", g.constant(np.array(True)), then_branch=bodies[0], else_branch=bodies[1]))
    assert "stands inside of the network" in refused(g.model())


def test_layers_in_any_order_with_branches() -> None:
    g = Graph()
    x = g.qdq(g.input([1, 4]))
    late = g.add("Neg", x)
    bodies = [branch(op, helper.make_node(op, [late], ["t"])) for op in ("Relu", "Abs")]
    g.output(g.add("If", g.constant(np.array(True)), then_branch=bodies[0], else_branch=bodies[1]))
    g.nodes.reverse()
    assert ours(g.model(), X).ravel().tolist() == [2.5, 0.25, 0, 0]


def test_names_given_twice() -> None:
    model = parsed("y = Relu (d)")
    model.graph.initializer.add().CopyFrom(model.graph.initializer[0])
    assert "names its constant 's' twice" in refused(model)
    model = parsed("y = Relu (d)")
    model.graph.output.add().CopyFrom(model.graph.output[0])
    assert "names its output 'y' twice" in refused(model)


def test_an_attribute_reference_outside_of_functions() -> None:
    model = parsed("y = LeakyRelu (d)")
    a = model.graph.node[-1].attribute.add()
    a.name, a.ref_attr_name, a.type = "alpha", "beta", onnx.AttributeProto.FLOAT
    assert "takes its attribute 'alpha' from a function, and stands in none" in refused(model)
