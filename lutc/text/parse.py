"""From text to a design: the meaning of what `syntax` has recognised.

Everything that is wrong is collected and raised as one `LirError`. A value whose statement is wrong is poisoned: those
who read it are not blamed as well. What has been read is verified.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from lutc.diagnostics import Diagnostic, LirError, Source, Span, did_you_mean, error
from lutc.files.foreign import read_text
from lutc.ir.graph import Const, Design, Func, OpMistake, Output, Param, Stage, Table, Value
from lutc.ir.ops import TABLE, Op
from lutc.ir.ops.base import Budget
from lutc.ir.verify import stage_mistake, violations
from lutc.text import syntax
from lutc.text.arity import ROWS, Row, Symbol, decoded, mismatch
from lutc.text.literals import TYPE_HELP, file_codes, inline_codes, table_runs, type_of
from lutc.text.reader import read
from lutc.text.syntax import Block, Data, Statement
from lutc.types import Overflow, Rounding, Type


def parse(text: str, name: str = "<text>", folder: Path | None = None) -> Design:
    """The design that `text` describes; `name` is what messages call it, `folder` where its data files lie.

    Raises LirError with everything that is wrong.

    Examples
    --------
    >>> import lutc
    >>> design = lutc.loads("lir 1\\ndesign half(%x: u4) -> (y = %y) {\\n %y = scale %x, by=0.5\\n}\\n")
    >>> print(design.outputs[0].value.type)
    u4f1
    """
    with _untroubled():
        source = Source(name, text)
        reader = _Reader(source, folder, read(source))
        design = reader.design()
        problems = reader.problems
        if design is not None and not problems:
            problems = violations(design, retype=False)
    if design is None or problems:
        raise LirError(*sorted(problems, key=_position))
    return design


@contextmanager
def _untroubled() -> Iterator[None]:
    """Without the garbage collector: it would take half of the time, and nearly all that is made here is kept."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def parse_file(path: Path | str) -> Design:
    """The design in a `.lir` file. Raises LirError for a file that cannot be read, and as `parse` does."""
    path = Path(path)
    text = read_text(path)
    return parse(text, str(path), path.parent)


def parse_type(text: str) -> Type:
    """The type that `text` spells, such as `s8f4[16]` or `<s10f5*2, s9f5>[3]`. Raises LirError."""
    try:
        return type_of(text)
    except ValueError as e:
        raise error(str(e), help=TYPE_HELP) from None


def _position(problem: Diagnostic) -> tuple[int, int]:
    return (problem.span.line, problem.span.column) if problem.span else (0, 0)


_INPUT: dict[str, Any] = {"round": Rounding, "overflow": Overflow, "scale": Fraction, "offset": Fraction}
_OUTPUT: dict[str, Any] = {"scale": tuple[Fraction, ...], "offset": tuple[Fraction, ...]}


@dataclass
class _Scope:
    """The values of one body: those known so far (None: poisoned), and where each is defined."""

    known: dict[str, Value | None]
    places: dict[str, Any]


class _Reader:
    """Reads one file's parts, in the order in which they need each other."""

    def __init__(self, source: Source, folder: Path | None, file: syntax.File) -> None:
        self.source = source
        self.folder = folder
        self.file = file
        self.problems = file.problems
        self.budget = Budget()
        self.stage = self._header()
        self.symbols: dict[str, Symbol | None] = dict.fromkeys(n for n in file.lost if n[0] == "@")
        self.places: dict[str, Any] = {}

    # -- the file -------------------------------------------------------------------------------------------------

    def _header(self) -> Stage:
        version, stage = self.file.version, self.file.stage
        if version is not None and version != "1":
            self._wrong(f"this lutc reads version 1, not {version}", version, help="write: lir 1")
        if stage is None:
            return Stage.TENSOR
        words = [s.value for s in Stage]
        if stage not in words:
            self._wrong(f"there is no stage {str(stage)!r}", stage, help="write: lir 1, or: lir 1 scalar")
            return Stage.TENSOR
        return Stage(stage)

    def design(self) -> Design | None:
        """The file's design, or None where something is wrong that `problems` tells."""
        blocks: dict[str, Block] = {}
        designs: list[Block] = []
        for part in self.file.parts:
            name = str(part.name)
            if isinstance(part, Block) and not name.startswith("@"):
                designs.append(part)
            elif name in self.places:
                self._wrong(f"{name} is defined twice", part.name, help=self._first(self.places[name]))
            else:
                self.places[name] = part.name
                if isinstance(part, Data):
                    with self._collecting():
                        self.symbols.setdefault(name, None)
                        self.symbols[name] = self._data(part)
                else:
                    blocks[name] = part
        for name in self._order(blocks):
            self.symbols[name] = self._func(blocks[name])
        for extra in designs[1:]:
            self._wrong("a file has one design", extra.name, help=self._first(designs[0].name))
        if not designs:
            if not self.problems and "design" not in self.file.lost:
                lines = self.source.text.rstrip().count("\n") + 1
                place = Span(self.source, lines, 1, lines, 1)
                help = "write: design top(%x: s8f4) -> (y = %y) { ... }"
                self.problems.append(Diagnostic("this file has no design", place, help=help))
            return None
        return self._design(designs[0])

    def _data(self, part: Data) -> Const | Table:
        name, place = part.name[1:], syntax.span(self.source, part.name)
        key = self._type(part.type)
        value = self._type(part.value) if part.value is not None else None
        what = f"{'table' if value else 'constant'} @{name}"
        try:
            runs = table_runs(key, value) if value else key.runs
        except ValueError as e:
            raise error(f"{what}: {e}", span=syntax.span(self.source, part.type, part.value)) from None
        if part.data.type == "STRING":
            path = syntax.unquoted(self.source, part.data)
            where = syntax.span(self.source, part.data)
            codes = file_codes(where, self.folder, path, runs, None if value else key, what)
        else:
            codes = inline_codes(self.source, part.data, runs, None if value else key.shape, what)
        array = np.empty(len(codes), dtype=object)
        array[:] = codes
        return Table(name, key, value, array, place) if value else Const(name, key, array, place)

    def _order(self, blocks: dict[str, Block]) -> list[str]:
        """Functions after those they call; those that call each other in a circle are reported and left out."""
        order: list[str] = []
        path: list[tuple[str, Iterator[tuple[str, Statement, int]]]] = []
        done: set[str] = set()
        for root in blocks:
            if root in done:
                continue
            path.append((root, _symbols_in(blocks[root])))
            while path:
                name, rest = path[-1]
                for called, statement, index in rest:
                    if called not in blocks or called in done:
                        continue
                    names = [n for n, _ in path]
                    if called in names:
                        circle = [*names[names.index(called) :], called]
                        self._circle(circle, statement, index)
                        continue
                    path.append((called, _symbols_in(blocks[called])))
                    break
                else:
                    done.add(name)
                    order.append(name)
                    path.pop()
        return [name for name in order if name not in self.symbols]

    def _circle(self, circle: list[str], statement: Statement, index: int) -> None:
        self.symbols |= dict.fromkeys(circle)
        assert statement.operands is not None
        how = " calls ".join(circle) if len(circle) > 2 else f"{circle[0]} calls itself"
        self.problems.append(
            Diagnostic(
                f"functions must not go in a circle: {how}",
                syntax.operand_span(self.source, statement.operands, index),
                help="every function becomes one circuit; write the repetition out",
            )
        )

    # -- functions and the design ---------------------------------------------------------------------------------

    def _func(self, block: Block) -> Func | None:
        before = len(self.problems)
        scope, params = self._body(block)
        for given in block.inputs:
            if given.attributes:
                help = "how numbers enter is said at the inputs of the design"
                self._wrong(
                    "a function's parameter has a type and nothing else", *given.attributes[0], help=help
                )
        result = self._result(scope, block.results[0].value)
        if result is None or len(self.problems) > before:
            return None
        return Func(block.name[1:], params, result, syntax.span(self.source, block.name))

    def _design(self, block: Block) -> Design:
        scope, params = self._body(block)
        outputs: list[Output] = []
        for r in block.results:
            assert r.name is not None
            value = self._result(scope, r.value)
            with self._collecting():
                ports = self._attributes(_OUTPUT, r.attributes, "an output")
                if value is not None:
                    outputs.append(Output(str(r.name), value, **ports))
        place = syntax.span(self.source, block.name)
        return Design(str(block.name), params, tuple(outputs), self.stage, _notes(self.source.text), place)

    def _result(self, scope: _Scope, token: Any) -> Value | None:
        try:
            return self._value(scope, str(token), syntax.span(self.source, token))
        except LirError as e:
            self.problems.extend(e.diagnostics)
            return None

    def _body(self, block: Block) -> tuple[_Scope, tuple[Param, ...]]:
        scope = _Scope({n: None for n in self.file.lost if n[0] == "%"}, {})
        params: list[Param] = []
        for given in block.inputs:
            if self._define(scope, given.name):
                scope.known[str(given.name)] = None
                with self._collecting():
                    ports = self._attributes(_INPUT, given.attributes, "an input")
                    kind = self._type(given.type)
                    place = syntax.span(self.source, given.name, given.type)
                    params.append(Param(kind, name=given.name[1:], span=place, **ports))
                    scope.known[str(given.name)] = params[-1]
        fresh = [s for s in block.statements if self._define(scope, s.target)]
        for s in fresh:
            scope.known[str(s.target)] = self._statement(scope, s)
        return scope, tuple(params)

    def _define(self, scope: _Scope, name: Any) -> bool:
        """Note where a value is defined; says whether it is its first time."""
        first = scope.places.setdefault(str(name), name)
        if first is not name:
            self._wrong(f"{name} is defined twice", name, help=self._first(first))
        return first is name

    # -- statements -----------------------------------------------------------------------------------------------

    def _statement(self, scope: _Scope, s: Statement) -> Op | None:
        """The value of a statement, or None if it, or something it reads, is wrong."""
        if self.budget.over:
            return None
        before = len(self.problems)
        place = syntax.span(self.source, s.target, syntax.last_token(s))
        values, symbols = self._operands(scope, s)
        row = ROWS.get(s.keyword)
        if row is None:
            self._wrong(
                f"there is no operation {str(s.keyword)!r}", s.keyword, help=did_you_mean(s.keyword, [*TABLE])
            )
            return None
        op = row.op
        if self.stage not in op.stages:
            message, help = stage_mistake(op, self.stage)
            self._wrong(message, s.keyword, help=help)
        try:
            declared = self._type(s.type) if s.type is not None else None
            arguments = self._attributes(row.kinds, s.attributes, f"'{s.keyword}'")
            arguments = {row.attributes[n].name: v for n, v in arguments.items()}
            arguments |= self._arguments(row, s, place, values, symbols)
            origin = syntax.unquoted(self.source, s.origin) if s.origin is not None else None
            if row.typed and declared is None:
                message = f"'{s.keyword}' needs a type: its operands do not imply one"
                self._wrong(message, s.keyword, help=f"write: {s.target}: s8f4 = {s.keyword} ...")
            if len(self.problems) > before or None in values or None in symbols:
                return None
            if row.typed:
                arguments["to"] = declared
            value = self._made(op, arguments, s, origin, place)
            if declared is not None and declared != value.type:
                raise self._declared(s, declared, value.type, place)
            return value
        except LirError as e:
            self.problems.extend(e.diagnostics)
            return None

    def _made(
        self, op: type[Op], fields: dict[str, Any], s: Statement, origin: str | None, place: Span
    ) -> Op:
        try:
            made = op(**fields, name=s.target[1:], origin=origin, span=place)
            self.budget.spend(made)
            return made
        except OpMistake as e:
            raise error(f"'{s.keyword}' {e.message}", span=place, help=e.help) from None
        except (ValueError, OverflowError, MemoryError) as e:
            help = "quant what it reads to fewer bits first"
            raise error(f"'{s.keyword}' has no type here: {e}", span=place, help=help) from None

    def _declared(self, s: Statement, declared: Type, found: Type, place: Span) -> LirError:
        message = f"'{s.keyword}' gives {found} here, but {s.target} is declared {declared}"
        help = f"to change the format, add: %t = {s.keyword} ..., then {s.target}: {declared} = quant %t"
        if declared.shape != found.shape:
            help = f"leave the type away, or write: {s.target}: {found}"
        return error(message, span=place, help=help)

    def _operands(self, scope: _Scope, s: Statement) -> tuple[list[Value | None], list[Symbol | None]]:
        """What a statement reads, in order; None for what is poisoned or unknown."""
        values: list[Value | None] = []
        symbols: list[Symbol | None] = []
        for i, name in enumerate(syntax.operands(s.operands)):
            if name[0] == "%":
                value = scope.known.get(name)
                if value is None:
                    with self._collecting():
                        self._value(scope, name, syntax.operand_span(self.source, s.operands, i))  # type: ignore[arg-type]
                values.append(value)
            else:
                symbol = self.symbols.get(name)
                if name not in self.symbols:
                    place = syntax.operand_span(self.source, s.operands, i)  # type: ignore[arg-type]
                    help = did_you_mean(name, list(self.symbols))
                    self.problems.append(Diagnostic(f"there is no {name}", place, help=help))
                symbols.append(symbol)
        return values, symbols

    def _value(self, scope: _Scope, name: str, place: Span) -> Value | None:
        """A value by its name, or None if it is poisoned. Raises LirError if there is none (yet)."""
        if name in scope.known:
            return scope.known[name]
        later = scope.places.get(name)
        if later is not None and later.line == place.line:
            raise error(
                f"{name} is made from itself",
                span=place,
                help="to use the value before, give it another name",
            )
        if later is not None:
            help = f"{name} is defined below, at line {later.line}; move that line up"
            raise error(f"{name} is used before it is defined", span=place, help=help)
        raise error(
            f"there is no value {name}",
            span=place,
            help=did_you_mean(name, [n for n in scope.known if n in scope.places]),
        )

    def _arguments(
        self,
        row: Row,
        s: Statement,
        place: Span,
        values: Sequence[Value | None],
        symbols: Sequence[Symbol | None],
    ) -> dict[str, Any]:
        """The operation's operands and symbols, by field; it notes what is missing or too much."""
        given = {str(name) for name, _ in s.attributes}
        for name in (n for n in row.required if n not in given):
            comma = ", " if s.operands else " "
            help = f"add: {s.keyword} {(s.operands or '').strip()}{comma}{name}=..."
            self.problems.append(Diagnostic(f"'{s.keyword}' needs {name}=", place, help=help))
        if wrong := mismatch(row, s, values, symbols):
            self.problems.append(Diagnostic(wrong[0], place, help=wrong[1]))
        fixed = len(row.operands)
        found: dict[str, Any] = dict(zip(row.operands, values, strict=False))
        if row.many:
            found[row.many] = tuple(values[fixed:])
        return found | {field: symbol for (field, _), symbol in zip(row.symbols, symbols, strict=False)}

    def _attributes(
        self, kinds: dict[str, Any], given: Sequence[syntax.Attribute], what: str
    ) -> dict[str, Any]:
        """Attributes by name, decoded. Everything wrong is noted; what is missing is the caller's business."""
        found: dict[str, Any] = {}
        for name, token in given:
            if name not in kinds:
                help = did_you_mean(name, list(kinds)) or "it takes none"
                self._wrong(f"{what} has no attribute {str(name)!r}", name, help=help)
            elif name in found:
                self._wrong(f"{name} is given twice", name)
            else:
                try:
                    found[str(name)] = decoded(kinds[name], token.type, str(token))
                except OpMistake as e:
                    self._wrong(f"{name} {e.message}", token, help=e.help)
                except ValueError as e:
                    self._wrong(f"{name}: {e}", token)
        return found

    # -- small things ---------------------------------------------------------------------------------------------

    def _type(self, token: Any) -> Type:
        try:
            return type_of(str(token))
        except ValueError as e:
            raise error(str(e), span=syntax.span(self.source, token), help=TYPE_HELP) from None

    def _wrong(self, message: str, first: Any, last: Any = None, *, help: str | None = None) -> None:
        self.problems.append(Diagnostic(message, syntax.span(self.source, first, last), help=help))

    def _first(self, token: Any) -> str:
        return f"the first time is at line {token.line}"

    @contextmanager
    def _collecting(self) -> Iterator[None]:
        """Note the LirErrors raised inside, and go on."""
        try:
            yield
        except LirError as e:
            self.problems.extend(e.diagnostics)


def _symbols_in(block: Block) -> Iterator[tuple[str, Statement, int]]:
    for s in block.statements:
        if s.operands and "@" in s.operands:
            for i, name in enumerate(syntax.operands(s.operands)):
                if name[0] == "@":
                    yield name, s, i


def _notes(text: str) -> tuple[str, ...]:
    """The notes that the printer put above a design."""
    head = text[: m.start()] if (m := re.search(r"^\s*(const|table|func|design)\b", text, re.M)) else text
    return tuple(note.rstrip() for note in re.findall(r"^# note: (.*)", head, re.M))
