"""Reading a file's form, and explaining in words where it is wrong.

After a syntax error its statement is blanked out and the rest is read again, so that one run reports them all; names
that went with the statement are remembered, and nobody complains that they are missing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lutc.diagnostics import Diagnostic, Source
from lutc.text.explain import expected, explain
from lutc.text.shortcut import take_bodies
from lutc.text.syntax import Block, File, parser, place_of, span

if TYPE_CHECKING:
    pass

REPAIRS = 20  # syntax errors to report before giving up
PATIENT = 1_000_000  # characters; a larger file is read once, and its first syntax error reported alone


VERSION = "1"


def read(source: Source) -> File:
    """Read a file's form. What is wrong is listed in the result's `problems`.

    Of a text in another version of the language that is all that is said.
    """
    file = _read(source)
    version = file.version
    if version is None or version == VERSION:
        return file
    later = re.fullmatch(r"[1-9]\d*", version) is not None
    help = "a later lutc wrote it: update lutc" if later else f"write: lir {VERSION}"
    message = f"this lutc reads lir {VERSION}, not lir {version}"
    problem = Diagnostic(message, span(source, version), help=help)
    return File(version, problems=[problem], lost={"design"})


def _read(source: Source) -> File:
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
                problems.append(explain(e, source, text))
            headless = "LIR" in expected(e)
            if len(text) > PATIENT or at >= len(text) - 1 or headless:
                break
            start, end, broken = _region(text, at)
            names = re.findall(r"^\s*(?:let\s+|var\s+)?%?([\w.]+)\s*[ :=]", text[start:end], re.M)
            lost |= {f"%{name}" for name in names}
            lost |= set(re.findall(r"^\s*(?:const|table|func)\s+(@[\w.]+)", text[start:end], re.M))
            lost |= {"design"} if re.match(r"\s*(?!func\b)\w.*\{", text[start:end]) else set()
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
    head = re.match(r"\s*((func|design)\b|[a-z]\w*\b.*\{\s*$)", text[start:end], re.M) is not None
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
