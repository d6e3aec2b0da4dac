"""Types: exact fixed-point formats and tensors of them.

A format is written `s8f4`: signed, 8 bits in all, 4 of them after the binary point. The total is the width of the
wire, so nobody argues whether the sign counts. `u6` has no bits after the point; `u5f-2` counts in steps of four. A
value is `code * 2**-frac`, where `code` is the integer the wires carry (two's complement if signed). A format without
bits is the number 0 and is always written `u0`.

A tensor type is `s8f4[16]` or, with a format per element, `<s10f5*2, s9f5>[3]` (row-major, run-length coded).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from functools import lru_cache
from itertools import groupby
from typing import Any, Self

import numpy as np

from lutc.diagnostics import Diagnostic, LirError
from lutc.lazy import lazy
from lutc.limits import MAX_RANK, MAX_WIDTH

# An int, or an array of them (int64, or Python integers where 64 bits would not do). The rules of the operations are
# written once for both: ints where all elements agree, arrays that broadcast to the tensor's shape where they do not.
Ints = Any


class TooWide(LirError, ValueError):
    """A format that is none: a mistake of the user, whose numbers come to it, wherever it shows."""

    def __init__(self, message: str) -> None:
        super().__init__(Diagnostic(message, help="quant to fewer bits on the way there"))

    def __str__(self) -> str:
        return self.diagnostics[0].message


@dataclass(frozen=True, slots=True)
class Fixed:
    """A fixed-point format: `width` bits, the lowest of weight `2**-frac`, two's complement if `signed`.

    Raises TooWide, a ValueError, for a negative width or one above `MAX_WIDTH`, and for a point too far away.
    """

    signed: bool
    width: int
    frac: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.width <= MAX_WIDTH:
            raise TooWide(f"a format has 0 to {MAX_WIDTH} bits, not {self.width}")
        if abs(self.frac) > 2 * MAX_WIDTH and self.width:
            raise TooWide(
                f"a point is at most {2 * MAX_WIDTH} places from a format's last bit, not {abs(self.frac)}"
            )
        if self.width == 0:  # one spelling for the number 0
            object.__setattr__(self, "signed", False)
            object.__setattr__(self, "frac", 0)

    @property
    def lo(self) -> int:
        """The smallest code."""
        return -(1 << (self.width - 1)) if self.signed else 0

    @property
    def hi(self) -> int:
        """The largest code."""
        return (1 << (self.width - self.signed)) - 1 if self.width else 0

    @property
    def step(self) -> Fraction:
        """The weight of the lowest bit."""
        return Fraction(1, 1 << self.frac) if self.frac >= 0 else Fraction(1 << -self.frac)

    def value(self, code: int) -> Fraction:
        """The real number a code stands for."""
        return code * self.step

    def holds(self, value: Fraction) -> bool:
        """Whether `value` is one of the format's numbers."""
        code = value / self.step
        return code.denominator == 1 and self.lo <= code.numerator <= self.hi

    def __str__(self) -> str:
        return f"{'s' if self.signed else 'u'}{self.width}" + (f"f{self.frac}" if self.frac else "")


ZERO = Fixed(False, 0)
BIT = Fixed(False, 1)


@lru_cache(maxsize=65536)
def holding(lo: int, hi: int, frac: int) -> Fixed:
    """The narrowest format with steps of `2**-frac` that holds every code in `[lo, hi]`; unsigned if it can be."""
    if lo == hi == 0:
        return ZERO
    if lo >= 0:
        return Fixed(False, hi.bit_length(), frac)
    return Fixed(True, max((-lo - 1).bit_length(), max(hi, 0).bit_length()) + 1, frac)


@dataclass(frozen=True)
class Type:
    """A tensor's type: its shape and its elements' formats, as `(count, format)` runs in row-major order.

    A scalar has shape `()`. Raises ValueError if the runs do not fill the shape.
    """

    shape: tuple[int, ...]
    runs: tuple[tuple[int, Fixed], ...]

    def __post_init__(self) -> None:
        if len(self.shape) > MAX_RANK:
            raise ValueError(f"a tensor has up to {MAX_RANK} dimensions, not {len(self.shape)}")
        if sum(n for n, _ in self.runs) != math.prod(self.shape):
            raise ValueError(f"{sum(n for n, _ in self.runs)} formats do not fill shape {list(self.shape)}")

    def __eq__(self, other: object) -> bool:
        if self is other:  # most types that are compared are one object: see `scalar`
            return True
        return isinstance(other, Type) and self.shape == other.shape and self.runs == other.runs

    def __hash__(self) -> int:
        return self._hash

    @lazy
    def _hash(self) -> int:
        return hash((self.shape, self.runs))

    @lazy
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def format(self) -> Fixed | None:
        """The format all elements share, or None if they differ (or there are none)."""
        return self.runs[0][1] if len(self.runs) == 1 else None

    @lazy
    def scalar(self) -> Fixed:
        """The format of a scalar. Raises ValueError for a tensor."""
        if self.shape:
            raise ValueError(f"{self} is a tensor")
        return self.runs[0][1]

    @lazy
    def formats(self) -> tuple[Fixed, ...]:
        """Every element's format, row-major."""
        return tuple(f for n, f in self.runs for _ in range(n))

    @lazy
    def fracs(self) -> Ints:
        """The elements' bits after the point: one int if all agree, else an array of the tensor's shape."""
        return self._spread([f.frac for _, f in self.runs], np.int64)

    @lazy
    def widths(self) -> Ints:
        """The elements' widths in bits, as `fracs`."""
        return self._spread([f.width for _, f in self.runs], np.int64)

    @lazy
    def ranges(self) -> tuple[Ints, Ints]:
        """The elements' smallest and largest codes: ints if all agree, else arrays of Python integers."""
        lo = self._spread([f.lo for _, f in self.runs], object)
        hi = self._spread([f.hi for _, f in self.runs], object)
        return lo, hi

    def _spread(self, per_run: Sequence[int], dtype: Any) -> Ints:
        if len(self.runs) <= 1:
            return per_run[0] if per_run else 0
        counts = [n for n, _ in self.runs]
        return np.repeat(np.array(per_run, dtype=dtype), counts).reshape(self.shape)

    @lazy
    def bits(self) -> int:
        """The width of all elements side by side."""
        return sum(n * f.width for n, f in self.runs)

    @lazy
    def max_width(self) -> int:
        return max((f.width for _, f in self.runs), default=0)

    def __str__(self) -> str:
        if not self.shape:
            return str(self.runs[0][1])
        dims = "[" + ", ".join(map(str, self.shape)) + "]"
        if len(self.runs) == 1:
            return f"{self.runs[0][1]}{dims}"
        return "<" + ", ".join(f"{f}*{n}" if n > 1 else str(f) for n, f in self.runs) + ">" + dims


def _runs(formats: Iterable[Fixed]) -> Iterator[tuple[int, Fixed]]:
    for fmt, group in groupby(formats):
        yield sum(1 for _ in group), fmt


@lru_cache(maxsize=65536)
def scalar(fmt: Fixed) -> Type:
    """The type of a scalar."""
    return Type((), ((1, fmt),))


def uniform(shape: Sequence[int], fmt: Fixed) -> Type:
    """A tensor whose elements share one format."""
    if not shape:
        return scalar(fmt)
    n = math.prod(shape)
    return Type(tuple(shape), ((n, fmt),) if n else ())


def tensor(shape: Sequence[int], formats: Iterable[Fixed]) -> Type:
    """A tensor with a format per element, row-major."""
    return Type(tuple(shape), tuple(_runs(formats)))


class Choice(Enum):
    """Words of an attribute, each with what it means."""

    _value_: str
    about: str

    def __new__(
        cls, word: Any, about: str = ""
    ) -> Self:  # Choice(word) finds the one, which mypy takes for this
        made = object.__new__(cls)
        made._value_, made.about = word, about
        return made


class Rounding(Choice):
    """How `quant` picks one of the two neighbours of a number that lies between two steps."""

    FLOOR = "floor", "the lower neighbour"
    CEIL = "ceil", "the upper neighbour"
    TOWARD_ZERO = "toward-zero", "the neighbour nearer to 0"
    AWAY = "away", "the neighbour farther from 0"
    HALF_UP = "nearest-half-up", "the nearest; of two, the upper"
    HALF_DOWN = "nearest-half-down", "the nearest; of two, the lower"
    HALF_EVEN = "nearest-half-even", "the nearest; of two, the even one"
    HALF_AWAY = "nearest-half-away", "the nearest; of two, the one farther from 0"
    HALF_ZERO = "nearest-half-zero", "the nearest; of two, the one nearer to 0"


class Overflow(Choice):
    """What `quant` does with a number outside the format's range."""

    WRAP = "wrap", "loses its high bits"
    SATURATE = "saturate", "becomes the nearer end of the range"
    SATURATE_SYMMETRIC = (
        "saturate-symmetric",
        "the same, and the smallest code of a signed format is left out",
    )
