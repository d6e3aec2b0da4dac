"""Products, greatest and least of values, element by element: of a graph's layers, or of branches of one input."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import ClassVar

import torch
from torch import Tensor, nn

from .layers import Adders


class _Elementwise(Adders):
    """What joins values that broadcast to one shape, two at a time."""

    pair: ClassVar[Callable[[Tensor, Tensor], Tensor]]
    each: ClassVar[int]  # LUTs by bit of the result

    def joined(self, *values: Tensor) -> Tensor:
        """All values, joined from the left."""
        return self.counted(reduce(type(self).pair, values), self.each * (len(values) - 1))


class Maximum(_Elementwise):
    """The greater of two values that broadcast to one shape, element by element, in a `Graph`."""

    pair, each = torch.maximum, 2  # a comparison and a choice

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.joined(x, y)


class Minimum(_Elementwise):
    """The lesser of two values that broadcast to one shape, element by element, in a `Graph`."""

    pair, each = torch.minimum, 2

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.joined(x, y)


class Multiply(_Elementwise):
    """The exact product of two values that broadcast to one shape, element by element, in a `Graph`.

    What is multiplied is quantised before: the product is as wide as its factors together. The resources (EBOPs)
    take either factor to be half as wide as the product.
    """

    pair, each = torch.mul, 1

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.joined(x, y)

    def resources(self) -> Tensor:
        """EBOPs of all elements."""
        return super().resources() * self.seen.width / 4


class _Branches(_Elementwise):
    """Branches that read the same input, joined from the left."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        if len(branches) < 2:
            raise ValueError(f"{type(self).__name__} needs two branches or more")
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        return self.joined(*(branch(x) for branch in self.branches))


class QMaximum(_Branches, Maximum):
    """The greatest of what branches give for one input, element by element.

    Examples
    --------
    >>> import torch
    >>> from lutc import nn
    >>> layer = nn.QMaximum(nn.Quantizer(fraction=1), nn.QLinear(4, 4))
    >>> layer(torch.rand(8, 4)).shape
    torch.Size([8, 4])
    """

    forward = _Branches.forward  # type: ignore[assignment]


class QMinimum(_Branches, Minimum):
    """The least of what branches give for one input, element by element."""

    forward = _Branches.forward  # type: ignore[assignment]


class QMultiply(_Branches, Multiply):
    """The exact product of what branches give for one input, element by element; each branch ends in a quantiser."""

    forward = _Branches.forward  # type: ignore[assignment]
