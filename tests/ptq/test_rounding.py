"""Weights: their digits, the bounds they keep to, and that a price buys what it says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lutc.ptq.moments import Moments
from lutc.ptq.rounding import digits, rounded

rng = np.random.default_rng(0)


def canonical(k: int) -> int:
    """Nonzero digits of an integer in canonical signed-digit form, digit by digit."""
    count = 0
    while k:
        if k & 1:
            k -= 2 - (k & 3)
            count += 1
        k >>= 1
    return count


@given(st.integers(-(1 << 20), 1 << 20))
def test_digits(k: int) -> None:
    assert digits(np.array([k]))[0] == canonical(k)


def example(
    rows: int = 500, ins: int = 12, outs: int = 5
) -> tuple[Moments, np.ndarray, np.ndarray, np.ndarray]:
    x = rng.standard_normal((rows, ins)) @ rng.standard_normal((ins, ins))
    w = rng.standard_normal((ins, outs)) * 0.4
    z = x @ w
    xc, zc = x - x.mean(0), z - z.mean(0)
    return Moments(xc.T @ xc / rows, xc.T @ zc / rows, (x.mean(0), z.mean(0))), w, xc, zc


@pytest.mark.parametrize("bits", [2, 3, 4, 6, 8])
def test_better_than_rounding_each_by_itself(bits: int) -> None:
    m, w, x, z = example()
    one = np.ones(w.shape[1])
    r = rounded(m, w, one, np.ones(len(w)), 0.0, bits, fixed=True)
    codes = r.weights / r.step
    assert np.array_equal(codes, np.rint(codes)) and np.abs(codes).max() <= 2 ** (bits - 1) - 1
    assert np.array_equal(r.digits, digits(codes))
    nearest = np.clip(np.rint(w / r.step), -(2 ** (bits - 1) - 1), 2 ** (bits - 1) - 1) * r.step
    assert ((x @ r.weights - z) ** 2).mean() < ((x @ nearest - z) ** 2).mean()


def test_what_a_digit_costs_decides_how_many_there_are() -> None:
    m, w, x, z = example()
    one, counts, errors = np.ones(w.shape[1]), [], []
    for slope in (1e-6, 1e-4, 1e-3, 1e-2, 1e-1, 1e3):
        r = rounded(m, w, one, np.ones(len(w)), slope, 8, fixed=False)
        counts.append(r.digits.sum())
        errors.append(((x @ r.weights - z) ** 2).mean())
    assert counts == sorted(counts, reverse=True) and counts[-1] == 0
    assert errors == sorted(errors)


def test_inputs_that_never_move_take_no_weights() -> None:
    m, w, _, _ = example()
    m.inputs[3], m.inputs[:, 3], m.products[3] = 0, 0, 0
    r = rounded(m, w, np.ones(w.shape[1]), np.ones(len(w)), 0.0, 8, fixed=True)
    assert (r.weights[3] == 0).all() and (r.weights[2] != 0).any()


def test_free_steps_are_no_worse() -> None:
    m, w, x, z = example()
    one = np.ones(w.shape[1])
    powers, free = (rounded(m, w, one, np.ones(len(w)), 0.0, 4, fixed=True, free=f) for f in (False, True))
    assert ((x @ free.weights - z) ** 2).mean() <= 1.1 * ((x @ powers.weights - z) ** 2).mean()
    assert len(set(np.log2(free.step) % 1)) > 1
