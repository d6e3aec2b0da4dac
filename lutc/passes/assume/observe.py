"""What happens in a design on the assumed rows: every operation, those of functions too, is shown to who asks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from lutc.assumed import Assumed
from lutc.ir.graph import Design, Value, body
from lutc.ir.ops import Call, Lut, Quant
from lutc.ir.ops.base import Op
from lutc.numbers import SAFE_BITS, dtype
from lutc.types import Ints, Type

_AT_ONCE = 4096  # rows
_WIDEST = 14  # bits of a key; of larger tables nothing is noted

See = Callable[[Op, Sequence[Ints], Ints], None]  # the operation, the codes it reads, the codes it gives
Seen = NDArray[np.bool_]
Ends = tuple[int, int]  # the least and the greatest code


def observe(design: Design, assumed: Assumed, see: See) -> None:
    """Show each operation with the codes that it reads and gives, some rows at a time."""
    for first in range(0, assumed.rows, _AT_ONCE):
        rows: dict[Value, Ints] = {
            p: assumed.codes[p.name or ""][first : first + _AT_ONCE] for p in design.params
        }
        _walk(body(design), rows, design.roots, see)


def _walk(
    values: Sequence[Value], known: dict[Value, Ints], roots: Sequence[Value], see: See
) -> dict[Value, Ints]:
    """Compute values in order, as `lutc.ir.ops.flow.evaluate` does, but with functions from inside."""
    left = dict.fromkeys(values, 0)
    for value in [*(v for op in values for v in op.operands), *roots]:
        left[value] += 1
    for value in values:
        if not isinstance(value, Op):
            known[value] = known[value].astype(dtype(value.type.max_width), copy=False)
            continue
        kind = dtype(value.work_bits())
        operands = [known[v].astype(kind, copy=False) for v in value.operands]
        if isinstance(value, Call):
            func = value.func
            arguments: dict[Value, Ints] = dict(zip(func.params, operands, strict=True))
            found = _walk(body(func), arguments, func.roots, see)[func.result]
        else:
            found = value.eval(*operands)
        known[value] = found.astype(dtype(value.type.max_width), copy=False)
        see(value, operands, known[value])
        for operand in value.operands:
            left[operand] -= 1
            if not left[operand]:
                del known[operand]
    return {root: known[root] for root in roots}


def entries_read(design: Design, assumed: Assumed) -> dict[Lut, Seen]:
    """Which entries of tables the rows read, and those within the margin: of the look-ups where that is not all."""
    seen: dict[Lut, Seen] = {}

    def see(op: Op, operands: Sequence[Ints], result: Ints) -> None:
        if isinstance(op, Lut) and _may(op):
            read = seen.setdefault(op, np.zeros(len(op.table.codes), dtype=bool))
            read[operands[0].astype(np.int64) & (len(read) - 1)] = True

    observe(design, assumed, see)
    widened = {op: _widened(read, op.key.type.scalar.signed, assumed.margin) for op, read in seen.items()}
    return {op: read for op, read in widened.items() if not read.all()}


def _may(op: Lut) -> bool:
    scalars = not (op.table.key.shape or op.key.type.shape)
    return scalars and op.key.type.max_width <= _WIDEST and 0 < op.type.max_width <= SAFE_BITS


def in_order(entries: int, signed: bool) -> NDArray[np.int64]:
    """The entries of a table in the order of the numbers that are their keys: negative ones stand in the upper half."""
    start = entries // 2 if signed else 0
    return np.roll(np.arange(entries), start)


def _widened(read: Seen, signed: bool, margin: int) -> Seen:
    """The entries no more than so many keys away from one that is read."""
    order = in_order(len(read), signed)
    by_key = read[order]
    wide = by_key.copy()
    for step in range(1, min(margin, len(read) - 1) + 1):
        wide[step:] |= by_key[:-step]
        wide[:-step] |= by_key[step:]
    found = np.empty_like(wide)
    found[order] = wide
    return found


def ranges_seen(design: Design, assumed: Assumed) -> tuple[dict[Op, Ends], dict[Quant, Ends]]:
    """Between which codes scalar operations stay on the rows, and what conversions read; the margin included."""
    given: dict[Op, Ends] = {}
    read: dict[Quant, Ends] = {}

    def see(op: Op, operands: Sequence[Ints], result: Ints) -> None:
        if op.type.shape or not result.size:
            return
        given[op] = _both(given.get(op), result)
        if isinstance(op, Quant):
            read[op] = _both(read.get(op), operands[0])

    observe(design, assumed, see)
    return (
        {op: _wider(op.type, ends, assumed.margin) for op, ends in given.items()},
        {op: _wider(op.x.type, ends, assumed.margin) for op, ends in read.items()},
    )


def _both(known: Ends | None, codes: Ints) -> Ends:
    lo, hi = int(codes.min()), int(codes.max())
    return (min(known[0], lo), max(known[1], hi)) if known else (lo, hi)


def _wider(kind: Type, ends: Ends, margin: int) -> Ends:
    """A range with the margin, as far as the format goes."""
    lo, hi = ends
    more = -(-(hi - lo) * margin // 4)
    return max(lo - more, kind.scalar.lo), min(hi + more, kind.scalar.hi)
