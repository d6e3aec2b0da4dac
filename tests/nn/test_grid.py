"""The grid gives the values and all gradients of plain autograd."""

from __future__ import annotations

import copy

import pytest
import torch

from lutc.nn.lut import LUTDense

CASES = [
    {},
    {"batch_norm": False},
    {"overflow": "saturate"},
    {"overflow": "saturate-symmetric", "rounding": "floor"},
    {"rounding": "nearest-half-even", "activation": "relu"},
    {"rounding": "floor", "activation": "silu", "depth": 3, "hidden": 4},
    {"overflow": "saturate", "rounding": "nearest-half-even", "depth": 2, "hidden": 3, "batch_norm": False},
]


def pair(n_in: int, n_out: int, seed: int, **options: object) -> list[LUTDense]:
    """A layer with all sorts of formats, pruned ones included, and its twin by plain autograd."""
    torch.manual_seed(seed)
    grid = LUTDense(n_in, n_out, method="grid", **options).double()  # type: ignore[arg-type]
    iq, tq = grid.input_quantizer, grid.table_quantizer
    with torch.no_grad():
        iq.precision.add_(torch.randint(-8, 2, iq.shape))
        tq.precision.add_(torch.randint(-8, 2, tq.shape))
        tq.integer += torch.randint(-3, 1, tq.shape)
        if not iq.tracks:
            iq.integer += torch.randint(-3, 1, iq.shape)
            iq.sign.copy_(torch.randint(0, 2, iq.shape))
        if grid.batch_norm:
            grid.gamma.normal_()
            grid.beta.normal_()
            grid.running_var.uniform_(0.5, 2)
    reference = copy.deepcopy(grid)
    reference.method = "reference"
    return [grid, reference]


def everything(layer: LUTDense, x: torch.Tensor, weight: torch.Tensor) -> dict[str, torch.Tensor]:
    x = x.clone().requires_grad_()
    y = layer(x)
    torch.autograd.backward((y * weight).sum() + 0.01 * layer.resources())
    found = {"y": y.detach(), "x": x.grad} | {f"grad {k}": p.grad for k, p in layer.named_parameters()}
    return found | {k: v.clone() for k, v in layer.named_buffers()}


@pytest.mark.parametrize(("samples", "n_in", "n_out"), [(1, 1, 1), (20, 3, 2), (300, 5, 7), (5000, 2, 6)])
@pytest.mark.parametrize("options", CASES, ids=str)
def test_equals_plain_autograd(options: dict[str, object], samples: int, n_in: int, n_out: int) -> None:
    layers = pair(n_in, n_out, samples, **options)
    x = torch.randn(samples, n_in, dtype=torch.float64) * 1.5
    weight = torch.randn(samples, n_out, dtype=torch.float64)
    grid, reference = (everything(layer, x, weight) for layer in layers)
    for name, want in reference.items():
        scale = max(want.abs().max().item(), 1e-6)
        torch.testing.assert_close(grid[name], want, rtol=0, atol=1e-9 * scale)


def test_a_grid_larger_than_the_batch_uses_the_samples() -> None:
    grid, reference = pair(2, 2, 0)
    for layer in (grid, reference):
        with torch.no_grad():
            layer.input_quantizer.precision.fill_(9)
    x = torch.randn(12, 2, dtype=torch.float64)
    weight = torch.ones(12, 2, dtype=torch.float64)
    a, b = everything(grid, x, weight), everything(reference, x, weight)
    for name in b:
        torch.testing.assert_close(a[name], b[name], rtol=1e-9, atol=1e-12)


def test_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from lutc.nn import points as module

    layer = pair(5, 7, 1)[0]
    x, weight = torch.randn(300, 5, dtype=torch.float64), torch.randn(300, 7, dtype=torch.float64)
    alone = everything(copy.deepcopy(layer), x, weight)
    monkeypatch.setattr(module, "WORTH_THREADS", 0)
    monkeypatch.setattr(module, "threads", lambda: 3)
    for name, v in everything(layer, x, weight).items():
        assert torch.equal(v, alone[name]), name


def test_float32_is_close_to_float64() -> None:
    double = pair(6, 5, 2, batch_norm=True)[0]
    single = copy.deepcopy(double).float()
    x, weight = torch.randn(400, 6), torch.randn(400, 5)
    a, b = everything(single, x, weight), everything(double, x.double(), weight.double())
    for name in ("grad w_in", "grad b_in", "grad w_out", "grad gamma", "running_mean", "running_var"):
        scale = max(b[name].abs().max().item(), 1e-3)
        torch.testing.assert_close(a[name].double(), b[name], rtol=0, atol=2e-2 * scale)


def test_a_number_that_is_not_finite_is_named() -> None:
    layer = LUTDense(3, 2)
    x = torch.zeros(4, 3)
    x[2, 1] = float("nan")
    with pytest.raises(ValueError, match="input 1 of a LUT layer"):
        layer(x)


def test_resources_are_the_formula() -> None:
    layer = LUTDense(2, 1, integer=2, fraction=3)  # keys of 6 bits, values of 9
    assert layer.resources().item() == pytest.approx(2 * 9 * (0.5 * 2 + 1))
    torch.autograd.backward(layer.resources())
    grad = layer.input_quantizer.precision.grad
    assert grad is not None
    assert grad[0, 0].item() == pytest.approx(9 * 0.5 * 2 * 0.6931471805599453)


def test_padding_points_have_no_weight() -> None:
    """One sample: batch statistics are that sample's, though its table is padded to many points."""
    layer, reference = pair(1, 1, 3)
    x = torch.tensor([[0.3]], dtype=torch.float64)
    assert torch.equal(layer(x), reference(x))
