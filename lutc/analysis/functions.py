"""What boolean functions cost in LUTs, judged by how many inputs each really depends on."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from lutc.target import Target
from lutc.types import Fixed

Codes = NDArray[np.int64]


def patterns(codes: Codes, width: int) -> Codes:
    """Codes as the bit patterns the wires carry."""
    return np.asarray(codes, dtype=np.int64) & ((1 << width) - 1)


def supports(codes: Codes, width: int) -> list[int]:
    """For each of the `width` output bits of a table, lowest first, the number of inputs it depends on.

    `codes` has `2**k` entries in the order of the key's bit pattern.
    """
    inputs = len(codes).bit_length() - 1
    bits = (patterns(codes, width)[None, :] >> np.arange(width)[:, None]) & 1
    cube = bits.reshape(width, *(2,) * inputs)
    count = np.zeros(width, dtype=np.int64)
    for axis in range(inputs):
        moved = np.moveaxis(cube, axis + 1, 1)
        count += (moved[:, 0] != moved[:, 1]).reshape(width, -1).any(axis=1)
    return count.tolist()


@lru_cache(maxsize=4096)
def function_luts(inputs: int, target: Target) -> float:
    """One boolean function of so many inputs. A constant or a wire costs nothing; small ones share a LUT."""
    if inputs <= 1:
        return 0.0
    if target.fractured and inputs < target.lut_inputs:
        return 0.5
    return float(1 << max(inputs - target.lut_inputs, 0))


def table_luts(codes: Codes, value: Fixed, target: Target) -> float:
    """A whole truth table: its output bits, each by what it depends on."""
    return sum(function_luts(n, target) for n in supports(codes, value.width)) if value.width else 0.0
