"""Comparison, choice and bits, element by element."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from lutc.ir.graph import Bounds, Value
from lutc.ir.ops.base import Op, need, same_shape
from lutc.ir.ops.table import ConstOp, Number
from lutc.numbers import align, aligned_bits, exact, finest, greatest, least
from lutc.rtl import circuits
from lutc.types import BIT, ZERO, Choice, Fixed, Ints, Type, tensor, uniform

if TYPE_CHECKING:
    from lutc.rtl.builder import ModuleBuilder
    from lutc.rtl.nets import Net
    from lutc.target import Target

__all__ = ["And", "BitConcat", "BitSlice", "Compare", "Not", "Or", "Relation", "Select", "Xor"]


class Relation(Choice):
    """How `compare` relates its first operand to its second."""

    LT = "lt", "less than"
    LE = "le", "less than or equal to"
    EQ = "eq", "equal to"
    NE = "ne", "not equal to"
    GE = "ge", "greater than or equal to"
    GT = "gt", "greater than"


@dataclass(frozen=True, eq=False, repr=False)
class Compare(Op):
    """1 where the relation holds between two numbers, else 0. Formats may differ: numbers are compared, not bits."""

    keyword: ClassVar[str] = "compare"
    elementwise: ClassVar[bool] = True
    a: Value
    b: Value
    rel: Relation

    def infer(self) -> Type:
        """`u1`."""
        return uniform(same_shape(self.operands), BIT)

    def bounds(self, *operands: Bounds) -> Bounds:
        (a_lo, a_hi), (b_lo, b_hi) = self._aligned(*operands)
        match self.rel:
            case Relation.LT:
                sure, never = a_hi < b_lo, a_lo >= b_hi
            case Relation.LE:
                sure, never = a_hi <= b_lo, a_lo > b_hi
            case Relation.GT:
                sure, never = a_lo > b_hi, a_hi <= b_lo
            case Relation.GE:
                sure, never = a_lo >= b_hi, a_hi < b_lo
            case Relation.EQ:
                sure = (a_lo == a_hi) & (b_lo == b_hi) & (a_lo == b_lo)
                never = (a_hi < b_lo) | (a_lo > b_hi)
            case Relation.NE:
                sure = (a_hi < b_lo) | (a_lo > b_hi)
                never = (a_lo == a_hi) & (b_lo == b_hi) & (a_lo == b_lo)
        return _bit(sure), 1 - _bit(never)

    def _aligned(self, *operands: Bounds) -> list[Bounds]:
        lsb = finest([v.type for v in self.operands])
        return [
            (align(lo, v.type.fracs, lsb), align(hi, v.type.fracs, lsb))
            for (lo, hi), v in zip(operands, self.operands, strict=True)
        ]

    def eval(self, *operands: Ints) -> Ints:
        lsb = finest([v.type for v in self.operands])
        a, b = (align(x, v.type.fracs, lsb) for x, v in zip(operands, self.operands, strict=True))
        test = {
            Relation.LT: np.less,
            Relation.LE: np.less_equal,
            Relation.EQ: np.equal,
            Relation.NE: np.not_equal,
            Relation.GE: np.greater_equal,
            Relation.GT: np.greater,
        }[self.rel]
        return test(a, b).astype(np.int64)

    def work_bits(self) -> int:
        return aligned_bits([self.a.type, self.b.type])

    def luts(self, target: Target) -> float:
        width = max(v.type.max_width for v in self.operands)
        if not any(isinstance(v, ConstOp | Number) for v in self.operands):
            return target.adder_luts(width) / 2
        if width <= target.lut_inputs:
            return target.table_luts(width, 1)
        # With a constant, a LUT takes in all its bits but one, and there the result for the bits below.
        return math.ceil((width - 1) / (target.lut_inputs - 1))

    def delay(self, target: Target) -> float:
        return target.adder_ns(max(v.type.max_width for v in self.operands))

    def rtl(self, build: ModuleBuilder, *operands: Net) -> Net:
        formats = [v.type.scalar for v in self.operands]
        both = circuits.common(*formats)
        a, b = (circuits.aligned(build, n, f, both) for n, f in zip(operands, formats, strict=True))
        match self.rel:
            case Relation.LT:
                return build.lt(a, b)
            case Relation.GT:
                return build.gt(a, b)
            case Relation.EQ:
                return build.eq(a, b)
            case Relation.NE:
                return build.not_(build.eq(a, b))
            case Relation.LE:
                return build.not_(build.gt(a, b))
            case Relation.GE:
                return build.not_(build.lt(a, b))


def _bit(condition: Ints) -> Ints:
    return int(condition) if isinstance(condition, bool) else np.asarray(condition, dtype=object) * 1


@dataclass(frozen=True, eq=False, repr=False)
class Select(Op):
    """The second operand where the first is 1; the third where it is 0.

    The condition is a `u1`, or a `u0`, which is always 0.
    """

    keyword: ClassVar[str] = "select"
    elementwise: ClassVar[bool] = True
    condition: Value
    yes: Value
    no: Value

    def lsb(self) -> Ints:
        # A narrowed condition may have become the number 0, which has no bits.
        need(
            all(f in (BIT, ZERO) for _, f in self.condition.type.runs),
            f"chooses by a u1, not by {self.condition.type}",
            "make one: %c = compare %a, %b, rel=lt",
        )
        return finest([self.yes.type, self.no.type])

    def bounds(self, *operands: Bounds) -> Bounds:
        (c_lo, c_hi), *_ = operands
        lsb = self.lsb()
        y_lo, y_hi = (align(x, self.yes.type.fracs, lsb) for x in operands[1])
        n_lo, n_hi = (align(x, self.no.type.fracs, lsb) for x in operands[2])
        if isinstance(c_lo, int) and c_lo == c_hi:
            return (y_lo, y_hi) if c_lo else (n_lo, n_hi)
        return least(y_lo, n_lo), greatest(y_hi, n_hi)

    def eval(self, *operands: Ints) -> Ints:
        lsb = self.lsb()
        yes = align(operands[1], self.yes.type.fracs, lsb)
        no = align(operands[2], self.no.type.fracs, lsb)
        return np.where(operands[0] != 0, yes, no)

    def luts(self, target: Target) -> float:
        return target.mux_luts(self.type.max_width)

    def delay(self, target: Target) -> float:
        return target.lut_ns()

    def rtl(self, build: ModuleBuilder, *operands: Net) -> Net:
        to = self.type.scalar
        yes = circuits.aligned(build, operands[1], self.yes.type.scalar, to)
        no = circuits.aligned(build, operands[2], self.no.type.scalar, to)
        return build.mux(operands[0], yes, no)


class _Bitwise(Op):
    """What the operations on two bit patterns of one format share."""

    strict: ClassVar[bool] = True
    elementwise: ClassVar[bool] = True

    def infer(self) -> Type:
        """That of the operands, which have one type."""
        same_shape(self.operands)
        first = self.operands[0].type
        for v in self.operands[1:]:
            need(
                v.type == first,
                f"works on bits and needs operands of one format, but has {first} and {v.type}",
                f"bring the other to it first: %b: {first} = quant %a",
            )
        return first

    def bounds(self, *operands: Bounds) -> Bounds:
        return self.type.ranges


@dataclass(frozen=True, eq=False, repr=False)
class And(_Bitwise):
    """Bit by bit: 1 where both are 1."""

    keyword: ClassVar[str] = "and"
    a: Value
    b: Value

    def eval(self, *operands: Ints) -> Ints:
        return operands[0] & operands[1]

    def rtl(self, build: ModuleBuilder, *operands: Net) -> Net:
        return build.and_(*operands)

    def luts(self, target: Target) -> float:
        return target.mux_luts(self.type.max_width)

    def delay(self, target: Target) -> float:
        return target.lut_ns()


@dataclass(frozen=True, eq=False, repr=False)
class Or(_Bitwise):
    """Bit by bit: 1 where one of them is 1."""

    keyword: ClassVar[str] = "or"
    a: Value
    b: Value

    def eval(self, *operands: Ints) -> Ints:
        return operands[0] | operands[1]

    def rtl(self, build: ModuleBuilder, *operands: Net) -> Net:
        return build.or_(*operands)

    def luts(self, target: Target) -> float:
        return target.mux_luts(self.type.max_width)

    def delay(self, target: Target) -> float:
        return target.lut_ns()


@dataclass(frozen=True, eq=False, repr=False)
class Xor(_Bitwise):
    """Bit by bit: 1 where they differ."""

    keyword: ClassVar[str] = "xor"
    a: Value
    b: Value

    def eval(self, *operands: Ints) -> Ints:
        return operands[0] ^ operands[1]

    def rtl(self, build: ModuleBuilder, *operands: Net) -> Net:
        return build.xor(*operands)

    def luts(self, target: Target) -> float:
        return target.mux_luts(self.type.max_width)

    def delay(self, target: Target) -> float:
        return target.lut_ns()


@dataclass(frozen=True, eq=False, repr=False)
class Not(_Bitwise):
    """Every bit turned over."""

    keyword: ClassVar[str] = "not"
    x: Value

    def eval(self, *operands: Ints) -> Ints:
        lo, hi = self.type.ranges
        ends = lo + hi  # -1 if signed, all ones if not: x and its complement always add up to it
        return (ends if isinstance(ends, int) else ends.astype(operands[0].dtype)) - operands[0]

    def rtl(self, build: ModuleBuilder, *operands: Net) -> Net:
        return build.not_(operands[0]) if self.type.scalar.width else circuits.zero(build)

    def luts(self, target: Target) -> float:
        return target.mux_luts(self.type.max_width)

    def delay(self, target: Target) -> float:
        return target.lut_ns()


@dataclass(frozen=True, eq=False, repr=False)
class BitConcat(Op):
    """Bit patterns side by side, the first the most significant; the result is an unsigned integer."""

    keyword: ClassVar[str] = "bit_concat"
    elementwise: ClassVar[bool] = True
    strict: ClassVar[bool] = True
    parts: tuple[Value, ...]

    def infer(self) -> Type:
        """An unsigned integer as wide as its operands together."""
        need(bool(self.parts), "joins at least one value")
        shape = same_shape(self.parts)
        if all(v.type.format for v in self.parts):
            return uniform(shape, Fixed(False, sum(v.type.max_width for v in self.parts)))
        widths = sum(np.broadcast_to(v.type.widths, shape) for v in self.parts).ravel().tolist()  # type: ignore[union-attr]
        return tensor(shape, [Fixed(False, w) for w in widths])

    def bounds(self, *operands: Bounds) -> Bounds:
        return self.type.ranges

    def eval(self, *operands: Ints) -> Ints:
        result: Ints = operands[0] * 0
        for x, v in zip(operands, self.parts, strict=True):
            width = exact(v.type.widths, result) if result.dtype == object else v.type.widths
            result = (result << width) | (x & ((exact_one(result) << width) - 1))
        return result

    def rtl(self, build: ModuleBuilder, *operands: Net) -> Net:
        live = [n for n, v in zip(operands, self.parts, strict=True) if v.type.scalar.width]
        return build.append(*live) if live else circuits.zero(build)


def exact_one(like: Ints) -> Ints:
    """A 1 that may be shifted as far as `like` allows."""
    return np.asarray(1, dtype=like.dtype)


@dataclass(frozen=True, eq=False, repr=False)
class BitSlice(Op):
    """The bits `high` down to `low` of a bit pattern, both counted; the result is an unsigned integer."""

    keyword: ClassVar[str] = "bit_slice"
    strict: ClassVar[bool] = True
    x: Value
    high: int
    low: int

    def infer(self) -> Type:
        """An unsigned integer as wide as the bits it takes."""
        narrow = min((f.width for _, f in self.x.type.runs), default=0)
        need(
            0 <= self.low <= self.high and (self.high < narrow or not self.x.type.size),
            f"takes bits {self.high} to {self.low} of {self.x.type}, which has bits {narrow - 1} to 0",
            "high and low count from bit 0, the lowest, and high is not below low",
        )
        return uniform(self.x.type.shape, Fixed(False, self.high - self.low + 1))

    def bounds(self, *operands: Bounds) -> Bounds:
        return self.type.ranges

    def eval(self, *operands: Ints) -> Ints:
        one = exact_one(operands[0])
        return (operands[0] >> self.low) & ((one << (self.high - self.low + 1)) - 1)

    def rtl(self, build: ModuleBuilder, *operands: Net) -> Net:
        return build.slice(operands[0], self.high, self.low)
