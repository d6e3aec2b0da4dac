"""The form of the text: what the parser built from `ir_spec/lir.lark` makes of it. `parse` gives it meaning."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lutc.diagnostics import Diagnostic, LirError, Source, Span

if TYPE_CHECKING:
    from lark import Lark, Token
    from lark.exceptions import UnexpectedInput

# An attribute: its name, and a token of type NUMBER, WORD or LIST.
Attribute = tuple["Token", "Token"]


@dataclass(frozen=True, slots=True)
class Statement:
    """`%target: type = keyword operands, attributes !"origin"`."""

    target: Token
    type: Token | None
    keyword: Token
    operands: Token | None
    attributes: list[Attribute]
    origin: Token | None


@dataclass(frozen=True, slots=True)
class Input:
    """`%name: type attributes`, in the head of a function or a design."""

    name: Token
    type: Token
    attributes: list[Attribute]


@dataclass(frozen=True, slots=True)
class Result:
    """`name = %value attributes`, in the head of a design; a function has one without a name."""

    name: Token | None
    value: Token
    attributes: list[Attribute]


@dataclass(frozen=True, slots=True)
class Data:
    """A constant, or a table if it has a `value` type; `data` is a LIST, or the STRING that names a file."""

    name: Token
    type: Token
    value: Token | None
    data: Token


@dataclass(frozen=True, slots=True)
class Block:
    """A function (its name is a SYMBOL) or a design; `end` is the closing brace."""

    name: Token
    inputs: list[Input]
    results: list[Result]
    statements: list[Statement]
    end: Token


@dataclass(frozen=True, slots=True)
class Expected:
    """`run inputs => outputs`; a port's number is a token of type NUMBER or LIST."""

    given: list[Attribute]
    answers: list[Attribute]


@dataclass(frozen=True, slots=True)
class Note:
    """`note "text"`."""

    text: Token


Part = Data | Block | Expected | Note


@dataclass(slots=True)
class File:
    """A file as it stands: its head, its parts in order, what is wrong, and names lost in what could not be read."""

    version: Token | None = None
    stage: Token | None = None
    parts: list[Part] = field(default_factory=list)
    problems: list[Diagnostic] = field(default_factory=list)
    lost: set[str] = field(default_factory=set)


# -- the grammar ----------------------------------------------------------------------------------------------------


def grammar() -> str:
    """The text of `lir.lark`."""
    try:
        return files("lutc.ir_spec").joinpath("lir.lark").read_text("utf-8")
    except ModuleNotFoundError:  # a checkout that is on the path but not installed
        return (Path(__file__).parents[2] / "ir_spec" / "lir.lark").read_text("utf-8")


@lru_cache(maxsize=1)
def parser() -> Lark:
    """The parser: built at its first use, which takes some 50 ms."""
    from lark import Lark, Transformer

    class Collect(Transformer[Any, Any]):
        """Turns what the parser recognises into the records above, without a tree in between."""

        def file(self, children: list[Any]) -> File:
            (version, stage), *parts = children
            return File(version, stage, parts)

        def header(self, children: list[Any]) -> tuple[Token, Token | None]:
            return children[0], children[1]

        def const(self, children: list[Any]) -> Data:
            name, kind, data = children
            return Data(name, kind, None, data)

        def table(self, children: list[Any]) -> Data:
            return Data(*children)

        def func(self, children: list[Any]) -> Block:
            name, inputs, result, (statements, end) = children
            return Block(name, inputs, [Result(None, result, [])], statements, end)

        def design(self, children: list[Any]) -> Block:
            name, inputs, results, (statements, end) = children
            return Block(name, inputs, results, statements, end)

        def inputs(self, children: list[Any]) -> list[Input]:
            return [c for c in children if c is not None]

        def outputs(self, children: list[Any]) -> list[Result]:
            return children

        def input(self, children: list[Any]) -> Input:
            name, kind, *attributes = children
            return Input(name, kind, attributes)

        def output(self, children: list[Any]) -> Result:
            name, value, *attributes = children
            return Result(name, value, attributes)

        def body(self, children: list[Any]) -> tuple[list[Statement], Token]:
            return children[:-1], children[-1]

        def statement(self, children: list[Any]) -> Statement:
            target, kind, keyword, *rest = children
            origin = rest.pop()
            operands = rest.pop(0) if rest and (rest[0] is None or type(rest[0]) is not tuple) else None
            return Statement(target, kind, keyword, operands, rest, origin)

        def attribute(self, children: list[Any]) -> tuple[Any, ...]:
            return tuple(children)

        def note(self, children: list[Any]) -> Note:
            return Note(children[0])

        def run(self, children: list[Any]) -> Expected:
            return Expected(children[0] or [], children[1])

        def ports(self, children: list[Any]) -> list[Any]:
            return children

        port = attribute

        def list(self, children: list[Any]) -> list[Any]:
            return [c for c in children if c is not None]

    return Lark(
        grammar(),
        parser="lalr",
        start=["file", "type", "list", "ports"],
        maybe_placeholders=True,
        propagate_positions=False,  # every record holds tokens, which know their places
        transformer=Collect(),
    )


# -- places ---------------------------------------------------------------------------------------------------------


def span(source: Source, first: Token, last: Token | None = None) -> Span:
    """From the start of `first` to the end of `last` (or of `first`)."""
    end = last or first
    return Span(source, first.line or 1, first.column or 1, end.end_line or 1, end.end_column or 1)


def inside(source: Source, token: Token, start: int, end: int) -> Span:
    """The characters `start` to `end` of a token, which may go over several lines."""
    before, part = str(token)[:start], str(token)[start:end]

    def after(line: int, column: int, text: str) -> tuple[int, int]:
        breaks = text.count("\n")
        return line + breaks, (len(text) - text.rfind("\n") if breaks else column + len(text))

    line, column = after(token.line or 1, token.column or 1, before)
    return Span(source, line, column, *after(line, column, part))


def last_token(s: Statement) -> Token:
    """The last token of a statement, its origin left out."""
    return s.attributes[-1][1] if s.attributes else s.operands or s.keyword


_OPERAND = re.compile(r"#[^\n]*|([^\s,#]+)")


def operands(token: Token | None) -> list[str]:
    """The operands in an OPERANDS token: names with their `%` and `@`, and numbers."""
    if token is None:
        return []
    if "\n" not in token:
        return [name.strip() for name in token.split(",")]
    return [m[1] for m in _OPERAND.finditer(token) if m[1]]


def operand_span(source: Source, token: Token, index: int) -> Span:
    """The place of one of an OPERANDS token's operands."""
    place = [m for m in _OPERAND.finditer(token) if m[1]][index]
    return inside(source, token, place.start(), place.end())


def unquoted(source: Source, token: Token) -> str:
    """What a STRING or an ORIGIN says. Escapes are JSON's. Raises LirError for one that is not."""
    try:
        text = str(json.loads(token.removeprefix("!"), strict=False))
        text.encode()  # half of a pair of surrogates is no character
        return text
    except ValueError:
        problem = Diagnostic(
            "this string has an escape that is none", span(source, token), help='use \\" or \\\\'
        )
        raise LirError(problem) from None


def place_of(e: UnexpectedInput, text: str) -> int:
    """Where in the text; its end, if that came too early."""
    token = getattr(e, "token", None)
    if token is not None and token.type == "$END":
        return len(text)
    at: int | None = getattr(e, "pos_in_stream", None)
    return len(text) if at is None else at
