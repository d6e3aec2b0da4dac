"""A CNN of 4-bit numbers, made twice from the same weights: with HGQ2's layers, and as ONNX with QDQ nodes.

3x3 convolutions, pooling, a residual sum, a dense layer. Both become the same function, equal to both frameworks, and
the circuit computes it too.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_zoo import QuantizerConfig, keras, predict, q

from conftest import need_tool
from lutc.driver import compile as build
from lutc.driver import simulate
from lutc.frontends.keras import load_keras
from lutc.frontends.onnx import load_onnx
from lutc.ir.graph import Design, functions
from lutc.text.print import print_design

sys.path.append(str(Path(__file__).parents[1] / "onnx"))
from onnx_models import Graph, onnxruntime

CLASSES = 5
WEIGHT = 1 / 8  # a 4-bit weight's step
STEP = 1 / 4  # of a 4-bit activation
Weights = dict[str, Any]


def weights(size: int, channels: int) -> Weights:
    """Integer codes: kernels `[3, 3, inputs, outputs]`, the dense matrix, and biases in steps of 1/16."""
    rng = np.random.default_rng(size)
    made = {
        f"conv{i}": rng.integers(-7, 8, (3, 3, n, channels)) for i, n in enumerate((3, channels, channels))
    }
    made["dense"] = rng.integers(-7, 8, ((size // 4) ** 2 * channels, CLASSES))
    return made | {f"{name}_bias": rng.integers(-7, 8, w.shape[-1]) for name, w in list(made.items())}


# -- Keras ----------------------------------------------------------------------------------------------------------


def keras_model(size: int, channels: int, w: Weights) -> keras.Model:
    def lane(signed: bool, place: str = "datalane") -> Any:
        bits = {"k0": signed, "i0": 1 if signed else 2, "f0": 2}
        return QuantizerConfig("kif", place, **bits, **EVEN)

    def weight(place: str, fraction: int) -> Any:
        return QuantizerConfig("kif", place, k0=True, i0=0, f0=fraction, **EVEN)

    def parameters(signed: bool) -> dict[str, Any]:
        return {"iq_conf": lane(signed), "kq_conf": weight("weight", 3), "bq_conf": weight("bias", 4)}

    def conv(name: str, x: Any, signed: bool, relu: bool) -> Any:
        act = "relu" if relu else None
        return q.QConv2D(channels, 3, padding="same", activation=act, name=name, **parameters(signed))(x)

    x = inputs = keras.Input((size, size, 3), name="image")
    x = keras.layers.MaxPooling2D(2)(conv("conv0", x, True, True))
    y = conv("conv2", conv("conv1", x, False, True), False, False)
    x = q.QAdd(iq_confs=[lane(False), lane(True)])([x, y])
    x = keras.layers.Flatten()(keras.layers.MaxPooling2D(2)(keras.layers.ReLU()(x)))
    x = q.QDense(CLASSES, name="dense", **parameters(False))(x)
    model = keras.Model(inputs, x)
    for name in ("conv0", "conv1", "conv2", "dense"):
        layer = model.get_layer(name)
        layer._kernel.assign((w[name] * WEIGHT).astype("float32"))
        layer.bias.assign((w[f"{name}_bias"] / 16).astype("float32"))
    return model


EVEN = {"overflow_mode": "SAT", "round_mode": "RND_CONV", "heterogeneous_axis": (), "homogeneous_axis": None}


# -- ONNX -----------------------------------------------------------------------------------------------------------


def onnx_model(size: int, channels: int, w: Weights) -> Any:
    g = Graph()

    def lane(x: str, signed: bool) -> str:
        return g.qdq(x, STEP, 0, "int4" if signed else "uint4")

    def conv(name: str, x: str, signed: bool, relu: bool) -> str:
        kernel = g.dq(w[name].transpose(3, 2, 0, 1), WEIGHT, None, "int4")
        bias = g.constant(w[f"{name}_bias"] / 16)
        y: str = g.add("Conv", lane(x, signed), kernel, bias, name=name, pads=[1, 1, 1, 1])
        return g.add("Relu", y) if relu else y

    halved: dict[str, Any] = {"kernel_shape": [2, 2], "strides": [2, 2]}
    image = g.add("Transpose", g.input(["n", size, size, 3], "image"), perm=[0, 3, 1, 2])
    x = g.add("MaxPool", conv("conv0", image, True, True), **halved)
    y = conv("conv2", conv("conv1", x, False, True), False, False)
    x = g.add("Add", lane(x, False), lane(y, True))
    x = g.add("MaxPool", g.add("Relu", x), **halved)
    x = g.add("Flatten", g.add("Transpose", x, perm=[0, 2, 3, 1]))
    x = g.add("MatMul", lane(x, False), g.dq(w["dense"], WEIGHT, None, "int4"), name="dense")
    g.output(g.add("Add", x, g.constant(w["dense_bias"] / 16)))
    return g.model()


# -- tests ----------------------------------------------------------------------------------------------------------


def both(size: int, channels: int, folder: Path) -> tuple[Design, Design, Any, Any]:
    """The design from Keras and the one from ONNX; the two models."""
    w = weights(size, channels)
    model, graph = keras_model(size, channels, w), onnx_model(size, channels, w)
    model.save(folder / "cnn.keras")
    return load_keras(folder / "cnn.keras"), load_onnx(graph), model, graph


def images(size: int, rows: int) -> Any:
    rng = np.random.default_rng(1)
    return (np.rint(rng.normal(0, 1.2, (rows, size, size, 3)) * 16) / 16).astype(np.float32)


def test_both_forms_are_the_same_function(tmp_path: Path) -> None:
    ours, theirs, model, graph = both(16, 4, tmp_path)
    x = images(16, 40)
    mine, other = ours.run(x), theirs.run(x)
    np.testing.assert_array_equal(mine, other)
    np.testing.assert_array_equal(mine.astype(np.float32), predict(model, [x])[0])
    np.testing.assert_array_equal(mine.astype(np.float32), onnxruntime(graph, x)[:, 0])
    assert len(np.unique(mine)) > 40
    for design in (ours, theirs):
        text = print_design(design)
        convolutions = [f for f in functions(design) if f.name.startswith("conv")]
        assert len(convolutions) == 3, "a convolution is one function"
        assert text.count("= map @conv") == 3
        # Half of the lines are weights: a row each.
        assert len(text.splitlines()) < 300 and len(text) < 16_000


@pytest.mark.parametrize("hdl,frontend", [("verilog", "keras"), ("vhdl", "onnx")])
def test_circuit(hdl: str, frontend: str, tmp_path: Path) -> None:
    need_tool("iverilog" if hdl == "verilog" else "ghdl")
    ours, theirs, model, _ = both(4, 2, tmp_path)
    built = build(ours if frontend == "keras" else theirs, clock_ns=4.0, hdl=hdl)
    x = images(4, 40)
    np.testing.assert_array_equal(built.run(x), predict(model, [x])[0])
    folder = built.write(tmp_path / "build", vectors=60, user_vectors={built.design.params[0].name: x})
    result = simulate(folder)
    assert result.passed, result.message
    assert result.vectors >= 100
