"""Which operands of a sum go into which carry chain: several orders are tried, the one with the fewest bits is taken.

A sum of operands of levels `l` by chains of `n` operands fits under level `d` exactly if `sum(n**l) <= n**d` (Kraft's
inequality). While there is room, those go together whose highest bits are lowest (Huffman's algorithm), or whose
lowest bits agree, or whose chain is the shortest; else those that are ready first.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import Any

from lutc.cmvm.network import balanced
from lutc.lazy import lazy
from lutc.rtl.chains import chain_bits
from lutc.types import holding

_NEAR = 6  # operands among which the shortest chain is looked for
_MANY = 40  # operands of a sum for which only the plain orders are tried


@dataclass(frozen=True)
class Operand:
    """Integers `lo..hi`, all multiples of `2**low`, to be added or subtracted, ready after `level` chains."""

    lo: int
    hi: int
    low: int
    sign: int = 1
    level: int = 0

    @lazy
    def top(self) -> int:
        """One above the highest bit, that of the sign counted."""
        return holding(self.lo, self.hi, 0).width


def brought_together(levels: Sequence[int]) -> list[int]:
    """The same levels, from 0 on, without the time in which nothing can come: no gap is longer than there are operands.

    Within such a gap, whatever is there before it can be added up to one number, in any order, and so the same chains
    fit. Deep in a long chain of sums, equal sums then are one problem, and its numbers are small.
    """
    places: dict[int, int] = {}
    before = place = 0
    for level in sorted(set(levels)):
        place += min(level - before, len(levels)) if places else 0
        places[level], before = place, level
    return [places[level] for level in levels]


# A chain: the numbers of its operands (those of the sum, then earlier chains), and the sign its result is taken with.
Chain = tuple[tuple[int, ...], int]
_Key = Callable[[Operand], Any]

_ORDERS: tuple[_Key, ...] = (
    lambda o: o.top,
    lambda o: 2 * o.top + o.low,
    lambda o: (o.low, o.top),
    lambda o: (o.top - o.low, o.top),
)


@lru_cache(maxsize=1 << 14)
def chains(
    operands: tuple[Operand, ...], most: int, *, thorough: bool = True
) -> tuple[int, tuple[Chain, ...]]:
    """The LUTs of the carry chains of `most` (2 or 3) operands each that add these, and those chains.

    They are no deeper than they have to be.
    """
    depth = balanced((o.level for o in operands), most)
    tries = [(key, 0) for key in (_ORDERS if thorough else _ORDERS[:2])]
    if thorough and most < len(operands) <= _MANY:
        tries += [(key, _NEAR) for key in _ORDERS[:2]]
    best: tuple[Chain, ...] = ()
    least = -1
    for key, near in tries if len(operands) > most else tries[:1]:
        bits, found = _ordered(operands, most, depth, key, near)
        if least < 0 or bits < least:
            least, best = bits, tuple(found)
    return max(least, 0), best


def _ordered(
    operands: Sequence[Operand], most: int, depth: int, key: _Key, near: int
) -> tuple[int, list[Chain]]:
    waiting = dict(enumerate(operands))
    found: list[Chain] = []
    known: dict[tuple[int, ...], int] = {}
    bits = 0
    room = most**depth - sum(most**o.level for o in operands)

    def rank(n: int) -> tuple[Any, int, int]:
        return key(waiting[n]), waiting[n].level, n

    numbers = sorted(waiting, key=rank)
    while len(waiting) > 1:
        # One addition of two makes an even number odd; after that, threes come out even.
        take = most if len(waiting) % 2 else 2
        group = tuple(numbers[:take])
        if near and len(numbers) > take:
            groups = list(combinations(numbers[:near], take))
            known |= {g: _cost([waiting[n] for n in g]) for g in groups if g not in known}
            group = min(groups, key=known.__getitem__)
        if _growth([waiting[n] for n in group], most) > room:
            by_level = sorted(
                numbers, key=lambda n: waiting[n].level
            )  # a stable sort: by the key among equals
            group = tuple(by_level[:take])
        chosen = [waiting.pop(n) for n in group]
        room -= _growth(chosen, most)
        sign = _sign(chosen, waiting.values())
        total = _sum(chosen, sign)
        bits += _bits(chosen, total)
        numbers = [n for n in numbers if n not in group]
        waiting[len(operands) + len(found)] = total
        insort(numbers, len(operands) + len(found), key=rank)
        found.append((group, sign))
    return bits, found


def _growth(chosen: Sequence[Operand], most: int) -> int:
    """How much `sum(most**level)` grows when a chain takes its operands' place."""
    levels = [o.level for o in chosen]
    return int(most ** (max(levels) + 1)) - sum(int(most**level) for level in levels)


def _sign(chosen: Sequence[Operand], waiting: Collection[Operand]) -> int:
    """The sign with which a chain is the cheaper one: of a sum in which nothing else is added, 1 where it can be.

    The bits of a result below all others pass by the next chain, too, but only if it is added there.
    """
    signs = [o.sign for o in chosen]
    if max(signs) == min(signs) or not any(o.sign > 0 for o in waiting):
        return max(signs)
    passing = max(min(o.low for o in waiting) - min(o.low for o in chosen), 0)
    return 1 if _bits(chosen, _sum(chosen, 1)) <= _bits(chosen, _sum(chosen, -1)) + passing else -1


def _cost(chosen: Sequence[Operand]) -> int:
    signs = {o.sign for o in chosen}
    return min(_bits(chosen, _sum(chosen, sign)) for sign in (signs if len(signs) == 1 else (1, -1)))


def _sum(chosen: Sequence[Operand], sign: int) -> Operand:
    """A chain's result, `sign` taken out of all operands."""
    lo = hi = 0
    for o in chosen:
        ends = (o.lo, o.hi) if o.sign == sign else (-o.hi, -o.lo)
        lo, hi = lo + ends[0], hi + ends[1]
    return Operand(lo, hi, min(o.low for o in chosen), sign, max(o.level for o in chosen) + 1)


def _bits(chosen: Sequence[Operand], total: Operand) -> int:
    """The bits of a chain that take a LUT."""
    return chain_bits([(o.low, o.top, o.sign != total.sign, o.lo < 0) for o in chosen], total.top)
