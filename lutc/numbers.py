"""Exact integer arithmetic, written once for single ints, arrays of types and batches of values.

Codes are int64 where every number involved fits, and Python integers in an object array where one might not. The
choice is made from widths, never from data, so there is no silent overflow.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from lutc.types import Fixed, Ints, Overflow, Rounding, Type, holding, tensor, uniform

_LEAST, _MOST = 53 - 1024, 1074  # bits after the point with which any code of 53 bits is a float64 number
SAFE_BITS = 62  # an int64 holds any code of this width, its negative, and the sum of two


def dtype(*widths: int) -> Any:
    """int64 if codes of all these widths fit in it with room to spare, else object (Python integers)."""
    return np.int64 if max(widths, default=0) <= SAFE_BITS else object


def least(a: Ints, b: Ints) -> Ints:
    return min(a, b) if isinstance(a, int) and isinstance(b, int) else np.minimum(a, b)


def greatest(a: Ints, b: Ints) -> Ints:
    return max(a, b) if isinstance(a, int) and isinstance(b, int) else np.maximum(a, b)


def finest(types: Sequence[Type]) -> Ints:
    """The most bits after the point among the types, element by element; elements without bits do not count."""
    if not any(t.shape for t in types):  # the usual case, and the plain one
        return max([t.scalar.frac for t in types if t.scalar.width], default=0)
    return finest_of([(t.fracs, t.widths) for t in types])


def finest_of(pairs: Sequence[tuple[Ints, Ints]]) -> Ints:
    """`finest` of `(bits after the point, width)` pairs."""
    coarse = -(1 << 40)  # below any real frac
    result: Ints = coarse
    for frac, width in pairs:
        if isinstance(width, int):
            frac = frac if width else coarse
        else:
            frac = np.where(width > 0, frac, coarse)
        result = greatest(result, frac)
    if isinstance(result, int):
        return 0 if result == coarse else result
    return np.where(result == coarse, 0, result)


def align(codes: Ints, source: Ints, target: Ints) -> Ints:
    """Codes with `source` bits after the point, rewritten with `target` bits, which must not be fewer.

    Elements without bits are 0 at any alignment, so a negative shift is taken as none.
    """
    return exact(codes, target) << greatest(target - source, 0)


def aligned_bits(types: Sequence[Type]) -> int:
    """The widest code when all elements of all types are written with the finest steps among them."""
    runs = [f for t in types for _, f in t.runs if f.width]
    return max((f.width - f.frac for f in runs), default=0) + max((f.frac for f in runs), default=0)


def exact(codes: Ints, other: Ints) -> Ints:
    """Codes that are safe to combine with the array `other`: a lone int would be squeezed into 64 bits by numpy."""
    if isinstance(codes, int) and not isinstance(other, int):
        return np.asarray(codes, dtype=object)
    return codes


def narrowest(shape: Sequence[int], lo: Ints, hi: Ints, frac: Ints) -> Type:
    """The type whose elements are the narrowest formats holding the codes `[lo, hi]` at `frac`."""
    if type(lo) is type(hi) is type(frac) is int:
        return uniform(shape, holding(lo, hi, frac))
    if all(isinstance(x, int | np.integer) for x in (lo, hi, frac)):
        return uniform(shape, holding(int(lo), int(hi), int(frac)))
    columns = [np.broadcast_to(np.asarray(x, dtype=object), shape).ravel().tolist() for x in (lo, hi, frac)]
    return tensor(shape, [holding(int(a), int(b), int(f)) for a, b, f in zip(*columns, strict=True)])


def divide(codes: Ints, shift: Ints, rounding: Rounding) -> Ints:
    """`codes / 2**shift` rounded to an integer. A negative shift multiplies, exactly."""
    if type(codes) is type(shift) is int:
        if shift <= 0:
            return codes << -shift
        if rounding is Rounding.FLOOR:
            return codes >> shift
        if rounding is Rounding.HALF_UP:
            return (codes + (1 << shift - 1)) >> shift
    down = greatest(shift, 0)
    codes = exact(codes, shift) << greatest(-shift, 0)
    one = exact(1, shift) if getattr(codes, "dtype", np.dtype(object)).hasobject else 1
    rest = (one << down) - 1  # all bits below the new lowest one
    half = (one << down) >> 1
    negative = codes < 0
    match rounding:
        case Rounding.FLOOR:
            return codes >> down
        case Rounding.CEIL:
            return (codes + rest) >> down
        case Rounding.TOWARD_ZERO:
            return (codes + _where(negative, rest, 0)) >> down
        case Rounding.AWAY:
            return (codes + _where(negative, 0, rest)) >> down
        case Rounding.HALF_UP:
            return (codes + half) >> down
        case Rounding.HALF_DOWN:
            return (codes + greatest(half - 1, 0)) >> down
        case Rounding.HALF_EVEN:
            odd = (codes >> down) & 1
            return (codes + _where(down > 0, half - 1 + odd, 0)) >> down
        case Rounding.HALF_AWAY:
            return (codes + _where(negative, greatest(half - 1, 0), half)) >> down
        case Rounding.HALF_ZERO:
            return (codes + _where(negative, half, greatest(half - 1, 0))) >> down


def _where(condition: Any, yes: Ints, no: Ints) -> Ints:
    if isinstance(condition, bool):
        return yes if condition else no
    wide = any(isinstance(x, int) and x.bit_length() > SAFE_BITS for x in (yes, no))
    return np.where(condition, *(np.asarray(x, dtype=object) if wide else x for x in (yes, no)))


def overflow(codes: Ints, to: Type, mode: Overflow) -> Ints:
    """Bring codes into the range of `to`, by dropping high bits or by stopping at the ends."""
    lo, hi = to.ranges
    if mode is Overflow.WRAP:
        wide = to.max_width > SAFE_BITS
        span = hi - lo + 1 if isinstance(hi, int) or wide else (hi - lo + 1).astype(np.int64)
        low = lo if isinstance(lo, int) or wide else lo.astype(np.int64)
        return ((codes - low) & (span - 1)) + low
    if mode is Overflow.SATURATE_SYMMETRIC:
        lo = greatest(lo, -hi)
    lo, hi = (x if isinstance(x, int) else x.astype(dtype(to.max_width)) for x in (lo, hi))
    return least(greatest(codes, lo), hi)


def rounded(value: Fraction, rounding: Rounding) -> int:
    """A rational number, rounded to an integer: the definition the other rules are tested against."""
    floor, rest = divmod(value.numerator, value.denominator)
    twice = 2 * rest - value.denominator  # the sign tells which neighbour is nearer
    match rounding:
        case Rounding.FLOOR:
            up = False
        case Rounding.CEIL:
            up = rest > 0
        case Rounding.TOWARD_ZERO:
            up = rest > 0 and value < 0
        case Rounding.AWAY:
            up = rest > 0 and value > 0
        case Rounding.HALF_UP:
            up = twice >= 0
        case Rounding.HALF_DOWN:
            up = twice > 0
        case Rounding.HALF_EVEN:
            up = twice > 0 or (twice == 0 and floor % 2 == 1)
        case Rounding.HALF_AWAY:
            up = twice > 0 or (twice == 0 and value > 0)
        case Rounding.HALF_ZERO:
            up = twice > 0 or (twice == 0 and value < 0)
    return floor + up


def rounded_quotients(numerators: Ints, divisor: int, rounding: Rounding) -> Ints:
    """`rounded` of every `numerators / divisor`, all at once: integers, and a divisor above 0.

    The caller sees to it that an int64 array has room for twice the divisor.
    """
    floor = numerators // divisor
    rest = numerators - floor * divisor
    tie = 2 * rest == divisor
    up = 2 * rest > divisor
    match rounding:
        case Rounding.FLOOR:
            return floor
        case Rounding.CEIL:
            up = rest > 0
        case Rounding.TOWARD_ZERO:
            up = (rest > 0) & (numerators < 0)
        case Rounding.AWAY:
            up = (rest > 0) & (numerators > 0)
        case Rounding.HALF_UP:
            up = up | tie
        case Rounding.HALF_EVEN:
            up = up | (tie & (floor % 2 == 1))
        case Rounding.HALF_AWAY:
            up = up | (tie & (numerators > 0))
        case Rounding.HALF_ZERO:
            up = up | (tie & (numerators < 0))
    return floor + up


def bounded(code: int, fmt: Fixed, mode: Overflow) -> int:
    """One code brought into a format's range; the scalar twin of `overflow`."""
    if mode is Overflow.WRAP:
        return ((code - fmt.lo) & ((1 << fmt.width) - 1)) + fmt.lo
    lo = max(fmt.lo, -fmt.hi) if mode is Overflow.SATURATE_SYMMETRIC else fmt.lo
    return min(max(code, lo), fmt.hi)


def quantised(value: Fraction, fmt: Fixed, rounding: Rounding, mode: Overflow) -> int:
    """The code of a format that a real number becomes."""
    return bounded(rounded(value / fmt.step, rounding), fmt, mode)


def power_of_two(value: int | Fraction) -> bool:
    """Whether a number is 1, 2, 4 and so on, or 1/2, 1/4 and so on; 0 and negative numbers are not."""
    n, d = value.numerator, value.denominator
    return n > 0 and not n & (n - 1) and not d & (d - 1)


def one_digit(value: int | Fraction) -> bool:
    """Whether a number is plus or minus a power of two, so that one signed digit writes it."""
    n, d = abs(value.numerator), value.denominator
    return n > 0 and not n & (n - 1) and not d & (d - 1)


def dyadic(value: Fraction) -> bool:
    """Whether a number is a sum of powers of two, so that some number of bits after the point is enough for it."""
    return power_of_two(value.denominator)


def trailing_zeros(number: int) -> int:
    """How many times 2 divides a number; 0 of 0."""
    return (number & -number).bit_length() - 1 if number else 0


def twos(value: Fraction) -> int:
    """How many bits after the point a dyadic number needs (negative if it is a multiple of a power of two).

    Raises ValueError if no number of bits is enough. Of 0, says 0.
    """
    if not dyadic(value):
        raise ValueError(f"{value} is no sum of powers of two")
    return trailing_zeros(value.denominator) or -trailing_zeros(value.numerator)


def as_code(value: Fraction, frac: int) -> int:
    """`value * 2**frac`, which must be an integer."""
    scaled = value * Fraction(2) ** frac
    assert scaled.denominator == 1
    return scaled.numerator


def real(codes: Any, kind: Type) -> Any:
    """Codes as real numbers: float64 where that is exact for every code of the type, else Fractions."""
    if kind.max_width <= 53 and all(_LEAST <= f.frac <= _MOST for _, f in kind.runs if f.width):
        return np.ldexp(np.asarray(codes, dtype=np.float64), -np.asarray(kind.fracs))
    steps = np.asarray([f.step for f in kind.formats], dtype=object).reshape(kind.shape)
    return np.asarray(codes, dtype=object) * steps


def signed_digits(number: int) -> list[tuple[int, int]]:
    """A number's canonical signed digits, as `(shift, sign)` pairs, lowest first: the fewest possible.

    No two neighbouring digits are nonzero (Reitwiesner, "Binary Arithmetic", 1960).
    """
    digits = []
    shift = 0
    while number:
        if number & 1:
            sign = 2 - (number & 3)  # +1 before a 0, -1 before another 1
            digits.append((shift, sign))
            number -= sign
        number >>= 1
        shift += 1
    return digits


def masked(values: Any) -> bool:
    """Whether it is an array of numpy's some of whose elements are hidden: what is behind the mask is no data."""
    return isinstance(values, np.ma.MaskedArray) and bool(np.ma.getmaskarray(values).any())


def digits(weight: Fraction) -> list[tuple[Fraction, int]]:
    """A weight as signed powers of two, the fewest there can be."""
    if not weight:
        return []
    frac = max(twos(weight), 0)
    number = (weight * Fraction(2) ** frac).numerator
    return [(Fraction(2) ** (shift - frac), sign) for shift, sign in signed_digits(number)]
