"""Constant folding and the identities that always pay: what makes an operation canonical."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from lutc.ir.facts import Fact
from lutc.ir.graph import Const, Value, topo
from lutc.ir.ops import (
    Abs,
    Add,
    Add3,
    And,
    Call,
    ConstOp,
    Element,
    Lincomb,
    Lut,
    Map,
    Mul,
    Neg,
    Not,
    Number,
    Or,
    Pack,
    Quant,
    Relu,
    Rescale,
    Scale,
    Select,
    Sub,
    Xor,
)
from lutc.ir.ops.base import Op
from lutc.ir.ops.flow import evaluate
from lutc.ir.ops.moves import Layout
from lutc.ir.ops.sums import in_one_chain
from lutc.numbers import dtype, one_digit
from lutc.passes.rewriter import Rewriter, with_operands
from lutc.types import Fixed, Ints, Overflow, Rounding

_WORTH_FOLDING = 1 << 16  # elements; folding a tensor larger than this would only make the file longer


_SIMPLE: Fact[bool] = Fact("simple", from_below=True)  # that no identity has anything to do


def simplified(rw: Rewriter, op: Op) -> Value:
    """The canonical form of an operation: itself, another one, or a value that is there already."""
    if op in _SIMPLE:
        return op
    result = _simplified(rw, op)
    # Look-ups and calls depend on the design's other tables and functions.
    if result is op and not isinstance(op, Lut | Call | Map):
        _SIMPLE.keep(op, True)
    return result


def _simplified(rw: Rewriter, op: Op) -> Value:
    folded = _folded(rw, op)
    if folded is not None:
        return folded
    match op:
        case Lut(table=table):
            one = rw.symbol(table)
            return op if one is table else with_operands(op, op.operands, table=one)
        case Quant():
            return _quant(rw, op)
        case Relu(x=x) | Abs(x=x) if all(not f.signed for _, f in x.type.runs):
            return x
        case Neg(x=Neg(x=x)) | Not(x=Not(x=x)):
            return x
        case Scale(x=x, by=by):
            return _scale(rw, op, x, by)
        case Add(a=a, b=b) if _is_zero(b):
            return a
        case Add(a=a, b=b) if _is_zero(a):
            return b
        case Sub(a=a, b=b) if _is_zero(b):
            return a
        case Sub(a=a, b=b) if _is_zero(a):
            return rw.make(Neg, b)
        case Sub(a=a, b=b) if a is b and not op.type.shape:
            return _number(rw, Fraction(0))
        case And() | Or() | Xor():
            return _bitwise(rw, op)
        case Mul(a=a, b=Number(value=v)) | Mul(a=Number(value=v), b=a):
            return simplified(rw, rw.make(Scale, a, v, op.dsp))
        case Lincomb() | Add3():
            return _weighted(rw, op)
        case Rescale(by=(by,), add=(Fraction(numerator=0),)) if one_digit(by):
            return rw.make(Quant, rw.make(Scale, op.x, by), op.to, op.round, op.overflow)
        case Select(condition=c, yes=yes, no=no):
            if isinstance(c, Number):
                return yes if c.value else no
            return yes if yes is no else op
        case Element(x=Pack(parts=parts), at=at):
            return parts[at]
        case Element(x=x) if not x.type.shape:
            return x
        case Layout(operands=(x,)) if x.type == op.type and _in_place(op):
            return x
    return op


def _folded(rw: Rewriter, op: Op) -> Value | None:
    """The result of an operation on constants, if it is one."""
    if isinstance(op, ConstOp | Number) or op.type.size > _WORTH_FOLDING:
        return None
    if not op.type.shape and not op.type.max_width:
        return _number(rw, Fraction(0))
    if isinstance(op, Call | Map) and rw.constant(op.func):
        return _constant(rw, op, evaluate(topo([op.func.result]), {}, [op.func.result])[op.func.result][0])
    for v in op.operands:
        if not isinstance(v, ConstOp | Number):
            return None
    kind = dtype(op.work_bits())
    return _constant(rw, op, op.eval(*(v.eval().astype(kind) for v in op.operands if isinstance(v, Op)))[0])


def _constant(rw: Rewriter, op: Op, codes: Ints) -> Value:
    """An operation's result, which is known; what a `map` makes is the same at every position."""
    if op.type.shape:
        everywhere = np.broadcast_to(np.asarray(codes, dtype=object), op.type.shape)
        return rw.make(ConstOp, Const(rw.name or "folded", op.type, everywhere))
    return _number(rw, op.type.scalar.value(int(codes)))


def _number(rw: Rewriter, value: Fraction) -> Value:
    return rw.make(Number, value)


def _is_zero(value: Value) -> bool:
    return not value.type.max_width or (isinstance(value, Number) and not value.value)


def _in_place(op: Layout) -> bool:
    return bool((op.index.ravel() == np.arange(op.type.size)).all())


def _quant(rw: Rewriter, op: Quant) -> Value:
    if op.x.type == op.to and all(_kept(f, f, op.overflow) for _, f in op.to.runs):
        return op.x
    if op.type.shape:
        return op
    if op.overflow is Overflow.WRAP and op.to.scalar.frac - op.x.type.scalar.frac >= op.to.max_width:
        return _number(rw, Fraction(0))  # steps so large that none of the bits kept is anything but 0
    before = op.x
    if isinstance(before, Quant) and _kept(before.x.type.scalar, before.to.scalar, before.overflow):
        return simplified(rw, rw.make(Quant, before.x, op.to, op.round, op.overflow))
    plain = (op.round, op.overflow) == (Rounding.FLOOR, Overflow.WRAP)
    if not plain and _kept(op.x.type.scalar, op.to.scalar, op.overflow):
        return rw.make(Quant, op.x, op.to)
    return op


def _kept(source: Fixed, to: Fixed, overflow: Overflow) -> bool:
    """Whether a conversion keeps every number of the source's format."""
    lowest = -to.hi if overflow is Overflow.SATURATE_SYMMETRIC and to.signed else to.lo
    return not source.width or (
        source.frac <= to.frac
        and to.value(lowest) <= source.value(source.lo)
        and source.value(source.hi) <= to.value(to.hi)
    )


def _bitwise(rw: Rewriter, op: And | Or | Xor) -> Value:
    """A bit that meets itself, its complement, or one that is known."""
    if op.a is op.b and not isinstance(op, Xor):
        return op.a
    for one, other in ((op.a, op.b), (op.b, op.a)):
        if isinstance(one, And | Or | Xor) and type(one) is type(op) and other in one.operands:
            if not isinstance(one, Xor):
                return one
            return one.b if one.a is other else one.a
    if op.type.shape:
        return op
    fmt = op.type.scalar
    ones = fmt.value(-1 if fmt.signed else fmt.hi)
    if op.a is op.b:
        return _number(rw, Fraction(0))
    if any(isinstance(x, Not) and x.x is y for x, y in ((op.a, op.b), (op.b, op.a))):
        return _number(rw, Fraction(0) if isinstance(op, And) else ones)
    # The number that changes no bit, and the one that decides them all.
    same, alone = {And: (ones, Fraction(0)), Or: (Fraction(0), ones), Xor: (Fraction(0), None)}[type(op)]
    for known, other in ((_known(op.a), op.b), (_known(op.b), op.a)):
        if known is not None and known in (same, alone):
            return other if known == same else _number(rw, known)
    return op


def _known(value: Value) -> Fraction | None:
    """The number that a value is, one in a format of its reader's too."""
    inner = value.x if isinstance(value, Quant) else value
    if not isinstance(inner, Number):
        return None
    return value.type.scalar.value(int(evaluate(topo([value]), {}, [value])[value][0]))


def _scale(rw: Rewriter, op: Scale, x: Value, by: Fraction) -> Value:
    if by == 1:
        return x
    if by == -1:
        return rw.make(Neg, x)
    if op.dsp and one_digit(by):
        return simplified(rw, rw.make(Scale, x, by))  # no product
    if isinstance(x, Scale) and not (x.dsp or op.dsp):
        return simplified(rw, rw.make(Scale, x.x, by * x.by))
    return op


def sum_for(rw: Rewriter, terms: Sequence[tuple[Value, Fraction]], bias: Fraction, op: Op) -> Value:
    """The sum of weighted values that takes the place of `op`, in its format."""
    values, weights = zip(*terms, strict=True)
    return rw.fit(simplified(rw, rw.make(Lincomb, values, weights, bias)), op.type)


def _weighted(rw: Rewriter, op: Lincomb | Add3) -> Value:
    """Merge equal terms, drop those of weight 0, take constants into the bias.

    Shifts of one value that one carry chain adds stay apart: their sum would be a multiplication again.
    """
    found, bias = _bare(op)
    if op.type.shape:
        return op
    merged = _merged(found)
    if op.one_chain and not all(one_digit(w) for _, w in merged):
        merged = found
    return _sum(rw, op, merged, bias)


def _bare(op: Lincomb | Add3) -> tuple[list[tuple[Value, Fraction]], Fraction]:
    """The terms and the bias: what weights and bias can say, no value of its own says; terms that are 0 are gone."""
    found: list[tuple[Value, Fraction]] = []
    bias = op.bias
    for v, w in zip(op.terms, op.weights, strict=True):
        while isinstance(v, Neg) or (isinstance(v, Scale) and _weighs(op, v)):
            v, w = v.x, w * (v.by if isinstance(v, Scale) else -1)
        if isinstance(v, Number):
            bias += w * v.value
        elif w and not _is_zero(v):
            found.append((v, w))
    return found, bias


def _weighs(op: Lincomb | Add3, product: Scale) -> bool:
    """Whether a weight can stand for a product: a carry chain moves the point, and multiplies nothing."""
    return not product.dsp and (isinstance(op, Lincomb) or one_digit(product.by))


def _merged(terms: list[tuple[Value, Fraction]]) -> list[tuple[Value, Fraction]]:
    weights: dict[Value, Fraction] = {}
    for v, w in terms:
        weights[v] = weights[v] + w if v in weights else w
    return [(v, w) for v, w in weights.items() if w]


def _sum(rw: Rewriter, op: Lincomb | Add3, terms: list[tuple[Value, Fraction]], bias: Fraction) -> Value:
    """A sum of these terms in the place of `op`: a carry chain where that was one, and this can be one."""
    if not terms:
        return _number(rw, bias)
    if len(terms) == 1 and not bias:
        return simplified(rw, rw.make(Scale, *terms[0]))
    values, weights = zip(*terms, strict=True)
    if values == op.terms and weights == op.weights and bias == op.bias:
        return op
    chain = isinstance(op, Add3) and in_one_chain(weights, bias)
    return rw.make(Add3 if chain else Lincomb, values, weights, bias)
