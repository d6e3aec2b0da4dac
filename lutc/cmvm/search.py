"""The search for a cheap network: some ways to go about it, the cheapest answer kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice

from lutc.choices import EFFORTS as EFFORTS
from lutc.cmvm.built import luts
from lutc.cmvm.climb import climbed
from lutc.cmvm.cse import Style, eliminate
from lutc.cmvm.groups import grouped
from lutc.cmvm.network import (
    Digit,
    Network,
    Problem,
    Span,
    balanced,
    depth_of_outputs,
    digits,
    reach,
    weighed,
)
from lutc.cmvm.price import dissolved, total
from lutc.cmvm.single import single
from lutc.cmvm.tree import Parent, parents

# Work allowed on one problem, in digits looked at (some 5 million a second), and the number of ways to go about it.
_WORK = {"fast": 400_000, "normal": 5_000_000, "high": 80_000_000}
_TRIES = {"fast": 1, "normal": 4, "high": 40}
# Where adders are counted, eliminations are all there is: fewer of them, but of whatever size.
_TRIES_FOR_ADDERS = {"fast": 1, "normal": 2, "high": 40}
_MORE_WORK_FOR_ADDERS = 8
_TALL = 1 << 20  # height of a tree that may be any
_FEW = 32  # rows; among so many the tree had better be low


@dataclass(frozen=True)
class Goal:
    """What counts.

    `most` is how many operands (2 or 3) a carry chain of the target adds, 0 if it is the number of two-operand adders
    that counts. `extra` is how many adders deeper than need be the network may get.
    """

    most: int = 2
    extra: int = 1


def solve(problem: Problem, goal: Goal = Goal(), effort: str = "normal") -> Network:
    """A network for the problem, the cheapest found, never worse than every row by itself.

    What is tried depends on the problem and the effort alone, so the answer is the same every time and everywhere.
    """
    best = plain(problem)
    cost = _cost(problem, best, goal)
    work, tries = _WORK[effort], _TRIES[effort]
    if not goal.most:
        work, tries = work * _MORE_WORK_FOR_ADDERS, _TRIES_FOR_ADDERS[effort]
    some = islice(_networks(problem, goal, work), tries)
    for network in chain(_grouped(problem, goal), some):
        found = _cost(problem, network, goal)
        if found < cost:
            best, cost = network, found
    return best


def plain(problem: Problem) -> Network:
    """Every row by itself."""
    return Network(len(problem.inputs), (), problem.rows)


def _cost(problem: Problem, network: Network, goal: Goal) -> int:
    return luts(problem, network, goal.most) if goal.most else total(problem, network, 0)


def deepest(problem: Problem, goal: Goal) -> int:
    """How many adders one after the other the deepest output may have, after the earliest input."""
    constants = problem.constants or (0,) * len(problem.rows)
    depths = []
    for row, constant in zip(problem.rows, constants, strict=True):
        levels = [problem.inputs[v].depth for v, _, _ in digits(row)] + [0] * bool(constant)
        depths.append(balanced(levels, max(goal.most, 2)))
    return max(depths, default=0) + goal.extra


def _networks(problem: Problem, goal: Goal, work: int) -> Iterator[Network]:
    """What to try, the most promising first, as far as the work allowed lasts; one thing more unless it is far more."""
    rows = [digits(row) for row in problem.rows]
    base, limit = max(goal.most, 2), deepest(problem, goal)
    count = sum(map(len, rows))
    # Fitted to measurements; an elimination of digits takes four times as long as a look at them.
    climbing = 2 * count * (20 * len(rows) + count) * (8 + count // max(len(rows), 1)) // 100
    eliminating = 4 * sum(len(row) ** 2 for row in rows)
    first = plain(problem)
    nothing = True
    if len(problem.inputs) == len(rows) == len(problem.rows[0]) == 1 and (
        found := single(problem.rows[0][0][1])
    ):
        yield found
    if climbing <= work and goal.most:
        work -= climbing
        nothing = False
        yield dissolved(problem, climbed(problem, first, goal.most, limit, climbing * 4), goal.most)
    for height, style in _styles(goal.most, len(rows)):
        if eliminating > work and (not nothing or (goal.most and eliminating > 8 * work)):
            break
        tree = parents(problem, height) if height else None
        if height and tree is None:
            continue
        work -= eliminating
        nothing = False
        network = _eliminated(problem, rows, tree, style, limit, base)
        if goal.most:
            network = dissolved(problem, network, goal.most)
            network = climbed(problem, network, goal.most, limit, max(min(work, eliminating), 0))
        yield network
    seed = 0
    while climbing <= work and count:
        work -= climbing
        seed += 1
        yield dissolved(problem, climbed(problem, first, goal.most, limit, climbing * 4, seed), goal.most)


def _grouped(problem: Problem, goal: Goal) -> Iterator[Network]:
    """What takes no time to find, and is best where many rows have small weights."""
    limit = deepest(problem, goal)
    for size in (2, 3, 4, 5) if goal.most else ():
        network = grouped(problem, size, goal.most)
        uses = sum(v >= network.inputs for s in network.outputs for v, _ in s)
        if uses < 2 * len(network.nodes):
            continue  # hardly one is read twice: the weights are too many
        network = dissolved(problem, network, goal.most)
        if depth_of_outputs(problem, network, max(goal.most, 2)) <= limit:
            yield network


def _styles(most: int, rows: int) -> Iterator[tuple[int, Style]]:
    """The heights of the tree of rows (0: none) and the styles of elimination, the most promising first."""
    if most:
        yield _TALL, Style(1.0)
        yield 0, Style(1.0)
    # Measured on random matrices: the best one, and the best to go with it.
    first = ((3, Style(0.25)), (5, Style(0.0))) if rows <= _FEW else ((_TALL, Style(0.25)), (3, Style(0.25)))
    if most != 3:  # elsewhere climbing does better
        yield from first
        for bits in (0.25, 0.0, 1.0):
            for height in (_TALL, 3, 5, 2, 1, 0):
                if (height, Style(bits)) not in first:
                    yield height, Style(bits)
        for seed in range(1, 100):
            yield (_TALL, 3, 5)[seed % 3], Style(0.25, 0.1, seed)


def _eliminated(
    problem: Problem,
    plain_rows: list[list[Digit]],
    tree: list[Parent | None] | None,
    style: Style,
    limit: int,
    most: int,
) -> Network:
    """One elimination. While it runs, the outputs that others are written by are values between inputs and nodes."""
    inputs, count = len(problem.inputs), len(problem.rows)
    if tree is None:
        nodes, outputs = eliminate(
            problem.inputs, plain_rows, [limit] * count, style, most, problem.constants
        )
        return Network(inputs, tuple(map(weighed, nodes)), tuple(map(weighed, outputs)))
    rows, limits, values, constants = _by_tree(problem, tree, plain_rows, limit, most)
    nodes, outputs = eliminate(values, rows, limits, style, most, constants)

    def renumbered(terms: list[Digit]) -> list[Digit]:
        return [
            (v if v < inputs else inputs - 1 - v if v < inputs + count else v - count, shift, sign)
            for v, shift, sign in terms
        ]

    return Network(
        inputs,
        tuple(weighed(renumbered(n)) for n in nodes),
        tuple(weighed(renumbered(o)) for o in outputs),
    )


def _by_tree(
    problem: Problem, tree: list[Parent | None], plain_rows: list[list[Digit]], limit: int, most: int
) -> tuple[list[list[Digit]], list[int], list[Span], list[int]]:
    """Rows as their parents plus differences, their depth limits, the spans of inputs and outputs, the constants left.

    A row that would get too deep by way of its parent stands on its own.
    """
    inputs = len(problem.inputs)
    weights = [dict(row) for row in problem.rows]
    children = [0] * len(tree)
    for found in tree:
        if found:
            children[found[0]] += 1
    rows: list[list[Digit]] = [[] for _ in tree]
    limits = [0] * len(tree)
    constants = problem.constants or (0,) * len(tree)
    left = list(constants)
    depths: dict[int, int] = {}

    def depth_of(terms: list[Digit], constant: int) -> int:
        before = (depths[v - inputs] if v >= inputs else problem.inputs[v].depth for v, _, _ in terms)
        return balanced([*before, *[0] * bool(constant)], most)

    for j in _from_roots(tree):
        found = tree[j]
        terms = plain_rows[j]
        if found:
            i, sign = found
            rest = dict(weights[j])
            for v, w in weights[i].items():
                rest[v] = rest.get(v, 0) - sign * w
            by_parent = [(inputs + i, 0, sign), *digits((v, w) for v, w in rest.items() if w)]
            less = constants[j] - sign * constants[i]
            if depth_of(by_parent, less) <= limit:
                terms, left[j] = by_parent, less
        depth = depth_of(terms, left[j])
        rows[j] = terms
        # What others are written by is as shallow as it can be; the rest may use what room there is.
        limits[j] = depth if children[j] else limit
        depths[j] = depth
    values = list(problem.inputs)
    for j, row in enumerate(problem.rows):
        values.append(Span(*reach(problem.inputs, row), 0, depths[j]))
    return rows, limits, values, left


def _from_roots(tree: list[Parent | None]) -> list[int]:
    """The rows, each after its parent."""
    order: list[int] = []
    seen: set[int] = set()
    for j in range(len(tree)):
        path = []
        while j not in seen:
            seen.add(j)
            path.append(j)
            found = tree[j]
            if found is None:
                break
            j = found[0]
        order += reversed(path)
    return order
