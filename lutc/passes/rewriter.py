"""What a pass makes values with: each once, with symbols that are one where they are equal."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from lutc.ir.facts import carry
from lutc.ir.graph import (
    Const,
    Design,
    Func,
    Param,
    Table,
    Value,
    body,
    owners,
    topo,
)
from lutc.ir.ops import Pack, Quant
from lutc.ir.ops.base import Op, Spec, spec
from lutc.ir.verify import symbols_of
from lutc.types import Type, scalar


class Symbols:
    """The constants, tables and functions of a design: equal ones become one, new ones get names of their own."""

    def __init__(self, design: Design | None = None) -> None:
        self._canonical: dict[Any, Any] = {}
        self._equal: dict[tuple[Any, ...], Any] = {}
        self._taken: set[str] = set()
        found = owners(design) if design else []
        own = dict.fromkeys(
            s for owner in found for v in body(owner) if isinstance(v, Op) for s in symbols_of(v)
        )
        self._taken.update(s.name for s in own)
        for symbol in own:
            self._canonical.setdefault(symbol, self._equal.setdefault(contents(symbol), symbol))

    def one(self, symbol: Any) -> Any:
        """The symbol that stands for all with these contents; a new one is renamed if its name is taken or no name."""
        known = self._canonical.get(symbol)
        if known is None:
            key = contents(symbol)
            known = self._equal.get(key)
            if known is None:
                name = self._fresh(symbol.name)
                known = symbol if name == symbol.name else replace(symbol, name=name)
                self._equal[key] = self._canonical[known] = known
            self._canonical[symbol] = known
        return known

    def _fresh(self, name: str) -> str:
        stem = re.sub(r"[^A-Za-z0-9_.]", "_", name) or "_"
        found, n = stem, 1
        while found in self._taken:
            found, n = f"{stem}_{n}", n + 1
        self._taken.add(found)
        return found


def contents(symbol: Const | Table | Func) -> tuple[Any, ...]:
    """Equal for constants and for tables that are the same number for number; a function equals only itself."""
    return ("func", symbol) if isinstance(symbol, Func) else symbol.contents


class Rewriter:
    """Makes values, each only once."""

    def __init__(self, symbols: Symbols | None = None) -> None:
        self._known: dict[tuple[Any, ...], Value] = {}
        self._symbols = symbols or Symbols()
        self._constant: dict[Func, bool] = {}
        self.origin: str | None = None
        self.name: str | None = None
        self.original: Op | None = None  # what is being rewritten, as it was

    def make(self, kind: type[Op], *arguments: Any, name: str | None = None, **attributes: Any) -> Op:
        """An operation of this kind, from the layer now being rewritten; an equal one made before is reused."""
        mine = [self.symbol(a) if isinstance(a, Const | Table) else a for a in arguments]
        return self.keep(kind(*mine, **attributes, name=name, origin=self.origin))

    def keep(self, op: Op) -> Op:
        """The value equal to `op` that was made first: `op` itself if there is none."""
        return self._known.setdefault(identity(op, self), op)  # type: ignore[return-value]

    def symbol(self, thing: Any) -> Any:
        """The first constant or table with the same contents; a new one gets a name that no other has."""
        return self._symbols.one(thing) if isinstance(thing, Const | Table) else thing

    def constant(self, func: Func) -> bool:
        """Whether a function returns the same whatever it is given."""
        if func not in self._constant:
            self._constant[func] = not any(isinstance(v, Param) for v in topo([func.result]))
        return self._constant[func]

    def fit(self, value: Value, to: Type) -> Value:
        """The value in another format that is known to hold it: wires only. A bundle's parts are fitted one by one."""
        if value.type == to:
            return value
        if isinstance(value, Pack):
            parts = zip(value.parts, to.formats, strict=True)
            return self.make(Pack, tuple(self.fit(v, scalar(f)) for v, f in parts), value.shape)
        return self.make(Quant, value, to)


def identity(op: Op, rewriter: Rewriter) -> tuple[Any, ...]:
    """What makes two operations the same: kind, operands, symbols, attributes."""
    kind = type(op)
    row = spec(kind)
    if not row.symbols:
        return (kind, op.operands, op.attributes)
    symbols = [id(rewriter.symbol(getattr(op, n))) for n, _ in row.symbols]
    return (kind, op.operands, op.attributes, *symbols)


def with_operands(op: Op, operands: Sequence[Value], **changes: Any) -> Op:
    """The same operation on other operands (and with other fields, if given)."""
    kind = type(op)
    row = spec(kind)
    if not changes.keys() - {"name"} and _same_types(operands, op.operands):
        return _moved(op, row, tuple(operands), changes)
    arguments: dict[str, Any] = {"name": op.name, "origin": op.origin, "span": op.span}
    arguments |= _by_field(op, row, operands)
    for name, _ in row.symbols:
        arguments[name] = getattr(op, name)
    for name in row.plain:
        arguments[name] = getattr(op, name)
    arguments.update(changes)
    return kind(**arguments)


def _same_types(some: Sequence[Value], others: Sequence[Value]) -> bool:
    return all(a.type is b.type or a.type == b.type for a, b in zip(some, others, strict=True))


def _by_field(op: Op, row: Spec, operands: Sequence[Value]) -> dict[str, Any]:
    """Operands by the fields they stand in."""
    found: dict[str, Any] = {}
    at = 0
    for name, many in row.operands:
        if many:
            count = len(getattr(op, name))
            found[name] = tuple(operands[at : at + count])
            at += count
        else:
            found[name] = operands[at]
            at += 1
    return found


def _moved(op: Op, row: Spec, operands: tuple[Value, ...], changes: dict[str, Any]) -> Op:
    """The operation on other operands of the same types: all that follows from types is as it was."""
    new: Op = object.__new__(type(op))
    kept = carry(op, new)
    kept.update(_by_field(op, row, operands))
    kept["operands"] = operands
    if changes:
        kept.update(changes)
    return new


def rename(op: Op, name: str) -> Op:
    """Give a value that has no name yet the name of the one it replaces, so that the output stays readable."""
    object.__setattr__(op, "name", name)  # made a moment ago by this very pass: no other design holds it
    return op
