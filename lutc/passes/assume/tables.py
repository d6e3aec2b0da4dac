"""Entries of tables that the assumed rows never read are don't-cares, before sums take tables apart and after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lutc.ir.graph import Design, Table, Value
from lutc.ir.ops import Lut
from lutc.ir.ops.base import Op
from lutc.passes.assume.fills import as_nearest, fewer_inputs, fewer_subtables
from lutc.passes.assume.notes import noting
from lutc.passes.assume.observe import entries_read
from lutc.passes.context import Context
from lutc.passes.manager import Pass
from lutc.passes.rebuild import rebuild
from lutc.passes.rewriter import Rewriter
from lutc.passes.tables.encoders import all_luts
from lutc.passes.tables.splits import Price, Splits
from lutc.truth import Codes


@dataclass(frozen=True)
class AssumeTables(Pass):
    """Let entries that the assumed rows never read answer as the nearest that they do; without rows, nothing."""

    name: ClassVar[str] = "assume-tables"
    assumes: ClassVar[bool] = True

    def __call__(self, design: Design, context: Context) -> Design:
        if context.assumed is None:
            return design
        splits = Splits(Price(context.target, encoders=context.thorough))
        ways = {
            op: (op.table.words, as_nearest(op.table.words, read, op.key.type.scalar.signed))
            for op, read in entries_read(design, context.assumed).items()
        }
        splits.learn(codes - codes.min() for way in ways.values() for codes in way)
        chosen: dict[Value | None, Codes] = {
            op: filled
            for op, (codes, filled) in ways.items()
            if _price(splits, filled - filled.min()) <= _price(splits, codes - codes.min())
        }
        return _filled(design, chosen, context)


def _price(splits: Splits, codes: Codes) -> float:
    """What a table and its places in a sum come to, when it is taken apart as `offsets` will do it."""
    half = splits.half(codes)
    if half is None:
        return splits.price.whole([codes])[0]
    return _price(splits, half.base) + _price(splits, half.rest)


@dataclass(frozen=True)
class AssumeKeys(Pass):
    """Let tables' entries that the assumed rows never read save key bits and sub-tables; without rows, nothing."""

    name: ClassVar[str] = "assume-keys"
    assumes: ClassVar[bool] = True

    def __call__(self, design: Design, context: Context) -> Design:
        if context.assumed is None:
            return design
        target = context.target
        ways: list[tuple[Lut, Codes]] = []
        for op, read in entries_read(design, context.assumed).items():
            codes, key, value = op.table.words, op.key.type.scalar, op.type.scalar
            filled = as_nearest(codes, read, key.signed)
            fewer = [fewer_inputs(codes, read, key, value, likely, target) for likely in (codes, filled)]
            if context.thorough and target.named_luts and key.width >= target.lut_inputs:
                fewer += fewer_subtables(codes, read, key, value, filled)
            ways += [(op, way) for way in (codes, filled, *fewer)]
        prices = all_luts(
            [codes for _, codes in ways],
            [op.type.scalar.width for op, _ in ways],
            target,
            search=context.thorough,
        )
        best: dict[Value | None, tuple[float, Codes]] = {}
        for (op, codes), price in zip(ways, prices, strict=True):
            if (
                op not in best or price < best[op][0]
            ):  # of equal ones the first: it is the most like the model
                best[op] = price, codes
        return _filled(design, {op: codes for op, (_, codes) in best.items()}, context)


def _filled(design: Design, chosen: dict[Value | None, Codes], context: Context) -> Design:
    """The design with other tables, and with a note if any of them is another."""
    changed = {
        op: codes for op, codes in chosen.items() if isinstance(op, Lut) and (codes != op.table.words).any()
    }
    if not changed:
        return design

    def rule(rw: Rewriter, op: Op) -> Value:
        if isinstance(op, Lut) and isinstance(rw.original, Lut) and rw.original in changed:
            table = Table(op.table.name, op.table.key, op.table.value, changed[rw.original])
            return rw.make(Lut, op.key, rw.symbol(table))
        return op

    return noting(rebuild(design, rule), context)
