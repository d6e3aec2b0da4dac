"""Which values the printer writes where they are read: numbers and constants that nobody has given a name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lutc.ir.graph import Const, Design, Func, Table, Value, users
from lutc.ir.ops import Broadcast, ConstOp, Number, Op
from lutc.ir.ops.base import number


def literals(
    owner: Func | Design, values: Sequence[Value], symbols: Mapping[Const | Table | Func, str]
) -> dict[Value, str]:
    """The literals among a body's values, and how they are written.

    Read back, equal literals become one value; so of several equal ones only the first is written so.
    """
    found: dict[Value, str] = {}
    taken: set[Any] = set()
    candidates = [v for v in values if isinstance(v, Number | ConstOp | Broadcast) and not v.name]
    if not candidates:
        return found
    roots = set(owner.roots)
    readers = users(values)
    for value in candidates:
        key, word = _written(value, found, symbols)
        if word is None or key in taken or value in roots or not readers[value]:
            continue
        if isinstance(value, Broadcast) and not all(
            _spreads(reader, value, found) for reader in readers[value]
        ):
            continue
        taken.add(key)
        found[value] = word
    return found


def _written(
    value: Number | ConstOp | Broadcast,
    found: Mapping[Value, str],
    symbols: Mapping[Const | Table | Func, str],
) -> tuple[Any, str | None]:
    """What tells a literal from others, and its text; no text where it is none."""
    match value:
        case Number(value=number_):
            return number_, number(number_)
        case ConstOp(symbol=symbol):
            return symbol, f"@{symbols[symbol]}"
        case Broadcast(x=x, shape=shape):
            return (x, shape), None if x.type.shape else found.get(x)


def _spreads(reader: Value, value: Broadcast, found: Mapping[Value, str]) -> bool:
    """Whether an operation spreads the scalar by itself: another of its operands has the shape, and is no literal."""
    return (
        isinstance(reader, Op)
        and reader.elementwise
        and any(v not in found and not isinstance(v, Broadcast) for v in reader.operands)
    )
