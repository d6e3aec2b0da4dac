"""Products of one value with several constants, side by side in the result of one DSP block.

`x * (c1 * 2**k + c0)` is `x*c1 * 2**k + x*c0`: where `x*c0` takes no more than k bits and no sign, it is the low k bits
of the product, and `x*c1` is what stands above them. Both are wires (Xilinx WP486, "Deep Learning with INT8
Optimization on Xilinx Devices", has two factors of 8 bits in a DSP48E2 so). With three constants or more it is the
same, as long as both factors fit the block.

Constants are odd and positive: signs and powers of two are for the weights of the sums that read the products. A value
with a sign is read as an unsigned one, `offset` more, which is its code with the highest bit inverted, and the sums
take `offset` times the constant off again in their biases. WP486 leaves the sign, whose borrow each product above must
then be given back: that is an operand more in every sum for every value, and a bias is one for all of them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from fractions import Fraction

from lutc.analysis.ranges import range_of, set_range
from lutc.ir.graph import Value
from lutc.ir.ops import BitConcat, BitSlice, Not, Quant, Scale
from lutc.lazy import lazy
from lutc.passes.identities import simplified
from lutc.passes.rewriter import Rewriter
from lutc.target import Target
from lutc.types import Fixed, holding, scalar


@dataclass(frozen=True)
class Packed:
    """The products of codes up to `most`, `offset` included, with `odds`, the lowest first."""

    fmt: Fixed  # of the value
    most: int
    offset: int
    odds: tuple[int, ...] = ()

    @staticmethod
    def of(x: Value) -> Packed:
        """Of a value, with no constant yet."""
        fmt = x.type.scalar
        offset = 1 << fmt.width - 1 if fmt.signed else 0
        return Packed(fmt, int(range_of(x)[1]) + offset, offset)

    def beside(self, odd: int) -> Packed:
        """These and one more."""
        return Packed(self.fmt, self.most, self.offset, (*self.odds, odd))

    @lazy
    def places(self) -> tuple[int, ...]:
        """The lowest bit of each product, and behind them the lowest that is free."""
        found = [0]
        for odd in self.odds:
            found.append(found[-1] + (self.most * odd).bit_length())
        return tuple(found)

    @property
    def constant(self) -> int:
        """All constants as one."""
        return sum(odd << place for odd, place in zip(self.odds, self.places, strict=False))

    def fits(self, target: Target) -> bool:
        """Whether one block makes them all."""
        factors = Fixed(False, self.fmt.width), holding(self.constant, self.constant, 0)
        return target.dsp_blocks(*target.factor_bits(*factors)) == 1

    def luts(self, target: Target) -> float:
        """What the block leaves for LUTs: the highest bit of a signed value, to be inverted."""
        return target.mux_luts(1) if self.offset else 0.0

    def product(self, rw: Rewriter, x: Value, odd: int) -> tuple[Value, Fraction, Fraction]:
        """The value that stands for `odd * x`: times a power of two, and plus a constant."""
        at = self.odds.index(odd)
        low, high = self.places[at : at + 2]
        x = rw.fit(x, scalar(self.fmt))
        whole = rw.make(Scale, self.without_sign(rw, x), Fraction(self.constant), True)
        frac = whole.type.scalar.frac - low
        part = rw.make(Quant, whole, scalar(Fixed(False, high - low, frac)))
        set_range(part, (0, self.most * odd))
        step = self.fmt.step
        return part, step * Fraction(2) ** frac, -self.offset * odd * step

    def without_sign(self, rw: Rewriter, x: Value) -> Value:
        """The value, or its code with the highest bit inverted."""
        if not self.offset:
            return x
        top = self.fmt.width - 1
        sign = simplified(rw, rw.make(Not, rw.make(BitSlice, x, top, top)))
        return rw.make(BitConcat, (sign, rw.make(BitSlice, x, top - 1, 0)))


def in_blocks(x: Value, odds: Collection[int], target: Target) -> list[Packed]:
    """The constants in few blocks: the longest first, each in the first block that has room (first-fit decreasing).

    One that fits no block has one of its own all the same.
    """
    full: list[Packed] = []
    room: list[Packed] = []
    shortest = min(odds, default=1)
    for odd in sorted(odds, reverse=True):
        block = Packed.of(x).beside(odd)
        for i, begun in enumerate(room):
            if (both := begun.beside(odd)).fits(target):
                block = both
                del room[i]
                break
        (room if block.beside(shortest).fits(target) else full).append(block)
    return full + room
