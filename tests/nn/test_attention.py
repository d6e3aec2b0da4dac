"""Functions by table, softmax and self-attention: compiled, simulated, saved and exported, number for number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_random_models import samples
from torch import nn

import lutc
from lutc import nn as lnn
from lutc.diagnostics import LirError
from lutc.nn.attention import QProduct
from lutc.nn.function import FUNCTIONS

Case = tuple[Any, tuple[int, ...]]
MODELS: dict[str, Case] = {
    "functions": (
        lambda: [
            lnn.QFunction("tanh", data={"overflow": "saturate"}),
            lnn.QFunction("exp", scale=-2, table={"overflow": "wrap", "rounding": "floor"}),
            lnn.QFunction("sin", data={"overflow": "saturate-symmetric", "rounding": "floor", "integer": 4}),
        ],
        (5,),
    ),
    "softmax": (lambda: [lnn.QSoftmax()], (4,)),
    "softmax of the rows": (
        lambda: [
            lnn.QSoftmax(1, scale=0.5, data={"shape": (5, 1), "overflow": "saturate"}),
            lnn.QLinear(3, 2),
        ],
        (5, 3),
    ),
    "softmax without a maximum": (
        lambda: [
            lnn.QLinear(3, 4),
            lnn.QSoftmax(-2, stable=False, keys={"integer": 2}, total={"overflow": "wrap"}),
        ],
        (3, 3),
    ),
    "softmax of few bits": (
        lambda: [lnn.QSoftmax(exp={"integer": 0, "fraction": 4}, total={"integer": 2, "fraction": 2})],
        (3,),
    ),
    "attention": (lambda: [lnn.QAttention(4), nn.Flatten(), lnn.QLinear(12, 2)], (3, 4)),
    "heads": (
        lambda: [
            lnn.QAttention(
                3,
                2,
                2,
                out=4,
                bias=False,
                data={"overflow": "saturate", "shape": (3,)},
                weights={"fraction": 4},
                products={"fraction": 3, "overflow": "saturate"},
                shares={"rounding": "floor"},
                softmax={"stable": False},
            ),
            lnn.LUTDense(4, 2),
        ],
        (4, 3),
    ),
    "a residual": (lambda: [lnn.Quantizer(), lnn.QAdd(nn.Identity(), lnn.QAttention(4, 2))], (3, 4)),
}


def trained(make: Any, shape: tuple[int, ...], seed: int) -> nn.Sequential:
    """A model after a few steps, with formats of several widths."""
    torch.manual_seed(seed)
    model = nn.Sequential(*make())
    with torch.no_grad():
        for q in model.modules():
            if isinstance(q, lnn.Quantizer) and isinstance(q.precision, nn.Parameter):
                q.precision.sub_(torch.randint(0, 3, q.precision.shape))
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(3):
        y = model(torch.randn(64, *shape))
        optimiser.zero_grad()
        torch.autograd.backward(y.square().mean() + 1e-5 * lnn.resource_total(model))
        optimiser.step()
    return model.eval()


@pytest.mark.parametrize("kind", MODELS)
def test_design_circuit_and_file_are_the_model(kind: str, tmp_path: Path) -> None:
    layers, shape = MODELS[kind]
    model = trained(layers, shape, 1)
    x = samples(shape, 10_000, 1)
    with torch.no_grad():
        want = model(x).numpy()
    assert len(np.unique(want)) > 10
    design = lutc.load(model, example_inputs=x)
    assert np.array_equal(design.run(x.numpy()), want)
    assert np.array_equal(lutc.compile(design, clock_ns=3).run(x[:1000].numpy()), want[:1000])
    lnn.export_onnx(model, tmp_path / "m.onnx", shape)
    assert np.array_equal(lutc.load(tmp_path / "m.onnx").run(x[:1000].numpy()), want[:1000])
    lnn.save(model, tmp_path / "m.pt", shape=shape)
    with torch.no_grad():
        assert np.array_equal(lnn.load(tmp_path / "m.pt")(x).numpy(), want)


class Block(nn.Module):
    """A user's own module: traced, with its layers taken whole."""

    def __init__(self) -> None:
        super().__init__()
        self.start, self.mix, self.gate = lnn.Quantizer(), lnn.QAttention(4, 2), lnn.QFunction("sigmoid")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.start(x)
        y = self.mix(x)
        return x + self.gate(y)  # type: ignore[no-any-return]


def test_layers_inside_a_module_of_the_user() -> None:
    model = trained(lambda: [Block()], (3, 4), 2)[0]
    x = samples((3, 4), 500, 2)
    with torch.no_grad():
        want = model(x).numpy()
    assert np.array_equal(lutc.load(model, example_inputs=x).run(x.numpy()), want)
    assert len(np.unique(want)) > 10


def test_softmax_is_softmax() -> None:
    """With many bits it is the function of floating point to the accuracy of its tables."""
    wide: Any = {"fraction": 9, "max_bits": 14}
    softmax = lnn.QSoftmax(data=wide, keys=wide, exp=wide, total=wide, inverse=wide).eval()
    softmax.input_quantizer.integer.fill_(4)
    x = torch.randn(1000, 4, dtype=torch.float64)
    assert (softmax(x) - torch.softmax(x, -1)).abs().max() < 0.01
    bare = lnn.QSoftmax(stable=False, data=wide, keys=wide, exp=wide, total=wide, inverse=wide).eval()
    assert (bare(x.clamp(-2, 1.5)) - torch.softmax(x.clamp(-2, 1.5), -1)).abs().max() < 0.01


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_code_of_a_function(name: str) -> None:
    layer = lnn.QFunction(name, scale=0.75, data={"integer": 3, "fraction": 3, "overflow": "saturate"}).eval()
    x = torch.arange(-1024, 1024, dtype=torch.float64)[:, None] / 64
    want = layer(x)
    assert np.array_equal(lnn.export(layer, (1,)).run(x.numpy()), want.numpy())
    close = layer.table_quantizer(FUNCTIONS[name](0.75 * layer.input_quantizer(x)))
    assert (want - close).abs().max() <= 2.0**-6
    assert len(want.unique()) > 8


def test_training_and_evaluation_agree() -> None:
    """Where nothing wraps, the values of training are those of evaluation to float32's accuracy."""
    torch.manual_seed(0)
    layer = lnn.QAttention(
        4, 2, data={"overflow": "saturate", "fraction": 4}, products={"overflow": "saturate"}
    )
    x = torch.randn(200, 3, 4)
    layer(x)
    lnn.trace_ranges(layer, [x])
    layer.train()
    found, want = layer(x), layer.eval()(x)
    assert (found - want).abs().max() < 1e-5


def test_ebops_count_every_product_and_table() -> None:
    product = QProduct("bid,bjd->bij", left={"fraction": 3}, right={"fraction": 1})
    assert lnn.resource_total(product).item() == 0
    product(torch.zeros(1, 3, 2), torch.zeros(1, 5, 2))
    assert lnn.resource_total(product).item() == 3 * 5 * 2 * 6 * 4 + 6 * 6 + 10 * 4  # and rounding
    softmax = lnn.QSoftmax(keys={"integer": 3, "fraction": 3}, exp={"integer": 1, "fraction": 5})
    softmax(torch.zeros(1, 7, 4))
    tables = 28 * 6 * (0.5 * 2 + 1) + 7 * 8 * (0.5 * 8 + 1)
    limits = 2 * 28 * 6 + 2 * 7 * 8  # rounding and saturating before the tables
    sums = 28 * 6 + 3 * 28 * 9  # of exponentials; comparison, choice and difference with the maximum
    assert lnn.resource_total(softmax).item() == tables + 28 * 6 * 8 + limits + sums + 28 * 9
    cost = lnn.resource_total(lnn.QAttention(4))
    torch.autograd.backward(cost)
    found = lnn.resources(nn.Sequential(lnn.QAttention(4)))
    assert {r.kind for r in found.layers} == {"QLinear", "QProduct", "QSoftmax", "QFunction"}


def test_attention_learns_what_no_linear_model_can() -> None:
    """The first feature of the position whose second is largest: attention finds it, a linear model cannot."""
    torch.manual_seed(0)
    x = torch.randn(2048, 4, 2)
    target = x[torch.arange(len(x)), x[..., 1].argmax(1), 0]
    rows = torch.cat([x.flatten(1), torch.ones(len(x), 1)], 1)
    linear = (rows @ torch.linalg.lstsq(rows, target[:, None]).solution)[:, 0]
    baseline = (linear - target).square().mean().item()
    model = nn.Sequential(lnn.QAttention(2, 1, 4), nn.Flatten(), lnn.QLinear(8, 1))
    optimiser = torch.optim.Adam(model.parameters(), 2e-2)
    for k in range(200):
        part = torch.arange(k * 128, (k + 1) * 128) % len(x)
        loss = (model(x[part])[:, 0] - target[part]).square().mean()
        optimiser.zero_grad()
        torch.autograd.backward(loss + 1e-7 * lnn.resource_total(model))
        optimiser.step()
    lnn.trace_ranges(model, [x])
    with torch.no_grad():
        found = (model.eval()(x)[:, 0] - target).square().mean().item()
    assert found < baseline / 2, (found, baseline)


@pytest.mark.parametrize("hdl", ["verilog", "vhdl"])
def test_attention_in_both_languages(hdl: Any, tmp_path: Path) -> None:
    small: Any = {"fraction": 4}
    model = trained(lambda: [lnn.QAttention(2, data=small, weights=small, products=small)], (2, 2), 3)
    x = samples((2, 2), 60, 3)
    build = lutc.compile(lnn.export(model, (2, 2)), clock_ns=4, hdl=hdl)
    folder = build.write(tmp_path, vectors=60, user_vectors={"": x.numpy()})
    result = lutc.simulate(folder)
    assert result.passed, result.message
    assert result.vectors >= 120


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="no equation such as"):
        QProduct("bij,cjk->bik")
    with pytest.raises(ValueError, match="is not one of"):
        lnn.QFunction("sinh")
    with pytest.raises(ValueError, match="one format"):
        lnn.QFunction("exp", data={"shape": (3,)})
    with pytest.raises(ValueError, match="16 at most"):
        lnn.QFunction("exp", data={"max_bits": 20})
    with pytest.raises(ValueError, match="not finite"):
        lnn.QFunction("exp").eval()(torch.tensor([[float("nan")]]))
    with pytest.raises(ValueError, match="batch"):
        lnn.QSoftmax(0)
    with pytest.raises(ValueError, match="give dim"):
        lnn.QAttention(3, 2)
    with pytest.raises(LirError, match="axis is 3"):
        lnn.export(lnn.QSoftmax(3), (4,))
    with pytest.raises(LirError, match=r"takes \[positions, features\]"):
        lnn.export(nn.Sequential(lnn.Quantizer(), lnn.QAttention(4)), (4,))
