"""Tables in two steps: where few of the sub-tables differ, a run of the key's bits is first encoded in fewer.

With B the run and mu the number of different sub-tables `T(., B=b)`, `t = ceil(log2(mu))` functions of the run say
which of them it is, and the table on `k - |B| + t` inputs does the rest (Ashenhurst, "The decomposition of switching
functions", 1957; Curtis, "A new approach to the design of switching circuits", 1962: mu is the column multiplicity).
All output bits share the encoder. Smooth functions have few different sub-tables: runs at the flat ends of an
activation, and the slopes of the small rest that is left when a coarse table is taken out.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from lutc.functions import Codes, dependence, table_luts
from lutc.target import Target

_LARGEST = 16  # bits of a key for which encoders are looked for
_WORTH = 6  # LUTs of a table whose output bits are tried apart
_FACTORS = np.random.default_rng(0).integers(-(1 << 63), 1 << 63, _LARGEST, dtype=np.int64) | 1


@dataclass(frozen=True)
class Encoder:
    """The key's bits `low` to `low + bits - 1` become `width` bits with `codes`; `inner` is the table after that.

    `inner` is keyed by the bits above the run, the code, the bits below, in that order. `luts` is what both cost.
    """

    low: int
    bits: int
    width: int
    codes: Codes
    inner: Codes
    luts: float


def encoded_luts(codes: Codes, width: int, target: Target, *, search: bool = True) -> float:
    """LUTs of a table of `width` output bits, with an encoder if that is cheaper and to be searched for."""
    found = encoder(codes, width, target) if search else None
    return found.luts if found else table_luts(codes, width, target)


def encoder(codes: Codes, width: int, target: Target) -> Encoder | None:
    """The encoder that saves most of a table's LUTs; None if none saves any, or the target would undo it.

    codes: [2**k], the values or bit patterns of the `width` output bits.
    """
    if not target.named_luts or not width or not target.lut_inputs <= len(codes).bit_length() - 1 <= _LARGEST:
        return None
    return _search(np.ascontiguousarray(codes, dtype=np.int64).tobytes(), width, target)


def groups(codes: Codes, width: int, target: Target) -> list[tuple[int, int]]:
    """Neighbouring output bits, as (lowest, how many), that are best encoded together and apart from the others.

    The high bits of a smooth function are thresholds, whose runs have two or three sub-tables each.
    """
    whole = encoded_luts(codes, width, target)
    if whole < _WORTH or int(dependence(codes, width).sum(axis=-1).max()) <= target.lut_inputs:
        return [(0, width)]

    def apart(cut: int) -> float:
        low = encoded_luts(codes & ((1 << cut) - 1), cut, target)
        return low + encoded_luts(codes >> cut, width - cut, target)

    luts, cut = min(((apart(cut), cut) for cut in range(1, width)), default=(whole, 0))
    if luts >= whole:
        return [(0, width)]
    below = groups(codes & ((1 << cut) - 1), cut, target)
    above = groups(codes >> cut, width - cut, target)
    return [*below, *((cut + low, bits) for low, bits in above)]


@lru_cache(maxsize=1 << 14)
def _search(data: bytes, width: int, target: Target) -> Encoder | None:
    codes = np.frombuffer(data, dtype=np.int64)
    inputs = len(codes).bit_length() - 1
    least = table_luts(codes, width, target)
    best = None
    if least <= width / 2 + 1:
        return None
    high = low = codes  # of sub-tables by the highest bits, and by the lowest: one hash of 64 bits for each
    sums: dict[int, list[tuple[int, list[int]]]] = {}
    for bits in range(inputs - 1, 1, -1):
        high = high[0::2] * _FACTORS[0] + high[1::2] * _FACTORS[bits]
        low = low[: 1 << bits] * _FACTORS[0] + low[1 << bits :] * _FACTORS[bits]
        if bits <= target.lut_inputs:
            sums[bits] = [(0, low.tolist()), (inputs - bits, high.tolist())]
    for bits in sorted(sums):
        for start, hashes in sums[bits]:
            found = _encoded(codes, start, bits, hashes, width, least, target)
            if found and found.luts < least:
                least, best = found.luts, found
    return best


def _encoded(
    codes: Codes, low: int, bits: int, sums: list[int], width: int, least: float, target: Target
) -> Encoder | None:
    """The encoder of one run; None if it does not shorten the key, or surely costs no less than `least`.

    `sums` are the sub-tables' hashes. Equal ones are compared below.
    """
    firsts: dict[int, int] = {}
    for i, total in enumerate(sums):
        firsts.setdefault(total, i)
    code_width = (len(firsts) - 1).bit_length()
    if code_width >= bits or code_width / 2 + width / 2 >= least:
        return None
    columns = codes.reshape(-1, 1 << bits, 1 << low).transpose(1, 0, 2)
    order = sorted(firsts.values(), key=lambda i: columns[i].tolist())
    place = {sums[i]: n for n, i in enumerate(order)}
    run = np.array([place[total] for total in sums], dtype=np.int64)
    luts = table_luts(run, code_width, target)
    if luts + width / 2 >= least or not np.array_equal(columns[np.array(order)[run]], columns):
        return None
    # A code that never comes answers as the last one does: fewer inputs for some bits.
    chosen = columns[order + order[-1:] * ((1 << code_width) - len(order))]
    inner = chosen.transpose(1, 0, 2).reshape(-1)
    luts += encoded_luts(inner, width, target)
    return Encoder(low, bits, code_width, run, inner, luts)
