"""Sums that share what they do with a few inputs at a time.

With small weights there are few ways to add up three inputs: four, up to the sign, if all weights are +1 or -1. Each
way is made once, and all rows read it. (The idea is that of the "four Russians": V. L. Arlazarov, E. A. Dinic, M. A.
Kronrod, I. A. Faradzev, "On economical construction of the transitive closure of an oriented graph", 1970.)
"""

from __future__ import annotations

from lutc.cmvm.network import Network, Problem, Sum


def grouped(problem: Problem, size: int, most: int) -> Network:
    """The network in which groups of `size` neighbouring inputs are summed first, each way once.

    A group longer than `most` is a shorter group's sum and `most - 1` inputs more, so that it is one adder deeper.
    """
    inputs = len(problem.inputs)
    nodes: list[Sum] = []
    known: dict[Sum, int] = {}

    def node(terms: Sum) -> tuple[int, int]:
        """The number of the node of a sum, and the sign to read it with."""
        if len(terms) == 1:
            return terms[0]
        sign = 1 if terms[0][1] > 0 else -1
        terms = tuple((v, w * sign) for v, w in terms)
        if terms not in known:
            inner = terms
            if len(terms) > most:
                kept = len(terms) - (most - 1)
                inner = (node(terms[:kept]), *terms[kept:])
            known[terms] = inputs + len(nodes)
            nodes.append(tuple(sorted(inner)))
        return known[terms], sign

    outputs: list[Sum] = []
    for row in problem.rows:
        groups: dict[int, list[tuple[int, int]]] = {}
        for v, w in sorted(row):
            groups.setdefault(v // size, []).append((v, w))
        total: dict[int, int] = {}
        for terms in groups.values():
            value, weight = node(tuple(terms))
            total[value] = total.get(value, 0) + weight
        outputs.append(tuple(sorted((v, w) for v, w in total.items() if w)))
    return Network(inputs, tuple(nodes), tuple(outputs))
