"""Tables take in the rounding in front of them, where the LUTs for that are fewer than an adder's.

A table whose key was rounded to the nearest step can as well be keyed by the unrounded number with one bit more:
`T'(k) = T(round(k))`. An input more on a table of five costs half a LUT for each of its output bits; the rounding
costs a carry chain as long as the key, for each different format a value is rounded to.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np

from lutc.ir.graph import Design, Table, Value, body, owners, users
from lutc.ir.ops import Lut, Quant
from lutc.ir.ops.base import Op
from lutc.numbers import SAFE_BITS, divide, overflow
from lutc.passes.context import Context
from lutc.passes.manager import Pass
from lutc.passes.rebuild import rebuild
from lutc.passes.rewriter import Rewriter
from lutc.passes.tables.encoders import all_luts
from lutc.target import Target
from lutc.truth import Codes
from lutc.types import Fixed, Ints, Overflow, Rounding, scalar

_WIDEST = 12  # bits of a key; wider tables are never worth it


@dataclass(frozen=True)
class Absorb(Pass):
    """Take the rounding of a table's key into the table, where that is smaller than an adder."""

    name: ClassVar[str] = "absorb"

    def __call__(self, design: Design, context: Context) -> Design:
        target = context.target
        candidates: dict[Quant, list[Lut]] = {}
        for owner in owners(design):
            for v, read in users(body(owner)).items():
                if isinstance(v, Quant) and v not in owner.roots and _may(v, read):
                    candidates[v] = [r for r in read if isinstance(r, Lut)]
        growths = _growths(candidates, target, encoders=context.thorough)
        chosen: set[Value] = {q for q, growth in growths.items() if growth < q.luts(target)}

        def rule(rw: Rewriter, op: Op) -> Value:
            original = rw.original
            if isinstance(op, Lut) and isinstance(original, Lut) and original.key in chosen:
                quant = op.key
                if isinstance(quant, Quant):
                    return _absorbed(rw, op, quant)
            return op

        return rebuild(design, rule)


def _may(quant: Quant, read: list[Value]) -> bool:
    """Whether all readers are tables that can take the rounding in."""
    if quant.type.shape or not _rounds_by_one_bit(quant) or quant.to.scalar.width >= _WIDEST or not read:
        return False
    return all(isinstance(r, Lut) and not r.table.key.shape and r.type.max_width <= SAFE_BITS for r in read)


def _growths(candidates: dict[Quant, list[Lut]], target: Target, *, encoders: bool) -> dict[Quant, float]:
    """How many LUTs more the readers of each rounding take without it."""
    pairs = [(quant, reader) for quant, read in candidates.items() for reader in read]
    tables = [r.table.words for _, r in pairs] + [_unrounded(r.table.words, q) for q, r in pairs]
    widths = [r.type.scalar.width for _, r in pairs]
    luts = all_luts(tables, widths + widths, target, search=encoders)
    growths = dict.fromkeys(candidates, 0.0)
    for (quant, _), before, after in zip(pairs, luts[: len(pairs)], luts[len(pairs) :], strict=True):
        growths[quant] += after - before
    return growths


def _rounds_by_one_bit(quant: Quant) -> bool:
    """Whether the bits kept and the first bit lost decide the result: nearest-half-up, high bits dropped or held."""
    source, to = quant.x.type.scalar, quant.to.scalar
    return (
        quant.round is Rounding.HALF_UP
        and quant.overflow is Overflow.WRAP
        and 0 < to.width < source.width
        and source.frac > to.frac
    )


def _half(to: Fixed, signed: bool) -> Fixed:
    """The key with the first lost bit kept."""
    return Fixed(signed, to.width + 1, to.frac + 1)


def _unrounded(codes: Codes, quant: Quant) -> Codes:
    """The table over the longer key."""
    longer: Codes = codes[_rounded_keys(quant.to.scalar)]
    return longer


@lru_cache(maxsize=64)
def _rounded_keys(to: Fixed) -> Ints:
    """For each key with a bit more, the bits of what it is rounded to."""
    key = _half(to, to.signed)
    patterns = np.arange(1 << key.width, dtype=np.int64)
    values = np.where(patterns > key.hi, patterns - (1 << key.width), patterns)
    rounded: Ints = overflow(divide(values, 1, Rounding.HALF_UP), scalar(to), Overflow.WRAP)
    return rounded & ((1 << to.width) - 1)


def _absorbed(rw: Rewriter, op: Lut, quant: Quant) -> Value:
    to = quant.to.scalar
    key = _half(to, to.signed)
    longer = rw.make(Quant, quant.x, scalar(key))
    codes = _unrounded(op.table.words, quant)
    table = rw.symbol(Table(op.table.name, scalar(key), op.table.value, codes))
    return rw.make(Lut, longer, table)
