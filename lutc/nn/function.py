"""A function of one number between two quantisers: one truth table for all elements."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from .layers import Options
from .lut import ACTIVATIONS, table_luts
from .quantizer import Layer, Quantizer

LEAST = 2.0**-16
_LARGEST = 80.0  # exp of it is finite in float32
_MAX_KEY_BITS = 16

FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    **ACTIVATIONS,
    **{
        name: getattr(F, name)
        for name in (
            "celu",
            "elu",
            "hardsigmoid",
            "hardswish",
            "hardtanh",
            "leaky_relu",
            "logsigmoid",
            "mish",
            "selu",
            "softplus",
        )
    },
    "threshold": lambda x, threshold=0.0, value=0.0: F.threshold(x, threshold, value),
    "abs": torch.abs,
    "cos": torch.cos,
    "erf": torch.erf,
    "square": torch.square,
    "rsqrt": lambda x, eps=LEAST: torch.rsqrt(torch.clamp(x, min=0) + eps),
    "exp": lambda x: torch.exp(torch.clamp(x, max=_LARGEST)),
    "reciprocal": lambda x: 1 / torch.clamp(x, min=LEAST),
}


class QFunction(Layer):
    """``Q_out(f(scale * Q_in(x)))``, element by element: in hardware one truth table, read at every element.

    - `function`: name in `FUNCTIONS`; "exp" does not grow beyond exp(80), "reciprocal" of what is below 2**-16
      is 2**16, and "rsqrt" is ``(max(x, 0) + eps)**-0.5`` with an ``eps`` of 2**-16 by default.
    - `parameters`: what else the function takes, by the names it has in `torch.nn.functional`, as in
      ``QFunction("leaky_relu", parameters={"negative_slope": 0.1})``.
    - `scale`: factor of the quantised input; part of the table, hence free.
    - `data`: options of the input quantiser (`Quantizer`, of one format); ``max_bits`` is 10 by default, 16 at most.
    - `table`: options of the output quantiser, also of one format; by default it saturates.

    In evaluation the layer is its table: exact fixed-point arithmetic, without gradient, in the input's type.

    Raises ValueError for an unknown function or parameter, for quantisers with more than one format or wider keys,
    and in evaluation for an input that is no number.
    """

    def __init__(
        self,
        function: str,
        *,
        scale: float = 1.0,
        data: Options | None = None,
        table: Options | None = None,
        parameters: Options | None = None,
    ) -> None:
        super().__init__()
        if function not in FUNCTIONS:
            raise ValueError(f"function {function!r} is not one of {', '.join(FUNCTIONS)}")
        self.function, self.scale, self.options = function, scale, dict(parameters or {})
        try:
            self.value(torch.zeros(1))
        except TypeError as e:
            raise ValueError(f"{function!r} does not take {list(self.options)}: {e}") from None
        self.input_quantizer = Quantizer(**{"max_bits": 10, **(data or {})})
        self.table_quantizer = Quantizer(**{"overflow": "saturate", **(table or {})})
        if self.input_quantizer.shape or self.table_quantizer.shape:
            raise ValueError("a table for all elements has one format for its keys and one for its values")
        if self.input_quantizer.max_bits > _MAX_KEY_BITS:
            raise ValueError(f"max_bits of the keys is {_MAX_KEY_BITS} at most")
        self.positions = 1  # elements in a sample

    def value(self, x: Tensor) -> Tensor:
        """The function itself, of numbers that nothing quantises."""
        return FUNCTIONS[self.function](x * self.scale, **self.options)

    def forward(self, x: Tensor) -> Tensor:
        self.positions = math.prod(x.shape[1:])
        if self.training or self.input_quantizer.tracing:
            y: Tensor = self.table_quantizer(self.value(self.input_quantizer(x)))
            return y
        if not torch.isfinite(x).all():
            raise ValueError("an input of a table is not finite")
        keys, values = self.table()
        step = torch.exp2(self.input_quantizer.formats().frac.to(keys))
        code = torch.round(self.input_quantizer.exact(x.double()) * step).long()
        return values[code - int((keys[0] * step).item())].to(x.dtype)

    @torch.no_grad()
    def table(self) -> tuple[Tensor, Tensor]:
        """All keys, ascending from the lowest code, and their values (float64, [2**width])."""
        f = self.input_quantizer.formats()
        width, signed = int(f.width), int(f.signed)
        codes = torch.arange(1 << width, dtype=torch.float64, device=f.width.device)
        keys = (codes - (signed << width >> 1)) * torch.exp2(-f.frac.double())
        return keys, self.table_quantizer.exact(self.value(keys))

    def resources(self) -> Tensor:
        """LUTs of one table at every element of the last input, as `LUTDense.resources` counts them, and rounding."""
        m, n = self.input_quantizer.bits().width, self.table_quantizer.bits().width
        return table_luts(m, n).sum() * self.positions + self.input_quantizer.resources()

    def resource_bits(self) -> tuple[Tensor, Tensor]:
        """Widths of keys and values."""
        return self.input_quantizer.formats().width, self.table_quantizer.formats().width

    def extra_repr(self) -> str:
        more = "".join(f", {name}={value}" for name, value in self.options.items())
        return f"{self.function}, scale={self.scale}{more}"
