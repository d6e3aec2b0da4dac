"""Shapes of tensors, by the standard's own inference: of refused layers' results, and to count before any work."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from lutc.diagnostics import Diagnostic, LirError
from lutc.limits import MAX_ELEMENTS
from lutc.lowering.refusals import Refusal
from lutc.lowering.tensors import Curve, Known, Scaled

from .bounds import constants, inferred
from .model import QONNX, Node, OnnxModel

# Operators with results larger than what they are given, by numbers the model states.
GROWS = frozenset((
    "Concat", "ConvTranspose", "Einsum", "Expand", "Gather", "GatherElements", "GatherND", "MatMul", "Pad", "Reshape",
    "Resize", "Tile", "Upsample",
))  # fmt: skip


def shapes_of(model: OnnxModel) -> dict[str, tuple[int, ...]]:
    """The shapes that can be inferred, with a length of 1 for dimensions the model leaves open."""
    import onnx

    def stand_in(node: Node) -> Any:
        proto: Any = node.proto
        if node.domain not in QONNX and proto.op_type not in ("Quant", "IntQuant", "BipolarQuant", "Trunc"):
            return proto
        # Every quantiser keeps its first input's shape.
        return onnx.helper.make_node("Identity", proto.input[:1], proto.output[:1])

    nodes = [stand_in(n) for n in model.layers if n.domain in ("", *QONNX)]
    info = onnx.helper.make_tensor_value_info
    kind = onnx.TensorProto.FLOAT
    inputs = [info(i.name, kind, [n or 1 for n in i.dims]) for i in model.inputs if i.dims is not None]
    small, large = constants(onnx, {n: k.array for n, k in model.constants.items()})
    given = [info(n, kind, s) for n, s in model.stated.items()]
    outputs = [onnx.helper.make_empty_tensor_value_info(n) for n in model.outputs]
    graph = onnx.helper.make_graph(nodes, "shapes", inputs + large, outputs, small, value_info=given)
    whole = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", model.opset)])
    try:
        # A Range is written out by it, however long.
        known = all(n.op_type != "Range" for n in whole.graph.node)
        found_by = onnx.shape_inference.infer_shapes(whole, data_prop=known).graph
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError):
        return dict(model.stated)
    found = dict(model.stated)
    for value in [*found_by.value_info, *found_by.output]:
        if value.type.tensor_type.HasField("shape"):
            found[value.name] = tuple(d.dim_value or 1 for d in value.type.tensor_type.shape.dim)
            if any(not d.dim_value for d in value.type.tensor_type.shape.dim[1:]):
                del found[value.name]  # nobody can say
    return found


def check_sizes(model: OnnxModel) -> None:
    """Raise LirError if a layer's result is known to be larger than any circuit, before anything is lowered."""
    shapes = shapes_of(model)
    data = {i.name for i in model.inputs}  # what is made of constants alone is counted when it is folded
    for node in model.layers:
        if data.isdisjoint(node.reads):
            continue
        data.update(filter(None, node.outputs))
        for shape in (shapes[n] for n in node.outputs if n in shapes):
            if math.prod(shape) > MAX_ELEMENTS:
                reason, help = _too_large(shape)
                raise LirError(Diagnostic(reason, where=node.label, help=help))


def counted(node: Node, tensors: Sequence[Any]) -> None:
    """Raise Refusal if a node would make more than any circuit can hold, before it is lowered."""
    if node.op not in GROWS or node.domain != "" or node.proto is None:
        return
    import onnx

    info = onnx.helper.make_tensor_value_info
    given = {n: t for n, t in zip(node.inputs, tensors, strict=True) if n}
    small, inputs = constants(onnx, {n: t.array for n, t in given.items() if isinstance(t, Known)})
    for name, t in given.items():
        if isinstance(t, Scaled | Curve):
            inputs.append(info(name, onnx.TensorProto.FLOAT, t.shape))
    proto = onnx.NodeProto()
    proto.CopyFrom(node.proto)
    proto.domain = ""
    outputs = [onnx.helper.make_empty_tensor_value_info(n) for n in node.outputs if n]
    graph = onnx.helper.make_graph([proto], "sizes", inputs, outputs, small)
    whole = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", node.version)])
    for shape in inferred(onnx, whole):
        if math.prod(shape) > MAX_ELEMENTS:
            raise Refusal(*_too_large(shape))


def _too_large(shape: Sequence[int]) -> tuple[str, str]:
    return (
        f"makes a tensor {list(shape)}, which has more elements than any circuit",
        f"check the model's shapes: {MAX_ELEMENTS:,} are the most",
    )
