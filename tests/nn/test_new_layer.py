"""A layer that lutc.nn does not know is one class and one rule: CONTRIBUTING.md says so, and this is its example."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from lutc import nn as lnn
from lutc.ir.graph import Value
from lutc.nn.quantizer import Layer
from lutc.nn.rules import Exporter, lower, quantise


class QScale(Layer):
    """``Q(x) * 2**shift``: free in hardware."""

    def __init__(self, shift: int) -> None:
        super().__init__()
        self.shift, self.quantizer = shift, lnn.Quantizer(overflow="saturate")

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.quantizer(x) * 2.0**self.shift
        return y


@lower.register
def _(layer: QScale, b: Exporter, x: Value) -> Value:
    return b.scale(quantise(layer.quantizer, b, x), by=Fraction(2) ** layer.shift)  # type: ignore[no-any-return]


def test_a_layer_is_one_rule() -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(lnn.QLinear(4, 3), QScale(-2), lnn.QReLU()).eval()
    x = torch.randn(20, 4, dtype=torch.float64)
    design = lnn.export(model)
    np.testing.assert_array_equal(np.asarray(design.run(x.numpy()), dtype=float), model(x).detach().numpy())
