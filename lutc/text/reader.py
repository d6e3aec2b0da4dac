"""Reading a file's form, and explaining in words where it is wrong.

After a syntax error its statement is blanked out and the rest is read again, so that one run reports them all; names
that went with the statement are remembered, and nobody complains that they are missing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lutc.diagnostics import Diagnostic, Source, Span
from lutc.text.shortcut import take_bodies
from lutc.text.syntax import Block, File, parser, place_of

if TYPE_CHECKING:
    from lark.exceptions import UnexpectedInput

REPAIRS = 20  # syntax errors to report before giving up
PATIENT = 1_000_000  # characters; a larger file is read once, and its first syntax error reported alone


def read(source: Source) -> File:
    """Read a file's form. What is wrong is listed in the result's `problems`."""
    from lark.exceptions import UnexpectedInput

    text = source.text if source.text.endswith("\n") else source.text + "\n"
    if whole := without_bodies(text):
        return whole
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


def without_bodies(text: str) -> File | None:
    """The file's form if nothing is wrong with it: the statements by the shortcut, the rest by the grammar."""
    from lark.exceptions import UnexpectedInput

    rest, bodies = take_bodies(text)
    try:
        file: File = parser().parse(rest, start="file")  # type: ignore[assignment]
    except UnexpectedInput:
        return None
    for part in file.parts:
        if isinstance(part, Block) and (statements := bodies.get(part.end.start_pos or 0)):
            part.statements.extend(statements)
    return file


_STARTS = re.compile(r"\s*(?:%[\w.]+\s*[:=]|%[\w.]+\s|(?:const|table|func|design|lir)\b|\})")


def _region(text: str, at: int) -> tuple[int, int, bool]:
    """The statement or part that a place belongs to, and whether it was the head of a block."""
    start = text.rfind("\n", 0, at) + 1
    above = start
    while above and not _STARTS.match(_line(text, above)):
        above = text.rfind("\n", 0, above - 1) + 1
    if _open(text[above:start]):
        start = above
    heads = [m.start() for m in re.finditer(r"^(?:func|design)\b", text[:start], re.M)]
    if heads and "{" not in _code(text[heads[-1] : start]):  # among the ports of a head of several lines
        start = heads[-1]
    end = start + len(_line(text, start))
    while (
        end + 1 < len(text)
        and (end < at or _open(text[start:end]))
        and not _STARTS.match(_line(text, end + 1))
    ):
        end += 1 + len(_line(text, end + 1))
    head = re.match(r"\s*(func|design)\b", text[start:end]) is not None
    if head:
        brace = re.compile(r"^\s*\}|^(?=const|table|func|design)", re.M).search(text, end)
        end = brace.end() if brace else len(text)
    return start, end, head


def _code(text: str) -> str:
    """The text without its comments and strings."""
    return re.sub(r'"(?:[^"\\\n]|\\[^\n])*"|#[^\n]*', "", text)


def _open(text: str) -> bool:
    """Whether a bracket is still open at the end of `text`."""
    text = _code(text)
    return sum(map(text.count, "([<")) > sum(map(text.count, ")]>")) - text.count("->")


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
        return Diagnostic("the file is empty", place, help="write in the first line: lir 1")
    if "LIR" in expected:
        return Diagnostic("a file begins with its version", place, help="write in the first line: lir 1")
    return Diagnostic(f"the file ends too early: expected {_words(expected)}", place)


def _in_words(found: str, before: str, expected: set[str]) -> tuple[str, str | None]:
    """Message and help for `found`, which stands after `before` where something of `expected` was expected."""
    if "LIR" in expected:
        return "a file begins with its version", "write in the first line: lir 1"
    if (not found or found == "#") and expected == {"NAME"} and before.rstrip().endswith("="):
        return "the line ends too early: expected an operation", "for example: %y = add %a, %b"
    if not found or found == "#":
        return f"the line ends too early: expected {_words(expected)}", None
    if found == "[" and "LIST" in expected:
        return "this '[' is never closed", "a list holds numbers and words, and ends with ']'"
    if found[0] in '"!' and expected & {"ORIGIN", "STRING"}:
        return "this string is never closed", "end it with a double quote, in the same line"
    if "COMMA" in expected and (found[0] in "%@" or re.match(r"\w", found)):
        return f"a comma is missing before {found!r}", "operands and key=value are separated by commas"
    if found == "(" and "OPERANDS" in expected:
        return "operands stand without parentheses", "write: %y = add %a, %b"
    if re.match(r"[\d.+\-]", found) and "COMMA" not in expected and "NAME" in expected and "=" in before:
        return f"an operand is a value, not the number {found}", f"make it one: %n = number value={found}"
    if found[0] == "@" and "VALUE" in expected:
        return f"expected a value such as %x, not {found}", "constants become values by: %c = const @w"
    if expected == {"NAME"} and before.rstrip().endswith("="):
        return f"expected an operation, not {found!r}", "for example: %y = add %a, %b"
    if {"CONST", "DESIGN"} <= expected:
        return f"expected const, table, func or design, not {found!r}", None
    if "RBRACE" in expected:
        help = "a statement is: %y = add %a, %b" if re.match(r"\w", found) else None
        if found in ("const", "table", "func", "design"):
            help = "close the block above with '}'"
        return f"expected a statement or '}}', not {found!r}", help
    return f"expected {_words(expected)}, not {found!r}", None
