"""A float ONNX model while it is rewritten: its nodes, with the constants apart."""

from __future__ import annotations

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
    softmax: bool = False  # whether the outputs are scores of classes
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

    def drop(self, node: Any, into: str | None = None) -> None:
        """Take a node out: its readers read `into`, by default its first operand."""
        source, gone = into or node.input[0], node.output[0]
        self.nodes.remove(node)
        if gone in self.outputs:  # an output keeps its name: its maker gives it
            for other in self.nodes:
                _renamed(other, source, gone)
            return
        for other in self.nodes:
            for i, name in enumerate(other.input):
                if name == gone:
                    other.input[i] = source


def _renamed(node: Any, old: str, new: str) -> None:
    for names in (node.input, node.output):
        for i, name in enumerate(names):
            if name == old:
                names[i] = new


def attributes(node: Any) -> dict[str, Any]:
    """A node's attributes by name."""
    import onnx

    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
