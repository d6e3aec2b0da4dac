"""N-ary sums become two-operand adders: constant factors as signed digits, the earliest and narrowest terms first."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from fractions import Fraction
from itertools import count
from typing import ClassVar

from lutc import target as targets
from lutc.analysis.timing import Arrivals
from lutc.graph import Design, Value
from lutc.numbers import signed_digits, twos
from lutc.ops import Add, Lincomb, Neg, Number, Scale, Sub
from lutc.ops.base import Op
from lutc.passes.manager import Pass
from lutc.passes.rebuild import Rewriter, rebuild
from lutc.passes.simplify import simplified


@dataclass(frozen=True)
class Adders(Pass):
    """Write every n-ary sum and every constant factor as adders and shifts; each tree balanced by arrival times."""

    name: ClassVar[str] = "adders"
    target: str = "xcvu13p"

    def __call__(self, design: Design) -> Design:
        arrivals = Arrivals(targets.load(self.target))

        def rule(rw: Rewriter, op: Op) -> Value:
            op_new = simplified(rw, op)
            match op_new:
                case Lincomb(terms=terms, weights=weights, bias=bias) if not op_new.type.shape:
                    return _tree(rw, terms, weights, bias, arrivals)
                case Scale(x=x, by=by) if abs(op_new.odd) != 1 and not op_new.type.shape:
                    return _tree(rw, (x,), (by,), Fraction(0), arrivals)
            return op_new

        return rebuild(design, rule)


def _tree(
    rw: Rewriter,
    terms: tuple[Value, ...],
    weights: tuple[Fraction, ...],
    bias: Fraction,
    arrivals: Arrivals,
) -> Value:
    """Add those that are ready first and, of these, the smallest: three at a time where the target can, else two."""
    target = arrivals.target
    level = target.lut_ns() + target.adder_ns(8)  # closer than this, operands count as ready together
    order = count()  # so that equals are taken in a defined order
    heap: list[tuple[int, int, int, Value, int]] = []

    def push(value: Value, sign: int) -> None:
        fmt = value.type.scalar
        heapq.heappush(heap, (int(arrivals.of(value) / level), fmt.width - fmt.frac, next(order), value, sign))

    for value, weight in zip(terms, weights, strict=True):
        for power, sign in digits(weight):
            push(value if power == 1 else rw.make(Scale, value, power), sign)
    if bias:
        push(rw.make(Number, abs(bias)), 1 if bias > 0 else -1)
    if not heap:
        return rw.make(Number, Fraction(0))
    while len(heap) > 1:
        # One addition of two makes an even number odd; after that, threes come out even.
        take = 3 if target.ternary and len(heap) % 2 else 2
        operands = [heapq.heappop(heap)[3:] for _ in range(take)]
        push(*_added(rw, [v for v, _ in operands], [s for _, s in operands]))
    *_, value, sign = heap[0]
    return value if sign > 0 else rw.make(Neg, value)


def _added(rw: Rewriter, values: list[Value], signs: list[int]) -> tuple[Value, int]:
    """The sum of two or three signed operands, and the sign it is to be taken with."""
    if len(values) == 3:
        flip = -1 if signs.count(-1) > 1 else 1  # a carry chain subtracts one of three
        return rw.make(Lincomb, tuple(values), tuple(Fraction(s * flip) for s in signs)), flip
    (a, b), (sign_a, sign_b) = values, signs
    if sign_a == sign_b:
        return rw.make(Add, a, b), sign_a
    return (rw.make(Sub, a, b) if sign_a > 0 else rw.make(Sub, b, a)), 1


def digits(weight: Fraction) -> list[tuple[Fraction, int]]:
    """A weight as signed powers of two, the fewest there can be."""
    if not weight:
        return []
    frac = max(twos(weight), 0)
    number = (weight * Fraction(2) ** frac).numerator
    return [(Fraction(2) ** (shift - frac), sign) for shift, sign in signed_digits(number)]
