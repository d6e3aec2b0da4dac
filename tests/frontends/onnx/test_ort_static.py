"""Networks quantised by ONNX Runtime's `quantize_static`, as its users make them: exact, and right in both HDLs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx_models import Graph, onnxruntime, ours, same_as_onnxruntime
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from conftest import need_tool
from lutc.driver import compile as build
from lutc.driver import simulate
from lutc.frontends.onnx import load_onnx

SHAPE = (2, 6, 6)


class Rows(CalibrationDataReader):  # type: ignore[misc]
    """The data that the ranges are taken from, a row at a time."""

    def __init__(self, rows: Any) -> None:
        self.rows = iter(rows)

    def get_next(self) -> dict[str, Any] | None:
        row = next(self.rows, None)
        return None if row is None else {"x": row[None]}


def images(count: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=(count, *SHAPE)).astype(np.float32)


def floats(path: Path) -> Path:
    """A small convolutional network with a skip connection, in float32."""
    rng = np.random.default_rng(1)
    g = Graph(opset=17)
    x = g.input([1, *SHAPE])

    def weights(*shape: int) -> str:
        return g.constant(rng.normal(size=shape, scale=0.4))

    first = g.add("Relu", g.add("Conv", x, weights(3, 2, 3, 3), weights(3), pads=[1, 1, 1, 1]))
    second = g.add("Conv", first, weights(3, 3, 3, 3), weights(3), pads=[1, 1, 1, 1])
    pooled = g.add("MaxPool", g.add("Relu", g.add("Add", first, second)), kernel_shape=[2, 2], strides=[2, 2])
    g.output(g.add("Gemm", g.add("Flatten", pooled), weights(27, 4), weights(4)))
    model = g.model()
    onnx.save(model, path)
    return path


WAYS: dict[str, dict[str, Any]] = {
    "qdq-uint8-int8": {"quant_format": QuantFormat.QDQ, "activation_type": QuantType.QUInt8},
    "qdq-int8": {"quant_format": QuantFormat.QDQ, "activation_type": QuantType.QInt8},
    "qdq-per-channel": {
        "quant_format": QuantFormat.QDQ,
        "activation_type": QuantType.QInt8,
        "per_channel": True,
    },
    "qdq-symmetric": {
        "quant_format": QuantFormat.QDQ,
        "activation_type": QuantType.QInt8,
        "extra_options": {"ActivationSymmetric": True},
    },
    "qdq-int16": {"quant_format": QuantFormat.QDQ, "activation_type": QuantType.QInt16},
    "qoperator": {"quant_format": QuantFormat.QOperator, "activation_type": QuantType.QUInt8},
    "qoperator-per-channel": {
        "quant_format": QuantFormat.QOperator,
        "activation_type": QuantType.QUInt8,
        "per_channel": True,
    },
}


def quantised(folder: Path, way: str) -> onnx.ModelProto:
    """The network as `quantize_static` writes it."""
    source, result = floats(folder / "float.onnx"), folder / "quantised.onnx"
    options = {"weight_type": QuantType.QInt8, **WAYS[way]}
    quantize_static(str(source), str(result), Rows(images(40)), **options)
    return onnx.load(result)


@pytest.mark.parametrize("way", sorted(set(WAYS) - {"qdq-int16"}))
def test_exact(way: str, tmp_path: Path) -> None:
    same_as_onnxruntime(quantised(tmp_path, way), images(60, seed=5))


def test_sums_longer_than_float32_are_within_a_step(tmp_path: Path) -> None:
    """Of 16-bit codes times 8-bit weights ONNX Runtime adds floats with 24 bits; lutc adds all of them."""
    model, rows = quantised(tmp_path, "qdq-int16"), images(60, seed=5)
    mine, theirs = ours(model, rows).ravel(), onnxruntime(model, rows).ravel()
    step = np.diff(np.unique(theirs)).min()
    assert np.abs(mine - theirs).max() < 1.5 * step
    assert np.mean(mine != theirs) < 0.1


@pytest.mark.parametrize("hdl", ["verilog", "vhdl"])
def test_circuit(hdl: str, tmp_path: Path) -> None:
    need_tool("iverilog" if hdl == "verilog" else "ghdl")
    rng = np.random.default_rng(2)
    g = Graph(opset=17)
    hidden = g.add(
        "Relu",
        g.add("Gemm", g.input([1, 6]), g.constant(rng.normal(size=(6, 4))), g.constant(rng.normal(size=4))),
    )
    g.output(g.add("Gemm", hidden, g.constant(rng.normal(size=(4, 3))), g.constant(rng.normal(size=3))))
    onnx.save(g.model(), tmp_path / "float.onnx")
    data = rng.normal(size=(40, 6)).astype(np.float32)
    quantize_static(str(tmp_path / "float.onnx"), str(tmp_path / "q.onnx"), Rows(data))
    model = onnx.load(tmp_path / "q.onnx")
    built = build(load_onnx(model), stages=2, hdl=hdl)
    same_as_onnxruntime(model, data)
    result = simulate(built.write(tmp_path / "build", vectors=60))
    assert result.passed, result.message
