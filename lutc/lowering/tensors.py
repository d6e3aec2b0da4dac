"""What a tensor of the model is while it is lowered: known at compile time, or a value of the design times a scale.

The model's dimensions are kept as the model has them; a value of the design lacks a leading dimension of length 1,
which counts the samples of a batch (`core`). The circuit takes one sample at a time, so a dimension of that meaning
is taken to have length 1 from the start.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np

from lutc.ir.graph import Param, Value
from lutc.lowering import exact as ex
from lutc.lowering.exact import INF, Exact
from lutc.lowering.refusals import Refusal
from lutc.types import Type

Shape = tuple[int, ...]
SAMPLES = (2, 5)  # lengths of a batch that are tried where the model leaves it open


def core(shape: Shape) -> Shape:
    """The shape of a value of the design that stands for a tensor of this shape."""
    return shape[1:] if shape and shape[0] == 1 else shape


@dataclass(frozen=True, eq=False)
class Known:
    """A constant: its numbers as the framework computes them.

    Of a quantised one also what they mean exactly: integer `codes`, and `scale`, which broadcasts to their shape.
    One that depends on how many samples a batch has is `array` for one sample, and `counts` are what it is for others
    (`SAMPLES`).
    """

    array: Any
    codes: Any = None
    scale: Exact = None
    counts: tuple[Any, ...] = ()

    @property
    def shape(self) -> Shape:
        return tuple(self.array.shape)

    def reals(self) -> Exact:
        """The exact numbers."""
        if self.codes is None:
            return ex.exact(self.array)
        return ex.times(ex.exact(self.codes), self.scale)


@dataclass(eq=False)
class Port:
    """An input of the model that has no format yet; its first quantiser gives it one.

    `rule` is what that quantiser asked for: another one may share the port if it asks for the same.
    """

    name: str
    shape: Shape
    param: Param | None = None
    rule: tuple[Any, ...] | None = None


@dataclass(frozen=True, eq=False)
class Pending:
    """An input that has no format yet, moved about by `moves` once it has one."""

    port: Port
    moves: tuple[Callable[[Value], Value], ...] = ()

    @property
    def way_out(self) -> str:
        """What a user does where the first quantiser cannot give the port a format."""
        return f"give the input a format of its own: --input-type {self.port.name}=s16f10"

    def settled(self, rule: tuple[Any, ...], make: Callable[[], Param]) -> Param:
        """The port, made by the first quantiser that asks for one. Raises Refusal unless all ask by the same `rule`."""
        port = self.port
        if port.param is None:
            port.param, port.rule = make(), rule
        if port.rule != rule:
            raise Refusal(
                f"quantises input {port.name!r} in another way than an earlier layer does", self.way_out
            )
        return port.param

    def moved(self, value: Value) -> Value:
        """The port's value, moved about as the input was."""
        for move in self.moves:
            value = move(value)
        return value


@dataclass(frozen=True, eq=False)
class Scaled:
    """A tensor computed by the design: `clip(scale * value + offset, lo, hi)`, exact.

    `integer` names the model's integer type (or bool), if it has one (then the value is used as it is, never rounded);
    else `real` names its float type.
    `batched` says that the first dimension has no fixed length in the model: nothing may mix it with others.
    """

    shape: Shape
    value: Value | Pending
    scale: Exact = field(default_factory=lambda: ex.number(1))
    offset: Exact = field(default_factory=lambda: ex.number(0))
    lo: Exact = field(default_factory=lambda: ex.number(-INF))
    hi: Exact = field(default_factory=lambda: ex.number(INF))
    integer: str | None = None
    batched: bool = False
    real: str = "float"

    @property
    def type(self) -> Type:
        """The type of the value. Raises Refusal if it has no format yet."""
        return concrete(self).type

    def times(self, factor: Exact) -> Scaled:
        """The tensor times constants that broadcast to its shape."""
        a, b = ex.times(self.lo, factor), ex.times(self.hi, factor)
        swap = factor < 0
        return replace(
            self,
            scale=ex.times(self.scale, factor),
            offset=ex.times(self.offset, factor),
            lo=ex.choose(swap, b, a),
            hi=ex.choose(swap, a, b),
        )

    def plus(self, term: Exact) -> Scaled:
        """The tensor plus constants that broadcast to its shape."""
        return replace(
            self, offset=ex.plus(self.offset, term), lo=ex.plus(self.lo, term), hi=ex.plus(self.hi, term)
        )

    def clip(self, lo: Exact, hi: Exact) -> Scaled:
        """The tensor kept within constants; where `lo` is above `hi`, `hi` counts."""
        return replace(
            self, lo=ex.minimum(ex.maximum(self.lo, lo), hi), hi=ex.minimum(ex.maximum(self.hi, lo), hi)
        )

    def bare(self) -> bool:
        """Whether it is its value, and nothing is left to be done to it."""
        return ex.lone(self.scale) == 1 and ex.lone(self.offset) == 0 and not self.clips()

    def clips(self) -> bool:
        """Whether a clip is still to be applied to numbers it would change."""
        if not (self.lo > -INF).any() and not (self.hi < INF).any():
            return False
        if isinstance(self.value, Pending):
            return True
        lo, hi = reach(self)
        return bool(np.any(lo < self.lo) or np.any(hi > self.hi))


@dataclass(frozen=True, eq=False)
class Curve:
    """A tensor that is a function of each element of `key`.

    `array` has the function's values: first a dimension for the code (as an unsigned number), in the place of the
    samples; then the tensor's other dimensions, each of its length or 1.
    """

    shape: Shape
    key: Value
    array: Any
    op: str
    batched: bool = False


Tensor = Known | Scaled
Anything = Known | Scaled | Curve


@dataclass(frozen=True)
class Missing:
    """What a refused layer would have made. Its shape, if known, lets the layers after a quantiser be looked up."""

    shape: Shape | None = None


def concrete(t: Scaled) -> Value:
    """The value of a tensor. Raises Refusal if it is an input without a format."""
    if isinstance(t.value, Value):
        return t.value
    name = t.value.port.name
    raise Refusal(
        f"reads input {name!r}, which has no format: nothing quantises it before this layer",
        f"quantise it in the model, or give it a format: --input-type {name}=s16f10",
    )


def ends(t: Scaled) -> tuple[Exact, Exact]:
    """The smallest and largest number of the tensor's value, by its type: one for all elements if they agree."""
    kind = t.type
    if kind.format:
        return ex.number(kind.format.value(kind.format.lo)), ex.number(kind.format.value(kind.format.hi))
    lo = np.array([f.value(f.lo) for f in kind.formats], dtype=object).reshape(t.shape)
    return lo, np.array([f.value(f.hi) for f in kind.formats], dtype=object).reshape(t.shape)


def reach(t: Scaled) -> tuple[Exact, Exact]:
    """The smallest and largest number every element may be before it is clipped, broadcasting to its shape."""
    a, b = (np.asarray(x * t.scale + t.offset, dtype=object) for x in ends(t))
    return np.asarray(np.minimum(a, b), dtype=object), np.asarray(np.maximum(a, b), dtype=object)


def plain(shape: Shape, value: Value, like: Scaled | None = None, scale: Fraction | Exact = 1) -> Scaled:
    """A tensor that is a value of the design times a scale, batched as the tensors it was made of."""
    factor = scale if isinstance(scale, np.ndarray) else ex.number(scale)
    return Scaled(shape, value, scale=factor, batched=like.batched if like else False)
