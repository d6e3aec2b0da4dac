"""The problem (integer weights, the ranges of the inputs) and its answer (a network of weighted sums)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from lutc.lazy import lazy
from lutc.numbers import signed_digits

Sum = tuple[tuple[int, int], ...]  # the number of a value, its integer weight
Digit = tuple[int, int, int]  # the number of a value, a shift, the sign


@dataclass(frozen=True)
class Span:
    """The bits a value is made of: integers `lo..hi`, all multiples of `2**low`; `depth` adders stand before it."""

    lo: int
    hi: int
    low: int = 0
    depth: int = 0

    @lazy
    def extent(self) -> int:
        """The largest minus the smallest integer."""
        return self.hi - self.lo


@dataclass(frozen=True)
class Problem:
    """`rows[j]` are the `(input, weight)` pairs of output j; weights are integers other than 0, inputs rise.

    `constants[j]` is added to output j by whoever builds the adders. A network leaves it out; it only counts as one
    operand more. Empty: there are none.
    """

    inputs: tuple[Span, ...]
    rows: tuple[Sum, ...]
    constants: tuple[int, ...] = ()


def sharing(problem: Problem) -> bool:
    """Whether anything could be shared: an input that several rows read, or that one reads more than once."""
    digits_of = [len(csd(w)) for row in problem.rows for _, w in row]
    return max(digits_of, default=0) > 1 or len({v for row in problem.rows for v, _ in row}) < len(digits_of)


@dataclass(frozen=True)
class Network:
    """Nodes and outputs are sums of values: of inputs, number `0..inputs-1`; of nodes before, number `inputs + k`.

    A sum may also read output j, as value number `-1 - j`; there is no ring of such references.
    """

    inputs: int
    nodes: tuple[Sum, ...]
    outputs: tuple[Sum, ...]

    def adders(self) -> int:
        """Two-operand additions, if every sum is added on its own."""
        return sum(max(sum(len(csd(w)) for _, w in s) - 1, 0) for s in (*self.nodes, *self.outputs))


@lru_cache(maxsize=1 << 16)
def csd(weight: int) -> tuple[tuple[int, int], ...]:
    """A weight's canonical signed digits, `(shift, sign)`, lowest first."""
    return tuple(signed_digits(weight))


def digits(terms: Iterable[tuple[int, int]]) -> list[Digit]:
    """A sum's digits."""
    return [(value, shift, sign) for value, weight in terms for shift, sign in csd(weight)]


def weighed(terms: Iterable[Digit]) -> Sum:
    """The sum that some digits are."""
    total: dict[int, int] = {}
    for value, shift, sign in terms:
        total[value] = total.get(value, 0) + (sign << shift)
    return tuple(sorted((v, w) for v, w in total.items() if w))


def factors(network: Network) -> dict[int, dict[int, int]]:
    """By the number of each value: its weights by input. Raises ValueError if it is no network."""
    known: dict[int, dict[int, int]] = {i: {i: 1} for i in range(network.inputs)}
    for number, terms in ordered(network):
        total: dict[int, int] = {}
        for value, weight in terms:
            if not weight:
                raise ValueError("a weight is 0")
            for i, w in known[value].items():
                total[i] = total.get(i, 0) + weight * w
        known[number] = {i: w for i, w in total.items() if w}
    return known


def ordered(network: Network) -> list[tuple[int, Sum]]:
    """Nodes and outputs with their numbers, each after what it reads. Raises ValueError where that cannot be."""
    sums = {network.inputs + k: s for k, s in enumerate(network.nodes)}
    sums |= {-1 - j: s for j, s in enumerate(network.outputs)}
    order: list[tuple[int, Sum]] = []
    done: dict[int, bool] = dict.fromkeys(range(network.inputs), True)
    for first in sums:
        stack = [first]
        while stack:
            number = stack[-1]
            if number not in sums and number not in done:
                raise ValueError(f"there is no value {number}")
            if number not in done:
                done[number] = False
                read = [v for v, _ in sums[number]]
                if any(done.get(v) is False for v in read):
                    raise ValueError("sums read each other in a ring")
                stack += [v for v in read if v not in done]
            else:
                stack.pop()
                if not done[number]:
                    done[number] = True
                    order.append((number, sums[number]))
    return order


def right(problem: Problem, network: Network) -> bool:
    """Whether the network computes exactly the problem's rows."""
    if network.inputs != len(problem.inputs) or len(network.outputs) != len(problem.rows):
        return False
    try:
        known = factors(network)
    except ValueError:
        return False
    return [known[-1 - j] for j in range(len(problem.rows))] == [dict(row) for row in problem.rows]


def spans(problem: Problem, network: Network, most: int = 2) -> dict[int, Span]:
    """The exact span of every value, inputs independent, by its number.

    Depths are those of trees as shallow as can be, of adders of `most` operands.
    """
    made = factors(network)
    known: dict[int, Span] = dict(enumerate(problem.inputs))
    for number, terms in ordered(network):
        lo, hi = reach(problem.inputs, made[number].items())
        low = min((known[v].low + csd(w)[0][0] for v, w in terms), default=0)
        known[number] = Span(lo, hi, low, balanced((known[v].depth for v, _, _ in digits(terms)), most))
    return known


def depth_of_outputs(problem: Problem, network: Network, most: int = 2) -> int:
    """How many adders of `most` operands one after the other the deepest output has, after the earliest input.

    Constants are operands, too. A sum that reads an output takes that output's constant with it; what is left of its
    own is what it adds.
    """
    constants = dict(enumerate(problem.constants))
    depths = {i: span.depth for i, span in enumerate(problem.inputs)}
    taken: dict[int, int] = {}
    for number, terms in ordered(network):
        taken[number] = sum(w * taken.get(v, 0) for v, w in terms)
        rest = 0
        if number < 0:
            rest, taken[number] = constants.get(-1 - number, 0) - taken[number], constants.get(-1 - number, 0)
        levels = [depths[v] for v, _, _ in digits(terms)]
        depths[number] = balanced([*levels, *[0] * bool(rest)], most)
    return max((depths[-1 - j] for j in range(len(problem.rows))), default=0)


def reach(inputs: Sequence[Span], row: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """The smallest and largest value of a weighted sum of inputs that are independent."""
    lo = hi = 0
    for i, w in row:
        span = inputs[i]
        lo += w * (span.lo if w > 0 else span.hi)
        hi += w * (span.hi if w > 0 else span.lo)
    return lo, hi


def balanced(depths: Iterable[int], most: int = 2) -> int:
    """The least number of adders of `most` operands one after the other in a sum of values of these depths.

    With adders of n operands, a sum fits under depth d exactly if `sum(n**depth) <= n**d` (Kraft's inequality). Counted
    level by level, no number gets larger than the sum has values, however deep they are.
    """
    depth = count = 0
    for level in sorted(depths):
        while depth < level and count > 1:
            depth, count = depth + 1, -(-count // most)
        depth, count = level, count + 1
    while count > 1:
        depth, count = depth + 1, -(-count // most)
    return depth
