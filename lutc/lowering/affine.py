"""Affine quantisers: integers with a scale and a zero point, which is added before the rounding or after it.

ONNX's QuantizeLinear and PyTorch's fake quantisers round first, QONNX's Quant and Brevitas' quantisers add first: other
integers where ties meet odd zero points.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from lutc.lowering import exact as ex
from lutc.lowering.exact import Exact
from lutc.lowering.quantise import Grid, quantise, ties
from lutc.lowering.refusals import Refusal
from lutc.lowering.tensors import Scaled
from lutc.lowering.walk import Walk
from lutc.numbers import one_digit
from lutc.types import Rounding

# Rounding modes by the words that QONNX has for them: UP and DOWN are away from and toward zero, HALF_UP and HALF_DOWN
# their versions for ties. Source: the operator descriptions in the qonnx project's docs.
ROUNDINGS = {
    "ROUND": Rounding.HALF_EVEN,
    "HALF_EVEN": Rounding.HALF_EVEN,
    "CEIL": Rounding.CEIL,
    "FLOOR": Rounding.FLOOR,
    "UP": Rounding.AWAY,
    "DOWN": Rounding.TOWARD_ZERO,
    "HALF_UP": Rounding.HALF_AWAY,
    "HALF_DOWN": Rounding.HALF_ZERO,
}


def shifted(
    walk: Walk, t: Scaled, s: Exact, z: Exact, lo: Exact, hi: Exact, rounding: Rounding = Rounding.HALF_EVEN
) -> Scaled:
    """The integers `clip(round(t / s + z), lo, hi)`."""
    frac = step_of(s)
    inverse = ex.compress(np.asarray(1 / s, dtype=object))
    return quantise(walk, t, Grid(inverse, z, lo, hi, rounding, frac)).times(ex.number(Fraction(2) ** frac))


def affine(walk: Walk, t: Scaled, s: Exact, z: Exact, lo: Exact, hi: Exact) -> Scaled:
    """The integers `clip(round_half_even(t / s) + z, lo, hi)`, where the zero points z are whole numbers.

    Where ties meet odd zero points, the value of the design is the rounded number without the zero point.
    """
    inverse = ex.compress(np.asarray(1 / s, dtype=object))
    if ex.every(lambda v: v % 2 == 0, z) or not ties(t, inverse):
        # Rounding before or after adding it comes to the same, and the type's own range saves comparisons.
        return shifted(walk, t, s, z, lo, hi)
    low, high = (ex.compress(np.asarray(e - z, dtype=object)) for e in (lo, hi))
    return shifted(walk, t, s, ex.number(0), low, high).plus(z)


def step_of(scale: Exact) -> int:
    """How many bits after the point make the scale the value's own step; 0 if no number does."""
    lone = ex.lone(scale)
    return -ex.exponent(lone) if lone is not None and lone > 0 and one_digit(lone) else 0


def limits(bits: Any, signed: bool, narrow: bool) -> tuple[Exact, Exact]:
    """The least and largest integer of quantisers with `bits` bits. Raises Refusal unless these are whole numbers."""
    widths = ex.exact(np.asarray(bits))
    if not ex.every(lambda b: b.denominator == 1 and 1 <= b <= 64, widths):
        odd = next(b for b in widths.ravel().tolist() if b.denominator != 1 or not 1 <= b <= 64)
        raise Refusal(
            f"quantises to {float(odd):g} bits, and a format has a whole number of them from 1 to 64",
            "round the learned bit widths up before exporting",
        )
    powers = np.asarray(Fraction(2) ** (widths - signed), dtype=object)
    if signed:
        return ex.compress(np.asarray(narrow - powers, dtype=object)), ex.compress(
            np.asarray(powers - 1, dtype=object)
        )
    return ex.number(0), ex.compress(np.asarray(powers - 1 - narrow, dtype=object))


def check_scale(scale: Any) -> None:
    """Raise Refusal for a scale of 0."""
    if not (np.asarray(scale) != 0).all():
        raise Refusal(
            "has a scale of 0", "the quantiser was never trained or calibrated; do that and export again"
        )


def round_floats(y: Any, rounding: Rounding) -> Any:
    """float64 numbers rounded to whole ones, by one of the modes above."""
    if rounding in _NUMPY:
        return _NUMPY[rounding](y)
    whole = np.trunc(y)
    part = np.abs(y - whole)  # exact: the digits behind the point are some of the number's own
    more = {Rounding.AWAY: part > 0, Rounding.HALF_AWAY: part >= 0.5, Rounding.HALF_ZERO: part > 0.5}[
        rounding
    ]
    return whole + np.sign(y) * more


_NUMPY: dict[Rounding, Any] = {
    Rounding.HALF_EVEN: np.rint,
    Rounding.FLOOR: np.floor,
    Rounding.CEIL: np.ceil,
    Rounding.TOWARD_ZERO: np.trunc,
}
