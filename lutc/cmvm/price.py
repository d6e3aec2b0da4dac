"""What a network costs in carry chains, and the sums that are not worth sharing.

A sum that two others read saves each of them an adder and costs one. Where a carry chain takes three operands, a term
less often saves nothing. So every shared sum is asked whether its readers would not be cheaper without it.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heapify, heappop, heapreplace

from lutc.cmvm.network import Network, Problem, Sum, csd, digits, ordered, spans

_LARGE = 4000  # terms of a network in which not every node's every reader is priced
_SURE = 4  # readers that make a node worth its adders

Terms = dict[int, int]  # by value: an integer weight
Extents = dict[int, tuple[int, int]]  # by value: largest minus smallest, and the place of the lowest bit


def price(terms: Iterable[tuple[int, int]], extents: Extents, most: int, constant: int = 0) -> int:
    """The bits of the carry chains that a sum of weighted values takes, `most` operands to a chain, lowest first."""
    operands = []
    for value, weight in terms:
        extent, low = extents[value]
        for shift, _ in csd(weight):
            operands.append((extent << shift, low + shift))
    return chains(operands, most, constant)


def chains(operands: list[tuple[int, int]], most: int, constant: int = 0) -> int:
    """As `price`, for operands by extent and lowest bit. With `most` 0, only counts additions of two.

    A chain reaches from the second operand's lowest bit to the highest of the sum: what is below passes by.
    """
    if constant:
        operands.append((abs(constant), csd(constant)[0][0]))
    count = len(operands)
    if count < 2 or not most:
        return max(count - 1, 0)
    heapify(operands)
    bits = 0
    if count % 2 == 0 or most == 2:
        extent, low = heappop(operands)
        other, its = operands[0]
        extent += other
        bits += max(extent.bit_length() - max(low, its), 1)
        heapreplace(operands, (extent, min(low, its)))
    while len(operands) > 1:
        extent, low = heappop(operands)
        second = low
        if most == 3:
            other, second = heappop(operands)
            extent += other
        other, third = operands[0]
        extent += other
        first, last = min(low, second, third), max(low, second, third)
        bits += max(extent.bit_length() - (last if most == 2 else low + second + third - first - last), 1)
        heapreplace(operands, (extent, first))
    return bits


def total(problem: Problem, network: Network, most: int) -> int:
    """The bits of all carry chains of a network."""
    extents = extents_of(problem, network)
    constants = problem.constants or (0,) * len(network.outputs)
    outputs = zip(network.outputs, constants, strict=True)
    return sum(price(s, extents, most) for s in network.nodes) + sum(
        price(s, extents, most, c) for s, c in outputs
    )


def extents_of(problem: Problem, network: Network) -> Extents:
    """The extent and the lowest bit of every value."""
    return {v: (s.hi - s.lo, s.low) for v, s in spans(problem, network).items()}


def dissolved(problem: Problem, network: Network, most: int) -> Network:
    """The network without the nodes that cost more than they save; their readers take up their terms."""
    extents = extents_of(problem, network)
    sums: dict[int, Terms] = {number: dict(terms) for number, terms in ordered(network)}
    readers: dict[int, set[int]] = {number: set() for number in sums}
    for number, terms in sums.items():
        for value in terms:
            if value in readers:
                readers[value].add(number)
    constants = {-1 - j: c for j, c in enumerate(problem.constants)}

    def priced(number: int, terms: Terms) -> int:
        return price(terms.items(), extents, most, constants.get(number, 0))

    cost = {number: priced(number, terms) for number, terms in sums.items()}
    sizes = sum(map(len, sums.values()))
    todo = [number for number in reversed(sums) if number >= 0]
    while todo:
        waiting, todo = todo, []
        for node in waiting:
            inner = sums[node]
            if len(inner) > 1 and len(readers[node]) > _SURE and sizes > _LARGE:
                continue  # so many readers are glad of it: pricing them all takes long, and says so
            changed: dict[int, Terms] = {}
            saved = cost[node]
            for reader in readers[node]:
                changed[reader] = _without(sums[reader], node, inner)
                saved += cost[reader] - priced(reader, changed[reader])
            # A sum with one reader is left to whoever builds the adders, unless that costs; another name is no sum.
            if len(digits(inner.items())) > 1 and (saved < 0 or (saved == 0 and len(changed) > 1)):
                continue
            for reader, terms in changed.items():
                for value in sums[reader].keys() - terms.keys():
                    if value in readers:
                        readers[value].discard(reader)
                for value in terms:
                    if value in readers:
                        readers[value].add(reader)
                sums[reader], cost[reader] = terms, priced(reader, terms)
                if reader >= 0:
                    todo.append(reader)
            for value in inner:
                if value in readers:
                    readers[value].discard(node)
                    if value >= 0 and value in sums:
                        todo.append(value)
            del sums[node], readers[node], cost[node]
        todo = [n for n in dict.fromkeys(todo) if n in sums]
    return _renumbered(network, sums)


def _without(terms: Terms, node: int, inner: Terms) -> Terms:
    """A sum with a node's own sum in its place."""
    result = dict(terms)
    weight = result.pop(node)
    for value, w in inner.items():
        result[value] = result.get(value, 0) + weight * w
        if not result[value]:
            del result[value]
    return result


def _renumbered(network: Network, sums: dict[int, Terms]) -> Network:
    """A network of the sums that are left, numbered without gaps."""
    number = {v: v for v in range(network.inputs)} | {-1 - j: -1 - j for j in range(len(network.outputs))}
    nodes: list[int] = []
    for (
        old
    ) in sums:  # each after what it reads, as `ordered` gave them: what took a sum's place was before it
        if old >= 0:
            number[old] = network.inputs + len(nodes)
            nodes.append(old)

    def renamed(terms: Terms) -> Sum:
        return tuple(sorted((number[v], w) for v, w in terms.items()))

    return Network(
        network.inputs,
        tuple(renamed(sums[n]) for n in nodes),
        tuple(renamed(sums[-1 - j]) for j in range(len(network.outputs))),
    )
