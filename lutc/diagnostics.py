"""What went wrong, where, and what to do next.

Every mistake a user can make ends as one or more `Diagnostic`s inside a `LirError`. They print like this:

    tagger.lir:6:3: error: 'dense' gives <s9f5, s12f5>[2] here, but %h is declared s9f5[2]
     6 |   %h: s9f5[2] = dense %x, @w1
       |   ^^^^^^^^^^^^^^^^^^^^^^^^^^^
       = help: to change the format, add: %t = dense ..., then %h: s9f5[2] = quant %t
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches


@dataclass(frozen=True, slots=True)
class Source:
    """A text that spans point into: its name as the user knows it, and its lines."""

    name: str
    text: str

    def line(self, number: int) -> str:
        lines = self.text.split("\n")  # as the parser counts; splitlines() knows other line ends as well
        return lines[number - 1].rstrip("\r") if 0 < number <= len(lines) else ""


@dataclass(frozen=True, slots=True)
class Span:
    """A place in a source: 1-based line and column, up to but excluding the end column."""

    source: Source
    line: int
    column: int
    end_line: int
    end_column: int

    def __str__(self) -> str:
        return f"{self.source.name}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One thing that is wrong: the message, the place (a span, or a name such as a layer's) and the next step.

    Examples
    --------
    >>> from lutc import Diagnostic
    >>> print(Diagnostic("a stride of 0", where="conv_1", help="give it 1 or more"))
    conv_1: error: a stride of 0
      = help: give it 1 or more
    """

    message: str
    span: Span | None = None
    where: str | None = None
    help: str | None = None

    def __str__(self) -> str:
        place = str(self.span) if self.span else _bounded(self.where or "")
        message = _bounded(self.message)
        lines = [f"{place}: error: {message}" if place else f"error: {message}"]
        margin = ""
        if self.span:
            whole = self.span.source.line(self.span.line)
            stop = self.span.end_column if self.span.end_line == self.span.line else len(whole) + 1
            number = str(self.span.line)
            margin = " " * (len(number) + 1)
            text, first, length = _excerpt(whole, self.span.column - 1, max(1, stop - self.span.column))
            # Tabs are kept in the padding so that the caret stands below its character in any terminal.
            pad = "".join("\t" if c == "\t" else " " for c in text[:first])
            lines += [f" {number} | {text}".rstrip(), f" {margin}| {pad}{'^' * length}"]
        if self.help:
            lines.append(f" {margin or ' '}= help: {_bounded(self.help)}")
        return "\n".join(lines)


LINE = 160  # characters of a line that a message shows
WORD = 300  # characters of a word in it, such as a name or a type
MOST = 3000  # characters of a message, or of its help


def _bounded(text: str) -> str:
    """A text that names what a user wrote, however long that is."""
    if len(text) <= WORD:
        return text
    return shortened(re.sub(rf"\S{{{WORD + 1},}}", lambda word: shortened(word[0], WORD), text), MOST)


def _excerpt(line: str, first: int, length: int) -> tuple[str, int, int]:
    """The part of a line around a place, with the place in it; what is left out at an end is three dots."""
    if len(line) <= LINE:
        return line, first, length
    start = max(0, min(first - LINE // 3, len(line) - LINE))
    stop = start + LINE
    before, after = "..." * (start > 0), "..." * (stop < len(line))
    place = first - start
    shown = max(1, min(length, LINE - place))
    return before + line[start:stop] + after, len(before) + place, shown


class LirError(Exception):
    """One or more diagnostics. `lutc` prints them and exits with 2.

    Examples
    --------
    >>> import lutc
    >>> try:
    ...     lutc.loads("lir 1\\ndesign d(%x: u4) -> (y = %y) {\\n %y = add %x, %z\\n}\\n", "d.lir")
    ... except lutc.LirError as e:
    ...     print(e.diagnostics[0].message)
    there is no value %z
    """

    def __init__(self, *diagnostics: Diagnostic) -> None:
        self.diagnostics: tuple[Diagnostic, ...] = diagnostics
        super().__init__("\n".join(map(str, diagnostics)))


_NONE: dict[str, str] = {}


class Terminated(SystemExit):
    """The end that was asked for from outside. Any other SystemExit in a package's code is a fault of its own."""


def error(
    message: str, *, span: Span | None = None, where: str | None = None, help: str | None = None
) -> LirError:
    """A `LirError` with one diagnostic."""
    return LirError(Diagnostic(message, span, where, help))


@contextmanager
def noted(wrong: list[Diagnostic]) -> Iterator[None]:
    """What is refused inside is added to a list, to be told with the rest."""
    try:
        yield
    except LirError as e:
        wrong += e.diagnostics


def shortened(text: str, most: int = 60) -> str:
    """A text for a message: its middle left out if it is long."""
    return text if len(text) <= most else f"{text[: most * 2 // 3]}...{text[-most // 6 :]}"


def did_you_mean(word: str, words: Sequence[str], synonyms: Mapping[str, str] = _NONE) -> str | None:
    """A help line naming the closest of `words`, or all of them if there are few, or None.

    `synonyms` says what a word is called here that others use for one of `words`.
    """
    if len(word) > WORD:  # nothing is called so, and comparing takes the square of its length
        return None
    if known := synonyms.get(word.lower()):
        return f"it is called {known} here"
    close = get_close_matches(word, words, n=3, cutoff=0.6)
    if close:
        return "did you mean " + " or ".join(close) + "?"
    return ("one of: " + ", ".join(words)) if 0 < len(words) <= 12 else None
