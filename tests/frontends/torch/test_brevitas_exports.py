"""Brevitas models by way of ONNX: both kinds of export load, and equal the PyTorch model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import brevitas.nn as qnn
import numpy as np
import pytest
from brevitas.export import export_onnx_qcdq, export_qonnx
from brevitas.quant import (
    Int8ActPerTensorFixedPoint,
    Int8WeightPerTensorFixedPoint,
    Uint8ActPerTensorFixedPoint,
)
from torch_models import nn, samples, theirs, torch

import lutc

EXPORTS: dict[str, Any] = {"qcdq": export_onnx_qcdq, "qonnx": export_qonnx}
WEIGHTS = {"weight_quant": Int8WeightPerTensorFixedPoint, "weight_bit_width": 4}
BITS = {"return_quant_tensor": True}


def dense() -> tuple[nn.Module, tuple[int, ...]]:
    model = nn.Sequential(
        qnn.QuantIdentity(act_quant=Int8ActPerTensorFixedPoint, bit_width=6, **BITS),
        qnn.QuantLinear(6, 5, bias=True, **WEIGHTS),
        qnn.QuantReLU(act_quant=Uint8ActPerTensorFixedPoint, bit_width=4, **BITS),
        qnn.QuantLinear(5, 3, bias=False, **WEIGHTS),
        qnn.QuantIdentity(act_quant=Int8ActPerTensorFixedPoint, bit_width=8),
    )
    return model, (6,)


def image() -> tuple[nn.Module, tuple[int, ...]]:
    model = nn.Sequential(
        qnn.QuantIdentity(act_quant=Int8ActPerTensorFixedPoint, bit_width=5, **BITS),
        qnn.QuantConv2d(2, 3, 3, padding=1, bias=False, **WEIGHTS),
        qnn.QuantReLU(act_quant=Uint8ActPerTensorFixedPoint, bit_width=3, **BITS),
        nn.MaxPool2d(2),
        nn.Flatten(),
        qnn.QuantLinear(27, 4, bias=True, **WEIGHTS),
        qnn.QuantIdentity(act_quant=Int8ActPerTensorFixedPoint, bit_width=8),
    )
    return model, (2, 6, 6)


@pytest.mark.parametrize("kind", EXPORTS)
@pytest.mark.parametrize("make", [dense, image])
def test_an_export_equals_its_model(make: Any, kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, shape = make()
    for seed in range(3):  # the quantisers take their ranges from what they see
        model(samples(shape, seed=seed, rows=16)[0][3:] / 2)
    model.eval()
    path = tmp_path / "model.onnx"
    EXPORTS[kind](model, torch.zeros(1, *shape), str(path), dynamo=False)
    (data,) = samples(shape)
    want = theirs(model, data)
    got = np.asarray(lutc.load(path).run(data.double().numpy()), dtype=np.float32)
    np.testing.assert_array_equal(got.reshape(want.shape), want)
