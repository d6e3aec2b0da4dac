"""Arithmetic, element by element. All of it exact: rounding and overflow live in `quant` alone."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from lutc import numbers
from lutc.ir.graph import Bounds, OpMistake, Value
from lutc.ir.ops.base import Op
from lutc.ir.ops.products import dyadic, split
from lutc.lazy import lazy
from lutc.numbers import align, aligned_bits, as_code, exact, finest, finest_of, greatest, least, twos
from lutc.rtl import circuits
from lutc.rtl.nets import wrap
from lutc.types import Fixed, Ints, holding

if TYPE_CHECKING:
    from lutc.rtl.builder import ModuleBuilder
    from lutc.rtl.nets import Net
    from lutc.target import Target


def _both(op: Op, values: tuple[Ints, ...]) -> list[Ints]:
    """The operands' codes, all with the finest steps among them."""
    lsb = finest([v.type for v in op.operands])
    return [align(x, v.type.fracs, lsb) for x, v in zip(values, op.operands, strict=True)]


def _ends(op: Op, bounds: tuple[Bounds, ...]) -> list[Bounds]:
    """The ends of the operands' ranges, all with the finest steps among them."""
    types = [v.type for v in op.operands]
    lsb = finest(types)
    pairs = zip(bounds, types, strict=True)
    return [(align(lo, t.fracs, lsb), align(hi, t.fracs, lsb)) for (lo, hi), t in pairs]


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

    def rtl(self, build: ModuleBuilder, *operands: Net) -> Net:
        a, b = (v.type.scalar for v in self.operands)
        x, y = operands
        return circuits.add(build, x, y, a, b, self.type.scalar)

    def luts(self, target: Target) -> float:
        return target.adder_luts(self.type.max_width)

    def delay(self, target: Target) -> float:
        return target.adder_ns(self.type.max_width)


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

    def rtl(self, build: ModuleBuilder, *operands: Net) -> Net:
        a, b = (v.type.scalar for v in self.operands)
        x, y = operands
        return circuits.sub(build, x, y, a, b, self.type.scalar)

    def luts(self, target: Target) -> float:
        return target.adder_luts(self.type.max_width)

    def delay(self, target: Target) -> float:
        return target.adder_ns(self.type.max_width)


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
        if not len(self.weights) == len(self.terms) > 0:
            raise OpMistake(
                f"has {len(self.terms)} terms and {len(self.weights)} weights",
                "write one weight for each term: lincomb %a, %b, weights=[1, -0.5]",
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
            for (a, b), (w, _), shift in zip(operands, self._parts, self._shifts(), strict=True):
                w <<= shift
                lo, hi = (lo + a * w, hi + b * w) if w >= 0 else (lo + b * w, hi + a * w)
            return lo, hi
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
        return [odd for odd, _ in self._parts]

    @lazy
    def _parts(self) -> list[tuple[int, int]]:
        """Every weight as `odd * 2**-frac`."""
        return [split(w) for w in self.weights]

    def _shifts(self) -> list[Ints]:
        """How far every term is moved left to the result's steps; terms that are 0 may claim any shift."""
        return self._lefts

    @lazy
    def _lefts(self) -> list[Ints]:
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
        factors = max((abs(f).bit_length() for f in self._factors()), default=0)
        shifts = [int(np.max(s)) for s in self._shifts()]
        widest = max(v.type.max_width for v in self.terms)
        return (
            max(self.type.max_width, widest + factors + max(shifts, default=0)) + len(self.terms).bit_length()
        )

    @property
    def ternary(self) -> bool:
        """Whether one carry chain can add it: up to three shifted operands, the bias one of them, one or two added."""
        factors = self._factors()
        return (
            1 < len(factors) + bool(self.bias) <= 3
            and all(abs(f) == 1 for f in factors)
            and factors.count(-1) <= 2
            and all(v.type.max_width for v in self.terms)
        )

    def luts(self, target: Target) -> float:
        adders = self._adders()
        if self.ternary and target.ternary:
            adders = 1
        return adders * target.adder_luts(self.type.max_width)

    def delay(self, target: Target) -> float:
        if self.ternary and target.ternary:
            return target.ternary_ns(self.type.max_width)
        return self._adders().bit_length() * target.adder_ns(self.type.max_width)

    def _adders(self) -> int:
        """How many two-operand adders it is."""
        return max(sum(len(numbers.signed_digits(f)) for f in (*self._factors(), self.bias.numerator)) - 1, 0)

    def rtl(self, build: ModuleBuilder, *operands: Net) -> Net:
        to = self.type.scalar
        if self.ternary:
            formats = [scaled(v.type.scalar, w) for v, w in zip(self.terms, self.weights, strict=True)]
            addends = list(zip(operands, formats, self._factors(), strict=True))
            if self.bias:
                frac = twos(self.bias)
                code = as_code(self.bias, frac)
                fmt = holding(code, code, frac)
                addends.append((build.const(code, *circuits.net_format(fmt)), fmt, 1))
            return circuits.add3(build, addends, to)
        shape = circuits.net_format(to)
        result = build.const(wrap(self._bias(), *shape), *shape)
        for net, v, factor, shift in zip(operands, self.terms, self._factors(), self._shifts(), strict=True):
            if not factor or not v.type.scalar.width:
                continue
            x = build.fit(build.shift_left(net, shift), *shape)
            if abs(factor) != 1:
                x = build.mul(x, build.const(wrap(abs(factor), *shape), *shape))
            result = build.add(result, x) if factor > 0 else build.sub(result, x)
        return result


def scaled(fmt: Fixed, weight: Fraction) -> Fixed:
    """A format whose numbers are multiplied by plus or minus a power of two: the point moves."""
    return Fixed(fmt.signed, fmt.width, fmt.frac + twos(weight))


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

    def rtl(self, build: ModuleBuilder, *operands: Net) -> Net:
        return build.neg(build.fit(operands[0], *circuits.net_format(self.type.scalar)))

    def luts(self, target: Target) -> float:
        return target.adder_luts(self.type.max_width)

    def delay(self, target: Target) -> float:
        return target.adder_ns(self.type.max_width)


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

    def luts(self, target: Target) -> float:
        return target.adder_luts(self.type.max_width) if self.x.type.scalar.signed else 0.0

    def delay(self, target: Target) -> float:
        return target.adder_ns(self.type.max_width) if self.x.type.scalar.signed else 0.0

    def rtl(self, build: ModuleBuilder, *operands: Net) -> Net:
        x = operands[0]
        to = circuits.net_format(self.type.scalar)
        if not x.signed:
            return x
        return build.mux(build.msb(x), build.neg(build.fit(x, *to)), build.fit(x, *to))


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

    def luts(self, target: Target) -> float:
        return target.mux_luts(self.type.max_width) if self.x.type.scalar.signed else 0.0

    def delay(self, target: Target) -> float:
        return target.lut_ns() if self.x.type.scalar.signed else 0.0

    def rtl(self, build: ModuleBuilder, *operands: Net) -> Net:
        x = operands[0]
        to = circuits.net_format(self.type.scalar)
        return build.mux(build.msb(x), build.const(0, *to), build.fit(x, *to)) if x.signed else x


def _zero(like: Ints) -> Ints:
    return 0 if isinstance(like, int) else np.zeros_like(like)


@dataclass(frozen=True, eq=False, repr=False)
class _Extreme(Op):
    """What Min and Max have in common."""

    a: Value
    b: Value

    def work_bits(self) -> int:
        """The operand that loses may be far wider than the result."""
        return aligned_bits([self.a.type, self.b.type])

    def luts(self, target: Target) -> float:
        return target.adder_luts(self.type.max_width) + target.mux_luts(self.type.max_width)

    def delay(self, target: Target) -> float:
        return target.adder_ns(self.type.max_width) + target.lut_ns()


@dataclass(frozen=True, eq=False, repr=False)
class Min(_Extreme):
    """The smaller of two values."""

    keyword: ClassVar[str] = "min"

    def bounds(self, *operands: Bounds) -> Bounds:
        (a_lo, a_hi), (b_lo, b_hi) = _ends(self, operands)
        return least(a_lo, b_lo), least(a_hi, b_hi)

    def eval(self, *operands: Ints) -> Ints:
        return least(*_both(self, operands))

    def rtl(self, build: ModuleBuilder, *operands: Net) -> Net:
        return _chosen(self, build, operands, first_if_less=True)


@dataclass(frozen=True, eq=False, repr=False)
class Max(_Extreme):
    """The larger of two values."""

    keyword: ClassVar[str] = "max"

    def bounds(self, *operands: Bounds) -> Bounds:
        (a_lo, a_hi), (b_lo, b_hi) = _ends(self, operands)
        return greatest(a_lo, b_lo), greatest(a_hi, b_hi)

    def eval(self, *operands: Ints) -> Ints:
        return greatest(*_both(self, operands))

    def rtl(self, build: ModuleBuilder, *operands: Net) -> Net:
        return _chosen(self, build, operands, first_if_less=False)


def _chosen(op: Op, build: ModuleBuilder, operands: tuple[Net, ...], *, first_if_less: bool) -> Net:
    """The smaller or the larger of two numbers: compared in a format that holds both, then picked."""
    formats = [v.type.scalar for v in op.operands]
    both = circuits.common(*formats)
    if not both.width:
        return circuits.zero(build)
    a, b = (circuits.aligned(build, n, f, both) for n, f in zip(operands, formats, strict=True))
    less = build.lt(a, b)
    x, y = (build.fit(n, *circuits.net_format(op.type.scalar)) for n in (a, b))
    return build.mux(less, x, y) if first_if_less else build.mux(less, y, x)
