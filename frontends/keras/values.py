"""What every rule lowers with: fixed-point tensors, pending functions, quantisers, weights, calibration."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from lutc.build import Builder
from lutc.ir.graph import Const, Param, Value, topo
from lutc.ir.ops import Op
from lutc.lowering.attention import greatest
from lutc.lowering.constants import Constants
from lutc.lowering.dtypes import FLOAT32_BITS, is_float32
from lutc.lowering.formats import array, hull
from lutc.lowering.moves import Index, moved, positions, rearranged, reshaped, spread
from lutc.lowering.names import Names
from lutc.lowering.refusals import Refusal
from lutc.lowering.rows import agree, mapped
from lutc.numbers import dtype, real
from lutc.types import ZERO, Fixed, Ints, Overflow, Rounding, Type, tensor

from .calibrate import Trace
from .quantizers import Quantizer, Real
from .truth_tables import UNROUNDED, TableMaker
from .unary import Affine, Reals, Step, Unary, evaluate


@dataclass(frozen=True)
class Port:
    """An input port: its name in the model, its type, and how a real number becomes one of the type."""

    name: str
    kind: Type
    round: Rounding = Rounding.HALF_EVEN
    overflow: Overflow = Overflow.SATURATE


@dataclass(frozen=True, eq=False)
class Tensor:
    """A value of the model without its batch axis: an exact value, and functions still to be applied to it.

    `final` names a function of a whole axis (softmax) that only the host may apply.
    """

    value: Value
    chain: tuple[Step, ...] = ()
    final: str | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.type.shape

    @property
    def exact(self) -> bool:
        """Whether no function is still to be applied."""
        return not self.chain and not self.final


class Lowering:
    """One pass over a model that builds a design. With `trace` it follows calibration data as well."""

    def __init__(self, builder: Builder, trace: Trace | None = None, ranges: Trace | None = None) -> None:
        self.b = builder
        self.trace = trace
        self.ranges = ranges
        self.layer = ""
        self.names = Names()
        self.params: list[Param] = []
        self.constants = Constants(self.names)
        self.tables = TableMaker()
        self.untraced: dict[str, None] = {}
        self.wide: dict[str, None] = {}

    def inputs(self, ports: Sequence[Port]) -> list[Param]:
        """Make the input ports."""
        self.params = [
            self.b.input(self.unique(p.name), p.kind, round=p.round, overflow=p.overflow) for p in ports
        ]
        return self.params

    # -- names and constants --------------------------------------------------------------------------------------

    def unique(self, name: str) -> str:
        """A name no constant, table or function has yet."""
        found: str = self.names.take(name, "layer")
        return found

    def const(self, values: Any, what: str) -> Const:
        """A constant of floats, exact, in the one narrowest format that holds them all."""
        return self.constants.of(finite(values, f"its {what}"), f"{self.layer}_{what}", "layer")

    def constant(self, values: Any, what: str, shape: tuple[int, ...]) -> Value:
        """A constant as a value, spread to a shape."""
        reals = np.asarray(values, dtype=np.float64)
        return self.spread(self.b.const(self.const(reals, what)), shape)

    # -- shapes ---------------------------------------------------------------------------------------------------

    def spread(self, x: Value, shape: Sequence[int]) -> Value:
        """The value broadcast to a shape; itself if it has it."""
        return spread(self.b, x, shape)

    def reshape(self, x: Value, shape: Sequence[int]) -> Value:
        return reshaped(self.b, x, shape)

    def move(self, t: Tensor, fn: Callable[[Index], Index]) -> Tensor:
        """Apply a movement of elements, given as numpy on `(1, *shape)`, to the value and what is pending."""
        index = moved(fn, positions(t.shape))
        self._open(t)
        value = rearranged(self.b, t.value, index[0])
        return Tensor(value, tuple(self._moved(s, t.shape, index[0]) for s in t.chain))

    def _moved(self, step: Step, shape: tuple[int, ...], index: Index) -> Step:
        alike, padded = all(p.size == 1 for p in step.params), bool((index < 0).any())
        if padded and (not alike or (evaluate((step,), np.zeros(1), lambda p: p.ravel()) != 0).any()):
            raise Refusal(f"it pads before {step.name} is quantised", "quantise first, or pad before")
        if alike:
            return step
        moved = [np.broadcast_to(p, shape).ravel()[index] for p in step.params]
        return Affine(*moved) if isinstance(step, Affine) else Unary(step.name, step.fn, tuple(moved))

    def rows(self, x: Value, fn: Callable[[Lowering, Value], Value], padded: bool = False) -> Value:
        """`fn` on the last axis at every position of the others.

        Where all positions agree in their formats, `fn` becomes one function mapped over them; else it is applied to
        the whole tensor, for which it must be written as well. Positions that are `padded` may differ in elements
        that are always 0: these get the format the others have there.
        """
        *lead, width = x.type.shape
        count = math.prod(lead)
        if padded and count and x.type.format is None and not self.trace:
            columns = [set(c) - {ZERO} for c in array(x.type).reshape(count, -1).T.tolist()]
            if all(len(c) < 2 for c in columns):
                x = self.b.quant(x, to=tensor(x.type.shape, [hull(c) for c in columns] * count))
        if count < 2 or self.trace or not agree(x.type):
            return fn(self, x)
        inner = Builder(self.unique(self.layer))
        low = self._inside(inner)
        rows = self.reshape(x, (count, width))
        y = mapped(self.b, rows, inner, lambda v: fn(low, v), self.layer)
        return self.reshape(y, (*lead, *y.type.shape[1:]))

    def _inside(self, builder: Builder) -> Lowering:
        """The same lowering, building into a function."""
        inner = Lowering(builder, None, self.ranges)
        for shared in ("layer", "tables", "names", "constants", "untraced", "wide"):
            setattr(inner, shared, getattr(self, shared))
        return inner

    # -- values ---------------------------------------------------------------------------------------------------

    @staticmethod
    def _open(t: Tensor) -> None:
        """Raise Refusal behind a function that only the host may apply."""
        if t.final:
            raise Refusal(
                f"it reads {t.final}, which is a function of a whole axis",
                "use hgq.layers.QSoftmax inside a network; a softmax may only be the last layer",
            )

    def fixed(self, t: Tensor) -> Value:
        """The tensor as a fixed-point value. Raises Refusal while a function is pending."""
        self._open(t)
        if t.chain:
            raise Refusal(
                f"it computes with {t.chain[-1].name} in floating point",
                "quantise in between: the layer's iq, the previous layer's oq, or QUnaryFunctionLUT",
            )
        return t.value

    def pairs(self, a: Value, b: Value) -> tuple[Value, Value]:
        """Two values broadcast against each other, as numpy has it."""
        shape = np.broadcast_shapes(a.type.shape, b.type.shape)
        return self.spread(a, shape), self.spread(b, shape)

    def affine(self, t: Tensor, by: Any = 1.0, add: Any = 0.0, over: Any = 1.0) -> Tensor:
        """`t * by / over + add`, parameters broadcasting to the tensor: exact where float32 is, else pending."""
        self._open(t)
        params = [finite(p, "its scaling") for p in (by, add, over)]
        if not params[2].all():
            raise Refusal("it divides by 0", "leave out what is always infinite")
        shape = np.broadcast_shapes(t.shape, *(p.shape for p in params))
        if shape != t.shape:
            t = self.move(t, lambda i: _broadcast(i, shape))
        step = Affine(*params)
        if not t.chain and (np.frexp(step.over)[0] == 0.5).all():
            value = self._scaled(t.value, step.by / step.over)
            if value is not None and step.add.any():
                value = self.b.add(value, self.constant(step.add, "offset", shape))
            if value is not None and is_float32(value.type):
                return Tensor(value)
        if t.chain and isinstance(last := t.chain[-1], Affine):
            return Tensor(t.value, (*t.chain[:-1], last.then(step)))
        return Tensor(t.value, (*t.chain, step))

    def _scaled(self, x: Value, by: Reals) -> Value | None:
        """`x * by` exactly, if float32 computes it exactly too."""
        if (by == 1).all():
            return x
        if by.size == 1:
            value: Value = self.b.scale(x, by=Fraction(float(by.ravel()[0])))
        else:
            value = self.b.mul(x, self.constant(by, "factor", x.type.shape))
        return value if is_float32(value.type) else None

    def apply(self, t: Tensor, step: Step) -> Tensor:
        """A function on every element; rectifiers and clips stay exact arithmetic."""
        self._open(t)
        if not t.chain and _plain(step):
            return Tensor(self.b.relu(t.value))
        return Tensor(t.value, (*t.chain, step))

    def clip(self, x: Value, lo: float | None, hi: float | None) -> Value:
        """The value held between two numbers; an infinite one is none."""
        if lo is not None and lo != -math.inf:
            x = self.b.max(x, self.constant(lo, "low", x.type.shape))
        if hi is not None and hi != math.inf:
            x = self.b.min(x, self.constant(hi, "high", x.type.shape))
        return x

    def greatest(
        self, x: Value, axes: int | tuple[int, ...], keepdims: bool = False, op: str = "max"
    ) -> Value:
        """The largest (or with `op` "min" the smallest) element along axes, by halves."""
        axes = (axes,) if isinstance(axes, int) else axes
        y = greatest(self.b, x, axes, op)
        return y if keepdims else self.reshape(y, [n for i, n in enumerate(x.type.shape) if i not in axes])

    def concat(self, tensors: Sequence[Tensor], axis: int) -> Tensor:
        """Tensors joined along a Keras axis; what is pending must be the same for all."""
        rank = len(tensors[0].shape)
        axis = (axis if axis >= 0 else axis + rank + 1) - 1
        if axis < 0:
            raise Refusal("it joins batches", "join along another axis")
        chain = tensors[0].chain
        shared = all(t.chain == chain and not t.final for t in tensors) and all(
            p.size == 1 for s in chain for p in s.params
        )
        if not shared:
            chain = ()
        values = [t.value if shared else self.fixed(t) for t in tensors]
        return Tensor(values[0] if len(values) == 1 else self.b.concat(values, axis=axis), chain)

    def named(self, value: Value, name: str) -> Value:
        """The value under a name of its own, if it has none yet."""
        if value.name or not isinstance(value, Op):
            return value
        copy = replace(value, name=self.unique(name))
        if self.trace and value in self.trace.known:
            self.trace.known[copy] = self.trace.known[value]
        return copy

    # -- quantising -----------------------------------------------------------------------------------------------

    def quantize(self, t: Tensor, q: Quantizer | None) -> Tensor:
        """Apply a data quantiser, if there is one."""
        if q is None:
            return t
        self._open(t)
        if self.ranges:
            q = self.ranges.final(q)
        if q.tracked and not q.traced:
            self.untraced[self.layer] = None
        if not t.chain:
            value = (
                self.observed(t.value, q)
                if self.trace and q.tracked
                else self._quant(t.value, q, q.type(t.shape))
            )
        else:
            value = self._pending(t, q)
        return self.rescaled(Tensor(value), q)

    def rescaled(self, t: Tensor, q: Quantizer) -> Tensor:
        """The affine step after a quantiser."""
        if q.scale == 1 and not q.shift:
            return t
        value = self.b.scale(self.fixed(t), by=q.scale) if q.scale != 1 else t.value
        if q.shift:
            value = self.b.add(value, self.constant(float(q.shift), "shift", t.shape))
        return Tensor(value)

    def _quant(self, x: Value, q: Quantizer, to: Type) -> Value:
        if x.type == to:
            return x
        value: Value = self.b.quant(x, to=to, round=q.rounding, overflow=q.overflow)
        return value

    def observed(self, x: Value, q: Quantizer) -> Value:
        """Round only, in formats as wide as the calibration data need, and note the ranges."""
        assert self.trace
        fracs = np.broadcast_to(q.f, (1, *x.type.shape)).ravel().tolist()
        wide = tensor(x.type.shape, [_wide(g, f) for g, f in zip(x.type.formats, fracs, strict=True)])
        q = self.trace.observe(q, np.asarray(real(self.codes(x), x.type), dtype=np.float64))
        return self._quant(x if q.total_bits else self._quant(x, q, wide), q, q.type(x.type.shape))

    def _pending(self, t: Tensor, q: Quantizer) -> Value:
        """A pending chain and its quantiser: a rescaling if it is a scaling (and perhaps relu), else a table."""
        tracing = self.trace is not None and q.tracked
        first, rest = t.chain[0], t.chain[1:]
        if isinstance(first, Affine) and (not rest or (len(rest) == 1 and _plain(rest[0]))):
            axis = varying_axis(first, t.shape)
            if axis is not None:
                return self._rescale(t, first, q, axis, bool(rest), tracing)
        table = self.tables.unary(
            t.value.type, t.chain, q, self.unique(f"{self.layer}_table"), self.layer, tracing
        )
        value: Value = self.b.lut(t.value, table)
        return self.observed(value, q) if tracing else value

    def _rescale(self, t: Tensor, step: Affine, q: Quantizer, axis: int, relu: bool, tracing: bool) -> Value:
        to = q.type(t.shape)
        columns = [_along(p, t.shape, axis) for p in step.params]
        length = max(map(len, columns))
        by, add, over = ([Fraction(v) for v in (c if len(c) == length else c * length)] for c in columns)
        by = [a / b for a, b in zip(by, over, strict=True)]
        mode: dict[str, Any] = {"by": by, "add": add, "axis": axis, "round": q.rounding}
        if not relu and not tracing:
            value: Value = self.b.rescale(t.value, to=to, overflow=q.overflow, **mode)
            return value
        # Rounding is monotonic and keeps 0, so relu may follow it, as long as nothing has overflowed by then.
        reach = max(abs(f.value(c)) for _, f in t.value.type.runs for c in (f.lo, f.hi))
        reach = reach * max(map(abs, by)) + max(map(abs, add))
        whole = math.ceil(reach).bit_length() + 2
        fracs = [
            UNROUNDED if q.total_bits else f for f in np.broadcast_to(q.f, (1, *t.shape)).ravel().tolist()
        ]
        wide = tensor(t.shape, [Fixed(True, max(f + whole, 2), f) for f in fracs])
        rounded = self.b.rescale(t.value, to=wide, overflow=Overflow.SATURATE, **mode)
        if relu:
            rounded = self.b.relu(rounded)
        return self.observed(rounded, q) if tracing else self._quant(rounded, q, to)

    # -- what the user should know --------------------------------------------------------------------------------

    def note_wide(self, sums: Value) -> None:
        """Remember a layer whose sums may take more bits than float32 keeps."""
        if not is_float32(sums.type):
            self.wide[self.layer] = None

    def notes(self) -> list[str]:
        """Untraced ranges, sums beyond float32, table entries near a tie."""
        found = []
        if self.untraced:
            found.append(
                f"the ranges of the wrapping quantisers of {', '.join(self.untraced)} were never traced on data, so "
                "numbers beyond those seen in training wrap, as they do in Keras; to trace them: --calibrate x.npy"
            )
        if self.wide:
            found.append(
                f"sums of {', '.join(self.wide)} may take more than {FLOAT32_BITS} bits; they are exact here, and "
                "Keras rounds them to float32"
            )
        for layer, count in self.tables.ties.items():
            found.append(
                f"{count} table entries of {layer} lie so near a rounding tie that another float32 implementation may "
                "round them the other way"
            )
        return found

    # -- calibration ----------------------------------------------------------------------------------------------

    def codes(self, value: Value) -> Ints:
        """What a value carries for the calibration data."""
        assert self.trace
        known = self.trace.known
        for v in topo([value]):
            if v not in known:
                assert isinstance(v, Op)
                kind = dtype(v.work_bits())
                known[v] = v.eval(*(known[o].astype(kind) for o in v.operands)).astype(
                    dtype(v.type.max_width)
                )
        return known[value]

    def weights(self, q: Quantizer, x: Real) -> Reals:
        """Weights after their quantiser, as the framework computes them: in float32."""
        if self.trace and q.tracked:
            q = self.trace.observe(q, np.asarray(x, dtype=np.float64))
        if self.ranges:
            q = self.ranges.final(q)
        return q.weights(np.asarray(x, dtype=np.float32)).astype(np.float64)


def _broadcast(index: Index, shape: tuple[int, ...]) -> Index:
    """Positions with a batch axis, spread to a shape: what it lacks is in front, behind the batch."""
    index = index.reshape(len(index), *(1 for _ in range(len(shape) + 1 - index.ndim)), *index.shape[1:])
    return np.broadcast_to(index, (len(index), *shape))


def finite(values: Any, what: str) -> Reals:
    """Numbers as float64. Raises Refusal if one of them is infinite or no number."""
    reals = np.asarray(values, dtype=np.float64)
    if not np.isfinite(reals).all():
        raise Refusal(
            f"{what} holds numbers that are not finite", "train the model again, or leave the number out"
        )
    return reals


def _plain(step: Step) -> bool:
    return isinstance(step, Unary) and step.name == "relu" and not step.params and step.fn.__name__ == "relu"


def _wide(source: Fixed, frac: int) -> Fixed:
    """A format with `frac` bits after the point that rounding from `source` cannot overflow."""
    return Fixed(True, max(source.width - source.frac + frac, 0) + 2, frac)


def _along(p: Reals, shape: tuple[int, ...], axis: int) -> list[float]:
    """The parameter's values along an axis; one value if it does not vary."""
    full = np.broadcast_to(p, shape) if shape else p.reshape(1)
    values = np.moveaxis(full, axis, 0).reshape(full.shape[axis], -1)[:, 0] if full.size else full.ravel()
    result: list[float] = values[:1].tolist() if (values == values[:1]).all() else values.tolist()
    return result


def varying_axis(step: Affine, shape: tuple[int, ...]) -> int | None:
    """The one axis along which a scaling's parameters vary (the last if none), or None if there are several."""
    axes = set()
    for p in step.params:
        full = np.broadcast_to(p, shape)
        axes |= {a for a in range(len(shape)) if (full != np.take(full, [0], axis=a)).any()}
    return None if len(axes) > 1 else (axes.pop() if axes else -1)
