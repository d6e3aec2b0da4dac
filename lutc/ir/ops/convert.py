"""Into a type that is written: `quant` and `rescale`, which round, and `bit_cast`, which reads the bits anew."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from lutc.ir.graph import Bounds, OpMistake, Value
from lutc.ir.ops.base import Op, need
from lutc.numbers import bounded, divide, greatest, least, overflow, rounded
from lutc.rtl import circuits
from lutc.types import Fixed, Ints, Overflow, Rounding, Type

if TYPE_CHECKING:
    from lutc.rtl.builder import ModuleBuilder
    from lutc.rtl.nets import Net
    from lutc.target import Target

__all__ = ["BitCast", "Quant", "Rescale"]


@dataclass(frozen=True, eq=False, repr=False)
class Quant(Op):
    """The value in another format: rounded to its steps, then brought into its range."""

    keyword: ClassVar[str] = "quant"
    x: Value
    to: Type
    round: Rounding = Rounding.FLOOR
    overflow: Overflow = Overflow.WRAP

    def infer(self) -> Type:
        _same_shape(self.x.type, self.to)
        return self.to

    def unclear(self) -> tuple[tuple[str, str], ...]:
        """The rounding where bits after the point are dropped, the overflow where the range is left."""
        found = []
        if self._drops():
            found.append(("round", f"drops bits after the point, from {self.x.type} to {self.to}"))
        if self._leaves():
            found.append(("overflow", f"goes from {self.x.type} to {self.to}, which reaches less far"))
        return tuple(found)

    def _live(self) -> Any:
        """Of which elements both formats have bits."""
        return (self.x.type.widths > 0) & (self.to.widths > 0)

    def _drops(self) -> bool:
        """Whether bits after the point are dropped, of an element that has bits before and behind."""
        return bool(np.any(self._live() & (self.x.type.fracs > self.to.fracs)))

    def _leaves(self) -> bool:
        """Whether codes of the operand, rounded, leave the result's range, of such an element."""
        shift = self.x.type.fracs - self.to.fracs
        lo, hi = (divide(end, shift, self.round) for end in self.x.type.ranges)
        least, most = self.to.ranges
        return bool(np.any(self._live() & ((lo < least) | (hi > most))))

    def bounds(self, *operands: Bounds) -> Bounds:
        shift = self.x.type.fracs - self.to.fracs
        lo, hi = (divide(x, shift, self.round) for x in operands[0])
        return _into(lo, hi, self.to, self.overflow)

    def eval(self, *operands: Ints) -> Ints:
        return overflow(
            divide(operands[0], self.x.type.fracs - self.to.fracs, self.round), self.to, self.overflow
        )

    def work_bits(self) -> int:
        shift = self.to.fracs - self.x.type.fracs
        return super().work_bits() + max(int(np.max(np.abs(shift), initial=0)), 0) + 1

    def luts(self, target: Target) -> float:
        to = self.to.scalar
        adder = circuits.increment_luts(self._incremented(), target) if self._rounds() else 0.0
        return adder + (target.mux_luts(to.width) + 1 if self._stops() else 0.0)

    def delay(self, target: Target) -> float:
        adder = circuits.increment_ns(self._incremented(), target) if self._rounds() else 0.0
        return adder + (2 * target.lut_ns() if self._stops() else 0.0)

    def _incremented(self) -> int:
        """The bits that a carry may run through: where the result is stopped at an end, those above it as well."""
        source, to = self.x.type.scalar, self.to.scalar
        return max(to.width, source.width - (source.frac - to.frac)) if self._stops() else to.width

    def _rounds(self) -> bool:
        """Whether it needs an incrementer."""
        return self.round is not Rounding.FLOOR and self._drops()

    def _stops(self) -> bool:
        """Whether it may pass an end of the format that it is stopped at."""
        return self.overflow is not Overflow.WRAP and self._leaves()

    def rtl(self, build: ModuleBuilder, *operands: Net) -> Net:
        source, to = self.x.type.scalar, self.to.scalar
        if not source.width or not to.width:
            return build.const(0, *circuits.net_format(to))
        shift = source.frac - to.frac
        integer = circuits.rounded(build, operands[0], shift, self.round)
        lo, hi = (rounded(source.value(x) / to.step, self.round) for x in (source.lo, source.hi))
        return circuits.contained(build, integer, to, self.overflow, lo, hi)


def _same_shape(x: Type, to: Type) -> None:
    if x.shape != to.shape:
        raise OpMistake(f"makes {to} from {x}: the shapes differ", "give the type the operand's shape")


def _into(lo: Ints, hi: Ints, to: Type, mode: Overflow) -> Bounds:
    """The range `[lo, hi]` after overflow handling: wrapped ranges that break apart count as everything."""
    floor, ceil = to.ranges
    if mode is Overflow.SATURATE_SYMMETRIC:
        floor = greatest(floor, -ceil)
    if mode is not Overflow.WRAP:
        return least(greatest(lo, floor), ceil), least(greatest(hi, floor), ceil)
    first, last = overflow(lo, to, mode), overflow(hi, to, mode)
    whole = (last - first) == (hi - lo)
    if isinstance(whole, bool):
        return (first, last) if whole else (floor, ceil)
    return np.where(whole, first, floor), np.where(whole, last, ceil)


@dataclass(frozen=True, eq=False, repr=False)
class Rescale(Op):
    """`x * by + add`, exact, then rounded and brought into the range of the result's format.

    `by` and `add` are rational numbers: one for all, or one for each index of the dimension `axis`. How it becomes
    hardware is the business of the pass of this name, which proves its multiplier right for every value in bounds.
    """

    keyword: ClassVar[str] = "rescale"
    x: Value
    to: Type
    by: tuple[Fraction, ...]
    add: tuple[Fraction, ...] = (Fraction(0),)
    axis: int = -1
    round: Rounding = Rounding.HALF_EVEN
    overflow: Overflow = Overflow.SATURATE

    def infer(self) -> Type:
        shape = self.x.type.shape
        _same_shape(self.x.type, self.to)
        if shape and not -len(shape) <= self.axis < len(shape):
            raise OpMistake(f"has no axis {self.axis} in {self.x.type}")
        length = shape[self.axis] if shape else 1
        for what, numbers in (("by", self.by), ("add", self.add)):
            need(
                len(numbers) in (1, length),
                f"{what} has {len(numbers)} numbers for an axis of length {length}",
                "give one number for all, or one for each index",
            )
        return self.to

    def factors(self) -> list[tuple[Fraction, Fraction]]:
        """`(by, add)` of every element, row-major."""
        shape = self.x.type.shape
        if not shape:
            return [(self.by[0], self.add[0])]
        index = np.indices(shape)[self.axis].ravel()
        return [(self.by[i % len(self.by)], self.add[i % len(self.add)]) for i in index.tolist()]

    def bounds(self, *operands: Bounds) -> Bounds:
        shape = self.x.type.shape
        los, his = (np.broadcast_to(np.asarray(x, dtype=object), shape).ravel() for x in operands[0])
        ends = []
        rows = zip(los, his, self.factors(), self.x.type.formats, self.to.formats, strict=True)
        for lo, hi, (by, add), source, target in rows:
            a, b = (
                rounded((source.value(x) * by + add) / target.step, self.round)
                for x in ((lo, hi) if by >= 0 else (hi, lo))
            )
            ends.append(_into(a, b, Type((), ((1, target),)), self.overflow))
        if not shape:
            return ends[0]
        columns = list(zip(*ends, strict=True)) or [(), ()]
        return tuple(np.array(e, dtype=object).reshape(shape) for e in columns)  # type: ignore[return-value]

    def eval(self, *operands: Ints) -> Ints:
        x = operands[0]
        flat = np.asarray(x, dtype=object).reshape(len(x), self.type.size)
        columns = [
            _column(flat[:, i], by, add, source, target, self.round, self.overflow)
            for i, ((by, add), source, target) in enumerate(
                zip(self.factors(), self.x.type.formats, self.to.formats, strict=True)
            )
        ]
        return np.stack(columns, axis=1).reshape(x.shape) if columns else x * 0


def _column(
    codes: Ints, by: Fraction, add: Fraction, source: Fixed, target: Fixed, round: Rounding, mode: Overflow
) -> Ints:
    """One element over a batch: exact rational arithmetic, once for every different code."""
    distinct, where = np.unique(codes, return_inverse=True)
    answers = [
        bounded(rounded((source.value(c) * by + add) / target.step, round), target, mode) for c in distinct
    ]
    return np.array(answers, dtype=object)[where]


@dataclass(frozen=True, eq=False, repr=False)
class BitCast(Op):
    """The same bits read in another format of the same width: wires only, and another number."""

    keyword: ClassVar[str] = "bit_cast"
    strict: ClassVar[bool] = True
    x: Value
    to: Type

    def infer(self) -> Type:
        _same_shape(self.x.type, self.to)
        need(
            bool(np.all(self.x.type.widths == self.to.widths)),
            f"reads the bits of {self.x.type} as {self.to}: the widths differ",
            "give the type the operand's widths; quant goes to others",
        )
        return self.to

    def bounds(self, *operands: Bounds) -> Bounds:
        return self.to.ranges

    def eval(self, *operands: Ints) -> Ints:
        return overflow(
            operands[0], self.to, Overflow.WRAP
        )  # modulo two to the width, bits are what they were

    def rtl(self, build: ModuleBuilder, *operands: Net) -> Net:
        return build.as_(operands[0], self.to.scalar.signed)
