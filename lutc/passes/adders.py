"""N-ary sums become adders of two operands, or of three where the target's carry chains take so many."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
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
    """Write every n-ary sum and every constant factor as adders and shifts, no deeper than arrival times ask for."""

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


@dataclass
class _Operand:
    value: Value
    sign: int
    level: int  # adders before it, after the earliest operand
    order: int

    @property
    def top(self) -> int:
        """The place of the highest bit."""
        fmt = self.value.type.scalar
        return fmt.width - fmt.frac


def _tree(
    rw: Rewriter,
    terms: tuple[Value, ...],
    weights: tuple[Fraction, ...],
    bias: Fraction,
    arrivals: Arrivals,
) -> Value:
    """Add the lowest operands first, as long as the whole gets no deeper than it has to be.

    A sum of operands of levels `l` by adders of `n` operands fits under level `d` exactly if `sum(n**l) <= n**d`
    (Kraft's inequality). While there is room, those go together whose highest bits are lowest (Huffman's algorithm:
    it makes the widths of all adders together the least); else those that are ready first.
    """
    target = arrivals.target
    step = target.ternary_ns(12) if target.ternary else target.adder_ns(12)
    most = 3 if target.ternary else 2
    waiting: list[_Operand] = []
    for value, weight in zip(terms, weights, strict=True):
        for power, sign in digits(weight):
            moved = value if power == 1 else rw.make(Scale, value, power)
            waiting.append(_Operand(moved, sign, int(arrivals.of(value) / step + 0.5), len(waiting)))
    earliest = min((o.level for o in waiting), default=0)
    for o in waiting:
        o.level -= earliest
    if bias:
        waiting.append(_Operand(rw.make(Number, bias), 1, 0, len(waiting)))
    if not waiting:
        return rw.make(Number, Fraction(0))
    depth = _depth((o.level for o in waiting), most)
    count = len(waiting)
    while len(waiting) > 1:
        # One addition of two makes an even number odd; after that, threes come out even.
        take = most if len(waiting) % 2 else 2
        chosen = sorted(waiting, key=lambda o: (o.top, o.level, o.order))[:take]
        if _depth(_after(waiting, chosen), most) > depth:
            chosen = sorted(waiting, key=lambda o: (o.level, o.top, o.order))[:take]
        level = max(o.level for o in chosen) + 1
        taken = {o.order for o in chosen}
        value, sign = _added(rw, [o.value for o in chosen], [o.sign for o in chosen])
        waiting = [o for o in waiting if o.order not in taken]
        waiting.append(_Operand(value, sign, level, count))
        count += 1
    (last,) = waiting
    return last.value if last.sign > 0 else rw.make(Neg, last.value)


def _depth(levels: Iterable[int], most: int) -> int:
    """The least depth at which a sum of operands of these levels can be ready."""
    need = sum(most**level for level in levels)
    depth = 0
    while most**depth < need:
        depth += 1
    return depth


def _after(waiting: list[_Operand], chosen: list[_Operand]) -> list[int]:
    """The levels once some operands have been added."""
    taken = {o.order for o in chosen}
    return [o.level for o in waiting if o.order not in taken] + [max(o.level for o in chosen) + 1]


def _added(rw: Rewriter, values: list[Value], signs: list[int]) -> tuple[Value, int]:
    """The sum of two or three signed operands, and the sign it is to be taken with: minus if all of them are."""
    sign = max(signs)
    signs = [s * sign for s in signs]
    if len(values) == 3:
        return rw.make(Lincomb, tuple(values), tuple(Fraction(s) for s in signs)), sign
    (a, b), (sign_a, sign_b) = values, signs
    if sign_a == sign_b:
        return rw.make(Add, a, b), sign
    return (rw.make(Sub, a, b) if sign_a > 0 else rw.make(Sub, b, a)), sign


def digits(weight: Fraction) -> list[tuple[Fraction, int]]:
    """A weight as signed powers of two, the fewest there can be."""
    if not weight:
        return []
    frac = max(twos(weight), 0)
    number = (weight * Fraction(2) ** frac).numerator
    return [(Fraction(2) ** (shift - frac), sign) for shift, sign in signed_digits(number)]
