"""What products cost on a target, by LUTs and by DSP blocks, and how a factor too wide for a block is cut in parts.

The high part has the sign, the low ones none: `a = a1 + a0`, so that `a*b = a1*b + a0*b`, exactly. A constant is cut
like any factor, and its parts without their zeros.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from lutc.analysis.cost import instances
from lutc.ir.graph import Design, Value, body
from lutc.ir.ops import Mul, Scale
from lutc.ir.ops.base import Op
from lutc.ir.ops.products import split
from lutc.numbers import signed_digits
from lutc.passes.rewriter import Rewriter
from lutc.target import Target
from lutc.types import Fixed, holding, scalar


def taken(design: Design, target: Target) -> int:
    """The blocks that products take already."""
    return sum(
        times * value.dsps(target)
        for owner, times in instances(design).items()
        for value in body(owner)
        if isinstance(value, Op) and not value.type.shape
    )


@dataclass(frozen=True)
class Prices:
    """What products cost on a target. Those, and parts of those, that cost at most `rate` LUTs are not for blocks.

    `odd` is the odd part of a constant factor, whose format is `b`; 0 where both factors are values.
    """

    target: Target
    rate: float

    @staticmethod
    def of(target: Target, mode: str) -> Prices:
        """Those of a mode: for `all` of them blocks cost nothing, for `auto` what the device has for each, in LUTs."""
        return Prices(target, target.dsp_luts() if mode == "auto" else 0.0)

    def luts(self, a: Fixed, b: Fixed, odd: int) -> float:
        """With a constant, an addition for each signed digit after the first."""
        if odd:
            return (len(signed_digits(odd)) - 1) * self.addition(a.width + b.width)
        return self.target.multiplier_luts(a.width, b.width)

    def addition(self, width: int) -> float:
        """One operand more in a sum: half an adder where adders take three."""
        return self.target.adder_luts(width) / (2 if self.target.ternary else 1)

    def dear(self, a: Fixed, b: Fixed, odd: int) -> bool:
        """Whether it is for a block. A factor of one bit makes no product but a choice."""
        return min(a.width, b.width) > 1 and self.luts(a, b, odd) > self.rate

    def parts(self, a: Fixed, b: Fixed) -> tuple[list[Fixed], list[Fixed]]:
        """The formats of the parts that two factors are cut into."""
        bits = self.target.factor_bits(a, b)
        side_a, side_b = self.target.dsp_sides(*bits)
        return _cut(a, bits[0], side_a), _cut(b, bits[1], side_b)

    def pieces(self, a: Fixed, b: Fixed, odd: int) -> list[tuple[Fixed, Fixed, int]]:
        """The products that one is cut into, as the factors' formats, and of a constant the odd part of that part."""
        left, right = self.parts(a, b)
        if not odd:
            return [(p, q, 0) for p in left for q in right]
        odds = [split(Fraction(c))[0] for c in _constants(odd, right)]
        return [(p, holding(o, o, 0), o) for p in left for o in odds]

    def blocks(self, a: Fixed, b: Fixed, odd: int) -> int:
        """How many blocks the parts of a product take."""
        return sum(self.dear(*piece) for piece in self.pieces(a, b, odd))

    def on_blocks(self, a: Fixed, b: Fixed, odd: int) -> float:
        """What a product costs whose dear parts go to blocks."""
        pieces = self.pieces(a, b, odd)
        found = (len(pieces) - 1) * self.addition(a.width + b.width)
        return found + sum(self.rate if self.dear(*piece) else self.luts(*piece) for piece in pieces)

    def products(self, rw: Rewriter, op: Mul) -> list[Value]:
        """The products of all parts of two values."""
        left, right = self.parts(op.a.type.scalar, op.b.type.scalar)
        return [
            rw.make(Mul, rw.fit(op.a, scalar(p)), rw.fit(op.b, scalar(q)), self.dear(p, q, 0))
            for p in left
            for q in right
        ]

    def by_constant(
        self, rw: Rewriter, value: Value, weight: Fraction, odd: int
    ) -> list[tuple[Value, Fraction]]:
        """The terms that stand for `weight * value`: products with parts of `odd`, times signed powers of two."""
        left, right = self.parts(value.type.scalar, holding(odd, odd, 0))
        terms: list[tuple[Value, Fraction]] = []
        for part in left:
            x = rw.fit(value, scalar(part))
            for constant in _constants(odd, right):
                own = weight / odd * constant
                piece = split(Fraction(constant))[0]
                if self.dear(part, holding(piece, piece, 0), piece):
                    terms.append((rw.make(Scale, x, Fraction(piece), True), own / piece))
                else:
                    terms.append((x, own))
        return terms


def _constants(odd: int, parts: list[Fixed]) -> list[int]:
    """The numbers other than 0 that a constant is the sum of, cut as its parts' formats say."""
    found, left, place = [], odd, 0
    for part in parts[:-1]:
        found.append((left & (1 << part.width) - 1) << place)
        left, place = left >> part.width, place + part.width
    return [c for c in (*found, left << place) if c]


def _cut(fmt: Fixed, bits: int, most: int) -> list[Fixed]:
    """The formats of the parts of a factor that takes `bits`, each at most `most`, the lowest part first."""
    parts = []
    low = most - 1
    while bits > most:
        parts.append(Fixed(False, low, fmt.frac))
        fmt, bits = Fixed(fmt.signed, fmt.width - low, fmt.frac - low), bits - low
    return [*parts, fmt]
