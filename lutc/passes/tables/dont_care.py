"""Entries of a table that no key reaches may answer anything: what makes the table cheapest.

A key that stops short of its format's ends, as behind a relu or a sum, leaves entries that are never read. Two ways to
fill them are tried: with the nearest entry that is read, which keeps a smooth function smooth; and with the entry that
differs in the highest bits only, so that fewer output bits depend on those.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lutc.analysis.ranges import range_of
from lutc.ir.graph import Design, Table, Value, body, owners
from lutc.ir.ops import Lut
from lutc.ir.ops.base import Op
from lutc.numbers import SAFE_BITS
from lutc.passes.context import Context
from lutc.passes.manager import Pass
from lutc.passes.rebuild import rebuild
from lutc.passes.rewriter import Rewriter
from lutc.passes.tables.encoders import all_luts
from lutc.truth import Codes
from lutc.types import Fixed

_WIDEST = 14  # bits of a key; larger tables are not worth the time


@dataclass(frozen=True)
class DontCare(Pass):
    """Let the entries of tables that no key reaches answer whatever makes the table cheapest."""

    name: ClassVar[str] = "dont-care"

    def __call__(self, design: Design, context: Context) -> Design:
        ways: list[tuple[Lut, Codes]] = []
        for owner in owners(design):
            for value in body(owner):
                if isinstance(value, Lut) and _may(value):
                    lo, hi = (int(code) for code in range_of(value.key))
                    ways += [
                        (value, codes) for codes in _ways(value.table.words, value.key.type.scalar, lo, hi)
                    ]
        luts = all_luts(
            [codes for _, codes in ways],
            [value.type.scalar.width for value, _ in ways],
            context.target,
            search=context.thorough,
        )
        best: dict[Value | None, tuple[float, Codes]] = {}
        for (value, codes), price in zip(ways, luts, strict=True):
            if value not in best or price < best[value][0]:
                best[value] = price, codes

        def rule(rw: Rewriter, op: Op) -> Value:
            if isinstance(op, Lut) and rw.original in best:
                codes = best[rw.original][1]
                op = rw.make(Lut, op.key, Table(op.table.name, op.table.key, op.table.value, codes))
            return op

        return rebuild(design, rule) if best else design


def _may(value: Lut) -> bool:
    return (
        not value.table.key.shape
        and not value.key.type.shape
        and value.key.type.max_width <= _WIDEST
        and 0 < value.type.max_width <= SAFE_BITS
    )


def _ways(codes: Codes, key: Fixed, lo: int, hi: int) -> list[Codes]:
    """The table as it is and as it may be, for keys from `lo` to `hi`; none if every entry is read."""
    keys = np.arange(len(codes))
    keys = np.where(keys > key.hi, keys - len(codes), keys)
    unread = (keys < lo) | (keys > hi)
    if not unread.any():
        return []
    nearest = codes[np.clip(keys, lo, hi) & (len(codes) - 1)]
    mirrored, left = nearest.copy(), unread
    for bit in reversed(range(key.width)):
        other = np.arange(len(codes)) ^ (1 << bit)
        found = left & ~unread[other]
        mirrored[found] = codes[other[found]]
        left = left & ~found
    return [codes, nearest, mirrored]
