"""The problem (integer weights, the ranges of the inputs) and its answer (a network of sums of shifted values)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# One summand: `sign * 2**shift * value`, where value is the number of an input or of a node.
Digit = tuple[int, int, int]  # (value, shift, sign)
Sum = tuple[Digit, ...]


@dataclass(frozen=True)
class Span:
    """The bits a value is made of: integers `lo..hi`, all multiples of `2**low`; `depth` adders stand before it."""

    lo: int
    hi: int
    low: int = 0
    depth: int = 0

    @property
    def top(self) -> int:
        """One above the highest bit, the sign counted."""
        return max((-self.lo - 1).bit_length() if self.lo < 0 else 0, self.hi.bit_length()) + (self.lo < 0)

    def moved(self, shift: int, sign: int) -> Span:
        """The span of `sign * 2**shift * value`. Shifts may be negative as far as `low` allows."""
        lo, hi = (self.lo, self.hi) if sign > 0 else (-self.hi, -self.lo)
        if shift >= 0:
            return Span(lo << shift, hi << shift, self.low + shift, self.depth)
        return Span(-(-lo >> -shift), hi >> -shift, self.low + shift, self.depth)


@dataclass(frozen=True)
class Problem:
    """`rows[j]` are the `(input, weight)` pairs of output j; weights are integers other than 0, inputs rise."""

    inputs: tuple[Span, ...]
    rows: tuple[tuple[tuple[int, int], ...], ...]


@dataclass(frozen=True)
class Network:
    """`nodes[k]` is value number `inputs + k`, a sum of values before it; `outputs` are sums of any values.

    An output may also be named by another: value number `-1 - j` is output j. Such references run from later to
    earlier outputs in some order, never in a ring.
    """

    inputs: int
    nodes: tuple[Sum, ...]
    outputs: tuple[Sum, ...]

    def adders(self) -> int:
        """Two-operand additions, if every sum is added on its own."""
        return sum(max(len(s) - 1, 0) for s in (*self.nodes, *self.outputs))


def weights(network: Network) -> list[dict[int, int]]:
    """What the network computes: for each output its weights by input. Raises ValueError if it is no network."""
    known: dict[int, dict[int, int]] = {i: {i: 1} for i in range(network.inputs)}
    for k, node in enumerate(network.nodes):
        known[network.inputs + k] = _total(node, known)
    for j in output_order(network):
        known[-1 - j] = _total(network.outputs[j], known)
    return [known[-1 - j] for j in range(len(network.outputs))]


def _total(digits: Sum, known: dict[int, dict[int, int]]) -> dict[int, int]:
    total: dict[int, int] = {}
    for value, shift, sign in digits:
        if value not in known or sign not in (1, -1):
            raise ValueError("the network reads what it has not made")
        for i, w in known[value].items():
            if shift < 0 and w & ((1 << -shift) - 1):
                raise ValueError("the network drops bits")
            total[i] = total.get(i, 0) + sign * (w << shift if shift >= 0 else w >> -shift)
    return {i: w for i, w in total.items() if w}


def output_order(network: Network) -> list[int]:
    """The outputs, each after those it reads. Raises ValueError if they read each other in a ring."""
    order: list[int] = []
    state: dict[int, bool] = {}
    for first in range(len(network.outputs)):
        stack = [first]
        while stack:
            j = stack[-1]
            if j not in state:
                state[j] = False
                read = [-1 - v for v, _, _ in network.outputs[j] if v < 0]
                if any(state.get(r) is False for r in read):
                    raise ValueError("the outputs read each other in a ring")
                stack += [r for r in read if r not in state]
            else:
                stack.pop()
                if not state[j]:
                    state[j] = True
                    order.append(j)
    return order


def right(problem: Problem, network: Network) -> bool:
    """Whether the network computes exactly the problem's rows."""
    if network.inputs != len(problem.inputs) or len(network.outputs) != len(problem.rows):
        return False
    try:
        return weights(network) == [dict(row) for row in problem.rows]
    except ValueError:
        return False


def spans(problem: Problem, network: Network) -> dict[int, Span]:
    """The exact span of every value, inputs independent, by its number; depths as if sums were balanced trees."""
    known: dict[int, Span] = dict(enumerate(problem.inputs))
    factors: dict[int, dict[int, int]] = {i: {i: 1} for i in range(network.inputs)}
    every = [(network.inputs + k, s) for k, s in enumerate(network.nodes)]
    every += [(-1 - j, network.outputs[j]) for j in output_order(network)]
    for number, digits in every:
        factors[number] = _total(digits, factors)
        lo, hi = reach(problem.inputs, factors[number].items())
        low = min((known[v].low + s for v, s, _ in digits), default=0)
        known[number] = Span(lo, hi, low, balanced(known[v].depth for v, _, _ in digits))
    return known


def reach(inputs: Sequence[Span], row: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """The smallest and largest value of a weighted sum of inputs that are independent."""
    lo = hi = 0
    for i, w in row:
        span = inputs[i]
        lo += w * (span.lo if w > 0 else span.hi)
        hi += w * (span.hi if w > 0 else span.lo)
    return lo, hi


def added(a: Span, b: Span) -> Span:
    """The span of a sum of two independent values."""
    return Span(a.lo + b.lo, a.hi + b.hi, min(a.low, b.low), max(a.depth, b.depth) + 1)


def adder_bits(a: Span, b: Span, shift: int, negative: int) -> int:
    """The bits of a carry chain for `a + 2**shift * b`, or minus: those below the other operand's lowest pass by.

    The low bits of what is subtracted do not pass by.
    """
    low_a, low_b = a.low, b.low + shift
    low = low_a if low_b < low_a and negative else max(low_a, low_b)
    b = b.moved(shift, -1 if negative else 1)
    return max(added(a, b).top - low, 1)


def balanced(depths: Iterable[int]) -> int:
    """The least number of two-operand adders one after the other in a sum of values of these depths.

    A sum fits under depth d exactly if `sum(2**depth) <= 2**d` (Kraft's inequality for the tree of adders).
    """
    total = sum(1 << d for d in depths)
    return (total - 1).bit_length() if total else 0
