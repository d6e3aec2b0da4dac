"""Average pooling and products in Einstein's notation: trained, compiled, saved and exported, number for number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_export import trained
from test_random_models import samples
from torch import nn

import lutc
from lutc import nn as lnn
from lutc.diagnostics import LirError

Case = tuple[Any, tuple[int, ...]]
MODELS: dict[str, Case] = {
    "pool of four": (lambda: [lnn.Quantizer(), lnn.QAvgPool1d(4, fraction=3)], (2, 8)),
    "pool of three, floor": (
        lambda: [lnn.Quantizer(), lnn.QAvgPool1d(3, stride=2, rounding="floor")],
        (2, 8),
    ),
    "pool of six, saturating": (
        lambda: [
            lnn.Quantizer(),
            lnn.QAvgPool2d(
                (2, 3), shape=(2, 1, 1), rounding="nearest-half-even", overflow="saturate", total=6
            ),
        ],
        (2, 4, 6),
    ),
    "pool in a network": (
        lambda: [
            lnn.QConv2d(1, 3, 3),
            lnn.QReLU((3, 1, 1)),
            lnn.QAvgPool2d(3, stride=1),
            nn.Flatten(),
            lnn.QLinear(12, 2),
        ],
        (1, 6, 6),
    ),
    "mix of rows": (lambda: [lnn.QEinsum("bij,ik->bkj", (4, 3)), lnn.QReLU()], (4, 5)),
    "heads": (
        lambda: [
            lnn.Quantizer(),
            lnn.QEinsum("bhid,hde->bihe", (2, 3, 4), data={"shape": (2, 1, 3)}),
            nn.Flatten(),
            lnn.LUTDense(16, 2),
        ],
        (2, 2, 3),
    ),
    "all joined": (lambda: [lnn.QEinsum("bij,ijk->bk", (3, 4, 2))], (3, 4)),
    "by element": (lambda: [lnn.QEinsum("bij,j->bij", (4,), data={"overflow": "saturate"})], (3, 4)),
    "a sum beside": (lambda: [lnn.QEinsum("bcij,ck->bki", (2, 3))], (2, 3, 2)),
    "outer": (lambda: [lnn.QEinsum("bi,jk->bjik", (2, 2))], (3,)),
}


@pytest.mark.parametrize("kind", MODELS)
def test_design_circuit_and_file_are_the_model(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(2)
    layers, shape = MODELS[kind]
    model = trained(layers(), shape, 2)
    x = samples(shape, 500, 2)
    with torch.no_grad():
        want = model(x).numpy()
    assert len(np.unique(want)) > 5
    design = lnn.export(model, shape)
    assert np.array_equal(design.run(x.numpy()), want)
    assert np.array_equal(lutc.compile(design, clock_ns=3).run(x.numpy()), want)
    lnn.export_onnx(model, tmp_path / "m.onnx", shape)
    assert np.array_equal(lutc.load(tmp_path / "m.onnx").run(x.numpy()), want)
    lnn.save(model, tmp_path / "m.pt", shape=shape)
    with torch.no_grad():
        assert np.array_equal(lnn.load(tmp_path / "m.pt")(x).numpy(), want)


def test_a_mean_is_rounded_once() -> None:
    """Every pair of codes, so that all ties are met: (a + b + c) / 3 rounded down, and halves up."""
    codes = torch.cartesian_prod(*[torch.arange(-4.0, 4.0, dtype=torch.float64)] * 3)[:, None]
    for rounding, add in (("floor", 0.0), ("nearest-half-up", 0.5)):
        pool = lnn.QAvgPool1d(3, fraction=0, integer=3, rounding=rounding).eval()
        whole = codes.sum(-1).numpy() * 2 + 6 * add  # of sixths, so that no quotient is rounded
        assert np.array_equal(pool(codes)[..., 0].numpy(), whole // 6)


def test_ebops_of_a_product_count_every_multiplication() -> None:
    layer = lnn.QEinsum("bij,jk->bik", (3, 4), data={"integer": 1, "fraction": 2}, weights={"fraction": 3})
    layer.eval()(torch.zeros(1, 5, 3))
    layer.quantised()
    widths = layer.weight_quantizer.formats().width
    rounding = 4 * 5 * 3  # a LUT per bit of the input's elements
    assert lnn.resource_total(layer).item() == 5 * 4 * widths.sum() + rounding


@pytest.mark.parametrize(
    "equation",
    [
        "bij->bij",
        "bij,jk",
        "bij,bk->bik",
        "bij,jk->ibk",
        "bii,ik->bk",
        "bij,jk->bix",
        "bi,jk->bij",
        "b1,1->b",
    ],
)
def test_equations_of_another_form_are_refused(equation: str) -> None:
    with pytest.raises(ValueError, match="no equation such as"):
        lnn.QEinsum(equation, (3, 3))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        lnn.QEinsum("bij,jk->bik", (3, 3, 3))
    with pytest.raises(ValueError, match="window"):
        lnn.QAvgPool1d(0)
    with pytest.raises(ValueError, match="expected"):
        lnn.QAvgPool2d(2)(torch.zeros(1, 2, 4))
    for pool in (lnn.QAvgPool1d(2), nn.MaxPool1d(2)):
        with pytest.raises(LirError, match=r"takes channels of 1 axes, but is given \[6\]"):
            lnn.export(nn.Sequential(lnn.Quantizer(), pool), (6,))
    with pytest.raises(LirError, match="begins with QAvgPool1d"):
        lnn.export(nn.Sequential(lnn.QAvgPool1d(2)), (2, 4))
    with pytest.raises(LirError, match="is given"):
        lnn.export(nn.Sequential(lnn.QEinsum("bij,jk->bik", (3, 3))), (4, 4))


def test_pooling_and_products_train() -> None:
    """Both learn a target that they can say."""
    torch.manual_seed(0)
    model = nn.Sequential(lnn.Quantizer(), lnn.QEinsum("bij,jk->bki", (3, 2)), lnn.QAvgPool1d(4))
    x = torch.randn(256, 4, 3)
    target = (x.mean(1) @ torch.tensor([[1.0, 0.0], [-0.5, 0.25], [0.5, -1.0]]))[..., None]
    optimiser = torch.optim.Adam(model.parameters(), 2e-2)
    losses = []
    for _ in range(150):
        loss = (model(x) - target).square().mean()
        optimiser.zero_grad()
        torch.autograd.backward(loss + 1e-6 * lnn.resource_total(model))
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 50
