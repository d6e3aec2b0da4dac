"""Arrays of exact numbers: object arrays of Fractions (bounds may also be -inf and inf, which are floats).

They stand beside a tensor and are as small as broadcasting allows: a dimension along which all numbers agree has
length 1. Scales of a whole tensor or of its channels therefore stay one number, or one for each channel.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from lutc.lowering.refusals import Refusal
from lutc.numbers import rounded
from lutc.types import Rounding

Exact = Any  # an object array of Fractions
INF = math.inf


def exact(values: Any) -> Exact:
    """Floats or integers as the rational numbers they are. Raises Refusal for numbers that are not finite."""
    array = np.asarray(values)
    if array.dtype.kind == "V":  # numbers of few bits, which numpy has no kind for
        array = array.astype(np.float64)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise Refusal("has a constant that is not finite", "train or export the model again")
    result = np.empty(array.shape, dtype=object)
    result.ravel()[:] = [Fraction(v) for v in array.ravel().tolist()]
    return compress(result)


def number(value: Fraction | int | float) -> Exact:
    """One number for a whole tensor, of whatever rank."""
    result = np.empty((), dtype=object)
    result[()] = value if value in (INF, -INF) else Fraction(value)
    return result


def compress(array: Exact) -> Exact:
    """The same numbers with every dimension dropped to length 1 along which they agree."""
    for axis in range(array.ndim):
        if array.shape[axis] > 1:
            first = array.take([0], axis=axis)
            if (array == first).all():
                array = first
    return array


def lone(array: Exact) -> Fraction | None:
    """The number all elements are, or None if they differ."""
    array = compress(array)
    return array.ravel()[0] if array.size == 1 else None


def times(a: Exact, b: Exact) -> Exact:
    """The product, where 0 times infinity is 0: a factor 0 forgets what it multiplies."""
    return compress(np.asarray(_times(a, b), dtype=object))


_times = np.frompyfunc(lambda a, b: a * b if a and b else Fraction(0), 2, 1)


def plus(a: Exact, b: Exact) -> Exact:
    return compress(np.asarray(a + b, dtype=object))


def equal(a: Exact, b: Exact) -> bool:
    """Whether two arrays are of one shape and of the same numbers."""
    return a.shape == b.shape and bool((a == b).all())


def maximum(a: Exact, b: Exact) -> Exact:
    return compress(np.asarray(np.maximum(a, b), dtype=object))


def minimum(a: Exact, b: Exact) -> Exact:
    return compress(np.asarray(np.minimum(a, b), dtype=object))


def choose(condition: Any, yes: Exact, no: Exact) -> Exact:
    return compress(np.asarray(np.where(condition, yes, no), dtype=object))


def rounded_all(array: Exact, rounding: Rounding) -> Exact:
    """Every number rounded to an integer; infinities stay."""
    return _map(lambda v: v if v in (INF, -INF) else Fraction(rounded(v, rounding)), array)


def _map(function: Callable[[Any], Any], array: Exact) -> Exact:
    result = np.empty(array.shape, dtype=object)
    result.ravel()[:] = [function(v) for v in array.ravel().tolist()]
    return result


def gcd(numbers: Sequence[Fraction]) -> Fraction:
    """The largest number of which all are integer multiples; 1 if all are 0."""
    top, bottom = 0, 1
    for n in numbers:
        top = math.gcd(top * n.denominator, n.numerator * bottom)
        bottom *= n.denominator
        common = math.gcd(top, bottom)
        if common:
            top, bottom = top // common, bottom // common
    return Fraction(top, bottom) if top else Fraction(1)


def exponent(value: Fraction) -> int:
    """The k of a power of two `2**k`."""
    return abs(value.numerator).bit_length() - value.denominator.bit_length()


def every(test: Callable[[Fraction], bool], array: Exact) -> bool:
    return all(test(v) for v in array.ravel().tolist())


def spread(array: Exact, shape: Sequence[int]) -> Exact:
    """The array in a tensor's full shape (a view)."""
    return np.broadcast_to(array, tuple(shape))


def ranked(array: Exact, rank: int) -> Exact:
    """The array with leading dimensions of length 1, so that it has the tensor's rank."""
    return array.reshape((1,) * (rank - array.ndim) + array.shape)
