"""Products: of two values, and of a value and a constant; made by LUTs, or by DSP blocks where the text says so."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar

from lutc import numbers
from lutc.ir.graph import Bounds, OpMistake, Value
from lutc.ir.ops.base import Op
from lutc.numbers import exact, greatest, least, twos
from lutc.rtl import circuits
from lutc.rtl.nets import wrap
from lutc.types import Ints, holding

if TYPE_CHECKING:
    from lutc.rtl.builder import ModuleBuilder
    from lutc.rtl.nets import Net
    from lutc.target import Target

__all__ = ["Mul", "Scale"]


@dataclass(frozen=True, eq=False, repr=False)
class Mul(Op):
    """The product of two values. Its bits after the point are those of both factors together.

    `dsp` says that DSP blocks of the device make it, and not LUTs. The numbers are the same.
    """

    keyword: ClassVar[str] = "mul"
    elementwise: ClassVar[bool] = True
    a: Value
    b: Value
    dsp: bool = False

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

    def luts(self, target: Target) -> float:
        if self.dsps(target):
            return 0.0
        return target.multiplier_luts(self.a.type.max_width, self.b.type.max_width)

    def dsps(self, target: Target) -> int:
        if not self.dsp or not self.type.max_width:
            return 0
        return target.dsp_blocks(*target.factor_bits(self.a.type.scalar, self.b.type.scalar))

    def delay(self, target: Target) -> float:
        if self.dsps(target):
            return target.dsp_ns()
        return target.multiplier_ns(self.a.type.max_width, self.b.type.max_width)

    def rtl(self, build: ModuleBuilder, *operands: Net) -> Net:
        if not self.type.scalar.width:
            return circuits.zero(build)
        to = circuits.net_format(self.type.scalar)
        a, b = (build.fit(n, *to) for n in operands)
        return build.mul(a, b, self.dsp)


@dataclass(frozen=True, eq=False, repr=False)
class Scale(Op):
    """A value times a constant that is a sum of powers of two. A power of two only moves the point, for free.

    `dsp` says that DSP blocks of the device make the product, and not additions. The numbers are the same.
    """

    keyword: ClassVar[str] = "scale"
    x: Value
    by: Fraction
    dsp: bool = False

    @property
    def odd(self) -> int:
        """The factor's code without its trailing zeros, which move the point instead."""
        dyadic(self.by, "by")
        return split(self.by)[0]

    def lsb(self) -> Ints:
        dyadic(self.by, "by")
        return self.x.type.fracs + split(self.by)[1]

    def bounds(self, *operands: Bounds) -> Bounds:
        lo, hi = operands[0]
        k = self.odd
        return (lo * k, hi * k) if k >= 0 else (hi * k, lo * k)

    def eval(self, *operands: Ints) -> Ints:
        return operands[0] * self.odd

    def luts(self, target: Target) -> float:
        if self.dsps(target):
            return 0.0
        terms = len(numbers.signed_digits(self.odd))
        return max(terms - 1, 0) * target.adder_luts(self.type.max_width)

    def dsps(self, target: Target) -> int:
        if not self.dsp or len(numbers.signed_digits(self.odd)) <= 1:
            return 0
        return target.dsp_blocks(*target.factor_bits(self.x.type.scalar, holding(self.odd, self.odd, 0)))

    def delay(self, target: Target) -> float:
        if self.dsps(target):
            return target.dsp_ns()
        terms = len(numbers.signed_digits(self.odd))
        return max(terms - 1, 0).bit_length() * target.adder_ns(self.type.max_width)

    def rtl(self, build: ModuleBuilder, *operands: Net) -> Net:
        to = circuits.net_format(self.type.scalar)
        x = build.fit(operands[0], *to)
        if not self.type.scalar.width:
            return circuits.zero(build)
        if self.odd == -1:
            return build.neg(x)
        # The factor taken modulo the width: a product is only as wide as its result.
        return x if self.odd == 1 else build.mul(x, build.const(wrap(self.odd, *to), *to), self.dsp)


def dyadic(value: Fraction, what: str) -> None:
    """Raise OpMistake unless `value`, the attribute `what`, is a sum of powers of two."""
    if not numbers.dyadic(value):
        raise OpMistake(
            f"{what}={value} is no sum of powers of two",
            "use rescale for a factor that is not: %y: FORMAT = rescale %x, by=P/Q",
        )


@lru_cache(maxsize=65536)
def split(number: Fraction) -> tuple[int, int]:
    """A sum of powers of two as `odd * 2**-frac`: the odd integer, and frac."""
    frac = twos(number)
    return (number * Fraction(2) ** frac).numerator, frac
