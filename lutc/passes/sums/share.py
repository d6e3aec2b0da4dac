"""Sums of the same values share partial sums: whole constant-matrix-vector products at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import ClassVar

from networkx.utils import UnionFind

from lutc import settings
from lutc.analysis.ranges import range_of
from lutc.cmvm.cache import solved
from lutc.cmvm.network import Network, Problem, Span, Sum, balanced, ordered, sharing, spans
from lutc.cmvm.search import Goal, deepest
from lutc.ir.graph import Design, Func, Output, Value, body, functions, topo
from lutc.ir.ops import Call, Lincomb, Quant, Scale
from lutc.ir.ops.base import Op
from lutc.numbers import digits, one_digit, twos
from lutc.passes.context import Context
from lutc.passes.manager import Pass
from lutc.passes.rebuild import keep_all, rebuild
from lutc.passes.rewriter import with_operands
from lutc.target import Target
from lutc.types import Fixed, holding, scalar

_WIDEST = 900  # bits of a weight; nobody has such weights, and the search could not hold them


@dataclass(frozen=True)
class Share(Pass):
    """Give n-ary sums of the same values common partial sums, where that saves adders.

    `extra` is how many adders deeper than it must be a matrix product may get.
    """

    name: ClassVar[str] = "share"
    extra: int = 0

    def __post_init__(self) -> None:
        settings.count(self.extra, "a depth beyond the least", 1000)

    def __call__(self, design: Design, context: Context) -> Design:
        target = context.target
        goal = Goal(3 if target.ternary else 2, self.extra)
        ready = _Ready(target)
        plan: dict[Value, Value] = {}
        owners: list[Design | Func] = [*functions(design), design]
        for owner in owners:
            for sums in _groups(body(owner)):
                if not _shares(sums):
                    continue
                product = _Product(sums, ready)
                if product.problem is not None:
                    ready.together(sums, product.problem, goal)
                    if sharing(product.problem):
                        plan |= product.written(solved(product.problem, goal, context.effort))
        return rebuild(_replaced(design, plan), keep_all, canonical="never") if plan else design


def _groups(values: list[Value]) -> Iterator[list[Lincomb]]:
    """Sums that share terms and do not depend on each other, those with none to share left out."""
    level: dict[Value, int] = {}
    by_level: dict[int, list[Lincomb]] = {}
    for v in values:
        is_sum = isinstance(v, Lincomb) and not v.type.shape
        level[v] = max((level[o] for o in v.operands), default=0) + is_sum
        if isinstance(v, Lincomb) and is_sum:
            by_level.setdefault(level[v], []).append(v)
    for sums in by_level.values():
        yield from _connected(sums)


def _shares(sums: list[Lincomb]) -> bool:
    """Whether any term is read twice, or times more than a power of two."""
    weights = [w for s in sums for w in s.weights]
    plain = all(not w or one_digit(w) for w in weights)
    return not plain or len({v for s in sums for v in s.terms}) < len(weights)


def _connected(sums: list[Lincomb]) -> Iterator[list[Lincomb]]:
    """Sums that have terms in common, directly or by way of others."""
    joined = UnionFind()
    for s in sums:
        joined.union(s, *s.terms)
    groups: dict[Value, list[Lincomb]] = {}
    for s in sums:
        if s.terms:  # one without has nothing to share
            groups.setdefault(joined[s], []).append(s)
    yield from groups.values()


class _Ready:
    """When values are ready, in adders of the target one after the other, every sum a tree as shallow as can be."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.most = 3 if target.ternary else 2
        self.step = target.ternary_ns(12) if target.ternary else target.adder_ns(12)
        self._known: dict[Value, float] = {}

    def of(self, value: Value) -> int:
        known = self._known
        for v in topo([value], known):
            known[v] = max((known[o] for o in v.operands), default=0.0)
            if isinstance(v, Lincomb) and not v.type.shape:
                count = sum(len(digits(w)) for w in v.weights) + bool(v.bias)
                known[v] += balanced([0] * count, self.most)
            elif isinstance(v, Op) and not v.type.shape and not any(o.type.shape for o in v.operands):
                known[v] += v.delay(self.target) / self.step
        return int(known[value] + 0.5)

    def together(self, sums: list[Lincomb], problem: Problem, goal: Goal) -> None:
        """The sums of a product may all become as deep as the deepest of them."""
        first = min(self.of(v) for s in sums for v in s.terms)
        self._known |= dict.fromkeys(sums, float(first + deepest(problem, goal)))


class _Product:
    """One matrix product: the sums, and the problem in integers that it is.

    Input i of the problem is the code of term i; outputs and nodes are numbers in steps of `2**-frac`.
    """

    def __init__(self, sums: list[Lincomb], ready: _Ready) -> None:
        self.sums = sums
        self.terms = list(dict.fromkeys(v for s in sums for v in s.terms))
        number = {v: i for i, v in enumerate(self.terms)}
        self.fracs = [v.type.scalar.frac for v in self.terms]
        rows = []
        for s in sums:
            row: dict[int, Fraction] = {}
            for v, w in zip(s.terms, s.weights, strict=True):
                row[number[v]] = row.get(number[v], Fraction(0)) + w
            rows.append({i: w for i, w in row.items() if w})
        fracs = [twos(w) + self.fracs[i] for row in rows for i, w in row.items()]
        self.frac = max([*fracs, *(twos(s.bias) for s in sums if s.bias)], default=0)
        whole = [
            tuple(
                sorted(
                    (i, (w * Fraction(2) ** (self.frac - self.fracs[i])).numerator) for i, w in row.items()
                )
            )
            for row in rows
        ]
        constants = tuple((s.bias * Fraction(2) ** self.frac).numerator for s in sums)
        self.problem: Problem | None = None
        if self.terms and max((abs(w).bit_length() for row in whole for _, w in row), default=0) <= _WIDEST:
            times = [ready.of(v) for v in self.terms]
            first = min(times)
            inputs = []
            for v, time in zip(self.terms, times, strict=True):
                lo, hi = range_of(v)
                inputs.append(Span(int(lo), int(hi), 0, time - first))
            self.problem = Problem(tuple(inputs), tuple(whole), constants)

    def written(self, network: Network) -> dict[Value, Value]:
        """What takes the place of each sum, on values as they were; sums that stay as they are are left out."""
        assert self.problem is not None
        known = spans(self.problem, network)
        made: dict[int, Value] = dict(enumerate(self.terms))
        made |= {-1 - j: s for j, s in enumerate(self.sums)}
        plan: dict[Value, Value] = {}
        origins = self._origins(network)
        # Networks know no biases. A sum that reads an output takes in that output's bias with it: nodes hand it on,
        # and outputs, which add a constant anyway, take it out again.
        biases: dict[int, Fraction] = {-1 - j: s.bias for j, s in enumerate(self.sums)}
        for number, terms in ordered(network):
            read = sum((w * biases.get(v, Fraction(0)) for v, w in terms), Fraction(0))
            if number >= 0:
                biases[number] = read
                value = self._sum(terms, made, Fraction(0), origins.get(number), None)
                fmt = self._format(known[number], read)
                fits = value.type.scalar == fmt
                made[number] = value if fits else Quant(value, scalar(fmt), origin=value.origin)
            elif terms != self.problem.rows[-1 - number]:
                old = self.sums[-1 - number]
                value = self._sum(terms, made, old.bias - read, old.origin, old.name)
                plan[old] = Quant(value, old.type, origin=old.origin) if value.type != old.type else value
        return plan

    def _format(self, span: Span, bias: Fraction) -> Fixed:
        """The narrowest format of the numbers of a span, moved by a bias."""
        code = bias * Fraction(2) ** self.frac
        assert code.denominator == 1  # `frac` is that of the finest bias, too
        low = min(span.low, -twos(code)) if code else span.low
        return holding((span.lo + int(code)) >> low, (span.hi + int(code)) >> low, self.frac - low)

    def _sum(
        self, terms: Sum, made: dict[int, Value], bias: Fraction, origin: str | None, name: str | None
    ) -> Value:
        values = tuple(made[v] for v, _ in terms)
        inputs = len(self.terms)
        weights = tuple(
            w * Fraction(2) ** (self.fracs[v] - self.frac) if 0 <= v < inputs else Fraction(w)
            for v, w in terms
        )
        if len(values) == 1 and not bias:
            if weights[0] == 1:
                return values[0]
            return Scale(values[0], weights[0], name=name, origin=origin)
        return Lincomb(values, weights, bias, name=name, origin=origin)

    def _origins(self, network: Network) -> dict[int, str | None]:
        """The layer of a node: that of the first sum it is for."""
        origins: dict[int, str | None] = {}
        for number, terms in reversed(ordered(network)):
            origin = self.sums[-1 - number].origin if number < 0 else origins.get(number)
            for v, _ in terms:
                if v >= 0:
                    origins[v] = origin
        return origins


def _replaced(design: Design, plan: dict[Value, Value]) -> Design:
    """The design with other values, of the same types, in the place of some."""
    made: dict[Func, Func] = {}
    for func in functions(design):
        (result,) = _rewritten([func.result], plan, made)
        made[func] = Func(func.name, func.params, result, func.span)
    values = _rewritten(list(design.roots), plan, made)
    outputs = [
        Output(o.name, v, o.scale, o.offset, o.span) for o, v in zip(design.outputs, values, strict=True)
    ]
    return replace(design, outputs=tuple(outputs))


def _rewritten(roots: Iterable[Value], plan: dict[Value, Value], made: dict[Func, Func]) -> list[Value]:
    roots = list(roots)
    new: dict[Value, Value] = {}
    stack = list(roots)
    while stack:
        value = stack[-1]
        needed = (plan[value],) if value in plan else value.operands
        waiting = [v for v in needed if v not in new]
        if waiting:
            stack += reversed(waiting)
            continue
        stack.pop()
        if value in plan:
            new[value] = new[plan[value]]
        else:
            new[value] = _on(value, [new[v] for v in needed], made)
    return [new[v] for v in roots]


def _on(value: Value, operands: list[Value], made: dict[Func, Func]) -> Value:
    """A value on new operands, calls to the new functions."""
    if not isinstance(value, Op):
        return value
    changes: dict[str, Func] = {}
    if isinstance(value, Call):
        changes["func"] = made[value.func]
    return with_operands(value, operands, **changes)
