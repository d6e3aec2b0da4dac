"""The rules of a whole text (ir_spec/structure.md, ir_spec/text.md): names, symbols, types, time, runs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from . import data
from .arithmetic import ARITHMETIC, MODES, number_type
from .formats import MOST_KEY_BITS, Numbers, Type, Wrong
from .operations import Asked, Constant, Function, Operation, Symbol, Table, Use
from .tensors import TENSORS
from .text import Attribute, Block, Body, File, Port, Statement, number_of

OPERATIONS = {**ARITHMETIC, **TENSORS}
MOST_CALLS = 100
INPUT = {
    "scale": Asked("rational", default=Fraction(1)),
    "offset": Asked("rational", default=Fraction(0)),
    **MODES,
}
OUTPUT = {
    "scale": Asked("rational", many=True, default=[Fraction(1)]),
    "offset": Asked("rational", many=True, default=[Fraction(0)]),
}


@dataclass(frozen=True)
class Value:
    """What is known of a value. What is wrong has no type, and nothing more is said of what it is used in."""

    type: Type | None
    cycles: int | None = None  # since the inputs; None of what is always there
    numbers: Numbers | None = None  # of a constant as an operand
    name: str = ""


@dataclass(frozen=True)
class Step:
    name: str
    operation: Operation
    use: Use
    operands: tuple[Value, ...]
    result: Type


@dataclass
class Checked:
    """A body that has been read: what to compute, and what is known of each value."""

    body: Body
    values: dict[str, Value] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    depth: int = 0

    def compute(self, inputs: Sequence[Numbers]) -> dict[str, Numbers]:
        known = dict(zip([p.name for p in self.body.inputs], inputs, strict=True))
        for step in self.steps:
            given = [o.numbers if o.numbers is not None else known[o.name] for o in step.operands]
            known[step.name] = step.operation.compute(step.use, given, step.result)
        return known


class Checker:
    def __init__(self, file: File, folder: Path) -> None:
        self.file = file
        self.folder = folder
        self.definitions: dict[str, Block | Body] = {}
        self.symbols: dict[str, Symbol | None] = {}
        self.active: list[str] = []
        self.bodies: dict[str, Checked] = {}  # of functions
        self.ports: dict[str, dict[str, Any]] = {}  # attributes of the design's ports

    @contextmanager
    def at(self, line: int) -> Iterator[None]:
        """Notes what is wrong in a block, by the line it knows or else by this one."""
        try:
            yield
        except data.WrongAt as error:
            self.file.wrong(error.line, error.rule, str(error))
        except Wrong as error:
            self.file.wrong(line, error.rule, str(error))

    def check(self) -> Checked | None:
        """The design, read. It is to be used only if the file has no problems."""
        definitions: list[Block | Body] = [*self.file.blocks, *self.file.functions]
        for definition in definitions:
            if definition.name in self.definitions:
                self.file.wrong(definition.line, "structure#well-formed/4", f"a second @{definition.name}")
            else:
                self.definitions[definition.name] = definition
        for name in self.definitions:
            self.symbol(name, 0)
        designs = [self.design(body) for body in self.file.designs]
        if len(designs) != 1:
            line = self.file.designs[1].line if designs else 1
            self.file.wrong(line, "structure#the-design", "a file has one design")
            return None
        return designs[0]

    # -- symbols ----------------------------------------------------------------------------------------------------

    def symbol(self, name: str, line: int) -> Symbol | None:
        """What a name stands for, None if that is wrong, which is then said once."""
        definition = self.definitions.get(name)
        if definition is None:
            self.file.wrong(line, "text#names", f"there is no @{name}")
            return None
        if name in self.active:
            self.file.wrong(line, "structure#constants-tables-functions", f"@{name} uses itself")
            return None
        if name not in self.symbols:
            found: Symbol | None = None
            self.active.append(name)
            if isinstance(definition, Body):
                found = self.function(definition)
            else:
                with self.at(definition.line):
                    found = self.table(definition) if definition.table else self.constant(definition)
            self.active.pop()
            self.symbols[name] = found
        return self.symbols[name]

    def fitting(self, placed: Sequence[data.Placed], types: Sequence[Any]) -> Numbers | None:
        """The numbers, if each is one of its format."""
        fits = True
        right: set[tuple[Fraction, Any]] = set()  # a large table says few numbers many times
        for (number, line), kind in zip(placed, types, strict=True):
            if (number, kind) in right:
                continue
            if kind.holds(number):
                right.add((number, kind))
            else:
                self.file.wrong(line, "text#numbers-and-data", f"{number} is no number of {kind}")
                fits = False
        return tuple(number for number, _ in placed) if fits else None

    def constant(self, block: Block) -> Constant | None:
        if block.type is None:
            return None
        numbers = self.fitting(
            data.of_constant(block.data, block.type.shape, self.folder), block.type.formats
        )
        return None if numbers is None else Constant(block.type, numbers)

    def table(self, block: Block) -> Table | None:
        if block.key is None or block.type is None:
            return None
        if block.key.shape != block.type.shape:
            raise Wrong("structure#well-formed/11", "keys and values have different shapes")
        if any(kind.bits > MOST_KEY_BITS for kind in block.key.formats):
            raise Wrong("structure#well-formed/11", "a key has too many bits")
        sizes = [1 << kind.bits for kind in block.key.formats]
        placed = data.of_table(block.data, sum(sizes), self.folder)
        each = [kind for kind, size in zip(block.type.formats, sizes, strict=True) for _ in range(size)]
        numbers = self.fitting(placed, each)
        if numbers is None:
            return None
        entries, start = [], 0
        for size in sizes:
            entries.append(numbers[start : start + size])
            start += size
        return Table(block.key, block.type, tuple(entries))

    def function(self, body: Body) -> Function | None:
        for parameter in body.inputs:
            for attribute in parameter.attributes[:1]:
                self.file.wrong(
                    attribute.line, "text#names", "a function's parameter has a type and nothing else"
                )
        before = len(self.file.problems)
        checked = self.bodies[body.name] = self.body(body)
        result = self.output(checked, body.outputs[0])
        types = [p.type for p in body.inputs]
        if result is None or result.type is None or len(self.file.problems) > before or None in types:
            return None
        name = body.outputs[0].value
        return Function(
            parameters=tuple(t for t in types if t is not None),
            result=result.type,
            apply=lambda numbers: checked.compute(numbers)[name],
            cycles=result.cycles or 0,
            depth=checked.depth + 1,
        )

    # -- bodies -----------------------------------------------------------------------------------------------------

    def body(self, body: Body) -> Checked:
        checked = Checked(body)
        for parameter in body.inputs:
            if parameter.name in checked.values:
                self.file.wrong(parameter.line, "structure#well-formed/3", f"a second %{parameter.name}")
            checked.values[parameter.name] = Value(parameter.type, 0, name=parameter.name)
        for statement in body.statements:
            value = Value(None)
            with self.at(statement.line):
                value = self.statement(checked, statement)
            if statement.name in checked.values:
                self.file.wrong(statement.line, "text#names", f"a second %{statement.name}")
            checked.values[statement.name] = value
        return checked

    def output(self, checked: Checked, port: Port) -> Value | None:
        value = checked.values.get(port.value)
        if value is None:
            self.file.wrong(port.line, "text#names", f"there is no %{port.value}")
        return value

    def statement(self, checked: Checked, statement: Statement) -> Value:
        operation = OPERATIONS.get("bit_concat" if statement.op == "cat" else statement.op)  # its old name
        if operation is None:
            raise data.WrongAt(statement.op_line, "ops", f"there is no operation '{statement.op}'")
        if self.file.stage not in operation.stages:
            raise data.WrongAt(
                statement.op_line, "structure#well-formed/8", f"no {self.file.stage} operation"
            )
        if operation.typed and not statement.written:
            raise Wrong("typing", "the type must be written")
        before = len(self.file.problems)
        values, symbols = self.operands(checked, statement, operation.form)
        attributes = self.attributes(statement.attributes, operation.attributes, statement.op_line)
        types = [v.type for v in values if v.type is not None]
        known = len(types) == len(values) and len(symbols) == len([s for s in symbols if s is not None])
        if len(self.file.problems) > before or not known or (statement.written and statement.type is None):
            return Value(None)
        use = Use(types, [s for s in symbols if s is not None], attributes, statement.type)
        bundles = self.file.stage == "tensor" or statement.op in ("call", "element")
        if not bundles and not all(t.scalar for t in types) and operation.form != ("const",):
            raise Wrong("structure#well-formed/9", f"'{statement.op}' reads no tensors at the scalar stage")
        result = operation.infer(use)
        if statement.type is not None and statement.type != result:
            raise Wrong("structure#well-formed/10", f"this is a {result}")
        for function in use.symbols:
            if isinstance(function, Function):
                checked.depth = max(checked.depth, function.depth)
                if self.active and function.depth >= MOST_CALLS:
                    raise Wrong("structure#limits", "too many functions, one below the other")
        cycles = self.cycles(values, statement.op, use)
        checked.steps.append(Step(statement.name, operation, use, tuple(values), result))
        return Value(result, cycles, name=statement.name)

    def cycles(self, values: Sequence[Value], op: str, use: Use) -> int | None:
        """When a value is there (structure#two-stages)."""
        moments = {v.cycles for v in values if v.cycles is not None}
        if len(moments) > 1:
            raise Wrong("structure#well-formed/12", f"operands come after {sorted(moments)} cycles")
        if not moments:
            return None
        return moments.pop() + (1 if op == "reg" else use.function.cycles if op in ("call", "map") else 0)

    def operands(
        self, checked: Checked, statement: Statement, form: Sequence[str]
    ) -> tuple[list[Value], list[Symbol | None]]:
        values: list[Value] = []
        symbols: list[Symbol | None] = []
        left = list(statement.operands)
        kinds: dict[str, type] = {"const": Constant, "const?": Constant, "table": Table, "func": Function}
        for place in form:
            if place in ("values", "any"):
                if place == "values" and not left:
                    raise Wrong(f"ops#{statement.op}", "an operand is missing")
                values += [self.operand(checked, *o) for o in left]
                left = []
            elif not left:
                if place != "const?":
                    raise Wrong(f"ops#{statement.op}", "an operand is missing")
            elif place == "value":
                values.append(self.operand(checked, *left.pop(0)))
            else:
                symbols.append(self.named(*left.pop(0), kinds[place]))
        if left:
            raise data.WrongAt(left[0][1], f"ops#{statement.op}", "an operand too many")
        return values, symbols

    def named(self, text: str, line: int, kind: type) -> Symbol | None:
        if not text.startswith("@"):
            raise data.WrongAt(line, "text#statements", f"a {kind.__name__.lower()} is wanted here")
        self.wanted(text, line, kind)
        return self.symbol(text[1:], line)

    def wanted(self, text: str, line: int, kind: type) -> None:
        definition = self.definitions.get(text[1:])
        if definition is None:
            return
        has = Function if isinstance(definition, Body) else Table if definition.table else Constant
        if has is not kind:
            raise data.WrongAt(line, "text#statements", f"{text} is no {kind.__name__.lower()}")

    def operand(self, checked: Checked, text: str, line: int) -> Value:
        if text.startswith("%"):
            if text[1:] not in checked.values:
                raise data.WrongAt(line, "text#names", f"there is no {text} above")
            return checked.values[text[1:]]
        if text.startswith("@"):
            self.wanted(text, line, Constant)
            found = self.symbol(text[1:], line)
            assert found is None or isinstance(found, Constant)
            return Value(None) if found is None else Value(found.type, None, found.numbers)
        try:
            number = number_of(text)
            return Value(number_type(Use([], [], {"value": number})), None, (number,))
        except Wrong as error:
            raise data.WrongAt(line, error.rule, str(error)) from None

    def attributes(self, given: Sequence[Attribute], asked: Mapping[str, Asked], line: int) -> dict[str, Any]:
        out: dict[str, Any] = {name: a.default for name, a in asked.items()}
        seen = set()
        for attribute in given:
            with self.at(attribute.line):
                if attribute.name in seen:
                    raise Wrong("text#statements", f"a second {attribute.name}=")
                if attribute.name not in asked:
                    raise Wrong("text#statements", f"there is no attribute '{attribute.name}'")
                seen.add(attribute.name)
                out[attribute.name] = data.of_attribute(asked[attribute.name], attribute.value)
        for name, a in asked.items():
            if name not in seen and a.default is None and name not in ("round", "overflow"):
                self.file.wrong(line, "ops", f"{name}= is missing")
        return out

    # -- the design and its runs ------------------------------------------------------------------------------------

    def design(self, body: Body) -> Checked:
        checked = self.body(body)
        names = {p.name for p in body.inputs}
        for port in body.inputs:
            if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", port.name):
                self.file.wrong(port.line, "structure#well-formed/2", f"'{port.name}' is no identifier")
            self.ports[port.name] = self.attributes(port.attributes, INPUT, port.line)
            self.not_zero(port, [self.ports[port.name]["scale"]])
        moments = set()
        for port in body.outputs:
            if port.name in names:
                self.file.wrong(port.line, "structure#well-formed/3", f"a second port {port.name}")
            names.add(port.name)
            value = self.output(checked, port)
            attributes = self.ports[port.name] = self.attributes(port.attributes, OUTPUT, port.line)
            self.not_zero(port, attributes["scale"])
            if value is None or value.type is None:
                continue
            for name in ("scale", "offset"):
                last = value.type.shape[-1:] or (1,)
                if len(attributes[name]) not in (1, *last):
                    self.file.wrong(port.line, "structure#well-formed/7", f"another number of {name}s")
            moments.update({value.cycles} - {None})
            if len(moments) > 1:
                self.file.wrong(port.line, "structure#well-formed/13", "outputs come after unequal cycles")
        for run in self.file.runs:
            self.run_names(run.inputs, {p.name for p in body.inputs})
            self.run_names(run.outputs, {p.name for p in body.outputs})
            for missing in {p.name for p in body.inputs} - {a.name for a in run.inputs}:
                self.file.wrong(run.line, "structure#well-formed/14", f"{missing} is not given")
            for attribute in [*run.inputs, *run.outputs]:
                with self.at(attribute.line):
                    self.run_numbers(checked, attribute)
        return checked

    def not_zero(self, port: Port, scales: Sequence[Fraction]) -> None:
        if 0 in scales:
            self.file.wrong(port.line, "structure#well-formed/7", "a scale is 0")

    def run_names(self, side: Sequence[Attribute], ports: set[str]) -> None:
        seen = set()
        for attribute in side:
            if attribute.name not in ports or attribute.name in seen:
                self.file.wrong(
                    attribute.line, "structure#well-formed/14", f"no port {attribute.name} here, or twice"
                )
            seen.add(attribute.name)

    def run_numbers(self, checked: Checked, attribute: Attribute) -> list[Fraction] | None:
        """The numbers at a port; none where the port is wrong, which is said elsewhere."""
        carried = {p.name: p.name for p in checked.body.inputs} | {
            p.name: p.value for p in checked.body.outputs
        }
        value = checked.values.get(carried.get(attribute.name, ""))
        if value is None or value.type is None:
            return None
        return data.at_port(attribute.value, value.type.shape)
