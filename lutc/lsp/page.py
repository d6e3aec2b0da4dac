"""One text as an editor sees it: what is wrong, what stands at a place, where it is defined, what could stand there.

While a text is written most of it is right and some of it is not. So places are found in the text itself, line by line,
and types are those of all that could be read; what a mistake has hidden is remembered from the page before.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lutc.analysis.ranges import range_of
from lutc.diagnostics import Diagnostic, LirError
from lutc.ir.expect import failures
from lutc.ir.graph import Const, Func, Param, Table, Value
from lutc.ir.ops import TABLE
from lutc.ir.ops.about import describe, taken, words
from lutc.ir.ops.base import Attribute, Op, number
from lutc.text.arity import ROWS, Symbol
from lutc.text.fmt import format_text
from lutc.text.parse import read_design
from lutc.types import Overflow, Rounding

RANGED = 20_000  # values; of a larger text no ranges are shown, because the first would take a while
SPREAD = 65_536  # elements of a tensor whose range is shown

_WORD = re.compile(r"[%@][A-Za-z0-9_.]+|[A-Za-z_][A-Za-z0-9_]*(?:-[A-Za-z0-9_]+)*")
_STRING = re.compile(r'"(?:[^"\\\n]|\\[^\n])*"')
_UNSAID = re.compile(rf"{_STRING.pattern}|#.*")
_HEAD = re.compile(r"^\s*(?:func\s+(@[A-Za-z0-9_.]+)|design\s+([A-Za-z_]\w*))")
_PART = re.compile(r"^\s*(?:func|design|const|table|run|note)\b")
_STATEMENT = re.compile(r"^\s*(%[A-Za-z0-9_.]+)\s*(?::[^=]*)?=\s*([A-Za-z_]\w*)")
_PORT = {"round": Rounding, "overflow": Overflow}


class Place(NamedTuple):
    """A part of a line: 0-based, in characters, as editors count; `end` is excluded."""

    line: int
    start: int
    end: int


class Item(NamedTuple):
    """What could stand at a place: the word, its sort (`operation`, `value`, ...), and a line about it."""

    label: str
    sort: str
    detail: str = ""


@dataclass(frozen=True)
class Hover:
    """What is known of the word at a place, as Markdown."""

    place: Place
    text: str


class Page:
    """A text, read as far as it can be. `before` is the same text a moment ago."""

    def __init__(
        self, text: str, name: str = "<text>", folder: Path | None = None, before: Page | None = None
    ) -> None:
        self.text, self.name, self.folder = text, name, folder
        self.lines = [line.rstrip("\r") for line in text.split("\n")]
        self._said = [_UNSAID.sub(lambda m: " " * len(m[0]), line) for line in self.lines]
        reading = read_design(text, name, folder)
        self.design, self.problems = reading.design, reading.problems
        self.symbols = reading.symbols
        self.values: dict[tuple[str, str], Value] = {
            (
                f"@{owner.name}" if isinstance(owner, Func) else str(getattr(owner, "name", "")),
                f"%{v.name}",
            ): v
            for owner, values in reading.written.items()
            for v in values
        }
        self.stale: set[tuple[str, str]] = set()
        if reading.problems and before is not None:
            self.stale = before.values.keys() - self.values.keys()
            self.values = {**before.values, **self.values}
            self.symbols = {**before.symbols, **self.symbols}

    # -- what is wrong --------------------------------------------------------------------------------------------

    def wrong_runs(self) -> list[Diagnostic]:
        """The answers of `run` statements that the design does not give; none while something else is wrong."""
        if self.design is None or self.problems:
            return []
        try:
            return list(failures(self.design))
        except LirError as e:
            return list(e.diagnostics)

    def formatted(self) -> str | None:
        """The canonical form, or None if the text cannot be formatted."""
        try:
            return format_text(self.text, self.name, self.folder)
        except LirError:
            return None

    # -- places ---------------------------------------------------------------------------------------------------

    def word(self, line: int, column: int) -> tuple[str, Place] | None:
        """The word at a place, or that ends there; none in comments and strings."""
        if not 0 <= line < len(self._said):
            return None
        for match in _WORD.finditer(self._said[line]):
            if match.start() <= column <= match.end():
                return match[0], Place(line, *match.span())
        return None

    def scope(self, line: int) -> tuple[str, range]:
        """The name of the function (`@f`) or design that a line belongs to, and its lines."""
        line = min(line, len(self._said) - 1)
        first = next((n for n in range(line, -1, -1) if _PART.match(self._said[n])), None)
        head = _HEAD.match(self._said[first]) if first is not None else None
        if first is None or head is None:
            return "", range(0)
        last = next((n for n in range(first + 1, len(self._said)) if _PART.match(self._said[n])), None)
        return head[1] or head[2], range(first, len(self._said) if last is None else last)

    def definition(self, line: int, column: int) -> Place | None:
        """Where the value or symbol at a place is defined."""
        found = self.word(line, column)
        if found is None or found[0][0] not in "%@":
            return None
        name = re.escape(found[0])
        if found[0][0] == "@":
            return self._first(rf"^\s*(?:const|table|func)\s+({name})(?![\w.])", range(len(self._said)))
        return self._first(rf"({name})(?![\w.])\s*(?::|=(?!>))", self.scope(line)[1])

    def _first(self, pattern: str, lines: range) -> Place | None:
        for n in lines:
            if match := re.search(pattern, self._said[n]):
                return Place(n, *match.span(1))
        return None

    def _operation(self, line: int, column: int) -> tuple[type[Op], Place] | None:
        """The operation of the statement that a place is in; a statement may go on for some lines."""
        for n in range(line, max(line - 50, -1), -1):
            if match := _STATEMENT.match(self._said[n]):
                op = TABLE.get(match[2])
                later = n < line or column >= match.start(2)
                return (op, Place(n, *match.span(2))) if op is not None and later else None
            if not self._said[n].strip() or _PART.match(self._said[n]) or "}" in self._said[n]:
                return None
        return None

    # -- hover ----------------------------------------------------------------------------------------------------

    def hover(self, line: int, column: int) -> Hover | None:
        """What is known of the value, symbol, operation or attribute at a place."""
        found = self.word(line, column)
        if found is None:
            return None
        word, place = found
        if word[0] == "%":
            text = self._about_value(word, line, column)
        elif word[0] == "@":
            text = self._about_symbol(word, line, column)
        else:
            text = self._about_word(word, place)
        return Hover(place, text) if text else None

    def _about_value(self, name: str, line: int, column: int) -> str | None:
        key = self.scope(line)[0], name
        value = self.values.get(key)
        if value is None:
            return self._as_written(line, column)
        made = f" = {value.keyword}" if isinstance(value, Op) else ""
        parts = [_code(f"{name}: {value.type}{made}")]
        if reach := self._reach(value):
            parts.append(reach)
        if isinstance(value, Op):
            parts.append(f"`{value.keyword}`: {_first_line(type(value))}")
        if isinstance(value, Param) and (value.scale != 1 or value.offset):
            parts.append(f"outside: {number(value.scale)} * v + {number(value.offset)}")
        if value.origin:
            parts.append(f"from the layer {value.origin}")
        if key in self.stale:
            parts.append("as it was before the mistake")
        return "\n\n".join(parts)

    def _reach(self, value: Value) -> str | None:
        """The range that a value can really have."""
        kind = value.type
        if len(self.values) > RANGED or not 0 < kind.size <= SPREAD:
            return None
        lo, hi = (np.broadcast_to(np.asarray(x, dtype=object), kind.shape).ravel() for x in range_of(value))
        least = min(f.value(int(code)) for f, code in zip(kind.formats, lo, strict=True))
        most = max(f.value(int(code)) for f, code in zip(kind.formats, hi, strict=True))
        return f"range: {number(least)} to {number(most)}"

    def _about_symbol(self, name: str, line: int, column: int) -> str | None:
        match self.symbols.get(name):
            case Const(type=kind):
                return _code(f"const {name}: {kind}")
            case Table(key=key, value=answer):
                return _code(f"table {name}: {key} -> {answer}")
            case Func(params=params, result=result):
                taken = ", ".join(f"%{p.name}: {p.type}" for p in params)
                return _code(f"func {name}({taken}) -> {result.type}")
        return self._as_written(line, column)

    def _as_written(self, line: int, column: int) -> str | None:
        """The line that defines what is at a place: all there is where a mistake stands in the way."""
        place = self.definition(line, column)
        return _code(self.lines[place.line].strip()) if place else None

    def _about_word(self, word: str, place: Place) -> str | None:
        stated = self._operation(place.line, place.start)
        if stated is not None and stated[1] == place:
            form, _, _ = describe(stated[0]).partition("\n")
            return f"{_code(form)}\n\n{inspect.cleandoc(stated[0].__doc__ or '')}"
        if not self._said[place.line][place.end :].lstrip().startswith("="):
            return None
        if stated is not None:
            attribute = _attributes(stated[0]).get(word)
            return f"`{word}`: {taken(stated[0], attribute)}" if attribute else None
        kind = _PORT.get(word)
        return f"`{word}`: {', '.join(words(kind))}" if kind else None

    # -- completion -----------------------------------------------------------------------------------------------

    def completions(self, line: int, column: int) -> list[Item]:
        """What could stand at a place, by what stands in front of it."""
        if not 0 <= line < len(self.lines):
            return []
        before = self.lines[line][:column]
        if re.search(r'["#]', _STRING.sub("", before)):  # in a comment, or in a string that is not at its end
            return []
        if re.search(r"%[A-Za-z0-9_.]*$", before):
            return list(self._values(line))
        if re.search(r"@[A-Za-z0-9_.]*$", before):
            return [Item(name, "symbol", _kind(symbol)) for name, symbol in sorted(self.symbols.items())]
        if re.search(r"^\s*%[A-Za-z0-9_.]+\s*(?::[^=]*)?=\s*\w*$", before):
            stage = self.design.stage if self.design else None
            legal = (op for op in TABLE.values() if stage is None or stage in op.stages)
            return [Item(op.keyword, "operation", _first_line(op)) for op in legal]
        stated = self._operation(line, column)
        if match := re.search(r"([A-Za-z_]\w*)\s*=\s*\[?(?:[\w-]+\s*,\s*)*[\w-]*$", before):
            attribute = _attributes(stated[0]).get(match[1]) if stated else None
            kind = attribute.kind if attribute else None if stated else _PORT.get(match[1])
            return [Item(word, "word") for word in words(kind)]
        if stated is not None and re.search(r"[,\s]\s*\w*$", before):
            return [
                Item(name, "attribute", taken(stated[0], attribute))
                for name, attribute in _attributes(stated[0]).items()
            ]
        return []

    def begun(self, line: int, column: int) -> int:
        """Where the word begins that ends at a place, its sigil included."""
        before = self.lines[line][:column] if 0 <= line < len(self.lines) else ""
        match = re.search(r"(?:[%@][A-Za-z0-9_.]*|[A-Za-z0-9_]+(?:-[A-Za-z0-9_]*)*)$", before)
        return match.start() if match else column

    def _values(self, line: int) -> Iterator[Item]:
        """The values that are defined above a line of its function or design."""
        scope, lines = self.scope(line)
        seen: set[str] = set()
        for n in lines:
            for match in re.finditer(r"(%[A-Za-z0-9_.]+)\s*(?::|=(?!>))", self._said[n]):
                if (n < line or "->" in self._said[n]) and match[1] not in seen:
                    seen.add(match[1])
                    value = self.values.get((scope, match[1]))
                    yield Item(match[1], "value", str(value.type) if value is not None else "")


def _code(text: str) -> str:
    return f"```lir\n{text}\n```"


def _first_line(op: type[Op]) -> str:
    return inspect.cleandoc(op.__doc__ or "").partition("\n")[0]


def _kind(symbol: Symbol) -> str:
    match symbol:
        case Const(type=kind):
            return f"const: {kind}"
        case Table(key=key, value=answer):
            return f"table: {key} -> {answer}"
        case Func(result=result):
            return f"func -> {result.type}"


def _attributes(op: type[Op]) -> Mapping[str, Attribute]:
    return ROWS[op.keyword].attributes
