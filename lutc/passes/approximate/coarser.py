"""Ways to write a sum's terms more coarsely: what each saves in LUTs, and by how much the term may then be off.

* A table read by nothing else gets fewer output bits, or answers several neighbouring keys alike, or both.
* A weight loses its lowest signed digits, each of them a number to add.
* A value read by nothing else loses low bits.

All errors are intervals in the sum's steps. Where an interval lies does not matter, since the sum's bias moves it: a
way costs the *width* of its interval, and the widths of a sum's terms add up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import numpy as np

from lutc.analysis.ranges import range_of
from lutc.ir.graph import Value
from lutc.ir.ops import Lincomb, Lut
from lutc.numbers import signed_digits
from lutc.passes.approximate.errors import Interval
from lutc.passes.tables.splits import Price
from lutc.truth import Codes

_SAFE = 40  # bits of any code met here
_LARGEST = 12  # bits of a key


@dataclass(frozen=True)
class Way:
    """One way to write a term. `error` is in the sum's steps, `saved` in LUTs.

    `moved` is by how much, at most, the least and the greatest number of the term move.

    What is new of the term: `codes`, the table's entries in its old steps; `weight`; `dropped`, low bits of its value.
    """

    error: Interval
    saved: float
    moved: Interval
    codes: Codes | None = None
    weight: Fraction | None = None
    dropped: int = 0

    @property
    def width(self) -> int:
        return self.error[1] - self.error[0]


@dataclass(frozen=True)
class Plan:
    """One way for some of a sum's terms, by position."""

    ways: dict[int, Way]

    @property
    def error(self) -> Interval:
        """What they come to together, in the sum's steps."""
        return sum(w.error[0] for w in self.ways.values()), sum(w.error[1] for w in self.ways.values())

    @property
    def moved(self) -> Interval:
        """By how much the ends of the sum's range move, at most."""
        return sum(w.moved[0] for w in self.ways.values()), sum(w.moved[1] for w in self.ways.values())

    @property
    def saved(self) -> float:
        return sum(w.saved for w in self.ways.values())


class Choices:
    """All ways for the terms of one sum, best first: those that save most for their width."""

    def __init__(self, total: Lincomb, own: Sequence[bool], price: Price, limit: int) -> None:
        """own: whether nothing but the sum reads a term. limit: the widest error worth looking at."""
        self.steps: list[tuple[float, int, int, int, Way]] = []
        frac = total.type.scalar.frac
        for i, (value, weight, alone) in enumerate(zip(total.terms, total.weights, own, strict=True)):
            unit = weight * Fraction(2) ** (frac - value.type.scalar.frac)
            if not value.type.scalar.width or value.type.max_width > _SAFE or unit.denominator != 1:
                continue
            if isinstance(value, Lut):
                everywhere = range_of(value.key) == value.key.type.ranges
                ways = _tables(value, int(unit), everywhere, price, limit) if alone else []
            else:
                lo, hi = (int(e) for e in range_of(value))
                ways = _products(value, weight, int(unit), (lo, hi), alone, price, limit)
            for before, after in pairwise(_hull(ways)):
                more = after.width - before.width
                self.steps.append(((after.saved - before.saved) / more, i, more, before.width, after))
        self.steps.sort(key=lambda s: (-s[0], s[1], s[3]))

    def plan(self, limit: int) -> Plan:
        """What saves most, as far as a greedy choice finds it, within a width."""
        chosen: dict[int, Way] = {}
        for _, term, more, before, way in self.steps:
            if more <= limit and before == (chosen[term].width if term in chosen else 0):
                chosen[term] = way
                limit -= more
        return Plan(chosen)


def _hull(ways: list[Way]) -> list[Way]:
    """From doing nothing on, the ways by width, each step of which saves less for its width than the one before."""
    hull = [Way((0, 0), 0.0, (0, 0))]
    for way in sorted(ways, key=lambda w: (w.width, -w.saved)):
        if way.saved <= hull[-1].saved or way.width == hull[-1].width:
            continue
        while len(hull) > 1 and _slope(hull[-2], way) >= _slope(hull[-2], hull[-1]):
            hull.pop()
        hull.append(way)
    return hull


def _slope(a: Way, b: Way) -> float:
    return (b.saved - a.saved) / (b.width - a.width)


def _scaled(error: Interval, unit: int) -> Interval:
    a, b = error[0] * unit, error[1] * unit
    return min(a, b), max(a, b)


def _tables(op: Lut, unit: int, everywhere: bool, price: Price, limit: int) -> list[Way]:
    """Entries rounded to multiples of 2**low, after those of 2**drop neighbouring keys became the middle of them."""
    key = op.key.type.scalar
    if op.table.key.shape or key.width > _LARGEST or not unit:
        return []
    codes = op.table.words
    found = list(_rounded(codes, limit // abs(unit)))
    if not found:
        return []
    costs = price.whole([c - c.min() for c in (codes, *(new for new, _ in found))])
    ways = []
    for cost, (new, error) in zip(costs[1:], found, strict=True):
        # Entries that no key reads say nothing of the range.
        ends = (int(new.min() - codes.min()), int(new.max() - codes.max())) if everywhere else error
        moved = (ends[0] * unit, ends[1] * unit) if unit > 0 else (ends[1] * unit, ends[0] * unit)
        ways.append(Way(_scaled(error, unit), costs[0] - cost, moved, codes=new))
    return ways


def _rounded(codes: Codes, room: int) -> Iterator[tuple[Codes, Interval]]:
    """Tables of rounded entries, and by how much those are off: intervals no wider than `room`."""
    span = int(codes.max() - codes.min())
    for drop in range(len(codes).bit_length()):
        cells = codes.reshape(-1, 1 << drop)
        least, most = cells.min(axis=1), cells.max(axis=1)
        if int((most - least).max()) > room:
            break
        for low in range(0 if drop else 1, span.bit_length() + 1):
            if (1 << low) - 1 > room:
                break
            phases = np.unique([0, 1 << low >> 1])[:, None]
            middle = ((least + most >> 1) + phases >> low) << low
            los, his = (middle - most).min(axis=1).tolist(), (middle - least).max(axis=1).tolist()
            lo, hi, row = min(zip(los, his, range(len(los)), strict=True), key=lambda e: e[1] - e[0])
            if hi - lo <= room:
                yield np.repeat(middle[row], 1 << drop), (lo, hi)


def _products(
    value: Value, weight: Fraction, unit: int, ends: Interval, alone: bool, price: Price, limit: int
) -> list[Way]:
    """The weight without its lowest digits, and the value without its lowest bits."""
    digits = signed_digits(unit)
    per_bit = price.target.adder_luts(8) / 8 / (2 if price.target.ternary else 1)
    width = value.type.scalar.width
    found = []
    lost = 0
    for gone in range(len(digits) + 1):
        if gone:
            shift, sign = digits[gone - 1]
            lost += sign << shift
        left = len(digits) - gone
        shorter = _scaled(ends, -lost)
        for dropped in range(width if alone and left else 1):
            off = _scaled((1 - (1 << dropped), 0), unit - lost)
            error = (shorter[0] + off[0], shorter[1] + off[1])
            if error[1] - error[0] > limit:
                break
            if gone or dropped:
                saved = per_bit * (gone * (width + 1) + left * dropped)
                kept = weight * Fraction(unit - lost, unit)
                found.append(Way(error, saved, error, weight=kept, dropped=dropped))
    return found
