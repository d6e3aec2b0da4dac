"""Layers that read one another in any order, and the layers between them that move, add and join tensors."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .costs import Item, Seen, constants, total
from .layers import _WEIGHT, Adders, Options
from .quantizer import Layer, Quantizer

INPUT = "x"  # the name by which layers read the input of the whole

# What moves elements of a tensor [batch, ...], by name; axes count the batch as 0.
MOVEMENTS: dict[str, Callable[..., Tensor]] = {
    "flip": lambda x, *axes: x.flip(axes),
    "pad": lambda x, *ends: F.pad(x, ends),
    "permute": lambda x, *axes: x.permute(axes),
    "pixel_shuffle": F.pixel_shuffle,
    "repeat": lambda x, *counts: x.repeat(1, *counts),
    "reshape": lambda x, *shape: x.reshape(len(x), *shape),
    "roll": torch.roll,
    "select": lambda x, axis, index: x.select(axis, index),
    "slice": lambda x, axis, start, stop, step: x[(slice(None),) * axis + (slice(start, stop, step),)],
    "spread": lambda x, *shape: x.expand(len(x), *shape),
    "upsample": lambda x, *factors: _upsampled(x, factors),
}


def _upsampled(x: Tensor, factors: Sequence[int]) -> Tensor:
    for axis, factor in enumerate(factors, 2):
        x = x.repeat_interleave(factor, axis)
    return x


class Move(Layer):
    """A movement of elements, which costs nothing in hardware.

    `kind` is a name in `MOVEMENTS`, and `numbers` are what it takes: the shape without the batch for "reshape" and
    "spread", all axes for "permute", (axis, start, stop, step) for "slice", (axis, index) for "select", the number of
    zeros at every end (as `torch.nn.functional.pad` counts them) for "pad", factors of the axes from 2 on for
    "upsample", and so on. Raises ValueError for another name.
    """

    def __init__(self, kind: str, *numbers: int) -> None:
        super().__init__()
        if kind not in MOVEMENTS:
            raise ValueError(f"movement {kind!r} is not one of {', '.join(MOVEMENTS)}")
        self.kind, self.numbers = kind, tuple(numbers)

    def forward(self, x: Tensor) -> Tensor:
        return MOVEMENTS[self.kind](x, *self.numbers)

    def extra_repr(self) -> str:
        return ", ".join(map(str, (self.kind, *self.numbers)))


class Add(Adders):
    """The exact sum of two values that broadcast to one shape; their difference if ``subtract``."""

    def __init__(self, subtract: bool = False) -> None:
        super().__init__()
        self.subtract = subtract

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.counted(x - y if self.subtract else x + y, 1)

    def extra_repr(self) -> str:
        return "subtract=True" if self.subtract else ""


class Concat(Layer):
    """Values one after the other along ``dim`` (the batch is axis 0)."""

    def __init__(self, dim: int = 1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, *parts: Tensor) -> Tensor:
        return torch.cat(parts, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class QAffine(Layer):
    """``x * Q(gain) + Q(shift)`` with trained constants of shapes that broadcast to that of x; either may be None.

    ``weights`` are options of their quantisers (`Quantizer`), whose range is what they need. If not ``trained``, the
    constants stay as they are.
    """

    def __init__(
        self,
        gain: Sequence[int] | None,
        shift: Sequence[int] | None,
        *,
        trained: bool = True,
        weights: Options | None = None,
    ) -> None:
        super().__init__()
        self.names = tuple(n for n, s in (("gain", gain), ("shift", shift)) if s is not None)
        self.seen = Seen()
        for name, shape in (("gain", gain), ("shift", shift)):
            if shape is not None:
                value = torch.ones(tuple(shape)) if name == "gain" else torch.zeros(tuple(shape))
                if trained:
                    self.register_parameter(name, nn.Parameter(value))
                else:
                    self.register_buffer(name, value)
                options = {"shape": tuple(shape), **_WEIGHT, **(weights or {})}
                self.add_module(f"{name}_quantizer", Quantizer(**options))

    def costs(self) -> list[Item]:
        """Products of the gains with what was seen last, and the shifts' bits."""
        times = {"gain": self.seen.elements * self.seen.width, "shift": self.seen.elements}
        return [constants(getattr(self, f"{name}_quantizer"), times[name]) for name in self.names]

    def resources(self) -> Tensor:
        """LUTs of the layer: see `costs`; 0 before any data are seen."""
        return total(self.costs())

    def resource_bits(self) -> tuple[Tensor, Tensor]:
        """Widths of the first and of the last constant."""
        first, last = (getattr(self, f"{self.names[k]}_quantizer") for k in (0, -1))
        return first.formats().width, last.formats().width

    def quantised(self, name: str) -> Tensor | None:
        """``gain`` or ``shift`` as hardware has it (float64 in evaluation); None if there is none."""
        if name not in self.names:
            return None
        value: Tensor = getattr(self, name)
        quantizer: Any = getattr(self, f"{name}_quantizer")
        made: Tensor = quantizer.constant(value if self.training else value.double())
        return made

    def forward(self, x: Tensor) -> Tensor:
        self.seen.keep(x)
        y = x if self.training else x.double()
        gain, shift = self.quantised("gain"), self.quantised("shift")
        y = y if gain is None else y * gain
        y = y if shift is None else y + shift
        return y.to(x.dtype)

    def extra_repr(self) -> str:
        return ", ".join(f"{n}={list(getattr(self, n).shape)}" for n in self.names)


class QMean(Adders):
    """``Q(mean)`` over ``dims`` (the batch is axis 0): the mean is exact, and is rounded once.

    ``shape`` and ``options`` are those of the `Quantizer` behind it. Raises ValueError for the batch's axis.
    """

    def __init__(
        self, dims: Sequence[int], keepdim: bool = False, *, shape: tuple[int, ...] = (), **options: Any
    ) -> None:
        super().__init__()
        if not dims or min(dims) < 1:
            raise ValueError("QMean needs axes from 1 on: axis 0 is the batch")
        self.dims, self.keepdim = tuple(dims), keepdim
        self.quantizer = Quantizer(shape, **options)

    def forward(self, x: Tensor) -> Tensor:
        wide = x if self.training else x.double()
        # as in average pooling: the quotient of an exact sum lies on a tie only if the mean does
        count = math.prod(x.shape[d] for d in self.dims)
        mean = self.counted(wide.sum(self.dims, keepdim=self.keepdim), count - 1) / count
        y: Tensor = self.quantizer(mean)
        return y.to(x.dtype)

    def resources(self) -> Tensor:
        """LUTs of the adders, and of rounding the mean."""
        return super().resources() + self.quantizer.resources()

    def extra_repr(self) -> str:
        return f"dims={self.dims}, keepdim={self.keepdim}"


class Kept(Layer):
    """A tensor that nothing reads, kept for whoever asks for the state: what a float model has and this one has not.

    It moves between devices with the model, and keeps its type.
    """

    value: Tensor

    def __init__(self, shape: Sequence[int], dtype: str) -> None:
        super().__init__()
        self.register_buffer("value", torch.zeros(tuple(shape), dtype=getattr(torch, dtype)))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Kept:
        own = self.value
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.value = own.to(self.value.device)
        return self


class Graph(Layer):
    """Layers that read one another, in the order in which they run; the last one's result is the model's.

    - `layers`: by name. One that stands under two names is built twice, with the same weights.
    - `reads`: the names that each reads, the input being "x". Layers that are not in it are kept and not run.
    - `shape`: the input's, without the batch, where it is known.
    - `floats`: for a model made by `lutc.nn.convert`, the entries of the float model's state_dict, each with the
      entries here that make it, one after the other, and with its shape.

    In evaluation the layers compute in float64, and the result has the input's type.

    Raises ValueError for a name that is not there, or that a module cannot give to a part.

    Examples
    --------
    >>> import torch
    >>> from lutc import nn
    >>> layers = {"first": nn.QLinear(4, 4), "second": nn.QLinear(4, 4), "add": nn.Add()}
    >>> model = nn.Graph(layers, {"first": ["x"], "second": ["first"], "add": ["second", "first"]})
    >>> model(torch.rand(8, 4)).shape
    torch.Size([8, 4])
    """

    def __init__(
        self,
        layers: Mapping[str, nn.Module],
        reads: Mapping[str, Sequence[str]],
        *,
        shape: Sequence[int] | None = None,
        floats: Mapping[str, tuple[Sequence[str], Sequence[int]]] | None = None,
    ) -> None:
        super().__init__()
        self.reads = {name: tuple(read) for name, read in reads.items()}
        self.shape = None if shape is None else tuple(shape)
        self.floats = None
        if floats is not None:
            self.floats = {name: (tuple(parts), tuple(size)) for name, (parts, size) in floats.items()}
        for name, layer in layers.items():
            if name == INPUT or not name.isidentifier() or hasattr(self, name):
                raise ValueError(f"a layer cannot be called {name!r}")
            self.add_module(name, layer)
        known = {INPUT}
        for name, read in self.reads.items():
            missing = [r for r in (*read, *([] if name in layers else [name])) if r not in known]
            if missing or not read:
                raise ValueError(f"{name!r} reads {missing or 'nothing'}, which no layer before it is")
            known.add(name)
        if not self.reads:
            raise ValueError("a graph needs layers that read something")

    @property
    def steps(self) -> list[tuple[str, nn.Module, tuple[str, ...]]]:
        """Name, layer, and what it reads, in order."""
        return [(name, getattr(self, name), read) for name, read in self.reads.items()]

    def forward(self, x: Tensor) -> Tensor:
        values = {INPUT: x if self.training else x.double()}
        last = INPUT
        for last, layer, read in self.steps:
            values[last] = layer(*(values[r] for r in read))
        return values[last].to(x.dtype)
