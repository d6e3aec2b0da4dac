"""Building IR in Python. Every operation of the op table is a method of `Builder`, named by its keyword:

    b = lutc.Builder("tagger")
    x = b.input("x", "s6f3[4]")
    w = b.constant("w1", "s4f2[4, 3]", weights)
    h = b.relu(b.dense(x, w, origin="dense_1"))
    b.output("score", b.quant(h, to="s6f2[3]", round="nearest-half-up", overflow="saturate"))
    design = b.design()

Constants and tables are given in real numbers, and must be exact in their formats. Numbers and constants may stand
where an operation reads a value: `b.add(x, 1)`, `b.compare(x, 0, rel="gt")`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from fractions import Fraction
from itertools import chain, count
from keyword import iskeyword
from typing import Any

import numpy as np

from lutc.diagnostics import did_you_mean, error, shortened
from lutc.ir.graph import Const, Design, Func, OpMistake, Output, Param, Stage, Table, Value
from lutc.ir.ops import TABLE, Op
from lutc.ir.ops.about import meaning, signature
from lutc.ir.ops.base import Budget, decode, need, spec
from lutc.ir.ops.literals import Literals
from lutc.numbers import masked
from lutc.types import Fixed, Overflow, Rounding, Type, scalar

# What an operation takes: values, and numbers and constants that stand for one.
Argument = Value | Const | Table | Func | Fraction | float


_KINDS = {Const: "constant", Table: "table", Func: "function"}


def as_type(kind: Type | Fixed | str) -> Type:
    """A type from itself, from a format, or from text such as `"s8f4[16]"`. Raises LirError for bad text."""
    if isinstance(kind, Type):
        return kind
    if isinstance(kind, Fixed):
        return scalar(kind)
    from lutc.text.parse import parse_type  # the grammar is loaded only by those who write types as text

    return parse_type(kind)


def exact_codes(values: Any, kind: Type, what: str) -> Any:
    """The codes of real numbers, in the type's shape. Raises LirError if a number is none of its format's."""
    reals = _reals(values, what)
    if reals.shape != kind.shape:
        raise error(f"{what} has shape {list(reals.shape)}, but its type is {kind}")
    codes = [_exact_code(v, f, what) for v, f in zip(reals.ravel().tolist(), kind.formats, strict=True)]
    return np.array(codes, dtype=object).reshape(kind.shape)


def _reals(values: Any, what: str) -> Any:
    if masked(values):
        raise error(f"{what} has masked elements", help="fill them first")
    try:
        return np.asarray(values)
    except ValueError:  # lists of unequal lengths
        raise error(f"{what} is no array: its rows differ in length") from None


def _exact_code(value: Any, fmt: Fixed, what: str) -> int:
    try:
        number = Fraction(value)
    except (ValueError, OverflowError, TypeError, ArithmeticError):  # nan, inf, None, a word
        raise error(f"{what}: {shortened(repr(value))} is no finite real number") from None
    if not fmt.holds(number):
        raise error(f"{what}: {value} is no number of {fmt}", help="round it first, or choose a wider format")
    return (number / fmt.step).numerator


class Builder:
    """Collects one design, or one function. Raises LirError for what does not fit together.

    Every operation is a method named by its keyword: `b.add(x, y)`, `b.quant(x, to="u4")`, `b.and_(x, y)`.

    Examples
    --------
    >>> import lutc
    >>> b = lutc.Builder("scorer")
    >>> x = b.input("x", "s6f3[4]")
    >>> w = b.constant("w", "s4f2[4, 1]", [[1.25], [0], [-2], [0.25]])
    >>> b.output("score", b.relu(b.dense(x, w)))
    >>> b.design().run([[1.0, -0.5, 0.25, 2.0]]).tolist()
    [[1.25]]
    """

    def __init__(self, name: str, stage: Stage = Stage.TENSOR) -> None:
        self.name = name
        self.stage = stage
        self._params: list[Param] = []
        self._outputs: list[Output] = []
        self._notes: list[str] = []
        self._origin: str | None = None
        self._budget = Budget()
        self._literals = Literals(stage)

    @contextmanager
    def origin(self, layer: str | None) -> Iterator[None]:
        """Everything built inside comes from this layer, unless it says otherwise."""
        before, self._origin = self._origin, layer
        try:
            yield
        finally:
            self._origin = before

    def input(
        self,
        name: str,
        kind: Type | Fixed | str,
        *,
        round: Rounding | str = Rounding.HALF_EVEN,
        overflow: Overflow | str = Overflow.SATURATE,
        scale: Fraction | int = 1,
        offset: Fraction | int = 0,
        origin: str | None = None,
    ) -> Param:
        """An input port, or a function's parameter. See `lutc.ir.graph.Param` for the port's rule."""
        if any(p.name == name for p in self._params):
            raise error(f"{self.name} has two inputs named {name!r}")
        param = Param(
            as_type(kind),
            Rounding(round),
            Overflow(overflow),
            Fraction(scale),
            Fraction(offset),
            name=name,
            origin=origin,
        )
        self._params.append(param)
        return param

    def output(
        self,
        name: str,
        value: Value,
        *,
        scale: Iterable[Fraction] | Fraction | int = 1,
        offset: Iterable[Fraction] | Fraction | int = 0,
    ) -> None:
        """An output port carrying `value`; outside it means `scale * value + offset`."""
        if any(o.name == name for o in self._outputs):
            raise error(f"{self.name} has two outputs named {name!r}")
        carried: object = value
        if not isinstance(carried, Value):
            help = "give it what input() or an operation returned"
            raise error(
                f"output {name!r} carries no value of the design: {shortened(repr(value))}", help=help
            )
        self._outputs.append(Output(name, value, _fractions(scale), _fractions(offset)))

    def note(self, text: str) -> None:
        """Something the user should know; it ends in the report."""
        self._notes.append(text)

    def constant(self, name: str, kind: Type | Fixed | str, values: Any) -> Const:
        """A named constant from real numbers, which must be exact in its format."""
        to = as_type(kind)
        return Const(name, to, exact_codes(values, to, f"constant {name!r}"))

    def table(self, name: str, key: Type | Fixed | str, value: Type | Fixed | str, entries: Any) -> Table:
        """A truth table of real numbers; entry k answers the key whose bits read k. Or a tensor of them, in a row."""
        k, v = as_type(key), as_type(value)
        formats = [f for f, n in zip(v.formats, k.formats, strict=True) for _ in range(1 << n.width)]
        reals = _reals(entries, f"table {name!r}").ravel().tolist()
        if len(reals) != len(formats):
            raise error(
                f"table {name!r} has {len(reals)} entries, not the {len(formats)} its key {k} asks for"
            )
        codes = [_exact_code(r, f, f"table {name!r}") for r, f in zip(reals, formats, strict=True)]
        return Table(name, k, v, np.array(codes, dtype=object))

    def function(self, result: Value) -> Func:
        """Finish this builder as a function that returns `result`."""
        made = Func(self.name, tuple(self._params), result)
        name_layers(made)
        return made

    def design(self) -> Design:
        """Finish this builder as a design. It is verified as if it had been read from a file."""
        from lutc.ir.verify import verify  # a peer: verify knows nothing of builders

        design = Design(self.name, tuple(self._params), tuple(self._outputs), self.stage, tuple(self._notes))
        verify(design)
        name_layers(design)
        return design

    def room(self, operations: int) -> None:
        """Raise LirError if a design cannot have so many more operations on scalars: for those who plan much work."""
        try:
            self._budget.room(operations)
        except OpMistake as e:
            raise error(e.message, where=self._origin, help=e.help) from None

    def __getattr__(self, keyword: str) -> Callable[..., Any]:
        op = TABLE.get(keyword.rstrip("_"))
        if op is None:
            raise AttributeError(
                f"no operation {keyword!r}; {did_you_mean(keyword, list(TABLE)) or 'see lutc ops'}"
            )
        method: Callable[..., Any] = getattr(self, _method_name(op))
        return method

    def _operands(self, op: type[Op], given: list[Any], name: str | None) -> dict[str, Any]:
        """What an operation works on, by field; numbers and constants stand for values. Raises LirError."""
        row = spec(op)
        fields: dict[str, Any] = {}
        for field, kind in row.symbols:
            found = next((i for i, a in enumerate(given) if isinstance(a, kind)), None)
            if found is not None:
                fields[field] = given.pop(found)
            elif field not in row.optional:
                raise error(f"{op.keyword} needs a {_KINDS[kind]}", where=name)
        values = [self._value(op, a, name) for a in given]
        for field, many in row.operands:
            if many:
                fields[field], values = tuple(values), []
            elif values:
                fields[field] = values.pop(0)
            else:
                raise error(f"{op.keyword} lacks its operand {field!r}", where=name)
        if values:
            raise error(f"{op.keyword} has {len(values)} operands too many", where=name)
        return fields

    def _value(self, op: type[Op], given: Any, name: str | None) -> Value:
        if isinstance(given, Value):
            return given
        try:
            literal = given if isinstance(given, Const) else Fraction(given)
            return self._literals.value(literal)
        except (TypeError, ValueError, OverflowError, OpMistake) as e:
            why = e.message if isinstance(e, OpMistake) else "is no value of the design, and no number"
            raise error(f"{op.keyword}: {shortened(repr(given))} {why}", where=name) from None

    def _make(
        self,
        op: type[Op],
        *arguments: Argument | Sequence[Argument],
        name: str | None = None,
        origin: str | None = None,
        to: Type | Fixed | str | None = None,
        **attributes: Any,
    ) -> Op:
        row = spec(op)
        fields: dict[str, Any] = {}
        fields |= self._operands(op, [a for arg in arguments for a in _one_or_many(arg)], name)
        if row.typed:
            if to is None:
                raise error(f"{op.keyword} needs to=TYPE", where=name)
            fields["to"] = as_type(to)
        known = {a.name: a for a in row.attributes}
        for key, value in attributes.items():
            if key not in known:
                raise error(
                    f"{op.keyword} has no attribute {key!r}", where=name, help=did_you_mean(key, list(known))
                )
            try:
                fields[key] = _attribute(known[key].kind, value)
            except OpMistake as e:
                raise error(f"{op.keyword}: {key} {e.message}", where=name, help=e.help) from None
        missing = [a.name for a in row.attributes if a.required and a.name not in fields]
        if missing:
            raise error(f"{op.keyword} needs {', '.join(missing)}", where=name)
        try:
            made = op(**self._literals.spread(op, fields), name=name, origin=origin or self._origin)
            self._budget.spend(made)
            for key, why in made.unclear():
                need(
                    key in attributes,
                    f"{why}, and does not say {key}=",
                    f"give it {key}=, as `lutc ops {op.keyword}` lists",
                )
            return made
        except OpMistake as e:
            raise error(
                f"{op.keyword} {e.message}", where=name or origin or self._origin, help=e.help
            ) from None
        except (ValueError, OverflowError, MemoryError) as e:  # as the parser says it
            where, help = name or origin or self._origin, "quant what it reads to fewer bits first"
            raise error(f"{op.keyword} has no type here: {e}", where=where, help=help) from None


def _method_name(op: type[Op]) -> str:
    """`add`; and `and_`, for Python keeps the bare word for itself."""
    return f"{op.keyword}_" if iskeyword(op.keyword) else op.keyword


def _method(op: type[Op]) -> Callable[..., Op]:
    def make(self: Builder, *arguments: Argument | Sequence[Argument], **options: Any) -> Op:
        return self._make(op, *arguments, **options)

    make.__name__ = _method_name(op)
    make.__qualname__ = f"{Builder.__qualname__}.{make.__name__}"
    make.__doc__ = meaning(op)
    make.__signature__ = signature(op)  # type: ignore[attr-defined]
    return make


# Methods of the class and not made when they are asked for, so that `dir`, `help` and editors find them.
for _op in TABLE.values():
    setattr(Builder, _method_name(_op), _method(_op))


def name_layers(owner: Design | Func) -> None:
    """Call what a layer gives as the layer, so that the text and the HDL tell what it is; other names stay."""
    taken = {v.name.lower() for v in owner.values if v.name}  # VHDL does not tell case apart
    last = {v.origin: v for v in owner.values if v.origin and isinstance(v, Op)}
    for layer, value in last.items():
        if value.name is None:
            stem = re.sub(r"\W+", "_", layer or "", flags=re.ASCII).strip("_")[:60]
            stem = stem if stem and not stem[0].isdigit() else f"v_{stem}"
            name = next(n for n in chain([stem], (f"{stem}_{k}" for k in count(2))) if n.lower() not in taken)
            taken.add(name.lower())
            object.__setattr__(value, "name", name)  # made by this builder: it had no other name to anybody


def _one_or_many(argument: Any) -> Sequence[Any]:
    return argument if isinstance(argument, list | tuple) else [argument]


def _fractions(numbers: Iterable[Fraction] | Fraction | int) -> tuple[Fraction, ...]:
    if isinstance(numbers, int | float | Fraction):
        return (Fraction(numbers),)
    return tuple(Fraction(n) for n in numbers)


def _attribute(kind: Any, value: Any) -> Any:
    """An attribute as Python people give it (ints, floats, words, arrays), in the form the operation keeps."""
    if (
        kind == tuple[int, ...]
        and isinstance(value, np.ndarray)
        and value.dtype.kind == "i"
        and value.ndim == 1
    ):
        return tuple(value.tolist())  # a gather of an image has many thousands
    return decode(kind, _raw(value))


def _raw(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple | np.ndarray):
        return [_raw(v) for v in (value.tolist() if isinstance(value, np.ndarray) else value)]
    if isinstance(value, int | float | Fraction | np.number):
        return Fraction(value if not isinstance(value, np.number) else value.item())
    return value
