"""The compiled passes of quantisers give the values, ranges and gradients of plain operations of torch."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lutc import nn as lnn
from lutc.nn import fused

MODES = [(r, o) for r in ("floor", "nearest-half-up", "nearest-half-even")
         for o in ("wrap", "saturate", "saturate-symmetric")]  # fmt: skip
SHAPES = [((), (33, 5)), ((5,), (700, 5)), ((3, 1), (40, 3, 7)), ((4, 5), (9, 4, 5)), ((1, 5), (9, 4, 5))]


def both(module: nn.Module, run: Callable[[Any, Tensor], Tensor], x: Tensor) -> list[dict[str, Any]]:
    """What a module gives by either way: value, gradients, and the state afterwards."""
    found = []
    for compiled in (True, False):
        twin = copy.deepcopy(module).train()
        data = x.clone().requires_grad_()
        if compiled:
            y = run(twin, data)
        else:
            with fused.plain():
                y = run(twin, data)
        weight = torch.linspace(-1, 2, y.numel(), dtype=y.dtype).view_as(y)
        torch.autograd.backward((y * weight).sum())
        made = {"y": y.detach(), "x": data.grad} | {f"d {k}": p.grad for k, p in twin.named_parameters()}
        found.append(made | {k: v.detach() for k, v in twin.state_dict().items()})
    return found


def same(found: list[dict[str, Any]], exact: bool = False) -> None:
    first, second = found
    for name, value in first.items():
        if value is None or second[name] is None:
            assert value is second[name], name
        else:
            torch.testing.assert_close(
                value, second[name], rtol=0 if exact else 1e-9, atol=0 if exact else 1e-9
            )


def quantiser(shape: tuple[int, ...], rounding: str, overflow: str, by_total: bool) -> lnn.Quantizer:
    """All sorts of widths, none included."""
    options: dict[str, Any] = {"total": 4} if by_total else {"fraction": 2}
    q = lnn.Quantizer(shape, integer=1, rounding=rounding, overflow=overflow, max_bits=7, **options).double()
    with torch.no_grad():
        q.precision.add_(torch.randint(-5, 5, q.shape) + 0.3)
        q.integer.add_(torch.randint(-2, 2, q.shape))
        if not q.tracks:
            q.sign.copy_(torch.randint(0, 2, q.shape))
    return q


@pytest.mark.parametrize(("rounding", "overflow"), MODES)
@pytest.mark.parametrize(("shape", "size"), SHAPES)
def test_data(shape: tuple[int, ...], size: tuple[int, ...], rounding: str, overflow: str) -> None:
    torch.manual_seed(len(rounding) + len(overflow) + math.prod(size))
    for by_total in [False] + [True] * (overflow != "wrap"):
        q = quantiser(shape, rounding, overflow, by_total)
        x = torch.randn(size, dtype=torch.float64) * 3
        x[::2] = torch.round(x[::2] * 4) / 8  # ties
        assert fused.can(q, x) is not None
        same(both(q, lambda m, v: m(v), x))


@pytest.mark.parametrize(("rounding", "overflow"), MODES)
@pytest.mark.parametrize("shape", [(), (6, 1), (6, 4)])
def test_constants(shape: tuple[int, ...], rounding: str, overflow: str) -> None:
    torch.manual_seed(len(shape))
    for scale in (0.0, 1e-3, 1.0, 500.0):  # beyond max_bits too, where a range is asked for again
        q = quantiser(shape, rounding, overflow, False)
        same(both(q, lambda m, w: m.constant(w), torch.randn(6, 4, dtype=torch.float64) * scale))


def test_blocks_do_not_change_the_values() -> None:
    """Many blocks: the ranges and values are those of one, in single precision too."""
    q = lnn.Quantizer((3,), integer=0, fraction=4)
    x = torch.randn(40_000, 3) * 5
    found = both(q, lambda m, v: m(v), x)
    for name in ("y", "x", "integer", "sign"):
        assert torch.equal(found[0][name], found[1][name]), name
    torch.testing.assert_close(found[0]["d fraction"], found[1]["d fraction"], rtol=1e-4, atol=1e-2)


def test_a_number_that_is_none_stays_none() -> None:
    for overflow in ("wrap", "saturate"):
        y = lnn.Quantizer(overflow=overflow).train()(torch.tensor([[math.nan, 1.0]]))
        assert y.isnan().tolist() == [[True, False]]


def test_formats_in_another_order_take_the_plain_way() -> None:
    q = lnn.Quantizer((3, 1, 2), fraction=2).double()
    x = torch.randn(5, 3, 4, 2, dtype=torch.float64)
    assert fused.can(q, x) is None
    same(both(q, lambda m, v: m(v), x), exact=True)


def test_networks_train_alike() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(lnn.QConv1d(2, 3, 2), nn.Flatten(), lnn.QReLU(), lnn.QLinear(9, 4)).double()

    def cost(m: Any, x: Tensor) -> Tensor:
        y: Tensor = m(x) + 1e-2 * lnn.resource_total(m)
        return y

    same(both(model, cost, torch.randn(30, 2, 4, dtype=torch.float64)))
