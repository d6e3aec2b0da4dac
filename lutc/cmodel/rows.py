"""Where codes are kept: rows of as many samples as are computed at once, in the narrowest machine integers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lutc.cmodel.terms import signed_bits
from lutc.types import Fixed

Refs = NDArray[np.int64]  # elements: where each is kept

_POOL = 40  # bits of a row's number below those of its pool
_ROW = (1 << _POOL) - 1
LITERAL = 0  # the pool of numbers that are known
_NARROW = ("s8", "u8", "s16", "u16", "s32", "u32", "s64")
_MOST = 64  # bits that a machine word holds


@dataclass(frozen=True)
class Pool:
    """Rows of one kind: `words` is how many 32-bit words a code takes, or 0 for a machine integer of type `ctype`."""

    name: str
    ctype: str
    words: int = 0


def pool_of(fmt: Fixed) -> int:
    """The number of the pool that holds codes of a format; pools above those of machine integers hold limbs."""
    bits = signed_bits(fmt.lo, fmt.hi)
    for number, name in enumerate(_NARROW, 1):
        size = int(name[1:])
        if bits <= size + (name[0] == "u") and (fmt.lo >= 0 or name[0] == "s"):
            return number
    return len(_NARROW) + (bits + 31) // 32


def pool(number: int) -> Pool:
    """What is known of a pool by its number."""
    if number <= len(_NARROW):
        name = _NARROW[number - 1]
        return Pool(name, ("" if name[0] == "s" else "u") + f"int{name[1:]}_t")
    words = number - len(_NARROW)
    return Pool(f"w{words}", "uint32_t", words)


def refs(pool_number: int, rows: NDArray[np.int64]) -> Refs:
    return rows + np.int64(pool_number << _POOL)


def pools_of(found: Refs) -> NDArray[np.int64]:
    return found >> _POOL


def rows_of(found: Refs) -> NDArray[np.int64]:
    return found & _ROW


def of_one_pool(found: Refs) -> bool:
    """Whether all elements are rows of one pool, and none is a known number."""
    every = pools_of(found)
    return bool(found.size and every.flat[0] != LITERAL and (every == every.flat[0]).all())


class Literals:
    """Numbers that are known, each once."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self._known: dict[int, int] = {}

    def refs(self, codes: Sequence[int]) -> Refs:
        return np.array([self._one(c) for c in codes], dtype=np.int64)

    def _one(self, code: int) -> int:
        if code not in self._known:
            self._known[code] = len(self.numbers)
            self.numbers.append(code)
        return self._known[code]


def narrow(pool_number: int) -> bool:
    """Whether a pool holds machine integers."""
    return 0 < pool_number <= len(_NARROW)
