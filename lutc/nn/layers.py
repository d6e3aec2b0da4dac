"""Conventional quantised layers: they train with straight-through gradients and evaluate in exact fixed point.

In evaluation every layer computes in float64 and returns its input's type, so a result is exact while it has up to
53 bits (24 if the input is float32).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lutc.lowering.windows import Window

from .costs import Item, Products, Seen, constants, rounding, total
from .quantizer import Array, Layer, Quantizer

Options = dict[str, Any]
_WEIGHT = {"integer": 0, "fraction": 6, "decay": math.inf}  # of a weight, the range is what it needs now


class _Affine(Layer):
    """Quantised input, weights and bias; what a linear layer and a convolution share."""

    def __init__(
        self,
        weight_shape: tuple[int, ...],
        bits_shape: tuple[int, ...],
        bias: bool,
        data: Options | None,
        weights: Options | None,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(weight_shape))
        self.bias = nn.Parameter(torch.zeros(weight_shape[0])) if bias else None
        self.input_quantizer = Quantizer(**{"shape": bits_shape, **(data or {})})
        options = {"shape": weight_shape, **_WEIGHT, **(weights or {})}
        self.weight_quantizer = Quantizer(**options)
        self.bias_quantizer = Quantizer(**(options | {"shape": weight_shape[:1]})) if bias else None
        self.positions = 1
        self._pairs: tuple[Any, int, Array, Array] | None = None  # formats of weights and of their data
        self._draw()

    def _draw(self) -> None:
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))

    def quantised(self) -> tuple[Tensor, Tensor | None]:
        """Weight and bias as hardware has them (float64 in evaluation)."""
        weight: Tensor = self.weight
        bias: Tensor | None = self.bias
        if not self.training:
            weight, bias = weight.double(), None if bias is None else bias.double()
        return self.weight_quantizer.constant(weight), (
            None if self.bias_quantizer is None or bias is None else self.bias_quantizer.constant(bias)
        )

    def _apply_to(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        wide = x if self.training else x.double()
        return self._apply_to(self.input_quantizer(wide), *self.quantised()).to(x.dtype)

    def costs(self) -> list[Item]:
        """EBOPs (HGQ, arXiv 2405.00645): the products of weight and input widths, at every position.

        To that come the biases, a LUT per bit, and the rounding of the input.
        """
        data, weights = self.input_quantizer, self.weight_quantizer
        if self._pairs is None or self._pairs[0] != (data.shape, weights.shape):
            of_data, of_weights = (torch.arange(math.prod(q.shape)).reshape(q.shape) for q in (data, weights))
            index = self._at_weights(of_data)  # [positions with formats of their own, *weights]
            both = index, of_weights.expand(self.weight.shape).expand_as(index)
            at = [v.flatten().numpy().astype(np.uint32) for v in both]
            self._pairs = (data.shape, weights.shape), len(index), at[0], at[1]
        _, positions, data_at, weight_at = self._pairs
        found: list[Item] = [Products(data, weights, data_at, weight_at, self.positions / positions)]
        if self.bias_quantizer is not None:
            found.append(constants(self.bias_quantizer, self.positions * len(self.weight)))
        return [*found, rounding(data)]

    def resources(self) -> Tensor:
        """LUTs of the layer: see `costs`."""
        return total(self.costs())

    def _at_weights(self, index: Tensor) -> Tensor:
        """The format of what every weight multiplies, [positions with formats of their own, *weights]."""
        raise NotImplementedError

    def resource_bits(self) -> tuple[Tensor, Tensor]:
        """Widths of inputs and of weights."""
        return self.input_quantizer.formats().width, self.weight_quantizer.formats().width


class QLinear(_Affine):
    """``y = Q(x) Q(W)^T + Q(b)`` on [..., n_in].

    ``data`` and ``weights`` are options of the quantisers (`Quantizer`): by default one format per input element,
    which follows its range, and one per weight.

    Examples
    --------
    >>> import torch
    >>> from lutc import nn
    >>> layer = nn.QLinear(16, 5, weights={"fraction": 4, "overflow": "saturate"})
    >>> layer(torch.rand(8, 16)).shape
    torch.Size([8, 5])
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        bias: bool = True,
        *,
        data: Options | None = None,
        weights: Options | None = None,
    ) -> None:
        super().__init__((n_out, n_in), (n_in,), bias, data, weights)
        self.n_in, self.n_out = n_in, n_out

    def _apply_to(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        self.positions = math.prod(x.shape[1:-1])
        return F.linear(x, weight, bias)

    def _at_weights(self, index: Tensor) -> Tensor:
        lead = index.shape[:-1]
        return index.expand(*lead, self.n_in).reshape(-1, 1, self.n_in).expand(-1, self.n_out, -1)


Size = int | tuple[int, ...]  # of all dimensions, or of each


class _Windowed:
    """What convolutions have: windows over ``dims`` dimensions, of groups of channels."""

    dims = 0

    def windowed(
        self,
        channels: int,
        filters: int,
        groups: int,
        kernel: Size,
        stride: Size,
        padding: Size,
        dilation: Size,
    ) -> None:
        """Keep the options. Raises ValueError for those that do not fit together."""
        if channels % groups or filters % groups:
            raise ValueError(f"{groups} groups do not divide {channels} channels and {filters} filters")
        self.channels, self.filters, self.groups = channels, filters, groups
        self.kernel, self.stride, self.padding, self.dilation = (
            tuple_of(v, self.dims) for v in (kernel, stride, padding, dilation)
        )

    @property
    def window(self) -> Window:
        """How the window moves."""
        return Window(self.kernel, self.stride, self.dilation, self.padding, self.padding)


class _Conv(_Windowed, _Affine):
    """A quantised convolution; subclasses say over how many dimensions."""

    def __init__(
        self,
        channels: int,
        filters: int,
        kernel: Size,
        *,
        stride: Size = 1,
        padding: Size = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        data: Options | None = None,
        weights: Options | None = None,
    ) -> None:
        self.windowed(channels, filters, groups, kernel, stride, padding, dilation)
        shape = (filters, channels // groups, *self.kernel)
        super().__init__(shape, (channels, *[1] * self.dims), bias, data, weights)

    def _apply_to(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        conv: Any = (F.conv1d, F.conv2d, F.conv3d)[self.dims - 1]
        y: Tensor = conv(x, weight, bias, self.stride, self.padding, self.dilation, self.groups)
        self.positions = math.prod(y.shape[2:])
        return y

    def _at_weights(self, index: Tensor) -> Tensor:
        size = index.shape[1:]
        places = index.expand(self.channels, *size).reshape(self.channels, -1).t()
        parts = places.reshape(len(places), self.groups, 1, self.channels // self.groups)
        rows = parts.expand(-1, -1, self.filters // self.groups, -1).flatten(1, 2)
        return rows.reshape(*rows.shape, *[1] * self.dims).expand(*rows.shape, *self.kernel)


class QConv1d(_Conv):
    """A quantised convolution on [B, channels, length]; formats per channel and per weight by default."""

    dims = 1


class QConv2d(_Conv):
    """A quantised convolution on [B, channels, height, width]; formats per channel and per weight by default."""

    dims = 2


class QConv3d(_Conv):
    """A quantised convolution on [B, channels, depth, height, width]; formats per channel and per weight by default."""

    dims = 3


class QReLU(Layer):
    """``Q(max(x, 0))``, with options of `Quantizer`."""

    def __init__(self, shape: tuple[int, ...] = (), **options: Any) -> None:
        super().__init__()
        self.quantizer = Quantizer(shape, **{"signed": False, **options})

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.quantizer(torch.relu(x))
        return y

    def costs(self) -> list[Item]:
        """Rounding, and limiting the range, which the ReLU is a part of."""
        return [rounding(self.quantizer)]

    def resources(self) -> Tensor:
        """LUTs of the layer: see `costs`."""
        return total(self.costs())

    def resource_bits(self) -> tuple[Tensor, Tensor]:
        """The quantiser's widths, twice."""
        return self.quantizer.resource_bits()


class QBatchNorm(Layer):
    """Batch norm as hardware has it: ``Q(gain) * x + Q(shift)`` per channel.

    ``axis`` is that of the channels, the batch being axis 0: 1 as in torch, or -1 for [B, ..., features].

    In training gain and shift come from the batch's statistics, in evaluation from the running ones, and both pass
    through quantisers whose range is what they need. If not ``affine``, nothing is learned: gamma is 1 and beta 0.
    """

    gamma: Tensor
    beta: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(
        self,
        channels: int,
        *,
        momentum: float = 0.1,
        eps: float = 1e-5,
        affine: bool = True,
        weights: Options | None = None,
        axis: int = 1,
    ) -> None:
        super().__init__()
        if axis == 0:
            raise ValueError("axis 0 is the batch")
        self.axis = axis
        options = {"shape": (channels,), **_WEIGHT, **(weights or {})}
        self.momentum, self.eps = momentum, eps
        for name, value in (("gamma", torch.ones(channels)), ("beta", torch.zeros(channels))):
            if affine:
                self.register_parameter(name, nn.Parameter(value))
            else:
                self.register_buffer(name, value)
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.gain_quantizer, self.shift_quantizer = Quantizer(**options), Quantizer(**options)
        self.seen = Seen()

    def costs(self) -> list[Item]:
        """Products of the gains with what was seen last, and the shifts' bits."""
        elements, width = self.seen.elements, self.seen.width
        return [constants(self.gain_quantizer, elements * width), constants(self.shift_quantizer, elements)]

    def resources(self) -> Tensor:
        """LUTs of the layer: see `costs`; 0 before any data are seen."""
        return total(self.costs())

    def resource_bits(self) -> tuple[Tensor, Tensor]:
        """Widths of gains and shifts."""
        return self.gain_quantizer.formats().width, self.shift_quantizer.formats().width

    def quantised(self, mean: Tensor, var: Tensor) -> tuple[Tensor, Tensor]:
        """Gain and shift as hardware has them."""
        gamma, beta = (self.gamma, self.beta) if self.training else (self.gamma.double(), self.beta.double())
        gain = gamma * torch.rsqrt(var + self.eps)
        return self.gain_quantizer.constant(gain), self.shift_quantizer.constant(beta - mean * gain)

    def along(self, rank: int) -> list[int]:
        """The shape that spreads channels over data of ``rank`` axes, the batch's included."""
        axis = self.axis % rank
        return [-1 if a == axis else 1 for a in range(rank)]

    def exact(self) -> tuple[Tensor, Tensor]:
        """Gain and shift of evaluation, float64."""
        return self.quantised(self.running_mean.double(), self.running_var.double())

    def forward(self, x: Tensor) -> Tensor:
        shape = self.along(x.dim())
        self.seen.keep(x)
        if not self.training:
            gain, shift = self.exact()
            return (x.double() * gain.view(shape) + shift.view(shape)).to(x.dtype)
        axes = [a for a, n in enumerate(shape) if n == 1]
        kind = self.running_mean.dtype  # what comes from layers in evaluation is float64
        mean, var = x.mean(axes).to(kind), x.var(axes, unbiased=False).to(kind)
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(var, self.momentum)
        gain, shift = self.quantised(mean, var)
        return x * gain.view(shape) + shift.view(shape)


class Adders(Layer):
    """A layer of adders, or of what costs as much: so many for an element of what it gives, as wide as that."""

    def __init__(self) -> None:
        super().__init__()
        self.seen, self.adders = Seen(), 0.0  # LUTs of a bit of the result

    def counted(self, y: Tensor, adders: float) -> Tensor:
        """``y``, and ``adders`` of them by element of it."""
        self.seen.keep(y)
        self.adders = adders
        return y

    def resources(self) -> Tensor:
        """A LUT for every bit that is added; the width is that of a few samples (`lutc.nn.costs.Seen`)."""
        return torch.tensor(float(self.seen.width * self.seen.elements * self.adders))

    def resource_bits(self) -> tuple[Tensor, Tensor]:
        """The width of what it gives, twice."""
        width = torch.tensor(self.seen.width)
        return width, width


class QAdd(Adders):
    """The sum of branches that read the same input; ``QAdd(nn.Identity(), block)`` is a residual connection."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        if not branches:
            raise ValueError(f"{type(self).__name__} needs branches")
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        first, *rest = (branch(x) for branch in self.branches)
        for y in rest:
            first = first + y
        return self.counted(first, len(rest))


class QConcat(Layer):
    """The outputs of branches that read the same input, one after the other along ``dim`` (the batch is axis 0)."""

    def __init__(self, *branches: nn.Module, dim: int = 1) -> None:
        super().__init__()
        if not branches or dim == 0:
            raise ValueError("QConcat needs branches, and an axis that is not the batch's")
        self.branches, self.dim = nn.ModuleList(branches), dim

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], self.dim)


class Sum(Adders):
    """The sum over ``dim`` (the batch is axis 0): aggregation over particles or positions, exact."""

    def __init__(self, dim: int = 1) -> None:
        super().__init__()
        if dim == 0:
            raise ValueError("axis 0 is the batch")
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        return self.counted(x.sum(self.dim), x.shape[self.dim] - 1)


def tuple_of(v: int | tuple[int, ...], n: int) -> tuple[int, ...]:
    """An option of a convolution for each of its ``n`` dimensions. Raises ValueError for another number."""
    values = (v,) * n if isinstance(v, int) else tuple(v)
    if len(values) != n:
        raise ValueError(f"{v} gives {len(values)} numbers for {n} dimensions")
    return values
