"""What boolean functions cost in LUTs, judged by how many inputs each really depends on."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from lutc.target import Target

Codes = NDArray[np.int64]


def patterns(codes: Codes, width: int) -> Codes:
    """Codes as the bit patterns the wires carry."""
    return np.asarray(codes, dtype=np.int64) & ((1 << width) - 1)


def dependence(codes: Codes, width: int) -> NDArray[np.bool_]:
    """Which of a table's output bits, lowest first, depend on which bits of its key.

    codes: [..., 2**k], entries in the order of the key's bit pattern on the last axis.  result: [..., width, k].
    """
    words = patterns(codes, width)
    flipped = _flips(words.shape[-1].bit_length() - 1)
    changed = np.bitwise_or.reduce(words[..., None, :] ^ words[..., flipped], axis=-1)
    depends: NDArray[np.bool_] = (changed[..., None, :] >> np.arange(width)[:, None] & 1).astype(bool)
    return depends


@lru_cache(maxsize=32)
def _flips(inputs: int) -> Codes:
    """For each bit of a key, [k, 2**k], the entry whose key differs in that bit."""
    flips: Codes = np.arange(1 << inputs) ^ (1 << np.arange(inputs))[:, None]
    return flips


@lru_cache(maxsize=4096)
def function_luts(inputs: int, target: Target) -> float:
    """One boolean function of so many inputs. A constant or a wire costs nothing; small ones share a LUT."""
    if inputs <= 1:
        return 0.0
    if target.fractured and inputs < target.lut_inputs:
        return 0.5
    return float(1 << max(inputs - target.lut_inputs, 0))


def table_luts(codes: Codes, width: int, target: Target) -> float:
    """A whole truth table, [2**k] with `width` output bits: each by what it depends on.

    Two share a fractured LUT if they have few enough inputs together. One that finds no other in its table finds one
    of another table with the same inputs, or has the LUT alone: half a loss, half the time.
    """
    if not width:
        return 0.0
    total = 0.0
    small: list[int] = []
    for mask in dependence(codes, width) @ (1 << np.arange(len(codes).bit_length() - 1)):
        inputs = int(mask).bit_count()
        if target.fractured and 1 < inputs < target.lut_inputs:
            small.append(int(mask))
        else:
            total += function_luts(inputs, target)
    small.sort(key=int.bit_count)
    while small:
        one = small.pop()
        fits = [m for m in small if (m | one).bit_count() < target.lut_inputs]
        if fits:
            small.remove(max(fits, key=lambda m: (m & one).bit_count()))
        total += 1.0 if fits else 0.75
    return total


def tables_luts(codes: Codes, width: int, target: Target) -> NDArray[np.float64]:
    """Roughly that for many tables of one format at once: codes of shape [n, 2**k] give [n]."""
    if not width:
        return np.zeros(len(codes))
    prices = np.array([function_luts(n, target) for n in range(codes.shape[-1].bit_length())])
    total: NDArray[np.float64] = prices[dependence(codes, width).sum(axis=-1)].sum(axis=-1)
    return total
