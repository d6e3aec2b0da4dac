"""Sums grow as wide as they can before anything decides how to add them."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from lutc.graph import Design, Value, body, functions, users
from lutc.ops import Add, Lincomb, Neg, Scale, Sub
from lutc.ops.base import Op
from lutc.passes.manager import Pass
from lutc.passes.rebuild import Rewriter, rebuild
from lutc.passes.simplify import simplified


@dataclass(frozen=True)
class Sums(Pass):
    """Merge additions, subtractions and constant factors read only once into n-ary sums (`lincomb`)."""

    name: ClassVar[str] = "sums"

    def __call__(self, design: Design) -> Design:
        readers: dict[Value, int] = {}
        for owner in (*functions(design), design):
            readers |= {v: len(r) for v, r in users(body(owner)).items()}
            roots = [o.value for o in owner.outputs] if isinstance(owner, Design) else [owner.result]
            for root in roots:
                readers[root] += 2  # a port needs it as it is

        def rule(rw: Rewriter, op: Op) -> Value:
            op_terms = _terms(op)
            if op_terms is None or op.type.shape:
                return simplified(rw, op)
            original = rw.original
            assert original is not None
            terms: list[tuple[Value, Fraction]] = []
            bias = op.bias if isinstance(op, Lincomb) else Fraction(0)
            for (value, weight), before in zip(op_terms, original.operands, strict=True):
                inner = _terms(value) if readers[before] == 1 and isinstance(value, Op) else None
                if inner is None:
                    terms.append((value, weight))
                else:
                    terms += [(v, weight * w) for v, w in inner]
                    bias += weight * value.bias if isinstance(value, Lincomb) else 0
            return simplified(rw, rw.make(Lincomb, tuple(v for v, _ in terms), tuple(w for _, w in terms), bias))

        return rebuild(design, rule)


def _terms(op: Op) -> list[tuple[Value, Fraction]] | None:
    """An operation as weighted terms (a `lincomb`'s bias apart), or None if it is no sum."""
    one = Fraction(1)
    match op:
        case Add(a=a, b=b):
            return [(a, one), (b, one)]
        case Sub(a=a, b=b):
            return [(a, one), (b, -one)]
        case Neg(x=x):
            return [(x, -one)]
        case Scale(x=x, by=by):
            return [(x, by)]
        case Lincomb(terms=terms, weights=weights):
            return list(zip(terms, weights, strict=True))
    return None
