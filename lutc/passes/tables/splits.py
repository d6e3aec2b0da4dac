"""Tables that join a sum, and what they may become: taken in two, started at another number. Many decided at once.

A smooth function is a coarse table plus a small difference: `T(k) = base(k >> drop) * 2**low + rest(k)`. The base has
fewer inputs and outputs, the rest fewer outputs. A table that starts at another number, no wider than it was, may have
an output bit or two that depend on fewer inputs.

All tables here are of numbers from 0 on. What is decided of one depends on its numbers alone, and equal tables are
many; so they are collected first, and what looks best is found for all tables of one size in the same few steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutc.numbers import trailing_zeros
from lutc.passes.tables.encoders import all_luts
from lutc.target import Target
from lutc.truth import Codes, tables_luts

_COARSEST = 4  # low bits that a base leaves to the rest
_STARTS = 32  # numbers tried for a table to start at
_PRICED = 2  # of the ways that look best, so many are looked at closely
_AT_ONCE = 1 << 20  # entries of tables looked at in one step

Words = NDArray[Any]  # unsigned: [2**k, n], n tables side by side
Key = tuple[int, bytes]


@dataclass(frozen=True)
class Price:
    """What tables and their places in sums cost on a target."""

    target: Target
    encoders: bool  # count on wide tables being encoded

    def tables(self, tables: list[Codes], widths: list[int]) -> list[float]:
        """LUTs of each table."""
        return all_luts(tables, widths, self.target, search=self.encoders)

    def place(self, used: int) -> float:
        """What one more operand costs a sum, of numbers that have these bits between them.

        Low bits never set cost nothing. A chain of three operands takes in two more for one addition, and is a bit or
        two longer than they are.
        """
        if not used:
            return 0.0
        luts = self.target.adder_luts(used.bit_length() - trailing_zeros(used))
        return luts / 2 + 1 if self.target.ternary else luts

    def whole(self, tables: list[Codes]) -> list[float]:
        """LUTs of each table and its place."""
        luts = self.tables(tables, [width(t) for t in tables])
        return [a + self.place(int(np.bitwise_or.reduce(t))) for a, t in zip(luts, tables, strict=True)]

    def roughly(self, tables: Words) -> NDArray[np.float64]:
        """About the same for many tables at once: [n]."""
        places = [self.place(used) for used in np.bitwise_or.reduce(tables, axis=0).tolist()]
        return tables_luts(tables, self.target) + places


@dataclass(frozen=True)
class Split:
    """A table as base and rest, see above."""

    drop: int
    low: int
    base: Codes
    rest: Codes


def width(codes: Codes) -> int:
    """Bits of numbers from 0 on."""
    return int(codes.max()).bit_length()


class Splits:
    """What is best done with each table, once it was learnt."""

    def __init__(self, price: Price) -> None:
        self.price = price
        self._halves: dict[Key, Split | None] = {}
        self._starts: dict[Key, int] = {}

    def learn(self, tables: Iterable[Codes]) -> None:
        """Decide on tables, [2**k] each, and on all that they become."""
        todo = {_key(t): t for t in tables}
        while todo := {k: t for k, t in todo.items() if k not in self._halves}:
            self._split(todo)
            halves = [s for k in todo if (s := self._halves[k])]
            self._start({k: t for k, t in todo.items() if not self._halves[k]})
            todo = {_key(t): t for s in halves for t in (s.base, s.rest)}

    def half(self, codes: Codes) -> Split | None:
        """The table in two, if base and rest and their places in the sum take fewer LUTs."""
        return self._halves[_key(codes)]

    def start(self, codes: Codes) -> int:
        """The number, of a table that stays whole, from which on it takes the fewest LUTs."""
        return self._starts[_key(codes)]

    def _split(self, todo: dict[Key, Codes]) -> None:
        likely: dict[Key, list[Split]] = {}
        for keys, words in _alike(todo, _AT_ONCE):
            for n, shapes in enumerate(_ways(words, self.price)):
                codes = words[:, n].astype(np.int64)
                likely[keys[n]] = [_in_two(codes, drop, low) for drop, low in shapes]
        tables = [*todo.values(), *(t for ways in likely.values() for s in ways for t in (s.base, s.rest))]
        prices = iter(self.price.whole(tables))
        least = {key: next(prices) for key in todo}
        for key, ways in likely.items():
            self._halves[key] = None
            for way in ways:
                luts = next(prices) + next(prices)
                if luts < least[key]:
                    least[key], self._halves[key] = luts, way

    def _start(self, todo: dict[Key, Codes]) -> None:
        shifted: list[tuple[Key, int]] = []
        tables: list[Codes] = []
        for keys, words in _alike(todo, _AT_ONCE // _STARTS):
            starts = [_starting(column) for column in words.T]
            counts = [len(s) for s in starts]
            every = np.repeat(words, counts, axis=1) + np.concatenate(starts).astype(words.dtype)
            luts = np.split(tables_luts(every, self.price.target), np.cumsum(counts)[:-1])
            for key, column, at, roughly in zip(keys, words.T, starts, luts, strict=True):
                likely = dict.fromkeys([0, *np.argsort(roughly, kind="stable")[:_PRICED].tolist()])
                shifted += [(key, int(at[i])) for i in likely]
                tables += [column.astype(np.int64) + at[i] for i in likely]
        least: dict[Key, tuple[float, int]] = {}
        prices = self.price.tables(tables, [width(t) for t in tables])
        for (key, start), price in zip(shifted, prices, strict=True):
            least[key] = min(least.get(key, (price, start)), (price, start))
        self._starts.update((key, start) for key, (_, start) in least.items())


def _key(codes: Codes) -> Key:
    return len(codes), codes.tobytes()


def _alike(tables: dict[Key, Codes], most: int) -> Iterator[tuple[list[Key], Words]]:
    """Tables of one size side by side, about `most` entries at once."""
    sizes: dict[int, list[Key]] = {}
    for key in tables:
        sizes.setdefault(key[0], []).append(key)
    for entries, keys in sizes.items():
        step = max(most // entries, 1)
        for first in range(0, len(keys), step):
            some = keys[first : first + step]
            words = np.array([tables[k] for k in some]).T
            yield some, np.ascontiguousarray(words, dtype=np.min_scalar_type(int(words.max())))


def _ways(tables: Words, price: Price) -> list[list[tuple[int, int]]]:
    """Of each table the ways, (drop, low), to take it in two that look best."""
    entries, count = tables.shape
    costs: dict[tuple[int, int], NDArray[np.float64]] = {}
    for drop in range(1, entries.bit_length() - 3):
        cells = tables.reshape(-1, 1 << drop, count).min(axis=1)
        widths = _bit_lengths(cells.max(axis=0).astype(np.int64))
        for low in range(min(_COARSEST + 1, int(widths.max()))):
            bases = cells >> low
            rests = tables - np.repeat(bases << low, 1 << drop, axis=0)
            luts = price.roughly(bases) + price.roughly(rests)
            costs[drop, low] = np.where(low < widths, luts, np.inf)
    if not costs:
        return [[] for _ in range(count)]
    ways, luts = list(costs), np.array(list(costs.values()))
    order = np.argsort(luts, axis=0, kind="stable")[:_PRICED]
    return [[ways[i] for i in best if luts[i, n] < np.inf] for n, best in enumerate(order.T.tolist())]


def _in_two(codes: Codes, drop: int, low: int) -> Split:
    base = codes.reshape(-1, 1 << drop).min(axis=1) >> low
    return Split(drop, low, base, codes - np.repeat(base << low, 1 << drop))


def _starting(codes: Words) -> Codes:
    """The numbers that are tried for a table to start at."""
    room = (1 << width(codes)) - 1 - int(codes.max())
    if not room or not codes.any():
        return np.zeros(1, np.int64)
    return np.unique(np.linspace(0, room, min(room + 1, _STARTS)).astype(np.int64))


def _bit_lengths(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Bits of numbers from 0 on, below 2**53."""
    return np.frexp(numbers.astype(np.float64))[1].astype(np.int64)
