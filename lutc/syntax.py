"""The form of the text: from characters to statements, by the grammar `ir_spec/lir.lark`. `parse` gives them meaning.

Syntax errors are explained in words. After one, its statement is blanked out and the rest is read again, so that one
run reports them all; names that went with the statement are remembered, and nobody complains that they are missing.
"""

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


@dataclass(slots=True)
class File:
    """A file as it stands: its head, its parts in order, what is wrong, and names lost in what could not be read."""

    version: Token | None = None
    stage: Token | None = None
    parts: list[Data | Block] = field(default_factory=list)
    problems: list[Diagnostic] = field(default_factory=list)
    lost: set[str] = field(default_factory=set)


# -- the grammar ----------------------------------------------------------------------------------------------------


def grammar() -> str:
    """The text of `lir.lark`."""
    try:
        return files("lutc.ir_spec").joinpath("lir.lark").read_text("utf-8")
    except ModuleNotFoundError:  # a checkout that is on the path but not installed
        return (Path(__file__).parents[1] / "ir_spec" / "lir.lark").read_text("utf-8")


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

        def list(self, children: list[Any]) -> list[Any]:
            return [c for c in children if c is not None]

    return Lark(
        grammar(),
        parser="lalr",
        start=["file", "type", "list"],
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


def operands(token: Token | None) -> list[str]:
    """The names in an OPERANDS token, with their `%` and `@`."""
    return [name.strip() for name in token.split(",")] if token else []


def operand_span(source: Source, token: Token, index: int) -> Span:
    """The place of one of an OPERANDS token's names."""
    place = list(re.finditer(r"[%@][\w.]+", token))[index]
    return inside(source, token, place.start(), place.end())


def unquoted(source: Source, token: Token) -> str:
    """What a STRING or an ORIGIN says. Escapes are JSON's. Raises LirError for one that is not."""
    try:
        return str(json.loads(token.removeprefix("!"), strict=False))
    except ValueError:
        problem = Diagnostic(
            "this string has an escape that is none", span(source, token), help='use \\" or \\\\'
        )
        raise LirError(problem) from None


# -- reading --------------------------------------------------------------------------------------------------------

REPAIRS = 20  # syntax errors to report before giving up
PATIENT = 1_000_000  # characters; a larger file is read once, and its first syntax error reported alone


def read(source: Source) -> File:
    """Read a file's form. What is wrong is listed in the result's `problems`."""
    from lark.exceptions import UnexpectedInput

    text = source.text if source.text.endswith("\n") else source.text + "\n"
    problems: list[Diagnostic] = []
    lost: set[str] = set()
    broken = False  # a head was blanked: what follows may be its body
    for _ in range(REPAIRS):
        try:
            file: File = parser().parse(text, start="file")  # type: ignore[assignment]
        except UnexpectedInput as e:
            at = place_of(e, text)
            if not problems or (at < len(text) - 1 and not broken):
                problems.append(_explain(e, source, text))
            headless = "LIR" in _expected(e)
            if len(text) > PATIENT or at >= len(text) - 1 or headless:
                break
            start, end, broken = _region(text, at)
            lost |= set(re.findall(r"^\s*(%[\w.]+)", text[start:end], re.M))
            lost |= set(re.findall(r"^\s*(?:const|table|func)\s+(@[\w.]+)", text[start:end], re.M))
            lost |= {"design"} if re.match(r"\s*design\b", text[start:end]) else set()
            blanked = re.sub(r"[^\n]", " ", text[start:end])
            if blanked == text[start:end]:
                break
            text = text[:start] + blanked + text[end:]
        else:
            return File(file.version, file.stage, file.parts, problems, lost)
    return File(problems=problems, lost=lost)


_STARTS = re.compile(r"\s*(?:%[\w.]+\s*[:=]|%[\w.]+\s|(?:const|table|func|design|lir)\b|\})")


def _region(text: str, at: int) -> tuple[int, int, bool]:
    """The statement or part that a place belongs to, and whether it was the head of a block."""
    start = text.rfind("\n", 0, at) + 1
    while start and not _STARTS.match(_line(text, start)):
        start = text.rfind("\n", 0, start - 1) + 1
    end = text.find("\n", at)
    end = len(text) if end < 0 else end
    while end + 1 < len(text) and not _STARTS.match(_line(text, end + 1)):
        following = text.find("\n", end + 1)
        end = len(text) if following < 0 else following
    head = re.match(r"\s*(func|design)\b", text[start:end]) is not None
    if head:
        brace = re.compile(r"^\s*\}|^(?=const|table|func|design)", re.M).search(text, end)
        end = brace.end() if brace else len(text)
    return start, end, head


def _line(text: str, start: int) -> str:
    end = text.find("\n", start)
    return text[start : end if end >= 0 else len(text)]


# -- explaining -----------------------------------------------------------------------------------------------------

WORDS = {
    "VALUE": "a value such as %x",
    "SYMBOL": "a name such as @w",
    "OPERANDS": "operands such as %x, @w",
    "NAME": "a name",
    "WORD": "a word",
    "NUMBER": "a number",
    "STRING": "a file name in quotes",
    "ORIGIN": 'an origin such as !"layer"',
    "TYPE": "a type such as s8f4",
    "FORMAT": "a format such as s8f4",
    "COUNT": "a count",
    "LIST": "a list in brackets",
    "RBRACE": "'}'",
    "_NL": "the end of the line",
    "$END": "the end of the file",
}


def _words(terminals: set[str]) -> str:
    names = {t.name: t for t in parser().terminals}
    words = sorted(
        WORDS.get(t) or (f"'{names[t].pattern.value}'" if t in names else t.lower()) for t in terminals
    )
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def place_of(e: UnexpectedInput, text: str) -> int:
    """Where in the text; its end, if that came too early."""
    token = getattr(e, "token", None)
    if token is not None and token.type == "$END":
        return len(text)
    at: int | None = getattr(e, "pos_in_stream", None)
    return len(text) if at is None else at


def _expected(e: UnexpectedInput) -> set[str]:
    """The terminals that could have stood there."""
    for name in ("accepts", "expected", "allowed"):
        if found := getattr(e, name, None):
            return set(found)
    return set()


def _explain(e: UnexpectedInput, source: Source, text: str) -> Diagnostic:
    """A syntax error in the user's words."""
    expected = _expected(e)
    at = place_of(e, text)
    token = getattr(e, "token", None)
    if token is not None and token.type == "$END":
        return _too_short(source, expected)
    if token is not None and token.type == "_NL" and not text[at:].startswith("#"):
        at = _end_of_code(text, at)
    rest = text[at : at + 200].split("\n", 1)[0].rstrip()
    found = re.match(r"[%@!]?[\w.+\-/]+|.", rest)
    length = found.end() if found else 1
    line = text.count("\n", 0, at) + 1
    column = at - (text.rfind("\n", 0, at) + 1) + 1
    place = Span(source, line, column, line, column + length)
    before = text[text.rfind("\n", 0, at) + 1 : at]
    message, help = _in_words(found.group() if found else "", before, expected)
    return Diagnostic(message, place, help=help)


def _end_of_code(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\f":
        at += 1
    return at


def _too_short(source: Source, expected: set[str]) -> Diagnostic:
    lines = source.text.rstrip().split("\n")
    column = len(lines[-1].rstrip("\r")) + 1
    place = Span(source, len(lines), column, len(lines), column + 1)
    if not source.text.strip():
        return Diagnostic("the file is empty", place, help="a file begins with: lir 1")
    return Diagnostic(f"the file ends too early: expected {_words(expected)}", place)


def _in_words(found: str, before: str, expected: set[str]) -> tuple[str, str | None]:
    """Message and help for `found`, which stands after `before` where something of `expected` was expected."""
    if "LIR" in expected:
        return "a file begins with its version", "write in the first line: lir 1"
    if not found or found == "#":
        return f"the line ends too early: expected {_words(expected)}", None
    if found == "[" and "LIST" in expected:
        return "this '[' is never closed", "a list holds numbers and words, and ends with ']'"
    if found[0] in '"!' and expected & {"ORIGIN", "STRING"}:
        return "this string is never closed", 'an origin is written !"layer", a file name "w.npy"'
    if "COMMA" in expected and (found[0] in "%@" or re.match(r"\w", found)):
        return f"a comma is missing before {found!r}", "operands and key=value are separated by commas"
    if found == "(" and "OPERANDS" in expected:
        return "operands stand without parentheses", "write: %y = add %a, %b"
    if re.match(r"[\d.+\-]", found) and "COMMA" not in expected and "NAME" in expected and "=" in before:
        return f"an operand is a value, not the number {found}", f"make it one: %n = number value={found}"
    if found[0] == "@" and "VALUE" in expected:
        return f"expected a value such as %x, not {found}", "constants become values by: %c = const @w"
    if {"CONST", "DESIGN"} <= expected:
        return f"expected const, table, func or design, not {found!r}", None
    if "RBRACE" in expected:
        help = "a statement is: %y = add %a, %b" if re.match(r"\w", found) else None
        if found in ("const", "table", "func", "design"):
            help = "close the block above with '}'"
        return f"expected a statement or '}}', not {found!r}", help
    return f"expected {_words(expected)}, not {found!r}", None
