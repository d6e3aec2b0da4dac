"""Arithmetic of one or two values, element by element. All of it exact: rounding and overflow live in `quant` alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from lutc.ir.graph import Bounds, Value
from lutc.ir.ops.base import Op
from lutc.numbers import align, aligned_bits, finest, greatest, least
from lutc.rtl import circuits
from lutc.rtl.chains import chain_bits, row
from lutc.types import Ints

if TYPE_CHECKING:
    from lutc.rtl.builder import ModuleBuilder
    from lutc.rtl.nets import Net
    from lutc.target import Target

__all__ = ["Abs", "Add", "Max", "Min", "Neg", "Relu", "Sub"]


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


def _chain(op: Add | Sub, subtracted: bool) -> int:
    """The bits of a scalar's carry chain; of tensors, whose elements differ, those of the widest result."""
    if op.type.shape:
        return op.type.max_width
    a, b, to = op.a.type.scalar, op.b.type.scalar, op.type.scalar
    if not a.width or not b.width:
        return to.width if subtracted and b.width else 0
    return chain_bits([row(a, to.frac, False), row(b, to.frac, subtracted)], to.width)


@dataclass(frozen=True, eq=False, repr=False)
class Add(Op):
    """The sum of two values."""

    keyword: ClassVar[str] = "add"
    elementwise: ClassVar[bool] = True
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
        return target.adder_luts(_chain(self, False))

    def delay(self, target: Target) -> float:
        return target.adder_ns(_chain(self, False))


@dataclass(frozen=True, eq=False, repr=False)
class Sub(Op):
    """The first value minus the second."""

    keyword: ClassVar[str] = "sub"
    elementwise: ClassVar[bool] = True
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
        return target.adder_luts(_chain(self, True))

    def delay(self, target: Target) -> float:
        return target.adder_ns(_chain(self, True))


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

    elementwise: ClassVar[bool] = True
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
