"""Weights rounded so that the layer's results stay near, at the least price: error at the output plus adders.

A constant product costs an adder for every nonzero digit of its weight in canonical signed digits, so digits are what
is paid for. The weights of an output are rounded one after another, and those that follow take up the error of those
before (GPTQ: E. Frantar et al., ICLR 2023, arXiv:2210.17323, there with equal steps and without a price); afterwards
each is chosen again with all others known, until nothing changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutc.cmvm.tree import digit_counts

from .formats import FREE
from .moments import Moments

Array = NDArray[Any]

TINY = 1e-30  # in the place of nothing, so that it may divide
DAMPING = 1e-3  # of the mean second moment: weights that the data says little about stay where they were
SWEEPS = 6


@dataclass(frozen=True)
class Rounded:
    """Weights `[K, J]` as multiples of `step [J]`, with their signed digits `[K, J]`."""

    weights: Array
    step: Array
    digits: Array


def digits(codes: Array) -> Array:
    """How many nonzero digits integers have in canonical signed-digit form."""
    return np.asarray(digit_counts(np.asarray(codes).astype(np.int64)), np.float64)


def rounded(
    moments: Moments,
    weights: Array,
    gain: Array,
    cost: Array,
    slope: float,
    most: int,
    fixed: bool,
    free: bool = False,
) -> Rounded:
    """Weights that bring a layer's results on quantised data near to those of the float model.

    `weights [K, J]` are the float model's, `gain [J]` is loss per mean squared error of a result, `cost [K]` LUTs per
    digit of a weight on that input, `slope` loss per LUT, `most` the bits of a weight at most. With `fixed`
    the least error is taken whatever it costs, with `free` an output's step is any number.
    """
    h = moments.inputs
    damping = DAMPING * max(float(np.trace(h)) / len(h), TINY)
    hr = h + damping * np.eye(len(h))
    target = moments.products + damping * weights
    start = np.linalg.solve(hr, target)
    dead = np.diag(h) == 0
    start[dead] = 0
    top = np.ceil(np.log2(np.maximum(np.abs(start).max(0), TINY) * (1 - 2.0**-most)))
    step = 2.0 ** (top - most + 1)
    if free:
        step = step * np.float32(_fraction(start, step, np.diag(hr), 2.0 ** (most - 1) - 1)).astype(
            np.float64
        )
    price = 0.0 if fixed else slope
    limit = 2.0 ** (most - 1) - 1
    gain = np.maximum(gain, TINY)

    def choose(w: Array, weight: float, each: float) -> Array:
        k = w / step
        best, cheapest = np.zeros_like(k), gain * weight * w**2
        for shift in range(most if price else 1):
            unit = 2.0**shift
            low = np.floor(k / unit) * unit
            for code in (low, low + unit):
                code = np.clip(code, -limit, limit)
                now = gain * weight * (w - code * step) ** 2 + price * each * digits(code)
                better = now < cheapest
                best, cheapest = np.where(better, code, best), np.where(better, now, cheapest)
        return np.asarray(best * step)

    order = [i for i in np.argsort(-np.diag(h)) if not dead[i]]
    q = np.zeros_like(start)
    # A row of the inverse's triangular root says how the weights that follow take up an error, as in GPTQ.
    live = np.array(order, dtype=np.int64)
    root = np.linalg.cholesky(np.linalg.inv(hr[np.ix_(live, live)])).T if order else hr[:0, :0]
    w = start[live]
    for k, i in enumerate(order):
        d = root[k, k]
        q[i] = choose(w[k], 1 / d**2, cost[i])
        w[k + 1 :] -= np.outer(root[k, k + 1 :], (w[k] - q[i]) / d)
    for _ in range(SWEEPS):
        before = q.copy()
        for i in order:
            wanted = (target[i] - hr[i] @ q) / hr[i, i] + q[i]
            q[i] = choose(wanted, float(hr[i, i]), cost[i])
        if np.array_equal(before, q):
            break
    step = np.where((q == 0).all(0), 1.0, step)
    return Rounded(q, step, digits(np.rint(q / step)))


def _fraction(w: Array, step: Array, power: Array, limit: float) -> Array:
    """By which part of a power of two an output's step is best made smaller, as its inputs weigh the errors."""
    best, least = np.ones_like(step), np.full(step.shape, np.inf)
    for part in FREE:
        code = np.clip(np.rint(w / (step * part)), -limit, limit)
        now = (power[:, None] * (w - code * step * part) ** 2).sum(0)
        best, least = np.where(now < least, part, best), np.minimum(now, least)
    return best
