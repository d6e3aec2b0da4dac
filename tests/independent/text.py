"""What a text says, as plain data, read by the grammar ir_spec/lir.lark. Nothing is known of operations here."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import lark

from .formats import Problem, Type, Wrong, check_shape, make_format, make_type

GRAMMAR = Path(__file__).parents[2] / "ir_spec" / "lir.lark"
MOST_DIGITS = 4000


@dataclass(frozen=True)
class Leaf:
    """A number or a word, as it is written, `count` times."""

    text: str
    line: int
    count: int = 1


@dataclass(frozen=True)
class Branch:
    items: tuple[Leaf | Branch, ...]
    line: int


@dataclass(frozen=True)
class FileName:
    path: str
    line: int


Datum = Leaf | Branch


@dataclass(frozen=True)
class Attribute:
    name: str
    value: Datum
    line: int


@dataclass(frozen=True)
class Port:
    """A parameter, an output (`value` is what it carries) or one side's entry of a run."""

    name: str
    line: int
    type: Type | None = None
    value: str = ""
    attributes: tuple[Attribute, ...] = ()


@dataclass(frozen=True)
class Statement:
    name: str
    line: int
    written: bool  # whether a type stands there, be it a wrong one
    type: Type | None
    op: str
    op_line: int
    operands: tuple[tuple[str, int], ...]
    attributes: tuple[Attribute, ...]


@dataclass(frozen=True)
class Body:
    name: str
    line: int
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    statements: tuple[Statement, ...]


@dataclass(frozen=True)
class Block:
    """A constant, or a table, which has a key."""

    name: str
    line: int
    table: bool
    key: Type | None
    type: Type | None
    data: Datum | FileName


@dataclass(frozen=True)
class Run:
    line: int
    inputs: tuple[Attribute, ...]
    outputs: tuple[Attribute, ...]


@dataclass
class File:
    stage: str = "tensor"
    blocks: list[Block] = field(default_factory=list)
    functions: list[Body] = field(default_factory=list)
    designs: list[Body] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def wrong(self, line: int, rule: str, message: str) -> None:
        self.problems.append(Problem(line, rule, message))


@cache
def parser() -> lark.Lark:
    return lark.Lark(
        GRAMMAR.read_text(encoding="utf-8"),
        start=["file", "type", "list"],
        parser="lalr",
        lexer="contextual",
        propagate_positions=True,
        maybe_placeholders=False,
    )


def tree_of(text: str, start: str, line: int) -> lark.Tree[lark.Token]:
    """The parse tree of a piece that begins at a line; what is no sentence of the grammar is a `SyntaxProblem`."""
    try:
        return parser().parse(text, start=start)
    except lark.exceptions.UnexpectedInput as error:
        ended = isinstance(error, lark.exceptions.UnexpectedToken) and error.token.type == "$END"
        at = text.rstrip().count("\n") + 1 if ended else error.line
        raise SyntaxProblem(line + at - 1) from None


class SyntaxProblem(Exception):
    def __init__(self, line: int) -> None:
        super().__init__(line)
        self.line = line


def number_of(text: str) -> Fraction:
    """The number a literal says."""
    if not re.match(r"[+-]?\.?[0-9]", text):
        raise Wrong("text#numbers-and-data", f"{text} is no number")
    mantissa, _, exponent = text.lower().partition("e")
    if len(text) > MOST_DIGITS + 4 or len(exponent) > 6 or abs(int(exponent or 0)) > MOST_DIGITS:
        raise Wrong("text#numbers-and-data", "a number has too many digits")
    number = value_of(mantissa, exponent)
    parts = abs(number.numerator), number.denominator
    if max(parts) >= 10**MOST_DIGITS or sum(len(str(part)) for part in parts) > MOST_DIGITS:
        raise Wrong("text#numbers-and-data", "a number has too many digits")
    return number


def value_of(mantissa: str, exponent: str) -> Fraction:
    numerator, _, denominator = mantissa.partition("/")
    if denominator:
        if not int(denominator):
            raise Wrong("text#numbers-and-data", "a quotient by 0")
        return Fraction(int(numerator), int(denominator))
    whole, _, part = mantissa.partition(".")
    number = Fraction(int(whole.lstrip("+-") + part or "0"), 10 ** len(part)) * Fraction(10) ** int(
        exponent or 0
    )
    return -number if mantissa.startswith("-") else number


def count_of(text: str) -> int:
    """A count or a length. One of absurdly many digits is beyond every limit, whatever it is."""
    digits = text.lstrip("0") or "0"
    return int(digits) if len(digits) < 20 else 10**20


def tokens(tree: lark.Tree[Any], kind: str) -> list[lark.Token]:
    return [t for t in tree.children if isinstance(t, lark.Token) and t.type == kind]


def trees(tree: lark.Tree[Any], kind: str) -> list[lark.Tree[Any]]:
    return [t for t in tree.children if isinstance(t, lark.Tree) and t.data == kind]


def line_of(token: lark.Token) -> int:
    assert token.line is not None
    return token.line


class Reader:
    """Makes plain data of the tree; what is wrong in a type or a list is noted, and the rest read on."""

    def __init__(self) -> None:
        self.file = File()

    def type(self, token: lark.Token) -> Type | None:
        line = line_of(token)
        try:
            return read_type(tree_of(str(token), "type", line))
        except SyntaxProblem as error:
            self.file.wrong(error.line, "text#grammar", f"'{token}' is no type")
        except Wrong as error:
            self.file.wrong(line, error.rule, str(error))
        return None

    def datum(self, token: lark.Token) -> Datum:
        line = line_of(token)
        if token.type != "LIST":
            return Leaf(str(token), line)
        return read_list(tree_of(str(token), "list", line), line)

    def attribute(self, tree: lark.Tree[Any]) -> Attribute:
        name, value = (t for t in tree.children if isinstance(t, lark.Token))
        return Attribute(str(name), self.datum(value), line_of(name))

    def attributes(self, tree: lark.Tree[Any]) -> tuple[Attribute, ...]:
        return tuple(map(self.attribute, trees(tree, "attribute")))

    def port(self, tree: lark.Tree[Any]) -> Port:
        first, second = [t for t in tree.children if isinstance(t, lark.Token)][:2]
        attributes = self.attributes(tree)
        if tree.data == "input":
            return Port(str(first)[1:], line_of(first), type=self.type(second), attributes=attributes)
        return Port(str(first), line_of(first), value=str(second)[1:], attributes=attributes)

    def statement(self, tree: lark.Tree[Any]) -> Statement:
        (value,) = tokens(tree, "VALUE")
        (op,) = tokens(tree, "NAME")
        written = tokens(tree, "TYPE")
        operands = [o for t in tokens(tree, "OPERANDS") for o in split_operands(str(t), line_of(t))]
        return Statement(
            name=str(value)[1:],
            line=line_of(value),
            written=bool(written),
            type=self.type(written[0]) if written else None,
            op=str(op),
            op_line=line_of(op),
            operands=tuple(operands),
            attributes=self.attributes(tree),
        )

    def body(self, tree: lark.Tree[Any]) -> Body:
        (name,) = tokens(tree, "NAME") or tokens(tree, "SYMBOL")
        (inputs,) = trees(tree, "inputs")
        (statements,) = trees(tree, "body")
        if tree.data == "func":
            (result,) = tokens(tree, "VALUE")
            outputs: tuple[Port, ...] = (Port("", line_of(result), value=str(result)[1:]),)
        else:
            outputs = tuple(map(self.port, trees(trees(tree, "outputs")[0], "output")))
        return Body(
            name=str(name).lstrip("@"),
            line=line_of(name),
            inputs=tuple(map(self.port, trees(inputs, "input"))),
            outputs=outputs,
            statements=tuple(map(self.statement, trees(statements, "statement"))),
        )

    def block(self, tree: lark.Tree[Any]) -> Block:
        name, *types, data = [t for t in tree.children if isinstance(t, lark.Token)]
        read = [self.type(t) for t in types]
        what: Datum | FileName
        if data.type == "STRING":
            what = FileName(re.sub(r"\\(.)", r"\1", str(data)[1:-1]), line_of(data))
        else:
            what = self.datum(data)
        table = tree.data == "table"
        return Block(str(name)[1:], line_of(name), table, read[0] if table else None, read[-1], what)

    def run(self, tree: lark.Tree[Any], line: int) -> Run:
        sides = [tuple(map(self.attribute, trees(side, "port"))) for side in trees(tree, "ports")]
        return Run(line, () if len(sides) == 1 else sides[0], sides[-1])

    def read(self, text: str) -> File:
        tree = tree_of(text, "file", 1)
        (header,) = trees(tree, "header")
        (version,) = tokens(header, "NUMBER")
        stage = tokens(header, "WORD")
        if str(version) != "1":
            self.file.wrong(line_of(version), "versions", f"version {version} is not known")
            return self.file
        if stage and str(stage[0]) not in ("tensor", "scalar"):
            self.file.wrong(line_of(stage[0]), "structure#two-stages", f"there is no stage '{stage[0]}'")
            return self.file
        self.file.stage = str(stage[0]) if stage else "tensor"
        for item in tree.children:
            assert isinstance(item, lark.Tree)
            if item.data in ("const", "table"):
                self.file.blocks.append(self.block(item))
            elif item.data == "func":
                self.file.functions.append(self.body(item))
            elif item.data == "design":
                self.file.designs.append(self.body(item))
            elif item.data == "run":
                self.file.runs.append(self.run(item, item.meta.line))
        return self.file


def read(text: str) -> File:
    """What a text says; a sentence that is none is the one problem there is."""
    if not text.endswith("\n"):
        text += "\n"  # a comment needs an end of its line
    reader = Reader()
    try:
        return reader.read(text)
    except SyntaxProblem as error:
        reader.file.wrong(error.line, "text#grammar", "this is no sentence of the grammar")
        return reader.file


def read_type(tree: lark.Tree[Any]) -> Type:
    shape: list[int] = []
    for dims in trees(tree, "dims"):
        shape += [count_of(t) for t in tokens(dims, "COUNT")]
    total = math.prod(check_shape(tuple(shape)))
    if tree.data == "uniform":
        return make_type(shape, [format_of(str(tokens(tree, "FORMAT")[0]))] * total)
    runs = []
    for run in trees(tree, "run_length"):
        counts = [count_of(t) for t in tokens(run, "COUNT")] or [1]
        runs.append((format_of(str(tokens(run, "FORMAT")[0])), counts[0]))
    if sum(count for _, count in runs) != total:
        raise Wrong("types#tensors", "the formats are not as many as the elements")
    return make_type(shape, [kind for kind, count in runs for _ in range(count)])


def format_of(text: str) -> Any:
    bits, _, frac = text[1:].partition("f")
    after = -count_of(frac[1:]) if frac.startswith("-") else count_of(frac or "0")
    return make_format(text[0] == "s", count_of(bits), after)


def read_list(tree: lark.Tree[Any], line: int) -> Branch:
    items: list[Datum] = []
    for child in tree.children:
        if isinstance(child, lark.Tree):
            items.append(read_list(child, line))
        elif child.type == "REPEATED":
            what, _, count = str(child).rpartition("*")
            if not count_of(count):
                raise SyntaxProblem(line + line_of(child) - 1)
            items.append(Leaf(what, line + line_of(child) - 1, count_of(count)))
        elif child.type in ("NUMBER", "WORD"):
            items.append(Leaf(str(child), line + line_of(child) - 1))
    return Branch(tuple(items), line + (tree.meta.line or 1) - 1)


def split_operands(text: str, line: int) -> Iterator[tuple[str, int]]:
    for match in re.finditer(r"#[^\n]*|\n|[^\s,#]+", text):
        if match[0] == "\n":
            line += 1
        elif not match[0].startswith("#"):
            yield match[0], line
