"""From statements to operations: names to values, literals, attributes, and everything that can be wrong with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from lutc.diagnostics import Diagnostic, LirError, Span, did_you_mean, error
from lutc.ir.graph import Const, OpMistake, Stage, Value
from lutc.ir.ops import TABLE, Op
from lutc.ir.ops.base import Budget
from lutc.ir.ops.literals import Literals
from lutc.ir.verify import stage_mistake
from lutc.synonyms import OPERATIONS
from lutc.text import syntax
from lutc.text.arity import Misplaced, Operand, Row, Symbol, placed, row_of
from lutc.text.literals import number_of
from lutc.text.problems import Problems
from lutc.text.syntax import Statement
from lutc.types import TooWide, Type


@dataclass
class Scope:
    """The values of one body: those known so far (None: poisoned), where each is defined, and its literals."""

    known: dict[str, Value | None]
    places: dict[str, Any]
    literals: Literals


class Statements:
    """Reads the statements of a file, whose constants, tables and functions are `symbols` (None: poisoned)."""

    def __init__(
        self,
        problems: Problems,
        symbols: Mapping[str, Symbol | None],
        stage: Stage,
        unsaid: list[tuple[Statement, str]] | None = None,
    ) -> None:
        self.problems = problems
        self.source = problems.source
        self.symbols = symbols
        self.stage = stage
        self.budget = Budget()
        self.unsaid = unsaid  # attributes that a statement must say and does not: noted here, if given

    def value(self, scope: Scope, s: Statement) -> Op | None:
        """The value of a statement, or None if it, or something it reads, is wrong."""
        if self.budget.over:
            return None
        before = len(self.problems)
        place = syntax.span(self.source, s.target, syntax.last_token(s))
        operands = self._operands(scope, s)
        row = row_of(s.keyword)
        if row is None:
            help = did_you_mean(s.keyword, [*TABLE], OPERATIONS) or "`lutc ops` lists them"
            self.problems.wrong(f"there is no operation {str(s.keyword)!r}", s.keyword, help=help)
            return None
        if self.stage not in row.op.stages:
            message, help = stage_mistake(row.op, self.stage)
            self.problems.wrong(message, s.keyword, help=help)
        try:
            declared = self.problems.type(s.type) if s.type is not None else None
            arguments = self.problems.attributes(row.kinds, s.attributes, f"'{s.keyword}'")
            arguments = {row.attributes[n].name: v for n, v in arguments.items()}
            found = self._placed(row, s, place, operands)
            if row.typed and declared is None:
                message = f"'{s.keyword}' needs a type: its operands do not imply one"
                self.problems.wrong(
                    message, s.keyword, help=f"write: {s.target}: s8f4 = {s.keyword} {row.form}"
                )
            if len(self.problems) > before or None in operands:
                return None
            if row.typed:
                arguments["to"] = declared
            return self._made(scope, row, arguments, found, s, place, declared)
        except LirError as e:
            self.problems.found.extend(e.diagnostics)
            return None

    def _made(
        self,
        scope: Scope,
        row: Row,
        attributes: dict[str, Any],
        operands: dict[str, Any],
        s: Statement,
        place: Span,
        declared: Type | None,
    ) -> Op:
        origin = syntax.unquoted(self.source, s.origin) if s.origin is not None else None
        try:
            fields = {
                slot.field: self._literals(scope, operands[slot.field])
                for slot in row.slots
                if slot.kind is Value
            }
            symbols = {f: thing for f, thing in operands.items() if f not in fields}
            fields = scope.literals.spread(row.op, fields)
            made = row.op(**fields, **symbols, **attributes, name=s.target[1:], origin=origin, span=place)
            self.budget.spend(made)
        except OpMistake as e:
            raise error(f"'{s.keyword}' {e.message}", span=place, help=e.help) from None
        except (ValueError, OverflowError, MemoryError) as e:
            help = "quant what it reads to fewer bits first" if isinstance(e, TooWide) else "make it smaller"
            raise error(f"'{s.keyword}' has no type here: {e}", span=place, help=help) from None
        if declared is not None and declared != made.type:
            raise self._declared(s, declared, made.type, place)
        for attribute, why in made.unclear():
            if attribute in attributes:
                continue
            if self.unsaid is not None:
                self.unsaid.append((s, attribute))
            else:
                raise error(
                    f"'{s.keyword}' {why}, and does not say {attribute}=",
                    span=place,
                    help=f"one of: {', '.join(m.value for m in row.kinds[attribute])}; a text of lutc 0.1 meant "
                    f"{row.attributes[attribute].default.value}: lutc fmt --upgrade writes it",
                )
        return made

    def _literals(self, scope: Scope, operand: Any) -> Any:
        """What stands for values, as values."""
        if isinstance(operand, tuple):
            return tuple(self._literals(scope, o) for o in operand)
        return scope.literals.value(operand) if isinstance(operand, Fraction | Const) else operand

    def _declared(self, s: Statement, declared: Type, found: Type, place: Span) -> LirError:
        message = f"'{s.keyword}' gives {found} here, but {s.target} is declared {declared}"
        help = f"to change the format, add: %t = {s.keyword} ..., then {s.target}: {declared} = quant %t"
        if declared.shape != found.shape:
            help = f"leave the type away, or write: {s.target}: {found}"
        return error(message, span=place, help=help)

    # -- operands -------------------------------------------------------------------------------------------------

    def _operands(self, scope: Scope, s: Statement) -> list[Operand | None]:
        """What a statement reads, in order; None for what is poisoned or unknown."""
        return [self._operand(scope, s, i, text) for i, text in enumerate(syntax.operands(s.operands))]

    def _operand(self, scope: Scope, s: Statement, index: int, text: str) -> Operand | None:
        if text[0] == "%":
            known = scope.known.get(text)
            if known is None:
                with self.problems.collecting():
                    self.named(scope, text, self._place(s, index))
            return known
        if text[0] == "@":
            if text not in self.symbols:
                with self.problems.collecting():
                    raise error(
                        f"there is no {text}", span=self._place(s, index), help=self._sigil(scope, text)
                    )
            return self.symbols.get(text)
        try:
            return number_of(text)
        except ValueError as e:
            self.problems.found.append(Diagnostic(str(e), self._place(s, index)))
            return None

    def named(self, scope: Scope, name: str, place: Span) -> Value | None:
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
        raise error(f"there is no value {name}", span=place, help=self._sigil(scope, name))

    def _sigil(self, scope: Scope, name: str) -> str | None:
        """What a name that is none may have meant: the same with the other sigil, or one that is spelled like it."""
        other = f"{'@' if name[0] == '%' else '%'}{name[1:]}"
        if other in self.symbols or other in scope.places:
            kind = "a value" if other[0] == "%" else "a constant, table or function"
            return f"{other} is {kind}: write {other}"
        mine = [n for n in scope.known if n in scope.places] if name[0] == "%" else list(self.symbols)
        return did_you_mean(name, mine)

    def _place(self, s: Statement, index: int) -> Span:
        assert s.operands is not None
        return syntax.operand_span(self.source, s.operands, index)

    def _placed(
        self, row: Row, s: Statement, place: Span, operands: Sequence[Operand | None]
    ) -> dict[str, Any]:
        """The operation's operands by field; it notes what is missing or too much."""
        given = {str(name) for name, _ in s.attributes}
        missing = [n for n in row.required if n not in given]
        if missing and (meant := _by_name(row, s, missing)):
            words = " and ".join(f"{n}=" for n in missing)
            raise error(f"'{s.keyword}' takes {words} by name", span=place, help=meant)
        for name in missing:
            comma = ", " if s.operands else " "
            written = " ".join((s.operands or "").split())
            help = f"add: {s.keyword} {written}{comma}{name}=..."
            self.problems.wrong(f"'{s.keyword}' needs {name}=", s.target, syntax.last_token(s), help=help)
        try:
            return placed(row, s, operands)
        except Misplaced as e:
            where = place if e.index is None else self._place(s, e.index)
            written = "" if e.index is None else syntax.operands(s.operands)[e.index]
            other = f"@{written[1:]}"
            meant = (
                f"{other} is there: write {other}" if written[:1] == "%" and other in self.symbols else e.help
            )
            raise error(e.message, span=where, help=meant) from None


def _by_name(row: Row, s: Statement, missing: Sequence[str]) -> str | None:
    """The statement with its last operands as the attributes it lacks, if they are that many numbers too much."""
    operands = syntax.operands(s.operands)
    fixed, rest = operands[: len(row.slots)], operands[len(row.slots) :]
    if len(rest) != len(missing) or any(text[0] in "%@" for text in rest):
        return None
    named = [f"{name}={text}" for name, text in zip(missing, rest, strict=True)]
    return f"write: {s.keyword} {', '.join([*fixed, *named])}"
