"""One model of each family through both HDLs in simulation: every vector, the framework's own samples included."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_zoo import compare, config, functional, keras, predict, q, samples, scramble

from conftest import need_tool
from lutc.driver import compile as build
from lutc.driver import simulate

k = keras.layers


def jets(x: Any) -> Any:
    return q.QDense(3, name="out")(
        q.QEinsumDenseBatchnorm("bc,cC->bC", 5, bias_axes="C", activation="relu")(x)
    )


def lut_jets(x: Any) -> Any:
    return q.QDenseT(3, name="out")(q.QDenseT(4, batch_norm=True)(x))


def image(x: Any) -> Any:
    conf = config(overflow_mode="SAT", heterogeneous_axis=())
    x = q.QConv2D(2, 3, activation="relu", iq_conf=conf)(x)
    return q.QDense(3, name="out")(k.Flatten()(k.MaxPooling2D(2)(x)))


FAMILIES = {"jets": (jets, (6,)), "lut_jets": (lut_jets, (5,)), "image": (image, (6, 6, 1))}


@pytest.mark.parametrize("hdl", ["verilog", "vhdl"])
@pytest.mark.parametrize("family", FAMILIES)
def test_circuit(family: str, hdl: str, tmp_path: Path) -> None:
    need_tool("iverilog" if hdl == "verilog" else "ghdl")
    make, shape = FAMILIES[family]
    model = scramble(functional(make, shape), bits=6)
    inputs = samples(model, 60)
    design = compare(model, tmp_path, inputs)
    built = build(design, clock_ns=2.0, hdl=hdl)
    np.testing.assert_array_equal(built.run(*inputs), predict(model, inputs)[0])
    folder = built.write(tmp_path / "build", vectors=100, user_vectors={design.params[0].name: inputs[0]})
    result = simulate(folder)
    assert result.passed, result.message
    assert result.vectors >= 160
