"""Sums grow as wide as they can before anything decides how to add them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from lutc.ir.graph import Design, Value, reader_counts
from lutc.ir.ops import Add, Add3, Lincomb, Neg, Quant, Relu, Scale, Sub
from lutc.ir.ops.base import Op
from lutc.numbers import digits
from lutc.passes.context import Context
from lutc.passes.manager import Pass
from lutc.passes.rebuild import rebuild
from lutc.passes.rewriter import Rewriter
from lutc.types import Rounding


@dataclass(frozen=True)
class Collect(Pass):
    """Merge additions, subtractions and constant factors read only once into n-ary sums (`lincomb`).

    A sum taken times a constant is merged only if that needs no more additions than the sum and the product apart:
    ten terms times seven are twenty numbers to add, and eleven if the product is made of the sum.

    A rounding that is the only reader of a sum becomes a constant of the sum and the floor, which costs nothing.
    """

    name: ClassVar[str] = "collect"

    def __call__(self, design: Design, context: Context) -> Design:
        readers = reader_counts(design)

        def rule(rw: Rewriter, op: Op) -> Value:
            if isinstance(op, Quant) and isinstance(rw.original, Quant):
                return _floored(rw, op, rw.original, readers) or op
            op_terms = _terms(op)
            if op_terms is None or op.type.shape:
                return op
            original = rw.original
            assert original is not None
            terms: list[tuple[Value, Fraction]] = []
            bias = op.bias if isinstance(op, Lincomb | Add3) else Fraction(0)
            shares: Counter[str | None] = Counter({op.origin: 0})
            for (value, weight), before in zip(op_terms, original.operands, strict=True):
                inner = _terms(value) if readers[before] == 1 and isinstance(value, Op) else None
                if inner is None or _costly(inner, weight):
                    terms.append((value, weight))
                    shares[op.origin] += 1
                else:
                    shares[value.origin or op.origin] += len(inner)
                    terms += [(v, weight * w) for v, w in inner]
                    bias += weight * value.bias if isinstance(value, Lincomb | Add3) else 0
            rw.origin = max(
                shares, key=shares.__getitem__
            )  # the sum belongs to the layer of most of its terms
            return rw.make(Lincomb, tuple(v for v, _ in terms), tuple(w for _, w in terms), bias)

        return rebuild(design, rule)


def _costly(inner: list[tuple[Value, Fraction]], weight: Fraction) -> bool:
    """Whether a sum's terms times `weight` are more numbers to add than the sum and the product apart."""
    apart = sum(len(digits(w)) for _, w in inner) + len(digits(weight)) - 1
    return sum(len(digits(w * weight)) for _, w in inner) > apart


def _floored(rw: Rewriter, op: Quant, before: Quant, readers: dict[Value, int]) -> Op | None:
    """A rounding to the floor of the same sum with a constant more, if a sum is what it rounds.

    With steps u of the result, `round(x) = floor(x + c)` for a constant c < u. A relu between changes nothing: of a
    negative x, `floor(relu(x + c))` is the floor of something in [0, u), thus 0, and so is the rounding of 0.
    """
    x, old = op.x, before.x
    relu = isinstance(x, Relu) and isinstance(old, Relu)
    if isinstance(x, Relu) and isinstance(old, Relu):
        if readers[old] > 1:
            return None
        x, old = x.x, old.x
    if op.type.shape or not isinstance(x, Lincomb) or readers[old] > 1:
        return None
    fine, step = x.type.scalar.step, op.to.scalar.step
    if fine >= step:
        return None
    match op.round:
        case Rounding.HALF_UP:
            more = step / 2
        case Rounding.HALF_DOWN:
            more = step / 2 - fine
        case Rounding.CEIL:
            more = step - fine
        case _:
            return None
    layer, rw.origin = rw.origin, x.origin or rw.origin
    total: Op = rw.make(Lincomb, x.terms, x.weights, x.bias + more)
    rw.origin = layer
    return rw.make(Quant, rw.make(Relu, total) if relu else total, op.to, Rounding.FLOOR, op.overflow)


def _terms(op: Op) -> list[tuple[Value, Fraction]] | None:
    """An operation as weighted terms (a bias apart), or None if it is no sum."""
    one = Fraction(1)
    match op:
        case Add(a=a, b=b):
            return [(a, one), (b, one)]
        case Sub(a=a, b=b):
            return [(a, one), (b, -one)]
        case Neg(x=x):
            return [(x, -one)]
        case Scale(x=x, by=by, dsp=False):
            return [(x, by)]
        case Lincomb(terms=terms, weights=weights) | Add3(terms=terms, weights=weights):
            return list(zip(terms, weights, strict=True))
    return None
