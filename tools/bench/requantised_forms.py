"""A network that ONNX Runtime wrote as QDQ, in other dialects with the same codes, scales and zero points.

What is taken apart is what `quantize_static` writes: QuantizeLinear and DequantizeLinear around Gemm, Conv, Relu,
MaxPool and Flatten, weights and biases as integers.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch.ao.quantization.fx import _decomposed  # noqa: F401  (brings the operators quantized_decomposed)
from torch.nn import functional as F


def qonnx(model: onnx.ModelProto, folder: Path) -> Path:
    """Each pair of QuantizeLinear and DequantizeLinear is one Quant; weights stand before theirs as floats."""
    graph, known = model.graph, {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    quantised = {n.output[0]: n for n in graph.node if n.op_type == "QuantizeLinear"}
    nodes, added = [], dict[str, Any]()
    for node in graph.node:
        if node.op_type == "QuantizeLinear":
            continue
        if node.op_type != "DequantizeLinear":
            nodes.append(node)
            continue
        scale, zero = known[node.input[1]], known[node.input[2]]
        if node.input[0] in quantised:
            source = quantised[node.input[0]].input[0]
        else:
            codes = known[node.input[0]].astype(np.float64)
            source = f"{node.input[0]}_float"
            added[source] = ((codes - zero) * scale.astype(np.float64)).astype(np.float32)
        bits = zero.dtype.itemsize * 8
        label = f"{node.output[0]}_quant"
        added[f"{label}_scale"], added[f"{label}_zero"] = scale, zero.astype(np.float32)
        added[f"{label}_bits"] = np.float32(bits)
        inputs = [source, *(f"{label}_{part}" for part in ("scale", "zero", "bits"))]
        options: dict[str, Any] = {
            "signed": int(zero.dtype.kind == "i"),
            "narrow": 0,
            "rounding_mode": "ROUND",
        }
        domain: dict[str, Any] = {"domain": "qonnx.custom_op.general"}
        nodes.append(helper.make_node("Quant", inputs, [node.output[0]], node.name, **options, **domain))
    weights = [numpy_helper.from_array(np.asarray(v), name) for name, v in added.items()]
    made = helper.make_graph(nodes, graph.name, graph.input, graph.output, [*graph.initializer, *weights])
    sets = [helper.make_opsetid("", 17), helper.make_opsetid("qonnx.custom_op.general", 1)]
    onnx.save(helper.make_model(made, opset_imports=sets, ir_version=9), folder / "qonnx.onnx")
    return folder / "qonnx.onnx"


def qcdq(model: onnx.ModelProto, folder: Path) -> Path:
    """A Clip to the ends of the format between the two."""
    known = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    nodes, ends = [], dict[str, Any]()
    for node in model.graph.node:
        nodes.append(node)
        if node.op_type != "QuantizeLinear":
            continue
        kind = known[node.input[2]].dtype
        names = [f"{node.name}_{end}" for end in ("least", "most")]
        ends |= dict(zip(names, np.array([np.iinfo(kind).min, np.iinfo(kind).max], kind), strict=True))
        result, bare = node.output[0], f"{node.output[0]}_bare"
        node.output[0] = bare
        nodes.append(helper.make_node("Clip", [bare, *names], [result], f"{node.name}_clip"))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), n) for n, v in ends.items())
    onnx.save(model, folder / "qcdq.onnx")
    return folder / "qcdq.onnx"


def pt2e(model: onnx.ModelProto, folder: Path) -> Any:
    """A program of `torch.export` with the operators that PT2E's convert writes."""
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim][1:]
    return torch.export.export(_Torch(model).eval(), (torch.zeros(1, *shape),))


class _Torch(torch.nn.Module):
    def __init__(self, model: onnx.ModelProto) -> None:
        super().__init__()
        self.graph = model.graph
        for number, tensor in enumerate(model.graph.initializer):
            self.register_buffer(f"t{number}", torch.tensor(numpy_helper.to_array(tensor)))
        self.names = {tensor.name: f"t{number}" for number, tensor in enumerate(model.graph.initializer)}

    def forward(self, x: Any) -> Any:
        ops = torch.ops.quantized_decomposed
        known = {self.graph.input[0].name: x}
        for node in self.graph.node:
            read = [known[n] if n in known else getattr(self, self.names[n]) for n in node.input]
            options = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            match node.op_type:
                case "QuantizeLinear" | "DequantizeLinear":
                    kind = read[2].dtype
                    ends = torch.iinfo(kind)
                    quantises = node.op_type == "QuantizeLinear"
                    name = "quantize_per_tensor" if quantises else "dequantize_per_tensor"
                    given = (float(self.scalar(node.input[1])), int(self.scalar(node.input[2])))
                    result = getattr(ops, name)(read[0], *given, ends.min, ends.max, kind)
                case "Gemm":
                    result = F.linear(read[0], read[1] if options.get("transB") else read[1].T, read[2])
                case "Conv":
                    result = F.conv2d(*read)
                case "Relu":
                    result = F.relu(read[0])
                case "MaxPool":
                    result = F.max_pool2d(read[0], 2)
                case "Flatten":
                    result = read[0].flatten(1)
                case other:
                    raise ValueError(f"{other} is not translated")
            known[node.output[0]] = result
        return known[self.graph.output[0].name]

    def scalar(self, name: str) -> Any:
        tensor = next(t for t in self.graph.initializer if t.name == name)
        return numpy_helper.to_array(tensor).reshape(())


DIALECTS: dict[str, Callable[[onnx.ModelProto, Path], Any]] = {"qonnx": qonnx, "qcdq": qcdq, "pt2e": pt2e}
