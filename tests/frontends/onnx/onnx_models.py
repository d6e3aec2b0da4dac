"""Small ONNX models made in memory, and what others say they compute."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from lutc.diagnostics import LirError
from lutc.frontends.onnx import load_onnx

QONNX = "qonnx.custom_op.general"
INTEGERS = {
    "int8": TensorProto.INT8,
    "uint8": TensorProto.UINT8,
    "int16": TensorProto.INT16,
    "uint16": TensorProto.UINT16,
    "int4": TensorProto.INT4,
    "uint4": TensorProto.UINT4,
    "int32": TensorProto.INT32,
}


class Graph:
    """Collects a model. Every method that adds a node returns the name of its output."""

    def __init__(self, opset: int = 21, qonnx: bool = False) -> None:
        self.opset, self.qonnx = opset, qonnx
        self.nodes: list[Any] = []
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []
        self.constants: list[Any] = []
        self.count = 0

    def fresh(self, prefix: str) -> str:
        self.count += 1
        return f"{prefix}{self.count}"

    def input(self, shape: Sequence[int | str | None], name: str = "x", kind: int = TensorProto.FLOAT) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def constant(self, values: Any, kind: str | None = None) -> str:
        name = self.fresh("c")
        array = np.asarray(values)
        if kind:
            ints = array.astype(int)
            tensor = helper.make_tensor(name, INTEGERS[kind], array.shape, ints.ravel().tolist())
        else:
            tensor = numpy_helper.from_array(
                array.astype(np.float32) if array.dtype == np.float64 else array, name
            )
        self.constants.append(tensor)
        return name

    def add(
        self, op: str, *inputs: str, outputs: int = 1, domain: str = "", name: str | None = None, **a: Any
    ) -> Any:
        made = [self.fresh("t") for _ in range(outputs)]
        name = name or self.fresh(op.lower())
        self.nodes.append(helper.make_node(op, list(inputs), made, name=name, domain=domain, **a))
        return made[0] if outputs == 1 else made

    def qdq(self, x: str, scale: Any = 0.25, zero: Any = 0, kind: str = "int8", **a: Any) -> str:
        """A pair of QuantizeLinear and DequantizeLinear."""
        parameters = [self.constant(np.asarray(scale, np.float32)), self.constant(np.asarray(zero), kind)]
        q = self.add("QuantizeLinear", x, *parameters, **a)
        return str(self.add("DequantizeLinear", q, *parameters, **a))

    def dq(self, codes: Any, scale: Any = 0.5, zero: Any = None, kind: str = "int8", **a: Any) -> str:
        """A dequantised constant."""
        parameters = [self.constant(np.asarray(scale, np.float32))]
        if zero is not None:
            parameters.append(self.constant(np.asarray(zero), kind))
        return str(self.add("DequantizeLinear", self.constant(codes, kind), *parameters, **a))

    def quant(
        self, x: str, scale: Any = 0.25, zero: Any = 0.0, bits: Any = 8.0, op: str = "Quant", **a: Any
    ) -> str:
        """A quantiser of the QONNX dialect."""
        parameters = [self.constant(np.asarray(v, np.float32)) for v in (scale, zero, bits)]
        return str(self.add(op, x, *parameters, domain=QONNX, **a))

    def output(self, name: str, kind: int = TensorProto.FLOAT) -> None:
        self.outputs.append(helper.make_empty_tensor_value_info(name))
        self.outputs[-1].type.tensor_type.elem_type = kind

    def model(self) -> ModelProto:
        graph = helper.make_graph(self.nodes, "test", self.inputs, self.outputs, self.constants)
        opsets = [helper.make_opsetid("", self.opset)]
        if self.qonnx:
            opsets.append(helper.make_opsetid(QONNX, 1))
        return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def onnxruntime(model: ModelProto, *arrays: Any) -> Any:
    """What ONNX Runtime computes, one sample at a time, nothing fused."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [i.name for i in session.get_inputs()]
    rows = [
        session.run(None, {n: a[i : i + 1] for n, a in zip(names, arrays, strict=True)})[0]
        for i in range(len(arrays[0]))
    ]
    return np.stack(rows)


def ours(model: ModelProto, *arrays: Any, **options: Any) -> Any:
    """What lutc's design computes, as the nearest float32."""
    answer = load_onnx(model, **options).run(*arrays)
    return (
        np.array([float(v) for v in np.asarray(answer).ravel()]).reshape(np.shape(answer)).astype(np.float32)
    )


def same_as_onnxruntime(model: ModelProto, *arrays: Any, **options: Any) -> None:
    """Both agree on every number."""
    theirs = onnxruntime(model, *arrays).astype(np.float32)
    mine = ours(model, *arrays, **options)
    assert mine.size == theirs.size, (mine.shape, theirs.shape)
    np.testing.assert_array_equal(mine.ravel(), theirs.ravel())


def refused(source: Any, **options: Any) -> str:
    """What is said of a model that cannot be compiled."""
    with pytest.raises(LirError) as caught:
        load_onnx(source, **options)
    return str(caught.value)


def samples(
    shape: Sequence[int], rows: int = 64, step: float = 0.125, reach: float = 20.0, seed: int = 0
) -> Any:
    """Numbers on a grid finer than the quantisers' (so with ties), some beyond their range, and zeros.

    With `step=0` they lie on no grid: for scales that are no power of two, where float32 would round a number that is
    nearly a tie onto it.
    """
    rng = np.random.default_rng(seed)
    x = rng.uniform(-reach, reach, (rows, *shape))
    if step:
        x = np.round(x / step) * step
    x[0] = 0
    x[1], x[2] = 1000, -1000
    return x.astype(np.float32)


# QONNX's rounding modes, written down from the table in its documentation.
ROUNDINGS: dict[str, Callable[[Any], Any]] = {
    "ROUND": np.rint,
    "CEIL": np.ceil,
    "FLOOR": np.floor,
    "UP": lambda v: np.sign(v) * np.ceil(np.abs(v)),
    "DOWN": np.trunc,
    "HALF_UP": lambda v: np.sign(v) * np.floor(np.abs(v) + 0.5),
    "HALF_DOWN": lambda v: np.sign(v) * np.ceil(np.abs(v) - 0.5),
}


def quantised(
    x: Any,
    scale: Any,
    zero: Any = 0.0,
    bits: Any = 8.0,
    signed: int = 1,
    narrow: int = 0,
    mode: str = "ROUND",
) -> Any:
    """QONNX's Quant, in float64: exact for the numbers of these tests."""
    scale, zero, bits = (np.asarray(np.float32(v), np.float64) for v in (scale, zero, bits))
    if signed and np.all(bits == 1):
        steps = np.where(x / scale + zero >= 0, 1.0, -1.0)
    else:
        low = -(2.0 ** (bits - 1)) + narrow if signed else 0.0 * bits
        high = 2.0 ** (bits - 1) - 1 if signed else 2.0**bits - 1 - narrow
        steps = np.clip(ROUNDINGS[mode](x / scale + zero), low, high)
    return (steps - zero) * scale
