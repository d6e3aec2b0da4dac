"""Two-term common-subexpression elimination on signed digits.

The classic greedy algorithm (Potkonjak, Srivastava and Chandrakasan, "Multiple constant multiplications", 1996;
Hartley, "Subexpression sharing in filters using canonic signed digit multipliers", 1996): of all patterns
`a + sign * 2**shift * b` that occur in several places, the most profitable becomes a value of its own, again and again.

Two things make it fast in plain Python. For every value, shift and sign, the rows that hold this digit are the bits of
one integer, so counting a pattern takes a few ANDs however many rows there are. And once both of its values exist, a
pattern's count only ever falls, so a heap of counts known too high is put right where it is read: nothing is kept up
to date.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

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
) -> tuple[list[list[Digit]], list[list[Digit]]]:
    """Nodes and rewritten rows for rows of digits over the values `0..len(spans)-1`.

    Row j stays possible as a tree of adders of `most` operands, of depth `limits[j]`. Nodes are numbered from
    `len(spans)` on.
    """
    work = _Work(list(spans), rows, limits, style, most)
    while (best := work.best()) is not None:
        work.replace(best)
    return work.nodes, [list(map(_digit, sorted(row))) for row in work.rows]


class _Powers(dict[int, float]):
    """Numbers to the power of a constant, computed once."""

    def __init__(self, power: float) -> None:
        self.power = power

    def __missing__(self, base: int) -> float:
        value: float = base**self.power
        self[base] = value
        return value


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
        self.weights = _Powers(style.bits)
        self.nodes: list[list[Digit]] = []
        self.masks: dict[
            int, dict[int, list[int]]
        ] = {}  # value -> shift -> rows that add it, rows that subtract it
        self.rows: list[set[int]] = [set() for _ in rows]
        self.load = [0] * len(rows)  # sum(most**depth) of a row's digits
        self.limits: list[int] = [most**d for d in limits]
        for j, row in enumerate(rows):
            for value, shift, sign in row:
                self._add(j, value, shift, sign < 0)
        counts: dict[int, int] = {}
        for digits in self.rows:
            ordered = sorted(digits)
            for i, code in enumerate(ordered):
                first, shift, negative = code >> _VALUE, (code & 4095) >> 1, code & 1
                base = (first << _FIRST) + (_ZERO << 1) - (shift << 1)
                for other in ordered[i + 1 :]:
                    key = base + (other ^ negative)
                    counts[key] = counts.get(key, 0) + 1
        self.heap = [self._entry(key, n) for key, n in counts.items() if n > 1]
        heapify(self.heap)

    def _add(self, j: int, value: int, shift: int, negative: int) -> None:
        self.masks.setdefault(value, {}).setdefault(shift, [0, 0])[negative] |= 1 << j
        self.rows[j].add(value << _VALUE | shift << 1 | negative)
        self.load[j] += self.most ** self.spans[value].depth

    def _drop(self, j: int, value: int, shift: int, negative: int) -> None:
        self.masks[value][shift][negative] &= ~(1 << j)
        self.rows[j].remove(value << _VALUE | shift << 1 | negative)
        self.load[j] -= self.most ** self.spans[value].depth

    def _entry(self, key: int, count: int) -> tuple[float, int, int]:
        style = self.style
        worth = float(count - 1)
        if style.bits:
            worth *= self.weights[self._adder_bits(key)]
        if style.spread:
            mixed = (key ^ style.seed) * 0x9E3779B97F4A7C15 >> 40 & 0xFFFF
            worth *= 1 + style.spread * (mixed / 65536 - 0.5)
        return (-worth, key, count)

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
        """The pattern worth most, by its true count."""
        heap = self.heap
        while heap:
            _, key, known = heap[0]
            count = self._count(key)
            if count == known:
                heappop(heap)
                return key
            heappop(heap)
            if count > 1:
                heappush(heap, self._entry(key, count))
        return None

    def _places(self, key: int) -> Iterator[tuple[int, int, int]]:
        """Where a pattern is: a's shift, and the rows with it added and subtracted. Read while digits are dropped."""
        a, b, shift, negative = _pattern(key)
        first, second = self.masks[a], self.masks[b]
        for at in sorted(first):
            other = second.get(at + shift)
            if other:
                mine = first[at]
                plus, minus = mine[0] & other[negative], mine[1] & other[1 - negative]
                if plus or minus:
                    yield at, plus, minus

    def _count(self, key: int) -> int:
        a, b, shift, negative = _pattern(key)
        more = self._more(a, b)
        if a == b:
            return self._count_chain(a, shift, negative, more)
        first, second = self.masks[a], self.masks[b]
        count = 0
        for at, mine in first.items():
            other = second.get(at + shift)
            if other:
                if negative:
                    plus, minus = mine[0] & other[1], mine[1] & other[0]
                else:
                    plus, minus = mine[0] & other[0], mine[1] & other[1]
                if more and (plus or minus):
                    plus, minus = self._room(plus, more), self._room(minus, more)
                count += plus.bit_count() + minus.bit_count()
        return count

    def _count_chain(self, a: int, shift: int, negative: int, more: int) -> int:
        """As `_count` for a value with itself, where one digit cannot serve twice."""
        left = {at: list(m) for at, m in self.masks[a].items()}
        count = 0
        for at in sorted(left):
            other = left.get(at + shift)
            if other:
                for sign in (0, 1):
                    both = left[at][sign] & other[sign ^ negative]
                    if more and both:
                        both = self._room(both, more)
                    other[sign ^ negative] &= ~both
                    count += both.bit_count()
        return count

    def _more(self, a: int, b: int) -> int:
        """How much `sum(most**depth)` of a row grows when the sum of a and b takes their place."""
        da, db = self.spans[a].depth, self.spans[b].depth
        return int(self.most ** (max(da, db) + 1) - self.most**da - self.most**db)

    def _room(self, rows: int, more: int) -> int:
        """Those of some rows that may grow by `more`."""
        fit = 0
        for j in _bits(rows):
            if self.load[j] + more <= self.limits[j]:
                fit |= 1 << j
        return fit

    def replace(self, key: int) -> None:
        """Make the pattern a value and put it in all of its places."""
        a, b, shift, negative = _pattern(key)
        node = len(self.spans)
        base = min(0, shift)
        self.nodes.append([(a, -base, 1), (b, shift - base, -1 if negative else 1)])
        self.spans.append(_merged(self.spans[a], self.spans[b], shift, negative))
        more = self._more(a, b)
        fresh: list[tuple[int, int, int]] = []
        for at, plus, minus in self._places(key):
            for sign, rows in enumerate((plus, minus)):
                for j in _bits(rows):
                    if not more or self.load[j] + more <= self.limits[j]:
                        self._drop(j, a, at, sign)
                        self._drop(j, b, at + shift, sign ^ negative)
                        self._add(j, node, at + base, sign)
                        fresh.append((j, at + base, sign))
        self._learn(node, fresh)

    def _learn(self, node: int, fresh: list[tuple[int, int, int]]) -> None:
        """Count the patterns of a new value with all others beside it."""
        counts: dict[int, int] = {}
        mine = node << _VALUE
        for j, at, sign in fresh:
            base = (_ZERO + at) << 1  # seen from the other digit, which comes first in the key
            for code in self.rows[j]:
                if code < mine:
                    # (other value, shift, sign) -> pattern with b = node: the shift from there to here
                    key = ((code >> _VALUE) << _FIRST) + mine + base - (code & 4094) + ((code ^ sign) & 1)
                    counts[key] = counts.get(key, 0) + 1
                elif (code & 4095) >> 1 > at:
                    key = (node << _FIRST) + (_ZERO << 1) - (at << 1) + (code ^ sign)
                    counts[key] = counts.get(key, 0) + 1
        for key, n in counts.items():
            if n > 1:
                heappush(self.heap, self._entry(key, n))


def _digit(code: int) -> Digit:
    return code >> _VALUE, (code & 4095) >> 1, -1 if code & 1 else 1


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
