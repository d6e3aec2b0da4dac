"""One pass over a model that builds a design: what every rule lowers with."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from lutc.build import Builder
from lutc.ir.graph import Const, Func, Output, Param, Value
from lutc.ir.ops.moves import Reshape, Transpose
from lutc.limits import MAX_ELEMENTS
from lutc.lowering import exact as ex
from lutc.lowering.constants import Constants
from lutc.lowering.exact import Exact
from lutc.lowering.model import Layer, Model
from lutc.lowering.moves import even, per_axis
from lutc.lowering.names import Names
from lutc.lowering.refusals import Refusal, Refusals
from lutc.lowering.tensors import Known, Missing, Pending, Scaled, Shape, Tensor, concrete, core, ends
from lutc.numbers import dyadic, one_digit
from lutc.types import Fixed, Overflow, Rounding, Type, holding, tensor, uniform

# How many bits a factor or a term may have that joins two scales. Any two float32 scales of like size stay below it.
JOIN_BITS = 64
SHORT = ("int4", "uint4", "int8", "uint8", "int16", "uint16")  # others count and choose


@dataclass(frozen=True, eq=False)
class Mapped:
    """A value that is a function mapped over positions: what was mapped, and how its result was moved about after.

    A quantiser that follows goes into the function, so that a kernel with its activation stays one module.
    """

    func: Func
    args: tuple[Value, ...]
    place: Callable[[Value], Value]
    axis: int  # of the placed value: the dimension along which the function's result lies


class Walk:
    """The state of the pass: the builder, every tensor so far, and everything refused so far."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.b = Builder(model.name)
        self.refusals = Refusals()
        self.names = Names()
        self.tensors: dict[str, Tensor | Missing] = dict(model.constants)
        self.params: dict[str, Param] = {}
        self.outputs: list[Output] = []
        self.notes: list[str] = []
        self.maps: dict[Value, Mapped] = {}
        self.quantised: dict[Value, tuple[Value, Any]] = {}  # what a quantiser made: of what, on which grid
        self.consumers: dict[str, list[Layer]] = {}
        self.hosted: dict[str, Any] = {}  # behind a last layer that is left to the host: see `scores`
        self.undefined: list[str] = []  # tensors that are no number for some inputs
        self.leaf_type: Fixed | None = None  # what leaves of decision trees are rounded to
        # How layers are given to their own framework, by an output: leaves of trees rounded as they are here.
        self.rewritten: dict[str, Callable[[Any], None]] = {}
        self.layer: Layer | None = None
        self.constants = Constants(self.names)
        for layer in model.layers:
            self.read_by(layer)

    def read_by(self, layer: Layer) -> None:
        """Note what a layer reads."""
        for name in layer.reads:
            self.consumers.setdefault(name, []).append(layer)

    def products(self, layers: Iterable[Layer]) -> Iterator[tuple[str, Known]]:
        """The constant matrices that some layers read, each with the layer."""
        for layer in layers:
            for name in layer.reads:
                t = self.tensors.get(name)
                if isinstance(t, Known) and len(t.shape) > 1:
                    yield layer.label, t

    @property
    def integers(self) -> bool:
        """Whether the model has constants of integers so short that they stand for quantised numbers."""
        return any(isinstance(t, Known) and t.array.dtype.name in SHORT for t in self.tensors.values())

    @property
    def owner(self) -> str:
        """The name of the layer that is being lowered, after which parts of it are called."""
        return self.layer.name if self.layer else "layer"

    def keep(self, name: str, t: Any) -> None:
        """Note what a layer made.

        A mapped function stays as it is if several layers read its result: a quantiser of one must not go into it.
        Raises Refusal if samples do not stay apart in the first dimension.
        """
        if isinstance(t, Scaled) and t.batched and t.shape[:1] != (1,):
            raise Refusal(
                "mixes the batch with other dimensions: dimension 0 counts samples, and a circuit sees one at a time",
                "export the model with a batch of 1 if this is meant",
            )
        self.tensors[name] = t
        readers = len(self.consumers.get(name, ())) + (name in self.model.outputs)
        if readers > 1 and isinstance(t, Scaled) and isinstance(t.value, Value):
            self.maps.pop(t.value, None)
            self.quantised.pop(t.value, None)

    # -- ports ------------------------------------------------------------------------------------------------------

    def port(
        self,
        name: str,
        kind: Type,
        round: Rounding = Rounding.HALF_EVEN,
        overflow: Overflow = Overflow.SATURATE,
        scale: Fraction = Fraction(1),
        offset: Fraction = Fraction(0),
    ) -> Param:
        """Make the input port of the model's input `name`."""
        spelled = self.names.take(name, "in")
        param = Param(kind, round, overflow, scale, offset, name=spelled, origin=name)
        self.params[name] = param
        return param

    # -- constants --------------------------------------------------------------------------------------------------

    def const(self, values: Exact, what: str = "") -> Const:
        """Dyadic numbers as a named constant of one format, the narrowest; equal constants are one."""
        owner = self.layer.name if self.layer else "model"
        return self.constants.of(values, f"{owner}_{what}" if what else owner)

    def constant(self, values: Exact, shape: Shape, what: str = "", b: Builder | None = None) -> Value:
        """Dyadic numbers, broadcast to the shape of a value of the design."""
        build = b or self.b
        lone = ex.lone(values)
        if lone is not None:
            number: Value = build.number(value=lone)
            value: Value = build.broadcast(number, shape=shape) if shape else number
            return value
        value = build.const(self.const(values, what))
        return value if value.type.shape == shape else build.broadcast(value, shape=shape)

    # -- moving -----------------------------------------------------------------------------------------------------

    def move(
        self,
        t: Scaled,
        shape: Shape,
        emit: Callable[[Value], Value],
        numpy: Callable[[Any], Any],
        follow: Callable[[int], int | None] | None = None,
    ) -> Scaled:
        """A tensor with its elements moved: `emit` moves the value, `numpy` does the same to an array of numbers.

        `follow` says where a dimension of the value comes to lie (None: it is mixed with others).
        """
        if math.prod(shape) > MAX_ELEMENTS:
            raise Refusal(
                f"makes a tensor {list(shape)}, which has more elements than any circuit",
                "check the model's shapes",
            )
        value: Value | Pending
        if isinstance(t.value, Pending):
            value = replace(t.value, moves=(*t.value.moves, emit))
        else:
            value = emit(t.value)
            mapped = self.maps.get(t.value)
            axis = follow(mapped.axis) if mapped and follow else None
            if mapped and axis is not None:
                self.maps[value] = replace(mapped, place=lambda v: emit(mapped.place(v)), axis=axis)
        parts = []
        for array in (t.scale, t.offset, t.lo, t.hi):
            lone = ex.lone(array)
            parts.append(
                ex.number(lone) if lone is not None else ex.compress(numpy(ex.spread(array, t.shape)))
            )
        scale, offset, lo, hi = parts
        return Scaled(shape, value, scale, offset, lo, hi, t.integer, t.batched, t.real)

    def reshaped(self, value: Value, shape: Shape) -> Value:
        """A value of the design under another shape, if it has another."""
        while isinstance(value, Reshape):
            value = value.x
        if value.type.shape == shape:
            return value
        done: Value = self.b.reshape(value, shape=shape)
        return done

    def reshape(self, t: Scaled, shape: Shape) -> Scaled:
        """The same elements in row-major order."""
        if shape == t.shape:
            return t

        def emit(v: Value) -> Value:
            return self.reshaped(v, core(shape))

        old, new = core(t.shape), core(shape)

        def follow(axis: int) -> int | None:
            for at, length in enumerate(new):
                if length == old[axis] and math.prod(new[:at]) == math.prod(old[:axis]):
                    return at
            return None

        return self.move(t, shape, emit, lambda a: a.reshape(shape), follow)

    def turned(self, value: Value, perm: tuple[int, ...]) -> Value:
        """A value of the design with its dimensions in another order: one transposition, if any."""
        while isinstance(value, Transpose):
            inner = value.perm
            value, perm = value.x, tuple(inner[i] for i in perm)
        done: Value = value if perm == tuple(range(len(perm))) else self.b.transpose(value, perm=perm)
        return done

    def transpose(self, t: Scaled, perm: tuple[int, ...]) -> Scaled:
        """The dimensions in another order."""
        shape = tuple(t.shape[i] for i in perm)
        if perm == tuple(range(len(perm))):
            return t

        def emit(v: Value) -> Value:
            if t.shape[0] == 1 and perm[0] == 0:
                return self.turned(v, tuple(i - 1 for i in perm[1:]))
            whole = self.reshaped(v, t.shape)
            return self.reshaped(self.turned(whole, perm), core(shape))

        def follow(axis: int) -> int | None:
            gone = len(t.shape) - len(core(t.shape))
            at = perm.index(axis + gone) - (len(shape) - len(core(shape)))
            return at if at >= 0 else None

        return self.move(t, shape, emit, lambda a: a.transpose(perm), follow)

    def broadcast(self, t: Scaled, shape: Shape) -> Scaled:
        """The tensor repeated along new or length-1 dimensions."""
        if shape == t.shape:
            return t

        def emit(v: Value) -> Value:
            # With a leading dimension of length 1 left away, numpy's alignment at the last one still holds.
            if v.type.shape == core(shape) or len(core(t.shape)) > len(core(shape)):
                return self.reshaped(v, core(shape))
            wide: Value = self.b.broadcast(v, shape=core(shape))
            return wide

        return self.move(t, shape, emit, lambda a: np.broadcast_to(a, shape))

    def index(self, t: Scaled, positions: Any, near: Any = None) -> Scaled:
        """The elements at flat positions, in the shape of the array `positions`; -1 stands for the number 0.

        `near` are positions whose scale the zeros take: elements of the same channel. With zeros, the tensor must
        have no clips left.
        """
        to = tuple(positions.shape)
        near = positions if near is None else near
        size = math.prod(t.shape)
        zeros = bool((positions < 0).any())
        zero = Fraction(0)
        if zeros and not ex.every(lambda v: not v, t.offset):
            scale, offset = ex.lone(t.scale), ex.lone(t.offset)
            if not scale or offset is None or not dyadic(offset / scale):
                unit, value = self.exact(t)
                t = Scaled(t.shape, value, ex.number(unit), batched=t.batched)
            else:
                zero = -offset / scale

        ends = None if zeros else _slices(positions, t.shape)

        def emit(v: Value) -> Value:
            if ends is not None:
                gone = len(t.shape) - len(core(t.shape))
                start, stop, step = (list(e[gone:]) for e in ends)
                strided = {"step": step} if max(step) > 1 else {}
                return self.reshaped(self.b.slice(v, start=start, stop=stop, **strided), core(to))
            flat = self.reshaped(v, (v.type.size,))
            if zeros and not zero:
                flat = self.b.pad(flat, before=[0], after=[1])
            elif zeros:
                flat = self.b.concat([flat, self.constant(ex.number(zero), (1,))], axis=0)
            at = np.where(positions < 0, size, positions)
            picked = self.b.gather(flat, indices=at.ravel(), axis=0)
            return self.reshaped(picked, core(to))

        return self.move(t, to, emit, lambda a: a.ravel()[near])

    # -- exact values -----------------------------------------------------------------------------------------------

    def units(self, tensors: list[Scaled], apart: bool = False) -> tuple[Exact, list[Value]]:
        """Values and a scale they share: every tensor is `unit * value`, with no offset and no clip left.

        One scale serves all elements, unless they may be `apart`: then it may differ from channel to channel.
        Raises Refusal if factors would need more than `JOIN_BITS` bits.
        """
        parts = [(t, self._pieces(t)) for t in tensors]
        unit = self._unit([p for t, pieces in parts for p in pieces], [t.scale for t in tensors], apart)
        return unit, [self._over(t, unit) for t in tensors]

    def exact(self, t: Scaled) -> tuple[Fraction, Value]:
        """One tensor as a value times one scale. Raises as `units` does."""
        unit, (value,) = self.units([t])
        lone = ex.lone(unit)
        assert lone is not None
        return lone, value

    def fixed_point(self, t: Scaled) -> Value:
        """A value of the design that is the tensor. Raises Refusal if its scale is no fixed-point number."""
        unit, value = self.exact(t)
        if not dyadic(unit):
            raise Refusal(
                "reads numbers whose scale is no power of two, which its formats cannot hold exactly",
                "quantise before it with scales that are powers of two",
            )
        scaled: Value = value if unit == 1 else self.b.scale(value, by=unit)
        return scaled

    def _pieces(self, t: Scaled) -> list[Exact]:
        """All numbers that have to be multiples of the scale's unit, up to powers of two."""
        bounds = [x for x in (t.lo, t.hi) if t.clips()]
        return [t.scale, t.offset, *(ex.choose(abs(x) < ex.INF, x, ex.number(0)) for x in bounds)]

    def _unit(self, pieces: list[Exact], scales: list[Exact], apart: bool) -> Exact:
        lone = ex.lone(scales[0])
        everywhere = [v for p in pieces for v in p.ravel().tolist()]
        if lone and all(dyadic(v / lone) and _bits(v / lone) <= JOIN_BITS for v in everywhere):
            return ex.number(1 if one_digit(lone) else abs(lone))
        if apart:
            columns = np.broadcast_arrays(*pieces)
            unit: Exact = np.empty(columns[0].shape, dtype=object)
            for at in np.ndindex(unit.shape):
                together: list[Any] = [c[at] for c in columns]
                unit[at] = ex.gcd(together)
        else:
            unit = ex.number(ex.gcd(everywhere))
        most = max(_bits(q) for p in pieces for q in np.asarray(p / unit, dtype=object).ravel().tolist())
        if most > JOIN_BITS:
            raise Refusal(
                f"joins numbers whose scales have no unit in common: factors of {most} bits would be needed",
                "quantise the operands first, best with scales that are powers of two times each other",
            )
        return unit

    def _over(self, t: Scaled, unit: Exact) -> Value:
        """The value that times `unit` is the tensor."""
        value, shape = concrete(t), core(t.shape)
        factor, term = (self.inner(np.asarray(x / unit, dtype=object), t.shape) for x in (t.scale, t.offset))
        value = self.affine(value, factor, term)
        if t.clips():
            lo, hi = (self.inner(np.asarray(x / unit, dtype=object), t.shape) for x in (t.lo, t.hi))
            value = self.clamp(value, lo, hi, shape)
        return value

    def inner(self, array: Exact, shape: Shape) -> Exact:
        """Numbers beside a tensor of this shape as numbers beside its value."""
        whole = ex.ranked(array, len(shape))
        return ex.compress(whole if core(shape) == shape else whole.reshape(whole.shape[1:]))

    def affine(self, value: Value, factor: Exact, term: Exact, b: Builder | None = None) -> Value:
        """`value * factor + term` for dyadic numbers that broadcast to the value's shape."""
        build = b or self.b
        lone = ex.lone(factor)
        if lone is None:
            value = build.mul(value, self.constant(factor, value.type.shape, "scale", b))
        elif lone != 1:
            value = build.scale(value, by=lone)
        if not ex.every(lambda v: not v, term):
            value = build.add(value, self.constant(term, value.type.shape, "offset", b))
        return value

    def clamp(self, value: Value, lo: Exact, hi: Exact, shape: Shape, b: Builder | None = None) -> Value:
        """The value kept within dyadic bounds, where it can be outside of them."""
        build = b or self.b
        least, most = ends(Scaled(shape, value)) if core(shape) == shape else ends(Scaled((1, *shape), value))
        if least.ndim:
            least, most = least.reshape(shape), most.reshape(shape)
        inner = _format_of(lo, hi, value) if np.any(least < lo) and np.any(most > hi) else None
        if inner is not None:
            # Types of a maximum's minimum forget one of the ends.
            to = uniform(value.type.shape, inner)
            saturated: Value = build.quant(value, to=to, round=Rounding.FLOOR, overflow=Overflow.SATURATE)
            return saturated
        if np.any(least < lo):
            # Where there is no bound, the least number the value can be takes its place.
            bound = ex.compress(ex.spread(ex.choose(lo == -ex.INF, least, lo), shape))
            if ex.every(lambda v: v == 0, bound):
                value = build.relu(value)
            else:
                value = build.max(value, self.constant(bound, shape, "low", b))
        if np.any(most > hi):
            bound = ex.compress(ex.spread(ex.choose(hi == ex.INF, most, hi), shape))
            value = build.min(value, self.constant(bound, shape, "high", b))
        return value

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def _format_of(lo: Exact, hi: Exact, value: Value) -> Fixed | None:
    """The format on the steps of a value that ends at two numbers, if there is one."""
    low, high, fracs = ex.lone(lo), ex.lone(hi), {f.frac for _, f in value.type.runs}
    if low is None or high is None or len(fracs) != 1:
        return None
    frac = fracs.pop()
    ends = [x * Fraction(2) ** frac for x in (low, high)]
    if not low < high or any(e.denominator != 1 for e in ends):
        return None
    found = holding(int(ends[0]), int(ends[1]), frac)
    return found if [found.lo, found.hi] == ends else None


def _slices(positions: Any, shape: Shape) -> tuple[Any, Any, Any] | None:
    """Starts, stops and steps of the slices that take these flat positions from a tensor; None if none do."""
    cuts = [even(taken) for taken in per_axis(positions, shape) or ()] if core(shape) else []
    starts, stops, steps = zip(*(c for c in cuts if c), strict=True) if cuts and all(cuts) else ((), (), ())
    return (starts, stops, steps) if starts else None


def _bits(value: Fraction) -> int:
    return value.numerator.bit_length() + value.denominator.bit_length() - 1


def formats(shape: Shape, lo: Exact, hi: Exact, frac: int) -> Type:
    """The type of the narrowest formats that hold integer codes from `lo` to `hi`."""
    low, high = ex.lone(lo), ex.lone(hi)
    if low is not None and high is not None:
        return uniform(shape, holding(int(low), int(high), frac))
    columns = (ex.spread(x, shape).ravel().tolist() for x in (lo, hi))
    return tensor(shape, [holding(int(a), int(b), frac) for a, b in zip(*columns, strict=True)])
