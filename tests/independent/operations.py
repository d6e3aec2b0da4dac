"""What operations share: their forms and attributes (ir_spec/ops.md), and what is used by one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import product
from typing import Any

from .formats import Format, Numbers, Type, Wrong, make_type

ROUNDINGS = (
    "floor", "ceil", "toward-zero", "away", "nearest-half-up", "nearest-half-down", "nearest-half-even",
    "nearest-half-away", "nearest-half-zero",
)  # fmt: skip
OVERFLOWS = ("wrap", "saturate", "saturate-symmetric")


@dataclass(frozen=True)
class Constant:
    type: Type
    numbers: Numbers


@dataclass(frozen=True)
class Table:
    """Entries of one table for each element."""

    key: Type
    type: Type
    entries: tuple[Numbers, ...]


@dataclass(frozen=True)
class Function:
    parameters: tuple[Type, ...]
    result: Type
    apply: Callable[[Sequence[Numbers]], Numbers]
    cycles: int  # from the parameters to the result
    depth: int  # how many functions call each other, one below the other


Symbol = Constant | Table | Function


@dataclass
class Use:
    """An operation at its place: the types of its operands, its symbols and attributes."""

    args: list[Type]
    symbols: list[Symbol] = field(default_factory=list)
    attributes: dict[str, Any] = field(default_factory=dict)
    written: Type | None = None

    def constant(self, index: int) -> Constant:
        found = self.symbols[index]
        assert isinstance(found, Constant)
        return found

    @property
    def table(self) -> Table:
        (found,) = self.symbols
        assert isinstance(found, Table)
        return found

    @property
    def function(self) -> Function:
        (found,) = self.symbols
        assert isinstance(found, Function)
        return found


@dataclass(frozen=True)
class Asked:
    """What an attribute may be. Without a default it must be given."""

    kind: str  # integer, rational, word
    many: bool = False
    words: tuple[str, ...] = ()
    default: Any = None


@dataclass(frozen=True)
class Operation:
    form: tuple[str, ...]  # value, values (one or more), any, and const, const?, table, func
    infer: Callable[[Use], Type]
    compute: Callable[[Use, Sequence[Numbers], Type], Numbers]
    attributes: dict[str, Asked] = field(default_factory=dict)
    stages: tuple[str, ...] = ("tensor", "scalar")
    typed: bool = False  # whether a type must be written


def must(condition: object, op: str, message: str) -> None:
    if not condition:
        raise Wrong(f"ops#{op}", message)


def common_shape(args: Sequence[Type]) -> tuple[int, ...]:
    """The shape of operands that work element by element: scalars count for each element of tensors."""
    shapes = {a.shape for a in args if a.shape}
    if len(shapes) > 1:
        raise Wrong("text#statements", "shapes differ")
    return shapes.pop() if shapes else ()


def spread(kind: Type, index: int) -> Format:
    return kind.formats[0 if kind.scalar else index]


def elementwise(
    rule: Callable[[Use, Sequence[Format]], Format],
    value: Callable[[Use, Sequence[Format], Sequence[Fraction]], Fraction],
) -> tuple[Callable[[Use], Type], Callable[[Use, Sequence[Numbers], Type], Numbers]]:
    """Inference and meaning of an operation from those for one element of each operand."""

    def infer(use: Use) -> Type:
        shape = common_shape(use.args)
        return make_type(
            shape, [rule(use, [spread(a, i) for a in use.args]) for i in range(math.prod(shape))]
        )

    def compute(use: Use, numbers: Sequence[Numbers], result: Type) -> Numbers:
        out = []
        for i in range(len(result.formats)):
            formats = [spread(a, i) for a in use.args]
            given = [n[0 if a.scalar else i] for a, n in zip(use.args, numbers, strict=True)]
            out.append(value(use, formats, given))
        return tuple(out)

    return infer, compute


def positions(shape: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """All indices of a tensor, row-major."""
    return product(*map(range, shape))


def flat(shape: Sequence[int], index: Sequence[int]) -> int:
    """The row-major position of an index."""
    at = 0
    for length, i in zip(shape, index, strict=True):
        at = at * length + i
    return at


def axis_of(axis: int, rank: int, op: str) -> int:
    must(-rank <= axis < rank, op, f"there is no dimension {axis}")
    return axis % rank
