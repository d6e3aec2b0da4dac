"""Wide tables become two: a run of key bits is encoded in fewer bits, the rest looks up with those.

Output bits that go better by themselves are looked up by themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lutc.ir.graph import Design, Table, Value
from lutc.ir.ops import BitConcat, BitSlice, Lut, Scale
from lutc.ir.ops.base import Op
from lutc.passes.context import Context
from lutc.passes.manager import Pass
from lutc.passes.rebuild import rebuild
from lutc.passes.rewriter import Rewriter
from lutc.passes.tables.encoders import encoder, groups
from lutc.target import Target
from lutc.truth import Codes
from lutc.types import Fixed, scalar

_SAFE = 40  # bits of any code met here


@dataclass(frozen=True)
class Encode(Pass):
    """Encode a run of a table's key bits where that saves LUTs; the netlist keeps the encoder's LUTs as they are."""

    name: ClassVar[str] = "encode"

    def __call__(self, design: Design, context: Context) -> Design:
        target = context.target

        def rule(rw: Rewriter, op: Op) -> Value:
            if isinstance(op, Lut) and not op.table.key.shape and not op.key.type.shape:
                return _encoded(rw, op, target)
            return op

        return rebuild(design, rule, canonical="before")


def _encoded(rw: Rewriter, op: Lut, target: Target) -> Value:
    """The look-up, or one with encoders in front, or several that each give some of the bits."""
    value, table = op.type.scalar, op.table
    if not value.width or value.width > _SAFE:
        return op
    codes = table.words
    together = [(0, value.width)] if value.signed else groups(codes, value.width, target)
    if len(together) == 1:
        return _coded(rw, op, target)
    parts: list[Value] = []
    for low, bits in reversed(together):
        some = codes >> low & ((1 << bits) - 1)
        part = _lookup(rw, op.key, f"{table.name}_{low}", Fixed(False, bits), some)
        parts.append(_coded(rw, part, target))
    return rw.make(Scale, rw.make(BitConcat, tuple(parts)), value.step)


def _coded(rw: Rewriter, op: Lut, target: Target) -> Lut:
    """The look-up, with an encoder in front if that is cheaper, and one in front of what is then looked up."""
    value, table = op.type.scalar, op.table
    found = encoder(table.words, value.width, target)
    if found is None:
        return op
    width = op.key.type.scalar.width
    parts: list[Value] = []
    if found.low + found.bits < width:
        parts.append(rw.make(BitSlice, op.key, width - 1, found.low + found.bits))
    if found.width:
        run = rw.make(BitSlice, op.key, found.low + found.bits - 1, found.low)
        code = _lookup(rw, run, f"{table.name}_code", Fixed(False, found.width), found.codes)
        parts.append(_coded(rw, code, target))
    if found.low:
        parts.append(rw.make(BitSlice, op.key, found.low - 1, 0))
    codes = np.where(found.inner > value.hi, found.inner - (1 << value.width), found.inner)
    inner = _lookup(rw, rw.make(BitConcat, tuple(parts)), table.name, value, codes)
    return _coded(rw, inner, target)


def _lookup(rw: Rewriter, key: Value, name: str, value: Fixed, codes: Codes) -> Lut:
    table = Table(name, key.type, scalar(value), codes)
    made = rw.make(Lut, key, rw.symbol(table))
    assert isinstance(made, Lut)
    return made
