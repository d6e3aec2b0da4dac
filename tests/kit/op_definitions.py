"""What operations mean, in rational numbers: written from the docstrings, and knowing nothing of codes.

    DEFINITIONS["add"](op, a, b)   # object arrays (batch, *shape) of Fractions in, one out

An operation needs none: the `run` lines of `tests/lir/ops/KEYWORD.lir` define it, and its own `eval` is taken where it
stands among others. `meanings(design, codes)` gives the numbers of every value of a design by these definitions.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from lutc.ir.graph import Design, Param, Value, body
from lutc.numbers import quantised
from lutc.types import Fixed, Ints, Type

Reals = Any  # an object array of Fractions


def reals(codes: Ints, kind: Type) -> Reals:
    """Codes `(batch, *shape)` as the numbers they stand for."""
    return np.asarray(codes, dtype=object) * _spread([f.step for f in kind.formats], kind.shape)


def _spread(items: Sequence[Any], shape: tuple[int, ...]) -> Any:
    found = np.empty(len(items), dtype=object)
    found[:] = items
    return found.reshape(shape)


def _each(function: Callable[..., Fraction], kind: Type, *columns: Any) -> Reals:
    """`function(position, *numbers)` of every element."""
    batch = max(len(c) for c in columns)
    flat = [np.broadcast_to(c, (batch, *c.shape[1:])).reshape(batch, -1) for c in columns]
    made = [[function(i, *(f[b, i] for f in flat)) for i in range(kind.size)] for b in range(batch)]
    return _spread([x for row in made for x in row], (batch, *kind.shape))


def _pattern(value: Fraction, fmt: Fixed) -> int:
    """The bits of a number, read as an unsigned integer."""
    code = value / fmt.step
    assert code.denominator == 1
    return code.numerator % (1 << fmt.width)


def _number(pattern: int, fmt: Fixed) -> Fraction:
    pattern %= 1 << fmt.width
    if fmt.signed and pattern >> (fmt.width - 1):
        pattern -= 1 << fmt.width
    return fmt.value(pattern)


def _bits(rule: Callable[..., int]) -> Callable[..., Reals]:
    """An operation on bit patterns of one format."""

    def meaning(op: Any, *operands: Reals) -> Reals:
        formats = op.type.formats
        return _each(
            lambda i, *xs: _number(rule(*(_pattern(x, formats[i]) for x in xs)), formats[i]),
            op.type,
            *operands,
        )

    return meaning


def _joined_bits(op: Any, *operands: Reals) -> Reals:
    def joined(i: int, *xs: Fraction) -> Fraction:
        text = ""
        for part, x in zip(op.parts, xs, strict=True):
            fmt = part.type.formats[i]
            text += f"{_pattern(x, fmt):0{fmt.width}b}" if fmt.width else ""
        return Fraction(int(text or "0", 2))

    return _each(joined, op.type, *operands)


def _bit_slice(op: Any, x: Reals) -> Reals:
    def taken(i: int, v: Fraction) -> Fraction:
        fmt = op.x.type.formats[i]
        text = f"{_pattern(v, fmt):0{fmt.width}b}"[::-1]
        return Fraction(int(text[op.low : op.high + 1][::-1], 2))

    return _each(taken, op.type, x)


def _quant(op: Any, x: Reals) -> Reals:
    formats = op.to.formats
    return _each(lambda i, v: quantised(v, formats[i], op.round, op.overflow) * formats[i].step, op.type, x)


def _rescale(op: Any, x: Reals) -> Reals:
    shape, formats = op.type.shape, op.to.formats

    def moved(i: int, v: Fraction) -> Fraction:
        at = np.unravel_index(i, shape)[op.axis] if shape else 0
        by, add = (n[at] if len(n) > 1 else n[0] for n in (op.by, op.add))
        value: Fraction = formats[i].value(quantised(v * by + add, formats[i], op.round, op.overflow))
        return value

    return _each(moved, op.type, x)


def _lut(op: Any, key: Reals) -> Reals:
    table, formats = op.table, op.key.type.formats
    sizes = [1 << f.width for f in table.key.formats]

    def found(i: int, v: Fraction) -> Fraction:
        which = i if table.key.shape else 0
        code = table.codes[sum(sizes[:which]) + _pattern(v, formats[i])]
        return Fraction(code * table.value.formats[which].step)

    return _each(found, op.type, key)


def _dense(op: Any, x: Reals) -> Reals:
    w = reals(op.w.codes[None], op.w.type)[0]
    columns = [sum((x[..., i] * w[i, j] for i in range(len(w))), x[..., 0] * 0) for j in range(w.shape[1])]
    y = np.stack(columns, axis=-1)
    return y if op.b is None else y + reals(op.b.codes[None], op.b.type)


def _bit_cast(op: Any, x: Reals) -> Reals:
    before, after = op.x.type.formats, op.type.formats
    return _each(lambda i, v: _number(_pattern(v, before[i]), after[i]), op.type, x)


def _matmul(op: Any, a: Reals, b: Reals) -> Reals:
    return (a[..., :, :, None] * b[..., None, :, :]).sum(axis=-2)


def _argmax(op: Any, x: Reals) -> Reals:
    rows = x.reshape(-1, x.shape[-1]).tolist()
    return _spread([Fraction(r.index(max(r))) for r in rows], x.shape[:-1])


def _reduced(function: Any) -> Callable[..., Reals]:
    def meaning(op: Any, x: Reals) -> Reals:
        rank = x.ndim - 1
        axes = tuple(sorted({a % rank + 1 for a in op.axes})) or tuple(range(1, rank + 1))
        return np.asarray(function(x, axis=axes), dtype=object) if axes else x

    return meaning


def _slice(op: Any, x: Reals) -> Reals:
    steps = op.step or (1,) * len(op.start)
    return x[(slice(None), *map(slice, op.start, op.stop, steps))]


def _pad(op: Any, x: Reals) -> Reals:
    places = [(0, 0), *zip(op.before, op.after, strict=True)]
    return np.pad(x, places, constant_values=0) * Fraction(1)


def _broadcast(op: Any, x: Reals) -> Reals:
    lead = (1,) * (len(op.shape) - x.ndim + 1)
    return np.broadcast_to(x.reshape(len(x), *lead, *x.shape[1:]), (len(x), *op.shape))


def _joined(op: Any, parts: Sequence[Reals], axis: int) -> Reals:
    batch = max(len(p) for p in parts)
    return np.concatenate([np.broadcast_to(p, (batch, *p.shape[1:])) for p in parts], axis=axis)


def _pack(op: Any, *parts: Reals) -> Reals:
    flat = _joined(op, [p[:, None] for p in parts], 1)
    return flat.reshape(len(flat), *op.shape)


def _call(op: Any, *args: Reals) -> Reals:
    return _values(body(op.func), dict(zip(op.func.params, args, strict=True)))[op.func.result]


def _map(op: Any, *args: Reals) -> Reals:
    batch = max(len(a) for a in args)
    results = [_call(op, *(a[:, i] for a in args)) for i in range(op.args[0].type.shape[0])]
    return np.stack([np.broadcast_to(r, (batch, *r.shape[1:])) for r in results], axis=1)


_RELATIONS = {name: getattr(operator, name) for name in ("lt", "le", "eq", "ne", "ge", "gt")}

DEFINITIONS: Mapping[str, Callable[..., Reals]] = {
    "const": lambda op: reals(op.symbol.codes[None], op.symbol.type),
    "number": lambda op: _spread([op.value], (1,)),
    "add": lambda op, a, b: a + b,
    "sub": lambda op, a, b: a - b,
    "mul": lambda op, a, b: a * b,
    "scale": lambda op, x: x * op.by,
    "lincomb": lambda op, *xs: sum((x * w for x, w in zip(xs, op.weights, strict=True)), op.bias),
    "add3": lambda op, *xs: sum((x * w for x, w in zip(xs, op.weights, strict=True)), op.bias),
    "neg": lambda op, x: -x,
    "abs": lambda op, x: np.where(x < 0, -x, x),
    "relu": lambda op, x: np.where(x > 0, x, 0),
    "min": lambda op, a, b: np.where(a <= b, a, b),
    "max": lambda op, a, b: np.where(a >= b, a, b),
    "compare": lambda op, a, b: np.where(_RELATIONS[op.rel.value](a, b), 1, 0),
    "select": lambda op, c, yes, no: np.where(c == 1, yes, no),
    "and": _bits(operator.and_),
    "or": _bits(operator.or_),
    "xor": _bits(operator.xor),
    "not": _bits(operator.invert),
    "bit_concat": _joined_bits,
    "bit_slice": _bit_slice,
    "quant": _quant,
    "rescale": _rescale,
    "bit_cast": _bit_cast,
    "lut": _lut,
    "dense": _dense,
    "matmul": _matmul,
    "sum": _reduced(np.sum),
    "reduce_max": _reduced(np.max),
    "reduce_min": _reduced(np.min),
    "argmax": _argmax,
    "broadcast": _broadcast,
    "reshape": lambda op, x: x.reshape(len(x), *op.shape),
    "transpose": lambda op, x: x.transpose(0, *(p + 1 for p in op.perm)),
    "concat": lambda op, *parts: _joined(op, parts, op.axis % len(op.type.shape) + 1),
    "slice": _slice,
    "gather": lambda op, x: np.take(x, op.indices, axis=op.axis % (x.ndim - 1) + 1),
    "pad": _pad,
    "element": lambda op, x: x.reshape(len(x), -1)[:, op.at],
    "pack": _pack,
    "reg": lambda op, x: x,
    "call": _call,
    "map": _map,
}


def _by_eval(op: Any, *operands: Reals) -> Reals:
    """An operation that has no definition here: the `run` lines of its file are what its `eval` is held to."""
    steps = [reals(np.ones((1, *v.type.shape), int), v.type) for v in op.operands]
    found = [x / step for x, step in zip(operands, steps, strict=True)]
    codes = [_spread([int(code) for code in c.ravel()], c.shape) for c in found]
    return reals(op.eval(*codes), op.type)


def _values(values: Sequence[Value], known: Mapping[Value, Reals]) -> dict[Value, Reals]:
    found = dict(known)
    for value in values:
        if not isinstance(value, Param):
            op: Any = value
            meaning: Callable[..., Reals] = DEFINITIONS.get(op.keyword, _by_eval)
            answer = meaning(op, *(found[v] for v in op.operands))
            found[value] = np.asarray(answer, dtype=object)
    return found


def meanings(design: Design, codes: Mapping[str, Ints]) -> dict[Value, Reals]:
    """Every value's numbers, from the codes of the input ports."""
    return _values(body(design), {p: reals(codes[p.name or ""], p.type) for p in design.params})
