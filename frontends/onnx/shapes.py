"""Shapes of all tensors, by the standard's own inference: needed only where a refused layer has made none."""

from __future__ import annotations

from typing import Any

from .model import QONNX, Model


def shapes_of(model: Model) -> dict[str, tuple[int, ...]]:
    """The shapes that can be inferred, with a length of 1 for dimensions the model leaves open."""
    import onnx

    def stand_in(proto: Any, domain: str) -> Any:
        if domain not in QONNX and proto.op_type not in ("Quant", "IntQuant", "BipolarQuant", "Trunc"):
            return proto
        # Every quantiser keeps its first input's shape.
        return onnx.helper.make_node("Identity", proto.input[:1], proto.output[:1])

    nodes = [stand_in(n.proto, n.domain) for n in model.nodes if n.domain in ("", *QONNX)]
    info = onnx.helper.make_tensor_value_info
    kind = onnx.TensorProto.FLOAT
    inputs = [info(i.name, kind, [n or 1 for n in i.dims]) for i in model.inputs if i.dims is not None]
    constants = [onnx.numpy_helper.from_array(k.array, n) for n, k in model.constants.items()]
    given = [info(n, kind, s) for n, s in model.stated.items()]
    outputs = [onnx.helper.make_empty_tensor_value_info(n) for n in model.outputs]
    graph = onnx.helper.make_graph(nodes, "shapes", inputs, outputs, constants, value_info=given)
    whole = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", model.opset)])
    try:
        # A Range is written out by it, however long.
        known = all(n.op_type != "Range" for n in whole.graph.node)
        inferred = onnx.shape_inference.infer_shapes(whole, data_prop=known).graph
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError):
        return dict(model.stated)
    found = dict(model.stated)
    for value in [*inferred.value_info, *inferred.output]:
        if value.type.tensor_type.HasField("shape"):
            found[value.name] = tuple(d.dim_value or 1 for d in value.type.tensor_type.shape.dim)
    return found
