"""Small float ONNX models with random weights, of the kinds that people train."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Array = NDArray[Any]


class Net:
    """A model that grows node by node; every method gives the name of its result."""

    def __init__(self, shape: Sequence[int], seed: int = 0, opset: int = 17) -> None:
        self.rng = np.random.default_rng(seed)
        self.shape, self.opset = shape, opset
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def const(self, value: Any) -> str:
        name = f"c{len(self.constants)}"
        array = np.asarray(value)
        kept = array.astype(np.int64 if array.dtype.kind == "i" else np.float32)
        self.constants.append(numpy_helper.from_array(kept, name))
        return name

    def normal(self, *shape: int, scale: float = 1.0) -> str:
        return self.const(self.rng.standard_normal(shape) * scale)

    def add(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        names = [f"{op.lower()}{len(self.nodes)}_{k}" for k in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, name=names[0], **attributes))
        return names[0] if outputs == 1 else names

    def gemm(self, x: str, ins: int, outs: int, **attributes: Any) -> str:
        shape = (outs, ins) if attributes.get("transB") else (ins, outs)
        w, b = self.normal(*shape, scale=ins**-0.5), self.normal(outs, scale=0.3)
        return str(self.add("Gemm", x, w, b, **attributes))

    def conv(
        self, x: str, ins: int, outs: int, kernel: Sequence[int], bias: bool = True, **attributes: Any
    ) -> str:
        w = self.normal(
            outs, ins // attributes.get("group", 1), *kernel, scale=(ins * np.prod(kernel)) ** -0.5
        )
        more = [self.normal(outs, scale=0.3)] if bias else []
        return str(self.add("Conv", x, w, *more, **attributes))

    def bn(self, x: str, channels: int) -> str:
        up = self.rng.uniform(0.5, 1.5, (2, channels))
        shift, mean = self.normal(channels, scale=0.3), self.normal(channels, scale=0.3)
        return str(self.add("BatchNormalization", x, self.const(up[0]), shift, mean, self.const(up[1])))

    def model(self, *results: str) -> Any:
        inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *self.shape])]
        outputs = [helper.make_tensor_value_info(r, TensorProto.FLOAT, None) for r in results]
        graph = helper.make_graph(self.nodes, "net", inputs, outputs, self.constants)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=9)
        return onnx.shape_inference.infer_shapes(made)

    def data(self, rows: int = 200) -> Array:
        return self.rng.standard_normal((rows, *self.shape)).astype(np.float32)


def answers(model: Any, x: Array) -> list[Array]:
    """What ONNX Runtime says."""
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, {session.get_inputs()[0].name: x}))


def mlp(seed: int = 0) -> tuple[Any, Array]:
    n = Net([6], seed)
    h = n.add("Relu", n.bn(n.gemm("x", 6, 8), 8))
    return n.model(n.gemm(h, 8, 3)), n.data()


def cnn(seed: int = 0) -> tuple[Any, Array]:
    n = Net([1, 8, 8], seed)
    h = n.add("Relu", n.bn(n.conv("x", 1, 3, (3, 3), bias=False), 3))
    h = n.add("MaxPool", h, kernel_shape=[2, 2], strides=[2, 2])
    h = n.add("Relu", n.conv(h, 3, 4, (3, 3), pads=[1, 1, 1, 1], strides=[2, 2]))
    return n.model(n.gemm(n.add("Flatten", h), 16, 2)), n.data()


def depthwise(seed: int = 0) -> tuple[Any, Array]:
    n = Net([4, 6], seed)
    h = n.add("LeakyRelu", n.conv("x", 4, 4, (3,), group=2, dilations=[2]), alpha=0.125)
    h = n.add("GlobalAveragePool", n.conv(h, 4, 5, (1,)))
    return n.model(n.gemm(n.add("Flatten", h), 5, 3)), n.data()


def residual(seed: int = 0) -> tuple[Any, Array]:
    n = Net([5], seed)
    a = n.add("Relu", n.gemm("x", 5, 6))
    b = n.add("Relu", n.add("Add", a, n.gemm(a, 6, 6)))
    both = n.add("Concat", n.add("Tanh", n.gemm(b, 6, 3)), n.add("Sigmoid", n.gemm(b, 6, 2)), axis=1)
    return n.model(n.gemm(both, 5, 2)), n.data()


def attention(seed: int = 0) -> tuple[Any, Array]:
    n = Net([3, 4], seed)
    q, k, v = (n.add("MatMul", "x", n.normal(4, 4, scale=0.5)) for _ in range(3))
    scores = n.add("Mul", n.add("MatMul", q, n.add("Transpose", k, perm=[0, 2, 1])), n.const(0.5))
    y = n.add("MatMul", n.add("Softmax", scores, axis=-1), v)
    return n.model(n.gemm(n.add("Flatten", y), 12, 2)), n.data()


def normalised(seed: int = 0) -> tuple[Any, Array]:
    n = Net([6], seed)
    scale, shift = n.const(n.rng.uniform(0.5, 1.5, 8)), n.normal(8)
    h = n.add("LayerNormalization", n.gemm("x", 6, 8), scale, shift, axis=-1)
    return n.model(n.gemm(n.add("Relu", h), 8, 2)), n.data()


def transposed(seed: int = 0) -> tuple[Any, Array]:
    n = Net([2, 3, 3], seed)
    h = n.add("ConvTranspose", "x", n.normal(2, 3, 2, 2), n.normal(3), strides=[2, 2])
    return n.model(n.conv(n.add("Relu", h), 3, 1, (1, 1))), n.data(60)


def scaled(seed: int = 0) -> tuple[Any, Array]:
    """Features that are nine decades apart, and one that is always 0."""
    model, x = mlp(seed)
    return model, x * np.array([1e-3, 1, 1e3, 5, 0, 1e6], np.float32)


KINDS = {f.__name__: f for f in (mlp, cnn, depthwise, residual, attention, normalised, transposed, scaled)}
