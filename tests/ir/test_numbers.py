"""Exact arithmetic on ints and arrays, against definitions in rational numbers."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor
from typing import Any

import numpy as np
import pytest

from lutc.numbers import (
    SAFE_BITS,
    align,
    as_code,
    bounded,
    divide,
    dtype,
    dyadic,
    finest,
    narrowest,
    overflow,
    power_of_two,
    quantised,
    real,
    rounded,
    rounded_quotients,
    signed_digits,
    trailing_zeros,
    twos,
)
from lutc.types import ZERO, Fixed, Overflow, Rounding, holding, scalar, tensor, uniform

HALF = Fraction(1, 2)

# What the modes are called, said in another way than the code does.
NEAREST: dict[Rounding, Callable[[Fraction, int, int], int]] = {
    Rounding.HALF_UP: lambda v, lower, upper: upper,
    Rounding.HALF_DOWN: lambda v, lower, upper: lower,
    Rounding.HALF_EVEN: lambda v, lower, upper: lower if lower % 2 == 0 else upper,
    Rounding.HALF_AWAY: lambda v, lower, upper: max(lower, upper, key=abs),
    Rounding.HALF_ZERO: lambda v, lower, upper: min(lower, upper, key=abs),
}
DIRECTED: dict[Rounding, Callable[[Fraction], int]] = {
    Rounding.FLOOR: floor,
    Rounding.CEIL: ceil,
    Rounding.TOWARD_ZERO: int,
    Rounding.AWAY: lambda v: ceil(v) if v > 0 else floor(v),
}


def expected(value: Fraction, mode: Rounding) -> int:
    if mode in DIRECTED:
        return DIRECTED[mode](value)
    lower, upper = floor(value), ceil(value)
    if value - lower == upper - value and lower != upper:
        return NEAREST[mode](value, lower, upper)
    return lower if value - lower < upper - value else upper


@pytest.mark.parametrize("mode", Rounding)
def test_rounded_is_what_the_mode_says(mode: Rounding) -> None:
    for denominator in (1, 2, 3, 4, 7, 8):
        for numerator in range(-40, 41):
            value = Fraction(numerator, denominator)
            assert rounded(value, mode) == expected(value, mode), value


CODES = [*range(-40, 41), -(1 << 40), (1 << 40) - 1, (1 << 61) - 1, -(1 << 61)]
WIDE = [c + d for c in (1 << 62, -(1 << 63), 1 << 100, -(1 << 130)) for d in range(-9, 10)]
SHIFTS = range(-4, 8)


@pytest.mark.parametrize("mode", Rounding)
def test_divide(mode: Rounding) -> None:
    """One rule for ints, int64 and Python integers, one shift or one for each element."""
    for shift in SHIFTS:
        want = [rounded(Fraction(c) / Fraction(2) ** shift, mode) for c in CODES + WIDE]
        assert [divide(c, shift, mode) for c in CODES + WIDE] == want
        assert divide(np.array(CODES + WIDE, dtype=object), shift, mode).tolist() == want
        small = CODES[:81]  # a shift to the left may leave 64 bits; `Quant.work_bits` sees to that
        assert divide(np.array(small), shift, mode).tolist() == want[:81]
    every = np.array(SHIFTS)
    want_rows = [[rounded(Fraction(c) / Fraction(2) ** int(s), mode) for s in every] for c in CODES + WIDE]
    for kind, count in ((np.int64, 81), (object, len(want_rows))):
        rows = np.array(CODES + WIDE, dtype=object)[:count, None].astype(kind)
        assert divide(rows, every, mode).tolist() == want_rows[:count]
        assert divide(int(rows[5, 0]), every, mode).tolist() == want_rows[5]


@pytest.mark.parametrize("mode", Rounding)
def test_divide_by_more_than_there_is(mode: Rounding) -> None:
    for shift in (30, 62, 63, 64, 200):
        want = [rounded(Fraction(c, 1 << shift), mode) for c in CODES]
        assert divide(np.array(CODES, dtype=object), shift, mode).tolist() == want
        assert divide(np.array(CODES, dtype=object), np.full(len(CODES), shift), mode).tolist() == want


FORMATS = [Fixed(s, w, f) for s in (False, True) for w in (1, 2, 3, 5, 61, 62, 63, 64, 70) for f in (0, 3)]
FORMATS += [ZERO]


@pytest.mark.parametrize("mode", Overflow)
def test_overflow(mode: Overflow) -> None:
    codes = CODES + WIDE
    for fmt in FORMATS:
        want = [bounded(c, fmt, mode) for c in codes]
        span = 1 << fmt.width
        for code, answer in zip(codes, want, strict=True):
            assert fmt.lo <= answer <= fmt.hi
            match mode:
                case Overflow.WRAP:
                    assert (answer - code) % span == 0
                case Overflow.SATURATE:
                    assert abs(answer - code) == min(abs(n - code) for n in (fmt.lo, fmt.hi, answer))
                    assert answer == code or not fmt.lo <= code <= fmt.hi
                case Overflow.SATURATE_SYMMETRIC:
                    assert not fmt.signed or fmt.width == 1 or abs(answer) <= fmt.hi
                    assert answer == code or not max(fmt.lo, -fmt.hi) <= code <= fmt.hi
        assert overflow(np.array(codes, dtype=object), scalar(fmt), mode).tolist() == want
        assert overflow(codes[3], scalar(fmt), mode) == want[3]
        if fmt.width <= SAFE_BITS:
            assert overflow(np.array(CODES), scalar(fmt), mode).tolist() == want[: len(CODES)]
    for widest in (70, SAFE_BITS):
        row = [f for f in FORMATS if f.width <= widest]
        kind = tensor((len(row),), row)
        want_rows = [[bounded(c, f, mode) for f in row] for c in CODES]
        got = overflow(np.array(CODES, dtype=dtype(widest))[:, None], kind, mode)
        assert got.tolist() == want_rows


def test_quantised() -> None:
    fmt = Fixed(True, 4, 1)
    assert quantised(Fraction(7, 4), fmt, Rounding.HALF_EVEN, Overflow.SATURATE) == 4  # 2
    assert quantised(Fraction(5, 4), fmt, Rounding.HALF_EVEN, Overflow.SATURATE) == 2  # 1
    assert quantised(Fraction(9), fmt, Rounding.FLOOR, Overflow.SATURATE) == 7
    assert quantised(Fraction(9), fmt, Rounding.FLOOR, Overflow.WRAP) == 2
    assert quantised(Fraction(-9), fmt, Rounding.FLOOR, Overflow.SATURATE_SYMMETRIC) == -7


def test_signed_digits_are_few_and_right() -> None:
    fewest = {0: 0}  # the fewest signed powers of two, by trying sums of them
    for count in range(1, 6):
        for number in [n for n, c in fewest.items() if c == count - 1]:
            for power in range(9):
                for sign in (1, -1):
                    fewest.setdefault(number + sign * (1 << power), count)
    for number in range(-200, 201):
        digits = signed_digits(number)
        assert sum(sign << shift for shift, sign in digits) == number
        shifts = [shift for shift, _ in digits]
        assert all(b - a > 1 for a, b in pairwise(shifts))
        assert len(digits) == fewest[number]
    assert sum(s << d for d, s in signed_digits(-(1 << 90) + 12345)) == -(1 << 90) + 12345


@pytest.mark.parametrize("kind", [np.int64, object])
@pytest.mark.parametrize("mode", list(Rounding))
def test_quotients_are_rounded_alike_all_at_once(mode: Rounding, kind: Any) -> None:
    for divisor in (1, 2, 3, 6, 8):
        numerators = np.arange(-20, 21).astype(kind)
        found = rounded_quotients(numerators, divisor, mode)
        assert found.tolist() == [rounded(Fraction(n, divisor), mode) for n in range(-20, 21)]


def test_powers_of_two() -> None:
    powers = {Fraction(2) ** n for n in range(-6, 7)}
    numbers = {Fraction(n, d) for n in range(-64, 65) for d in range(1, 65)}
    assert {v for v in numbers if power_of_two(v)} == powers
    assert {n for n in range(-70, 70) if power_of_two(n)} == {1, 2, 4, 8, 16, 32, 64}
    assert power_of_two(1 << 200) and not power_of_two((1 << 200) + 1)
    assert {v for v in numbers if dyadic(v)} == {v for v in numbers if (v * 64).denominator == 1}


def test_trailing_zeros() -> None:
    assert [trailing_zeros(n) for n in (0, 1, -1, 6, -8, 7 << 90)] == [0, 0, 0, 1, 3, 90]


def test_twos() -> None:
    for value, frac in ((1, 0), (6, -1), (Fraction(3, 8), 3), (-4, -2), (0, 0), (Fraction(1, 1 << 80), 80)):
        assert twos(Fraction(value)) == frac
        code = as_code(Fraction(value), frac)
        assert code * Fraction(2) ** -frac == value and (code % 2 or not value)
    with pytest.raises(ValueError, match="no sum of powers of two"):
        twos(Fraction(1, 3))


def test_holding_is_the_narrowest() -> None:
    def holds(fmt: Fixed, lo: int, hi: int) -> bool:
        return fmt.lo <= lo and hi <= fmt.hi

    for lo in range(-20, 21):
        for hi in range(lo, 21):
            fmt = holding(lo, hi, 2)
            assert holds(fmt, lo, hi)
            assert fmt.signed == (lo < 0) and fmt.frac == (2 if lo or hi else 0)
            assert not fmt.width or not holds(Fixed(fmt.signed, fmt.width - 1, 2), lo, hi)


def test_narrowest_by_element() -> None:
    lo, hi = np.array([0, -3, 0, -8], dtype=object), np.array([0, 3, 9, -5], dtype=object)
    kind = narrowest((2, 2), lo.reshape(2, 2), hi.reshape(2, 2), 1)
    assert kind == tensor((2, 2), [ZERO, Fixed(True, 3, 1), Fixed(False, 4, 1), Fixed(True, 4, 1)])
    assert narrowest((3,), 0, 7, 0) == uniform((3,), Fixed(False, 3))
    big = narrowest((2,), np.array([0, -(1 << 99)], dtype=object), 1 << 70, np.array([0, 5]))
    assert big == tensor((2,), [Fixed(False, 71), Fixed(True, 100, 5)])


def test_finest_ignores_elements_without_bits() -> None:
    a = tensor((3,), [Fixed(True, 4, 1), ZERO, ZERO])
    b = tensor((3,), [Fixed(True, 4, 3), Fixed(True, 4, -2), ZERO])
    assert np.asarray(finest([a, b])).tolist() == [3, -2, 0]
    assert finest([uniform((2,), Fixed(True, 4, -2)), uniform((2,), Fixed(True, 5, -3))]) == -2
    assert finest([scalar(ZERO), scalar(Fixed(True, 5, -3))]) == -3
    assert finest([scalar(ZERO)]) == 0


def test_align_is_exact_beyond_64_bits() -> None:
    assert align(3, 1, 70) == 3 << 69
    assert align(3, 1, np.array([1, 70])).tolist() == [3, 3 << 69]
    assert align(np.array([3, -5]), 0, 2).tolist() == [12, -20]
    assert align(0, 5, 2) == 0  # only a number without bits may be asked to lose some


@pytest.mark.parametrize(("width", "kind"), [(53, np.float64), (54, object)])
def test_real_is_exact(width: int, kind: Any) -> None:
    fmt = Fixed(True, width, 60)
    codes = np.array([fmt.lo, fmt.hi, 1, -1, 0], dtype=object)
    answers = real(codes, scalar(fmt))
    assert answers.dtype == kind
    assert [Fraction(a) for a in answers.tolist()] == [fmt.value(int(c)) for c in codes]


def test_dtype_is_chosen_by_width() -> None:
    assert dtype() is np.int64 and dtype(3, SAFE_BITS) is np.int64 and dtype(3, SAFE_BITS + 1) is object
