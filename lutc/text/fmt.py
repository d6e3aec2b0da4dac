"""The canonical form of a text, comments kept. What `print` writes is left as it is; formatting twice changes nothing.

It goes by form alone: a text whose meaning is wrong is formatted, one whose syntax is wrong is refused.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lutc.diagnostics import LirError, Source, error
from lutc.ir.graph import Design
from lutc.ir.ops.base import number, repeats
from lutc.ir.same import same
from lutc.synonyms import RENAMED_MODES, RENAMED_OPERATIONS
from lutc.text import columns, syntax
from lutc.text.columns import INDENT, Row
from lutc.text.comments import Around, Comments, comments_of
from lutc.text.literals import (
    blanked,
    check_commas,
    has_inner_brackets,
    list_checked,
    list_of,
    number_of,
    repeated,
    type_of,
)
from lutc.text.parse import parse
from lutc.text.reader import read
from lutc.text.syntax import Block, Data, Expected, Input, Note, Part, Result, Statement

if TYPE_CHECKING:
    from lark import Token


def format_text(text: str, name: str = "<text>", folder: Path | None = None) -> str:
    """The canonical form of `text`, whose data files lie in `folder`.

    Raises LirError if its syntax is wrong, and rather than giving a text that says anything else.
    """
    source = Source(name, text)
    file = read(source)
    if file.problems or file.version is None:
        raise LirError(*file.problems)
    _check_lists(source, file)
    after = "\n".join(_Formatter(text).file(file)) + "\n"
    if after != text:
        _checked(text, after, name, folder)
    return after


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
        elif isinstance(part, Expected):
            for _, value in (*part.given, *part.answers):
                if value.type == "LIST":
                    list_checked(source, value)
        elif isinstance(part, Block):
            holders: list[Input | Result | Statement] = [*part.inputs, *part.results, *part.statements]
            for holder in holders:
                for _, value in holder.attributes:
                    if value.type == "LIST":
                        list_checked(source, value)


def _checked(text: str, after: str, name: str, folder: Path | None) -> None:
    """Raise LirError unless `after` says what `text` says: the same design, with the same comments in order.

    A text that is no design is held to its form, and must not become a design.
    """
    found: list[Design | LirError] = []
    for one in (text, after):
        try:
            found.append(parse(one, name, folder))
        except LirError as e:
            found.append(e)
    before, now = found
    if isinstance(before, LirError) and not isinstance(now, LirError):
        raise before  # such as brackets that do not follow the shape: the rows of the new text would
    lost = None
    if isinstance(before, Design):
        lost = str(now) if isinstance(now, LirError) else same(before, now)
    if lost is None and _form(text) != _form(after):
        lost = "a statement is not what it was"
    if lost is None and [c.text for c in comments_of(text)] != [c.text for c in comments_of(after)]:
        lost = "its comments are not what they were"
    if lost is not None:
        help = "this is a bug in lutc, please report it with the file; nothing was written"
        raise error(f"formatting would change what this text says: {lost}", where=name, help=help)


def _form(text: str) -> object:
    """What is written, without how."""
    file = read(Source("", text))

    def attributes(some: Sequence[syntax.Attribute]) -> list[tuple[str, str]]:
        return [(str(k), _value(v)) for k, v in some]

    def part(p: Part) -> object:
        if isinstance(p, Note):
            return str(p.text)
        if isinstance(p, Expected):
            return attributes(p.given), attributes(p.answers)
        if isinstance(p, Data):
            data = str(p.data) if p.data.type == "STRING" else list(_numbers(p.data))
            return str(p.name), _type(p.type), p.value is not None and _type(p.value), data
        return (
            str(p.name),
            [(str(i.name), _type(i.type), attributes(i.attributes)) for i in p.inputs],
            [(r.name and str(r.name), str(r.value), attributes(r.attributes)) for r in p.results],
            [
                (
                    *(str(s.target), s.type and _type(s.type), _keyword(s), _operands(s)),
                    *(attributes(s.attributes), s.origin and str(s.origin)),
                )
                for s in p.statements
            ],
        )

    return str(file.version), str(file.stage), len(file.problems), [part(p) for p in file.parts]


class _Formatter:
    """Walks the units of a text (head, constants, ports, statements, braces) and its comments side by side."""

    def __init__(self, text: str) -> None:
        self.comments = Comments(text)
        self.around = self.comments.around
        self.place = self.comments.place

    # -- parts ----------------------------------------------------------------------------------------------------

    def file(self, file: syntax.File) -> Iterator[str]:
        assert file.version is not None
        around = self.around(file.version, file.stage or file.version)
        yield from _trimmed(around.above)
        yield _behind(
            " ".join(["lir", file.version, *([file.stage] if file.stage is not None else [])]), around
        )
        before: type[Part] | None = None
        for part in file.parts:
            beside = before is type(part) and isinstance(part, Note | Expected)
            before = type(part)
            match part:
                case Data():
                    lines = self.data(part)
                case Block():
                    lines = self.block(part)
                case _:
                    lines = self.line(part, beside)
            yield from lines if beside else ["", *lines]
        if rest := _trimmed(self.comments.rest(), end=True):
            yield from ["", *rest]

    def line(self, part: Note | Expected, beside: bool) -> Iterator[str]:
        """A note or a run, which may follow right upon one of its kind."""
        if isinstance(part, Note):
            around = self.around(part.text, part.text)
            lines = [f"note {part.text}"]
        else:
            first = (part.given or part.answers)[0][0]
            around = self.around(first, part.answers[-1][1])
            given, answers = (
                ", ".join(f"{name}={_value(value)}" for name, value in ports)
                for ports in (part.given, part.answers)
            )
            lines = columns.broken(f"run {given} => {answers}" if given else f"run => {answers}")
        yield from around.above if beside else _trimmed(around.above)
        yield from [*lines[:-1], _behind(lines[-1], around)]

    def data(self, part: Data) -> Iterator[str]:
        keyword = "table" if part.value is not None else "const"
        opening = f"{keyword} {part.name}: {_type(part.type)}"
        if part.value is not None:
            opening += f" -> {_type(part.value)}"
        yield from _trimmed(self.around(part.name, part.value or part.type, behind=False).above)
        commented = self.comments.skip(part.data) or "*" in part.data
        around = self.around(part.data, part.data)
        if commented:  # the numbers stay where the comments speak of them, or as they were counted
            head, _, rest = str(part.data).partition("\n")
            lines = [line.rstrip() for line in textwrap.dedent(rest[:-1]).split("\n")]
            if not rest:
                yield _behind(f"{opening} = {_one_line(head)}", around)
                return
            yield f"{opening} = {head.rstrip()}"
            yield from (f"{INDENT}{line}" if line else "" for line in _trimmed(lines, start=False, end=True))
            yield _behind("]", around)
        elif part.data.type == "STRING":
            yield _behind(f"{opening} = file {part.data}", around)
        else:
            words = list(_numbers(part.data))
            *lines, end = columns.numbers(opening, words, _rows(part, words), scalar=_is_scalar(part))
            yield from [*lines, _behind(end, around)]

    def block(self, block: Block) -> Iterator[str]:
        yield from self.head(block)
        rows: list[Row] = []
        for s in block.statements:
            last = s.origin if s.origin is not None else syntax.last_token(s)
            around = self.around(s.target, last)
            above = around.above if rows else [*_trimmed(around.above)]
            rows += [Row(line) for line in above]
            rows.append(_statement(s, around.behind))
        end = self.around(block.end, block.end)
        rows += [Row(line) for line in _trimmed(end.above, start=not rows, end=True)]
        yield from columns.body(rows)
        yield _behind("}", end)

    def head(self, block: Block) -> Iterator[str]:
        function = block.name.startswith("@")
        opening = f"{'func' if function else 'design'} {block.name}"
        outputs = None if function else [_result(r) for r in block.results]
        arrow = f"-> {block.results[0].value}" if function else "->"
        brace = self.place("{", _end(block.results[-1]))
        if not self.comments.between(block.name, brace):
            around = self.around(block.name, brace)
            *lines, last = columns.head(opening, [_input(i) for i in block.inputs], arrow, outputs)
            yield from [*_trimmed(around.above), *lines, _behind(last, around)]
            return
        bracket = self.place("(", block.name)
        around = self.around(block.name, bracket)
        yield from [*_trimmed(around.above), _behind(f"{opening}(", around)]
        yield from self.ports([(i.name, _end(i), _input(i)) for i in block.inputs])
        bracket = self.place(")", _end(block.inputs[-1]) if block.inputs else bracket)
        if outputs is not None:
            yield from self.closing(f") {arrow} (", bracket, self.place("(", bracket))
            yield from self.ports(
                [(_start(r), _end(r), text) for r, text in zip(block.results, outputs, strict=True)]
            )
            bracket = self.place(")", _end(block.results[-1]))
        yield from self.closing(") {" if outputs is not None else f") {arrow} {{", bracket, brace)

    def ports(self, ports: Sequence[tuple[Token, Token, str]]) -> Iterator[str]:
        """Ports in a line each, with their comments."""
        for i, (first, last, text) in enumerate(ports):
            around = self.around(first, last)
            yield from (INDENT + line for line in around.above if line)
            yield _behind(f"{INDENT}{text}{',' if i + 1 < len(ports) else ''}", around)

    def closing(self, text: str, first: Token, last: Token) -> Iterator[str]:
        """The line behind a list of ports."""
        around = self.around(first, last)
        yield from (INDENT + line for line in around.above if line)
        yield _behind(text, around)


def _start(port: Result) -> Token:
    return port.value if port.name is None else port.name


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


def _behind(line: str, around: Around) -> str:
    return f"{line}  {around.behind}" if around.behind else line


# -- the parts of a line ----------------------------------------------------------------------------------------------


def _statement(s: Statement, comment: str) -> Row:
    left = f"{s.target}: {_type(s.type)}" if s.type is not None else str(s.target)
    parts = [*_operands(s), *(f"{name}={_value(value)}" for name, value in s.attributes)]
    return Row(left, f"{_keyword(s)} {', '.join(parts)}".rstrip(), str(s.origin or ""), comment)


def _keyword(s: Statement) -> str:
    return RENAMED_OPERATIONS.get(s.keyword, str(s.keyword))


def _operands(s: Statement) -> list[str]:
    """Names as they are, numbers as short as they can be."""
    return [text if text[0] in "%@" else _word(text) for text in syntax.operands(s.operands)]


def _input(port: Input) -> str:
    return " ".join([f"{port.name}: {_type(port.type)}", *(f"{k}={_value(v)}" for k, v in port.attributes)])


def _result(port: Result) -> str:
    return " ".join([f"{port.name} = {port.value}", *(f"{k}={_value(v)}" for k, v in port.attributes)])


def _type(token: Token) -> str:
    try:
        return str(type_of(str(token)))
    except ValueError:
        return " ".join(blanked(str(token)).split())


def _value(token: Token) -> str:
    if token.type == "WORD":
        return RENAMED_MODES.get(token, str(token))
    return _list(list_of(str(token))) if token.type == "LIST" else _word(str(token))


def _list(items: Sequence[object]) -> str:
    words: list[str] = []
    for item in items:
        if isinstance(item, list):
            words.append(_list(item))
        else:
            word, count = repeated(str(item))
            words += [_word(word)] * count
    return "[" + ", ".join(repeats(words)) + "]"


def _word(text: str) -> str:
    try:
        return number(number_of(text))
    except ValueError:
        return text


def _numbers(token: Token) -> Iterator[str]:
    spelled: dict[str, str] = {}
    for word in re.sub(r"[\[\],]", " ", blanked(str(token))).split():
        if word not in spelled:
            spelled[word] = _word(word)
        yield spelled[word]


def _is_scalar(part: Data) -> bool:
    """Whether a constant is a single number."""
    try:
        return part.value is None and not type_of(str(part.type)).shape
    except ValueError:
        return part.data.type == "NUMBER"


def _one_line(data: str) -> str:
    """A list in one line, as it is written."""
    text = ", ".join(re.findall(r"\[|\]|[^\s,\[\]]+", data))
    return re.sub(r", (?=\])", "", text.replace("[, ", "["))


def _rows(part: Data, words: Sequence[str]) -> list[int] | None:
    """How many numbers stand in each row: a row of a matrix, a table of a tensor of them, or those of a line."""
    try:
        kind = type_of(str(part.type))
    except ValueError:
        return None
    if part.value is None or kind.shape:
        return columns.rows(kind, table=part.value is not None)
    lines = [len(re.sub(r"[\[\],]", " ", line).split()) for line in str(part.data).split("\n")]
    found = [n for n in lines if n]
    even = len(found) > 1 and len({*found[:-1]}) == 1 and found[-1] <= found[0]
    return found if even and columns.fits(words, found[0]) else None
