"""Integers, truth values and floats among the operands of one operator, as PyTorch promotes them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import fx

from lutc.lowering.dtypes import WHOLE, bounds
from lutc.lowering.refusals import Refusal
from lutc.lowering.tensors import Pending, Scaled

from .call import Call

# Results of these are sums that PyTorch takes in int64, whatever integers it is given.
SUMS = ("aten::sum", "aten::cumsum")
# These take integers and truth values for what they are.
AS_THEY_ARE = ("aten::where", "aten::masked_fill", "aten::to", "aten::_to_copy")


def entered(call: Call) -> Call:
    """The call as its result's type has it: numbers that become floats, or wider integers, do so before."""
    to = _kind(call.fx)
    name = call.fx.target._schema.name  # type: ignore[union-attr]
    if to is None or name in AS_THEY_ARE:
        return call
    if to.is_floating_point:
        return _read_as(call, None)
    if name in SUMS and to == torch.int64:
        return _read_as(call, "int64")
    return call


def kept(node: fx.Node, found: Any) -> Any:
    """A result under its type's name. Raises Refusal if integers of the model might wrap around."""
    to = _kind(node)
    if to is None or not isinstance(found, Scaled):
        return found
    if to == torch.bool:
        if found.integer != "bool":
            raise Refusal("makes truth values of numbers", "compare them: x != 0")
        low, high = (0, 1) if isinstance(found.value, Pending) else bounds(found)
        if low < 0 or high > 1:
            raise Refusal("computes with bool numbers, of which 1 + 1 is 1", "convert them: x.float()")
        return found
    if to.is_floating_point:
        return found if found.integer is None else replace(found, integer=None)
    name = str(to).removeprefix("torch.")
    quantised = node.target._schema.name.startswith("quantized_decomposed")  # type: ignore[union-attr]
    if name not in WHOLE or quantised or isinstance(found.value, Pending):
        return found
    lo, hi = WHOLE[name]
    low, high = bounds(found)
    if low < lo or high > hi:
        raise Refusal(
            f"makes {name} numbers that may be from {low} to {high}, and wrap around in the model",
            "give the input fewer bits (--input-type), or convert to floats first: x.float()",
        )
    return replace(found, integer=name)


def _kind(node: fx.Node) -> torch.dtype | None:
    value = node.meta.get("val")
    return value.dtype if isinstance(value, torch.Tensor) else None


def _read_as(call: Call, integer: str | None) -> Call:
    """A call whose integers are of another type, or floats; which arguments are looked up is noted as before."""

    def one(t: Any) -> Any:
        return replace(t, integer=integer) if isinstance(t, Scaled) and t.integer is not None else t

    return replace(
        call, given=call.given.changed(lambda v: list(map(one, v)) if isinstance(v, list) else one(v))
    )
