"""The canonical form of a text, comments kept. What `print` writes is left as it is; formatting twice changes nothing.

It goes by form alone: a text whose meaning is wrong is formatted, one whose syntax is wrong is refused.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lutc import layout, syntax
from lutc.diagnostics import LirError, Source
from lutc.layout import INDENT, Row
from lutc.literals import blanked, check_commas, has_inner_brackets, list_checked, list_of, number_of, type_of
from lutc.ops.base import number
from lutc.reader import read
from lutc.syntax import Block, Data, Input, Result, Statement

if TYPE_CHECKING:
    from lark import Token


_FAR = 1 << 60  # a line below all others


def format_text(text: str, name: str = "<text>") -> str:
    """The canonical form of `text`. Raises LirError if its syntax is wrong."""
    source = Source(name, text)
    file = read(source)
    if file.problems or file.version is None:
        raise LirError(*file.problems)
    _check_lists(source, file)
    return "\n".join(_Formatter(text).file(file)) + "\n"


def _check_lists(source: Source, file: syntax.File) -> None:
    """Raise LirError if brackets or commas of a list are wrong: no form of it would mean the same."""
    for part in file.parts:
        if isinstance(part, Data):
            if part.data.type != "LIST":
                continue
            text = blanked(str(part.data))
            if has_inner_brackets(text):
                list_checked(source, part.data)
            check_commas(source, part.data, text)
        else:
            holders: list[Input | Result | Statement] = [*part.inputs, *part.results, *part.statements]
            for holder in holders:
                for _, value in holder.attributes:
                    if value.type == "LIST":
                        list_checked(source, value)


@dataclass(frozen=True, slots=True)
class _Comment:
    line: int
    text: str
    own: bool  # nothing else stands in its line


@dataclass(slots=True)
class _Around:
    """What stands around one unit of the text: lines above it (comments and blanks), and a comment behind it."""

    above: list[str] = field(default_factory=list)
    behind: str = ""


class _Formatter:
    """Walks the units of a text (head, constants, ports, statements, braces) and its comments side by side."""

    def __init__(self, text: str) -> None:
        self.comments: list[_Comment] = []
        self.masked = re.sub(r'"(?:[^"\\\n]|\\[^\n])*"|#[^\n]*', self._mask, text)
        line, at = 1, 0
        for place in re.finditer(r'"(?:[^"\\\n]|\\[^\n])*"|#[^\n]*', text):
            line, at = line + text.count("\n", at, place.start()), place.start()
            if place[0].startswith("#"):
                own = not text[text.rfind("\n", 0, at) + 1 : at].strip()
                self.comments.append(_Comment(line, place[0].rstrip(), own))
        self.next = 0  # the first comment that has not been placed
        self.last = 0  # the line that the last unit or comment ended in

    @staticmethod
    def _mask(place: re.Match[str]) -> str:
        return " " * len(place[0])

    def around(self, first: int, last: int) -> _Around:
        """The comments of the unit in lines `first` to `last`; those inside it are put above it."""
        found = _Around()
        while self.next < len(self.comments) and self.comments[self.next].line <= last:
            comment = self.comments[self.next]
            if comment.line == last and not comment.own:
                found.behind = comment.text
            else:
                if comment.line > self.last + 1 and comment.line < first:
                    found.above.append("")
                found.above.append(comment.text)
                self.last = min(comment.line, first)
            self.next += 1
        if first > self.last + 1:
            found.above.append("")
        self.last = last
        return found

    def commented(self, first: int, last: int) -> bool:
        """Whether a comment stands inside the unit in these lines, other than behind it."""
        return any(first <= c.line <= last and (c.line < last or c.own) for c in self.comments[self.next :])

    # -- parts ----------------------------------------------------------------------------------------------------

    def file(self, file: syntax.File) -> Iterator[str]:
        assert file.version is not None
        line = file.version.line or 1
        around = self.around(line, line)
        yield from _trimmed(around.above)
        yield _behind(
            " ".join(["lir", file.version, *([file.stage] if file.stage is not None else [])]), around
        )
        for part in file.parts:
            yield ""
            yield from self.data(part) if isinstance(part, Data) else self.block(part)
        if rest := _trimmed(self.around(_FAR, _FAR).above, end=True):
            yield from ["", *rest]

    def data(self, part: Data) -> Iterator[str]:
        first, last = part.name.line or 1, part.data.end_line or 1
        keyword = "table" if part.value is not None else "const"
        opening = f"{keyword} {part.name}: {_type(part.type)}"
        if part.value is not None:
            opening += f" -> {_type(part.value)}"
        if self.commented(first, last):  # the numbers stay where the comments speak of them
            inside = str(part.data)
            self.comments = [
                c for c in self.comments if not (first <= c.line <= last and (c.line < last or c.own))
            ]
            around = self.around(first, last)
            yield from _trimmed(around.above)
            head, _, rest = inside.partition("\n")
            lines = [line.rstrip() for line in textwrap.dedent(rest[:-1]).split("\n")]
            yield f"{opening} = {head.rstrip()}"
            yield from textwrap.indent("\n".join(lines).rstrip("\n"), INDENT).split("\n")
            yield _behind("]", around)
            return
        around = self.around(first, last)
        yield from _trimmed(around.above)
        if part.data.type == "STRING":
            yield _behind(f"{opening} = file {part.data}", around)
            return
        *lines, end = layout.numbers(opening, list(_numbers(part.data)), _row_length(part))
        yield from [*lines, _behind(end, around)]

    def block(self, block: Block) -> Iterator[str]:
        yield from self.head(block)
        rows: list[Row] = []
        for s in block.statements:
            last = s.origin if s.origin is not None else syntax.last_token(s)
            around = self.around(s.target.line or 1, last.end_line or 1)
            above = around.above if rows else [*_trimmed(around.above)]
            rows += [Row(line) for line in above]
            rows.append(_statement(s, around.behind))
        end = self.around(block.end.line or 1, block.end.line or 1)
        rows += [Row(line) for line in _trimmed(end.above, start=not rows, end=True)]
        yield from layout.body(rows)
        yield _behind("}", end)

    def head(self, block: Block) -> Iterator[str]:
        function = block.name.startswith("@")
        opening = f"{'func' if function else 'design'} {block.name}"
        ports: Sequence[Input | Result] = [*block.inputs, *(() if function else block.results)]
        end = self.masked.index("{", block.results[-1].value.end_pos or 0)
        first, last = block.name.line or 1, self.masked.count("\n", 0, end) + 1
        arrow = f"-> {block.results[0].value}" if function else "->"
        outputs = None if function else [_result(r) for r in block.results]
        if not self.commented(first, last) or not ports:
            around = self.around(first, last)
            *lines, brace = layout.head(opening, [_input(i) for i in block.inputs], arrow, outputs)
            yield from [*_trimmed(around.above), *lines, _behind(brace, around)]
            return
        # What stands behind the opening belongs to the port in that line, if there is one.
        around = self.around(first, first - (_start(ports[0]).line == first))
        yield from [*_trimmed(around.above), _behind(f"{opening}(", around)]
        yield from self.ports([(_start(i), _end(i), _input(i)) for i in block.inputs])
        if outputs is not None:
            yield f") {arrow} ("
            yield from self.ports(
                [(_start(r), _end(r), text) for r, text in zip(block.results, outputs, strict=True)]
            )
        closing = self.around(last, last)
        yield from (INDENT + line for line in closing.above if line)
        yield _behind(") {" if outputs is not None else f") {arrow} {{", closing)

    def ports(self, ports: Sequence[tuple[Token, Token, str]]) -> Iterator[str]:
        """Ports in a line each, with their comments."""
        for i, (first, last, text) in enumerate(ports):
            end = last.end_line or 1
            shared = i + 1 < len(ports) and ports[i + 1][0].line == end  # the comment is behind the next port
            around = self.around(first.line or 1, end - shared)
            yield from (INDENT + line for line in around.above if line)
            yield _behind(f"{INDENT}{text}{',' if i + 1 < len(ports) else ''}", around)


def _start(port: Input | Result) -> Token:
    return port.value if isinstance(port, Result) and port.name is None else port.name  # type: ignore[return-value]


def _end(port: Input | Result) -> Token:
    if port.attributes:
        return port.attributes[-1][1]
    return port.type if isinstance(port, Input) else port.value


def _trimmed(lines: Sequence[str], *, start: bool = True, end: bool = False) -> Sequence[str]:
    """Lines without blank ones at the start, at the end, or both."""
    kept = [i for i, line in enumerate(lines) if line]
    if not kept:
        return []
    return lines[kept[0] if start else 0 : kept[-1] + 1 if end else len(lines)]


def _behind(line: str, around: _Around) -> str:
    return f"{line}  {around.behind}" if around.behind else line


# -- the parts of a line ----------------------------------------------------------------------------------------------


def _statement(s: Statement, comment: str) -> Row:
    left = f"{s.target}: {_type(s.type)}" if s.type is not None else str(s.target)
    parts = [*syntax.operands(s.operands), *(f"{name}={_value(value)}" for name, value in s.attributes)]
    return Row(left, f"{s.keyword} {', '.join(parts)}".rstrip(), str(s.origin or ""), comment)


def _input(port: Input) -> str:
    return " ".join([f"{port.name}: {_type(port.type)}", *(f"{k}={_value(v)}" for k, v in port.attributes)])


def _result(port: Result) -> str:
    return " ".join([f"{port.name} = {port.value}", *(f"{k}={_value(v)}" for k, v in port.attributes)])


def _type(token: Token) -> str:
    try:
        return str(type_of(str(token)))
    except ValueError:
        return re.sub(r"\s+", " ", token)


def _value(token: Token) -> str:
    return _list(list_of(str(token))) if token.type == "LIST" else _word(str(token))


def _list(items: Sequence[object]) -> str:
    return "[" + ", ".join(_list(i) if isinstance(i, list) else _word(str(i)) for i in items) + "]"


def _word(text: str) -> str:
    try:
        return number(number_of(text))
    except ValueError:
        return text


def _numbers(token: Token) -> Iterator[str]:
    spelled: dict[str, str] = {}
    for word in re.sub(r"[\[\],]", " ", str(token)).split():
        if word not in spelled:
            spelled[word] = _word(word)
        yield spelled[word]


def _row_length(part: Data) -> int | None:
    if part.value is not None:
        return None
    try:
        shape = type_of(str(part.type)).shape
    except ValueError:
        return None
    return shape[-1] if len(shape) > 1 else None
