"""Average and maximum pooling."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from .layers import Adders, tuple_of
from .quantizer import Quantizer


class _AvgPool(Adders):
    """``Q(mean)`` over windows, without padding: the mean is exact, whatever their size, and is rounded once.

    ``shape`` and ``options`` are those of the `Quantizer` behind the mean: by default one format for the tensor.
    ``stride`` is the kernel's size by default. Raises ValueError for options that do not fit together.
    """

    dims = 0

    def __init__(
        self,
        kernel: int | tuple[int, ...],
        *,
        stride: int | tuple[int, ...] | None = None,
        shape: tuple[int, ...] = (),
        **options: Any,
    ) -> None:
        super().__init__()
        self.kernel = tuple_of(kernel, self.dims)
        self.stride = self.kernel if stride is None else tuple_of(stride, self.dims)
        if min(*self.kernel, *self.stride) < 1:
            raise ValueError(f"a window of {self.kernel} with steps of {self.stride}")
        self.quantizer = Quantizer(shape, **options)

    @property
    def count(self) -> int:
        """The number of elements in a window."""
        return math.prod(self.kernel)

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() != self.dims + 2:
            raise ValueError(f"expected [batch, channels{', size' * self.dims}], got {list(x.shape)}")
        wide = x if self.training else x.double()
        for axis, (k, s) in enumerate(zip(self.kernel, self.stride, strict=True), 2):
            wide = wide.unfold(axis, k, s)
        # The sum of fixed-point numbers is exact in evaluation, and the quotient lies on a tie only if the mean does.
        mean = self.counted(wide.sum(tuple(range(-self.dims, 0))), self.count - 1) / self.count
        y: Tensor = self.quantizer(mean)
        return y.to(x.dtype)

    def resources(self) -> Tensor:
        """LUTs of the adders, and of rounding the means."""
        return super().resources() + self.quantizer.resources()


class QAvgPool1d(_AvgPool):
    """Quantised means over windows of [B, channels, length]."""

    dims = 1


class QAvgPool2d(_AvgPool):
    """Quantised means over windows of [B, channels, height, width]."""

    dims = 2


class _MaxPool(Adders):
    """The greatest of every window, exact, without padding. ``stride`` is the kernel's size by default.

    As `torch.nn.MaxPool1d` and the like, which compile too; this one's comparisons count in the resources. Raises
    ValueError for options that do not fit together.
    """

    dims = 0

    def __init__(
        self,
        kernel: int | tuple[int, ...],
        *,
        stride: int | tuple[int, ...] | None = None,
        dilation: int | tuple[int, ...] = 1,
    ) -> None:
        super().__init__()
        self.kernel, self.dilation = tuple_of(kernel, self.dims), tuple_of(dilation, self.dims)
        self.stride = self.kernel if stride is None else tuple_of(stride, self.dims)
        if min(*self.kernel, *self.stride, *self.dilation) < 1:
            raise ValueError(f"a window of {self.kernel} with steps of {self.stride}")

    def forward(self, x: Tensor) -> Tensor:
        pool: Any = (F.max_pool1d, F.max_pool2d)[self.dims - 1]
        y: Tensor = pool(x, self.kernel, self.stride, 0, self.dilation)
        return self.counted(y, 2 * (math.prod(self.kernel) - 1))  # a comparison and a choice each

    def extra_repr(self) -> str:
        return f"{self.kernel}, stride={self.stride}, dilation={self.dilation}"


class QMaxPool1d(_MaxPool):
    """The greatest of windows of [B, channels, length]; comparisons count in the resources."""

    dims = 1


class QMaxPool2d(_MaxPool):
    """The greatest of windows of [B, channels, height, width]; comparisons count in the resources."""

    dims = 2
