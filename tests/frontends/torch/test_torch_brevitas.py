"""Brevitas layers and their quantisers, read from the live ones."""

from __future__ import annotations

from typing import Any

import brevitas.nn as qnn
import numpy as np
import pytest
from brevitas.inject.enum import RestrictValueType
from brevitas.quant import (
    Int8ActPerTensorFixedPoint,
    Int8WeightPerChannelFloat,
    Int8WeightPerTensorFixedPoint,
    Int16Bias,
    Int32Bias,
    Uint8ActPerTensorFixedPoint,
)
from brevitas.quant.binary import SignedBinaryActPerTensorConst, SignedBinaryWeightPerTensorConst
from brevitas.quant.shifted_scaled_int import ShiftedUint8ActPerTensorFloat
from torch_models import nn, same, samples, theirs, torch

import lutc

# Scales of these are powers of two, so that float32 is exact.
DATA: dict[str, Any] = {"act_quant": Int8ActPerTensorFixedPoint, "return_quant_tensor": True}
WEIGHTS: dict[str, Any] = {"weight_quant": Int8WeightPerTensorFixedPoint, "weight_bit_width": 4}


def trained(*layers: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    """Layers whose quantisers have seen data."""
    torch.manual_seed(0)
    model = nn.Sequential(*layers)
    for seed in range(3):
        model(samples(shape, seed=seed, rows=16)[0][3:] / 2)
    with torch.no_grad():
        for parameter, value in model.named_parameters():
            if parameter.endswith("bias"):
                value.copy_(torch.round(value * 8) / 8)
    return model.eval()


class PerChannel(Int8WeightPerChannelFloat):  # type: ignore[misc]
    restrict_scaling_type = RestrictValueType.POWER_OF_TWO


VECTOR, LINE, IMAGE = (6,), (2, 8), (2, 6, 6)
LAYERS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "QuantIdentity": (lambda: [qnn.QuantIdentity(act_quant=Int8ActPerTensorFixedPoint, bit_width=4)], VECTOR),
    "QuantReLU": (lambda: [qnn.QuantReLU(act_quant=Uint8ActPerTensorFixedPoint, bit_width=3)], VECTOR),
    "QuantHardTanh": (
        lambda: [
            qnn.QuantHardTanh(act_quant=Int8ActPerTensorFixedPoint, min_val=-2.0, max_val=2.0, bit_width=4)
        ],
        VECTOR,
    ),
    "QuantTanh": (
        lambda: [qnn.QuantTanh(act_quant=Int8ActPerTensorFixedPoint, input_quant=Int8ActPerTensorFixedPoint)],
        VECTOR,
    ),
    "QuantSigmoid": (
        lambda: [
            qnn.QuantSigmoid(act_quant=Uint8ActPerTensorFixedPoint, input_quant=Int8ActPerTensorFixedPoint)
        ],
        VECTOR,
    ),
    "QuantLinear": (lambda: [qnn.QuantLinear(6, 3, bias=True, **WEIGHTS)], VECTOR),
    "QuantLinear with quantised bias": (
        lambda: [qnn.QuantLinear(6, 3, bias=True, bias_quant=Int16Bias, **WEIGHTS)],
        VECTOR,
    ),
    "QuantLinear with output": (
        lambda: [qnn.QuantLinear(6, 3, bias=True, output_quant=Int8ActPerTensorFixedPoint, **WEIGHTS)],
        VECTOR,
    ),
    "QuantLinear with input": (
        lambda: [qnn.QuantLinear(6, 3, bias=False, input_quant=Int8ActPerTensorFixedPoint, **WEIGHTS)],
        VECTOR,
    ),
    "QuantLinear per channel": (
        lambda: [qnn.QuantLinear(6, 3, bias=True, weight_quant=PerChannel, weight_bit_width=5)],
        VECTOR,
    ),
    "QuantConv1d": (lambda: [qnn.QuantConv1d(2, 3, 3, bias=True, stride=2, **WEIGHTS)], LINE),
    "QuantConv2d": (
        lambda: [qnn.QuantConv2d(2, 3, 3, bias=True, bias_quant=Int32Bias, padding=1, **WEIGHTS)],
        IMAGE,
    ),
    "QuantConv2d depthwise": (lambda: [qnn.QuantConv2d(2, 2, 3, groups=2, bias=False, **WEIGHTS)], IMAGE),
    "QuantConvTranspose2d": (
        lambda: [qnn.QuantConvTranspose2d(2, 2, 2, stride=2, bias=True, **WEIGHTS)],
        (2, 3, 3),
    ),
    "binary weights": (
        lambda: [qnn.QuantLinear(6, 3, bias=False, weight_quant=SignedBinaryWeightPerTensorConst)],
        VECTOR,
    ),
    "binary data": (lambda: [qnn.QuantIdentity(act_quant=SignedBinaryActPerTensorConst)], VECTOR),
}


@pytest.mark.parametrize("name", LAYERS)
def test_equal(name: str) -> None:
    make, shape = LAYERS[name]
    model = trained(qnn.QuantIdentity(**DATA), *make(), shape=shape)
    if "binary" in name:  # their scale is 0.1, in float32
        close(model, shape)
    else:
        same(model, shape)


def close(model: nn.Module, *shapes: tuple[int, ...]) -> Any:
    """For scales that are no powers of two: off ties, the steps agree, and float32 rounds only their last bits."""
    inputs = [x / 4 + 0.01 for x in samples(*shapes, rows=200)]
    design = lutc.load(model, example_inputs=tuple(inputs))
    got = np.asarray(design.run(*(x.double().numpy() for x in inputs)), dtype=np.float64)
    want = theirs(model, *inputs)
    assert (np.abs(got.reshape(want.shape) - want) > 1e-5 * np.abs(want).max()).mean() < 0.01
    return design


def test_default_quantisers() -> None:
    """Scales learned as floats, and QuantTensors between the layers."""
    model = trained(
        qnn.QuantIdentity(bit_width=4, return_quant_tensor=True),
        qnn.QuantConv2d(1, 2, 3, weight_bit_width=3, bias=True, bias_quant=Int32Bias),
        nn.BatchNorm2d(2),
        qnn.QuantReLU(bit_width=4, return_quant_tensor=True),
        nn.MaxPool2d(2),
        nn.Flatten(),
        qnn.QuantLinear(8, 3, bias=True, weight_bit_width=4),
        shape=(1, 6, 6),
    )
    close(model, (1, 6, 6))


def test_a_zero_point() -> None:
    model = trained(
        qnn.QuantIdentity(act_quant=ShiftedUint8ActPerTensorFloat, bit_width=5), nn.Flatten(), shape=VECTOR
    )
    design = close(model, VECTOR)
    assert design.params[0].offset != 0 or design.outputs[0].offset != (0,)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.data = qnn.QuantIdentity(**DATA)
        self.conv = qnn.QuantConv2d(2, 2, 3, padding=1, bias=False, **WEIGHTS)
        self.add = qnn.QuantEltwiseAdd(
            input_quant=Int8ActPerTensorFixedPoint,
            output_quant=Int8ActPerTensorFixedPoint,
            return_quant_tensor=True,
        )
        self.act = qnn.QuantReLU(act_quant=Uint8ActPerTensorFixedPoint, bit_width=4)

    def forward(self, x: Any) -> Any:
        x = self.data(x)
        return self.act(self.add(x, self.conv(x)))


def test_a_residual_addition() -> None:
    same(trained(Residual(), shape=IMAGE), IMAGE)


def test_the_model_is_left_as_it_was() -> None:
    model = trained(qnn.QuantIdentity(**DATA), qnn.QuantLinear(6, 3, bias=True, **WEIGHTS), shape=VECTOR)
    model.train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    lutc.load(model, example_inputs=torch.zeros(1, 6))
    assert all(m.training for m in model.modules())
    assert not any("forward" in vars(m) for m in model.modules())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
