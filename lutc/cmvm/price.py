"""What a network costs as carry chains, and the sums that are not worth sharing.

A sum that two others read saves each of them an adder and costs one. Where a carry chain adds three operands, taking
one term off a sum often saves nothing: so each shared sum is asked whether its readers would not be cheaper without.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

from lutc.cmvm.network import Span
from lutc.numbers import signed_digits

Terms = dict[int, int]  # by value: an integer weight


@dataclass(frozen=True)
class Chains:
    """How the target adds: `most` operands (2 or 3) in one carry chain, one LUT a bit."""

    most: int = 2


def price(terms: Mapping[int, int], known: Mapping[int, Span], final: Span, chains: Chains) -> int:
    """The carry bits of the cheapest-first tree for a sum of weighted values whose span is `final`."""
    waiting: list[tuple[int, int]] = []  # highest bit, lowest bit
    top_of_all = final.top
    for value, weight in terms.items():
        span = known[value]
        for shift, sign in signed_digits(weight):
            waiting.append((span.moved(shift, sign).top, span.low + shift))
    if len(waiting) == 1:
        return top_of_all - final.low if next(iter(terms.values())) < 0 else 0
    heapify(waiting)
    most, total = chains.most, 0
    while len(waiting) > 1:
        take = most if len(waiting) % 2 else 2
        some = [heappop(waiting) for _ in range(take)]
        lows = sorted(low for _, low in some)
        top = min(some[-1][0] + take - 1, top_of_all) if some[-1][0] < top_of_all else top_of_all
        total += max(top - lows[1], 1)
        heappush(waiting, (top, lows[0]))
    return total
