"""Layers of several inputs, element by element or contracted, and sums over axes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from functools import reduce
from typing import Any, ClassVar

import numpy as np

from lutc.ir.graph import Value
from lutc.lowering import attention
from lutc.lowering.letters import terms
from lutc.lowering.refusals import Refusal
from lutc.lowering.unread import FREE

from .base import Demand, HgqLayer, HgqRule, Rule, axes_of
from .functional import Layer
from .quantizers import Quantizer, quantizer
from .values import Lowering, Tensor


def pairwise(low: Lowering, op: str, values: list[Value]) -> Value:
    """Fold an element-wise operation over values that broadcast."""

    def two(a: Value, b: Value) -> Value:
        a, b = low.pairs(a, b)
        result: Value = getattr(low.b, op)(a, b)
        return result

    return reduce(two, values)


class Merge(Rule):
    """Add, Subtract, Multiply, Maximum, Minimum and Average of Keras."""

    op: str
    mean = False

    def lower(self, low: Lowering, inputs: Any) -> Tensor:
        tensors = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
        return self.merged(low, tensors)

    def merged(self, low: Lowering, tensors: list[Tensor]) -> Tensor:
        y = Tensor(pairwise(low, self.op, [low.fixed(t) for t in tensors]))
        return low.affine(y, over=float(len(tensors))) if self.mean else y


class QMerge(HgqLayer):
    """HGQ2's merging layers: a quantiser for every input."""

    op: str
    neutral: ClassVar[Mapping[str, Any]] = {"iq_confs": FREE}  # without enable_iq

    def __init__(self, layer: Layer) -> None:
        super().__init__(layer)
        self.iqs: list[Quantizer] = []
        if self.config.get("enable_iq", True):
            confs = self.config.get("iq_confs")
            n = len(list(layer.weights("iq", "quantizers").below()))
            confs = list(confs) if isinstance(confs, list | tuple) else [confs] * n
            groups = ["quantizer" + (f"_{i}" if i else "") for i in range(len(confs))]
            self.iqs = [
                quantizer(c, layer.weights("iq", "quantizers", g), f"its iq {i}")
                for i, (c, g) in enumerate(zip(confs, groups, strict=True))
            ]

    def demands(self, *args: Any) -> list[Demand] | None:
        inputs = args[0]
        if not self.iqs:
            return None
        return [(q, x) for q, x in zip(self.iqs, inputs, strict=True) if isinstance(x, np.ndarray)]

    def lower(self, low: Lowering, inputs: Any) -> Tensor:
        tensors = list(inputs)
        if self.iqs:
            tensors = [low.quantize(t, q) for t, q in zip(tensors, self.iqs, strict=True)]
        return low.quantize(self.merged(low, tensors), self.oq)

    def merged(self, low: Lowering, tensors: list[Tensor]) -> Tensor:
        return Tensor(pairwise(low, self.op, [low.fixed(t) for t in tensors]))


class QAveragePow2(QMerge):
    """The sum divided by the power of two nearest to the number of inputs."""

    op = "add"

    def merged(self, low: Lowering, tensors: list[Tensor]) -> Tensor:
        y = super().merged(low, tensors)
        return Tensor(low.b.scale(low.fixed(y), by=Fraction(2) ** round(math.log2(1 / len(tensors)))))


def einsum(low: Lowering, equation: str, a: Tensor, b: Tensor) -> Tensor:
    """Two values contracted: leading axes shared, then a matrix product, then the axes in the order asked for."""
    x, y, out = terms(equation, len(a.shape) + 1)
    return Tensor(attention.einsum(low.b, x, y, out, low.fixed(a), low.fixed(b)))


class QEinsum(QMerge):
    """A contraction of two values."""

    op = "mul"

    def merged(self, low: Lowering, tensors: list[Tensor]) -> Tensor:
        if len(tensors) != 2:
            raise Refusal(f"it contracts {len(tensors)} inputs", "contract two at a time")
        return einsum(low, self.config["equation"], *tensors)


def dot(low: Lowering, axes: Any, a: Tensor, b: Tensor) -> Tensor:
    """Keras's Dot: one axis of each contracted."""
    i, j = (axes, axes) if isinstance(axes, int) else axes
    (i,), (j,) = axes_of(i, len(a.shape)), axes_of(j, len(b.shape))
    x = "abcdefgh"[: len(a.shape)]
    y = "ijklmnop"[: len(b.shape)]
    y = y[:j] + x[i] + y[j + 1 :]
    out = x.replace(x[i], "") + y.replace(x[i], "")
    z = einsum(low, f"z{x},z{y}->z{out}", a, b)
    return z if z.shape else Tensor(low.reshape(z.value, (1,)))


class QDot(QMerge):
    """QDot."""

    neutral: ClassVar[Mapping[str, Any]] = {"normalize": False}

    op = "mul"

    def merged(self, low: Lowering, tensors: list[Tensor]) -> Tensor:
        return dot(low, self.config.get("axes", -1), *tensors)


class Dot(Merge):
    """Keras's Dot."""

    op = "mul"

    def merged(self, low: Lowering, tensors: list[Tensor]) -> Tensor:
        if self.config.get("normalize"):
            raise Refusal("it normalises its inputs", "use normalize=False")
        return dot(low, self.config["axes"], *tensors)


class QSum(HgqRule):
    """A sum over axes times a power of two."""

    def factor(self, shape: tuple[int, ...], axes: tuple[int, ...]) -> Fraction:
        return Fraction(self.config.get("scale", 1.0))

    def lower(self, low: Lowering, x: Tensor) -> Tensor:
        x = self.take(low, x)
        axes = axes_of(self.config["axes"], len(x.shape))
        y: Value = low.b.sum(low.fixed(x), axes=axes)
        by = self.factor(x.shape, axes)
        if by != 1:
            y = low.b.scale(y, by=by)
        if self.config.get("keepdims"):
            y = low.reshape(y, [1 if i in axes else n for i, n in enumerate(x.shape)])
        return self.give(low, Tensor(y))


class QMeanPow2(QSum):
    """A sum over axes divided by the power of two nearest to the number of summands."""

    def factor(self, shape: tuple[int, ...], axes: tuple[int, ...]) -> Fraction:
        return Fraction(2) ** round(math.log2(1 / math.prod(shape[a] for a in axes)))
