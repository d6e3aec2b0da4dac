"""Cast: allowed where it changes no number, and where it only cuts off what lies behind the point."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np

from lutc.graph import Rounding
from lutc.ops.logic import Relation

from ..importer import Refusal
from . import exact as ex
from .logic import against
from .model import Node
from .qdq import WHOLE
from .quantise import Grid, quantise
from .rule import Inputs, Rule, computed, needed, rule
from .tensors import Known, Scaled, Tensor, concrete, reach
from .walk import Walk

# Significant bits of a float, and the exponents of the least step and of what is too large.
NARROW_FLOATS = {"float16": (11, -24, 16), "bfloat16": (8, -133, 128)}


def cast(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """Cast to any type that holds every number the data can be, or whose integers do after truncation."""
    from onnx import TensorProto

    kinds = {v: k.lower() for k, v in TensorProto.DataType.items()}
    to = node.get("to", 1)
    return converted(walk, computed(needed(inputs, 0)), kinds.get(to, f"type {to}"))


def cast_like(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """CastLike: Cast to the type of the second input."""
    like = needed(inputs, 1)
    kind = like.array.dtype.name if isinstance(like, Known) else like.integer or "float"
    return converted(
        walk, computed(needed(inputs, 0)), {"float32": "float", "float64": "double"}.get(kind, kind)
    )


def converted(walk: Walk, t: Scaled, kind: str) -> Scaled:
    """The tensor as one of another type. Raises Refusal where numbers would be rounded or wrap around."""
    if kind in ("float", "double"):
        return replace(t, integer=None)
    if kind == "bool":
        return t if t.integer == "bool" else against(walk, t, Known(np.float32(0)), Relation.NE)
    if kind in NARROW_FLOATS and _representable(walk, t, *NARROW_FLOATS[kind]):
        return replace(t, integer=None)
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


def _kept(t: Scaled) -> tuple[int, int]:
    """The integers the tensor lies between, cut off towards zero."""
    concrete(t)
    low, high = reach(t)
    low, high = (ex.minimum(ex.maximum(x, t.lo), t.hi) for x in (low, high))
    return int(min(low.ravel().tolist())), int(max(high.ravel().tolist()))


def _representable(walk: Walk, t: Scaled, digits: int, least: int, most: int) -> bool:
    unit, value = walk.exact(t)
    if not ex.power_of_two(unit):
        return False
    shift = ex.exponent(Fraction(unit))
    return all(
        f.width - f.signed <= digits and shift - f.frac >= least and shift - f.frac + f.width < most
        for f in value.type.formats
        if f.width
    )


RULES: dict[str, Rule] = {
    "Cast": rule(cast, "to", "saturate", "round_mode"),
    "CastLike": rule(cast_like, "saturate", "round_mode"),
}
