"""Random ONNX models: chains with branches, local functions with defaults and in each other, unknown attributes."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import onnxruntime as ort
from model_cases import ModelCase, rows, weights
from onnx import AttributeProto, FunctionProto, ModelProto, TensorProto, helper, numpy_helper

from lutc.frontends.onnx import load_onnx

OPSETS = (13, 15, 17, 19, 21)


class Random:
    """A model while it grows. `opset` is the model's own; functions may follow another one."""

    def __init__(self, rng: random.Random) -> None:
        self.rng, self.opset = rng, rng.choice(OPSETS)
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.functions: list[FunctionProto] = []
        self.count = 0
        self.unknown = ""

    def name(self) -> str:
        self.count += 1
        return f"t{self.count}"

    def constant(self, array: Any) -> str:
        name = self.name()
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def add(self, op: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        name = self.name()
        self.nodes.append(
            helper.make_node(op, inputs, [name], name=f"{op.lower()}_{name}", domain=domain, **attributes)
        )
        return name

    def quantised(self, x: str) -> str:
        scale = self.constant(np.float32(self.rng.choice([0.25, 0.5])))
        zero = self.constant(np.int8(self.rng.choice([0, 0, -3, 5])))
        return self.add("DequantizeLinear", self.add("QuantizeLinear", x, scale, zero), scale, zero)

    # -- layers -----------------------------------------------------------------------------------------------------

    def layer(self, x: str, width: int) -> tuple[str, int]:
        """One more layer behind `x`, and how many numbers it gives."""
        match self.rng.randrange(8):
            case 0:
                out = self.rng.randint(2, 5)
                return self.quantised(self.add("MatMul", x, self.weights(width, out))), out
            case 1:
                return self.quantised(self.add("Add", x, self.constant(weights(self.rng, width)))), width
            case 2:
                return self.quantised(self.add("LeakyRelu", x, alpha=self.rng.choice([0.25, 0.5]))), width
            case 3:
                return self.add("Relu", x), width
            case 4:
                other = self.quantised(self.add("Neg", x))
                return self.quantised(
                    self.add(self.rng.choice(["Add", "Sub", "Max", "Min"]), x, other)
                ), width
            case 5:
                return self.add("Concat", x, self.add("Neg", x), axis=1), 2 * width
            case _:
                return self.quantised(self.call(x)), width

    def weights(self, *shape: int) -> str:
        codes = self.constant(np.array(weights(self.rng, *shape) * 4, dtype=np.int8))
        return self.add("DequantizeLinear", codes, self.constant(np.float32(0.25)))

    def call(self, x: str) -> str:
        """A call of a local function, with its attribute given or left to its default."""
        name = self.function(depth=self.rng.choice([0, 0, 1]))
        given = {"slope": self.rng.choice([0.25, 0.75])} if self.rng.random() < 0.5 else {}
        return self.add(name, x, domain="my", **given)

    def function(self, depth: int) -> str:
        """A function with a default, which hands its attribute on; perhaps by way of another function."""
        name = f"f_{self.name()}"
        opset = self.rng.choice(OPSETS) if self.rng.random() < 0.3 else self.opset
        inner = self.function(depth - 1) if depth else ""
        slope = helper.make_attribute("slope", self.rng.choice([0.5, 0.125]))
        passed = helper.make_node(inner or "LeakyRelu", ["x"], ["m"], domain="my" if inner else "")
        reference = AttributeProto(
            name="slope" if inner else "alpha", ref_attr_name="slope", type=AttributeProto.FLOAT
        )
        if not inner or self.rng.random() < 0.7:
            passed.attribute.append(reference)
        body = [passed, helper.make_node(self.rng.choice(["Relu", "Neg", "Abs"]), ["m"], ["y"])]
        imports = [helper.make_opsetid("", opset), helper.make_opsetid("my", 1)]
        self.functions.append(
            helper.make_function("my", name, ["x"], ["y"], body, imports, attribute_protos=[slope])
        )
        return name

    def spoil(self) -> None:
        """Something that lutc cannot know: an attribute, an input, an output that no standard names."""
        node = self.rng.choice([n for n in self.nodes if not n.domain])
        match self.rng.randrange(3):
            case 0:
                node.attribute.append(helper.make_attribute("novelty", self.rng.choice([1, 0.5, "x"])))
                self.unknown = f"an unknown attribute of {node.name}"
            case 1:
                node.op_type = "LeakyRelux"
                self.unknown = f"an unknown operator {node.name}"
            case _:
                node.domain = "somebody.else"
                self.unknown = f"an unknown domain of {node.name}"

    def model(self, width: int, outputs: list[str]) -> ModelProto:
        value = helper.make_tensor_value_info
        graph = helper.make_graph(
            self.nodes,
            "random",
            [value("x", TensorProto.FLOAT, ["n", width])],
            [helper.make_empty_tensor_value_info(o) for o in outputs],
            self.constants,
        )
        imports = [helper.make_opsetid("", self.opset), helper.make_opsetid("my", 1)]
        for o in graph.output:
            o.type.tensor_type.elem_type = TensorProto.FLOAT
        return helper.make_model(graph, opset_imports=imports, functions=self.functions, ir_version=10)


def case(rng: random.Random) -> ModelCase:
    """A random model and what ONNX Runtime makes of it."""
    r, width = Random(rng), rng.randint(2, 4)
    x, now = r.quantised("x"), width
    results = []
    for _ in range(rng.randint(1, 6)):
        x, now = r.layer(x, now)
        if rng.random() < 0.15:
            results.append(r.quantised(x))
    results.append(r.quantised(x))
    data = rows(rng, width).astype(np.float32)
    if rng.random() < 0.2:
        r.spoil()
        model = r.model(width, results)
        return ModelCase(str(model), lambda: load_onnx(model), {"x": data}, [], r.unknown)
    model = r.model(width, results)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    expected = session.run(None, {"x": data})
    return ModelCase(str(model), lambda: load_onnx(model, compare=False), {"x": data}, expected)
