"""Which layer a value belongs to that does not say so."""

from __future__ import annotations

from lutc.ir.graph import Design, Func, Value, body, owners
from lutc.ir.ops import Call, Map


def layers(design: Design) -> dict[Value, str]:
    """The layer of each value, `""` for what belongs to none.

    What names no origin belongs to the layer whose values it works on: a bias, an activation or a rounding behind a
    matrix product is part of it. Of several layers it is the one that begins last. What stands before all layers of
    a function's body belongs to the layer that calls it first.
    """
    found: dict[Value, str] = {}
    callers: dict[Func, str] = {}
    for owner in reversed(owners(design)):  # callers before what they call
        begun: dict[str, int] = {"": -1}  # the layers in the order in which they begin
        inherited = callers.get(owner, "") if isinstance(owner, Func) else ""
        for value in body(owner):
            layer = value.origin or max((found[v] for v in value.operands), key=begun.__getitem__, default="")
            if value.operands:
                layer = layer or inherited
            found[value] = layer
            begun.setdefault(layer, len(begun))
            if isinstance(value, Call | Map):
                callers.setdefault(value.func, layer)
    return found
