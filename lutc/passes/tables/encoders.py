"""Tables in two steps: where few of the sub-tables differ, a run of the key's bits is first encoded in fewer.

With B the run and mu the number of different sub-tables `T(., B=b)`, `t = ceil(log2(mu))` functions of the run say
which of them it is, and the table on `k - |B| + t` inputs does the rest (Ashenhurst, "The decomposition of switching
functions", 1957; Curtis, "A new approach to the design of switching circuits", 1962: mu is the column multiplicity).
All output bits share the encoder. Smooth functions have few different sub-tables: runs at the flat ends of an
activation, and the slopes of the small rest that is left when a coarse table is taken out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from lutc.target import Target
from lutc.truth import Codes, changed_luts, changes_of, dependence, patterns, table_luts, words_luts

_LARGEST = 16  # bits of a key for which encoders are looked for
_SHORTEST = 3  # bits of a run; two bits hardly ever become one
_LONGEST = 6  # of a run where LUTs have fewer inputs: several of them then make each bit of the code
_LEAST = 1.5  # LUTs of the cheapest encoder that is looked for
_WORTH = 6  # LUTs of a table whose output bits are tried apart
# What the entries of a sub-table are multiplied with for a hash of 64 bits.
_FACTORS = np.random.default_rng(0).integers(-(1 << 63), 1 << 63, 1 << _LARGEST - 2, dtype=np.int64) | 1


@dataclass(frozen=True)
class Encoder:
    """The key's bits `low` to `low + bits - 1` become `width` bits with `codes`; `inner` is the table after that.

    `inner` is keyed by the bits above the run, the code, the bits below, in that order, and holds bit patterns. `luts`
    is what both cost.
    """

    low: int
    bits: int
    width: int
    codes: Codes
    inner: Codes
    luts: float


def encoded_luts(codes: Codes, width: int, target: Target, *, search: bool = True) -> float:
    """LUTs of a table of `width` output bits, with an encoder if that is cheaper and to be searched for."""
    luts = table_luts(codes, width, target)
    return _with_encoder(codes, width, luts, target) if search else luts


def all_luts(tables: Sequence[Codes], widths: Sequence[int], target: Target, *, search: bool) -> list[float]:
    """`encoded_luts` of many tables, which may have keys of different length."""
    luts = [0.0] * len(tables)
    alike: dict[int, list[int]] = {}
    for n, codes in enumerate(tables):
        alike.setdefault(len(codes), []).append(n)
    for group in alike.values():
        words = np.array([patterns(tables[n], widths[n]) for n in group]).T
        for n, changed in zip(group, changes_of(words.copy()).T.tolist(), strict=True):
            luts[n] = changed_luts(tuple(changed), target)
            if search:
                luts[n] = _with_encoder(tables[n], widths[n], luts[n], target)
    return luts


def encoder(codes: Codes, width: int, target: Target) -> Encoder | None:
    """The encoder that saves most of a table's LUTs; None if none saves any, or the target would undo it.

    codes: [2**k], the values or bit patterns of the `width` output bits.
    """
    return _worthwhile(codes, width, table_luts(codes, width, target), target) if width else None


def _with_encoder(codes: Codes, width: int, luts: float, target: Target) -> float:
    """The LUTs of a table that takes so many without an encoder, with one if that is cheaper."""
    found = _worthwhile(codes, width, luts, target)
    return found.luts if found else luts


def _worthwhile(codes: Codes, width: int, luts: float, target: Target) -> Encoder | None:
    """The encoder of a table that takes so many LUTs without."""
    inputs = len(codes).bit_length() - 1
    if target.primitive is None or luts <= width / 2 + _LEAST or not target.lut_inputs <= inputs <= _LARGEST:
        return None
    return _search(patterns(codes, width).tobytes(), width, luts, target)


def groups(codes: Codes, width: int, target: Target) -> list[tuple[int, int]]:
    """Neighbouring output bits, as (lowest, how many), that are best encoded together and apart from the others.

    The high bits of a smooth function are thresholds, whose runs have two or three sub-tables each.
    """
    whole = encoded_luts(codes, width, target)
    if whole < _WORTH or int(dependence(codes, width).sum(axis=-1).max()) <= target.lut_inputs:
        return [(0, width)]
    cuts = range(1, width)
    halves = [codes & ((1 << cut) - 1) for cut in cuts] + [codes >> cut for cut in cuts]
    luts_of = all_luts(halves, [*cuts, *(width - cut for cut in cuts)], target, search=True)
    apart = [low + high for low, high in zip(luts_of[: len(cuts)], luts_of[len(cuts) :], strict=True)]
    luts, cut = min(zip(apart, cuts, strict=True), default=(whole, 0))
    if luts >= whole:
        return [(0, width)]
    below = groups(codes & ((1 << cut) - 1), cut, target)
    above = groups(codes >> cut, width - cut, target)
    return [*below, *((cut + low, bits) for low, bits in above)]


@lru_cache(maxsize=1 << 16)
def _search(data: bytes, width: int, least: float, target: Target) -> Encoder | None:
    """The encoder that brings a table below `least` LUTs."""
    codes = np.frombuffer(data, dtype=np.int64)
    inputs = len(codes).bit_length() - 1
    best = None
    for bits in range(_SHORTEST, min(inputs - 1, max(target.lut_inputs, _LONGEST)) + 1):
        factors = _FACTORS[: 1 << inputs - bits]
        for start in (0, inputs - bits):
            hashes = (
                factors @ codes.reshape(-1, 1 << bits)
                if not start
                else codes.reshape(1 << bits, -1) @ factors
            )
            found = _encoded(codes, start, bits, hashes.tolist(), width, least, target)
            if found:
                least, best = found.luts, found
    return best


def _encoded(
    codes: Codes, low: int, bits: int, sums: list[int], width: int, least: float, target: Target
) -> Encoder | None:
    """The encoder of one run; None if it does not shorten the key, or costs no less than `least`.

    `sums` are the sub-tables' hashes. Those with equal ones are compared at the end.
    """
    code_width = (len(set(sums)) - 1).bit_length()
    if code_width >= bits or code_width / 2 + width / 2 >= least:
        return None
    firsts = dict(zip(reversed(sums), range(len(sums) - 1, -1, -1), strict=True))
    columns = codes.reshape(-1, 1 << bits, 1 << low).transpose(1, 0, 2)
    order = sorted(firsts.values(), key=lambda i: columns[i].tolist())
    place = {sums[i]: n for n, i in enumerate(order)}
    run = np.array([place[total] for total in sums], dtype=np.int64)
    luts = words_luts(run, target) if code_width else 0.0
    if luts + width / 2 >= least:
        return None
    # A code that never comes answers as the last one does: fewer inputs for some bits.
    chosen = columns[order + order[-1:] * ((1 << code_width) - len(order))]
    inner = chosen.transpose(1, 0, 2).reshape(-1)
    luts += _with_encoder(inner, width, words_luts(inner, target), target)
    if luts >= least or not np.array_equal(columns[np.array(order)[run]], columns):
        return None
    return Encoder(low, bits, code_width, run, inner, luts)
