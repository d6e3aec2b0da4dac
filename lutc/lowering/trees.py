"""Ensembles of decision trees: comparisons that all trees share, choices level by level, and sums of leaves.

A tree is exact: an input port has steps, so that every threshold is one of its codes. A leaf is a float of the
framework's; leaves of many bits are rounded to a format that the user names (`leaf_type`), which says what a score may
differ by. What a path has asked before is not asked again, and equal parts of trees are one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np

from lutc.ir.graph import Value
from lutc.ir.ops.logic import Relation
from lutc.lowering import exact as ex
from lutc.lowering.constants import common_codes
from lutc.lowering.dtypes import FLOAT32_BITS
from lutc.lowering.logic import limit_of
from lutc.lowering.operands import BROKEN
from lutc.lowering.refusals import Refusal
from lutc.lowering.tensors import Scaled, concrete
from lutc.lowering.walk import Walk
from lutc.numbers import rounded
from lutc.types import Fixed, Rounding, holding

MOST = 1 << 17  # questions and leaves of an ensemble
EXACT_BITS = 12  # of leaves that are taken as they are


@dataclass(frozen=True, slots=True)
class Split:
    """A question: whether a feature stands in a relation to a threshold; then where to go. Leaves are `~index`."""

    feature: int
    relation: Relation
    threshold: float
    yes: int
    no: int


@dataclass(frozen=True)
class Tree:
    """`splits` and `leaves` in any order, and where it begins; a leaf adds to targets what it has for them."""

    splits: tuple[Split, ...]
    leaves: tuple[Mapping[int, float], ...]
    root: int


@dataclass(frozen=True)
class Ensemble:
    """Trees whose leaves are summed for `targets` outputs, from `base` on."""

    targets: int
    trees: tuple[Tree, ...]
    base: tuple[float, ...] = ()

    def leaves(self) -> list[float]:
        """Every number a leaf has for a target."""
        return [w for t in self.trees for leaf in t.leaves for w in leaf.values()]

    def check(self, features: int) -> None:
        """Raise Refusal for an ensemble that is none over so many features, or larger than any circuit."""
        size = sum(len(tree.splits) + len(tree.leaves) for tree in self.trees)
        if size > MOST:
            raise Refusal(
                f"has {size} questions and leaves, and up to {MOST} are taken",
                "train fewer or shallower trees: every one is hardware of its own",
            )
        for split in (s for t in self.trees for s in t.splits):
            if not 0 <= split.feature < features:
                raise Refusal(f"asks for feature {split.feature} of data with {features}", BROKEN)
            if math.isnan(split.threshold):
                raise Refusal("has a threshold that is no number", "train the model again")
        if not all(map(math.isfinite, (*self.leaves(), *self.base))):
            raise Refusal("has a leaf or a base value that is not finite", "train the model again")
        if self.base and len(self.base) != self.targets:
            raise Refusal(f"has {len(self.base)} base values for {self.targets} targets", BROKEN)


@dataclass(frozen=True)
class Leaves:
    """How leaves are rounded: `frac` bits after the point, to nearest, ties to even."""

    frac: int

    def code(self, weight: float) -> int:
        return rounded(Fraction(weight) * Fraction(2) ** self.frac, Rounding.HALF_EVEN)

    def number(self, weight: float) -> float:
        """What a leaf becomes."""
        return math.ldexp(self.code(weight), -self.frac)


def leaves_of(ensemble: Ensemble, leaf_type: Fixed | None) -> tuple[Leaves, Fraction]:
    """How the leaves are rounded, and by how much a score may differ from the sum of them as they are.

    Raises Refusal for leaves that need a format, and for one that does not hold them.
    """
    weights = [Fraction(w) for w in {*ensemble.leaves(), *ensemble.base}]
    if leaf_type is None:
        codes, frac = common_codes(weights)
        fmt = holding(min(codes, default=0), max(codes, default=0), frac)
        if fmt.width > EXACT_BITS:
            raise Refusal(*_too_fine(ensemble, fmt))
        return Leaves(max(frac, 0)), Fraction(0)
    outside = [w for w in weights if not leaf_type.value(leaf_type.lo) <= w <= leaf_type.value(leaf_type.hi)]
    if outside:
        worst = max(outside, key=abs)
        raise Refusal(
            f"has a leaf or a base of {float(worst):.6g}, which lies outside of {leaf_type} "
            f"({float(leaf_type.value(leaf_type.lo)):g} to {float(leaf_type.value(leaf_type.hi)):g})",
            f"give leaves more bits before the point: --leaf-type {_holding(weights, leaf_type.width)}",
        )
    leaves = Leaves(leaf_type.frac)
    return leaves, _bound(ensemble, leaves)


def _bound(ensemble: Ensemble, leaves: Leaves) -> Fraction:
    """The most that rounding may change any score by."""

    def off(weight: float) -> Fraction:
        return abs(Fraction(weight) - Fraction(leaves.number(weight)))

    most = [off(b) for b in ensemble.base] or [Fraction(0)] * ensemble.targets
    for tree in ensemble.trees:
        worst: dict[int, Fraction] = {}
        for leaf in tree.leaves:
            for target, weight in leaf.items():
                worst[target] = max(worst.get(target, Fraction(0)), off(weight))
        for target, much in worst.items():
            most[target] += much
    return max(most, default=Fraction(0))


def _holding(weights: Sequence[Fraction], width: int) -> Fixed:
    """A format of this width that holds the numbers, as fine as it can be."""
    for frac in range(width + 64, -64, -1):
        unit = Fraction(2) ** frac
        codes = [rounded(w * unit, Rounding.HALF_EVEN) for w in weights]
        fmt = holding(min(codes, default=0), max(codes, default=0), frac)
        if fmt.width <= width:
            return Fixed(fmt.signed, width, frac)
    return Fixed(True, width, 0)


def _too_fine(ensemble: Ensemble, fmt: Fixed) -> tuple[str, str]:
    weights = [Fraction(w) for w in {*ensemble.leaves(), *ensemble.base}]
    wish = _holding(weights, 8)
    bound = float(_bound(ensemble, Leaves(wish.frac)))
    return (
        f"has leaves that take {fmt.width} bits ({fmt}), in {len(ensemble.trees)} trees",
        f"say how they are rounded: with --leaf-type {wish} a score differs by at most {bound:.3g}",
    )


# -- lowering ---------------------------------------------------------------------------------------------------------

# A question in codes of the feature: (feature, code, whether it asks for equality); else for "at most".
Question = tuple[int, int, bool]
# What a question chooses: its number, and where yes and no lead; leaves are `~index`.
Choice = tuple[int, int, int]
# A split or leaf of a tree, and what the path to it knows: a feature, the least and the most code it may have here.
_Place = tuple[int, tuple[tuple[int, int, int], ...]]


def sums(walk: Walk, t: Scaled, ensemble: Ensemble) -> tuple[Scaled, Leaves]:
    """The sums of an ensemble for samples `(1, features)`, `(1, targets)`, and how leaves were rounded.

    They are rounded to the walk's `leaf_type`; then a note says what that may change. Raises Refusal for data of
    another shape, for an ensemble that is broken or too large, and for leaves that need a type.
    """
    if len(t.shape) != 2 or t.shape[0] != 1:
        raise Refusal(
            f"reads data of shape {list(t.shape)}, where a sample has one dimension of features", BROKEN
        )
    ensemble.check(t.shape[1])
    leaves, bound = leaves_of(ensemble, walk.leaf_type)
    if bound:
        walk.note(
            f"leaves of {walk.layer.label if walk.layer else walk.model.name} are rounded to {leaves.frac} bits "
            "after the point (--leaf-type): its scores differ from the sums of the model's own leaves by at most "
            f"{float(bound):.4g}"
        )
    return _scores(walk, t, ensemble, leaves), leaves


def _scores(walk: Walk, t: Scaled, ensemble: Ensemble, leaves: Leaves) -> Scaled:
    work = _Work(walk, t)
    roots: list[tuple[int, int]] = []  # target, node
    base = [leaves.code(b) for b in ensemble.base] or [0] * ensemble.targets
    for tree in ensemble.trees:
        asked, root = work.asked(tree)
        for target in sorted({target for leaf in tree.leaves for target in leaf}):
            codes = [leaves.code(leaf.get(target, 0.0)) for leaf in tree.leaves]
            node, least = work.chosen(asked, root, codes)
            base[target] += least
            if node is not None:
                roots.append((target, node))
    return work.summed(roots, base, ensemble.targets, leaves)


@dataclass
class _Work:
    """Questions and choices of all trees: nodes are kept once."""

    walk: Walk
    data: Scaled
    questions: dict[Question, int] = field(default_factory=dict)
    # Leaves by code, and choices (question, yes, no) of nodes; and their heights.
    nodes: dict[tuple[int, ...], int] = field(default_factory=dict)
    heights: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        t = self.data
        if t.clips() or ex.lone(t.scale) is None or ex.lone(t.scale) == 0 or ex.lone(t.offset) is None:
            unit, value = self.walk.exact(t)
            t = Scaled(t.shape, value, ex.number(unit), integer=t.integer, batched=t.batched, real=t.real)
        if (ex.lone(t.scale) or 0) < 0:
            unit, value = self.walk.exact(t)
            t = replace(t, value=self.walk.b.neg(value), scale=ex.number(-unit), offset=ex.number(0))
        self.data, self.value = t, concrete(t)
        self.formats: list[Fixed] = list(self.value.type.formats)

    # -- questions ----------------------------------------------------------------------------------------------------

    def _question(self, split: Split) -> tuple[Question, bool]:
        """What a split asks, in codes, and whether the answer is turned round."""
        fmt, t = self.formats[split.feature], self.data
        float32 = not t.integer and t.real == "float" and fmt.width <= FLOAT32_BITS
        same = split.relation in (Relation.EQ, Relation.NE)
        turned = split.relation in (Relation.GT, Relation.GE, Relation.NE)
        if math.isinf(split.threshold):
            most = fmt.hi if split.threshold > 0 else fmt.lo - 1
            return (split.feature, fmt.hi + 1 if same else most, same), turned
        scale, offset = ex.lone(t.scale), ex.lone(t.offset)
        assert scale is not None and offset is not None
        limit = limit_of(scale, offset, Fraction(split.threshold), fmt.step, split.relation, float32)
        at = limit / fmt.step
        if same:  # a number between steps is never met
            return (split.feature, int(at) if at.denominator == 1 else fmt.hi + 1, True), turned
        below = split.relation in (Relation.LT, Relation.GE)
        return (split.feature, int(at) - below, False), turned

    def asked(self, tree: Tree) -> tuple[dict[int, Choice], int]:
        """The splits that are left when each path knows what it asked before, by number, and the root.

        A path that leads to one split with other knowledge makes another one of it. Raises Refusal for a circle, and
        for a way that leads nowhere.
        """
        made: dict[int, Choice] = {}
        found: dict[_Place, int] = {}
        begun: set[_Place] = set()
        start: _Place = (tree.root, ())
        stack = [start]  # no recursion: a tree may be as deep as it likes
        while stack:
            place = stack[-1]
            if place in found or place[0] < 0:
                if place[0] < 0 and ~place[0] >= len(tree.leaves):
                    raise Refusal(f"leads to leaf {~place[0]} of {len(tree.leaves)}", BROKEN)
                found.setdefault(place, place[0])
                stack.pop()
                continue
            question, ways = self._ways(tree, place)
            missing = [w for w in ways if w not in found]
            if missing:  # children are done before parents
                if place in begun:
                    raise Refusal("has a tree with a circle in it", BROKEN)
                begun.add(place)
                stack += missing
                if len(found) + len(stack) > 4 * MOST:
                    raise Refusal("has a tree that grows without end when it is written out", BROKEN)
                continue
            stack.pop()
            begun.discard(place)
            ends = [found[w] for w in ways]
            if len(set(ends)) == 1:
                found[place] = ends[0]
            else:
                number = self.questions.setdefault(question, len(self.questions))
                found[place] = len(made)
                made[len(made)] = (number, ends[0], ends[1])
        return made, found[start]

    def _ways(self, tree: Tree, place: _Place) -> tuple[Question, list[_Place]]:
        """What is asked at a place, and where that leads: yes and no, or one of them if the path knows the answer."""
        at, known = place
        if at >= len(tree.splits):
            raise Refusal(f"leads to node {at} of {len(tree.splits)}", BROKEN)
        split = tree.splits[at]
        question, turned = self._question(split)
        feature, code, same = question
        ranges = {f: (lo, hi) for f, lo, hi in known}
        lo, hi = ranges.get(feature, (self.formats[feature].lo, self.formats[feature].hi))
        if same:
            inside, outside = (code, code), (lo + (code == lo), hi - (code == hi))
            never, always = not lo <= code <= hi, lo == code == hi
        else:
            inside, outside = (lo, code), (code + 1, hi)
            never, always = code < lo, code >= hi
        yes, no = (split.no, split.yes) if turned else (split.yes, split.no)

        def after(child: int, bounds: tuple[int, int]) -> _Place:
            return child, tuple((f, *b) for f, b in sorted({**ranges, feature: bounds}.items()))

        if never or always:
            return question, [(yes if always else no, known)]
        return question, [after(yes, inside), after(no, outside)]

    # -- choices ------------------------------------------------------------------------------------------------------

    def _node(self, key: tuple[int, ...]) -> int:
        if key not in self.nodes:
            self.nodes[key] = len(self.nodes)
            self.heights.append(1 + max(self.heights[n] for n in key[1:]) if len(key) > 1 else 0)
        return self.nodes[key]

    def chosen(self, asked: Mapping[int, Choice], root: int, codes: Sequence[int]) -> tuple[int | None, int]:
        """The node of a tree whose leaves are codes, less the least of those it may reach; and that one."""
        reached = {~root} if root < 0 else {~c for _, *ends in asked.values() for c in ends if c < 0}
        least = min(codes[i] for i in reached)
        if all(codes[i] == least for i in reached):
            return None, least
        done: dict[int, int] = {}

        def node(at: int) -> int:
            return self._node((codes[~at] - least,)) if at < 0 else done[at]

        for at, (question, yes, no) in asked.items():
            a, b = node(yes), node(no)
            done[at] = a if a == b else self._node((question, a, b))
        return node(root), least

    def _bits(self) -> Value:
        """The answers to all questions, in their order."""
        b, walk = self.walk.b, self.walk
        flat = walk.reshaped(self.value, (self.value.type.size,))
        parts, order = [], []
        for same, relation in ((False, Relation.LE), (True, Relation.EQ)):
            mine = [q for q in self.questions if q[2] is same]
            if mine:
                numbers = np.array([self.formats[f].value(c) for f, c, _ in mine], dtype=object)
                limits = b.const(walk.const(numbers, "thresholds"))
                parts.append(b.compare(b.gather(flat, indices=[f for f, _, _ in mine]), limits, rel=relation))
                order += mine
        whole: Value = parts[0] if len(parts) == 1 else b.concat(parts, axis=0)
        places = {q: i for i, q in enumerate(order)}
        indices = [places[q] for q in self.questions]
        return whole if indices == list(range(len(indices))) else b.gather(whole, indices=indices)

    def summed(
        self, roots: Sequence[tuple[int, int]], base: Sequence[int], targets: int, leaves: Leaves
    ) -> Scaled:
        """The sums of root nodes for each target, and what is added to each."""
        walk, b = self.walk, self.walk.b
        unit = Fraction(1, 2**leaves.frac)
        shape = (1, targets)
        bases = np.array([[c * unit for c in base]], dtype=object)
        if not roots:
            raise Refusal("always answers the same", "leave it away: it does not depend on the inputs")
        pool, place = self._pool(unit)
        picked = b.gather(pool, indices=[place[n] for _, n in roots])
        weights = np.zeros((len(roots), targets), dtype=object)
        for row, (target, _) in enumerate(roots):
            weights[row, target] = 1
        value: Value = b.dense(picked, walk.const(weights, "sums"))
        value = walk.affine(value, ex.number(1), walk.inner(ex.compress(bases), shape))
        return Scaled(shape, value, batched=self.data.batched)

    def _pool(self, unit: Fraction) -> tuple[Value, dict[int, int]]:
        """A vector of the values of all nodes, level by level, and the place of each."""
        walk, b = self.walk, self.walk.b
        keys = list(self.nodes)
        leaves = [n for n, key in enumerate(keys) if len(key) == 1]
        constant = walk.const(np.array([keys[n][0] * unit for n in leaves], dtype=object), "leaves")
        pool: Value = b.const(constant)
        place = {n: i for i, n in enumerate(leaves)}
        if len(leaves) == len(keys):
            return pool, place
        bits = self._bits()
        levels: dict[int, list[int]] = {}
        for n, height in enumerate(self.heights):
            levels.setdefault(height, []).append(n)
        for height in sorted(levels):
            if not height:
                continue
            questions, yes, no = zip(*(keys[n] for n in levels[height]), strict=True)
            answers = b.gather(bits, indices=questions)
            ways = [b.gather(pool, indices=[place[n] for n in way]) for way in (yes, no)]
            made = b.select(answers, *ways)
            place |= {n: len(place) + i for i, n in enumerate(levels[height])}
            pool = b.concat([pool, made], axis=0)
        return pool, place
