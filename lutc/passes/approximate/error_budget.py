"""Where the error that outputs are allowed is best spent.

A *last* sum makes one element of the outputs and nothing else. What its element may be off by is its allowance; what
the errors of sums before it take up of that is no longer its own to spend. An *inner* sum may be off as long as all
last sums stay within their allowances. It pays when it saves more than these can then still save. Moves are taken one
by one, the best first.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction

from lutc.analysis.ranges import range_of
from lutc.ir.graph import Design, Value, users
from lutc.ir.ops import Abs, Lincomb, Neg, Pack, Quant, Relu
from lutc.ir.ops.base import Op
from lutc.passes.approximate.coarser import Choices, Plan
from lutc.passes.approximate.deviation import Calls
from lutc.passes.approximate.errors import Interval, Known, Seen, Unbounded, elements, inside
from lutc.passes.tables.splits import Price

_MULTIPLES = (1, 2, 3, 4, 6, 8)  # of a reader's step: how far off an inner sum may be
_WORK = 40_000  # operations through which errors are followed, in all, to find moves
_FARTHEST = 40  # bits of an allowance
_ZEROS = 16  # bits that a bias may lose


@dataclass
class Sum:
    """A sum that may become coarser."""

    total: Lincomb
    own: list[bool]
    plan: Plan = field(default_factory=lambda: Plan({}))
    shift: int = 0  # what the bias moves by, in the sum's steps
    choices: Choices | None = None

    @property
    def error(self) -> Interval:
        lo, hi = self.plan.error
        return lo + self.shift, hi + self.shift


@dataclass
class _Last(Sum):
    """A last sum: how far it may be off to either side, and how far its range may grow without wrapping anywhere."""

    below: int = 0
    above: int = 0
    lower: int = 0
    higher: int = 0
    received: Interval = (0, 0)  # from sums before it

    def left(self, received: Interval) -> int:
        """The width that is left for its own terms; negative if there is none."""
        below, above = self.below, self.above
        if received != (0, 0):  # which moves the ends of the range as well
            below, above = min(below, self.lower), min(above, self.higher)
        return below + above - (received[1] - received[0])

    def settle(self) -> None:
        """Choose the plan, and the shift.

        Within what allowance and range leave open, the bias gets as few bits as it can, and the errors are balanced.
        """
        limit = self.left(self.received)
        while True:
            self.plan = self.choices.plan(limit) if self.choices else Plan({})
            lo, hi = (a + b for a, b in zip(self.plan.error, self.received, strict=True))
            least, most = self.plan.moved if self.received == (0, 0) else (lo, hi)
            lowest = max(-self.below - lo, -self.lower - least)
            highest = min(self.above - hi, self.higher - most)
            if lowest <= highest:
                self.shift = self._roundest(lowest, highest, -(lo + hi) // 2)
                return
            if not self.plan.ways:
                return
            limit = (self.plan.error[1] - self.plan.error[0]) * 3 // 4

    def _roundest(self, lowest: int, highest: int, middle: int) -> int:
        """The shift with which the bias ends in most zeros; of several, the one nearest to the middle."""
        step = Fraction(2) ** -self.total.type.scalar.frac
        bias = int(self.total.bias / step)
        middle = min(max(middle, lowest), highest)
        for zeros in range(_ZEROS, 0, -1):
            below = bias + middle >> zeros << zeros
            fits = [b - bias for b in (below, below + (1 << zeros)) if lowest <= b - bias <= highest]
            if fits:
                return min(fits, key=lambda shift: (abs(shift - middle), shift))
        return middle


class Search:
    """Finds what to make coarser in a design, with `lsb` units of the last bit for every output."""

    def __init__(self, design: Design, lsb: int, price: Price) -> None:
        self.design, self.lsb, self.price = design, lsb, price
        values = design.values
        self.place = {v: i for i, v in enumerate(values)}
        self.readers = users(values)
        self.calls = Calls()
        self.ends: dict[Value, int] = {}  # what makes elements of outputs, and how many
        for output in design.outputs:
            parts = output.value.parts if isinstance(output.value, Pack) else (output.value,)
            for part in parts:
                self.ends[part] = self.ends.get(part, 0) + 1
        self.last: dict[Value, _Last] = {}
        self.inner: dict[Value, Sum] = {}
        if lsb:
            self._find_sums()
            self._move()
            for some in self.last.values():
                some.settle()

    # -- what there is --------------------------------------------------------------------------------------------

    def _find_sums(self) -> None:
        for end in self.ends:
            total = self._behind(end)
            if total is not None:
                some = _Last(total, self._own(total))
                some.above, some.below = (self._farthest(total, end, sign, False) for sign in (1, -1))
                some.higher, some.lower = (self._farthest(total, end, sign, True) for sign in (1, -1))
                some.choices = self._choices(some, some.left((0, 0)))
                self.last[total] = some
        for value in self.design.values:
            if isinstance(value, Lincomb) and not value.type.shape and value not in self.last:
                self.inner[value] = Sum(value, self._own(value))

    def _own(self, total: Lincomb) -> list[bool]:
        return [self._read_once(v) for v in total.terms]

    def _read_once(self, value: Value) -> bool:
        return len(self.readers[value]) + self._ports(value) == 1

    def _ports(self, value: Value) -> int:
        """How often a value is an output by itself, not in a bundle."""
        return sum(o.value is value for o in self.design.outputs)

    def _behind(self, end: Value) -> Lincomb | None:
        """The sum that makes an element and nothing else, on a way of single operands."""
        value = end
        while self._read_once(value) and not value.type.shape and (value is end or value not in self.ends):
            if isinstance(value, Lincomb):
                return value if value.type.scalar.width else None
            if not isinstance(value, Quant | Relu | Neg | Abs):
                return None
            value = value.x
        return None

    def _farthest(self, total: Lincomb, end: Value, sign: int, moving: bool) -> int:
        """How far off a sum may be to one side for its element to stay within what is allowed.

        If `moving`, instead: how far its range may grow to that side for the element to keep its format.
        """

        def fine(much: int) -> bool:
            off = (0, much) if sign > 0 else (-much, 0)
            start = self._seen(total, off)
            try:
                known = self._along(total, start if moving else replace(start, near=start.exact), end)
                return self._within(end, known) or moving
            except Unbounded:
                return False

        good, bad = 0, 1
        while fine(bad) and bad.bit_length() < _FARTHEST:
            good, bad = bad, 2 * bad
        while bad - good > 1:
            middle = (good + bad) // 2
            good, bad = (middle, bad) if fine(middle) else (good, middle)
        return good

    def _along(self, total: Lincomb, known: Seen, end: Value) -> Known:
        value: Value = total
        seen: Known = known
        while value is not end:
            (value,) = [v for v in self.readers[value] if not isinstance(v, Pack)]
            assert isinstance(value, Op)
            seen = self.calls.through(value, value, [seen], self._exact(value))
        return seen

    def _within(self, end: Value, known: Known) -> bool:
        """Whether an element of the outputs is near enough. Raises Unbounded if it may leave its format."""
        for seen, fmt in zip(elements(known), end.type.formats, strict=True):
            inside(seen, fmt, "an output")
            if max(-seen.error[0], seen.error[1]) > self.lsb:
                return False
        return True

    def _exact(self, value: Value) -> Interval:
        if value.type.shape:
            return (0, 0)
        lo, hi = range_of(value)
        return int(lo), int(hi)

    def _seen(self, value: Value, off: Interval) -> Seen:
        lo, hi = self._exact(value)
        return Seen(off, (lo, hi), (lo + off[0], hi + off[1]))

    def _choices(self, some: Sum, limit: int) -> Choices | None:
        return Choices(some.total, some.own, self.price, limit) if limit > 0 else None

    # -- moves ----------------------------------------------------------------------------------------------------

    def _move(self) -> None:
        """Let inner sums be off where that saves more than it takes from the last ones."""
        self.work = 0
        self.known: dict[Value, Known] = {}
        waiting: list[tuple[float, int]] = []
        for value in reversed(self.inner):  # nearest to the outputs first
            some = self.inner[value]
            limit = self._limit(value)
            some.choices = self._choices(some, limit)
            if some.choices and some.choices.steps and (best := self._best(value)):
                heapq.heappush(waiting, (-best[0], self.place[value]))
        while waiting:
            _, place = heapq.heappop(waiting)
            value = self.design.values[place]
            best = self._best(value)
            if best is None:
                continue
            if waiting and best[0] < -waiting[0][0]:
                heapq.heappush(waiting, (-best[0], place))
                continue
            self._take(value, best[1], best[2])
            if again := self._best(value):
                heapq.heappush(waiting, (-again[0], place))

    def _levels(self, value: Value) -> list[int]:
        """Widths of error that are worth trying: multiples of the steps in which a sum is read."""
        steps = set()
        stack = list(self.readers[value])
        while stack:
            reader = stack.pop()
            if isinstance(reader, Relu):
                stack += self.readers[reader]
            elif isinstance(reader, Quant) and not reader.type.shape and reader.type.scalar.width:
                frac = reader.x.type.scalar.frac
                steps.add(1 << max(frac - reader.type.scalar.frac, 0))
        return sorted({m * s for s in steps or {1} for m in _MULTIPLES})

    def _limit(self, value: Value) -> int:
        """The widest error of an inner sum alone that the last ones bear."""
        found = 0
        for level in self._levels(value):
            if not any(self._bearable(value, off) for off in _alignments(level)):
                break
            found = level
        return found

    def _bearable(self, value: Value, off: Interval) -> bool:
        return self.work <= _WORK and self._effects(value, off) is not None

    def _best(self, value: Value) -> tuple[float, Plan, int] | None:
        """The gain, the plan and the shift of the move of an inner sum that pays most; None if none pays."""
        some = self.inner[value]
        assert some.choices is not None
        best: tuple[float, Plan, int] | None = None
        seen: set[int] = set()
        for level in self._levels(value):
            plan = some.choices.plan(level)
            lo, hi = plan.error
            if hi - lo in seen or plan.saved <= some.plan.saved or self.work > _WORK:
                continue
            seen.add(hi - lo)
            for off in _alignments(hi - lo):
                gain = plan.saved - some.plan.saved - self._loss(value, off)
                if gain > 1e-9 and (best is None or gain > best[0]):
                    best = (gain, plan, off[0] - lo)
        return best

    def _loss(self, value: Value, off: Interval) -> float:
        """The LUTs that last sums can then no longer save; infinite if one of them cannot bear it."""
        arrived = self._effects(value, off)
        if arrived is None:
            return float("inf")
        total = 0.0
        for end, received in arrived[1].items():
            some = self.last[end]
            if received != some.received and some.choices:
                total += some.choices.plan(some.left(some.received)).saved
                total -= some.choices.plan(some.left(received)).saved
        return total

    def _take(self, value: Value, plan: Plan, shift: int) -> None:
        some = self.inner[value]
        arrived = self._effects(value, (plan.error[0] + shift, plan.error[1] + shift))
        assert arrived is not None
        some.plan, some.shift = plan, shift
        self.known |= arrived[0]
        for end, received in arrived[1].items():
            self.last[end].received = received

    def _effects(
        self, value: Value, off: Interval
    ) -> tuple[dict[Value, Known], dict[Value, Interval]] | None:
        """What becomes known of values, and what last sums receive, if an inner sum is off by this much itself.

        None if an error goes where it may not, or takes more of a last sum than there is.
        """
        known: dict[Value, Known] = {}
        received: dict[Value, Interval] = {}
        queue, queued = [self.place[value]], {value}
        while queue:
            now = self.design.values[heapq.heappop(queue)]
            assert isinstance(now, Op)
            self.work += 1
            try:
                found = self._through(now, known, off if now is value else None)
                if now in self.last:
                    assert isinstance(found, Seen)
                    received[now] = found.error
                    if self.last[now].left(found.error) < 0:
                        return None
                    continue
                if now in self.ends and not self._within(now, found):
                    return None
            except Unbounded:
                return None
            if found == self.known.get(now):
                continue
            known[now] = found
            for reader in self.readers[now]:
                if reader not in queued:
                    queued.add(reader)
                    heapq.heappush(queue, self.place[reader])
        return known, received

    def _through(self, now: Op, known: Mapping[Value, Known], off: Interval | None) -> Known:
        operands = [known.get(v) or self.known.get(v) or self._clean(v) for v in now.operands]
        found = self.calls.through(now, now, operands, self._exact(now))
        own = off if off is not None else self.inner[now].error if now in self.inner else (0, 0)
        if own == (0, 0) or not isinstance(found, Seen):
            return found
        return self._seen(now, (found.error[0] + own[0], found.error[1] + own[1]))

    def _clean(self, value: Value) -> Known:
        if value.type.shape:
            return tuple(Seen((0, 0), (f.lo, f.hi), (f.lo, f.hi)) for f in value.type.formats)
        return self._seen(value, (0, 0))

    def chosen(self) -> dict[Value, Sum]:
        """The sums that change."""
        return {v: s for v, s in {**self.inner, **self.last}.items() if s.plan.ways or s.shift}


def _alignments(width: int) -> Iterator[Interval]:
    """Where an error of some width may lie: above the exact number, below it, or on both sides."""
    yield 0, width
    if width:
        yield -width, 0
    if width > 1:
        yield -(width // 2), width - width // 2
