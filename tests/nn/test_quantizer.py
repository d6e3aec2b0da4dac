"""Quantisers against exact arithmetic, and their gradients against their definition."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch

from lutc.nn.quantizer import LN2, Bits, Quantizer, fake_quantize
from lutc.numbers import quantised
from lutc.types import Fixed, Overflow, Rounding

ROUNDINGS = ["floor", "nearest-half-up", "nearest-half-even"]
OVERFLOWS = ["wrap", "saturate", "saturate-symmetric"]


def samples() -> torch.Tensor:
    """Ties, numbers next to ties, far outliers and plain noise."""
    ties = torch.arange(-40, 41, dtype=torch.float64) / 16
    ties[40] = 1e-300  # beside zero lie numbers too small to be multiplied by a power of two
    near = [torch.nextafter(ties, ties + s) for s in (1.0, -1.0)]
    noise = torch.randn(200, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 4
    return torch.cat(
        [ties, *near, noise, torch.tensor([0.49999999999999994, 1e6 + 0.3, -1e6 - 0.3, 0.0, -1e-300])]
    )


@pytest.mark.parametrize("overflow", OVERFLOWS)
@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize(
    ("signed", "integer", "fraction"),
    [(1, 2, 3), (0, 1, 2), (1, -1, 3), (1, 3, -2), (1, 0, 0), (1, 2, -3), (0, 0, 0)],
)
def test_evaluation_is_exact_arithmetic(
    signed: int, integer: int, fraction: int, rounding: str, overflow: str
) -> None:
    q = Quantizer(
        integer=integer, fraction=fraction, signed=bool(signed), rounding=rounding, overflow=overflow
    ).eval()
    x = samples()
    got = q(x).tolist()
    form = Fixed(bool(signed), max(signed + integer + fraction, 0), fraction)
    for v, y in zip(x.tolist(), got, strict=True):
        want = (
            quantised(Fraction(v), form, Rounding(rounding), Overflow(overflow)) * form.step
            if form.width
            else 0
        )
        assert Fraction(y) == want, v
    assert q.formats().width.item() == form.width


def test_width_gradient_is_that_of_the_error() -> None:
    x = torch.tensor([0.3, -0.7, 1.1], dtype=torch.float64)
    f = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    bits = Bits(torch.ones((), dtype=torch.float64), torch.tensor(3.0, dtype=torch.float64), f)
    y = fake_quantize(x, bits, Rounding.HALF_UP, None)
    torch.autograd.backward(y.sum())
    assert f.grad is not None
    torch.testing.assert_close(f.grad, LN2 * (x - y.detach()).sum())


@pytest.mark.parametrize(("overflow", "low_step"), [("saturate", 0.0), ("saturate-symmetric", -1.0)])
def test_a_saturated_value_follows_its_limit(overflow: str, low_step: float) -> None:
    """The limits 2^i - 2^-f and -2^i (or its mirror) differentiated by hand."""
    i = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    f = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    one = torch.ones((), dtype=torch.float64)
    for value, d_i, d_f in ((9.0, 2.0, 0.25), (-9.0, -2.0, low_step * 0.25)):
        x = torch.tensor([value], dtype=torch.float64, requires_grad=True)
        y = fake_quantize(x, Bits(one, i, f), Rounding.HALF_UP, Overflow(overflow))
        gx, gi, gf = torch.autograd.grad(y.sum(), (x, i, f))
        assert gx.item() == 0
        assert gi.item() == pytest.approx(LN2 * d_i)
        assert gf.item() == pytest.approx(LN2 * d_f)


def test_range_follows_the_data_and_decays() -> None:
    q = Quantizer((2,), integer=0, fraction=2, decay=0.25)
    q(torch.tensor([[3.9, -1.0], [0.5, -1.0]]))
    assert q.integer.tolist() == [2.0 if round(3.9 * 4) / 4 < 4 else 3.0, 0.0]
    for _ in range(4):
        q(torch.tensor([[0.3, 0.3]]))
    assert q.formats().signed.tolist() == [0, 0]
    assert q.integer.tolist()[0] == 2.0
    y = q.eval()(torch.tensor([[1.25, 0.25]]))
    assert y.tolist() == [[1.25, 0.25]]


def test_a_weight_always_fits_its_range() -> None:
    q = Quantizer((3,), integer=0, fraction=4, decay=float("inf")).eval()
    w = torch.tensor([5.3, -0.01, -4.0])
    assert q.constant(w).tolist() == [5.3125, 0.0, -4.0]
    assert q.formats().width.tolist() == [7, 0, 7]


def test_max_bits_holds_and_does_not_trap() -> None:
    q = Quantizer(integer=2, fraction=20, max_bits=8)
    assert q.formats().width.item() == 8
    q(torch.zeros(1)).sum()
    assert q.precision.item() == 5


@pytest.mark.parametrize(
    "options", [{"rounding": "up"}, {"overflow": "clip"}, {"total": 8}, {"integer": -9, "fraction": 2}]
)
def test_refuses_bad_options(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Quantizer(**options)  # type: ignore[arg-type]
