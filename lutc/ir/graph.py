"""The graph: values, and what they stand on: constants, tables, functions, the design.

An operation is its value: a frozen dataclass, compared by identity, whose fields annotated `Value` are its operands. A
graph can therefore not be cyclic, and a pass never changes one; it makes another.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lutc.diagnostics import Diagnostic, LirError, Span
from lutc.lazy import lazy
from lutc.types import Ints, Overflow, Rounding, Type


class Stage(Enum):
    """How far a design has come: whole tensors, or single numbers with registers between them."""

    TENSOR = "tensor"
    SCALAR = "scalar"


class OpMistake(Exception):
    """An operation's operands or attributes do not fit together. Parser and builder add the place."""

    def __init__(self, message: str, help: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.help = help


@dataclass(frozen=True, eq=False, kw_only=True)
class Value:
    """One value of the graph, and the operation that makes it.

    `name` is how the text calls it, `origin` the layer of the model it came from, `span` its place in a file.
    """

    name: str | None = None
    origin: str | None = None
    span: Span | None = None
    type: Type = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "type", self.infer())

    def infer(self) -> Type:
        """The value's type, from its operands and attributes. Raises OpMistake if they do not fit together."""
        raise NotImplementedError(type(self).__name__)

    @property
    def operands(self) -> tuple[Value, ...]:
        """The values this one reads, in order."""
        return ()

    def operations(self) -> int:
        """How many operations on scalars, those of functions included, this stands for; known before it has a type."""
        return 0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} %{self.name or '?'}: {self.type}>"


class NoOperator(LirError, TypeError):
    """An operator of Python's between values, or a value and something else."""


# Operators are not overloaded. They could not be told apart from what Python does with any object: `x == 0` is False
# and `if x > 0:` is always taken, because values are compared by identity, and `0 < x < 4` drops a half of itself.
_METHODS = {
    "add radd": ("+", "add(x, y)"),
    "sub rsub": ("-", "sub(x, y)"),
    "mul rmul": ("*", "mul(x, y), or b.scale(x, by=0.5)"),
    "truediv rtruediv": ("/", "scale(x, by=0.5)"),
    "matmul rmatmul": ("@", "matmul(x, y), or b.dense(x, w) for a constant w"),
    "and rand": ("&", "and_(x, y)"),
    "or ror": ("|", "or_(x, y)"),
    "xor rxor": ("^", "xor(x, y)"),
    "lt": ("<", 'compare(x, y, rel="lt")'),
    "le": ("<=", 'compare(x, y, rel="le")'),
    "gt": (">", 'compare(x, y, rel="gt")'),
    "ge": (">=", 'compare(x, y, rel="ge")'),
    "neg": ("-", "neg(x)"),
    "abs": ("abs", "abs(x)"),
    "invert": ("~", "not_(x)"),
}


def _refusing(symbol: str, method: str) -> Any:
    def refuse(self: Value, *others: Any) -> Any:
        help = f"with the builder b: b.{method}; numbers and constants may stand for values"
        raise NoOperator(
            Diagnostic(f"values have no operator {symbol}", where=self.name or self.origin, help=help)
        )

    return refuse


for _names, (_symbol, _instead) in _METHODS.items():
    for _name in _names.split():
        setattr(Value, f"__{_name}__", _refusing(_symbol, _instead))


@dataclass(frozen=True, eq=False, repr=False)
class Param(Value):
    """An input of a design or a function.

    Of a design's input, `round` and `overflow` say how a real number becomes the port's format, and `scale` and
    `offset` what the port's number `v` means outside: the real number `scale * v + offset`.
    """

    to: Type
    round: Rounding = Rounding.HALF_EVEN
    overflow: Overflow = Overflow.SATURATE
    scale: Fraction = Fraction(1)
    offset: Fraction = Fraction(0)

    def infer(self) -> Type:
        return self.to


def _kind(kind: Type) -> Any:
    """int64 where that holds every code of a type, else object: Python integers."""
    return np.int64 if kind.max_width < 64 else object


def _packed(codes: NDArray[Any], kind: Type) -> bytes | tuple[int, ...]:
    """Codes of a type as what is quickly compared: two of the same type are equal exactly if this is."""
    if kind.max_width < 64:
        return codes.astype(np.int64, copy=False).tobytes()
    return tuple(codes.ravel().tolist())


@dataclass(frozen=True, eq=False)
class Const:
    """A named constant: a type, and the codes of its elements in the type's shape (Python integers)."""

    name: str
    type: Type
    codes: NDArray[np.object_]
    span: Span | None = None

    def __post_init__(self) -> None:
        codes = np.asarray(self.codes, dtype=object).reshape(self.type.shape)
        object.__setattr__(self, "codes", codes)
        lo, hi = self.type.ranges
        if self.type.size and not ((codes >= lo) & (codes <= hi)).all():
            raise ValueError(f"constant {self.name!r} has a code outside of {self.type}")

    @lazy
    def contents(self) -> tuple[Any, ...]:
        """Equal for constants that are the same number for number."""
        return ("const", self.type, _packed(self.codes, self.type))


@dataclass(frozen=True, eq=False)
class Table:
    """A truth table, or a tensor of them.

    `key` and `value` have the same shape; a scalar shape means one table, used for every element looked up.
    `codes` holds one table after the other, row-major, as int64 where the values are below 64 bits and as Python
    integers where they are not. Entry k of a table answers the key whose bits read k: the
    order of the ROM, so for a signed key the negative half comes last. Table i has `2**key_width_i` entries.
    """

    name: str
    key: Type
    value: Type
    codes: NDArray[Any]
    span: Span | None = None

    def __post_init__(self) -> None:
        if self.key.shape != self.value.shape:
            raise ValueError(f"table {self.name!r} maps {self.key} to {self.value}: the shapes differ")
        try:
            codes = np.asarray(self.codes).astype(_kind(self.value), copy=False).ravel()
        except OverflowError:
            codes = np.asarray(self.codes, dtype=object).ravel()
        object.__setattr__(self, "codes", codes)
        if len(codes) != self.entries(self.key):
            raise ValueError(f"table {self.name!r} has {len(codes)} entries, not {self.entries(self.key)}")
        for fmt, part in zip(self.value.formats, self.parts(), strict=True):
            if len(part) and not fmt.lo <= part.min() <= part.max() <= fmt.hi:
                raise ValueError(f"table {self.name!r} has a code outside of {fmt}")

    @lazy
    def contents(self) -> tuple[Any, ...]:
        """Equal for tables that are the same number for number."""
        return ("table", self.key, self.value, _packed(self.codes, self.value))

    @property
    def words(self) -> NDArray[np.int64]:
        """The codes as machine integers; OverflowError if the values are wider than that."""
        return self.codes.astype(np.int64, copy=False)

    @staticmethod
    def entries(key: Type) -> int:
        """How many entries the tables of this key type have together."""
        return sum(n << f.width for n, f in key.runs)

    def parts(self) -> list[NDArray[Any]]:
        """The tables one by one, row-major."""
        if not self.key.shape:
            return [self.codes]
        sizes = [1 << f.width for f in self.key.formats]
        return np.split(self.codes, np.cumsum(sizes)[:-1]) if sizes else []


class Body:
    """What functions and designs have in common: parameters, and the values that lead from them to the results."""

    params: tuple[Param, ...]

    @property
    def roots(self) -> tuple[Value, ...]:
        """The values that are given out, in order."""
        raise NotImplementedError(type(self).__name__)

    @lazy
    def values(self) -> tuple[Value, ...]:
        """See `body`."""
        return tuple(topo([*self.params, *self.roots]))

    @lazy
    def functions(self) -> tuple[Func, ...]:
        """See the function of this name."""
        return _reached(self)


@dataclass(frozen=True, eq=False)
class Func(Body):
    """A function: one result from several parameters. It is optimised once and emitted as one module."""

    name: str
    params: tuple[Param, ...]
    result: Value
    span: Span | None = None

    @property
    def roots(self) -> tuple[Value, ...]:
        return (self.result,)

    @lazy
    def operations(self) -> int:
        """How many operations on scalars a call stands for; each of what it calls in turn is counted."""
        for func in self.functions:  # callees first, so that none asks another in turn
            func.operations  # noqa: B018
        return 1 + sum(v.operations() for v in self.values)

    @lazy
    def depth(self) -> int:
        """How many functions call each other one below the other, this one included."""
        for func in self.functions:
            func.depth  # noqa: B018
        return 1 + max((f.depth for f in _called(self)), default=0)


@dataclass(frozen=True, eq=False)
class Output:
    """An output port: the real number outside is `scale * value + offset` (one factor, or one per last-axis index)."""

    name: str
    value: Value
    scale: tuple[Fraction, ...] = (Fraction(1),)
    offset: tuple[Fraction, ...] = (Fraction(0),)
    span: Span | None = None


@dataclass(frozen=True)
class Run:
    """One sample and the answers that are expected of it: numbers at the ports, by name.

    An array is a tuple of tuples; a single number for an array stands for each of its elements. Outputs that are not
    named may be anything.
    """

    inputs: tuple[tuple[str, Numbers], ...]
    outputs: tuple[tuple[str, Numbers], ...]
    span: Span | None = field(default=None, compare=False)


# A number, or an array of them as tuples of tuples.
Numbers = Fraction | tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class Design(Body):
    """A whole circuit. Constants, tables and functions belong to it by being used.

    `notes` are texts for the report, `runs` answers that are expected of it (`lutc.ir.expect` asks for them).
    `compared` says what a model's design was compared with when it was loaded (see `lutc.lowering.compare`). It is no
    part of the text, which means the same whoever has looked at it.

    Examples
    --------
    >>> import lutc
    >>> design = lutc.loads("lir 1\\ndesign half(%x: u4) -> (y = %y) {\\n %y = scale %x, by=1/2\\n}\\n")
    >>> design.run([1, 2]).tolist()
    [0.5, 1.0]
    >>> print(design)
    lir 1
    <BLANKLINE>
    design half(%x: u4) -> (y = %y) {
      %y = scale %x, by=0.5
    }
    <BLANKLINE>
    """

    name: str
    params: tuple[Param, ...]
    outputs: tuple[Output, ...]
    stage: Stage = Stage.TENSOR
    notes: tuple[str, ...] = ()
    span: Span | None = None
    compared: str = ""
    runs: tuple[Run, ...] = ()
    extension: ClassVar[str] = ".lir"

    @property
    def roots(self) -> tuple[Value, ...]:
        return tuple([o.value for o in self.outputs])

    def run(self, /, *inputs: Any, **named: Any) -> Any:
        """The reference interpreter on real numbers; see `lutc.ir.interp.run`."""
        from lutc.ir.interp import run  # it stands above the graph; this is only the convenient spelling

        return run(self, *inputs, **named)

    def __str__(self) -> str:
        from lutc.text.print import print_design

        return print_design(self)

    def __repr__(self) -> str:
        return f"<Design {self.name}: {len(self.params)} inputs, {len(self.outputs)} outputs>"

    def _repr_html_(self) -> str:
        from lutc.report.notebook import design_html

        return design_html(self)


def topo(roots: Iterable[Value], known: Container[Value] = ()) -> list[Value]:
    """Every value that `roots` stand on and themselves, operands first; what is `known`, and below it, left out.

    No recursion: chains may be long.
    """
    order: list[Value] = []
    seen: set[Value] = set()
    stack: list[tuple[Value, bool]] = [(v, False) for v in reversed(list(roots))]
    while stack:
        value, ready = stack.pop()
        if ready:
            order.append(value)
        elif value not in seen and value not in known:
            seen.add(value)
            stack.append((value, True))
            stack.extend((v, False) for v in reversed(value.operands) if v not in seen)
    return order


def body(owner: Design | Func) -> list[Value]:
    """The values of a design or a function in order, its parameters first even where nobody reads them."""
    return list(owner.values)


def functions(owner: Design | Func) -> list[Func]:
    """Every function called from here, directly or not, callees first."""
    return list(owner.functions)


def _reached(owner: Body) -> tuple[Func, ...]:
    """Without recursion: functions may call each other many levels deep."""
    order: list[Func] = []
    seen: set[Func] = set()
    stack: list[tuple[Func, bool]] = [(f, False) for f in reversed(list(_called(owner)))]
    while stack:
        func, ready = stack.pop()
        if ready:
            order.append(func)
        elif func not in seen:
            seen.add(func)
            stack.append((func, True))
            stack.extend((f, False) for f in reversed(list(_called(func))) if f not in seen)
    return tuple(order)


def owners(design: Design) -> list[Design | Func]:
    """Everything that has a body: the functions, callees first, then the design."""
    return [*functions(design), design]


def _called(owner: Body) -> Iterator[Func]:
    return (f for v in owner.values if isinstance(f := v.__dict__.get("func"), Func))


def users(values: Sequence[Value]) -> dict[Value, list[Value]]:
    """Who reads each value, in order; a reader that reads it twice is listed twice."""
    result: dict[Value, list[Value]] = {v: [] for v in values}
    for value in values:
        for operand in value.operands:
            result[operand].append(value)
    return result


def reader_counts(design: Design) -> dict[Value, int]:
    """How many read each value of a design and its functions; a port, or a function's result, is a reader."""
    counts: dict[Value, int] = {}
    for owner in owners(design):
        counts |= {v: len(r) for v, r in users(owner.values).items()}
        for root in owner.roots:
            counts[root] += 1
    return counts


Bounds = tuple[Ints, Ints]
