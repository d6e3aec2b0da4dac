"""Sums of more than two values: the n-ary one that passes keep whole, and the carry chain that hardware has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from lutc.ir.graph import Bounds, OpMistake, Value
from lutc.ir.ops.base import Op, need
from lutc.ir.ops.products import dyadic, split
from lutc.lazy import lazy
from lutc.numbers import (
    as_code,
    exact,
    finest_of,
    greatest,
    one_digit,
    power_of_two,
    signed_digits,
    trailing_zeros,
    twos,
)
from lutc.rtl import circuits
from lutc.rtl.chains import chain_bits, row
from lutc.rtl.nets import wrap
from lutc.types import Fixed, Ints, holding

if TYPE_CHECKING:
    from lutc.rtl.builder import ModuleBuilder
    from lutc.rtl.nets import Net
    from lutc.target import Target

__all__ = ["Add3", "Lincomb"]


@dataclass(frozen=True, eq=False, repr=False)
class _Weighted(Op):
    """What Lincomb and Add3 have in common: `weights[0]*a + weights[1]*b + ... + bias`, exactly."""

    elementwise: ClassVar[bool] = True
    terms: tuple[Value, ...]
    weights: tuple[Fraction, ...]
    bias: Fraction = Fraction(0)

    def lsb(self) -> Ints:
        if not len(self.weights) == len(self.terms) > 0:
            raise OpMistake(
                f"has {len(self.terms)} terms and {len(self.weights)} weights",
                f"write one weight for each term: {self.keyword} %a, %b, weights=[1, -0.5]",
            )
        return self._lsb

    @lazy
    def _lsb(self) -> Ints:
        for w in (*self.weights, self.bias):
            dyadic(w, "weight")
        counted = [
            (v.type.fracs + frac, v.type.widths)
            for v, (odd, frac) in zip(self.terms, self._parts, strict=True)
            if odd
        ]
        return finest_of([*counted, (twos(self.bias), 1)] if self.bias else counted)

    def bounds(self, *operands: Bounds) -> Bounds:
        lo = hi = self._bias()
        if not self.terms[0].type.shape:
            for (a, b), (w, _), shift in zip(operands, self._parts, self._lefts, strict=True):
                w <<= shift
                lo, hi = (lo + a * w, hi + b * w) if w >= 0 else (lo + b * w, hi + a * w)
            return lo, hi
        for (a, b), (w, _), shift in zip(operands, self._parts, self._lefts, strict=True):
            a, b = (a, b) if w >= 0 else (b, a)
            lo = lo + (exact(a * w, shift) << shift)
            hi = hi + (exact(b * w, shift) << shift)
        return lo, hi

    def eval(self, *operands: Ints) -> Ints:
        result: Ints = self._bias()
        for x, (w, _), shift in zip(operands, self._parts, self._lefts, strict=True):
            result = result + ((x * w) << shift)
        return result

    @lazy
    def _parts(self) -> list[tuple[int, int]]:
        """Every weight as `odd * 2**-frac`."""
        return [split(w) for w in self.weights]

    @lazy
    def _lefts(self) -> list[Ints]:
        """How far every term is moved left to the result's steps; terms that are 0 may claim any shift."""
        lsb = self.lsb()
        return [
            greatest(lsb - v.type.fracs - frac, 0) if odd else 0
            for v, (odd, frac) in zip(self.terms, self._parts, strict=True)
        ]

    def _bias(self) -> Ints:
        if not self.bias:
            return 0
        odd, frac = split(self.bias)
        shift = self.lsb() - frac
        return exact(odd, shift) << shift

    def work_bits(self) -> int:
        """Partial sums may be wider than a result in which terms cancel."""
        factors = max((abs(odd).bit_length() for odd, _ in self._parts), default=0)
        shifts = [int(np.max(s)) for s in self._lefts]
        widest = max(v.type.max_width for v in self.terms)
        return (
            max(self.type.max_width, widest + factors + max(shifts, default=0)) + len(self.terms).bit_length()
        )

    @property
    def one_chain(self) -> bool:
        """Whether one carry chain can add it as it is."""
        return in_one_chain(self.weights, self.bias) and all(v.type.max_width for v in self.terms)

    def luts(self, target: Target) -> float:
        if target.ternary and self.one_chain:
            return target.adder_luts(self._chain())
        return self._adders() * target.adder_luts(self.type.max_width)

    def delay(self, target: Target) -> float:
        if target.ternary and self.one_chain:
            return target.ternary_ns(self._chain())
        if not target.ternary:
            return self._adders().bit_length() * target.adder_ns(self.type.max_width)
        levels = 0
        while 3**levels <= self._adders():
            levels += 1
        return levels * target.ternary_ns(self.type.max_width)

    def _chain(self) -> int:
        """The bits of the one carry chain; of tensors, whose elements differ, those of the widest result."""
        if self.type.shape:
            return self.type.max_width
        to = self.type.scalar
        rows = [
            row(replace(f := v.type.scalar, frac=f.frac + twos(w)), to.frac, w < 0)
            for v, w in zip(self.terms, self.weights, strict=True)
        ]
        if self.bias:
            frac = twos(self.bias)
            code = as_code(self.bias, frac)
            rows.append(row(holding(code, code, frac), to.frac, False))
        return chain_bits(rows, to.width)

    def _adders(self) -> int:
        """How many two-operand adders it is."""
        numbers = [odd for odd, _ in self._parts]
        return max(sum(len(signed_digits(n)) for n in (*numbers, self.bias.numerator)) - 1, 0)


@dataclass(frozen=True, eq=False, repr=False)
class Lincomb(_Weighted):
    """The linear combination `weights[0]*a + weights[1]*b + ... + bias`, kept whole until the adders are chosen.

    Weights and bias are sums of powers of two.
    """

    keyword: ClassVar[str] = "lincomb"

    def rtl(self, build: ModuleBuilder, *operands: Net) -> Net:
        """Term after term: its code in steps of the result, times a constant, added to the bias or subtracted."""
        to = self.type.scalar
        shape = circuits.net_format(to)
        result = build.const(wrap(as_code(self.bias, to.frac) if to.width else 0, *shape), *shape)
        for net, v, weight in zip(operands, self.terms, self.weights, strict=True):
            fmt = v.type.scalar
            if not weight or not fmt.width:
                continue
            steps = abs(weight * fmt.step / to.step).numerator  # whole: the result's steps are the finest
            shift = trailing_zeros(steps)
            x = build.fit(build.shift_left(net, shift), *shape)
            if not power_of_two(steps):
                x = build.mul(x, build.const(wrap(steps >> shift, *shape), *shape))
            result = build.add(result, x) if weight > 0 else build.sub(result, x)
        return result


@dataclass(frozen=True, eq=False, repr=False)
class Add3(_Weighted):
    """The sum of two or three numbers by one carry chain: `weights[0]*a + weights[1]*b + weights[2]*c`.

    Weights are powers of two, which only move the point, and their signs; at most two are negative. A bias is one of
    the numbers: `weights[0]*a + weights[1]*b + bias`.
    """

    keyword: ClassVar[str] = "add3"

    def lsb(self) -> Ints:
        found = super().lsb()
        need(
            in_one_chain(self.weights, self.bias),
            "adds two or three numbers, a bias counted, each times a power of two, at most two of them negative",
            "use lincomb for any other sum",
        )
        return found

    def rtl(self, build: ModuleBuilder, *operands: Net) -> Net:
        addends: list[circuits.Addend] = []
        for net, v, weight in zip(operands, self.terms, self.weights, strict=True):
            fmt = v.type.scalar
            moved = Fixed(fmt.signed, fmt.width, fmt.frac + twos(weight))
            addends.append((net, moved, 1 if weight > 0 else -1))
        if self.bias:
            frac = twos(self.bias)
            code = as_code(self.bias, frac)
            fmt = holding(code, code, frac)
            addends.append((build.const(code, *circuits.net_format(fmt)), fmt, 1))
        return circuits.add3(build, addends, self.type.scalar)


def in_one_chain(weights: Sequence[Fraction], bias: Fraction) -> bool:
    """Whether a carry chain of three operands can add so many numbers, times these weights, and the bias.

    Times a power of two is another point. A carry chain completes two negative operands, and no third one.
    """
    return (
        1 < len(weights) + bool(bias) <= 3
        and all(one_digit(w) for w in weights)
        and sum(w < 0 for w in weights) <= 2
    )
