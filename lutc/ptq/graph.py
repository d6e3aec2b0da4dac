"""A float ONNX model while it is rewritten: its nodes, with the constants apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass
class Graph:
    """The nodes of a model that is being rewritten, with its constants apart."""

    proto: Any
    nodes: list[Any]
    constants: dict[str, Array]
    notes: list[str] = field(default_factory=list)
    ranks: dict[str, int] = field(default_factory=dict)  # of tensors, as far as shape inference tells them
    softmax: str = ""  # "logits" or "probabilities": what the first output holds, if a softmax makes it
    _made: int = 0

    @property
    def inputs(self) -> list[Any]:
        """The graph's inputs that are data."""
        return [i for i in self.proto.graph.input if i.name not in self.constants]

    @property
    def opset(self) -> int:
        """The version of ONNX's own operators."""
        return max(
            (int(o.version) for o in self.proto.opset_import if o.domain in ("", "ai.onnx")), default=1
        )

    @property
    def outputs(self) -> list[str]:
        return [o.name for o in self.proto.graph.output]

    def readers(self, tensor: str) -> list[Any]:
        return [n for n in self.nodes if tensor in n.input]

    def reader(self, tensor: str) -> Any:
        """The only node that reads a tensor; None if there are others, or if the tensor is an output."""
        found = self.readers(tensor)
        return found[0] if len(found) == 1 and tensor not in self.outputs else None

    def maker(self, tensor: str) -> Any:
        return next((n for n in self.nodes if tensor in n.output), None)

    def sigmoid(self, output: int) -> bool:
        """Whether an output is made by a Sigmoid."""
        maker = self.maker(self.outputs[output])
        return maker is not None and maker.op_type == "Sigmoid"

    def constant(self, value: Array, hint: str) -> str:
        """A new constant's name."""
        names = {n for node in self.nodes for n in (*node.input, *node.output)} | set(self.constants)
        while (name := f"{hint}_{self._made}") in names:
            self._made += 1
        self.constants[name] = np.asarray(value, np.float32)
        return name

    def model(self, nodes: Sequence[Any], constants: Mapping[str, Array]) -> Any:
        """A model of the same interface with other nodes, and those of the constants that they read."""
        import onnx
        from onnx import numpy_helper

        made = onnx.ModelProto()
        made.CopyFrom(self.proto)
        g = made.graph
        del g.node[:], g.initializer[:], g.value_info[:], g.input[:], made.functions[:]
        g.input.extend(self.inputs)
        g.node.extend(nodes)
        used = {n for node in nodes for n in node.input}
        g.initializer.extend(
            numpy_helper.from_array(np.ascontiguousarray(v), k) for k, v in constants.items() if k in used
        )
        return made

    @property
    def batch(self) -> int | None:
        """The rows that the model takes at once, if it takes one number of rows only."""
        first = self.inputs[0].type.tensor_type.shape.dim
        return (first[0].dim_value or None) if first and first[0].HasField("dim_value") else None

    def drop(self, node: Any, into: str | None = None) -> None:
        """Take a node out: its readers read `into`, by default its first operand."""
        source, gone = into or node.input[0], node.output[0]
        at = self.nodes.index(node)
        del self.nodes[at]
        if gone in self.outputs:  # an output keeps its name: its maker gives it
            if source in self.outputs or source in {i.name for i in self.inputs}:  # which has its own to keep
                self.nodes.insert(at, _identity(source, gone))
                return
            for other in self.nodes:
                _renamed(other, source, gone)
            return
        for other in self.nodes:
            for i, name in enumerate(other.input):
                if name == gone:
                    other.input[i] = source


def _identity(source: str, name: str) -> Any:
    from onnx import helper

    return helper.make_node("Identity", [source], [name], name=name)


def _renamed(node: Any, old: str, new: str) -> None:
    for names in (node.input, node.output):
        for i, name in enumerate(names):
            if name == old:
                names[i] = new


def renamed(node: Any, names: Mapping[str, str]) -> Any:
    """A copy of a node that reads other tensors in the place of some."""
    import onnx

    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    for k, name in enumerate(node.input):
        copy.input[k] = names.get(name, name)
    return copy


def attributes(node: Any) -> dict[str, Any]:
    """A node's attributes by name."""
    import onnx

    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def session(model: Any, optimised: str | None = None) -> Any:
    """ONNX Runtime for a model as it stands, or with its constants folded and written to a file. Raises its errors."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    levels = ort.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_BASIC if optimised else levels.ORT_DISABLE_ALL
    if optimised:
        options.optimized_model_filepath = optimised
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
