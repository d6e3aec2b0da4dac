"""What makes a design well-formed: the rules are numbered in ir_spec/structure.md, under "Well-formed".

`tests/ir/test_verify.py` has a test for every number.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping, Sequence

from lutc.diagnostics import Diagnostic, LirError, Span
from lutc.ir.graph import (
    Body,
    Const,
    Design,
    Func,
    Numbers,
    OpMistake,
    Param,
    Stage,
    Table,
    Value,
    body,
    owners,
    topo,
)
from lutc.ir.latency import arrivals
from lutc.ir.ops.base import Op, spec
from lutc.ir.ops.flow import Call, Reg
from lutc.ir.ops.moves import Element, Pack
from lutc.ir.ops.table import ConstOp
from lutc.limits import MAX_KEY


def verify(design: Design, known: Container[Value] = ()) -> None:
    """Check every rule above. Raises LirError with all violations.

    `known` are values found right before, at this design's stage: what a value is never changes.
    """
    found = violations(design, known=known)
    if found:
        raise LirError(*found)


def violations(
    design: Design,
    *,
    retype: bool = True,
    known: Container[Value] = (),
    written: Mapping[Body, Sequence[Value]] | None = None,
) -> list[Diagnostic]:
    """Everything about a design that breaks a rule; `retype=False` leaves out rule 10, for types just inferred.

    `known` as for `verify`. `written` are the bodies of a text, callees first and the design last, with all values that
    stand in them: what nobody reads is held to the same rules.
    """
    bodies: dict[Design | Func, list[Value]]
    if written is None:
        bodies = {owner: body(owner) for owner in owners(design)}
    else:
        bodies = {b: topo([*b.params, *b.roots, *values]) for b, values in written.items()}  # type: ignore[misc]
    found = [*_design_names(design), *_symbol_names(design, bodies), *_ports(design), *_runs(design)]
    belongs: dict[Param, Design | Func] = {}
    for owner in bodies:
        found += _parameters(owner, bodies[owner], belongs)
        for value in bodies[owner]:
            if value not in known:
                found += _value(value, design, owner, retype)
    if not any("belongs" in d.message for d in found):
        cycles: dict[Func, int] = {}
        for owner in bodies:
            if isinstance(owner, Func):
                cycles[owner] = arrivals(bodies[owner], cycles)[owner.result] or 0
            found += _balance(owner, bodies[owner], cycles)
    return found


def stage_mistake(op: type[Op], stage: Stage) -> tuple[str, str]:
    """Message and help for an operation that is not legal at a stage."""
    legal = " and ".join(sorted(s.value for s in op.stages))
    help = "lower the design with the pass scalarize, or begin the file with: lir 1"
    if stage is Stage.TENSOR:
        help = "registers belong to a file that begins with: lir 1 scalar"
    return f"'{op.keyword}' is legal at the {legal} stage, and this is the {stage.value} stage", help


# -- names ----------------------------------------------------------------------------------------------------------

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SYMBOL = re.compile(r"[A-Za-z0-9_.]+")
_RULE = "names are made of letters, digits and _, and begin with no digit"


def _design_names(design: Design) -> Iterator[Diagnostic]:
    if not _IDENTIFIER.fullmatch(design.name):
        yield Diagnostic(f"{design.name!r} is no name for a design", design.span, design.name, help=_RULE)
    seen: set[str] = set()
    ports = [(p.name, p.span) for p in design.params] + [(o.name, o.span) for o in design.outputs]
    for name, span in ports:
        if not name or not _IDENTIFIER.fullmatch(name):
            yield Diagnostic(f"{name or ''!r} is no name for a port", span, design.name, help=_RULE)
        elif name in seen:
            help = "inputs and outputs are wires of one circuit: give one of them another name"
            yield Diagnostic(f"two ports are named {name!r}", span or design.span, design.name, help=help)
        seen.add(name or "")


def _symbol_names(design: Design, bodies: dict[Design | Func, list[Value]]) -> Iterator[Diagnostic]:
    """Constants, tables and functions by name; the same object may be met often."""
    known: dict[str, Const | Table | Func] = {}
    met: set[Const | Table | Func] = set()
    for values in bodies.values():
        for value in values:
            for symbol in symbols_of(value):
                if symbol in met:
                    continue
                met.add(symbol)
                place = symbol.span or value.span
                if not _SYMBOL.fullmatch(symbol.name):
                    yield Diagnostic(
                        f"{symbol.name!r} is no name for a {_kind(symbol)}", place, design.name, _RULE
                    )
                first = known.setdefault(symbol.name, symbol)
                if first is not symbol:
                    message = f"a {_kind(first)} and another {_kind(symbol)} are both named @{symbol.name}"
                    yield Diagnostic(
                        message, place, design.name, help="rename one of them, or use one object twice"
                    )
                if isinstance(symbol, Table) and symbol.key.max_width > MAX_KEY:
                    message = (
                        f"the key of @{symbol.name} has {symbol.key.max_width} bits; the most is {MAX_KEY}"
                    )
                    yield Diagnostic(message, place, design.name, help="quant the key to fewer bits first")


def symbols_of(value: Value) -> tuple[Const | Table | Func, ...]:
    """The constants, tables and functions that a value's operation uses."""
    row = spec(type(value)).symbols
    return tuple(s for name, _ in row if (s := getattr(value, name)) is not None) if row else ()


def _kind(symbol: Const | Table | Func) -> str:
    return {Const: "constant", Table: "table", Func: "function"}[type(symbol)]


# -- ports and parameters -------------------------------------------------------------------------------------------


def _ports(design: Design) -> Iterator[Diagnostic]:
    if not design.outputs:
        help = "name at least one value: -> (y = %y)"
        yield Diagnostic(f"{design.name} has no output", design.span, design.name, help=help)
    for param in design.params:
        if not param.scale:
            help = "a port's number v means scale * v + offset outside"
            yield Diagnostic(f"the scale of input {param.name!r} is 0", param.span, param.name, help=help)
    for output in design.outputs:
        shape = output.value.type.shape
        length = shape[-1] if shape else 1
        for what, numbers in (("scale", output.scale), ("offset", output.offset)):
            if len(numbers) not in (1, length):
                message = (
                    f"the {what} of output {output.name!r} has {len(numbers)} numbers for {output.value.type}"
                )
                help = "give one, or one for each index of the last dimension"
                yield Diagnostic(message, output.span or design.span, output.name, help=help)
        if not all(output.scale):
            message, help = f"the scale of output {output.name!r} is 0", "the port's number would say nothing"
            yield Diagnostic(message, output.span or design.span, output.name, help=help)


def _runs(design: Design) -> Iterator[Diagnostic]:
    inputs = {p.name or "": p.type for p in design.params}
    outputs = {o.name: o.value.type for o in design.outputs}
    for run in design.runs:
        given = [name for name, _ in run.inputs]
        for name in (n for n in inputs if n not in given):
            message, help = f"the run says nothing of the input {name}", f"write: run {name}=..., ... => ..."
            yield Diagnostic(message, run.span, design.name, help=help)
        for what, numbers, kinds in (("input", run.inputs, inputs), ("output", run.outputs, outputs)):
            for name, x in numbers:
                if name not in kinds:
                    yield Diagnostic(f"there is no {what} {name}", run.span, design.name)
                elif isinstance(x, tuple) and not _shaped(x, kinds[name].shape):
                    message = f"the run's numbers for {name} do not have its shape, {list(kinds[name].shape)}"
                    yield Diagnostic(message, run.span, design.name)
            names = [name for name, _ in numbers]
            for name in dict.fromkeys(n for n in names if names.count(n) > 1):
                yield Diagnostic(f"the run says the {what} {name} twice", run.span, design.name)


def _shaped(numbers: Numbers, shape: tuple[int, ...]) -> bool:
    """Whether tuples of tuples are an array of a shape."""
    if not shape or not isinstance(numbers, tuple):
        return not shape and not isinstance(numbers, tuple)
    return len(numbers) == shape[0] and all(_shaped(n, shape[1:]) for n in numbers)


def _parameters(
    owner: Design | Func, values: list[Value], belongs: dict[Param, Design | Func]
) -> Iterator[Diagnostic]:
    names: set[str] = set()
    for param in owner.params:
        if isinstance(owner, Func):
            if not param.name or not _SYMBOL.fullmatch(param.name):
                message = f"{param.name or ''!r} is no name for a parameter of @{owner.name}"
                yield Diagnostic(message, param.span, owner.name, help=_RULE)
            elif param.name in names:
                message = f"two parameters of @{owner.name} are named {param.name!r}"
                yield Diagnostic(message, param.span, owner.name, help="rename one of them")
        names.add(param.name or "")
        other = belongs.setdefault(param, owner)
        if other is not owner or owner.params.count(param) > 1:
            message = f"%{param.name} is a parameter of {owner.name}, but belongs to {other.name} already"
            yield Diagnostic(message, param.span, owner.name, help="make a parameter for each function")
    own = set(owner.params)
    for value in values:
        if isinstance(value, Param) and value not in own:
            message = f"{owner.name} reads %{value.name}, which is none of its inputs and belongs elsewhere"
            yield Diagnostic(message, value.span, owner.name, help="pass it to the function as an argument")


# -- operations -----------------------------------------------------------------------------------------------------


def _value(value: Value, design: Design, owner: Design | Func, retype: bool) -> Iterator[Diagnostic]:
    where = value.name or value.origin or owner.name
    if value.name == "":
        yield Diagnostic("a value has an empty name", value.span, where, help="give it a name, or None")
    if not isinstance(value, Op):
        if not isinstance(value, Param):
            message, help = f"{value!r} is neither a parameter nor an operation", "derive operations from Op"
            yield Diagnostic(message, value.span, where, help=help)
        return
    if design.stage not in value.stages:
        message, help = stage_mistake(type(value), design.stage)
        yield Diagnostic(message, value.span, where, help=help)
        return
    if design.stage is Stage.SCALAR:
        if value.type.shape and not isinstance(value, Call | Pack | ConstOp):
            message = f"'{value.keyword}' gives a tensor, {value.type}, and this is the scalar stage"
            yield Diagnostic(message, value.span, where, help="take it apart with element, or run scalarize")
        elif not isinstance(value, Call | Element) and any(v.type.shape for v in value.operands):
            kinds = ", ".join(str(v.type) for v in value.operands if v.type.shape)
            message = f"'{value.keyword}' reads a tensor, {kinds}, and this is the scalar stage"
            yield Diagnostic(
                message, value.span, where, help="take single elements of it: %a = element %x, at=0"
            )
    if retype:
        yield from _typed(value, where)


def _typed(value: Op, where: str) -> Iterator[Diagnostic]:
    try:
        found = value.infer()
    except OpMistake as e:
        yield Diagnostic(f"'{value.keyword}' {e.message}", value.span, where, help=e.help)
    except (ValueError, OverflowError) as e:
        yield Diagnostic(f"'{value.keyword}' has no type: {e}", value.span, where)
    else:
        if found != value.type:
            message = f"'{value.keyword}' gives {found}, but the value is stored as {value.type}"
            help = "values are never changed: make a new one, whose type is inferred"
            yield Diagnostic(message, value.span, where, help=help)


# -- time -----------------------------------------------------------------------------------------------------------


def _balance(owner: Design | Func, values: list[Value], cycles: dict[Func, int]) -> Iterator[Diagnostic]:
    if not any(isinstance(v, Call | Reg) for v in values):
        return  # nothing takes time
    times = arrivals(values, cycles)
    for value in values:
        meeting = [(v, t) for v in value.operands if (t := times[v]) is not None]
        if len({t for _, t in meeting}) > 1:
            (a, early), *_, (b, late) = sorted(meeting, key=lambda pair: pair[1])
            message = f"{_name(a)} comes after {_cycles(early)}, but {_name(b)} after {_cycles(late)}"
            help = (
                f"%r = reg {_name(a)} delays it by a cycle, {late - early} of them are due; "
                "that only makes values of one sample meet: there is no memory of samples before"
            )
            yield Diagnostic(message, value.span, value.name or value.origin or owner.name, help=help)
    if isinstance(owner, Design):
        ends = [(o, t) for o in owner.outputs if (t := times[o.value]) is not None]
        if len({t for _, t in ends}) > 1:
            each = ", ".join(f"{o.name} after {_cycles(t)}" for o, t in ends)
            span: Span | None = next((o.span for o, t in ends if t != max(t for _, t in ends)), owner.span)
            help = "delay the earlier ones with reg until all come together"
            yield Diagnostic(f"the outputs come at different times: {each}", span, owner.name, help=help)


def _name(value: Value) -> str:
    return f"%{value.name}" if value.name else f"an unnamed {type(value).__name__.lower()}"


def _cycles(count: int) -> str:
    return f"{count} cycle" + ("s" if count != 1 else "")
