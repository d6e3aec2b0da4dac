"""When nets are ready, in levels of LUTs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lutc.rtl.nets import Add, Append, As, Const, Gt, Input, InstanceOutput, Lt, Mul, Reg, Resize, Slice, Sub

if TYPE_CHECKING:
    from lutc.rtl.nets import Net

_CARRY = 0.04  # of a level, for every bit of a chain
_CHAIN = 2.0  # its first LUT, and getting in and out of it
_MULTIPLIER = 6.0
_INSTANCE = 4.0  # nothing is known of what is in it


def arrival(net: Net, ready: Mapping[Net, float]) -> float:
    """The level at which a net is ready, or the last of its bits if it is wiring; `ready` has those of its operands."""
    match net:
        case Const() | Input() | Reg():
            return 0.0
        case Slice(a=a, high=high):
            return ready[a] + (high * _CARRY if isinstance(_source(a), Add | Sub) else 0.0)
    latest = max(ready[o] for o in net.operands) if net.operands else 0.0
    match net:
        case As() | Resize() | Append():
            return latest
        case Add() | Sub():
            return latest + _CHAIN
        case Lt() | Gt():
            return latest + _CHAIN + net.a.width * _CARRY
        case Mul():
            return latest + _MULTIPLIER
        case InstanceOutput():
            return latest + _INSTANCE
    return latest + 1.0


def _source(net: Net) -> Net:
    while isinstance(net, As | Resize):
        net = net.a
    return net
