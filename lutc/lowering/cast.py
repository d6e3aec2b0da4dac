"""Casts: allowed where it changes no number, and where it only cuts off what lies behind the point."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lutc.ir.ops.logic import Relation
from lutc.lowering import exact as ex
from lutc.lowering.dtypes import NARROW_FLOATS, WHOLE, all_dyadic, bounds, representable
from lutc.lowering.logic import against
from lutc.lowering.quantise import Grid, quantise
from lutc.lowering.refusals import Refusal
from lutc.lowering.tensors import Known, Pending, Scaled, concrete
from lutc.lowering.walk import Walk
from lutc.types import Rounding


def converted(walk: Walk, t: Scaled, kind: str) -> Scaled:
    """The tensor as one of another type. Raises Refusal where numbers would be rounded or wrap around."""
    if kind == "float" and t.integer is None and t.real == "double" and _rounds(t):
        raise Refusal(
            "casts double numbers to float, which rounds: it moves numbers onto ties of a quantiser behind",
            "make the input a float32, or quantise before the cast",
        )
    if kind in ("float", "double"):
        return replace(t, integer=None, real=kind)
    if kind == "bool":
        return t if t.integer == "bool" else against(walk, t, Known(np.float32(0)), Relation.NE)
    if kind in NARROW_FLOATS and representable(t, kind):
        return replace(t, integer=None, real=kind)
    if kind in WHOLE:
        lo, hi = _kept(t)
        least, most = WHOLE[kind]
        if least <= lo and hi <= most:
            if t.integer:
                return replace(t, integer=kind)
            grid = Grid(ex.number(1), ex.number(0), ex.number(lo), ex.number(hi), Rounding.TOWARD_ZERO)
            return replace(quantise(walk, t, grid), integer=kind)
    raise Refusal(
        f"casts data to {kind}, which rounds or wraps in a way no quantiser states",
        "quantise with Quant or QuantizeLinear instead",
    )


def _rounds(t: Scaled) -> bool:
    """Whether a cast to float changes numbers that a double holds exactly."""
    return isinstance(t.value, Pending) or (all_dyadic(t) and not representable(t, "float"))


def _kept(t: Scaled) -> tuple[int, int]:
    """The integers the tensor lies between, cut off towards zero."""
    concrete(t)
    low, high = bounds(t)
    return int(low), int(high)
