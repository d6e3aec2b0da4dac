"""How far off an approximated design can be: never farther than proven, however the designs are made."""

from __future__ import annotations

import random
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_designs import random_design

from lutc.ir.graph import Design, Output, Param, Stage, Table, Value
from lutc.ir.interp import execute
from lutc.ir.ops import (
    Abs,
    Add,
    Call,
    Compare,
    Lincomb,
    Lut,
    Max,
    Min,
    Mul,
    Neg,
    Pack,
    Quant,
    Reg,
    Relation,
    Relu,
    Scale,
    Select,
    Sub,
)
from lutc.ir.ops.base import Op
from lutc.ir.verify import verify
from lutc.passes.approximate.deviation import deviations
from lutc.passes.approximate.errors import Seen, Unbounded, table_error, through
from lutc.passes.manager import random_codes
from lutc.passes.rebuild import rebuild
from lutc.passes.rewriter import Rewriter
from lutc.types import Fixed, Overflow, Rounding, holding, scalar

OPS = [
    Lut,
    Lut,
    Lincomb,
    Lincomb,
    Quant,
    Quant,
    Relu,
    Abs,
    Neg,
    Add,
    Sub,
    Mul,
    Min,
    Max,
    Compare,
    Select,
    Scale,
    Call,
]


def all_codes(design: Design, most: int = 1 << 12) -> dict[str, Any]:
    """Every combination of the inputs' codes, or as many random ones."""
    formats = [p.type.scalar for p in design.params if not p.type.shape]
    if len(formats) < len(design.params) or sum(f.width for f in formats) > most.bit_length() - 1:
        return random_codes(design, most // 4)
    grids = np.meshgrid(*(np.arange(f.lo, f.hi + 1) for f in formats), indexing="ij")
    return {p.name or "": g.ravel() for p, g in zip(design.params, grids, strict=True)}


def check(exact: Design, near: Design, proven: dict[str, list[tuple[int, int]]]) -> int:
    """Compare two designs with what is proven; the largest error met."""
    verify(near)
    codes = all_codes(exact)
    want, got = execute(exact, codes), execute(near, codes)
    worst = 0
    for port, bounds in proven.items():
        off = (np.asarray(got[port], dtype=object) - want[port]).reshape(len(want[port]), -1)
        for column, (lo, hi) in zip(off.T, bounds, strict=True):
            assert lo <= column.min() and column.max() <= hi, (port, lo, hi, column.min(), column.max())
            worst = max(worst, -column.min(), column.max())
    return worst


# -- the analysis, against changes that nobody would make -------------------------------------------------------------


def network(rng: random.Random) -> Design:
    """A small design of one to three inputs in which errors meet everything that they can be followed through."""
    params = tuple(
        Param(scalar(Fixed(rng.random() < 0.5, rng.randint(2, 4), rng.randint(-1, 2))), name=f"x{i}")
        for i in range(rng.randint(1, 3))
    )
    pool: list[Value] = list(params)

    def some() -> Value:
        return rng.choice(pool[-6:] if rng.random() < 0.7 else pool)

    def weight() -> Fraction:
        return Fraction(rng.choice([-12, -5, -3, -2, -1, 1, 2, 3, 7, 10]), rng.choice([1, 2, 4]))

    def quant(x: Value, width: int | None = None) -> Value:
        fmt = x.type.scalar
        if not fmt.width:
            return x
        frac = fmt.frac - rng.randint(-1, 3)
        wide = width or max(1, fmt.width - fmt.frac + frac + rng.randint(-2, 2))
        to = Fixed(rng.random() < 0.6, wide, frac)
        mode = rng.choice([Overflow.WRAP, Overflow.WRAP, *Overflow])
        return Quant(x, scalar(to), rng.choice([Rounding.FLOOR, Rounding.HALF_UP, *Rounding]), mode)

    def table(key: Value) -> Value:
        inputs = key.type.scalar.width
        top = rng.randint(1, 60)
        slope = rng.uniform(-top, top)
        codes = [round(slope * k / (1 << inputs) + rng.uniform(-2, 2)) for k in range(1 << inputs)]
        value = holding(min(codes), max(codes), rng.randint(-1, 3))
        return Lut(key, Table(f"t{len(pool)}", key.type, scalar(value), np.array(codes, dtype=object)))

    for _ in range(rng.randint(4, 14)):
        kind = rng.randint(0, 11)
        if kind <= 2:
            key = quant(some(), rng.randint(2, 6))
            made = table(key) if key.type.scalar.width else key
        elif kind <= 5:
            terms = tuple(dict.fromkeys(some() for _ in range(rng.randint(1, 4))))
            made = Lincomb(terms, tuple(weight() for _ in terms), rng.choice([Fraction(0), weight()]))
        elif kind == 6:
            made = quant(some())
        elif kind == 7:
            made = rng.choice([Relu, Abs, Neg])(some())
        elif kind == 8:
            made = rng.choice([Add, Sub, Min, Max])(some(), some())
        elif kind == 9:
            a, b = some(), some()
            arms = rng.choice([(a, b), (b, a), (some(), some())])
            made = Select(Compare(a, b, rng.choice(list(Relation))), *arms)
        elif kind == 10:
            made = Scale(some(), weight())
        else:
            made = Mul(some(), some())
        if made.type.scalar.width <= 24:
            pool.append(made)
    ends = [v for v in pool[-3:] if v.type.scalar.width] or [Lincomb((params[0],), (Fraction(1),))]
    value = Pack(tuple(ends), (len(ends),)) if rng.random() < 0.5 else ends[-1]
    return Design("d", params, (Output("y", value),), Stage.SCALAR)


def spoiled(design: Design, rng: random.Random) -> Design:
    """The design with tables, weights and biases changed at will, and terms without their lowest bits."""

    def rule(rw: Rewriter, op: Op) -> Value:
        old = rw.original
        bit = (
            op.type.max_width == 1 and op.type.bits == 1
        )  # a choice may hang on it, which takes no other format
        if isinstance(op, Lut) and not op.table.key.shape and not bit and rng.random() < 0.6:
            most = rng.choice([1, 1, 4])
            coarse = rng.choice([0, 0, 1, 2])
            codes = np.array(
                [(c + rng.randint(-most, most)) >> coarse for c in op.table.codes.tolist()], dtype=object
            )
            value = holding(min(codes), max(codes), op.table.value.scalar.frac - coarse)
            return rw.make(Lut, op.key, rw.symbol(Table(op.table.name, op.table.key, scalar(value), codes)))
        if isinstance(op, Lincomb) and isinstance(old, Lincomb) and old.type.max_width and rng.random() < 0.4:
            step = Fraction(2) ** -old.type.scalar.frac
            bias = op.bias + rng.randint(-2, 2) * step
            weights = list(op.weights)
            terms = list(op.terms)
            at = rng.randrange(len(terms))
            if rng.random() < 0.5 and old.terms[at].type.max_width:
                weights[at] += rng.choice([-1, 0, 1]) * step / old.terms[at].type.scalar.step
            now = terms[at].type.scalar
            if rng.random() < 0.5 and now.width > 1:
                terms[at] = rw.make(Quant, terms[at], scalar(Fixed(now.signed, now.width - 1, now.frac - 1)))
            return rw.make(Lincomb, tuple(terms), tuple(weights), bias)
        return op

    return rebuild(design, rule)


def held(exact: Design, near: Design) -> tuple[int, int]:
    """The largest error seen and the largest proven, after checking each; both 0 where no bound is known."""
    try:
        proven = deviations(exact, near)
    except Unbounded:
        return 0, 0
    return check(exact, near, proven), max(max(-lo, hi) for some in proven.values() for lo, hi in some)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 1 << 32))
def test_no_error_is_larger_than_proven(seed: int) -> None:
    rng = random.Random(seed)
    exact = network(rng)
    held(exact, spoiled(exact, rng))


def test_bounds_are_often_known_and_met() -> None:
    known = met = 0
    for seed in range(120):
        rng = random.Random(seed)
        exact = network(rng)
        worst, bound = held(exact, spoiled(exact, rng))
        known += worst > 0
        met += 0 < worst == bound
    assert known > 15 and met > 5


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 32))
def test_any_operation_any_structure(seed: int) -> None:
    """Functions, bundles and wide numbers among them; what is not followed is refused."""
    rng = random.Random(seed)
    exact = random_design(rng, "scalar", [*OPS, Reg] if seed % 3 else None)
    held(exact, spoiled(exact, rng))


def test_a_design_is_not_off_itself() -> None:
    for seed in range(20):
        exact = random_design(random.Random(seed), "scalar")
        assert all(e == (0, 0) for some in deviations(exact, exact).values() for e in some)


@pytest.mark.parametrize("mode", list(Overflow))
@pytest.mark.parametrize("rounding", list(Rounding))
def test_roundings_are_bounded(rounding: Rounding, mode: Overflow) -> None:
    """Every number of a range, with every error: where they come to lie, modulo the span if the error is cyclic."""
    x = Param(scalar(Fixed(True, 8, 3)), name="x")
    for shift, width, (lo, hi) in product((1, 2, 3), (4, 9), ((0, 1), (-3, 0), (-2, 5), (8, 8))):
        quant = Quant(x, scalar(Fixed(True, width, 3 - shift)), rounding, mode)
        numbers = np.arange(-60, 60)
        exact = quant.eval(numbers)
        try:
            seen = Seen((lo, hi), (-60, 59), (-60 + lo, 59 + hi))
            found = through(quant, quant, [seen], (int(exact.min()), int(exact.max())))
        except Unbounded:
            assert mode is Overflow.WRAP and width == 4
            continue
        assert isinstance(found, Seen) and found.cyclic <= (mode is Overflow.WRAP and width == 4)
        for off in range(lo, hi + 1):
            moved = quant.eval(numbers + off) - exact
            if found.cyclic:
                assert (((moved - found.error[0]) % (1 << width)) <= found.error[1] - found.error[0]).all()
            else:
                assert found.error[0] <= moved.min() and moved.max() <= found.error[1]
                assert found.near[0] <= (moved + exact).min() and (moved + exact).max() <= found.near[1]


A, B = (Param(scalar(Fixed(True, 6, f)), name=n) for n, f in (("a", 1), ("b", 2)))
THIRD = Lincomb((A, B), (Fraction(3), Fraction(-5, 2)), Fraction(1, 4))
MADE: list[tuple[Op, Op]] = [
    *((op, op) for op in (Add(A, B), Sub(A, B), Mul(A, B), Mul(A, A), Min(A, B), Max(A, B))),
    *((op, op) for op in (Neg(A), Abs(A), Relu(A), Scale(A, Fraction(-3, 2)), THIRD)),
    *((op, op) for op in (Compare(A, B, rel) for rel in Relation)),
    (THIRD, Lincomb((A, B), (Fraction(2), Fraction(-5, 2)), Fraction(1, 2))),
    (THIRD, Lincomb((A, B), (Fraction(0), Fraction(-3)), Fraction(0))),
]


@settings(max_examples=20, deadline=None)
@given(st.data())
@pytest.mark.parametrize(("old", "new"), MADE, ids=lambda op: op.keyword)
def test_operations_are_bounded(old: Op, new: Op, data: st.DataObject) -> None:
    """Every pair of numbers, with every pair of errors."""
    seen, exact, near = [], [], []
    for _ in old.operands:
        lo = data.draw(st.integers(-12, 9))
        hi = data.draw(st.integers(lo, 12))
        down = data.draw(st.integers(-3, 3))
        up = data.draw(st.integers(down, 4))
        seen.append(Seen((down, up), (lo, hi), (lo + down, hi + up)))
        pairs = [(x, x + e) for x in range(lo, hi + 1) for e in range(down, up + 1)]
        exact.append(np.array([p[0] for p in pairs]))
        near.append(np.array([p[1] for p in pairs]))
    if len(seen) == 2 and old.operands[0] is not old.operands[1]:
        exact, near = ([g.ravel() for g in np.meshgrid(*some)] for some in (exact, near))
    elif len(seen) == 2:
        seen[1], exact[1], near[1] = seen[0], exact[0], near[0]
    want = old.eval(*exact)
    got = new.eval(*near) << old.type.scalar.frac - new.type.scalar.frac
    found = through(old, new, seen, (int(want.min()), int(want.max())))
    assert isinstance(found, Seen)
    assert found.error[0] <= (got - want).min() and (got - want).max() <= found.error[1]
    assert found.near[0] <= got.min() and got.max() <= found.near[1]
    if isinstance(old, Add | Sub | Neg | Scale | Lincomb) and new is old:
        assert found.error == ((got - want).min(), (got - want).max())


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_table_errors_are_exact(data: st.DataObject) -> None:
    fmt = Fixed(data.draw(st.booleans()), data.draw(st.integers(1, 6)))
    entries = st.lists(st.integers(-50, 50), min_size=1 << fmt.width, max_size=1 << fmt.width)
    before, after = (np.array(data.draw(entries)) for _ in range(2))
    start = data.draw(st.integers(fmt.lo, fmt.hi))
    end = data.draw(st.integers(start, fmt.hi))
    lo = data.draw(st.integers(-5, 5))
    hi = data.draw(st.integers(lo, 6))
    cyclic = data.draw(st.booleans())
    pairs = []
    for k in range(start, end + 1):
        for off in range(lo, hi + 1):
            place = k + off - fmt.lo
            if cyclic or 0 <= place < len(after):
                pairs.append(int(after[place % len(after)] - before[k - fmt.lo]))
    if not pairs:
        return
    near = (max(fmt.lo, start + lo), min(fmt.hi, end + hi))
    found = table_error(before, after, fmt, Seen((lo, hi), (start, end), near, cyclic))
    whole = hi - lo + 1 >= len(before)  # then all entries count
    assert (found[0] <= min(pairs) and max(pairs) <= found[1]) if whole else found == (min(pairs), max(pairs))
