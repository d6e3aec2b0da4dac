"""Arithmetic, element by element. All of it exact: rounding and overflow live in `quant` alone."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import numpy as np

from lutc.graph import Bounds, Value
from lutc.numbers import align, exact, finest, finest_of, greatest, least, twos
from lutc.ops.base import Op, need
from lutc.types import Ints


def _both(op: Op, values: tuple[Ints, ...]) -> list[Ints]:
    """The operands' codes, all with the finest steps among them."""
    lsb = finest([v.type for v in op.operands])
    return [align(x, v.type.fracs, lsb) for x, v in zip(values, op.operands, strict=True)]


def _ends(op: Op, bounds: tuple[Bounds, ...]) -> list[Bounds]:
    los, his = _both(op, tuple(b[0] for b in bounds)), _both(op, tuple(b[1] for b in bounds))
    return list(zip(los, his, strict=True))


@dataclass(frozen=True, eq=False, repr=False)
class Add(Op):
    """The sum of two values."""

    keyword: ClassVar[str] = "add"
    a: Value
    b: Value

    def bounds(self, *operands: Bounds) -> Bounds:
        (a_lo, a_hi), (b_lo, b_hi) = _ends(self, operands)
        return a_lo + b_lo, a_hi + b_hi

    def eval(self, *operands: Ints) -> Ints:
        a, b = _both(self, operands)
        return a + b


@dataclass(frozen=True, eq=False, repr=False)
class Sub(Op):
    """The first value minus the second."""

    keyword: ClassVar[str] = "sub"
    a: Value
    b: Value

    def bounds(self, *operands: Bounds) -> Bounds:
        (a_lo, a_hi), (b_lo, b_hi) = _ends(self, operands)
        return a_lo - b_hi, a_hi - b_lo

    def eval(self, *operands: Ints) -> Ints:
        a, b = _both(self, operands)
        return a - b


@dataclass(frozen=True, eq=False, repr=False)
class Mul(Op):
    """The product of two values. Its bits after the point are those of both factors together."""

    keyword: ClassVar[str] = "mul"
    a: Value
    b: Value

    def lsb(self) -> Ints:
        return self.a.type.fracs + self.b.type.fracs

    def bounds(self, *operands: Bounds) -> Bounds:
        (a_lo, a_hi), (b_lo, b_hi) = operands
        a_lo, a_hi = exact(a_lo, b_lo), exact(a_hi, b_lo)
        corners = [a_lo * b_lo, a_lo * b_hi, a_hi * b_lo, a_hi * b_hi]
        lo = hi = corners[0]
        for c in corners[1:]:
            lo, hi = least(lo, c), greatest(hi, c)
        return lo, hi

    def eval(self, *operands: Ints) -> Ints:
        return operands[0] * operands[1]


@dataclass(frozen=True, eq=False, repr=False)
class Scale(Op):
    """A value times a constant that is a sum of powers of two. A power of two only moves the point, for free."""

    keyword: ClassVar[str] = "scale"
    x: Value
    by: Fraction

    @property
    def odd(self) -> int:
        """The factor's code without its trailing zeros, which move the point instead."""
        _dyadic(self.by, "by")
        return (self.by * Fraction(2) ** twos(self.by)).numerator

    def lsb(self) -> Ints:
        _dyadic(self.by, "by")
        return self.x.type.fracs + twos(self.by)

    def bounds(self, *operands: Bounds) -> Bounds:
        lo, hi = operands[0]
        k = self.odd
        return (lo * k, hi * k) if k >= 0 else (hi * k, lo * k)

    def eval(self, *operands: Ints) -> Ints:
        return operands[0] * self.odd


def _dyadic(value: Fraction, what: str) -> None:
    need(
        not value.denominator & (value.denominator - 1),
        f"{what}={value} is no sum of powers of two",
        "use rescale for a factor that is not: %y: FORMAT = rescale %x, by=P/Q",
    )


@dataclass(frozen=True, eq=False, repr=False)
class Lincomb(Op):
    """The linear combination `weights[0]*a + weights[1]*b + ... + bias`, kept whole until the adders are chosen.

    Weights and bias are sums of powers of two.
    """

    keyword: ClassVar[str] = "lincomb"
    terms: tuple[Value, ...]
    weights: tuple[Fraction, ...]
    bias: Fraction = Fraction(0)

    def lsb(self) -> Ints:
        need(
            len(self.weights) == len(self.terms) > 0,
            f"has {len(self.terms)} terms and {len(self.weights)} weights",
            "write one weight for each term: lincomb %a, %b, weights=[1, -0.5]",
        )
        for w in (*self.weights, self.bias):
            _dyadic(w, "weight")
        counted = [
            (v.type.fracs + twos(w), v.type.widths)
            for v, w in zip(self.terms, self.weights, strict=True)
            if w
        ]
        return finest_of([*counted, (twos(self.bias), 1)] if self.bias else counted)

    def bounds(self, *operands: Bounds) -> Bounds:
        lo = hi = self._bias()
        for (a, b), w, shift in zip(operands, self._factors(), self._shifts(), strict=True):
            a, b = (a, b) if w >= 0 else (b, a)
            lo = lo + (exact(a * w, shift) << shift)
            hi = hi + (exact(b * w, shift) << shift)
        return lo, hi

    def eval(self, *operands: Ints) -> Ints:
        result: Ints = self._bias()
        for x, w, shift in zip(operands, self._factors(), self._shifts(), strict=True):
            result = result + ((x * w) << shift)
        return result

    def _factors(self) -> list[int]:
        """Every weight's odd part."""
        return [(w * Fraction(2) ** twos(w)).numerator for w in self.weights]

    def _shifts(self) -> list[Ints]:
        """How far every term is moved left to the result's steps; terms that are 0 may claim any shift."""
        lsb = self.lsb()
        return [
            greatest(lsb - v.type.fracs - twos(w), 0) if w else 0
            for v, w in zip(self.terms, self.weights, strict=True)
        ]

    def _bias(self) -> Ints:
        if not self.bias:
            return 0
        odd = (self.bias * Fraction(2) ** twos(self.bias)).numerator
        shift = self.lsb() - twos(self.bias)
        return exact(odd, shift) << shift

    def work_bits(self) -> int:
        """Partial sums may be wider than a result in which terms cancel."""
        factors = max((abs(f).bit_length() for f in self._factors()), default=0)
        shifts = [int(np.max(s)) for s in self._shifts()]
        widest = max(v.type.max_width for v in self.terms)
        return max(self.type.max_width, widest + factors + max(shifts, default=0)) + len(self.terms).bit_length()


@dataclass(frozen=True, eq=False, repr=False)
class Neg(Op):
    """The value with its sign changed."""

    keyword: ClassVar[str] = "neg"
    x: Value

    def bounds(self, *operands: Bounds) -> Bounds:
        lo, hi = operands[0]
        return -hi, -lo

    def eval(self, *operands: Ints) -> Ints:
        return -operands[0]


@dataclass(frozen=True, eq=False, repr=False)
class Abs(Op):
    """The value without its sign."""

    keyword: ClassVar[str] = "abs"
    x: Value

    def bounds(self, *operands: Bounds) -> Bounds:
        lo, hi = operands[0]
        return greatest(greatest(lo, -hi), _zero(lo)), greatest(hi, -lo)

    def eval(self, *operands: Ints) -> Ints:
        return abs(operands[0])


@dataclass(frozen=True, eq=False, repr=False)
class Relu(Op):
    """The value where it is positive, else 0."""

    keyword: ClassVar[str] = "relu"
    x: Value

    def bounds(self, *operands: Bounds) -> Bounds:
        lo, hi = operands[0]
        return greatest(lo, _zero(lo)), greatest(hi, _zero(hi))

    def eval(self, *operands: Ints) -> Ints:
        return greatest(operands[0], _zero(operands[0]))


def _zero(like: Ints) -> Ints:
    return 0 if isinstance(like, int) else np.zeros_like(like)


@dataclass(frozen=True, eq=False, repr=False)
class Min(Op):
    """The smaller of two values."""

    keyword: ClassVar[str] = "min"
    a: Value
    b: Value

    def bounds(self, *operands: Bounds) -> Bounds:
        (a_lo, a_hi), (b_lo, b_hi) = _ends(self, operands)
        return least(a_lo, b_lo), least(a_hi, b_hi)

    def eval(self, *operands: Ints) -> Ints:
        return least(*_both(self, operands))


@dataclass(frozen=True, eq=False, repr=False)
class Max(Op):
    """The larger of two values."""

    keyword: ClassVar[str] = "max"
    a: Value
    b: Value

    def bounds(self, *operands: Bounds) -> Bounds:
        (a_lo, a_hi), (b_lo, b_hi) = _ends(self, operands)
        return greatest(a_lo, b_lo), greatest(a_hi, b_hi)

    def eval(self, *operands: Ints) -> Ints:
        return greatest(*_both(self, operands))
