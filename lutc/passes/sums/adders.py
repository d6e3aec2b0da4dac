"""N-ary sums become adders of two operands, or of three where the target's carry chains take so many."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from lutc.analysis.ranges import range_of, set_range
from lutc.cmvm import order
from lutc.cmvm.compressor import ROWS, CompressorTree, compressor_tree
from lutc.ir.graph import Design, Value
from lutc.ir.ops import Add, Add3, Lincomb, Neg, Number, Quant, Scale, Sub
from lutc.ir.ops.base import Op
from lutc.numbers import digits, one_digit
from lutc.passes.context import Context
from lutc.passes.manager import Pass
from lutc.passes.rebuild import rebuild
from lutc.passes.rewriter import Rewriter
from lutc.passes.sums.compressors import compressed
from lutc.types import holding, scalar


@dataclass(frozen=True)
class Adders(Pass):
    """Write every n-ary sum and every constant factor as adders and shifts, no deeper than arrival times ask for.

    Unless it is to go fast, several orders are tried for each sum, and a compressor tree.
    """

    name: ClassVar[str] = "adders"

    def __call__(self, design: Design, context: Context) -> Design:
        trees = _Trees(context)

        def rule(rw: Rewriter, op: Op) -> Value:
            match op:
                # A carry chain that is there already may be another one for this target, and for these arrivals.
                case Lincomb() | Add3() if not op.type.shape:
                    return trees.tree(rw, op.terms, op.weights, op.bias)
                case Scale(x=x, by=by, dsp=False) if not one_digit(by) and not op.type.shape:
                    return trees.tree(rw, (x,), (by,), Fraction(0))
            return op

        return rebuild(design, rule, canonical="before")


# A compressor tree that takes no more than this share of two quick orders' LUTs is better than any order.
_CLEARLY = 0.95

# What a value's code is the sum of: the codes of other values by their weights, and a constant under None.
Parts = dict[Value | None, int]


@dataclass(frozen=True)
class _Operand:
    value: Value
    sign: int
    parts: Parts


class _Trees:
    """Makes adder trees, and knows of every partial sum what it is made of, so that its range is exact.

    The range of `8*x - x` is that of `7*x`: less than what two operands of any value would reach.
    """

    def __init__(self, context: Context) -> None:
        target = context.target
        self.thorough = context.thorough
        self.arrivals = context.arrivals()
        self.made_of: dict[Value, Parts] = {}
        self.most = 3 if target.ternary else 2
        self.step = target.ternary_ns(12) if target.ternary else target.adder_ns(12)

    def tree(
        self, rw: Rewriter, terms: tuple[Value, ...], weights: tuple[Fraction, ...], bias: Fraction
    ) -> Value:
        """A sum as adders of two or three operands: by the chains that `order` finds, one value each."""
        known = self.operands(rw, terms, weights, bias)
        if not known:
            return rw.make(Number, Fraction(0))
        measured = self.measured(known)
        found = compressor_tree(measured) if self.thorough and self.most == ROWS < len(known) else None
        luts, chains = order.chains(measured, self.most, thorough=self.thorough and not found)
        if found and found.luts > _CLEARLY * luts:
            luts, chains = order.chains(measured, self.most)
        if found and found.luts < luts:
            return self.compressed(rw, known, measured, found)
        for numbers, sign in chains:
            known.append(self.added(rw, [known[n] for n in numbers], sign))
        last = known[-1]
        return last.value if last.sign > 0 else rw.make(Neg, last.value)

    def operands(
        self, rw: Rewriter, terms: tuple[Value, ...], weights: tuple[Fraction, ...], bias: Fraction
    ) -> list[_Operand]:
        """A sum's digits, and its constant."""
        found: list[_Operand] = []
        for value, weight in zip(terms, weights, strict=True):
            parts = self.made_of.get(value, {value: 1})
            for power, sign in digits(weight):
                moved = value if power == 1 else rw.make(Scale, value, power)  # the same code, another point
                found.append(_Operand(moved, sign, parts))
        if bias:
            number = rw.make(Number, bias)
            found.append(_Operand(number, 1, {None: int(bias / number.type.scalar.step)}))
        return found

    def measured(self, operands: list[_Operand]) -> tuple[order.Operand, ...]:
        """What decides on the chains, in steps of the finest operand, its level after the earliest one's."""
        fracs = [o.value.type.scalar.frac for o in operands]
        times = [self.arrivals.of(o.value) for o in operands]
        earliest = min(
            (t for t, o in zip(times, operands, strict=True) if not isinstance(o.value, Number)), default=0.0
        )
        levels = [
            max(int((time - earliest) / self.step + 0.5), 0) for time in times
        ]  # a constant is always there
        found = []
        for o, frac, level in zip(operands, fracs, order.brought_together(levels), strict=True):
            low = max(fracs) - frac
            lo, hi = (int(code) << low for code in range_of(o.value))
            found.append(order.Operand(lo, hi, low, o.sign, level))
        return tuple(found)

    def compressed(
        self, rw: Rewriter, known: list[_Operand], measured: tuple[order.Operand, ...], found: CompressorTree
    ) -> Value:
        """The sum by a compressor tree."""
        columns = [(o.value, m.low) for o, m in zip(known, measured, strict=True)]
        lo, hi = sum(m.lo for m in measured), sum(m.hi for m in measured)
        result = compressed(rw, found, columns, signed=lo < 0)
        low = -result.type.scalar.frac
        finest = max(o.value.type.scalar.frac for o in known)
        if finest:
            result = rw.make(Scale, result, Fraction(1, 2) ** finest)
        set_range(result, (-(-lo >> low), hi >> low))
        return result

    def added(self, rw: Rewriter, chosen: list[_Operand], sign: int) -> _Operand:
        """The sum of two or three operands, `sign` taken out of all of them."""
        value = _sum(rw, [o.value for o in chosen], [o.sign * sign for o in chosen])
        parts: Parts = {}
        for o in chosen:
            if o.value.type.scalar.width:
                factor = o.sign * sign << value.type.scalar.frac - o.value.type.scalar.frac
                for v, w in o.parts.items():
                    parts[v] = parts.get(v, 0) + factor * w
        value = self.narrowed(rw, value, parts)
        self.made_of[value] = parts
        return _Operand(value, sign, parts)

    def narrowed(self, rw: Rewriter, value: Value, parts: Parts) -> Value:
        """The value without the high bits that it never uses."""
        lo = hi = 0
        for v, w in parts.items():
            least, most = (int(code) for code in range_of(v)) if v is not None else (1, 1)
            lo, hi = lo + w * (least if w > 0 else most), hi + w * (most if w > 0 else least)
        fmt = value.type.scalar
        exact = holding(lo, hi, fmt.frac)
        if not 0 < exact.width < fmt.width:
            return value
        return rw.make(Quant, value, scalar(exact))


def _sum(rw: Rewriter, values: list[Value], signs: list[int]) -> Value:
    if len(values) == 3:
        return rw.make(Add3, tuple(values), tuple(Fraction(s) for s in signs))
    (a, b), (sign_a, sign_b) = values, signs
    if sign_a == sign_b:
        return rw.make(Add, a, b)
    return rw.make(Sub, a, b) if sign_a > 0 else rw.make(Sub, b, a)
