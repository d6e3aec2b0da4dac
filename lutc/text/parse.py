"""From text to a design: the meaning of what `syntax` has recognised.

Everything that is wrong is collected and raised as one `LirError`. A value whose statement is wrong is poisoned: those
who read it are not blamed as well. What has been read is verified.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from lutc.diagnostics import Diagnostic, LirError, Source, Span, error
from lutc.files.foreign import read_text
from lutc.ir.graph import Body, Const, Design, Func, Output, Param, Run, Stage, Table, Value
from lutc.ir.ops.literals import Literals
from lutc.ir.verify import violations
from lutc.text import syntax
from lutc.text.arity import Symbol
from lutc.text.expectations import expectation
from lutc.text.literals import (
    exact_code,
    file_codes,
    inline_codes,
    number_of,
    table_runs,
    type_help,
    type_of,
)
from lutc.text.problems import Problems
from lutc.text.reader import read
from lutc.text.statements import Scope, Statements
from lutc.text.syntax import Block, Data, Expected, Note, Statement
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
    return read_design(text, name, folder).whole()


@dataclass(frozen=True)
class Reading:
    """What could be read of a text: the design (None where it has none), everything that is wrong, and what it says.

    `written` are the bodies of the text, callees first and the design last, each with all values that stand in it, used
    or not; `symbols` its constants, tables and functions by name. What is wrong is missing in both.
    """

    design: Design | None
    problems: Sequence[Diagnostic]
    written: Mapping[Body, Sequence[Value]]
    symbols: Mapping[str, Symbol]

    def whole(self) -> Design:
        """The design. Raises LirError with everything that is wrong."""
        if self.design is None or self.problems:
            raise LirError(*self.problems)
        return self.design


def read_design(
    text: str, name: str, folder: Path | None, unsaid: list[tuple[Statement, str]] | None = None
) -> Reading:
    """Read as much of a text as is right.

    With a list `unsaid`, attributes that a statement must say are noted there, and count as they did before the text
    had a version that was fixed: see `lutc.text.upgrade`.
    """
    with _untroubled():
        source = Source(name, text)
        reader = _Reader(source, folder, read(source), unsaid)
        design = reader.design()
        problems = reader.problems.found
        if design is not None and not problems:
            problems = violations(design, retype=False, written=reader.written)
    symbols = {n: s for n, s in reader.symbols.items() if s is not None}
    return Reading(design, sorted(problems, key=_position), reader.written, symbols)


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
        raise error(str(e), help=type_help(text)) from None


def _position(problem: Diagnostic) -> tuple[int, int]:
    return (problem.span.line, problem.span.column) if problem.span else (0, 0)


_INPUT: dict[str, Any] = {"round": Rounding, "overflow": Overflow, "scale": Fraction, "offset": Fraction}
_OUTPUT: dict[str, Any] = {"scale": tuple[Fraction, ...], "offset": tuple[Fraction, ...]}


class _Reader:
    """Reads one file's parts, in the order in which they need each other."""

    def __init__(
        self,
        source: Source,
        folder: Path | None,
        file: syntax.File,
        unsaid: list[tuple[Statement, str]] | None,
    ) -> None:
        self.source = source
        self.folder = folder
        self.file = file
        self.problems = Problems(source, file.problems)
        self.stage = self._header()
        self.symbols: dict[str, Symbol | None] = dict.fromkeys(n for n in file.lost if n[0] == "@")
        self.places: dict[str, Any] = {}
        self.statements = Statements(self.problems, self.symbols, self.stage, unsaid)
        self.written: dict[Body, list[Value]] = {}  # as in `Reading`

    # -- the file -------------------------------------------------------------------------------------------------

    def _header(self) -> Stage:
        stage = self.file.stage
        if stage is None:
            return Stage.TENSOR
        words = [s.value for s in Stage]
        if stage not in words:
            self.problems.wrong(
                f"there is no stage {str(stage)!r}", stage, help="write: lir 1, lir 1 tensor, or lir 1 scalar"
            )
            return Stage.TENSOR
        return Stage(stage)

    def design(self) -> Design | None:
        """The file's design, or None where something is wrong that `problems` tells."""
        blocks: dict[str, Block] = {}
        designs: list[Block] = []
        for part in self.file.parts:
            if isinstance(part, Expected | Note):
                continue
            name = str(part.name)
            if isinstance(part, Block) and not name.startswith("@"):
                designs.append(part)
            elif name in self.places:
                self.problems.wrong(
                    f"{name} is defined twice", part.name, help=self._first(self.places[name])
                )
            else:
                self.places[name] = part.name
                if isinstance(part, Data):
                    with self.problems.collecting():
                        self.symbols.setdefault(name, None)
                        self.symbols[name] = self._data(part)
                else:
                    blocks[name] = part
        for name in self._order(blocks):
            self.symbols[name] = self._func(blocks[name])
        for extra in designs[1:]:
            self.problems.wrong("a file has one design", extra.name, help=self._first(designs[0].name))
        if not designs:
            if not self.problems and "design" not in self.file.lost:
                lines = self.source.text.rstrip().count("\n") + 1
                place = Span(self.source, lines, 1, lines, 1)
                help = "write: design top(%x: s8f4) -> (y = %y) { ... }"
                self.problems.found.append(Diagnostic("this file has no design", place, help=help))
            return None
        design = self._design(designs[0])
        whole = replace(design, notes=self._notes(), runs=self._runs(designs[0], design))
        self.written[whole] = self.written.pop(design)
        return whole

    def _runs(self, block: Block, design: Design) -> tuple[Run, ...]:
        """What the file expects of its design; of ports that are wrong themselves nothing is said again."""
        ports = {p.name for p in design.params} | {o.name for o in design.outputs}
        lost = {str(i.name)[1:] for i in block.inputs} | {str(r.name) for r in block.results}
        parts = [p for p in self.file.parts if isinstance(p, Expected)]
        runs = [expectation(self.problems, part, design, lost - ports) for part in parts]
        return tuple(r for r in runs if r is not None)

    def _notes(self) -> tuple[str, ...]:
        found = []
        for part in self.file.parts:
            if isinstance(part, Note):
                with self.problems.collecting():
                    found.append(syntax.unquoted(self.source, part.text))
        return tuple(found)

    def _data(self, part: Data) -> Const | Table:
        name, place = part.name[1:], syntax.span(self.source, part.name)
        key = self.problems.type(part.type)
        value = self.problems.type(part.value) if part.value is not None else None
        what = f"{'table' if value else 'constant'} @{name}"
        try:
            runs = table_runs(key, value) if value else key.runs
        except ValueError as e:
            raise error(f"{what}: {e}", span=syntax.span(self.source, part.type, part.value)) from None
        if part.data.type == "STRING":
            path = syntax.unquoted(self.source, part.data)
            where = syntax.span(self.source, part.data)
            codes = file_codes(where, self.folder, path, runs, None if value else key, what)
        elif part.data.type == "NUMBER":
            codes = [self._number(part, key, what)]
        else:
            codes = inline_codes(self.source, part.data, runs, None if value else key.shape, what)
        array = np.empty(len(codes), dtype=object)
        array[:] = codes
        return Table(name, key, value, array, place) if value else Const(name, key, array, place)

    def _number(self, part: Data, kind: Type, what: str) -> int:
        """The code of a constant that is a single number."""
        place = syntax.span(self.source, part.data)
        if part.value is not None or kind.shape:
            needs = "entries" if part.value is not None else f"the numbers of {kind}"
            raise error(
                f"{what} has one number, but needs {needs}", span=place, help="write them in brackets"
            )
        try:
            return exact_code(number_of(str(part.data)), kind.scalar, str(part.data))
        except ValueError as e:
            raise error(str(e), span=place) from None

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
        self.problems.found.append(
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
                self.problems.wrong(
                    "a function's parameter has a type and nothing else", *given.attributes[0], help=help
                )
        result = self._result(scope, block.results[0].value)
        if result is None or len(self.problems) > before:
            return None
        func = Func(block.name[1:], params, result, syntax.span(self.source, block.name))
        self._wrote(func, scope)
        return func

    def _wrote(self, owner: Body, scope: Scope) -> None:
        self.written[owner] = [v for v in scope.known.values() if v is not None]

    def _design(self, block: Block) -> Design:
        scope, params = self._body(block)
        outputs: list[Output] = []
        for r in block.results:
            assert r.name is not None
            value = self._result(scope, r.value)
            with self.problems.collecting():
                ports = self.problems.attributes(_OUTPUT, r.attributes, "an output")
                if value is not None:
                    place = syntax.span(self.source, r.name, r.value)
                    outputs.append(Output(str(r.name), value, **ports, span=place))
        place = syntax.span(self.source, block.name)
        design = Design(str(block.name), params, tuple(outputs), self.stage, span=place)
        self._wrote(design, scope)
        return design

    def _result(self, scope: Scope, token: Any) -> Value | None:
        try:
            return self.statements.named(scope, str(token), syntax.span(self.source, token))
        except LirError as e:
            self.problems.found.extend(e.diagnostics)
            return None

    def _body(self, block: Block) -> tuple[Scope, tuple[Param, ...]]:
        scope = Scope({n: None for n in self.file.lost if n[0] == "%"}, {}, Literals(self.stage))
        params: list[Param] = []
        for given in block.inputs:
            if self._define(scope, given.name):
                scope.known[str(given.name)] = None
                with self.problems.collecting():
                    ports = self.problems.attributes(_INPUT, given.attributes, "an input")
                    kind = self.problems.type(given.type)
                    place = syntax.span(self.source, given.name, given.type)
                    params.append(Param(kind, name=given.name[1:], span=place, **ports))
                    scope.known[str(given.name)] = params[-1]
        fresh = [s for s in block.statements if self._define(scope, s.target)]
        for s in fresh:
            scope.known[str(s.target)] = self.statements.value(scope, s)
        return scope, tuple(params)

    def _define(self, scope: Scope, name: Any) -> bool:
        """Note where a value is defined; says whether it is its first time."""
        first = scope.places.setdefault(str(name), name)
        if first is not name:
            self.problems.wrong(f"{name} is defined twice", name, help=self._first(first))
        return first is name

    def _first(self, token: Any) -> str:
        return f"the first time is at line {token.line}"


def _symbols_in(block: Block) -> Iterator[tuple[str, Statement, int]]:
    for s in block.statements:
        if s.operands and "@" in s.operands:
            for i, name in enumerate(syntax.operands(s.operands)):
                if name[0] == "@":
                    yield name, s, i
