"""What costs, counts: every layer that makes hardware has resources, and a strong beta presses every trained width."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lutc import nn as lnn
from lutc.nn import costs
from lutc.nn.quantizer import Layer

Make = Callable[[], nn.Module]
ROW: tuple[int, ...] = (6,)
LINE, IMAGE, SEQUENCE = (2, 8), (2, 6, 6), (4, 6)


def graph() -> nn.Module:
    layers = {"a": lnn.QLinear(6, 6), "b": lnn.Quantizer(), "c": lnn.Add(), "d": lnn.QAffine((6,), (6,))}
    return lnn.Graph(layers, {"a": ["x"], "b": ["x"], "c": ["a", "b"], "d": ["c"]})


LAYERS: list[tuple[str, Make, tuple[int, ...]]] = [
    ("QLinear", lambda: lnn.QLinear(6, 3), ROW),
    ("QLinear per tensor", lambda: lnn.QLinear(6, 3, data={"shape": ()}, weights={"shape": ()}), ROW),
    ("QLinear per output", lambda: lnn.QLinear(6, 3, weights={"shape": (3, 1)}), ROW),
    ("QLinear per position", lambda: lnn.QLinear(6, 3, data={"shape": SEQUENCE}), SEQUENCE),
    ("QLinear saturating", lambda: lnn.QLinear(6, 3, data={"overflow": "saturate", "total": 6}), ROW),
    ("QConv1d", lambda: lnn.QConv1d(2, 4, 3, groups=2), LINE),
    ("QConv2d", lambda: lnn.QConv2d(2, 3, 2, padding=1, data={"shape": IMAGE}), IMAGE),
    ("QEinsum", lambda: lnn.QEinsum("bij,jk->bik", (6, 3)), SEQUENCE),
    ("QReLU", lambda: lnn.QReLU((6,)), ROW),
    ("Quantizer", lambda: lnn.Quantizer((6,)), ROW),
    ("QBatchNorm", lambda: nn.Sequential(lnn.Quantizer(), lnn.QBatchNorm(6)), ROW),
    ("QAdd", lambda: lnn.QAdd(lnn.Quantizer(), lnn.QLinear(6, 6)), ROW),
    ("QConcat", lambda: lnn.QConcat(lnn.Quantizer(), lnn.QLinear(6, 6)), ROW),
    ("Sum", lambda: nn.Sequential(lnn.Quantizer(), lnn.Sum()), SEQUENCE),
    ("QMean", lambda: nn.Sequential(lnn.Quantizer(), lnn.QMean([1])), SEQUENCE),
    ("QAvgPool1d", lambda: nn.Sequential(lnn.Quantizer(), lnn.QAvgPool1d(2)), LINE),
    ("QAvgPool2d", lambda: nn.Sequential(lnn.Quantizer(), lnn.QAvgPool2d(2)), IMAGE),
    ("QMaxPool1d", lambda: nn.Sequential(lnn.Quantizer(), lnn.QMaxPool1d(2)), LINE),
    ("QMaxPool2d", lambda: nn.Sequential(lnn.Quantizer(), lnn.QMaxPool2d(2)), IMAGE),
    ("QFunction", lambda: lnn.QFunction("tanh"), ROW),
    ("QSoftmax", lambda: lnn.QSoftmax(), ROW),
    ("QAttention", lambda: lnn.QAttention(6, 2), SEQUENCE),
    ("Graph", graph, ROW),
    ("LUTDense", lambda: lnn.LUTDense(6, 3), ROW),
    ("LUTConv1d", lambda: lnn.LUTConv1d(2, 4, 3, groups=2, dilation=2), LINE),
    ("LUTConv2d", lambda: lnn.LUTConv2d(2, 2, 2), IMAGE),
]  # fmt: skip
BY_NAME = pytest.mark.parametrize(("make", "shape"), [t[1:] for t in LAYERS], ids=[t[0] for t in LAYERS])


def widths(model: nn.Module) -> dict[str, float]:
    """Mean trained width by parameter: of a quantiser by total bits these alone, for the others only share them out."""
    found: dict[str, float] = {}
    for where, q in model.named_modules():
        if isinstance(q, lnn.Quantizer):
            names = ["total"] if q.by_total else ["fraction", "integer"]
            found |= {
                f"{where}.{n}".lstrip("."): q.get_parameter(n).mean().item()
                for n in names
                if n in q._parameters
            }
    return found


def stirred(model: nn.Module) -> nn.Module:
    """The model with no weight, bias or shift of 0, which would have no bits to lose."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name not in widths(model):
                p.uniform_(0.3, 0.9)
    return model


@BY_NAME
def test_every_width_falls_under_a_strong_beta(make: Make, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    model = stirred(make())
    optimiser = torch.optim.Adam(model.parameters(), 0.1)
    before, data = widths(model), torch.randn(32, *shape)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(12):
            model(data)
            optimiser.zero_grad()
            torch.autograd.backward(1e3 * lnn.resource_total(model))
            optimiser.step()
    assert before
    for name, now in widths(model).items():
        assert now < before[name] - 0.5, f"{name}: {before[name]} -> {now}"


@BY_NAME
def test_every_layer_costs_something_and_rows_add_up(make: Make, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    model = make()
    model(torch.randn(8, *shape))
    table = lnn.resources(model)
    assert table.layers
    assert all(row.luts.item() > 0 for row in table.layers), str(table)
    torch.testing.assert_close(lnn.resource_total(model), table.total)
    assert str(table).count("\n") == len(table.layers) + 1


@BY_NAME
def test_the_compiled_sums_are_those_of_torch(make: Make, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    model = make()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.rsplit(".", 1)[-1] in ("fraction", "integer", "total"):
                p.add_(torch.randint(-7, 2, p.shape))
    model(torch.randn(8, *shape))
    layers: list[Any] = [m for m in model.modules() if hasattr(m, "costs")]
    items = [item for layer in layers for item in layer.costs()]
    for item in items:
        model.zero_grad()
        torch.autograd.backward(costs.total([item]))
        compiled = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        model.zero_grad(set_to_none=True)
        by_torch = costs.plain(item)
        torch.autograd.backward(by_torch)
        torch.testing.assert_close(costs.total([item]), by_torch)
        for name, p in model.named_parameters():
            if p.grad is not None:
                torch.testing.assert_close(compiled[name], p.grad)


def test_a_bit_of_bias_or_batch_norm_counts() -> None:
    """The totals with and without; they were the same once."""
    torch.manual_seed(0)
    x = torch.randn(20, 6)
    totals = []
    for model in (
        lnn.QLinear(6, 3, bias=False),
        lnn.QLinear(6, 3),
        nn.Sequential(lnn.QLinear(6, 3), lnn.QBatchNorm(3)),
    ):
        with torch.no_grad():
            for p in model.parameters():
                p.fill_(1.0)
        model(x)
        totals.append(lnn.resource_total(model).item())
    assert totals[0] < totals[1] < totals[2]


def test_formats_of_many_weights_count_for_each() -> None:
    """One format for the tensor costs what as many equal ones do."""
    totals = []
    for shape in ((3, 6), (3, 1), ()):
        torch.manual_seed(0)
        layer = lnn.QLinear(
            6, 3, bias=False, weights={"shape": shape, "overflow": "saturate", "total": 5, "integer": 0}
        )
        layer(torch.ones(4, 6))
        totals.append(layer.resources().item())
    assert totals[0] == totals[1] == totals[2] > 0


class Own(nn.Module):
    """Arithmetic by hand, between layers and in another module's place."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.pool = lnn.QLinear(6, 6), nn.AvgPool1d(2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.pool(x + self.layer(x))
        return y


def test_what_is_not_counted_is_named_once() -> None:
    model = nn.Sequential(Own())
    with pytest.warns(UserWarning, match=r"0 \(Own\) computes \+ .*0\.pool is torch's AvgPool1d"):
        lnn.resource_total(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lnn.resource_total(model)
        lnn.resources(model)


class Moves(nn.Module):
    """Moves numbers about, and counts what it costs by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = lnn.QLinear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x.reshape(-1, 6)).flatten(1)
        return y


class Counted(Layer):
    """Counts by itself what it computes."""

    def forward(self, x: Tensor) -> Tensor:
        return x + x

    def resources(self) -> Tensor:
        return torch.tensor(5.0)

    def resource_bits(self) -> tuple[Tensor, Tensor]:
        return torch.ones(1), torch.ones(1)


def test_no_warning_without_a_reason() -> None:
    models: list[Any] = [
        Moves(),
        nn.Sequential(Counted()),
        nn.Sequential(nn.Flatten(), nn.ReLU(), nn.Dropout()),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for model in models:
            lnn.resources(model)
