"""How an error passes an operation: guaranteed bounds of approximated minus exact.

Of every value, `[lo, hi]` encloses approximated minus exact, in steps of the exact value, whatever the inputs are. The
intervals are carried through the operations (interval arithmetic: Moore, "Interval Analysis", 1966), and nothing is
assumed of how the errors of two operands go together. What the analysis does not know raises Unbounded: no error may
come near it.

A number that wraps may be one step off and land at the other end of its format. Such an error is *cyclic*: it holds
modulo the format's span, and only tables, which are looked at key by key, and conversions that drop more bits take it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from lutc.ir.graph import Value
from lutc.ir.ops import (
    Abs,
    Add,
    Add3,
    Compare,
    Element,
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
from lutc.numbers import divide
from lutc.truth import Codes
from lutc.types import Fixed, Overflow, Rounding

Interval = tuple[int, int]

_SAFE = 60  # bits of a table's answers
_EVEN = frozenset(
    {Rounding.FLOOR, Rounding.CEIL, Rounding.HALF_UP, Rounding.HALF_DOWN}
)  # the same at every integer


class Unbounded(Exception):
    """An error reaches something through which it cannot be followed, or a number that it may push over the edge."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of a scalar and of its approximation, in steps of the exact one.

    `error` encloses approximated minus exact (modulo the span of its format if `cyclic`), `exact` and `near` the two
    numbers themselves.
    """

    error: Interval
    exact: Interval
    near: Interval
    cyclic: bool = False

    @property
    def off(self) -> bool:
        """Whether there is any error."""
        return self.error != (0, 0)


Known = Seen | tuple[Seen, ...]  # of a bundle: of its elements


def elements(known: Known) -> tuple[Seen, ...]:
    """What is known of each element; a scalar is its only one."""
    return known if isinstance(known, tuple) else (known,)


def refused(op: Value) -> Seen:
    """Raises Unbounded: there is no bound behind this operation."""
    raise Unbounded(f"an error cannot be followed through {op!r}")


def inside(x: Seen, fmt: Fixed, what: str) -> None:
    """Raise Unbounded if an approximated number may not be one of the format's."""
    if x.off and (x.cyclic or x.near[0] < fmt.lo or x.near[1] > fmt.hi):
        raise Unbounded(f"{what} may leave its format")


# -- one operation --------------------------------------------------------------------------------------------------


def through(old: Op, new: Op, operands: Sequence[Known], exact: Interval) -> Known:
    """What is known of an operation's result, from what is of its operands; `new` is its counterpart.

    `exact` is the range of the exact result. Calls are not for here (`deviation.Calls`). Raises Unbounded.
    """
    if isinstance(old, Pack):
        return tuple(k for k in operands if isinstance(k, Seen))
    if isinstance(old, Element):
        bundle = operands[0]
        return bundle[old.at] if isinstance(bundle, tuple) else bundle
    seen = [k for k in operands if isinstance(k, Seen)]
    changed = (isinstance(old, Lut) and isinstance(new, Lut) and old.table is not new.table) or (
        isinstance(old, Lincomb)
        and isinstance(new, Lincomb)
        and (old.weights, old.bias) != (new.weights, new.bias)
    )
    if not changed and not any(s.off for s in seen) and len(seen) == len(operands):
        return Seen((0, 0), exact, exact)
    if len(seen) < len(operands) or old.type.shape or not old.type.scalar.width:
        return refused(old)
    if any(s.cyclic and s.off for s in seen) and not isinstance(old, Quant | Lut):
        return refused(old)
    if isinstance(old, Quant):
        return _quant(old, seen[0], exact)
    if isinstance(old, Lut):
        assert isinstance(new, Lut)
        error = _lut(old, new, seen[0])
    else:
        error = _plain(old, new, seen)
    near = (exact[0] + error[0], exact[1] + error[1])
    return Seen(error, exact, (max(near[0], 0), min(near[1], 1)) if isinstance(old, Compare) else near)


def _plain(old: Op, new: Op, seen: list[Seen]) -> Interval:
    """The error of an operation whose operands' errors hold as numbers."""
    match old:
        case Lincomb() | Add3():
            assert isinstance(new, Lincomb | Add3)
            return _weighted(old, new, seen)
        case Add() | Sub():
            a, b = (_shifted(s.error, _left(old, v)) for s, v in zip(seen, old.operands, strict=True))
            return (a[0] + b[0], a[1] + b[1]) if isinstance(old, Add) else (a[0] - b[1], a[1] - b[0])
        case Neg():
            return -seen[0].error[1], -seen[0].error[0]
        case Scale():
            return _times(seen[0].error, (old.odd, old.odd))
        case Reg():
            return seen[0].error
        case Relu():
            lo, hi = seen[0].error
            return min(lo, 0), max(hi, 0)
        case Abs():
            most = max(-seen[0].error[0], seen[0].error[1])
            return -most, most
        case Mul():
            # a' b' - a b = a' (b' - b) + b (a' - a)
            first, second = _times(seen[0].near, seen[1].error), _times(seen[1].exact, seen[0].error)
            return first[0] + second[0], first[1] + second[1]
        case Min() | Max():
            return _either(old, old.operands, seen)
        case Compare():
            return _compare(old, seen)
        case Select():
            return _select(old, seen)
    return refused(old).error


def _left(op: Value, operand: Value) -> int:
    """How far an operand's codes are moved to the result's steps."""
    return op.type.scalar.frac - operand.type.scalar.frac if operand.type.scalar.width else 0


def _shifted(x: Interval, left: int) -> Interval:
    return x[0] << left, x[1] << left


def _times(a: Interval, b: Interval) -> Interval:
    corners = [x * y for x in a for y in b]
    return min(corners), max(corners)


def _either(op: Value, values: Sequence[Value], seen: Sequence[Seen]) -> Interval:
    """One of several, or the largest or smallest of them: no worse than the worst."""
    ends = [_shifted(s.error, _left(op, v)) for s, v in zip(seen, values, strict=True)]
    return min(lo for lo, _ in ends), max(hi for _, hi in ends)


def _weighted(old: Lincomb | Add3, new: Lincomb | Add3, seen: list[Seen]) -> Interval:
    """w' x' - w x = w' (x' - x) + (w' - w) x, term by term."""
    frac = old.type.scalar.frac
    lo = hi = _steps((new.bias - old.bias) * Fraction(2) ** frac)
    for v, w, now, s in zip(old.terms, old.weights, new.weights, seen, strict=True):
        if w == now and not s.off:
            continue
        unit = Fraction(2) ** (frac - v.type.scalar.frac)
        moved = _scaled(s.error, now * unit)
        lo, hi = lo + moved[0], hi + moved[1]
        if now != w:
            changed = _scaled(s.exact, (now - w) * unit)
            lo, hi = lo + changed[0], hi + changed[1]
    return lo, hi


def _scaled(x: Interval, by: Fraction) -> Interval:
    a, b = (_steps(end * by) for end in x)
    return min(a, b), max(a, b)


def _steps(number: Fraction) -> int:
    if number.denominator != 1:
        raise Unbounded("an approximation has finer steps than the exact value")
    return number.numerator


def _compare(op: Compare, seen: list[Seen]) -> Interval:
    """Nothing where both comparisons are decided, and then alike."""
    a, b = op.operands
    fine = max((v.type.scalar.frac for v in op.operands if v.type.scalar.width), default=0)
    ends = []
    for kind in ("exact", "near"):
        x, y = (
            _shifted(getattr(s, kind), fine - v.type.scalar.frac if v.type.scalar.width else 0)
            for s, v in zip(seen, (a, b), strict=True)
        )
        ends.append(_decided(op.rel, x, y))
    return (0, 0) if ends[0] is not None and ends[0] == ends[1] else (-1, 1)


def _decided(rel: Relation, a: Interval, b: Interval) -> bool | None:
    """What a comparison of any two numbers of these ranges gives, if it is always the same."""
    less, more = a[1] < b[0], a[0] > b[1]
    below, above = a[1] <= b[0], a[0] >= b[1]
    yes, no = {
        Relation.LT: (less, above),
        Relation.LE: (below, more),
        Relation.GT: (more, below),
        Relation.GE: (above, less),
        Relation.EQ: (a[0] == a[1] == b[0] == b[1], less or more),
        Relation.NE: (less or more, a[0] == a[1] == b[0] == b[1]),
    }[rel]
    return True if yes else False if no else None


def _select(op: Select, seen: list[Seen]) -> Interval:
    condition, yes, no = seen
    arms = (op.yes, op.no)
    chosen = _either(op, arms, (yes, no))
    if not condition.off or _extreme(op):
        return chosen
    # The choice may flip: then one arm's approximation stands for the other arm.
    y, n = (_left(op, v) for v in arms)
    first, second = _shifted(yes.near, y), _shifted(no.exact, n)
    third, fourth = _shifted(no.near, n), _shifted(yes.exact, y)
    return (
        min(chosen[0], first[0] - second[1], third[0] - fourth[1]),
        max(chosen[1], first[1] - second[0], third[1] - fourth[0]),
    )


def _extreme(op: Select) -> bool:
    """Whether it is the larger or the smaller of two numbers: those may swap places without harm."""
    c = op.condition
    ordered = (Relation.LT, Relation.LE, Relation.GT, Relation.GE)
    return isinstance(c, Compare) and c.rel in ordered and {c.a, c.b} == {op.yes, op.no}


# -- rounding and overflow --------------------------------------------------------------------------------------------


def _quant(op: Quant, x: Seen, exact: Interval) -> Seen:
    to = op.to.scalar
    shift = op.x.type.scalar.frac - to.frac
    lo, hi = _rounded(x.error, shift, op.round)
    if x.cyclic:
        kept = to.width + shift <= op.x.type.scalar.width
        if not (kept and op.overflow is Overflow.WRAP and (op.round in _EVEN or shift <= 0)):
            return refused(op)
        return Seen((lo, hi), exact, exact, cyclic=True)
    before, after = (tuple(divide(e, shift, op.round) for e in r) for r in (x.exact, x.near))
    within = all(to.lo <= r[0] and r[1] <= to.hi for r in (before, after))
    if within and op.overflow is not Overflow.SATURATE_SYMMETRIC:
        near = (max(after[0], exact[0] + lo), min(after[1], exact[1] + hi))
        return Seen((lo, hi), exact, near)
    if op.overflow is not Overflow.WRAP:  # both stop at the ends: no farther apart than before
        error = (min(lo, 0), max(hi, 0))
        return Seen(error, exact, (max(to.lo, exact[0] + error[0]), min(to.hi, exact[1] + error[1])))
    if op.round not in _EVEN and shift > 0:
        return refused(op)
    return Seen((lo, hi), exact, (to.lo, to.hi), cyclic=True)


def _rounded(error: Interval, shift: int, rounding: Rounding) -> Interval:
    """The steps by which a rounded number can be off, if the number may be off by `error`.

    A rounding that does the same at every integer r satisfies r(x) + floor(e) <= r(x + e) <= r(x) + ceil(e); of any
    other, only floor(x) <= r(x) <= ceil(x) and that it never falls are known.
    """
    lo, hi = error
    if shift <= 0 or error == (0, 0):
        return lo << max(-shift, 0), hi << max(-shift, 0)
    lo, hi = lo >> shift, -(-hi >> shift)
    if rounding in _EVEN:
        return lo, hi
    return (max(lo - 1, 0) if error[0] >= 0 else lo - 1), (min(hi + 1, 0) if error[1] <= 0 else hi + 1)


# -- tables -----------------------------------------------------------------------------------------------------------


def _lut(old: Lut, new: Lut, key: Seen) -> Interval:
    """The largest and smallest difference of an entry and one that the approximated key may read instead."""
    finer = old.type.scalar.frac - new.type.scalar.frac if new.type.scalar.width else 0
    fmt = old.key.type.scalar
    if old.table.key.shape or finer < 0 or max(old.type.max_width, new.type.max_width + finer) > _SAFE:
        return refused(old).error
    before, after = (by_key(t.words, fmt) for t in (old.table, new.table))
    after = after << finer
    if not key.cyclic:
        inside(key, fmt, f"the key of {old!r}")
    return table_error(before, after, fmt, key)


def by_key(codes: Codes, key: Fixed) -> Codes:
    """A table's entries in the order of the numbers that they answer."""
    return np.roll(codes, len(codes) // 2) if key.signed else codes


def table_error(before: Codes, after: Codes, fmt: Fixed, key: Seen) -> Interval:
    """The range of `after[k'] - before[k]` over all keys k and those k' that may come in its place.

    before, after: [2**k], entries by number, in one unit.
    """
    lo, hi = key.error
    span = len(before)
    start, end = key.exact[0] - fmt.lo, key.exact[1] - fmt.lo
    exact = before[start : end + 1]
    if hi - lo + 1 >= span:
        return int(after.min()) - int(exact.max()), int(after.max()) - int(exact.min())
    places = np.arange(start + lo, end + hi + 1)
    if key.cyclic:
        most = least = after[places % span]
    else:
        there = (places >= key.near[0] - fmt.lo) & (places <= key.near[1] - fmt.lo)
        entries = after[np.clip(places, 0, span - 1)]
        most = np.where(there, entries, np.iinfo(np.int64).min >> 1)
        least = np.where(there, entries, np.iinfo(np.int64).max >> 1)
    window = hi - lo + 1
    top, bottom = _sliding(most, window, np.maximum), _sliding(least, window, np.minimum)
    return int((bottom - exact).min()), int((top - exact).max())


def _sliding(x: Codes, window: int, best: np.ufunc) -> Codes:
    """`best` of every run of so many neighbours, by doubling."""
    width = 1
    while 2 * width <= window:
        x = best(x[:-width], x[width:])
        width *= 2
    rest = window - width
    return best(x[: len(x) - rest], x[rest:]) if rest else x
