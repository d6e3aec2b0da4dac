"""Tables take in the rounding in front of them, where the LUTs for that are fewer than an adder's.

A table whose key was rounded to the nearest step can as well be keyed by the unrounded number with one bit more:
`T'(k) = T(round(k))`. An input more on a table of five costs half a LUT for each of its output bits; the rounding
costs a carry chain as long as the key, for each different format a value is rounded to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lutc import target as targets
from lutc.analysis.encoders import encoded_luts
from lutc.functions import Codes
from lutc.graph import Design, Overflow, Rounding, Table, Value, body, owners, users
from lutc.numbers import divide, overflow
from lutc.ops import Lut, Quant
from lutc.ops.base import Op
from lutc.passes.manager import Pass
from lutc.passes.rebuild import Rewriter, rebuild
from lutc.passes.simplify import simplified
from lutc.target import Target
from lutc.types import Fixed, scalar

_WIDEST = 12  # bits of a key; wider tables are never worth it


@dataclass(frozen=True)
class Absorb(Pass):
    """Take the rounding of a table's key into the table, where that is smaller than an adder."""

    name: ClassVar[str] = "absorb"
    target: str = "xcvu13p"
    encoders: bool = True  # count on wide tables being encoded

    def __call__(self, design: Design) -> Design:
        target = targets.load(self.target)
        chosen: set[Value] = set()
        for owner in owners(design):
            readers = users(body(owner))
            roots = [o.value for o in owner.outputs] if isinstance(owner, Design) else [owner.result]
            chosen |= {
                v
                for v, read in readers.items()
                if isinstance(v, Quant) and v not in roots and _pays(v, read, target, self.encoders)
            }

        def rule(rw: Rewriter, op: Op) -> Value:
            original = rw.original
            if isinstance(op, Lut) and isinstance(original, Lut) and original.key in chosen:
                quant = op.key
                if isinstance(quant, Quant):
                    return _absorbed(rw, op, quant)
            return simplified(rw, op)

        return rebuild(design, rule)


def _pays(quant: Quant, read: list[Value], target: Target, encoders: bool) -> bool:
    """Whether all readers are tables that grow by less than the rounding costs."""
    if quant.type.shape or not _rounds_by_one_bit(quant) or quant.to.scalar.width >= _WIDEST or not read:
        return False
    growth = 0.0
    for reader in read:
        if not isinstance(reader, Lut) or reader.table.key.shape:
            return False
        codes = np.asarray(reader.table.codes, dtype=np.int64)
        value = reader.type.scalar
        if value.width > 62:
            return False
        growth += encoded_luts(_unrounded(codes, quant), value.width, target, search=encoders)
        growth -= encoded_luts(codes, value.width, target, search=encoders)
    return growth < quant.luts(target)


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
    to = quant.to.scalar
    key = _half(to, to.signed)
    patterns = np.arange(1 << key.width, dtype=np.int64)
    values = np.where(patterns > key.hi, patterns - (1 << key.width), patterns)
    rounded: Codes = overflow(divide(values, 1, Rounding.HALF_UP), scalar(to), Overflow.WRAP)
    longer: Codes = codes[rounded & ((1 << to.width) - 1)]
    return longer


def _absorbed(rw: Rewriter, op: Lut, quant: Quant) -> Value:
    to = quant.to.scalar
    key = _half(to, to.signed)
    longer = rw.make(Quant, quant.x, scalar(key))
    codes = _unrounded(np.asarray(op.table.codes, dtype=np.int64), quant)
    table = rw.symbol(Table(op.table.name, scalar(key), op.table.value, codes))  # type: ignore[arg-type]
    return rw.make(Lut, longer, table)
