"""What every operation is made of. One class per operation is its one row in the table.

A class states its keyword, the stages it is legal in, its operands and attributes (as dataclass fields), and how it is
typed (`infer`), computed (`eval`), bounded (`bounds`), priced (`luts`, `delay`) and built (`rtl`). The parser, the
printer, the verifier, the interpreter, the random generator and both HDLs read this row and nothing else.

Most operations are typed by one rule: the result has the steps of the exact result (`lsb`), and is the narrowest
format that holds the image (`bounds`) of the operands' formats. `eval` and `rtl` are written independently on
purpose: otherwise a simulation would compare a thing with itself.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import MISSING, dataclass, fields
from enum import Enum
from fractions import Fraction
from functools import cache
from itertools import groupby
from operator import attrgetter
from types import UnionType
from typing import TYPE_CHECKING, Any, ClassVar

from lutc import limits, numbers
from lutc.diagnostics import did_you_mean
from lutc.ir.graph import Bounds, Const, Func, OpMistake, Stage, Table, Value
from lutc.lazy import lazy
from lutc.limits import ADVICE, MAX_ALL_ELEMENTS, MAX_ELEMENTS, SMALLER
from lutc.synonyms import MODES, RENAMED_MODES
from lutc.types import Ints, Type

if TYPE_CHECKING:
    from lutc.rtl.builder import ModuleBuilder
    from lutc.rtl.nets import Net
    from lutc.target import Target

BOTH = frozenset(Stage)
TENSOR = frozenset({Stage.TENSOR})
SCALAR = frozenset({Stage.SCALAR})


@dataclass(frozen=True, eq=False, repr=False)
class Op(Value):
    """A value made by an operation.

    What an operation keeps beside its fields may depend on its attributes and its operands' types, not on the operands
    themselves; what follows from the graph below is a fact that says so (`lutc.ir.facts`).
    """

    keyword: ClassVar[str]
    stages: ClassVar[frozenset[Stage]] = BOTH
    # Whether the operands' formats are part of the meaning: the same number in another format means something else.
    strict: ClassVar[bool] = False
    # Whether it works element by element on operands of one shape: text and builder then spread a scalar among them.
    elementwise: ClassVar[bool] = False

    @lazy
    def operands(self) -> tuple[Value, ...]:
        return _reader(type(self))(self)  # type: ignore[arg-type]  # as `spec`

    @lazy
    def attributes(self) -> Attributes | None:
        """All attributes as one thing to compare; None if this kind of operation has none."""
        names = spec(type(self)).plain
        return Attributes(tuple(getattr(self, n) for n in names)) if names else None

    # -- meaning ------------------------------------------------------------------------------------------------

    def lsb(self) -> Ints:
        """The bits after the point of the exact result, from the operands' types."""
        return numbers.finest([v.type for v in self.operands])

    def bounds(self, *operands: Bounds) -> Bounds:
        """The smallest and largest code (at `lsb`) of the result, from those of the operands."""
        raise NotImplementedError(self.keyword)

    def infer(self) -> Type:
        """The narrowest type that holds every result."""
        shape, lsb = same_shape(self.operands), self.lsb()
        lo, hi = self.bounds(*(v.type.ranges for v in self.operands))
        return numbers.narrowest(shape, lo, hi, lsb)

    def eval(self, *operands: Ints) -> Ints:
        """The result's codes, from the operands': arrays of shape `(batch, *type.shape)`, exact integers."""
        raise NotImplementedError(self.keyword)

    def unclear(self) -> tuple[tuple[str, str], ...]:
        """Attributes with a default that decide a number here, and why: whoever writes the operation says them."""
        return ()

    def operations(self) -> int:
        """One for each element; of the operations that do more, or nothing, their own count."""
        return max((v.type.size for v in self.operands), default=1)

    def work_bits(self) -> int:
        """How wide an integer `eval` may meet on its way; it decides between int64 and Python integers."""
        return max(self.type.max_width, *(v.type.max_width for v in self.operands), 0)

    # -- hardware -----------------------------------------------------------------------------------------------

    def luts(self, target: Target) -> float:
        """The LUTs a scalar of this operation takes, estimated."""
        return 0.0

    def dsps(self, target: Target) -> int:
        """The DSP blocks a scalar of this operation takes."""
        return 0

    def delay(self, target: Target) -> float:
        """Nanoseconds from the last input to the last output bit of a scalar, estimated; 0 for mere wires."""
        return 0.0

    def rtl(self, build: ModuleBuilder, *operands: Net) -> Net:
        """The circuit of a scalar. The result has `type`'s width and signedness."""
        raise NotImplementedError(self.keyword)


class Attributes:
    """The values of an operation's attributes. Hashing fractions takes long: it is done once."""

    __slots__ = ("_hash", "values")

    def __init__(self, values: tuple[Any, ...]) -> None:
        self.values = values
        self._hash = hash(values)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Attributes) and self.values == other.values


@dataclass(frozen=True)
class Attribute:
    """An attribute: its name, what it is (see `kinds`), and its default (`MISSING` if it must be given)."""

    name: str
    kind: Any
    default: Any

    @property
    def required(self) -> bool:
        return self.default is MISSING


@dataclass(frozen=True)
class Spec:
    """An operation's row as the text sees it.

    `operands` are `(field, is it a list)`; `symbols` are `(field, class)` of constants, tables and functions, and
    `optional` the fields of those that may be left out; `typed` says that the type must be written, because operands
    do not imply it.
    """

    operands: tuple[tuple[str, bool], ...]
    symbols: tuple[tuple[str, type], ...]
    optional: frozenset[str]
    attributes: tuple[Attribute, ...]
    typed: bool

    @lazy
    def plain(self) -> tuple[str, ...]:
        """The fields of the attributes and of a type that is written."""
        return (*(a.name for a in self.attributes), *(("to",) if self.typed else ()))


SYMBOLS: tuple[type, ...] = (Const, Table, Func)


def spec(op: type[Value]) -> Spec:
    """An operation's row, read off its dataclass fields."""
    return _spec(op)  # type: ignore[arg-type]  # mypy holds that a class with __hash__ is not hashable itself


@cache
def _spec(op: type[Value]) -> Spec:
    hints = typing.get_type_hints(op)
    operands, symbols, optional, attributes, typed = [], [], set(), [], False
    for f in fields(op):
        kind = hints[f.name]
        if f.name in ("name", "origin", "span", "type"):
            continue
        if kind is Value:
            operands.append((f.name, False))
        elif kind == tuple[Value, ...]:
            operands.append((f.name, True))
        elif symbol := next((s for s in SYMBOLS if kind in (s, s | None)), None):
            symbols.append((f.name, symbol))
            optional |= {f.name} if kind != symbol else set()
        elif f.name == "to":
            typed = True
        else:
            attributes.append(Attribute(f.name, kind, f.default))
    return Spec(tuple(operands), tuple(symbols), frozenset(optional), tuple(attributes), typed)


@cache
def _reader(op: type[Op]) -> Callable[[Op], tuple[Value, ...]]:
    """What gets an operation's operands."""
    row = spec(op).operands
    names = [name for name, _ in row]
    if any(many for _, many in row):
        return lambda op: tuple(v for n, many in row for v in (getattr(op, n) if many else (getattr(op, n),)))
    if len(names) > 1:
        return attrgetter(*names)
    return lambda op: tuple(getattr(op, n) for n in names)


def spell(name: str) -> str:
    """A field's name as the text writes it: `round` stays, `by_` loses the underscore Python forced on it."""
    return name.rstrip("_")


def attributes_of(op: Op) -> list[tuple[Attribute, Any]]:
    """The attributes as the text shows them: those that are not at their default, or would be unclear without."""
    row = spec(type(op))
    said = {name for name, _ in op.unclear()}
    return [(a, v) for a in row.attributes if (v := getattr(op, a.name)) != a.default or a.name in said]


# -- attributes as text ---------------------------------------------------------------------------------------------


def decode(kind: Any, raw: Any) -> Any:
    """An attribute read from text: `raw` is a Fraction, a word or a list of them. Raises OpMistake."""
    if isinstance(kind, UnionType):
        kind = next(k for k in typing.get_args(kind) if k is not type(None))
    if typing.get_origin(kind) is tuple:
        inner = typing.get_args(kind)[0]
        if not isinstance(raw, list):
            raw = [raw]
        return tuple(decode(inner, r) for r in raw)
    if isinstance(raw, list):
        raise OpMistake(f"expects {_described(kind)}, not a list")
    if isinstance(kind, type) and issubclass(kind, Enum):
        words = [e.value for e in kind]
        raw = RENAMED_MODES.get(raw, raw) if isinstance(raw, str) else raw
        if raw in words:
            return kind(raw)
        raise OpMistake(f"has no choice {encode(raw)}", _choices(str(raw), words))
    if kind is bool and raw in ("true", "false"):
        return raw == "true"
    if kind is Fraction and isinstance(raw, Fraction):
        return raw
    if kind is int and isinstance(raw, Fraction) and raw.denominator == 1:
        return raw.numerator
    raise OpMistake(f"expects {_described(kind)}, not {encode(raw)}")


def _choices(word: str, words: Sequence[str]) -> str:
    """What a word that is none of the choices may have meant, and all of them."""
    known = {other: mine for other, mine in MODES.items() if mine.split()[0] in words}
    guess, listed = did_you_mean(word, words, known), f"one of: {', '.join(words)}"
    return listed if guess is None or guess == listed else f"{guess.rstrip('?')}; {listed}"


def encode(value: Any) -> str:
    """An attribute as text; `decode` reads it back."""
    if isinstance(value, tuple):
        return "[" + ", ".join(repeats(list(map(encode, value)))) + "]"
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Fraction):
        return number(value)
    return str(value)


RUN = 4  # so many equal words of a list are written as one with a count


def repeats(words: Sequence[str]) -> Iterator[str]:
    """Words of a list, long runs of equal ones as `word*count`; a nested list is never counted."""
    for word, run in groupby(words):
        count = len(list(run))
        if count < RUN or word.startswith("["):
            yield from [word] * count
        else:
            yield f"{word}*{count}"


def number(value: Fraction) -> str:
    """A number as the text writes it: a decimal where that is exact and short, else a quotient."""
    if value.denominator == 1:
        return str(value.numerator)
    places = value.denominator.bit_length() - 1
    if numbers.dyadic(value) and places <= 40:
        # 1/2**n has exactly n decimal places
        digits = str(abs(value.numerator) * 5**places).rjust(places + 1, "0")
        return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:].rstrip('0')}"
    return f"{value.numerator}/{value.denominator}"


def _described(kind: Any) -> str:
    return {int: "an integer", Fraction: "a number", bool: "true or false"}.get(kind, "a word")


# -- checks that many operations share ----------------------------------------------------------------------------


def same_shape(operands: tuple[Value, ...]) -> tuple[int, ...]:
    """The shape all operands share. Raises OpMistake if they do not."""
    need(bool(operands), "needs at least one operand", "name the values it works on")
    shapes = [v.type.shape for v in operands]
    for shape in shapes[1:]:
        if shape != shapes[0]:
            raise OpMistake(
                f"needs operands of one shape, but has {' and '.join(str(list(s)) for s in shapes)}",
                "spread the smaller one first: %b = broadcast %a, shape=[...]",
            )
    return shapes[0]


def sized(elements: int, operations: int = 0) -> None:
    """Raise OpMistake, before the work, if a result has more elements or makes more operations than a design may."""
    need(
        elements <= MAX_ELEMENTS,
        f"makes a tensor of {elements:,} elements, and {MAX_ELEMENTS:,} are the most",
        SMALLER,
    )
    most = limits.operations()
    need(
        operations <= most,
        f"makes {operations:,} operations on scalars, and {most:,} are the most that a design may have",
        ADVICE,
    )


class Budget:
    """Counts what a design's values come to while it is made."""

    def __init__(self) -> None:
        self._elements = self._operations = 0
        self.over = False  # it has been said that this is too much

    def room(self, operations: int) -> None:
        """Raise OpMistake if there is no room for so many more operations."""
        total, most = self._operations + operations, limits.operations()
        need(
            total <= most,
            f"brings the design to {total:,} operations on scalars, and {most:,} are the most",
            ADVICE,
        )

    def spend(self, value: Value) -> None:
        """Count a value. Raises OpMistake where it is one too many."""
        self.over = True
        more = value.operations()
        self.room(more)
        self._operations += more
        self._elements += value.type.size
        need(
            self._elements <= MAX_ALL_ELEMENTS,
            f"brings the design's tensors to {self._elements:,} elements, and {MAX_ALL_ELEMENTS:,} are the most",
            SMALLER,
        )
        self.over = False


def need(condition: bool, message: str, help: str | None = None) -> None:
    """Raise OpMistake with `message` unless the condition holds."""
    if not condition:
        raise OpMistake(message, help)
