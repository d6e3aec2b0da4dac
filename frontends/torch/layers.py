"""The layers of `lutc.nn` among others: they are built by the rules that `lutc.nn` exports them with."""

from __future__ import annotations

from typing import Any

from torch import nn

from lutc.ir.graph import Value
from lutc.lowering.refusals import Refusal
from lutc.lowering.tensors import Pending, Scaled, core
from lutc.lowering.walk import Walk
from lutc.nn.rules import Exporter, lower, unknown
from lutc.nn.to_design import port_of
from lutc.types import Rounding

from .call import Call


def layer(c: Call, module: nn.Module) -> Any:
    """A layer of `lutc.nn` on a tensor of the design. Raises Refusal for what it cannot read exactly."""
    t = c.tensor("x")
    if not isinstance(t, Scaled):
        raise Refusal("reads a constant, or a function that is not quantised", "quantise its input")
    missing = unknown(module)
    if missing:
        raise Refusal(f"holds a {type(missing[0]).__name__}, which has no exact translation")
    shape = tuple(int(n) for n in c.given["shape"])
    # A builder that gives out no name the walk has given.
    exporter = Exporter(c.walk.b.name, c.walk.names, c.walk.b._origin)
    value = _port(c.walk, module, t, t.value) if isinstance(t.value, Pending) else c.walk.fixed_point(t)
    made = lower(module, exporter, value)
    return Scaled(shape, c.walk.reshaped(made, core(shape)), batched=t.batched)


def _port(walk: Walk, module: nn.Module, t: Scaled, pending: Pending) -> Value:
    """The port of an input that the layer reads first."""
    if not t.bare():
        raise Refusal("reads an input that is scaled first", "quantise the input before that")
    kind, overflow = port_of([("", module)], core(pending.port.shape))
    rule = (str(kind), overflow, Rounding.FLOOR)
    param = pending.settled(rule, lambda: walk.port(pending.port.name, kind, Rounding.FLOOR, overflow))
    return pending.moved(param)
