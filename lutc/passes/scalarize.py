"""The one crossing from the tensor stage to the scalar stage: every element becomes a value of its own.

Functions stay functions: a `map` becomes one `call` for each position, and the function's body is written out once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import prod
from typing import Any, ClassVar

import numpy as np

from lutc import limits
from lutc.analysis.layers import layers
from lutc.diagnostics import error
from lutc.ir.graph import Const, Design, Func, Output, Param, Stage, Table, Value, body, functions, owners
from lutc.ir.ops import (
    Argmax,
    BitCast,
    Call,
    Compare,
    ConstOp,
    Dense,
    Element,
    Lincomb,
    Lut,
    Map,
    Matmul,
    Max,
    Min,
    Mul,
    Number,
    Pack,
    Quant,
    ReduceMax,
    ReduceMin,
    Relation,
    Rescale,
    Select,
    Sum,
)
from lutc.ir.ops.base import Op
from lutc.ir.ops.moves import Layout
from lutc.passes.context import Context
from lutc.passes.manager import Pass
from lutc.passes.rebuild import rebuild
from lutc.passes.rewriter import Rewriter, Symbols, with_operands
from lutc.types import Fixed, Type, scalar

Elements = Any  # an object array of scalar values, in the tensor's shape


@dataclass(frozen=True)
class Scalarize(Pass):
    """Write tensors out as scalars. Matrix products become one n-ary sum for each result.

    What names no layer is given that of the values it works on, before later passes merge it and take it apart.
    """

    name: ClassVar[str] = "scalarize"

    def __call__(self, design: Design, context: Context) -> Design:
        if design.stage is Stage.SCALAR:
            return design
        _countable(design)
        design = _at_home(design)
        made: dict[Func, Func] = {}
        symbols = Symbols(design)
        for func in functions(design):
            work = _Crossing(func.params, made, symbols)
            elements = work.cross(body(func))[func.result]
            made[func] = Func(func.name, func.params, work.packed(elements, func.result), func.span)
        work = _Crossing(design.params, made, symbols)
        elements = work.cross(body(design))
        outputs = tuple(
            Output(o.name, work.packed(elements[o.value], o.value), o.scale, o.offset, o.span)
            for o in design.outputs
        )
        return replace(design, outputs=outputs, stage=Stage.SCALAR)


def _at_home(design: Design) -> Design:
    """The design with the layer of each operation written to it."""
    home = layers(design)
    if all((v.origin or "") == layer or not isinstance(v, Op) for v, layer in home.items()):
        return design

    def rule(rw: Rewriter, op: Op) -> Value:
        layer = home[rw.original] if rw.original else ""
        return op if op.origin or not layer else with_operands(op, op.operands, origin=layer)

    return rebuild(design, rule, canonical="never")


def _countable(design: Design) -> None:
    """Raise LirError, before the work, if the scalar stage would have more values than a design may."""
    counts: Counter[str] = Counter()
    for owner in owners(design):
        for value in body(owner):
            layer = value.origin or (f"%{value.name}" if value.name else owner.name)
            counts[layer] += value.type.size
            if isinstance(value, Dense | Matmul | Sum | ReduceMax | ReduceMin):
                counts[layer] += value.operations()
            elif isinstance(value, Map | Call):
                each = sum(p.type.size for p in value.func.params) + value.func.result.type.size
                counts[layer] += each * (value.length if isinstance(value, Map) else 1)
    most = limits.scalars()
    if counts.total() > most:
        layers = ", ".join(f"{n:,} of {layer}" for layer, n in counts.most_common(3))
        message = f"written out, this design has {counts.total():,} scalar values, and {most:,} are the most"
        raise error(f"{message}; the most are {layers}", where=design.name, help=limits.ADVICE)


class _Crossing:
    def __init__(self, params: Sequence[Param], made: dict[Func, Func], symbols: Symbols) -> None:
        self.params = params
        self.made = made
        self.rw = Rewriter(symbols)

    def cross(self, values: Sequence[Value]) -> dict[Value, Elements]:
        done: dict[Value, Elements] = {}
        for value in values:
            self.rw.origin, self.rw.name = value.origin, value.name
            if isinstance(value, Param):
                done[value] = self.unpacked(value, value.type)
            else:
                assert isinstance(value, Op)
                elements = self.elements(value, [done[v] for v in value.operands])
                done[value] = self.named(elements, value)
        return done

    def named(self, elements: Elements, value: Value) -> Elements:
        """Elements carry their tensor's name and their position."""
        if value.name:
            for at, e in np.ndenumerate(elements):
                if e.name is None:
                    object.__setattr__(e, "name", "_".join([value.name, *map(str, at)]))
        return elements

    def unpacked(self, bundle: Value, kind: Type) -> Elements:
        if not kind.shape:
            return _array([bundle], ())
        return _array([self.rw.make(Element, bundle, i) for i in range(kind.size)], kind.shape)

    def packed(self, elements: Elements, like: Value) -> Value:
        """The bundle for a port or an argument, its elements in exactly the formats of `like`."""
        self.rw.origin = like.origin
        fitted = [
            self.rw.fit(e, scalar(f))
            for e, f in zip(elements.ravel().tolist(), like.type.formats, strict=True)
        ]
        return self.rw.make(Pack, tuple(fitted), like.type.shape) if like.type.shape else fitted[0]

    def elements(self, op: Op, operands: list[Elements]) -> Elements:
        make = self.rw.make
        shape = op.type.shape
        match op:
            case ConstOp(symbol=symbol):
                return _array([self._number(c, f) for c, f in _codes(symbol)], shape)
            case Number():
                return _array([op], ())
            case Layout():
                flat = [e for o in operands for e in o.ravel().tolist()]
                return _array(op.gathered(flat, make(Number, Fraction(0))), shape)
            case Dense(w=w, b=b):
                return self._dense(operands[0], w, b, shape)
            case Matmul():
                return self._matmul(operands[0], operands[1], shape)
            case Sum():
                x = np.moveaxis(operands[0], op.reduced(), range(len(op.reduced())))
                summed = prod(x.shape[: len(op.reduced())])
                return _each([self._total(c.tolist()) for c in x.reshape(summed, op.type.size).T], shape)
            case ReduceMax() | ReduceMin():
                x = np.moveaxis(operands[0], op.reduced(), range(len(op.reduced())))
                count = prod(x.shape[: len(op.reduced())])
                kind = Max if isinstance(op, ReduceMax) else Min
                return _each(
                    [self._extreme(kind, c.tolist()) for c in x.reshape(count, op.type.size).T], shape
                )
            case Argmax():
                rows = operands[0].reshape(op.type.size, operands[0].shape[-1])
                return _each([self._argmax(r.tolist()) for r in rows], shape)
            case Call(func=func, args=args):
                return self._call(func, [self.packed(o, a) for o, a in zip(operands, args, strict=True)])
            case Map(func=func):
                return self._map(op, func, operands)
        return self._elementwise(op, operands)

    def _elementwise(self, op: Op, operands: list[Elements]) -> Elements:
        """One operation for each element, with its own share of the attributes."""
        count = op.type.size
        columns = [o.ravel().tolist() for o in operands]
        shares = self._shares(op, count)
        made = []
        for i in range(count):
            own = [c[i] for c in columns]
            if op.strict:
                own = [
                    self.rw.fit(e, scalar(v.type.formats[i])) for e, v in zip(own, op.operands, strict=True)
                ]
            new = with_operands(op, own, name=None, **(shares[i] if shares else {}))
            made.append(self.rw.keep(new))
        return _each(made, op.type.shape)

    def _shares(self, op: Op, count: int) -> list[dict[str, Any]]:
        match op:
            case Rescale():
                return [
                    {"to": scalar(f), "by": (by,), "add": (add,), "axis": -1}
                    for f, (by, add) in zip(op.to.formats, op.factors(), strict=True)
                ]
            case Quant() | BitCast():
                return [{"to": scalar(f)} for f in op.to.formats]
            case Lut(table=table) if table.key.shape:
                parts = zip(table.parts(), table.key.formats, table.value.formats, strict=True)
                return [
                    {"table": self.rw.symbol(Table(f"{table.name}_{i}", scalar(k), scalar(v), codes))}
                    for i, (codes, k, v) in enumerate(parts)
                ]
        return []

    def _number(self, code: int, fmt: Fixed) -> Value:
        return self.rw.make(Number, fmt.value(code))

    def _dense(self, x: Elements, w: Const, b: Const | None, shape: tuple[int, ...]) -> Elements:
        weights = _array([f.value(c) for c, f in _codes(w)], w.type.shape)
        biases = [f.value(c) for c, f in _codes(b)] if b else [Fraction(0)] * weights.shape[1]
        rows = x.reshape(prod(x.shape[:-1]), x.shape[-1])
        return _each(
            [
                self._combination(r.tolist(), weights[:, j].tolist(), biases[j])
                for r in rows
                for j in range(weights.shape[1])
            ],
            shape,
        )

    def _combination(
        self, terms: list[Value], weights: list[Fraction], bias: Fraction = Fraction(0)
    ) -> Value:
        live = [(t, w) for t, w in zip(terms, weights, strict=True) if w and t.type.scalar.width]
        if not live:
            return self.rw.make(Number, bias)
        return self.rw.make(Lincomb, tuple(t for t, _ in live), tuple(w for _, w in live), bias)

    def _total(self, terms: list[Value]) -> Value:
        return self._combination(terms, [Fraction(1)] * len(terms))

    def _matmul(self, a: Elements, b: Elements, shape: tuple[int, ...]) -> Elements:
        sums = np.empty(shape, dtype=object)
        for at in np.ndindex(shape):
            *lead, i, j = at
            row, column = a[(*lead, i)].tolist(), b[(*lead, slice(None), j)].tolist()
            sums[at] = self._total([self.rw.make(Mul, p, q) for p, q in zip(row, column, strict=True)])
        return sums

    def _extreme(self, kind: type[Op], players: list[Value]) -> Value:
        """A tree of the operation on two."""
        while len(players) > 1:
            pairs = zip(players[::2], players[1::2], strict=False)
            players = [*(self.rw.make(kind, a, b) for a, b in pairs), *players[len(players) // 2 * 2 :]]
        return players[0]

    def _argmax(self, row: list[Value]) -> Value:
        """A tournament; the earlier of two equals stays, so the first of all largest wins."""
        make = self.rw.make
        players = [(v, make(Number, Fraction(i))) for i, v in enumerate(row)]
        while len(players) > 1:
            winners = []
            for (a, i), (b, j) in zip(players[::2], players[1::2], strict=False):
                later = make(Compare, b, a, Relation.GT)
                winners.append((make(Select, later, b, a), make(Select, later, j, i)))
            players = winners + players[len(winners) * 2 :]
        return players[0][1]

    def _call(self, func: Func, args: list[Value]) -> Elements:
        result = self.rw.make(Call, self.made[func], tuple(args))
        return self.unpacked(result, func.result.type)

    def _map(self, op: Map, func: Func, operands: list[Elements]) -> Elements:
        shape = func.result.type.shape
        stacked = np.empty((op.length, *shape), dtype=object)
        for i in range(op.length):
            args = [
                self.packed(_array(o[i], p.type.shape), p) for o, p in zip(operands, func.params, strict=True)
            ]
            stacked[i] = self._call(func, args) if shape else self._call(func, args)[()]
        return stacked


def _codes(const: Const) -> list[tuple[int, Fixed]]:
    return list(zip(const.codes.ravel().tolist(), const.type.formats, strict=True))


def _array(items: Any, shape: tuple[int, ...]) -> Elements:
    """Values as an object array; numpy must not look inside them."""
    flat = items.ravel().tolist() if isinstance(items, np.ndarray) else items
    return _each(flat if isinstance(flat, list) else [flat], shape)


def _each(items: list[Any], shape: tuple[int, ...]) -> Elements:
    result = np.empty(len(items), dtype=object)
    result[:] = items
    return result.reshape(shape)
