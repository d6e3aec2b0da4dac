"""Layers with a kernel and perhaps a bias, with and without HGQ2's quantisers. `sums` says how they meet the input."""

from __future__ import annotations

import numpy as np

from lutc.ir.graph import Value
from lutc.lowering.constants import common_codes
from lutc.lowering.dtypes import FLOAT32_BITS, is_float32
from lutc.lowering.refusals import Refusal
from lutc.types import holding

from .base import HgqRule, Rule, activate, activation
from .functional import Layer
from .quantizers import Quantizer, Real
from .unary import Reals
from .values import Lowering, Tensor


class Weighted(Rule):
    """A layer of Keras, whose weights must be few bits wide for float32 to be exact."""

    def __init__(self, layer: Layer) -> None:
        super().__init__(layer)
        self.activation = activation(self.config.get("activation"))
        self.vars: dict[str, Real] = self.own("kernel", *(["bias"] if self.has_bias else []))
        self.check_kernel(self.vars["kernel"])

    def check_kernel(self, kernel: Real) -> None:
        """Raise Refusal unless the kernel has the shape that the options state."""

    def sums(self, low: Lowering, x: Tensor, kernel: Reals, bias: Reals | None, relu: bool) -> Tensor:
        """The products of kernel and input, added up with the bias; then perhaps relu."""
        raise NotImplementedError(type(self).__name__)

    def lower(self, low: Lowering, x: Tensor) -> Tensor:
        """The layer's result: sums, then the activation."""
        kernel, *bias = (self.vars[n].astype(np.float64) for n in ("kernel", "bias") if n in self.vars)
        y = self.sums(low, x, kernel, bias[0] if bias else None, self.activation == "relu")
        check_plain(kernel, y.value, "kernel")
        return finish(low, y, self.activation)


class QWeighted(Weighted, HgqRule):
    """A layer of HGQ2: input quantiser, quantised kernel and bias, activation, output quantiser."""

    def __init__(self, layer: Layer) -> None:
        super().__init__(layer)
        self.kq = self.quantizer("kq")
        self.bq: Quantizer | None = self.quantizer("bq") if self.has_bias else None

    def parameters(self) -> tuple[Real, Real | None]:
        """Kernel and bias before their quantisers."""
        return self.vars["kernel"], self.vars.get("bias")

    def lower(self, low: Lowering, x: Tensor) -> Tensor:
        """The layer's result; sums that float32 may round are noted."""
        x = self.take(low, x)
        kernel, bias = self.parameters()
        k = low.weights(self.kq, kernel)
        b = low.weights(self.bq, bias) if self.bq is not None and bias is not None else None
        y = self.sums(low, x, k, b, self.activation == "relu")
        low.note_wide(y.value)
        return low.quantize(finish(low, y, self.activation), self.oq)


def finish(low: Lowering, y: Tensor, name: str) -> Tensor:
    """The activation after sums that have already done their relu."""
    return y if name == "relu" else activate(low, y, name)


def check_plain(kernel: Reals, y: Value, what: str) -> None:
    """Refuse a layer without quantisers whose float32 sums could round, and so differ from exact arithmetic."""
    if is_float32(y.type):
        return
    codes, _ = common_codes(kernel.ravel().tolist())
    bits = holding(min([0, *codes]), max([0, *codes]), 0).width
    said = (
        f"needs {bits} bits"
        if bits <= FLOAT32_BITS
        else f"is not quantised: its numbers take {bits} bits together"
    )
    raise Refusal(
        f"its {what} {said}, and float32 rounds sums of more than {FLOAT32_BITS} bits",
        "use the HGQ2 layer (QDense for Dense, QConv2D for Conv2D), or round the weights to a few bits before saving",
    )
