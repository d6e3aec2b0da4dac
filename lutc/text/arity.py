"""What the parser asks of an operation's row in the op table: its operands in their order, and its attributes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

from lutc.ir.graph import Const, Func, Table, Value
from lutc.ir.ops import TABLE
from lutc.ir.ops.base import Attribute, Op, decode, spec, spell
from lutc.synonyms import RENAMED_OPERATIONS
from lutc.text import syntax
from lutc.text.literals import raw_value
from lutc.text.syntax import Statement

Symbol = Const | Table | Func
KINDS: dict[type, str] = {Value: "value", Const: "constant", Table: "table", Func: "function"}
Operand = Value | Symbol | Fraction


@dataclass(frozen=True)
class Slot:
    """A place for operands: the field they become, and what may stand there."""

    field: str
    kind: type
    many: bool = False
    optional: bool = False

    @property
    def form(self) -> str:
        """As the form of an operation shows it."""
        sign = "%" if self.kind is Value else "@"
        return f"{sign}{self.field}, ..." if self.many else f"{sign}{self.field}"


@dataclass(frozen=True)
class Row:
    """What the parser asks of an operation, looked up once."""

    op: type[Op]
    slots: tuple[Slot, ...]
    attributes: dict[str, Attribute]
    kinds: dict[str, Any]
    required: tuple[str, ...]
    typed: bool

    @property
    def form(self) -> str:
        """Operands and required attributes, as an example."""
        shown = [s.form for s in self.slots if not s.optional]
        return ", ".join([*shown, *(f"{n}=..." for n in self.required)])


def slots(op: type[Op]) -> tuple[Slot, ...]:
    """An operation's operands in their order: a function before its arguments, other symbols behind the values."""
    row = spec(op)
    symbols = [Slot(name, kind, optional=name in row.optional) for name, kind in row.symbols]
    values = [Slot(name, Value, many) for name, many in row.operands]
    return (
        *(s for s in symbols if s.kind is Func),
        *values,
        *(s for s in symbols if s.kind is not Func),
    )


def _row(op: type[Op]) -> Row:
    row = spec(op)
    return Row(
        op,
        slots(op),
        {spell(a.name): a for a in row.attributes},
        {spell(a.name): a.kind for a in row.attributes},
        tuple(spell(a.name) for a in row.attributes if a.required),
        row.typed,
    )


ROWS = {keyword: _row(op) for keyword, op in TABLE.items()}


def row_of(keyword: str) -> Row | None:
    """The row of an operation by its name, or by one it had; None if there is none."""
    return ROWS.get(RENAMED_OPERATIONS.get(keyword, keyword))


@lru_cache(maxsize=4096)
def decoded(kind: Any, terminal: str, text: str) -> Any:
    """An attribute's value; most of them are met often."""
    return decode(kind, raw_value(terminal, text))


class Misplaced(Exception):
    """An operand is missing, too much, or not what stands there: its index (None: the whole), message and help."""

    def __init__(self, index: int | None, message: str, help: str | None = None) -> None:
        super().__init__(message)
        self.index, self.message, self.help = index, message, help


def placed(row: Row, s: Statement, given: Sequence[Operand | None]) -> dict[str, Any]:
    """The operands of a statement by field, in the order in which they stand; None is one that is wrong already.

    Raises Misplaced.
    """
    found: dict[str, Any] = {}
    at = 0
    for slot in row.slots:
        if slot.many:
            for i in range(at, len(given)):
                _check(row, s, slot, i, given[i])
            found[slot.field] = tuple(given[at:])
            at = len(given)
        elif at < len(given):
            _check(row, s, slot, at, given[at])
            found[slot.field] = given[at]
            at += 1
        elif not slot.optional:
            raise _count(row, s, len(given))
    if at < len(given):
        raise _count(row, s, len(given))
    return found


def _check(row: Row, s: Statement, slot: Slot, index: int, operand: Operand | None) -> None:
    accepted = (Value, Const, Fraction) if slot.kind is Value else (slot.kind,)
    if operand is None or isinstance(operand, accepted):
        return
    written = syntax.operands(s.operands)[index]
    kind = next((word for k, word in KINDS.items() if isinstance(operand, k)), "number")
    is_a = f"the number {written}" if kind == "number" else f"the {kind} {written}"
    message = f"'{s.keyword}' takes a {KINDS[slot.kind]} here, not {is_a}"
    form = f"{row.form}, {slot.form}" if slot.optional else row.form
    raise Misplaced(index, message, f"write: {s.target} = {s.keyword} {form}")


def _count(row: Row, s: Statement, given: int) -> Misplaced:
    least = sum(not slot.optional and not slot.many for slot in row.slots)
    most = None if any(slot.many for slot in row.slots) else len(row.slots)
    takes = f"{least}" if most == least else f"{least} or more" if most is None else f"{least} or {most}"
    operands = "no operands" if most == 0 else f"{takes} operand{'s' if takes != '1' else ''}"
    help = f"write: {s.target} = {s.keyword} {row.form}"
    return Misplaced(None, f"'{s.keyword}' takes {operands}, not {given}", help)
