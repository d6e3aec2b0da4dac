"""Wide tables become two: a run of key bits is encoded in fewer bits, the rest looks up with those.

Output bits that go better by themselves are looked up by themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import ClassVar

import numpy as np

from lutc.analysis.slack import required
from lutc.ir.graph import Design, Table, Value, body, owners, topo
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

_MOST = 1 << 10  # encoders one behind the other: as many as there are
_SAFE = 40  # bits of any code met here
_EXTRA = 0.02  # of all LUTs: what a shorter way may cost if the objective is a balance


@dataclass(frozen=True)
class Encode(Pass):
    """Encode a run of a table's key bits where that saves LUTs and, by the objective, the slowest way allows it.

    The netlist keeps the encoder's LUTs as they are.
    """

    name: ClassVar[str] = "encode"

    def __call__(self, design: Design, context: Context) -> Design:
        target = context.target
        found = _Encoders(design, context).chosen()

        def rule(rw: Rewriter, op: Op) -> Value:
            most = found.get(rw.original)
            return _encoded(rw, op, target, most) if most and isinstance(op, Lut) else op

        return rebuild(design, rule, canonical="before")


class _Encoders:
    """How many encoders may stand one behind the other in front of each table."""

    def __init__(self, design: Design, context: Context) -> None:
        self.design, self.target, self.objective = design, context.target, context.objective
        self.arrivals = context.arrivals()
        self.ops = [v for o in owners(design) for v in body(o) if isinstance(v, Op) and not v.type.shape]
        self.tables = [v for v in self.ops if isinstance(v, Lut) and not v.key.type.shape]

    def chosen(self) -> dict[Op | None, int]:
        """As many as save LUTs; fewer, or none, where they would make the slowest way longer by too much."""
        if self.objective == "area" or not self.tables:
            return dict.fromkeys(self.tables, _MOST)
        due = required(self.design, self.target)
        total = sum(v.luts(self.target) for v in self.ops)
        ways: dict[Lut, list[tuple[float, float, int]]] = {}  # of a table: lateness, LUTs, and encoders
        for op in self.tables:
            ways[op] = [(0.0, op.luts(self.target), 0)]
            for most in (1, _MOST):
                made = _encoded(Rewriter(), op, self.target, most)
                luts = sum(v.luts(self.target) for v in topo([made], {op.key}) if isinstance(v, Op))
                if luts < ways[op][-1][1]:
                    ways[op].append((max(self.arrivals.of(made) - due[op], 0.0), luts, most))
            total += ways[op][-1][1] - ways[op][0][1]
        allowed = total * _EXTRA if self.objective == "balanced" else inf
        # The shortest way that costs no more than that.
        for late in sorted({late for some in ways.values() for late, *_ in some}):
            best = {
                op: min((w for w in some if w[0] <= late), key=lambda w: w[1]) for op, some in ways.items()
            }
            if sum(best[op][1] - some[-1][1] for op, some in ways.items()) <= allowed:
                break
        return {op: most for op, (_, _, most) in best.items()}


def _encoded(rw: Rewriter, op: Lut, target: Target, most: int) -> Value:
    """The look-up, or one with encoders in front, or several that each give some of the bits."""
    value, table = op.type.scalar, op.table
    if not value.width or value.width > _SAFE:
        return op
    codes = table.words
    together = [(0, value.width)] if value.signed else groups(codes, value.width, target)
    if len(together) == 1:
        return _coded(rw, op, target, most)
    parts: list[Value] = []
    for low, bits in reversed(together):
        some = codes >> low & ((1 << bits) - 1)
        part = _lookup(rw, op.key, f"{table.name}_{low}", Fixed(False, bits), some)
        parts.append(_coded(rw, part, target, most))
    return rw.make(Scale, rw.make(BitConcat, tuple(parts)), value.step)


def _coded(rw: Rewriter, op: Lut, target: Target, most: int) -> Lut:
    """The look-up, with an encoder in front if that is cheaper, and one in front of what is then looked up."""
    value, table = op.type.scalar, op.table
    found = encoder(table.words, value.width, target) if most else None
    if found is None:
        return op
    width = op.key.type.scalar.width
    parts: list[Value] = []
    if found.low + found.bits < width:
        parts.append(rw.make(BitSlice, op.key, width - 1, found.low + found.bits))
    if found.width:
        run = rw.make(BitSlice, op.key, found.low + found.bits - 1, found.low)
        code = _lookup(rw, run, f"{table.name}_code", Fixed(False, found.width), found.codes)
        parts.append(_coded(rw, code, target, most - 1))
    if found.low:
        parts.append(rw.make(BitSlice, op.key, found.low - 1, 0))
    codes = np.where(found.inner > value.hi, found.inner - (1 << value.width), found.inner)
    inner = _lookup(rw, rw.make(BitConcat, tuple(parts)), table.name, value, codes)
    return _coded(rw, inner, target, most - 1)


def _lookup(rw: Rewriter, key: Value, name: str, value: Fixed, codes: Codes) -> Lut:
    table = Table(name, key.type, scalar(value), codes)
    made = rw.make(Lut, key, rw.symbol(table))
    assert isinstance(made, Lut)
    return made
