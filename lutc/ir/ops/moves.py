"""Layout: operations that only move elements. Each is one index map; meaning, type, bounds and lowering follow.

`source()` gives, for every element of the result, the position of the element it is in the operands, laid flat one
after the other; -1 stands for the number 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from lutc.ir.graph import Bounds, OpMistake, Value
from lutc.ir.ops.base import TENSOR, Op, need, sized
from lutc.lazy import lazy
from lutc.numbers import dtype
from lutc.rtl import circuits
from lutc.types import ZERO, Ints, Type, scalar, uniform

if TYPE_CHECKING:
    from lutc.rtl.builder import ModuleBuilder
    from lutc.rtl.nets import Net

__all__ = ["Broadcast", "Concat", "Element", "Gather", "Pack", "Pad", "Reshape", "SliceOp", "Transpose"]


Index = Any  # an int64 array


@dataclass(frozen=True, eq=False, repr=False)
class Layout(Op):
    """What all of them share."""

    def source(self) -> Index:
        """For each element of the result, its flat position in the operands, or -1 for 0."""
        raise NotImplementedError(self.keyword)

    @lazy
    def index(self) -> Index:
        return self.source()

    def operations(self) -> int:
        return 1

    def infer(self) -> Type:
        """Every element keeps its format; a 0 that is put in is `u0`."""
        kinds = [v.type for v in self.operands]
        known = list(dict.fromkeys(f for t in kinds for _, f in t.runs))
        if len(known) == 1 and (not self.index.size or self.index.min() >= 0):
            return uniform(self.index.shape, known[0])
        # Formats by number: an image's patches have millions of elements.
        known.append(ZERO)
        formats = {f: i for i, f in enumerate(known)}
        runs = [(n, formats[f]) for t in kinds for n, f in t.runs] + [(1, formats[ZERO])]
        every = np.repeat([i for _, i in runs], [n for n, _ in runs])[self.index.ravel()]
        starts = np.flatnonzero(np.diff(every, prepend=-1))
        counts = np.diff(starts, append=len(every)).tolist()
        found = zip(counts, every[starts].tolist(), strict=True)
        return Type(self.index.shape, tuple((n, known[i]) for n, i in found))

    def gathered(self, elements: list[Any], zero: Any) -> Any:
        """The result's elements, given all of the operands' in a row: an object array of the result's shape."""
        flat = np.empty(len(elements) + 1, dtype=object)
        flat[:-1] = elements
        flat[-1] = zero
        return flat[self.index]

    def bounds(self, *operands: Bounds) -> Bounds:
        ends = []
        for side in (0, 1):
            flat: list[Any] = []
            for v, b in zip(self.operands, operands, strict=True):
                flat += np.broadcast_to(np.asarray(b[side], dtype=object), v.type.shape).ravel().tolist()
            found = self.gathered(flat, 0)
            ends.append(found if self.index.shape else int(found))
        return ends[0], ends[1]

    def eval(self, *operands: Ints) -> Ints:
        batch = max((len(x) for x in operands), default=1)
        kind = dtype(self.work_bits())
        parts = [
            np.broadcast_to(x, (batch, *v.type.shape)).reshape(batch, v.type.size)
            for x, v in zip(operands, self.operands, strict=True)
        ]
        flat = np.concatenate([*parts, np.zeros((batch, 1), dtype=kind)], axis=1)
        return flat.take(self.index, axis=1)


def _positions(x: Value) -> Index:
    return np.arange(x.type.size).reshape(x.type.shape)


@dataclass(frozen=True, eq=False, repr=False)
class Broadcast(Layout):
    """The operand repeated along new or length-1 dimensions, aligned at the last one, as in numpy."""

    keyword: ClassVar[str] = "broadcast"
    stages: ClassVar = TENSOR
    x: Value
    shape: tuple[int, ...]

    def source(self) -> Index:
        shape = self.x.type.shape
        pairs = zip(reversed(shape), reversed(self.shape), strict=False)
        need(
            len(shape) <= len(self.shape)
            and all(n in (1, to) for n, to in pairs)
            and min(self.shape, default=0) >= 0,
            f"cannot spread {self.x.type} to the shape {list(self.shape)}",
            "dimensions are compared from the last one: each is equal, or 1, or new in front",
        )
        sized(math.prod(self.shape))
        return np.broadcast_to(_positions(self.x), self.shape)


@dataclass(frozen=True, eq=False, repr=False)
class Reshape(Layout):
    """The same elements in row-major order under another shape, which has as many; `shape=[]` makes a scalar."""

    keyword: ClassVar[str] = "reshape"
    stages: ClassVar = TENSOR
    x: Value
    shape: tuple[int, ...]

    def source(self) -> Index:
        need(
            all(n >= 0 for n in self.shape),
            f"has a negative length in shape {list(self.shape)}",
            "count it out",
        )
        size = math.prod(self.shape)
        need(
            size == self.x.type.size,
            f"cannot give {self.x.type} the shape {list(self.shape)}",
            f"it has {self.x.type.size} elements, and the shape {size}",
        )
        return _positions(self.x).reshape(self.shape)


@dataclass(frozen=True, eq=False, repr=False)
class Transpose(Layout):
    """The dimensions in another order: dimension i of the result is dimension `perm[i]` of the operand."""

    keyword: ClassVar[str] = "transpose"
    stages: ClassVar = TENSOR
    x: Value
    perm: tuple[int, ...]

    def source(self) -> Index:
        rank = len(self.x.type.shape)
        need(
            sorted(self.perm) == list(range(rank)),
            f"perm={list(self.perm)} does not order {rank} dimensions",
            f"name each once, such as perm={list(reversed(range(rank)))}",
        )
        return _positions(self.x).transpose(self.perm)


@dataclass(frozen=True, eq=False, repr=False)
class Concat(Layout):
    """Tensors one after the other along a dimension."""

    keyword: ClassVar[str] = "concat"
    stages: ClassVar = TENSOR
    parts: tuple[Value, ...]
    axis: int = 0

    def source(self) -> Index:
        need(bool(self.parts), "joins at least one tensor")
        sized(sum(v.type.size for v in self.parts))
        first = self.parts[0].type.shape
        axis = self.axis % len(first) if first and -len(first) <= self.axis < len(first) else None
        others = (
            [(*s[:axis], *s[axis + 1 :]) for s in (v.type.shape for v in self.parts)]
            if axis is not None
            else []
        )
        need(
            axis is not None
            and len(set(others)) == 1
            and all(len(v.type.shape) == len(first) for v in self.parts),
            f"cannot join {', '.join(str(v.type) for v in self.parts)} along axis {self.axis}",
            "what is joined agrees in all other dimensions; scalars become tensors by broadcast to [1]",
        )
        starts = np.cumsum([0, *(v.type.size for v in self.parts)])
        pieces = [_positions(v) + s for v, s in zip(self.parts, starts, strict=False)]
        return np.concatenate(pieces, axis=axis)


@dataclass(frozen=True, eq=False, repr=False)
class SliceOp(Layout):
    """A part of a tensor: from `start` up to but excluding `stop`, every `step`-th, for each dimension.

    `0 <= start <= stop <= length`; steps are 1 or more, and 1 where none are given.
    """

    keyword: ClassVar[str] = "slice"
    stages: ClassVar = TENSOR
    x: Value
    start: tuple[int, ...]
    stop: tuple[int, ...]
    step: tuple[int, ...] = ()

    def source(self) -> Index:
        shape = self.x.type.shape
        steps = self.step or (1,) * len(shape)
        need(
            len(self.start) == len(self.stop) == len(steps) == len(shape),
            f"needs a start and a stop for each of {len(shape)} dimensions of {self.x.type}",
        )
        for n, a, b, s in zip(shape, self.start, self.stop, steps, strict=True):
            need(
                0 <= a <= b <= n and s > 0,
                f"takes {a}:{b}:{s} of a dimension of length {n}",
                "start and stop count from 0 and do not pass the length; the step is 1 or more",
            )
        return _positions(self.x)[tuple(map(slice, self.start, self.stop, steps))]


@dataclass(frozen=True, eq=False, repr=False)
class Gather(Layout):
    """The slices at constant indices, counted from 0, along a dimension, in the order of the indices."""

    keyword: ClassVar[str] = "gather"
    stages: ClassVar = TENSOR
    x: Value
    indices: tuple[int, ...]
    axis: int = 0

    def source(self) -> Index:
        shape = self.x.type.shape
        need(
            bool(shape) and -len(shape) <= self.axis < len(shape), f"has no axis {self.axis} in {self.x.type}"
        )
        length = shape[self.axis]
        bad = [i for i in self.indices if not 0 <= i < length]
        need(not bad, f"takes index {bad[:1]} of a dimension of length {length}", "indices count from 0")
        sized(self.x.type.size // max(length, 1) * len(self.indices))
        return np.take(_positions(self.x), self.indices, axis=self.axis)


@dataclass(frozen=True, eq=False, repr=False)
class Pad(Layout):
    """The tensor with zeros before and after it in each dimension. The zeros take no bits."""

    keyword: ClassVar[str] = "pad"
    stages: ClassVar = TENSOR
    x: Value
    before: tuple[int, ...]
    after: tuple[int, ...]

    def source(self) -> Index:
        rank = len(self.x.type.shape)
        need(
            len(self.before) == len(self.after) == rank and min((*self.before, *self.after), default=0) >= 0,
            f"needs counts from 0 up, before and after each of {rank} dimensions",
        )
        sides = zip(self.before, self.x.type.shape, self.after, strict=True)
        sized(math.prod(a + n + z for a, n, z in sides))
        widths = np.array([self.before, self.after], dtype=np.int64).T
        return np.pad(_positions(self.x), widths, constant_values=-1) if rank else _positions(self.x)


@dataclass(frozen=True, eq=False, repr=False)
class Element(Layout):
    """One element of a tensor as a scalar, by its row-major position; a scalar has one, at 0."""

    keyword: ClassVar[str] = "element"
    x: Value
    at: int

    def source(self) -> Index:
        return np.array(self.at)

    def infer(self) -> Type:
        """That of the element."""
        if not 0 <= self.at < self.x.type.size:
            raise OpMistake(f"takes element {self.at} of {self.x.type}")
        return scalar(self.x.type.formats[self.at])

    def bounds(self, *operands: Bounds) -> Bounds:
        """As those of any layout, without laying out the whole bundle for one element."""
        ends = []
        for end in operands[0]:
            ends.append(
                end if isinstance(end, int) else int(np.broadcast_to(end, self.x.type.shape).flat[self.at])
            )
        return ends[0], ends[1]

    def rtl(self, build: ModuleBuilder, *operands: Net) -> Net:
        return circuits.unbundle(build, operands[0], self.x.type, self.at)


@dataclass(frozen=True, eq=False, repr=False)
class Pack(Layout):
    """Scalars as the elements of a tensor, in row-major order; of `shape=[]`, a scalar."""

    keyword: ClassVar[str] = "pack"
    strict: ClassVar[bool] = True  # a port or an argument has its formats given
    parts: tuple[Value, ...]
    shape: tuple[int, ...]

    def source(self) -> Index:
        for v in self.parts:
            if v.type.shape:
                raise OpMistake(f"bundles scalars, not {v.type}")
        need(
            all(n >= 0 for n in self.shape) and math.prod(self.shape) == len(self.parts),
            f"cannot give {len(self.parts)} scalars the shape {list(self.shape)}",
            "name as many values as the shape has elements",
        )
        return np.arange(len(self.parts)).reshape(self.shape)

    def rtl(self, build: ModuleBuilder, *operands: Net) -> Net:
        return circuits.bundle(build, operands, self.type) if self.shape else operands[0]
