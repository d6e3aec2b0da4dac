"""A model in which every float32 is a double: what it would compute if its sums did not round."""

from __future__ import annotations

import copy
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, TensorProto


FLOAT, DOUBLE = 1, 11  # TensorProto.FLOAT and DOUBLE
# Attributes that name an element type.
KINDS = frozenset(
    {
        ("Cast", "to"),
        ("EyeLike", "dtype"),
        ("QuantizeLinear", "precision"),
        ("DequantizeLinear", "output_dtype"),
    }
)
ROUNDERS = frozenset({"QuantizeLinear", "DequantizeLinear", "Constant"})


def doubled(proto: ModelProto, tables: Collection[str] = ()) -> ModelProto:
    """A copy of a model with doubles for its float32 numbers: inputs, constants, casts, functions and subgraphs.

    Constants computed from constants are those of float32: they are the numbers that the model has. So are functions
    whose results, the tensors `tables`, are looked up: a table is made of the model's own floats.
    """
    twin = copy.deepcopy(proto)
    _fold(twin)
    _graph(twin.graph)
    _narrow(twin, tables)
    for function in twin.functions:
        for node in function.node:
            _node(node)
        for a in function.attribute_proto:
            _attribute(a)
    return twin


def with_versions(proto: ModelProto) -> ModelProto:
    """A copy that names a version of every domain: older exporters leave the QONNX dialect's out."""
    from onnx.helper import make_opsetid

    twin = copy.deepcopy(proto)
    named = {o.domain for o in proto.opset_import} | {"", "ai.onnx"}
    for domain in sorted({n.domain for n in proto.graph.node} - named):
        twin.opset_import.append(make_opsetid(domain, 1))
    return twin


def _fold(proto: ModelProto) -> None:
    """Compute what stands on constants alone. Quantisers are left, and what stands on them: their steps are exact."""
    from onnx.numpy_helper import from_array, to_array

    known = {t.name: to_array(t) for t in proto.graph.initializer}
    known |= {
        n.output[0]: to_array(n.attribute[0].t)
        for n in proto.graph.node
        if n.op_type == "Constant" and n.attribute[0].name == "value"
    }
    for node in list(proto.graph.node):
        if node.domain not in ("", "ai.onnx") or node.op_type in ROUNDERS or not node.input:
            continue
        if not all(name in known for name in node.input) or any(a.HasField("g") for a in node.attribute):
            continue
        for name, array in zip(node.output, _computed(proto, node, known), strict=False):
            known[name] = array
            proto.graph.initializer.append(from_array(array, name))
        proto.graph.node.remove(node)


def _computed(proto: ModelProto, node: Any, known: dict[str, Any]) -> list[Any]:
    from onnx.helper import make_empty_tensor_value_info, make_graph, make_model
    from onnx.reference import ReferenceEvaluator

    inputs = dict.fromkeys(node.input)
    graph = make_graph(
        [node],
        "constant",
        [make_empty_tensor_value_info(n) for n in inputs],
        [make_empty_tensor_value_info(n) for n in node.output],
    )
    whole = make_model(graph, opset_imports=list(proto.opset_import), ir_version=proto.ir_version)
    return [np.asarray(a) for a in ReferenceEvaluator(whole).run(None, {n: known[n] for n in inputs})]


def _narrow(proto: ModelProto, names: Collection[str]) -> None:
    """Compute the tensors `names` in float32, between casts."""
    from onnx.helper import make_node

    nodes = []
    doubles = _floats(proto)
    for node in proto.graph.node:
        if not set(node.output) & set(names):
            nodes.append(node)
            continue
        inside = copy.deepcopy(node)
        for i, name in enumerate(node.input):
            if name in doubles:
                inside.input[i] = f"{name} narrow"
                nodes.append(make_node("Cast", [name], [inside.input[i]], to=FLOAT))
        for i, name in enumerate(node.output):
            if name in names:
                inside.output[i] = f"{name} narrow"
        for a in inside.attribute:
            if a.name == "to" and a.i == DOUBLE:
                a.i = FLOAT
        nodes.append(inside)
        nodes += [make_node("Cast", [f"{n} narrow"], [n], to=DOUBLE) for n in node.output if n in names]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)


def _floats(proto: ModelProto) -> set[str]:
    """The tensors that hold doubles, as far as they are stated; of all others that nobody knows, those computed."""
    from onnx.shape_inference import infer_shapes

    graph = infer_shapes(with_versions(proto)).graph
    known = {v.name: v.type.tensor_type.elem_type for v in [*graph.input, *graph.value_info, *graph.output]}
    known |= {t.name: t.data_type for t in graph.initializer}
    made = {name for node in graph.node for name in node.output}
    return {n for n in {*known, *made} if known.get(n, DOUBLE) == DOUBLE}


def _graph(graph: GraphProto) -> None:
    for value in [*graph.input, *graph.output, *graph.value_info]:
        tensor = value.type.tensor_type
        if tensor.elem_type == FLOAT:
            tensor.elem_type = DOUBLE
    for stored in graph.initializer:
        _tensor(stored)
    for node in graph.node:
        _node(node)


def _node(node: Any) -> None:
    constant = node.op_type == "Constant"
    for a in node.attribute:
        if (node.op_type, a.name) in KINDS and a.i == FLOAT:
            a.i = DOUBLE
        elif constant and a.name in ("value_float", "value_floats"):
            numbers = np.array(a.f if a.name == "value_float" else list(a.floats), dtype=np.float64)
            _replace(a, numbers)
        else:
            _attribute(a)


def _attribute(a: Any) -> None:
    if a.HasField("t"):
        _tensor(a.t)
    if a.HasField("g"):
        _graph(a.g)
    for stored in a.tensors:
        _tensor(stored)
    for graph in a.graphs:
        _graph(graph)


def _replace(a: Any, numbers: Any) -> None:
    """A Constant's float attribute as a tensor, which alone has a type of its own."""
    from onnx.helper import make_attribute
    from onnx.numpy_helper import from_array

    a.CopyFrom(make_attribute("value", from_array(numbers)))


def _tensor(stored: TensorProto) -> None:
    from onnx.numpy_helper import from_array, to_array

    if stored.data_type == FLOAT:
        stored.CopyFrom(from_array(to_array(stored).astype(np.float64), stored.name))
