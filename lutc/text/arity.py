"""What the parser asks of an operation's row in the op table: how many operands, which symbols and attributes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from lutc.ir.graph import Const, Func, Table, Value
from lutc.ir.ops import TABLE
from lutc.ir.ops.base import Attribute, Op, decode, spec, spell
from lutc.text import syntax
from lutc.text.literals import raw_value
from lutc.text.syntax import Statement

Symbol = Const | Table | Func
_KINDS: dict[type, str] = {Const: "constant", Table: "table", Func: "function"}


@dataclass(frozen=True)
class Row:
    """What the parser asks of an operation, looked up once."""

    op: type[Op]
    operands: tuple[str, ...]
    many: str | None
    symbols: tuple[tuple[str, type], ...]
    attributes: dict[str, Attribute]
    kinds: dict[str, Any]
    required: tuple[str, ...]
    typed: bool
    form: str  # its operands and required attributes, as an example


def _row(op: type[Op]) -> Row:
    row = spec(op)
    required = tuple(spell(a.name) for a in row.attributes if a.required)
    form = [*(f"%{n}" for n, many in row.operands if not many), *(f"@{n}" for n, _ in row.symbols)]
    return Row(
        op,
        tuple(name for name, many in row.operands if not many),
        next((name for name, many in row.operands if many), None),
        row.symbols,
        {spell(a.name): a for a in row.attributes},
        {spell(a.name): a.kind for a in row.attributes},
        required,
        row.typed,
        ", ".join([*form, *(f"{n}=..." for n in required)]),
    )


ROWS = {keyword: _row(op) for keyword, op in TABLE.items()}


@lru_cache(maxsize=4096)
def decoded(kind: Any, terminal: str, text: str) -> Any:
    """An attribute's value; most of them are met often."""
    return decode(kind, raw_value(terminal, text))


def mismatch(
    row: Row, s: Statement, values: Sequence[Value | None], symbols: Sequence[Symbol | None]
) -> tuple[str, str | None] | None:
    """Message and help if a statement has too many or too few operands or symbols, or symbols of another kind."""
    fixed = len(row.operands)
    form = f"write: {s.target} = {s.keyword} {row.form}"
    if len(symbols) != len(row.symbols):
        takes = " and ".join(f"one {_KINDS[kind]}" for _, kind in row.symbols)
        given = ", ".join(n for n in syntax.operands(s.operands) if n[0] == "@") or "none"
        help = form if row.symbols else "a constant becomes a value by: %c = const @w"
        return f"'{s.keyword}' takes {takes or 'no constant, table or function'}, but has {given}", help
    for (_, kind), symbol in zip(row.symbols, symbols, strict=True):
        if symbol is not None and not isinstance(symbol, kind):
            is_a = next(word for k, word in _KINDS.items() if isinstance(symbol, k))
            return f"'{s.keyword}' takes a {_KINDS[kind]}, but @{symbol.name} is a {is_a}", form
    if len(values) < fixed or (len(values) > fixed and not row.many):
        takes = f"{fixed} operand{'s' if fixed != 1 else ''}" if fixed else "no operands"
        return f"'{s.keyword}' takes {takes}, not {len(values)}", form
    return None
