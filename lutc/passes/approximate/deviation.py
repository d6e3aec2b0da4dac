"""How far an approximated design can be from the exact one: guaranteed, and output by output.

Two designs of one structure are gone through side by side. See `errors` for what happens at each operation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lutc.analysis.ranges import range_of
from lutc.ir.graph import Design, Func, Param, Value, body
from lutc.ir.ops import Call, Lincomb, Lut, Quant
from lutc.ir.ops.base import Op, spec
from lutc.numbers import divide
from lutc.passes.approximate.errors import (
    Interval,
    Known,
    Seen,
    Unbounded,
    elements,
    inside,
    refused,
    through,
)
from lutc.types import Overflow, Rounding


def deviations(exact: Design, approximated: Design) -> dict[str, list[Interval]]:
    """The guaranteed error of every element of every output, row-major, in units of its least significant bit.

    Both designs are in the scalar stage and have the same structure, except that tables, weights and biases may
    differ, and that conversions to fewer bits may stand in front of operands. Raises Unbounded if no bound is known.
    """
    walk = _Walk(list(exact.values), list(approximated.values), {}, Calls())
    found = {}
    for old, new in zip(exact.outputs, approximated.outputs, strict=True):
        known = walk.of(old.value, new.value)
        for e, fmt in zip(elements(known), old.value.type.formats, strict=True):
            inside(e, fmt, f"output {old.name}")
        found[old.name] = [e.error for e in elements(known)]
    return found


class Calls:
    """What functions make of errors in their arguments; each question is answered once."""

    def __init__(self) -> None:
        self._known: dict[tuple[Func, Func, tuple[Known, ...]], Known] = {}

    def through(self, old: Op, new: Op, operands: Sequence[Known], exact: Interval) -> Known:
        """See `errors.through`; calls are taken here."""
        if not (isinstance(old, Call) and isinstance(new, Call)):
            return through(old, new, operands, exact)
        if old.func is not new.func or any(e.off for k in operands for e in elements(k)):
            return self.result(old.func, new.func, operands)
        some = tuple(Seen((0, 0), (f.lo, f.hi), (f.lo, f.hi)) for f in old.type.formats)
        return some if old.type.shape else some[0]

    def result(self, old: Func, new: Func, arguments: Sequence[Known]) -> Known:
        """What is known of a function's result when something is known of its arguments."""
        key = (old, new, tuple(arguments))
        if key not in self._known:
            given: dict[Value, Known] = {}
            for param, known in zip(old.params, arguments, strict=True):
                each = elements(known)
                for e, fmt in zip(each, param.type.formats, strict=True):
                    inside(e, fmt, f"argument {param.name} of @{old.name}")
                # A function is analysed for all of its uses, as its ranges are.
                some = tuple(
                    Seen(e.error, (fmt.lo, fmt.hi), (fmt.lo, fmt.hi))
                    for e, fmt in zip(each, param.type.formats, strict=True)
                )
                given[param] = some if param.type.shape else some[0]
            walk = _Walk(body(old), body(new), given, self)
            self._known[key] = walk.of(old.result, new.result)
        return self._known[key]


class _Walk:
    """Goes through two graphs at once, pair by pair."""

    def __init__(
        self, old: Sequence[Value], new: Sequence[Value], given: Mapping[Value, Known], calls: Calls
    ) -> None:
        self.place = {v: i for i, v in enumerate(old)}
        self.new_place = {v: i for i, v in enumerate(new)}
        self.calls = calls
        self.given = given
        self.clean = not any(k.off for some in given.values() for k in elements(some))
        self.known: dict[tuple[Value, Value], Known] = {}

    def of(self, old: Value, new: Value) -> Known:
        pairs: set[tuple[Value, Value]] = set()
        stack = [(old, new)]
        while stack:
            pair = stack.pop()
            if pair not in pairs and pair not in self.known:
                pairs.add(pair)
                stack += self.operands(*pair)
        for a, b in sorted(pairs, key=lambda p: (self.place[p[0]], self.new_place[p[1]])):
            self.known[a, b] = self.pair(a, b)
        return self.known[old, new]

    def operands(self, old: Value, new: Value) -> list[tuple[Value, Value]]:
        if self.untouched(old, new):
            return []
        if alike(old, new):
            return list(zip(old.operands, new.operands, strict=True))
        if _wires(new):
            return [(old, new.operands[0])]
        raise Unbounded(f"{new!r} stands for {old!r}")

    def untouched(self, old: Value, new: Value) -> bool:
        return old is new and (self.clean or isinstance(old, Param))

    def pair(self, old: Value, new: Value) -> Known:
        if self.untouched(old, new):
            return self.given.get(old) or self.same(old)
        assert isinstance(new, Op)
        if not alike(old, new):
            assert isinstance(new, Quant)
            inner = self.known[old, new.x]
            assert isinstance(inner, Seen)
            return _cut(inner, old.type.scalar.frac, new)
        assert isinstance(old, Op)
        operands = [self.known[p] for p in zip(old.operands, new.operands, strict=True)]
        if old is new and not any(k.off for known in operands for k in elements(known)):
            return self.same(old)
        found = self.calls.through(old, new, operands, self._exact(old))
        if isinstance(found, tuple) or found.cyclic or not found.off:
            return found
        # The approximation's own range is often narrower than the exact one and the error together.
        shift = old.type.scalar.frac - new.type.scalar.frac if new.type.scalar.width else 0
        lo, hi = (int(x) << max(shift, 0) for x in range_of(new))
        near = (max(lo, found.near[0]), min(hi, found.near[1])) if shift >= 0 else found.near
        return Seen(found.error, found.exact, near)

    def _exact(self, old: Value) -> Interval:
        if old.type.shape:
            return (0, 0)
        lo, hi = range_of(old)
        return int(lo), int(hi)

    def same(self, old: Value) -> Known:
        """What is known of a value that is not approximated."""
        lo, hi = range_of(old)
        if not old.type.shape:
            return Seen((0, 0), (int(lo), int(hi)), (int(lo), int(hi)))
        ends = [
            np.broadcast_to(np.asarray(e, dtype=object), old.type.shape).ravel().tolist() for e in (lo, hi)
        ]
        return tuple(Seen((0, 0), (a, b), (a, b)) for a, b in zip(*ends, strict=True))


def alike(old: Value, new: Value) -> bool:
    """Whether `new` is the same operation as `old`, on other operands or with other tables, weights or bias."""
    if type(old) is not type(new) or len(old.operands) != len(new.operands) or not isinstance(old, Op):
        return False
    assert isinstance(new, Op)
    if isinstance(old, Lut) and isinstance(new, Lut):
        return old.table.key == new.table.key
    return isinstance(old, Lincomb) or all(getattr(old, n) == getattr(new, n) for n in spec(type(old)).plain)


def _wires(new: Value) -> bool:
    return isinstance(new, Quant) and (new.round, new.overflow) == (Rounding.FLOOR, Overflow.WRAP)


def _cut(x: Seen, frac: int, quant: Quant) -> Seen:
    """What a conversion to other bits, made for the approximation alone, leaves; `frac` is of the exact value."""
    if not quant.to.scalar.width:
        return (
            Seen((x.error[0] - x.near[1], x.error[1] - x.near[0]), x.exact, (0, 0))
            if not x.cyclic
            else refused(quant)
        )
    lost = frac - quant.to.scalar.frac
    if x.cyclic and x.off:
        return refused(quant)
    lo, hi = (divide(e, lost, Rounding.FLOOR) for e in x.near)
    if not quant.to.scalar.lo <= lo <= hi <= quant.to.scalar.hi:
        raise Unbounded(f"{quant!r} may wrap")
    most = max((1 << max(lost, 0)) - 1, 0)
    return Seen((x.error[0] - most, x.error[1]), x.exact, (x.near[0] - most, x.near[1]))
