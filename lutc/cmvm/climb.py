"""Sharing by what two sums have in common, each step priced exactly.

Two-term patterns are the wrong unit where a carry chain adds three operands: one term less often saves nothing. Here a
step takes two sums (or one sum twice), shifted against each other, and makes the digits they have in common a value of
its own, whenever the chains of all three together come out shorter than before. The best step is taken first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lutc.cmvm.network import Digit, Network, Problem, balanced, digits, ordered, spans, weighed
from lutc.cmvm.price import Extents, chains, extents_of

_LEAST = (3, 2)  # digits in common that a step needs, one round after the other


@dataclass
class _Step:
    saved: int
    common: list[Digit]  # in the first sum
    shift: int  # from there to the second sum
    sign: int


def climbed(problem: Problem, network: Network, most: int, limit: int, work: int, seed: int = 0) -> Network:
    """The network with more shared sums, where they shorten its carry chains.

    No output gets deeper than `limit` adders of `most` operands (of two if `most` is 0). `work` bounds the search: the
    digits looked at. Another `seed` than 0 takes the steps in a somewhat different order.
    """
    climb = _Climb(problem, network, most, limit)
    climb.seed = seed
    climb.run(work)
    return climb.network()


class _Climb:
    def __init__(self, problem: Problem, network: Network, most: int, limit: int) -> None:
        self.base = max(most, 2)
        known = spans(problem, network, self.base)
        self.inputs = network.inputs
        self.outputs = len(network.outputs)
        self.most = most
        self.extents: Extents = extents_of(problem, network)
        self.depths = {v: s.depth for v, s in known.items()}
        # A node stays as deep as it is, so that its readers need not be asked.
        self.limits = {v: limit if v < 0 else d for v, d in self.depths.items()}
        for terms in (*network.nodes, *network.outputs):
            for v, _ in terms:
                if v < 0:
                    self.limits[v] = self.depths[v]
        self.sums: dict[int, dict[int, list[tuple[int, int]]]] = {}  # value -> its (shift, sign)
        for number, terms in ordered(network):
            self.sums[number] = {}
            for v, shift, sign in digits(terms):
                self.sums[number].setdefault(v, []).append((shift, sign))
        self.constants = {-1 - j: c for j, c in enumerate(problem.constants)}
        self.cost = {number: self.price(number, self.digits(number)) for number in self.sums}
        self.next = network.inputs + len(network.nodes)
        self.best: dict[tuple[int, int], _Step] = {}
        self.least = 2
        self.seed = 0
        self.sizes = {number: 8 + len(self.digits(number)) for number in self.sums}

    def digits(self, number: int) -> list[Digit]:
        return [(v, shift, sign) for v, places in self.sums[number].items() for shift, sign in places]

    def price(self, number: int, terms: Sequence[Digit]) -> int:
        extents = self.extents
        return chains(
            [(extents[v][0] << shift, extents[v][1] + shift) for v, shift, _ in terms],
            self.most,
            self.constants.get(number, 0),
        )

    def run(self, work: int) -> None:
        """First share what is most in common: it is what saves most, and the rest need not be priced yet."""
        for self.least in _LEAST:
            self.best.clear()
            work = self.look(list(self.sums), list(self.sums), work)
            while self.best and work > 0:
                (first, second), step = min(self.best.items(), key=self.rank)
                changed = self.take(first, second, step)
                self.best = {pair: s for pair, s in self.best.items() if not changed.intersection(pair)}
                work = self.look(sorted(changed), list(self.sums), work)

    def rank(self, item: tuple[tuple[int, int], _Step]) -> tuple[float, tuple[int, int]]:
        pair, step = item
        shaken = 1 + (
            hash((*pair, self.seed)) % 1024 / 2048 if self.seed else 0
        )  # a hash of integers: always the same
        return -step.saved * shaken, pair

    def look(self, some: list[int], others: list[int], work: int) -> int:
        """Price the steps between some sums and all others; what is left of the work allowed."""
        done: set[int] = set()
        for first in some:
            done.add(first)
            for second in others:
                if second in done and second != first:
                    continue
                if work <= 0:
                    return 0
                work -= self.sizes[first] + self.sizes[second]
                pair = (first, second) if first <= second else (second, first)
                found = self.step(*pair)
                if found:
                    self.best[pair] = found
        return work

    def step(self, first: int, second: int) -> _Step | None:
        """The step for what two sums have most of in common, if it pays."""
        found = self.in_common(first, second)
        if found is None:
            return None
        (shift, sign), common = found
        saved = self.saved(first, second, shift, sign, common)
        return _Step(saved, common, shift, sign) if saved > 0 else None

    def in_common(self, first: int, second: int) -> tuple[tuple[int, int], list[Digit]] | None:
        """How far to shift two sums against each other, with what sign, and the digits of the first that then agree."""
        a, b = self.sums[first], self.sums[second]
        found: dict[tuple[int, int], list[Digit]] = {}
        for v in a.keys() & b.keys():
            for shift, sign in a[v]:
                for to, other in b[v]:
                    key = (to - shift, sign * other)
                    if key in found:
                        found[key].append((v, shift, sign))
                    else:
                        found[key] = [(v, shift, sign)]
        if first == second:
            found = {key: _apart(common, key[0]) for key, common in found.items() if key[0] > 0}
        best, most = None, self.least - 1
        for key, common in found.items():
            if len(common) > most or (len(common) == most and best is not None and key < best):
                best, most = key, len(common)
        return (best, found[best]) if best is not None else None

    def saved(self, first: int, second: int, shift: int, sign: int, common: list[Digit]) -> int:
        low = min(s for _, s, _ in common)
        node = self.next
        inner = [(v, s - low, g) for v, s, g in common]
        self.extents[node] = self.extent(inner)
        self.depths[node] = balanced((self.depths[v] for v, _, _ in inner), self.base)
        saved = -self.price(node, inner)
        for number, terms in self.after(first, second, shift, sign, common, low):
            levels = [self.depths[v] for v, _, _ in terms] + [0] * bool(self.constants.get(number))
            if balanced(levels, self.base) > self.limits[number]:
                return 0
            saved += self.cost[number] - self.price(number, terms)
        return saved

    def extent(self, inner: list[Digit]) -> tuple[int, int]:
        low = min(self.extents[v][1] + s for v, s, _ in inner)
        return sum(self.extents[v][0] << s for v, s, _ in inner), low

    def after(
        self, first: int, second: int, shift: int, sign: int, common: list[Digit], low: int
    ) -> list[tuple[int, list[Digit]]]:
        """The sums with the next node in the place of what they have in common."""
        here = set(common)
        there = {(v, s + shift, g * sign) for v, s, g in common}
        mine, other = (self.next, low, 1), (self.next, low + shift, sign)
        if first == second:
            rest = [d for d in self.digits(first) if d not in here and d not in there]
            return [(first, [*rest, mine, other])]
        return [
            (first, [*(d for d in self.digits(first) if d not in here), mine]),
            (second, [*(d for d in self.digits(second) if d not in there), other]),
        ]

    def take(self, first: int, second: int, step: _Step) -> set[int]:
        """Do it. Returns the sums that are new or changed."""
        low = min(s for _, s, _ in step.common)
        node = self.next
        inner = [(v, s - low, g) for v, s, g in step.common]
        self.extents[node] = self.extent(inner)
        self.depths[node] = self.limits[node] = balanced((self.depths[v] for v, _, _ in inner), self.base)
        changed = [(node, inner), *self.after(first, second, step.shift, step.sign, step.common, low)]
        self.next += 1
        for number, terms in changed:
            places: dict[int, list[tuple[int, int]]] = {}
            for v, s, g in terms:
                places.setdefault(v, []).append((s, g))
            self.sums[number] = places
            self.cost[number] = self.price(number, terms)
            self.sizes[number] = 8 + len(terms)
        return {number for number, _ in changed}

    def network(self) -> Network:
        nodes = [number for number in self.sums if number >= 0]
        place = {v: v for v in range(self.inputs)} | {-1 - j: -1 - j for j in range(self.outputs)}
        place |= {number: self.inputs + k for k, number in enumerate(nodes)}

        def renamed(number: int) -> tuple[tuple[int, int], ...]:
            return weighed((place[v], s, g) for v, s, g in self.digits(number))

        return Network(
            self.inputs, tuple(map(renamed, nodes)), tuple(renamed(-1 - j) for j in range(self.outputs))
        )


def _apart(common: list[Digit], shift: int) -> list[Digit]:
    """Of digits that recur in the same sum so much higher, those that can be taken together: none twice."""
    taken: set[tuple[int, int]] = set()
    kept = []
    for v, s, g in sorted(common):
        if (v, s) not in taken and (v, s + shift) not in taken:
            taken |= {(v, s), (v, s + shift)}
            kept.append((v, s, g))
    return kept
