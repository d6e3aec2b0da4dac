"""What a table may answer to keys that never come.

As the nearest that comes; or whatever lets its output bits do with fewer bits of the key; or whatever makes sub-tables
equal, so that a run of key bits can be encoded in fewer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

from lutc.passes.assume.observe import Seen, in_order
from lutc.target import Target
from lutc.truth import Codes, dependence, function_luts, patterns
from lutc.types import Fixed

_SHORTEST, _LONGEST = 3, 6  # bits of a run that is encoded
_TRIED = 130  # sets of key bits to leave out, up to which all of them are tried


def distances(read: Seen, signed: bool) -> tuple[Codes, Codes]:
    """Of every entry the nearest that is read (the lower of two), and how many keys lie between; some must be read."""
    order = in_order(len(read), signed)
    at = np.flatnonzero(read[order])
    keys = np.arange(len(read))
    next_one = np.searchsorted(at, keys)
    below, above = (at[np.clip(n, 0, len(at) - 1)] for n in (next_one - 1, next_one))
    near = np.where(abs(keys - below) <= abs(above - keys), below, above)
    nearest, far = np.empty_like(near), np.empty_like(near)
    nearest[order], far[order] = order[near], abs(keys - near)
    return nearest, far


def as_nearest(codes: Codes, read: Seen, signed: bool) -> Codes:
    """The table that answers a key that never comes as the nearest one that does: smooth functions stay smooth."""
    filled: Codes = codes[distances(read, signed)[0]]
    return filled


def fewer_inputs(codes: Codes, read: Seen, key: Fixed, value: Fixed, likely: Codes, target: Target) -> Codes:
    """The table with each output bit on so few bits of the key that it takes fewer LUTs, if the entries read allow it.

    Among the sets of key bits that a bit can do without, the one is taken with which it differs least from the table
    `likely` on entries that are not read, those near ones that are counting most.
    """
    words, wanted = patterns(codes, value.width), patterns(likely, value.width)
    far = distances(read, key.signed)[1]
    weight = np.where(read, 0.0, 1.0 / np.maximum(far, 1))
    found = np.where(read, words, wanted)
    costs = [function_luts(int(n), target) for n in dependence(found, value.width).sum(axis=-1)]
    for inputs in reversed(range(key.width)):
        luts = function_luts(inputs, target)
        open_bits = [bit for bit, cost in enumerate(costs) if luts < cost]
        if not open_bits or (inputs and function_luts(inputs + 1, target) == luts):
            continue
        best: dict[int, tuple[float, Codes]] = {}
        for left_out in _sets(key.width, key.width - inputs):
            new, conflicts = _without(words, read, wanted, far, _cells(key.width, left_out))
            for bit in open_bits:
                if not conflicts >> bit & 1:
                    off = float(weight @ ((new ^ wanted) >> bit & 1))
                    best[bit] = min(best.get(bit, (off, new)), (off, new), key=lambda way: way[0])
        for bit, (_, new) in best.items():
            found = (found & ~(1 << bit)) | (new & (1 << bit))
            costs[bit] = luts
    return _numbers(found, value)


def fewer_subtables(codes: Codes, read: Seen, key: Fixed, value: Fixed, likely: Codes) -> Iterator[Codes]:
    """Tables in which the highest or the lowest so many bits of the key choose among fewer sub-tables.

    Sub-tables that agree where both are read become one, those with most entries read first, each with the one from
    which it then differs least (ReducedLUT, arXiv 2412.18579, merges sub-tables of one that is cut anyway). Only such
    tables are given whose runs can be encoded in fewer bits than before.
    """
    words, wanted = patterns(codes, value.width), patterns(likely, value.width)
    start = np.where(read, words, wanted)
    for bits in range(_SHORTEST, min(key.width - 1, _LONGEST) + 1):
        for low in (0, key.width - bits):
            keys = np.arange(len(words)).reshape(-1, 1 << bits, 1 << low)
            cells = keys.transpose(1, 0, 2).reshape(1 << bits, -1)  # [the run, the rest of the key]
            fewest = len(np.unique(start[cells], axis=0)) - 1
            most = 1 << max(fewest.bit_length() - 1, 0)  # so many have codes of a bit less
            merged = _merged(words[cells], read[cells], start[cells], most)
            if merged is not None:
                new = np.empty_like(words)
                new[cells] = merged
                yield _numbers(new, value)


def _merged(words: Codes, read: Seen, likely: Codes, most: int) -> Codes | None:
    """Rows of which those that agree where both are read became one; None if more than so many are left."""
    values, known = (
        np.empty((most, words.shape[1]), words.dtype),
        np.zeros((most, words.shape[1]), dtype=bool),
    )
    place = np.zeros(len(words), dtype=np.int64)
    count = 0
    for row in np.argsort(-read.sum(axis=1), kind="stable").tolist():
        mine, here = words[row], read[row]
        agree = ~((values[:count] != mine) & known[:count] & here).any(axis=1)
        if agree.any():
            off = abs(np.where(here, mine, values[:count]) - likely[row]).sum(axis=1)
            best = int(np.where(agree, off, np.iinfo(np.int64).max).argmin())
            values[best], known[best] = np.where(here, mine, values[best]), known[best] | here
        elif count == most:
            return None
        else:
            best, count = count, count + 1
            values[best], known[best] = likely[row], here
        place[row] = best
    return values[place]


def _numbers(words: Codes, value: Fixed) -> Codes:
    """Bit patterns as codes of a format."""
    numbers: Codes = np.where(words > value.hi, words - (1 << value.width), words)
    return numbers


def _sets(width: int, count: int) -> Iterable[tuple[int, ...]]:
    """The sets of key bits to leave out: all, or if those are many, bits from both ends."""
    if comb(width, count) <= _TRIED:
        return combinations(range(width), count)
    return ((*range(low), *range(width - count + low, width)) for low in range(count + 1))


@lru_cache(maxsize=1 << 10)
def _cells(width: int, left_out: tuple[int, ...]) -> NDArray[np.int64]:
    """The keys that differ in nothing but these bits, side by side: [2**len(left_out), 2**rest]."""
    keys = np.arange(1 << width)
    bits = [*(b for b in range(width) if b not in left_out), *left_out]
    place = sum((keys >> bit & 1) << n for n, bit in enumerate(bits))
    return np.argsort(place).reshape(1 << len(left_out), -1)


def _without(
    words: Codes, read: Seen, wanted: Codes, far: Codes, cells: NDArray[np.int64]
) -> tuple[Codes, int]:
    """The table without some key bits, and a mask of the output bits that cannot do without them.

    A cell of which no key is read answers as `wanted` does to the one that is nearest to those that are.
    """
    known, here = read[cells], words[cells]
    ones = np.bitwise_or.reduce(np.where(known, here, 0), axis=0)
    always = np.bitwise_and.reduce(np.where(known, here, -1), axis=0)
    some = known.any(axis=0)
    conflicts = int(np.bitwise_or.reduce(np.where(some, ones & ~always, 0)))
    nearest = cells[np.argmin(far[cells], axis=0), np.arange(cells.shape[1])]
    new = np.empty_like(words)
    new[cells] = np.where(some, ones, wanted[nearest])
    return new, conflicts
