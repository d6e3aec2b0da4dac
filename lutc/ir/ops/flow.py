"""Registers, and functions used once (`call`) or along a tensor (`map`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from lutc.ir.facts import Fact
from lutc.ir.graph import Bounds, Func, OpMistake, Param, Value, body
from lutc.ir.ops.base import SCALAR, TENSOR, Op, need, sized
from lutc.ir.ops.table import number_help
from lutc.limits import MAX_DEPTH
from lutc.numbers import dtype
from lutc.types import BIT, Ints, Type, tensor, uniform

if TYPE_CHECKING:
    from lutc.rtl.builder import ModuleBuilder
    from lutc.rtl.nets import Net

__all__ = ["Call", "Map", "Reg"]


def evaluate(values: Sequence[Value], inputs: dict[Value, Ints], keep: Sequence[Value]) -> dict[Value, Ints]:
    """Compute `values` in order. Returns those in `keep`; the others are forgotten after their last reader."""
    left = dict.fromkeys(values, 0)
    for value in values:
        for operand in value.operands:
            left[operand] += 1
    for value in keep:
        left[value] += 1
    known = dict(inputs)
    for value in values:
        if isinstance(value, Op):
            kind = dtype(value.work_bits())
            operands = [known[v].astype(kind, copy=False) for v in value.operands]
            known[value] = value.eval(*operands).astype(dtype(value.type.max_width), copy=False)
            for operand in value.operands:
                left[operand] -= 1
                if not left[operand]:
                    del known[operand]
    return {v: known[v] for v in keep}


def bound(values: Sequence[Value], inputs: dict[Value, Bounds]) -> dict[Value, Bounds]:
    """The range of each of `values`, which stand in order, given those of the parameters."""
    known = dict(inputs)
    for value in values:
        if isinstance(value, Op):
            known[value] = value.bounds(*(known[v] for v in value.operands))
    return known


@dataclass(frozen=True, eq=False, repr=False)
class Reg(Op):
    """The value one clock cycle later. All values that meet have passed equally many."""

    keyword: ClassVar[str] = "reg"
    stages: ClassVar = SCALAR
    x: Value

    def infer(self) -> Type:
        """That of the operand."""
        return self.x.type

    def bounds(self, *operands: Bounds) -> Bounds:
        return operands[0]

    def eval(self, *operands: Ints) -> Ints:
        return operands[0]

    def rtl(self, build: ModuleBuilder, *operands: Net) -> Net:
        return build.reg(operands[0])


@dataclass(frozen=True, eq=False, repr=False)
class Call(Op):
    """What a function returns for these arguments. The function stays one module, however often it is used."""

    keyword: ClassVar[str] = "call"
    strict: ClassVar[bool] = True
    func: Func
    args: tuple[Value, ...]

    def operations(self) -> int:
        return self.func.operations

    def infer(self) -> Type:
        """That of the function's result; arguments must have exactly the types of the parameters."""
        _arguments(self.func, self.args, [v.type for v in self.args])
        sized(0, self.operations())
        _nested(self.func)
        return self.func.result.type

    def bounds(self, *operands: Bounds) -> Bounds:
        return _returned(self.func, operands)

    def eval(self, *operands: Ints) -> Ints:
        inputs: dict[Value, Ints] = {p: _cast(x, p) for p, x in zip(self.func.params, operands, strict=True)}
        return evaluate(body(self.func), inputs, [self.func.result])[self.func.result]


_RETURNED: Fact[dict[Any, Bounds]] = Fact("returned", from_below=True)  # by the ranges of the arguments


def _returned(func: Func, arguments: Sequence[Bounds]) -> Bounds:
    """The range of a function's result. Functions that call functions are asked for the same again and again."""
    known = _RETURNED.of(func)
    if known is None:
        known = _RETURNED.keep(func, {})
    plain = all(isinstance(end, int) for ends in arguments for end in ends)
    key = tuple(arguments) if plain else None
    if key is None or key not in known:
        found = bound(body(func), dict(zip(func.params, arguments, strict=True)))[func.result]
        if key is None or len(known) >= 1000:
            return found
        known[key] = found
    return known[key]


def _nested(func: Func) -> None:
    """Raise OpMistake for what nobody calls: modules inside modules without end, which no tool can take."""
    need(
        func.depth <= MAX_DEPTH,
        f"calls @{func.name}, below which functions call each other {func.depth} levels deep; {MAX_DEPTH} are the most",
        "write the innermost out where they are called",
    )


def _cast(x: Ints, param: Param) -> Ints:
    return x.astype(dtype(param.type.max_width), copy=False)


def _arguments(func: Func, args: Sequence[Value], kinds: Sequence[Type]) -> None:
    need(
        len(args) == len(func.params),
        f"gives @{func.name} {len(args)} arguments, not {len(func.params)}",
        f"it takes {', '.join(f'%{p.name}: {p.type}' for p in func.params) or 'none'}",
    )
    for arg, param, kind in zip(args, func.params, kinds, strict=True):
        if kind != param.type:
            raise OpMistake(
                f"gives {kind} to %{param.name} of @{func.name}, which is {param.type}",
                number_help(arg, param.type) or f"bring it to that format first: quant to {param.type}",
            )


@dataclass(frozen=True, eq=False, repr=False)
class Map(Op):
    """A function applied to every slice along the leading dimension of its arguments, the results stacked."""

    keyword: ClassVar[str] = "map"
    strict: ClassVar[bool] = True
    stages: ClassVar = TENSOR
    func: Func
    args: tuple[Value, ...]

    def operations(self) -> int:
        return self.length * self.func.operations

    @property
    def length(self) -> int:
        return self.args[0].type.shape[0]

    def infer(self) -> Type:
        """A tensor of the function's results along a new leading dimension.

        Arguments must have exactly the types of the parameters, behind a leading dimension.
        """
        lengths = {v.type.shape[0] if v.type.shape else None for v in self.args}
        need(
            len(lengths) == 1 and None not in lengths,
            "needs arguments with a leading dimension of one length",
            "repeat a shared argument: %b = broadcast %a, shape=[n, ...]",
        )
        sized(self.length * self.func.result.type.size, self.operations())
        _nested(self.func)
        # As many as both have: if there are too few or too many, `_arguments` says so.
        pairs = zip(self.args, self.func.params, strict=False)
        _arguments(self.func, self.args, [slice_type(v.type, p.type) for v, p in pairs])
        result = self.func.result.type
        shape = (self.length, *result.shape)
        return uniform(shape, result.format) if result.format else tensor(shape, result.formats * self.length)

    def bounds(self, *operands: Bounds) -> Bounds:
        ends = []
        for i in range(self.length):
            at = [tuple(b if isinstance(b, int) else b[i] for b in o) for o in operands]
            ends.append(_returned(self.func, at))  # type: ignore[arg-type]
        shape = self.func.result.type.shape
        los, his = ([np.broadcast_to(np.asarray(e[k], dtype=object), shape) for e in ends] for k in (0, 1))
        return np.stack(los), np.stack(his)

    def eval(self, *operands: Ints) -> Ints:
        batch, n = max(len(x) for x in operands), self.length
        inputs: dict[Value, Ints] = {}
        for param, x in zip(self.func.params, operands, strict=True):
            full = np.broadcast_to(x, (batch, *x.shape[1:]))
            inputs[param] = _cast(full.reshape(batch * n, *param.type.shape), param)
        answer = evaluate(body(self.func), inputs, [self.func.result])[self.func.result]
        shape = self.func.result.type.shape
        return np.broadcast_to(answer, (batch * n, *shape)).reshape(batch, n, *shape)


def slice_type(kind: Type, like: Type) -> Type:
    """The type of one slice along the leading dimension: `like` if all slices are that, else the first's."""
    n = kind.shape[0]
    if not n:
        return like if kind.shape[1:] == like.shape else uniform(kind.shape[1:], BIT)
    size = kind.size // n
    shape = kind.shape[1:]
    if kind.format:
        return uniform(shape, kind.format)
    slices = [kind.formats[i * size : (i + 1) * size] for i in range(n)]
    odd = next((s for s in slices if s != like.formats), slices[0])
    return tensor(shape, odd)
