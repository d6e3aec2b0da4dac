"""A shortcut through long bodies. The parser takes some 35 us for a statement; a design may have half a million.

One regular expression, put together from the grammar's own terminals, recognises a statement, and makes the same
record of it as the parser. It is used where it understands a body as a whole; whatever it does not understand, and
every error, is left to the parser. `tests/text/test_text.py` holds the two to the same answers.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from lutc.text.syntax import Attribute, Statement, parser

if TYPE_CHECKING:
    from lark import Token


@lru_cache(maxsize=1)
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """A statement with the line ends after it, and an attribute."""
    # Atomic, because the parser's lexer never goes back on a terminal either.
    terminals = {t.name: f"(?>{_uncaptured(t.pattern.to_regexp())})" for t in parser().terminals}
    space = r"[ \t\f\r]*"
    value = "|".join(f"(?P<{kind}>{terminals[kind]})" for kind in ("NUMBER", "WORD", "LIST"))
    attribute = rf"(?P<NAME>{terminals['NAME']}){space}={space}(?:{value})"
    plain = _uncaptured(re.sub(r"\?P<\w+>", "", attribute))
    statement = (
        rf"{space}(?P<target>{terminals['VALUE']}){space}(?::{space}(?P<type>{terminals['TYPE']}){space})?={space}"
        rf"(?P<keyword>{terminals['NAME']}){space}"
        rf"(?:(?P<operands>{terminals['OPERANDS']}){space}(?P<more>(?:,{space}{plain}{space})*)"
        rf"|(?P<first>(?:{plain}{space}(?:,{space}{plain}{space})*)?))"
        rf"(?P<origin>{terminals['ORIGIN']})?(?P<end>{terminals['_NL']})"
    )
    return re.compile(statement), re.compile(attribute)


def _uncaptured(pattern: str) -> str:
    return re.sub(r"(?<!\\)\((?!\?)", "(?:", pattern)


def take_bodies(text: str) -> tuple[str, dict[int, list[Statement]]]:
    """The text with the statements of all bodies blanked out that the shortcut understands, and those statements.

    They are listed by the place of the brace that closes their body. Places in the text stay what they are.
    """
    from lark import Token

    statement, _ = _patterns()
    bodies: dict[int, list[Statement]] = {}
    pieces: list[str] = []
    done, line, counted = 0, 1, 0
    opening = re.compile(rf"\{{{parser().get_terminal('_NL').pattern.to_regexp()}")
    closing = re.compile(r"[ \t\f\r]*\}")
    while brace := opening.search(text, done):
        start = at = brace.end()
        line, counted = line + text.count("\n", counted, start), start
        found: list[Statement] = []
        while m := statement.match(text, at):
            found.append(_record(m, line, Token))
            line, counted, at = line + m[0].count("\n"), m.end(), m.end()
        if found and (close := closing.match(text, at)):
            bodies[close.end() - 1] = found
            lines = text.count("\n", start, at)
            pieces += [text[done:start], " " * (at - start - lines), "\n" * lines]
        else:
            pieces.append(text[done:at])
        done = at
    return "".join([*pieces, text[done:]]), bodies


def _record(m: re.Match[str], line: int, make: type[Token]) -> Statement:
    """The statement that was matched, `line` being the one it begins in."""
    text, start = m.string, m.start()
    flat = "\n" not in text[start : m.start("end")]

    def token(kind: str, first: int, last: int) -> Token:
        value = text[first:last]
        if flat:
            column = first - start + 1
            return make(kind, value, first, line, column, line, column + last - first, last)
        breaks = text.count("\n", start, first)
        column = first - (text.rfind("\n", start, first) if breaks else start - 1)
        inside = value.count("\n")
        end_column = len(value) - value.rfind("\n") if inside else column + len(value)
        return make(kind, value, first, line + breaks, column, line + breaks + inside, end_column, last)

    def group(kind: str, name: str) -> Token | None:
        return token(kind, *m.span(name)) if m.start(name) >= 0 else None

    attributes: list[Attribute] = []
    span = m.span("more") if m.start("operands") >= 0 else m.span("first")
    if span[0] < span[1]:
        for a in _patterns()[1].finditer(text, *span):
            kind = str(a.lastgroup)
            attributes.append((token("NAME", *a.span("NAME")), token(kind, *a.span(kind))))
    return Statement(
        token("VALUE", *m.span("target")),
        group("TYPE", "type"),
        token("NAME", *m.span("keyword")),
        group("OPERANDS", "operands"),
        attributes,
        group("ORIGIN", "origin"),
    )
