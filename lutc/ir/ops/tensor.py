"""Contractions and reductions: tensor stage only. `scalarize` writes them out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lutc.ir.graph import Bounds, Const, Value
from lutc.ir.ops.base import TENSOR, Op, need, sized
from lutc.numbers import align, aligned_bits, greatest, least, narrowest, trailing_zeros
from lutc.types import Ints, Type, holding, uniform

__all__ = ["Argmax", "Dense", "Matmul", "ReduceMax", "ReduceMin", "Sum"]


def _spread(x: Ints, shape: tuple[int, ...]) -> Ints:
    """Bounds as an array of Python integers of the tensor's full shape."""
    return np.broadcast_to(np.asarray(x, dtype=object), shape)


@dataclass(frozen=True, eq=False, repr=False)
class Dense(Op):
    """A matrix of constants times a vector, plus a bias: `y[..., j] = sum_i x[..., i] * w[i, j] + b[j]`.

    Without a bias, nothing is added. Each result has a format of its own: its weights are known, so its range is.
    """

    keyword: ClassVar[str] = "dense"
    stages: ClassVar = TENSOR
    x: Value
    w: Const
    b: Const | None = None

    def _check(self) -> None:
        x, w = self.x.type.shape, self.w.type.shape
        need(
            len(w) == 2 and bool(x) and x[-1] == w[0],
            f"multiplies {self.x.type} by @{self.w.name} of shape {list(w)}",
            f"the matrix needs the shape [{x[-1] if x else '?'}, outputs]",
        )
        need(
            self.b is None or self.b.type.shape == w[1:],
            f"adds @{self.b.name} of shape {list(self.b.type.shape)} to {w[1]} results" if self.b else "",
            f"the bias needs the shape [{w[1] if len(w) == 2 else 'outputs'}]",
        )

    def lsb(self) -> Ints:
        kind, codes = self.x.type, self.w.codes
        zeros = np.array([trailing_zeros(c) for c in codes.ravel().tolist()], dtype=np.int64)
        weights = np.broadcast_to(self.w.type.fracs, codes.shape) - zeros.reshape(codes.shape)
        inputs = np.broadcast_to(kind.fracs, kind.shape)[..., np.newaxis]
        live = (codes != 0) & (np.broadcast_to(kind.widths, kind.shape)[..., np.newaxis] > 0)
        nothing = -(1 << 40)  # below any real frac
        lsb = np.where(live, inputs + weights, nothing).max(axis=-2, initial=nothing)
        if self.b is not None:
            own = self.b.type.fracs - np.array(
                [trailing_zeros(c) for c in self.b.codes.tolist()], dtype=np.int64
            )
            lsb = np.maximum(lsb, np.where(self.b.codes != 0, own, nothing))
        return np.where(lsb == nothing, 0, lsb)

    def _bias(self) -> Ints:
        """The bias's codes at the results' steps; those of a bias of 0 do not matter."""
        assert self.b is not None
        return _shift(self.b.codes, self.b.type.fracs - self.lsb())

    def _weights(self) -> tuple[Ints, int]:
        """The matrix's codes with its finest steps, and how fine they are."""
        fine = finest_frac(self.w.type)
        return align(self.w.codes, self.w.type.fracs, fine), fine

    def operations(self) -> int:
        rows = self.x.type.size // self.w.type.shape[0] if self.w.type.shape[0] else 0
        return rows * (int(np.count_nonzero(self.w.codes)) + self.w.type.shape[1])

    def infer(self) -> Type:
        """Each result has the format of its own weighted sum.

        Its `lsb` is the finest of `x + t` over the weights that are not 0, where t is the weight's own, and of the t
        of a bias that is not 0; its range adds, for each weight, the operand's ends times that weight, and the bias.
        """
        self._check()
        sized(math.prod(self.x.type.shape[:-1]) * self.w.type.shape[1], self.operations())
        shape = (*self.x.type.shape[:-1], self.w.type.shape[1])
        lo, hi = self.bounds(self.x.type.ranges)
        return narrowest(shape, lo, hi, self.lsb())

    def bounds(self, *operands: Bounds) -> Bounds:
        shape = self.x.type.shape
        fine_x = finest_frac(self.x.type)
        lo, hi = (_spread(align(b, self.x.type.fracs, fine_x), shape) for b in operands[0])
        w, fine_w = self._weights()
        positive, negative = greatest(w, w * 0), least(w, w * 0)
        down = fine_x + fine_w - self.lsb()
        low, high = _shift(lo @ positive + hi @ negative, down), _shift(hi @ positive + lo @ negative, down)
        return (low, high) if self.b is None else (low + self._bias(), high + self._bias())

    def eval(self, *operands: Ints) -> Ints:
        fine_x = finest_frac(self.x.type)
        x = align(operands[0], self.x.type.fracs, fine_x)
        w, fine_w = self._weights()
        down = fine_x + fine_w - self.lsb()
        y = _shift(x @ w.astype(x.dtype), down)
        return y if self.b is None else y + self._bias().astype(y.dtype)

    def work_bits(self) -> int:
        w, _ = self._weights()
        widest = max((abs(c).bit_length() for c in w.ravel().tolist()), default=0)
        sums = aligned_bits([self.x.type]) + widest + len(w).bit_length()
        if self.b is None:
            return sums
        bias = max((abs(c).bit_length() for c in self._bias().ravel().tolist()), default=0)
        return max(sums, self.type.max_width, bias) + 1


def _shift(codes: Ints, down: Ints) -> Ints:
    """An exact shift: to the right where `down` is positive (the bits that leave are 0), else to the left."""
    return (codes >> greatest(down, 0)) << greatest(-down, 0)


def finest_frac(kind: Type) -> int:
    """The most bits after the point of any element that has bits."""
    return max((f.frac for _, f in kind.runs if f.width), default=0)


@dataclass(frozen=True, eq=False, repr=False)
class Matmul(Op):
    """The product of two values: `[..., m, k]` times `[..., k, n]`, leading dimensions equal."""

    keyword: ClassVar[str] = "matmul"
    stages: ClassVar = TENSOR
    a: Value
    b: Value

    def infer(self) -> Type:
        """Each result has the format of its own sum of products.

        Its `lsb` is the finest of its products' steps, as of `mul`, where both factors have bits; its range adds the
        ranges of its products.
        """
        a, b = self.a.type, self.b.type
        need(
            len(a.shape) == len(b.shape) >= 2 and a.shape[-1] == b.shape[-2] and a.shape[:-2] == b.shape[:-2],
            f"multiplies {a} by {b}",
            "the shapes must be [..., m, k] and [..., k, n] with equal leading dimensions",
        )
        shape = (*a.shape[:-1], b.shape[-1])
        sized(math.prod(shape), self.operations())
        lo, hi = self.bounds(a.ranges, b.ranges)
        return narrowest(shape, lo, hi, self.lsb())

    def operations(self) -> int:
        return 2 * self.a.type.size * self.b.type.shape[-1]

    def lsb(self) -> Ints:
        a, b = self.a.type, self.b.type
        if a.format and b.format:
            return a.format.frac + b.format.frac if a.format.width and b.format.width else 0
        nothing = -(1 << 40)  # below any real frac
        x, y = (np.where(_spread(k.widths, k.shape) > 0, k.fracs, nothing).astype(np.int64) for k in (a, b))
        lsb = (x[..., :, :, None] + y[..., None, :, :]).max(axis=-2, initial=2 * nothing)
        return np.where(lsb <= nothing // 2, 0, lsb)

    def _down(self) -> Ints:
        """How much finer than a result's steps the sums are that are made with the finest steps of all."""
        return finest_frac(self.a.type) + finest_frac(self.b.type) - self.lsb()

    def _aligned(self, a: Ints, b: Ints) -> tuple[Ints, Ints]:
        kinds = (self.a.type, self.b.type)
        x, y = (align(v, k.fracs, finest_frac(k)) for v, k in zip((a, b), kinds, strict=True))
        return x, y

    def bounds(self, *operands: Bounds) -> Bounds:
        (a_lo, a_hi), (b_lo, b_hi) = operands
        ends = []
        for x, y in ((a_lo, b_lo), (a_lo, b_hi), (a_hi, b_lo), (a_hi, b_hi)):
            x, y = self._aligned(x, y)
            ends.append(
                _spread(x, self.a.type.shape)[..., :, :, None]
                * _spread(y, self.b.type.shape)[..., None, :, :]
            )
        lo, hi = ends[0], ends[0]
        for e in ends[1:]:
            lo, hi = least(lo, e), greatest(hi, e)
        down = self._down()
        return _shift(lo.sum(axis=-2), down), _shift(hi.sum(axis=-2), down)

    def eval(self, *operands: Ints) -> Ints:
        a, b = self._aligned(*operands)
        return _shift(a @ b, self._down())

    def work_bits(self) -> int:
        a, b = aligned_bits([self.a.type]), aligned_bits([self.b.type])
        return a + b + self.a.type.shape[-1].bit_length()


AXES = "dimensions count from 0, and from the end with -1, -2 and so on"


def _axes(axes: tuple[int, ...], rank: int) -> tuple[int, ...]:
    need(all(-rank <= a < rank for a in axes), f"has no axis {list(axes)} in {rank} dimensions", AXES)
    need(len({a % rank for a in axes}) == len(axes), f"axes={list(axes)} names a dimension twice", AXES)
    return tuple(sorted({a % rank for a in axes})) if axes else tuple(range(rank))


@dataclass(frozen=True, eq=False, repr=False)
class _Reduction(Op):
    """What takes elements together along dimensions."""

    stages: ClassVar = TENSOR
    x: Value
    axes: tuple[int, ...] = ()

    def reduced(self) -> tuple[int, ...]:
        """The dimensions that go, counted from the front."""
        return _axes(self.axes, len(self.x.type.shape))

    def _lsb_full(self) -> Ints:
        kind = self.x.type
        if isinstance(kind.fracs, int):
            return kind.fracs
        fracs = np.where(kind.widths > 0, kind.fracs, -(1 << 40))
        lsb = fracs.max(axis=self.reduced(), keepdims=True)
        return np.where(lsb == -(1 << 40), 0, lsb)

    def lsb(self) -> Ints:
        lsb = self._lsb_full()
        return lsb if isinstance(lsb, int) else lsb.squeeze(axis=self.reduced())

    def _aligned(self, codes: Ints) -> Ints:
        """Codes, or an end of a range, of all elements at the steps of the result they go into."""
        return align(codes, self.x.type.fracs, self._lsb_full())

    def operations(self) -> int:
        return self.x.type.size


@dataclass(frozen=True, eq=False, repr=False)
class Sum(_Reduction):
    """The sum over the dimensions `axes`; over all of them if none is given."""

    keyword: ClassVar[str] = "sum"

    def infer(self) -> Type:
        """The sum of the ranges of the elements it takes together, at the finest of their steps."""
        gone = self.reduced()
        kind = self.x.type
        shape = tuple(n for i, n in enumerate(kind.shape) if i not in gone)
        if kind.format:
            count = math.prod(kind.shape[i] for i in gone)
            return uniform(shape, holding(kind.format.lo * count, kind.format.hi * count, kind.format.frac))
        lo, hi = self.bounds(kind.ranges)
        return narrowest(shape, lo, hi, self.lsb())

    def bounds(self, *operands: Bounds) -> Bounds:
        lo, hi = (_spread(self._aligned(b), self.x.type.shape).sum(axis=self.reduced()) for b in operands[0])
        return lo, hi

    def eval(self, *operands: Ints) -> Ints:
        return self._aligned(operands[0]).sum(axis=tuple(a + 1 for a in self.reduced()))

    def work_bits(self) -> int:
        return aligned_bits([self.x.type]) + self.x.type.size.bit_length()


class _Extreme(_Reduction):
    """What ReduceMax and ReduceMin have in common."""

    chosen: ClassVar[np.ufunc]

    def infer(self) -> Type:
        """As of `max` and `min`: by the ends of the elements it takes together, at the finest of their steps."""
        shape = self.x.type.shape
        gone = self.reduced()
        need(all(shape[i] for i in gone), f"takes the largest or smallest of nothing: {self.x.type}")
        lo, hi = self.bounds(self.x.type.ranges)
        return narrowest(tuple(n for i, n in enumerate(shape) if i not in gone), lo, hi, self.lsb())

    def bounds(self, *operands: Bounds) -> Bounds:
        shape, gone = self.x.type.shape, self.reduced()
        ends = [_spread(self._aligned(b), shape) for b in operands[0]]
        lo, hi = (self.chosen.reduce(end, axis=gone) if gone else end for end in ends)
        return lo, hi

    def eval(self, *operands: Ints) -> Ints:
        return self.chosen.reduce(self._aligned(operands[0]), axis=tuple(a + 1 for a in self.reduced()))

    def work_bits(self) -> int:
        return aligned_bits([self.x.type])


@dataclass(frozen=True, eq=False, repr=False)
class ReduceMax(_Extreme):
    """The largest element over the dimensions `axes`; over all of them if none is given."""

    keyword: ClassVar[str] = "reduce_max"
    chosen: ClassVar[np.ufunc] = np.maximum


@dataclass(frozen=True, eq=False, repr=False)
class ReduceMin(_Extreme):
    """The smallest element over the dimensions `axes`; over all of them if none is given."""

    keyword: ClassVar[str] = "reduce_min"
    chosen: ClassVar[np.ufunc] = np.minimum


@dataclass(frozen=True, eq=False, repr=False)
class Argmax(Op):
    """The index of the largest element along the last dimension; of equals, the first."""

    keyword: ClassVar[str] = "argmax"
    stages: ClassVar = TENSOR
    x: Value

    def infer(self) -> Type:
        """An unsigned integer that holds the last index."""
        shape = self.x.type.shape
        need(
            bool(shape) and shape[-1] > 0,
            f"needs a last dimension with elements, not {self.x.type}",
            "a scalar has no dimension, and one of length 0 has no largest element",
        )
        return uniform(shape[:-1], holding(0, shape[-1] - 1, 0))

    def bounds(self, *operands: Bounds) -> Bounds:
        return 0, self.x.type.shape[-1] - 1

    def eval(self, *operands: Ints) -> Ints:
        x = align(operands[0], self.x.type.fracs, finest_frac(self.x.type))
        return x.argmax(axis=-1)

    def work_bits(self) -> int:
        return aligned_bits([self.x.type])
