"""Syntax errors in the user's words: what stands there, what was meant, and how it is written."""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from lutc.diagnostics import Diagnostic, Source, Span, did_you_mean
from lutc.text.arity import row_of
from lutc.text.literals import type_help
from lutc.text.syntax import parser, place_of

if TYPE_CHECKING:
    from lark.exceptions import UnexpectedInput


class Line(NamedTuple):
    """A line with an error in it: what stands before the place, and from it on."""

    before: str
    rest: str


WORDS = {
    "VALUE": "a value such as %x",
    "SYMBOL": "a name such as @w",
    "OPERANDS": "operands such as %x, @w",
    "NAME": "a name",
    "WORD": "a word",
    "NUMBER": "a number",
    "STRING": "a text in quotes",
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


def expected(e: UnexpectedInput) -> set[str]:
    """The terminals that could have stood there."""
    for name in ("accepts", "expected", "allowed"):
        if found := getattr(e, name, None):
            return set(found)
    return set()


def explain(e: UnexpectedInput, source: Source, text: str) -> Diagnostic:
    """A syntax error in the user's words."""
    allowed = expected(e)
    at = place_of(e, text)
    token = getattr(e, "token", None)
    if token is not None and token.type == "$END":
        return _too_short(source, allowed)
    if token is not None and token.type == "_NL" and not text[at:].startswith("#"):
        at = _end_of_code(text, at)
    rest = text[at : at + 200].split("\n", 1)[0].rstrip()
    found = re.match(r"[%@!]?[\w.+\-/]+|.", rest)
    length = found.end() if found else 1
    line = text.count("\n", 0, at) + 1
    column = at - (text.rfind("\n", 0, at) + 1) + 1
    place = Span(source, line, column, line, column + length)
    before = text[text.rfind("\n", 0, at) + 1 : at]
    message, help = _in_words(found.group() if found else "", Line(before, rest), allowed)
    return Diagnostic(message, place, help=help)


def _end_of_code(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\f":
        at += 1
    return at


def _too_short(source: Source, allowed: set[str]) -> Diagnostic:
    lines = source.text.rstrip().split("\n")
    column = len(lines[-1].rstrip("\r")) + 1
    place = Span(source, len(lines), column, len(lines), column + 1)
    if not source.text.strip():
        return Diagnostic("the file is empty", place, help="write in the first line: lir 1")
    if "LIR" in allowed:
        return Diagnostic("a file begins with its version", place, help="write in the first line: lir 1")
    first = re.match(r"[a-z]+", lines[-1])
    help = "close the block with '}'" if "RBRACE" in allowed else FORMS.get(first[0]) if first else None
    return Diagnostic(f"the file ends too early: expected {_words(allowed)}", place, help=help)


def _in_words(found: str, line: Line, allowed: set[str]) -> tuple[str, str | None]:
    """Message and help for `found`, the start of the line's rest, where something of `allowed` was expected."""
    if "LIR" in allowed:
        return "a file begins with its version", "write in the first line: lir 1"
    if found in ("}", ")") and not line.before.strip() and "NAME" in allowed:
        return f"expected {_words(allowed)}, not {found!r}", "the line above ends with a comma: take it out"
    for slip in (_listed, _quoted, _type, _name, _operation, _attribute):
        if said := slip(found, line, allowed):
            return said
    form = FORMS.get(first[0]) if (first := re.match(r"[a-z]+", line.before)) else None
    if not found or found == "#":
        return f"the line ends too early: expected {_words(allowed)}", form
    if "COMMA" in allowed and (found[0] in "%@" or re.match(r"[+-]?\w", found)):
        return f"a comma is missing before {found!r}", "operands and key=value are separated by commas"
    if found[0] == "@" and "VALUE" in allowed:
        return f"expected a value such as %x, not {found}", "constants become values by: %c = const @w"
    if found == "}" and "CONST" in allowed:
        return "this '}' closes nothing", "take it out, or look for a '}' too many above"
    if {"CONST", "DESIGN"} <= allowed:
        words = "const, table, func, design, note or run"
        return f"expected {words}, not {found!r}", _outside(found, line)
    if "RBRACE" in allowed:
        return _statement(found, line)
    if found in (";", "}") and "_NL" in allowed:
        help = "take the ';' out" if found == ";" else "give '}' a line of its own"
        return f"a statement ends with its line, and not with {found!r}", help
    return f"expected {_words(allowed)}, not {found!r}", form


_Said = tuple[str, str | None] | None

# How each part of a file begins, as a help shows it.
FORMS = {
    "design": "write: design top(%x: s8f4, %z: u4) -> (y = %y) {",
    "func": "write: func @f(%a: s4, %b: u2) -> %r {",
    "const": "write: const @w: s4f2[2] = [1, -0.25]",
    "table": "write: table @t: u2 -> s4f2 = [0, 0.25, -1, 1]",
    "run": "write: run x=1, z=[0, 2] => y=3",
    "note": 'write: note "text"',
}


def _listed(found: str, line: Line, allowed: set[str]) -> _Said:
    """A list that is not closed, has something in it that does not belong there, or other brackets."""
    if "LIST" in allowed and found == "[":
        end = line.rest.partition("]")[0].partition("#")[0]
        if alien := re.search(r"[^\w\s.,/+\-*\[]", end):
            return (
                f"{alien[0]!r} does not belong into a list",
                "a list holds numbers and words: [1, 0.5, 1/3, 0*20]",
            )
        return "this '[' is never closed", "a list holds numbers and words, and ends with ']'"
    if "LIST" in allowed and found in ("(", "{"):
        return f"a list stands in brackets, and not in {found!r}", "write: [1, 2]"
    return None


def _quoted(found: str, line: Line, allowed: set[str]) -> _Said:
    """A string that is not closed, or stands where none may."""
    if not found or found[0] not in '"!':
        return None
    if found[0] == "!" and not line.rest.startswith('!"'):
        if line.rest[1:].lstrip().startswith('"'):
            return "an origin has no blank behind its '!'", f"write: !{line.rest[1:].strip()}"
        return (
            "an origin stands in quotes",
            f'write: !"{line.rest[1:].split()[0] if line.rest[1:].split() else "layer"}"',
        )
    if not re.match(r'!?"([^"\\]|\\.)*"', line.rest):
        return "this string is never closed", "end it with a double quote, in the same line"
    if re.search(r"\w\s*=\s*$", line.before):
        word = re.match(r'"([^"]*)"', line.rest)
        return "words stand without quotes", f"write: {word[1] if word else ''}"
    if found[0] == '"':
        return "no string stands here", 'the layer that a value comes from is written !"layer", at the end'
    return None


def _type(found: str, line: Line, allowed: set[str]) -> _Said:
    """A type that is none, or that stands in the wrong place."""
    if "EQUAL" in allowed and (begun := re.search(r":\s*([^\s=:]+)\s*$", line.before)):
        end = re.match(r"[^\s=]*", line.rest)
        text = begun[1] + (end[0] if end else "")
        return f"{text!r} is no type", type_help(text)
    if found == "=" and allowed == {"TYPE"}:
        return "expected a type such as s8f4, not '='", "without a type a statement is: %y = add %a, %b"
    return None


_ATTRIBUTE_NAME = re.compile(r"(?:^|[\s,=])([A-Za-z_]\w*)\s*$")


def _name(found: str, line: Line, allowed: set[str]) -> _Said:
    """A word where an attribute's name would stand: a name without its sigil, or a type behind the value."""
    if "EQUAL" not in allowed or not (word := _ATTRIBUTE_NAME.search(line.before)) or "=" not in line.before:
        return None
    name, target = word[1], re.match(r"\s*(%[\w.]+)", line.before)
    if re.fullmatch(r"[su]\d+(f-?\d+)?", name) and target:
        rest = re.sub(r",?\s*$", "", line.before[: word.start(1)]).partition("=")[2].strip()
        return "a type stands behind the value's name", f"write: {target[1]}: {name} = {rest}"
    row = row_of(_keyword(line))
    if row and name in row.attributes:
        return f"{name} needs a value", f"write: {name}=..."
    help = f"a value is written %{name}, a constant, table or function @{name}, and an attribute {name}=..."
    return f"{name!r} is no operand", help


def _keyword(line: Line) -> str:
    """The operation of the statement in this line."""
    found = re.search(r"=\s*([A-Za-z_]\w*)", line.before)
    return found[1] if found else ""


def _operation(found: str, line: Line, allowed: set[str]) -> _Said:
    """No operation where one is due, or no sign in front of it."""
    target = re.match(r"\s*(%[\w.]+)\s*", line.before)
    if allowed == {"NAME"} and line.before.rstrip().endswith("="):
        example = "for example: %y = add %a, %b"
        if not found or found == "#":
            return "the line ends too early: expected an operation", example
        if found[0] == "=":
            return "a statement has one '='", "write: %y = add %a, %b"
        if found[0] in "%@" and re.match(r"[%@][\w.]+\s*[-+*/<>&|^]", line.rest):
            return "an operation stands in front of its operands", example
        if found[0] in "%@":
            return (
                f"expected an operation, not {found!r}",
                f"to call {found} by another name, use that name instead",
            )
        return f"expected an operation, not {found!r}", example
    if target and "EQUAL" in allowed and row_of(found) and line.before.strip() == target[1]:
        return "'=' is missing", f"write: {target[1]} = {found} ..."
    if found == "(" and "OPERANDS" in allowed:
        inside = re.match(r"\(([^()]*)\)", line.rest)
        return (
            "operands stand without parentheses",
            f"write: {line.before.strip()} {inside[1] if inside else '%a, %b'}",
        )
    return None


def _attribute(found: str, line: Line, allowed: set[str]) -> _Said:
    """Something that is no value of an attribute."""
    if not {"NUMBER", "WORD", "LIST"} <= allowed:
        return None
    attribute = re.search(r"([A-Za-z_]\w*)\s*=\s*$", line.before)
    if attribute is None:
        return None
    if found and found[0] in "%@":
        help = "operands stand in front of the attributes, without a name"
        return f"{attribute[1]}= takes a number or a word, and not {found}", help
    row = row_of(_keyword(line))
    kind = row.kinds.get(attribute[1]) if row else None
    words = [str(m.value) for m in kind] if isinstance(kind, type) and issubclass(kind, Enum) else []
    shown = repr(found) if found and found != "#" else "nothing"
    return (
        f"{attribute[1]}= takes a number, a word or a list, not {shown}",
        f"one of: {', '.join(words)}" if words else None,
    )


def _statement(found: str, line: Line) -> tuple[str, str | None]:
    """What stands where a statement or the end of a body is due."""
    if found in ("const", "table", "func", "design", "run", "note"):
        return f"expected a statement or '}}', not {found!r}", "close the block above with '}'"
    if re.match(r"[\w.]+\s*(:[^=]*)?=", line.rest):
        return "a value's name begins with %", f"write: %{line.rest.partition('#')[0].rstrip()}"
    if (after := re.match(r"(?:let|var|wire|assign)\s+(%?[\w.]+\s*[:=].*)", line.rest)) is not None:
        return (
            f"a statement begins with its value's name, not with {found!r}",
            f"write: %{after[1].partition('#')[0].strip().lstrip('%')}",
        )
    help = "a statement is: %y = add %a, %b" if re.match(r"\w", found) else None
    return f"expected a statement or '}}', not {found!r}", help


def _outside(found: str, line: Line) -> str | None:
    """A hint for what stands between the parts of a file."""
    if found[0] == "%":
        return "statements stand inside the braces of a design or a function"
    if found in ("//", "/", "--", ";", "/*"):
        return "a comment begins with #"
    if found == "lir":
        return "the version is said once, in the first line"
    return did_you_mean(found, ["const", "table", "func", "design", "note", "run"], _PARTS)


_PARTS = {
    "module": "design",
    "fn": "func",
    "function": "func",
    "def": "func",
    "constant": "const",
    "lut": "table",
    "rom": "table",
    "test": "run",
    "assert": "run",
    "expect": "run",
}
