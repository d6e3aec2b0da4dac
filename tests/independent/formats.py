"""Formats, types, and the arithmetic of both (ir_spec/types.md, ir_spec/typing.md)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

MOST_BITS = 4096
MOST_AFTER_POINT = 8192
MOST_KEY_BITS = 20
MOST_DIMENSIONS = 16
MOST_ELEMENTS = 16_777_216

Numbers = tuple[Fraction, ...]
"""The numbers of a value, row-major. A scalar has one."""


class Wrong(Exception):
    """What is said breaks a rule. Whoever knows the line makes a `Problem` of it."""

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule = rule


@dataclass(frozen=True)
class Problem:
    line: int
    rule: str
    message: str


def power(exponent: int) -> Fraction:
    """2 to an exponent of either sign."""
    return Fraction(2) ** exponent


@dataclass(frozen=True)
class Format:
    signed: bool
    bits: int
    frac: int

    def __str__(self) -> str:
        return f"{'s' if self.signed else 'u'}{self.bits}" + (f"f{self.frac}" if self.frac else "")

    @property
    def low_code(self) -> int:
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def high_code(self) -> int:
        return (1 << (self.bits - 1 if self.signed else self.bits)) - 1

    @property
    def low(self) -> Fraction:
        return self.low_code * power(-self.frac)

    @property
    def high(self) -> Fraction:
        return self.high_code * power(-self.frac)

    def holds(self, number: Fraction) -> bool:
        return self.low <= number <= self.high and (number * power(self.frac)).denominator == 1

    def pattern(self, number: Fraction) -> int:
        """The bits of a number, read as an unsigned one."""
        code = number * power(self.frac)
        assert code.denominator == 1
        return code.numerator % (1 << self.bits)

    def number(self, pattern: int) -> Fraction:
        """What a pattern of bits stands for."""
        code = pattern % (1 << self.bits)
        if code > self.high_code:
            code -= 1 << self.bits
        return code * power(-self.frac)


def make_format(signed: bool, bits: int, frac: int) -> Format:
    """A format within the limits; one without bits has one spelling."""
    if bits > MOST_BITS or abs(frac) > MOST_AFTER_POINT:
        raise Wrong("types#formats", f"a format of {bits} bits, {frac} after the point, is beyond the limits")
    return Format(signed, bits, frac) if bits else ZERO


ZERO = Format(False, 0, 0)
BIT = Format(False, 1, 0)


def narrowest(lsb: int, low: Fraction, high: Fraction) -> Format:
    """The narrowest format with these steps that reaches from low to high (typing#the-rule)."""
    lo, hi = low * power(lsb), high * power(lsb)
    assert lo.denominator == 1 and hi.denominator == 1 and lo <= hi
    if lo == hi == 0:
        return ZERO
    if lo >= 0:
        return make_format(False, hi.numerator.bit_length(), lsb)
    width = max((-lo.numerator - 1).bit_length(), max(hi.numerator, 0).bit_length()) + 1
    return make_format(True, width, lsb)


def trailing(number: Fraction) -> int:
    """The t of a number that is an odd one times 2**-t; it is dyadic and not 0."""
    assert dyadic(number) and number
    if number.denominator > 1:
        return number.denominator.bit_length() - 1
    whole = abs(number.numerator)
    return 1 - (whole & -whole).bit_length()


def dyadic(number: Fraction) -> bool:
    """Whether a number is a sum of powers of two."""
    return number.denominator & (number.denominator - 1) == 0


@dataclass(frozen=True)
class Type:
    shape: tuple[int, ...]
    formats: tuple[Format, ...]

    def __str__(self) -> str:
        inner = ", ".join(map(str, self.formats))
        if not self.shape:
            return inner
        return f"<{inner}>[{', '.join(map(str, self.shape))}]"

    @property
    def scalar(self) -> bool:
        return not self.shape


def make_type(shape: Iterable[int], formats: Iterable[Format]) -> Type:
    kind = Type(check_shape(tuple(shape)), tuple(formats))
    assert math.prod(kind.shape) == len(kind.formats)
    return kind


def check_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape within the limits."""
    if any(n < 0 for n in shape):
        raise Wrong("types#tensors", "a dimension is negative")
    if len(shape) > MOST_DIMENSIONS or math.prod(shape) > MOST_ELEMENTS:
        raise Wrong("structure#limits", f"{shape} is beyond the limits of a tensor")
    return shape


def uniform(shape: tuple[int, ...], kind: Format) -> Type:
    return make_type(shape, (kind,) * math.prod(check_shape(shape)))


def rounded(number: Fraction, mode: str) -> int:
    """A number brought to one of its two neighbours among the integers (meaning#rounding-and-overflow)."""
    lower = math.floor(number)
    if number == lower:
        return lower
    upper = lower + 1
    nearer_zero, farther = (lower, upper) if number > 0 else (upper, lower)
    even = lower if lower % 2 == 0 else upper
    direct = {"floor": lower, "ceil": upper, "toward-zero": nearer_zero, "away": farther}
    if mode in direct:
        return direct[mode]
    if number - lower != Fraction(1, 2):
        return lower if number - lower < Fraction(1, 2) else upper
    return {
        "nearest-half-up": upper,
        "nearest-half-down": lower,
        "nearest-half-even": even,
        "nearest-half-away": farther,
        "nearest-half-zero": nearer_zero,
    }[mode]


def into(number: Fraction, kind: Format, rounding: str, overflow: str) -> Fraction:
    """A number rounded to a format's steps, then brought into its range."""
    if not kind.bits:
        return Fraction(0)
    code = rounded(number * power(kind.frac), rounding)
    if overflow == "wrap":
        return kind.number(code)
    low = kind.low_code
    if overflow == "saturate-symmetric" and kind.signed:
        low += 1
    return max(low, min(code, kind.high_code)) * power(-kind.frac)
