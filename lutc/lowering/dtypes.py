"""The element types a tensor may have, and whether numbers fit into them."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from lutc.lowering import exact as ex
from lutc.lowering.refusals import Refusal
from lutc.lowering.tensors import Known, Pending, Scaled, concrete, reach
from lutc.numbers import dyadic, twos
from lutc.types import Type

RANGES = {
    f"{'' if signed else 'u'}int{bits}": (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    if signed
    else (0, (1 << bits) - 1)
    for bits in (2, 4, 8, 16, 32)
    for signed in (True, False)
}
# All integers a tensor may have, those of indices included.
WHOLE = {**RANGES, "int64": (-(1 << 63), (1 << 63) - 1), "uint64": (0, (1 << 64) - 1)}
# Significant bits of a float, and the exponents of the least step and of what is too large.
NARROW_FLOATS = {"float16": (11, -24, 16), "bfloat16": (8, -133, 128)}
FLOAT32_BITS = 24  # sums of integers with up to as many bits are exact in float32, whatever their order
FLOAT = (FLOAT32_BITS, -149, 128)  # the same of float32
FLOATS = ("float", "double", *NARROW_FLOATS)
# Operators that keep their numbers in range by definition; formats may hold more than that range.
SATURATE = ("Cast", "QuantizeLinear", "QLinear", "QGemm")
DTYPES = frozenset({"bool", *WHOLE, *FLOATS})
_NUMPY = {"float32": "float", "float64": "double"}


def is_float32(kind: Type) -> bool:
    """Whether float32 holds every number of the type."""
    return all(f.width - f.signed <= FLOAT32_BITS for _, f in kind.runs)


def kind_name(dtype: Any) -> str:
    """A numpy type as the standard calls it."""
    name = str(np.dtype(dtype).name)
    return _NUMPY.get(name, name)


def within(t: Scaled, operands: Sequence[Any] = ()) -> None:
    """Raise Refusal unless every number the tensor can be is one of its element type.

    Integers wrap around in the model, divisions of them round, and floats of 16 bits round at every step; sums and
    products of integers that fit in the end were right on the way, for wrapping is arithmetic modulo a power of two.
    Numbers between those of `operands` of the type are fine: a format may hold more than a quantiser's range.
    """
    if isinstance(t.value, Pending):
        return
    if t.integer in WHOLE:
        if not whole(t):
            raise Refusal(
                f"makes {t.integer} numbers of others that are not whole, which the model rounds",
                "compute in floats and quantise: dequantise the operands first",
            )
        lo, hi = bounds(t)
        least, most = WHOLE[t.integer]
        for x in operands:
            if isinstance(x, Known) and x.array.dtype.name == t.integer and x.array.size:
                least, most = min(least, int(x.array.min())), max(most, int(x.array.max()))
            elif isinstance(x, Scaled) and x.integer == t.integer:
                low, high = bounds(x)
                least, most = min(least, low), max(most, high)
        if lo < least or hi > most:
            raise Refusal(
                f"computes with {t.integer} numbers, which wrap around in the model",
                f"dequantise them first, or use a wider type: here they reach from {lo} to {hi}",
            )
    elif t.integer is None and t.real in NARROW_FLOATS and not representable(t, t.real):
        raise Refusal(
            f"computes in {t.real}, which rounds at every step",
            "convert the model to float32: a circuit computes exactly",
        )


def bounds(t: Scaled) -> tuple[Any, Any]:
    """The least and the largest number among all elements."""
    low, high = (ex.minimum(ex.maximum(x, t.lo), t.hi) for x in reach(t))
    return min(low.ravel().tolist()), max(high.ravel().tolist())


def _steps(t: Scaled) -> Any:
    """The step of every element's numbers before the offset; 0 where it is one number."""
    kind = concrete(t).type
    if kind.format:
        return ex.number(kind.format.step if kind.format.width else 0) * t.scale
    steps = np.array([f.step if f.width else Fraction(0) for f in kind.formats], dtype=object)
    return steps.reshape(t.shape) * t.scale


def _parts(t: Scaled) -> list[Any]:
    """Numbers of which all the tensor can be are sums of multiples."""
    clips = [x for x in (t.lo, t.hi) if t.clips()]
    finite = [ex.choose(abs(x) < ex.INF, x, ex.number(0)) for x in clips]
    return [np.asarray(_steps(t), dtype=object), t.offset, *finite]


def whole(t: Scaled) -> bool:
    """Whether all numbers the tensor can be are integers."""
    return all(ex.every(lambda v: v.denominator == 1, p) for p in _parts(t))


def all_dyadic(t: Scaled) -> bool:
    """Whether all numbers the tensor can be are sums of powers of two."""
    return all(ex.every(dyadic, p) for p in _parts(t))


def representable(t: Scaled, kind: str) -> bool:
    """Whether a float of at most 32 bits holds every number the tensor can be."""
    digits, least, most = NARROW_FLOATS.get(kind, FLOAT)
    parts = _parts(t)
    if not all_dyadic(t):
        return False
    lo, hi = bounds(t)
    top = max(abs(lo), abs(hi))
    unit = Fraction(2) ** -max((twos(v) for p in parts for v in p.ravel().tolist() if v), default=0)
    return bool(top / unit <= 1 << digits and unit >= Fraction(2) ** least and top < Fraction(2) ** most)
