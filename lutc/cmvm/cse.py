"""Two-term common-subexpression elimination on signed digits.

The classic greedy algorithm (Potkonjak, Srivastava and Chandrakasan, "Multiple constant multiplications", 1996;
Hartley, "Subexpression sharing in filters using canonic signed digit multipliers", 1996): of all patterns
`a + sign * 2**shift * b` that occur in several places, the most profitable becomes a value of its own, again and again.

Two things make it fast in plain Python. For every value, the digits that add it are the bits of one integer, those that
subtract it of another, a row beside the next and a shift above the other, so that counting a pattern takes two ANDs
however many rows and shifts there are. And once both of its values exist, a pattern's count only ever falls, so a heap
of counts known too high is put right where it is read: nothing is kept up to date.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import zip_longest

import numpy as np

from lutc.cmvm.network import Digit, Span

# A digit in one integer: the value, 11 bits of shift, whether it is subtracted.
_VALUE = 12
_ZERO = 1 << 10  # the shift 0 between the two digits of a pattern
# A pattern `a + sign * 2**shift * b` with a <= b: a, then b's digit, its shift as seen from a.
_FIRST = 32
_NUMBER = (1 << (_FIRST - _VALUE)) - 1


@dataclass(frozen=True)
class Style:
    """How patterns are ranked: by the adders they save times the bits of their own to the power `bits`.

    `spread` is the size of a factor around 1 that depends on the pattern and on `seed` alone.
    """

    bits: float = 0.0
    spread: float = 0.0
    seed: int = 0


def eliminate(
    spans: Sequence[Span],
    rows: Sequence[Sequence[Digit]],
    limits: Sequence[int],
    style: Style = Style(),
    most: int = 2,
    constants: Sequence[int] = (),
) -> tuple[list[list[Digit]], list[list[Digit]]]:
    """Nodes and rewritten rows for rows of digits over the values `0..len(spans)-1`.

    Row j stays possible as a tree of adders of `most` operands, of depth `limits[j]`; its constant is one operand if it
    is not 0. Nodes are numbered from `len(spans)` on. Rows with digits further apart than a pattern can say stay as
    they are.
    """
    if any(shift >= _ZERO for row in rows for _, shift, _ in row):
        return [], [sorted(row, key=lambda digit: (digit[0], digit[1], digit[2] < 0)) for row in rows]
    work = _Work(list(spans), rows, limits, style, most)
    work.load = [load + bool(c) for load, c in zip_longest(work.load, constants, fillvalue=0)]
    while (best := work.best()) is not None:
        work.replace(best)
    return work.nodes, [row.digits() for row in work.rows]


class _Work:
    def __init__(
        self,
        spans: list[Span],
        rows: Sequence[Sequence[Digit]],
        limits: Sequence[int],
        style: Style,
        most: int,
    ) -> None:
        self.most = most
        self.spans = spans
        self.inputs = len(spans)
        self.style = style
        self.factors: dict[int, float] = {}  # see `_factor`
        self.kinds: dict[tuple[int, int], int] = {}  # spans of the same bits are of one kind
        self.kind = [self._kind(span) for span in spans]
        self.growth: list[int] = [most**span.depth for span in spans]
        self.nodes: list[list[Digit]] = []
        # By value: the digits that add it, and those that subtract it; bit `shift * len(rows) + j` is that in row j.
        self.height = len(rows)
        self.masks: list[list[int]] = [[0, 0] for _ in spans]
        self.rows = [_Row() for _ in rows]
        self.load = [sum(self.growth[v] for v, _, _ in row) for row in rows]  # sum(most**depth)
        self.limits: list[int] = [most**d for d in limits]
        self.roomy: dict[int, int] = {}  # by growth: the rows that have room for it
        shifts = [shift for row in rows for _, shift, _ in row]
        self.highest = max(shifts, default=0)
        for j, row in enumerate(rows):
            for value, shift, sign in row:
                self._add(j, value, shift, sign < 0)
        # Patterns by what they are thought to be worth, which is never less than they are.
        self.waiting: dict[float, list[int]] = {}
        self.worths: list[float] = []  # a heap, negative: of what there is, or was, in `waiting`
        for key, count in _pairs(rows):
            self._wait(key, self._worth(key, count))

    def _kind(self, span: Span) -> int:
        return self.kinds.setdefault((span.extent, span.low), len(self.kinds))

    def _add(self, j: int, value: int, shift: int, negative: int) -> None:
        self.masks[value][negative] |= 1 << shift * self.height + j
        self.rows[j].add(value, shift, negative)

    def _drop(self, j: int, value: int, shift: int, negative: int) -> None:
        self.masks[value][negative] ^= 1 << shift * self.height + j
        self.rows[j].drop(value, shift, negative)

    def _wait(self, key: int, worth: float) -> None:
        there = self.waiting.get(worth)
        if there is None:
            self.waiting[worth] = [key]
            heappush(self.worths, -worth)
        else:
            heappush(there, key)

    def _worth(self, key: int, count: int) -> float:
        kinds = self.kind[key >> _FIRST] << _FIRST | self.kind[key >> _VALUE & _NUMBER] << _VALUE
        alike = kinds | key & 4095  # patterns that are worth the same
        factor = self.factors.get(alike)
        if factor is None:
            factor = self.factors[alike] = self._adder_bits(key) ** self.style.bits
        worth = (count - 1) * factor
        if self.style.spread:
            mixed = (key ^ self.style.seed) * 0x9E3779B97F4A7C15 >> 40 & 0xFFFF
            worth *= 1 + self.style.spread * (mixed / 65536 - 0.5)
        return worth

    def _adder_bits(self, key: int) -> int:
        """The bits of a pattern's carry chain: those below the other operand's lowest pass by, unless subtracted."""
        a, b = self.spans[key >> _FIRST], self.spans[(key >> _VALUE) & _NUMBER]
        shift = ((key & 4095) >> 1) - _ZERO
        if shift < 0:
            extent, low_a, low_b = (a.extent << -shift) + b.extent, a.low - shift, b.low
        else:
            extent, low_a, low_b = a.extent + (b.extent << shift), a.low, b.low + shift
        low = low_b if low_b > low_a or key & 1 else low_a
        return max(extent.bit_length() - low, 1)

    def best(self) -> int | None:
        """The pattern worth most, by its true count; of equals, the one with the lowest number."""
        while self.worths:
            worth = -self.worths[0]
            there = self.waiting[worth]
            while there:
                key = heappop(there)
                count = self._count(key)
                if count > 1:
                    found = self._worth(key, count)
                    if found == worth:
                        return key
                    self._wait(key, found)
            heappop(self.worths)
            del self.waiting[worth]
        return None

    def _both(self, a: int, b: int, shift: int, negative: int) -> tuple[int, int]:
        """Where b is so far above a: the digits of a that are added, and those that are subtracted."""
        plus, minus = self.masks[a]
        over, under = self.masks[b]
        if negative:
            over, under = under, over
        if shift >= 0:
            by = shift * self.height
            return plus & over >> by, minus & under >> by
        by = -shift * self.height
        return plus & over << by, minus & under << by

    def _count(self, key: int) -> int:
        a, b, shift, negative = _pattern(key)
        plus, minus = self._both(a, b, shift, negative)
        if a == b and (plus | minus) & (plus | minus) >> shift * self.height:
            return self._count_chain(a, shift, negative)
        if more := self._more(a, b):
            roomy = self._roomy(more)
            plus, minus = plus & roomy, minus & roomy
        return plus.bit_count() + minus.bit_count()

    def _count_chain(self, a: int, shift: int, negative: int) -> int:
        """As `_count` for a value with itself, where one digit cannot serve twice."""
        roomy = self._roomy(self._more(a, a))
        left = list(self.masks[a])
        count = 0
        for at in range(self.highest + 1):
            for sign in (0, 1):
                both = self._row(left[sign] & roomy, at) & self._row(left[sign ^ negative], at + shift)
                left[sign ^ negative] &= ~(both << (at + shift) * self.height)
                count += both.bit_count()
        return count

    def _row(self, mask: int, shift: int) -> int:
        """The rows among some digits that have one at a shift."""
        return mask >> shift * self.height & (1 << self.height) - 1

    def _more(self, a: int, b: int) -> int:
        """How much `sum(most**depth)` of a row grows when the sum of a and b takes their place."""
        mine, other = self.growth[a], self.growth[b]
        deeper = mine if mine > other else other
        return deeper * self.most - mine - other

    def _roomy(self, more: int) -> int:
        """All digits, whatever they are, of the rows that may grow by `more`."""
        known = self.roomy.get(more)
        if known is None:
            fit = 0
            for j, (load, limit) in enumerate(zip(self.load, self.limits, strict=True)):
                fit |= (load + more <= limit) << j
            known = self.roomy[more] = sum(fit << at * self.height for at in range(self.highest + 1))
        return known

    def replace(self, key: int) -> None:
        """Make the pattern a value and put it in all of its places."""
        a, b, shift, negative = _pattern(key)
        node = len(self.spans)
        base = min(0, shift)
        self.nodes.append([(a, -base, 1), (b, shift - base, -1 if negative else 1)])
        self.spans.append(_merged(self.spans[a], self.spans[b], shift, negative))
        self.masks.append([0, 0])
        self.kind.append(self._kind(self.spans[-1]))
        self.growth.append(self.most ** self.spans[-1].depth)
        more = self._more(a, b)
        fresh: list[tuple[int, int, int]] = []
        plus, minus = self._both(a, b, shift, negative)
        for place in _bits(plus | minus):
            at, j = divmod(place, self.height)
            sign = minus >> place & 1
            if a == b and not self.masks[a][sign] >> place & 1:
                continue  # it went as the second digit of the place before
            if not more or self.load[j] + more <= self.limits[j]:
                self._drop(j, a, at, sign)
                self._drop(j, b, at + shift, sign ^ negative)
                self.load[j] += more
                fresh.append((j, at + base, sign))
        self._learn(node, fresh)
        for j, at, sign in fresh:
            self._add(j, node, at, sign)
        self.roomy.clear()

    def _learn(self, node: int, fresh: list[tuple[int, int, int]]) -> None:
        """Count the patterns of a new value, not yet in the rows, with all others beside it, and with itself."""
        counts: Counter[int] = Counter()
        own: dict[int, list[tuple[int, int]]] = {}
        for j, at, sign in fresh:
            # (other value, shift, sign) -> pattern with b = node: the shift from there to here
            here = (node << _VALUE) + (_ZERO + at << 1)
            counts.update([form + here for form in self.rows[j].forms[sign].values()])
            own.setdefault(j, []).append((at, sign))
        chained = (node << _FIRST) + (node << _VALUE) + (_ZERO << 1)
        for digits in own.values():
            for i, (low, sign) in enumerate(digits):  # lowest first, as they were found
                counts.update(
                    [chained + (high - low << 1) + (sign ^ other) for high, other in digits[i + 1 :]]
                )
        for key, n in counts.items():
            if n > 1:
                self._wait(key, self._worth(key, n))


class _Row:
    """The digits of a row, each with what it is as the first of a pattern: without and with a change of sign."""

    def __init__(self) -> None:
        self.forms: tuple[dict[int, int], dict[int, int]] = ({}, {})

    def add(self, value: int, shift: int, negative: int) -> None:
        code, form = value << _VALUE | shift << 1 | negative, (value << _FIRST) - (shift << 1)
        self.forms[0][code] = form + negative
        self.forms[1][code] = form + 1 - negative

    def drop(self, value: int, shift: int, negative: int) -> None:
        code = value << _VALUE | shift << 1 | negative
        del self.forms[0][code], self.forms[1][code]

    def digits(self) -> list[Digit]:
        """In the order of their values."""
        return [(c >> _VALUE, (c & 4095) >> 1, -1 if c & 1 else 1) for c in sorted(self.forms[0])]


def _pairs(rows: Iterable[Iterable[Digit]]) -> Iterator[tuple[int, int]]:
    """The patterns that occur more than once, with how often each does."""
    found = []
    for row in rows:
        codes = sorted(value << _VALUE | shift << 1 | (sign < 0) for value, shift, sign in row)
        digits = np.array(codes, dtype=np.int64)
        negative = digits & 1
        first = (digits >> _VALUE << _FIRST) + (_ZERO << 1) - (digits & 4094)
        i, k = np.triu_indices(len(digits), 1)
        found.append(first[i] + (digits[k] ^ negative[i]))
    keys, counts = (
        np.unique(np.concatenate(found), return_counts=True) if found else (np.empty(0), np.empty(0))
    )
    return ((k, n) for k, n in zip(keys.tolist(), counts.tolist(), strict=True) if n > 1)


def _merged(a: Span, b: Span, shift: int, negative: int) -> Span:
    """The span of `a + 2**shift * b`, or minus; both moved left if the shift is to the right."""
    left, right = max(-shift, 0), max(shift, 0)
    lo, hi = (-b.hi, -b.lo) if negative else (b.lo, b.hi)
    low = min(a.low + left, b.low + right)
    return Span(
        (a.lo << left) + (lo << right), (a.hi << left) + (hi << right), low, max(a.depth, b.depth) + 1
    )


def _pattern(key: int) -> tuple[int, int, int, int]:
    """(a, b, shift of b from a, whether b has the other sign)."""
    return (
        key >> _FIRST,
        (key >> _VALUE) & _NUMBER,
        ((key & 4095) >> 1) - _ZERO,
        key & 1,
    )


def _bits(mask: int) -> Iterator[int]:
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low
