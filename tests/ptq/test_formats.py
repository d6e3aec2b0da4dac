"""Formats of data: the cheapest of all, by trying every one."""

from __future__ import annotations

import numpy as np
import pytest

from lutc.ptq.formats import HEADROOM, by_channel, chosen, quantised

rng = np.random.default_rng(0)


def price(
    x: np.ndarray, gain: float, cost: float, slope: float, step: float, bits: int, signed: bool
) -> float:
    half = 2 ** (bits - 1)
    lo, hi = (-half, half - 1) if signed else (0, 2 * half - 1)
    codes = [min(max(np.floor(v / step + 0.5), lo), hi) for v in x]
    return gain * float(np.mean((np.array(codes) * step - x) ** 2)) + slope * cost * bits


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("slope", [1e-6, 1e-4, 1e-2])
def test_no_format_is_cheaper(signed: bool, slope: float) -> None:
    x = rng.standard_normal((60, 3)) * [0.1, 1, 30]
    x = x if signed else np.abs(x)
    gain, cost = np.array([1.0, 0.3, 0.01]), np.array([5.0, 20, 50])
    found = chosen(x, gain, cost, slope, (0, 7))
    for c in range(3):
        top = int(np.ceil(np.log2(np.abs(x[:, c]).max())))
        tried = [gain[c] * float((x[:, c] ** 2).mean())] + [
            price(x[:, c], gain[c], cost[c], slope, 2.0 ** (top - down - bits + signed), bits, signed)
            for down in range(HEADROOM + 1)
            for bits in range(1, 8)
        ]
        if found.bits[c]:
            mine = price(x[:, c], gain[c], cost[c], slope, found.step[c], int(found.bits[c]), signed)
        else:
            mine = tried[0]
        assert mine <= min(tried) * (1 + 1e-5)


def test_what_tells_nothing_takes_no_bits() -> None:
    x = rng.standard_normal((60, 2))
    found = chosen(x, np.array([1e-9, 1.0]), np.array([50.0, 50]), 1e-4, (0, 8))
    assert found.bits[0] == 0 and found.bits[1] > 2
    step, lo, hi = found.arrays
    assert (quantised(x, step, lo, hi)[:, 0] == 0).all()


def test_widths_are_kept_to() -> None:
    x = rng.standard_normal((60, 4))
    found = chosen(x, np.ones(4), np.ones(4), 1e-9, (3, 5))
    assert (found.bits == 5).all()
    found = chosen(x, np.full(4, 1e-9), np.ones(4), 1.0, (3, 5))
    assert (found.bits == 3).all()


def test_channels_of_a_tensor() -> None:
    x = rng.standard_normal((5, 3, 4))
    assert np.array_equal(by_channel(x, 1)[:4], x[0].T)
    assert by_channel(x, None).shape == (60, 1)
    assert by_channel(x, 2, samples=7).shape == (7, 4)
