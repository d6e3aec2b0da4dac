"""The design is ``model.eval()``, number for number, for every layer and mode."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from lutc import nn as lnn
from lutc.diagnostics import LirError

MODELS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "lut": (lambda: [lnn.LUTDense(4, 6), lnn.LUTDense(6, 3)], (4,)),
    "lut saturating": (
        lambda: [lnn.LUTDense(4, 5, overflow="saturate"), lnn.LUTDense(5, 3, overflow="saturate-symmetric")],
        (4,),
    ),
    "lut floor": (
        lambda: [
            lnn.LUTDense(4, 5, rounding="floor", batch_norm=False),
            lnn.LUTDense(5, 3, rounding="nearest-half-even", activation="relu", depth=2),
        ],
        (4,),
    ),
    "dense": (lambda: [lnn.QLinear(4, 6), lnn.QReLU(), lnn.QLinear(6, 3, bias=False)], (4,)),
    "dense modes": (
        lambda: [
            lnn.QLinear(4, 6, data={"overflow": "saturate", "shape": ()}, weights={"rounding": "floor"}),
            lnn.QReLU(overflow="saturate", rounding="nearest-half-even"),
            lnn.QLinear(6, 2, weights={"overflow": "saturate-symmetric", "integer": 0}),
        ],
        (4,),
    ),
    "rows": (lambda: [lnn.LUTDense(4, 6), lnn.Sum(1), lnn.QLinear(6, 3)], (5, 4)),
    "image": (
        lambda: [
            lnn.QConv2d(2, 4, 3, padding=1, groups=2),
            lnn.QReLU((4, 1, 1)),
            nn.MaxPool2d(2),
            lnn.LUTConv2d(4, 3, 2),
            nn.Flatten(),
            lnn.QLinear(12, 2),
        ],
        (2, 6, 6),
    ),
    "waveform": (
        lambda: [
            lnn.LUTConv1d(2, 4, 3, padding=1, stride=2, dilation=2, groups=2),
            lnn.QConv1d(4, 3, 2),
            lnn.QBatchNorm(3),
            nn.Flatten(),
            lnn.LUTDense(9, 2),
        ],
        (2, 10),
    ),
    "volume": (
        lambda: [
            lnn.QConv3d(2, 4, (1, 2, 2), groups=2, stride=(1, 2, 1), data={"shape": ()}),
            lnn.QReLU((4, 1, 1, 1)),
            lnn.LUTConv3d(4, 2, 2, groups=2, dilation=(1, 1, 2)),
            nn.Flatten(),
            lnn.QLinear(4, 3),
        ],
        (2, 3, 4, 4),
    ),
    "depthwise and separable": (
        lambda: [
            lnn.QConv1d(3, 6, 3, groups=3),
            lnn.QConv1d(6, 4, 1),
            lnn.QMaxPool1d(2, stride=1, dilation=2),
        ],
        (3, 8),
    ),
    "particles": (
        lambda: [
            lnn.QEinsum("bij,jk->bik", (4, 5)),
            lnn.QBatchNorm(5, axis=-1),
            lnn.QReLU((1, 5)),
            lnn.Sum(1),
            lnn.QLinear(5, 2),
        ],
        (3, 4),
    ),
    "elementwise": (
        lambda: [
            lnn.QMultiply(
                lnn.Quantizer((4,), fraction=8), lnn.QLinear(4, 4), lnn.Quantizer((4,), fraction=8)
            ),
            lnn.QMaximum(lnn.Quantizer((4,)), lnn.QLinear(4, 4), lnn.Quantizer((4,), fraction=8)),
            lnn.QMinimum(nn.Identity(), lnn.Quantizer((4,), fraction=9)),
        ],
        (4,),
    ),
    "branches": (
        lambda: [
            lnn.Quantizer(overflow="saturate"),
            lnn.QAdd(nn.Identity(), lnn.LUTDense(4, 4)),
            lnn.QConcat(lnn.QLinear(4, 2), lnn.LUTDense(4, 2)),
        ],
        (4,),
    ),
}


def trained(layers: list[nn.Module], shape: tuple[int, ...], seed: int) -> nn.Sequential:
    """A model after a few steps, with formats of all widths, pruned ones included."""
    model = nn.Sequential(*layers)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for q in model.modules():
            if isinstance(q, lnn.Quantizer) and isinstance(q.precision, nn.Parameter):
                q.precision.add_(torch.randint(-7, 1, q.precision.shape, generator=generator))
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(3):
        y = model(torch.randn(64, *shape, generator=generator))
        optimiser.zero_grad()
        torch.autograd.backward(y.square().mean() + 1e-5 * lnn.resource_total(model))
        optimiser.step()
    return model.eval()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", MODELS)
def test_the_design_is_the_model(kind: str, seed: int) -> None:
    torch.manual_seed(seed)
    layers, shape = MODELS[kind]
    model = trained(layers(), shape, seed)
    x = (
        torch.randn(300, *shape, dtype=torch.float64) * 3
    )  # beyond the ranges met in training: wrapping counts
    x[0], x[1] = 1e3, -1e3
    with torch.no_grad():
        want = model(x).numpy()
    assert np.array_equal(np.asarray(lnn.export(model, shape).run(x.numpy())), want)
    assert len(np.unique(want)) > 5


def test_every_code_of_a_single_input() -> None:
    torch.manual_seed(5)
    model = trained([lnn.LUTDense(1, 3)], (1,), 5)
    x = torch.arange(-4096, 4096, dtype=torch.float64)[:, None] / 512
    with torch.no_grad():
        want = model(x).numpy()
    assert np.array_equal(lnn.export(model).run(x.numpy()), want)


def test_all_that_cannot_be_compiled_is_named_at_once() -> None:
    model = nn.Sequential(lnn.LUTDense(4, 4), nn.Tanh(), lnn.LUTDense(4, 4), nn.Softmax(1))
    with pytest.raises(LirError) as caught:
        lnn.export(model)
    assert [d.where for d in caught.value.diagnostics] == ["1", "3"]
    assert "Tanh" in str(caught.value)
    assert "Softmax" in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_model_whose_training_diverged_is_refused(value: float) -> None:
    model = nn.Sequential(lnn.LUTDense(3, 2, hidden=2), lnn.QLinear(2, 1))
    with torch.no_grad():
        next(model[1].parameters()).fill_(value)
    with pytest.raises(LirError, match=r"^1: error: its parameter .* not finite"):
        lnn.export(model)


def test_a_port_cannot_prepare_half_to_even() -> None:
    with pytest.raises(LirError, match="half to even"):
        lnn.export(nn.Sequential(lnn.LUTDense(4, 4, rounding="nearest-half-even")))


def test_export_leaves_the_model_in_its_mode() -> None:
    model = nn.Sequential(lnn.LUTDense(2, 2), lnn.LUTDense(2, 2).eval())
    lnn.export(model)
    assert [m.training for m in model] == [True, False]


def test_a_convolution_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUTC_MAX_OPERATIONS", "1000")
    model = trained([lnn.QConv2d(2, 4, 3)], (2, 9, 9), 0)
    with pytest.raises(LirError, match=r"operations on scalars, and 1,000 are the most"):
        lnn.export(model, (2, 9, 9))
