"""Every operation as terms, element by element: a third reading of the op table, beside `eval` and `rtl`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import singledispatch
from math import lcm

from lutc.cmodel import terms
from lutc.cmodel.terms import Term, lit
from lutc.ir import ops
from lutc.ir.ops.base import Op
from lutc.ir.ops.products import split
from lutc.numbers import as_code
from lutc.types import Fixed, Overflow

# An element: its operands as terms and their formats, the format it is in, and its place in the tensor.
Element = tuple[Sequence[Term], Sequence[Fixed], Fixed, int]


@singledispatch
def term(op: Op, x: Sequence[Term], formats: Sequence[Fixed], to: Fixed, at: int) -> Term:
    """An element of an operation's result as a code of the format `to`.

    `x` are the elements it reads and `formats` theirs, in order; `at` is its row-major position. Operations that only
    move elements, and those that call functions, have no term.
    """
    raise NotImplementedError(op.keyword)


def _finest(formats: Sequence[Fixed]) -> int:
    return max((f.frac for f in formats if f.width), default=0)


def _aligned(x: Sequence[Term], formats: Sequence[Fixed]) -> list[Term]:
    """The operands at the finest of their steps."""
    fine = _finest(formats)
    return [terms.up(t, fine - f.frac) if f.width else lit(0) for t, f in zip(x, formats, strict=True)]


@term.register
def _(op: ops.Add, x: Sequence[Term], formats: Sequence[Fixed], to: Fixed, at: int) -> Term:
    return terms.add(*_aligned(x, formats))


@term.register
def _(op: ops.Sub, x: Sequence[Term], formats: Sequence[Fixed], to: Fixed, at: int) -> Term:
    return terms.sub(*_aligned(x, formats))


@term.register
def _(op: ops.Neg, x: Sequence[Term], formats: Sequence[Fixed], to: Fixed, at: int) -> Term:
    return terms.sub(lit(0), x[0])


@term.register
def _(op: ops.Abs, x: Sequence[Term], formats: Sequence[Fixed], to: Fixed, at: int) -> Term:
    return terms.greater(x[0], terms.sub(lit(0), x[0])) if x[0].lo < 0 else x[0]


@term.register
def _(op: ops.Relu, x: Sequence[Term], formats: Sequence[Fixed], to: Fixed, at: int) -> Term:
    return terms.greater(x[0], lit(0)) if x[0].lo < 0 else x[0]


@term.register
def _(op: ops.Min, x: Sequence[Term], formats: Sequence[Fixed], to: Fixed, at: int) -> Term:
    return terms.lesser(*_aligned(x, formats))


@term.register
def _(op: ops.Max, x: Sequence[Term], formats: Sequence[Fixed], to: Fixed, at: int) -> Term:
    return terms.greater(*_aligned(x, formats))


@term.register(ops.Lincomb)
@term.register(ops.Add3)
def _(op: ops.Lincomb, x: Sequence[Term], formats: Sequence[Fixed], to: Fixed, at: int) -> Term:
    parts = []
    for t, f, weight in zip(x, formats, op.weights, strict=True):
        if weight and f.width:
            parts.append((t, as_code(weight * f.step, to.frac) if to.width else 0))
    return terms.weighted(parts, as_code(op.bias, to.frac) if op.bias else 0)


@term.register
def _(op: ops.Mul, x: Sequence[Term], formats: Sequence[Fixed], to: Fixed, at: int) -> Term:
    return terms.mul(*x)


@term.register
def _(op: ops.Scale, x: Sequence[Term], formats: Sequence[Fixed], to: Fixed, at: int) -> Term:
    return terms.mul(x[0], lit(split(op.by)[0]))


@term.register
def _(op: ops.Compare, x: Sequence[Term], formats: Sequence[Fixed], to: Fixed, at: int) -> Term:
    a, b = _aligned(x, formats)
    made: dict[ops.Relation, Callable[[], Term]] = {
        ops.Relation.LT: lambda: terms.less(a, b),
        ops.Relation.GT: lambda: terms.less(b, a),
        ops.Relation.GE: lambda: terms.negated(terms.less(a, b)),
        ops.Relation.LE: lambda: terms.negated(terms.less(b, a)),
        ops.Relation.EQ: lambda: terms.equal(a, b),
        ops.Relation.NE: lambda: terms.negated(terms.equal(a, b)),
    }
    return made[op.rel]()


@term.register
def _(op: ops.Select, x: Sequence[Term], formats: Sequence[Fixed], to: Fixed, at: int) -> Term:
    yes, no = _aligned(x[1:], formats[1:])
    return terms.select(x[0], yes, no)


@term.register(ops.And)
@term.register(ops.Or)
@term.register(ops.Xor)
def _(op: ops.And, x: Sequence[Term], formats: Sequence[Fixed], to: Fixed, at: int) -> Term:
    return terms.bitwise(op.keyword, *x)


@term.register
def _(op: ops.Not, x: Sequence[Term], formats: Sequence[Fixed], to: Fixed, at: int) -> Term:
    return terms.sub(lit(to.lo + to.hi), x[0])


@term.register
def _(op: ops.BitConcat, x: Sequence[Term], formats: Sequence[Fixed], to: Fixed, at: int) -> Term:
    result = lit(0)
    for t, f in zip(x, formats, strict=True):
        result = terms.add(terms.up(result, f.width), terms.low(t, f.width))
    return result


@term.register
def _(op: ops.BitSlice, x: Sequence[Term], formats: Sequence[Fixed], to: Fixed, at: int) -> Term:
    return terms.low(terms.shr(x[0], op.low), op.high - op.low + 1)


@term.register
def _(op: ops.Quant, x: Sequence[Term], formats: Sequence[Fixed], to: Fixed, at: int) -> Term:
    if not formats[0].width or not to.width:
        return lit(0)
    return terms.contained(terms.halved(x[0], formats[0].frac - to.frac, op.round), to, op.overflow)


@term.register
def _(op: ops.Rescale, x: Sequence[Term], formats: Sequence[Fixed], to: Fixed, at: int) -> Term:
    by, add = op.factors()[at] if op.type.shape else (op.by[0], op.add[0])
    return rescaled(x[0], formats[0], by, add, op, to)


def rescaled(x: Term, source: Fixed, by: Fraction, add: Fraction, op: ops.Rescale, to: Fixed) -> Term:
    """`x * by + add` in steps of `to`, rounded and brought into its range."""
    if not to.width:
        return lit(0)
    factor, offset = source.step * by / to.step, add / to.step
    below = lcm(factor.denominator, offset.denominator)
    sums = terms.weighted([(x, int(factor * below))], int(offset * below))
    return terms.contained(terms.quotient(sums, below, op.round), to, op.overflow)


@term.register
def _(op: ops.BitCast, x: Sequence[Term], formats: Sequence[Fixed], to: Fixed, at: int) -> Term:
    return terms.contained(x[0], to, Overflow.WRAP)


@term.register
def _(op: ops.Matmul, x: Sequence[Term], formats: Sequence[Fixed], to: Fixed, at: int) -> Term:
    """`x` are the row of the first factor and the column of the second."""
    half = len(x) // 2
    parts = []
    for a, b, f, g in zip(x[:half], x[half:], formats[:half], formats[half:], strict=True):
        if f.width and g.width and to.width:
            parts.append((terms.mul(a, b), 1 << (to.frac - f.frac - g.frac)))
    return terms.weighted(parts)


@term.register
def _(op: ops.Sum, x: Sequence[Term], formats: Sequence[Fixed], to: Fixed, at: int) -> Term:
    return terms.weighted([(t, 1 << (to.frac - f.frac)) for t, f in zip(x, formats, strict=True) if f.width])


@term.register(ops.ReduceMax)
@term.register(ops.ReduceMin)
def _(op: Op, x: Sequence[Term], formats: Sequence[Fixed], to: Fixed, at: int) -> Term:
    chosen = terms.greater if isinstance(op, ops.ReduceMax) else terms.lesser
    players = _aligned(x, formats)
    while len(players) > 1:
        pairs = zip(players[::2], players[1::2], strict=False)
        players = [*(chosen(a, b) for a, b in pairs), *players[len(players) // 2 * 2 :]]
    return players[0]


@term.register
def _(op: ops.Argmax, x: Sequence[Term], formats: Sequence[Fixed], to: Fixed, at: int) -> Term:
    """A walk along the elements: only a greater one takes the place of the greatest so far."""
    best, *others = _aligned(x, formats)
    where: Term = lit(0)
    for i, t in enumerate(others, 1):
        later = terms.less(best, t)
        best, where = terms.select(later, t, best), terms.select(later, lit(i), where)
    return where


@term.register
def _(op: ops.Reg, x: Sequence[Term], formats: Sequence[Fixed], to: Fixed, at: int) -> Term:
    return x[0]


@term.register
def _(op: ops.Lut, x: Sequence[Term], formats: Sequence[Fixed], to: Fixed, at: int) -> Term:
    """The table's number is `at`'s share: the only one, or one for each element."""
    if not to.width:
        return lit(0)
    number = at if op.table.key.shape else 0
    return Term("look", (terms.low(x[0], formats[0].width),), to.lo, to.hi, number)
