"""Tensor-stage pruning: what is multiplied by nothing, or has no bits, goes before tensors are written out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from lutc.analysis.dataflow import Dataflow
from lutc.ir.graph import Const, Design, Table, Value
from lutc.ir.ops import ConstOp, Dense, Gather, Lut
from lutc.ir.ops.base import Op
from lutc.passes.context import Context
from lutc.passes.manager import Pass
from lutc.passes.rebuild import rebuild
from lutc.passes.rewriter import Rewriter
from lutc.types import tensor


@dataclass(frozen=True)
class Prune(Pass):
    """Take out inputs of weight zero, elements without bits, constant tables, and say which inputs nobody reads."""

    name: ClassVar[str] = "prune"

    def __call__(self, design: Design, context: Context) -> Design:
        design = rebuild(design, _pruned, canonical="before")
        read = Dataflow(design).below(design.roots)
        notes = tuple(f"input {p.name!r} is read by nothing" for p in design.params if p not in read)
        return replace(design, notes=(*design.notes, *(n for n in notes if n not in design.notes)))


def _pruned(rw: Rewriter, op: Op) -> Value:
    match op:
        case Dense(x=x, w=w) if len(x.type.shape) == 1:
            return _dense(rw, op, x, w)
        case Lut(key=key, table=table) if table.key.shape:
            return _lut(rw, op, key, table)
    return op


def _dense(rw: Rewriter, op: Dense, x: Value, w: Const) -> Value:
    """Drop inputs that meet only zero weights, or have no bits."""
    live = [i for i, f in enumerate(x.type.formats) if f.width and any(w.codes[i])]
    if len(live) == len(x.type.formats) or not live:
        return op
    formats = np.array(w.type.formats, dtype=object).reshape(w.type.shape)[live]
    kind = tensor((len(live), w.type.shape[1]), formats.ravel().tolist())
    few = rw.make(Gather, x, tuple(live))
    return rw.make(Dense, few, Const(w.name, kind, w.codes[live]), op.b)


def _lut(rw: Rewriter, op: Lut, key: Value, table: Table) -> Value:
    """A tensor of tables that all answer one number each is a constant."""
    parts = table.parts()
    if not all((p == p[0]).all() for p in parts):
        return op
    codes = np.array([p[0] for p in parts], dtype=object).reshape(table.value.shape)
    return rw.make(ConstOp, Const(table.name, table.value, codes))
