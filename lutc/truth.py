"""What boolean functions cost in LUTs, judged by how many inputs each really depends on."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutc.target import Target

Codes = NDArray[np.int64]


def patterns(codes: Codes, width: int) -> Codes:
    """Codes as the bit patterns the wires carry."""
    return np.asarray(codes, dtype=np.int64) & ((1 << width) - 1)


def changes(words: Codes) -> Codes:
    """By key bit, which output bits ever change with it: bit j of entry i is set if output bit j depends on key bit i.

    words: [2**k] bit patterns, in the order of the key's.  result: [k].
    """
    changed: Codes = np.bitwise_or.reduce(words ^ words[_flips(len(words).bit_length() - 1)], axis=-1)
    return changed


def changes_of(tables: NDArray[Any]) -> NDArray[Any]:
    """The same for many tables at once, of unsigned words, side by side: [2**k, n] gives [k, n]."""
    entries, count = tables.shape
    changed = np.empty((entries.bit_length() - 1, count), tables.dtype)
    for i, row in enumerate(changed):
        halves = tables.reshape(-1, 2, 1 << i, count)
        np.bitwise_or.reduce((halves[:, 0] ^ halves[:, 1]).reshape(-1, count), axis=0, out=row)
    return changed


def dependence(codes: Codes, width: int) -> NDArray[np.bool_]:
    """Which of a table's output bits, lowest first, depend on which bits of its key.

    codes: [2**k].  result: [width, k].
    """
    depends: NDArray[np.bool_] = (changes(patterns(codes, width)) >> np.arange(width)[:, None] & 1).astype(
        bool
    )
    return depends


@lru_cache(maxsize=32)
def _flips(inputs: int) -> Codes:
    """For each bit of a key, [k, 2**k], the entry whose key differs in that bit."""
    flips: Codes = np.arange(1 << inputs) ^ (1 << np.arange(inputs))[:, None]
    return flips


@lru_cache(maxsize=1 << 10)
def spread(bits: tuple[int, ...]) -> Codes:
    """The keys, in order, in which no bits but these are set."""
    places = np.arange(len(bits))
    keys: Codes = (np.arange(1 << len(bits))[:, None] >> places & 1) @ (1 << np.array(bits, dtype=np.int64))
    return keys


@lru_cache(maxsize=4096)
def function_luts(inputs: int, target: Target) -> float:
    """One boolean function of so many inputs. A constant or a wire costs nothing; small ones share a LUT."""
    if inputs <= 1:
        return 0.0
    if target.fractured and inputs < target.lut_inputs:
        return 0.5
    return target.function_luts(inputs)


def table_luts(codes: Codes, width: int, target: Target) -> float:
    """A whole truth table, [2**k] with `width` output bits: each by what it depends on.

    Two share a fractured LUT if they have few enough inputs together. One that finds no other in its table finds one
    of another table with the same inputs, or has the LUT alone: half a loss, half the time.
    """
    return words_luts(patterns(codes, width), target) if width else 0.0


def words_luts(words: Codes, target: Target) -> float:
    """The same of bit patterns."""
    return changed_luts(tuple(changes(words).tolist()), target)


@lru_cache(maxsize=1 << 16)
def changed_luts(changed: tuple[int, ...], target: Target) -> float:
    """The same from what `changes` says of a table: many have it in common."""
    masks = [0] * max(changed, default=0).bit_length()
    for i, outputs in enumerate(changed):
        for j in range(outputs.bit_length()):
            masks[j] |= (outputs >> j & 1) << i
    total = 0.0
    small: list[int] = []
    for mask in masks:
        inputs = mask.bit_count()
        if target.fractured and 1 < inputs < target.lut_inputs:
            small.append(mask)
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


def tables_luts(tables: NDArray[Any], target: Target) -> NDArray[np.float64]:
    """Roughly that for many tables at once, nothing paired: unsigned words [2**k, n] give [n]."""
    changed = changes_of(tables)
    prices = _prices(len(changed), target)
    total = np.zeros(tables.shape[1])
    for bit in range(int(changed.max(initial=0)).bit_length()):
        total += prices[(changed >> bit & 1).sum(axis=0)]
    return total


@lru_cache(maxsize=64)
def _prices(inputs: int, target: Target) -> NDArray[np.float64]:
    """Of functions of 0 up to so many inputs."""
    return np.array([function_luts(n, target) for n in range(inputs + 1)])
