"""Activations, normalisations and other functions of one number, with and without HGQ2's quantisers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from lutc.ir.graph import Value
from lutc.lowering.attention import softmax
from lutc.lowering.refusals import Refusal
from lutc.lowering.unread import FREE
from lutc.types import Overflow, Rounding

from .base import Demand, HgqRule, Rule, activate, activation, axes_of, check_last
from .functional import Layer
from .kinds import Kind
from .quantizers import Int, Quantizer, quantizer
from .unary import Reals, Unary, unary
from .values import Lowering, Tensor


class Activation(Rule):
    """Keras's Activation, and softmax as a last layer."""

    def __init__(self, layer: Layer) -> None:
        super().__init__(layer)
        self.activation = activation(self.config.get("activation"))

    def lower(self, low: Lowering, x: Tensor) -> Tensor:
        return activate(low, x, self.activation)


class Softmax(Rule):
    """Keras's Softmax, as a last layer: a function of the last axis, which the host applies."""

    def lower(self, low: Lowering, x: Tensor) -> Tensor:
        check_last(self.config.get("axis", -1), len(x.shape), "put that axis last: Permute, then Softmax()")
        return activate(low, x, "softmax")


class Relu(Rule):
    """ReLU and LeakyReLU, with slope, ceiling and threshold."""

    def __init__(self, layer: Layer) -> None:
        super().__init__(layer)
        default = 0.3 if layer.kind == "LeakyReLU" else 0.0
        self.slope = float(np.float32(self.config.get("negative_slope", default) or 0.0))
        ceiling = self.config.get("max_value")
        self.ceiling = None if ceiling is None else float(ceiling)
        self.threshold = float(self.config.get("threshold") or 0.0)

    def lower(self, low: Lowering, x: Tensor) -> Tensor:
        if x.exact and not self.threshold:
            scaled = low.affine(x, by=self.slope)
            if not self.slope:
                return Tensor(low.clip(low.b.relu(x.value), None, self.ceiling))
            if not scaled.chain and 0 < self.slope < 1:
                return Tensor(low.clip(low.b.max(*low.pairs(x.value, scaled.value)), None, self.ceiling))
        if not (self.slope or self.threshold) and self.ceiling is None:
            return low.apply(x, unary("relu"))
        options = {"negative_slope": self.slope, "max_value": self.ceiling, "threshold": self.threshold}
        return low.apply(x, unary("relu", **options))


class PRelu(Rule):
    """A rectifier with a slope learnt for each channel."""

    neutral: ClassVar[Mapping[str, Any]] = {"shared_axes": FREE}  # which the shape of alpha tells

    def __init__(self, layer: Layer) -> None:
        super().__init__(layer)
        self.alpha = self.own("alpha")["alpha"].astype(np.float64)

    def lower(self, low: Lowering, x: Tensor) -> Tensor:
        return low.apply(x, Unary("prelu", lambda v, a: np.where(v > 0, v, v * a), (self.alpha,)))


class Elu(Rule):
    """ELU with its alpha."""

    def lower(self, low: Lowering, x: Tensor) -> Tensor:
        return low.apply(x, unary("elu", alpha=float(self.config.get("alpha", 1.0))))


# What only training reads: at inference a renormalised batch norm is a plain one.
RENORM: Mapping[str, Any] = dict.fromkeys(("renorm", "renorm_clipping", "renorm_momentum"), FREE)


class BatchNormalization(Rule):
    """Keras's batch norm at inference: a scaling per channel."""

    neutral: ClassVar[Mapping[str, Any]] = RENORM

    def __init__(self, layer: Layer) -> None:
        super().__init__(layer)
        self.vars = {k: v.astype(np.float64) for k, v in self.own(*self.norm()).items()}

    def lower(self, low: Lowering, x: Tensor) -> Tensor:
        v = self.vars
        by = v.get("gamma", np.ones(1)) / np.sqrt(v["variance"] + self.config["epsilon"])
        add = v.get("beta", np.zeros(1)) - v["mean"] * by
        shape = along_axis(self.config["axis"], x.shape)
        return low.affine(x, by=np.broadcast_to(by, v["mean"].shape).reshape(shape), add=add.reshape(shape))


def along_axis(axis: Any, shape: tuple[int, ...]) -> list[int]:
    """The shape of one number per index of an axis, broadcastable to a tensor."""
    (axis,) = axes_of(axis, len(shape))
    return [n if i == axis else 1 for i, n in enumerate(shape)]


class QBatchNormalization(HgqRule):
    """Batch norm with quantised factor and offset."""

    neutral: ClassVar[Mapping[str, Any]] = RENORM

    def __init__(self, layer: Layer) -> None:
        super().__init__(layer)
        self.kq, self.bq = self.quantizer("kq"), self.quantizer("bq")
        self.vars = self.own(*self.norm())

    def lower(self, low: Lowering, x: Tensor) -> Tensor:
        x, v, one = self.take(low, x), self.vars, np.float32(1)
        by = v.get("gamma", one) / np.sqrt(v["variance"] + np.float32(self.config["epsilon"]))
        add = v.get("beta", one) - v["mean"] * by  # HGQ2 takes 1 where there is no beta
        shape = along_axis(self.config["axis"], x.shape)
        factor = low.constant(low.weights(self.kq, by).reshape(shape), "factor", x.shape)
        offset = low.constant(low.weights(self.bq, add).reshape(shape), "offset", x.shape)
        return self.give(low, Tensor(low.b.add(low.b.mul(low.fixed(x), factor), offset)))


class QUnaryFunctionLUT(HgqRule):
    """Input quantiser, a function of one number, output quantiser: a truth table."""

    def lower(self, low: Lowering, x: Tensor) -> Tensor:
        return self.give(low, self.take(low, x))


class QAffinedUnaryFunctionLUT(HgqRule):
    """The same with a scaling learnt in front of the function."""

    def __init__(self, layer: Layer) -> None:
        super().__init__(layer)
        self.vars = self.own("scale", "bias")

    def lower(self, low: Lowering, x: Tensor) -> Tensor:
        return self.give(low, low.affine(self.take(low, x), by=self.vars["scale"], add=self.vars["bias"]))


class StandaloneQuantizer(Rule):
    """HGQ2's Quantizer used as a layer of its own."""

    def __init__(self, layer: Layer) -> None:
        super().__init__(layer)
        self.q = quantizer(self.config.get("config"), layer.weights, "it")

    def demands(self, *args: Any) -> list[Demand] | None:
        return [(self.q, args[0])]

    def lower(self, low: Lowering, x: Tensor) -> Tensor:
        return low.quantize(x, self.q)


class QSoftmax(HgqRule):
    """Softmax by two tables: of exp, and of the reciprocal of the sum of its results."""

    neutral: ClassVar[Mapping[str, Any]] = {"exp_iq_conf": FREE}  # of a softmax that is not stable

    def __init__(self, layer: Layer) -> None:
        super().__init__(layer)
        self.stable = bool(self.config.get("stable", True))
        self.scaler = float(np.float32(self.config.get("input_scaler", 1.0)))
        self.exp_iq = self.quantizer("exp_iq", "exp_table", "iq") if self.stable else None
        self.exp_oq = self.quantizer("exp_oq", "exp_table", "oq")
        self.inv_iq = self.quantizer("inv_iq", "inv_table", "iq")
        self.inv_oq = self.quantizer("inv_oq", "inv_table", "oq")

    def lower(self, low: Lowering, x: Tensor) -> Tensor:
        x = self.take(low, x)
        by = -self.scaler if self.stable else self.scaler

        def exp(v: Value) -> Value:
            key = Tensor(v, x.chain, x.final) if self.exp_iq is None else low.quantize(Tensor(v), self.exp_iq)
            step = Unary("exp", lambda r: np.exp((r * by).astype(np.float32).astype(np.float64)))
            return low.fixed(low.quantize(low.apply(key, step), self.exp_oq))

        def inverse(v: Value) -> Value:
            divisor = low.apply(low.quantize(Tensor(v), self.inv_iq), Unary("1/x", _reciprocal))
            return low.fixed(low.quantize(divisor, self.inv_oq))

        axes = axes_of(self.config["axes"], len(x.shape))
        value = low.fixed(x) if self.stable else x.value
        return self.give(low, Tensor(softmax(low.b, value, axes, exp, inverse, stable=self.stable)))


def _reciprocal(x: Reals) -> Reals:
    """1 / (x + Keras's epsilon), each operation in float32."""
    shifted = (x + float(np.float32(1e-7))).astype(np.float32).astype(np.float64)
    result: Reals = 1 / shifted
    return result


class Casting(Rule):
    """A layer that turns numbers of any type into float32 first."""

    def kind(self, kinds: Sequence[Kind], args: Sequence[Any]) -> Kind:
        return Kind.FLOAT32


class Rescaling(Casting):
    """Keras's Rescaling: one factor and offset, or one for each channel."""

    def lower(self, low: Lowering, x: Tensor) -> Tensor:
        by, add = (np.asarray(self.config[k], dtype=np.float32) for k in ("scale", "offset"))
        if max(by.ndim, add.ndim) > len(x.shape):
            raise Refusal("its factors have more axes than its input", "give it one for each channel")
        return low.affine(x, by=by, add=add)


class Normalization(Casting):
    """Keras's Normalization with the mean and variance it was given or adapted to."""

    def __init__(self, layer: Layer) -> None:
        super().__init__(layer)
        stored = layer.weights.own
        given = self.config.get("mean"), self.config.get("variance")
        mean, variance = given if given[0] is not None else (*stored[:2], None, None)[:2]
        if mean is None or variance is None:
            raise Refusal("it was never adapted", "call its adapt(data) before saving")
        self.mean, self.variance = (
            np.asarray(v, dtype=np.float32).astype(np.float64) for v in (mean, variance)
        )

    def lower(self, low: Lowering, x: Tensor) -> Tensor:
        axis, rank = self.config["axis"], len(x.shape)
        axes = () if axis is None or axis == [] else axes_of(axis, rank)
        mean, variance = (_along(v, axes, x.shape) for v in (self.mean, self.variance))
        deviation = np.maximum(np.sqrt(variance), 1e-7)
        if self.config.get("invert"):
            return low.affine(x, by=deviation, add=mean)
        return low.affine(x, add=-mean / deviation, over=deviation)


def _along(v: Reals, axes: tuple[int, ...], shape: tuple[int, ...]) -> Reals:
    """Numbers whose last axes stand for the last of `axes`, broadcastable to a tensor."""
    full = [n if i in axes else 1 for i, n in enumerate(shape)]
    if v.ndim > len(axes):  # as Keras 2 has them, or with axes of length 1
        return v.reshape(full)
    spread = [1] * len(shape)
    for axis, n in zip(reversed(axes), reversed(v.shape), strict=False):
        spread[axis] = n
    return np.broadcast_to(v.reshape(spread), full)


class Embedding(Casting):
    """A row of numbers for each integer input."""

    neutral: ClassVar[Mapping[str, Any]] = {
        "input_dim": FREE,
        "output_dim": FREE,
        "input_length": FREE,
        "mask_zero": False,
        "lora_rank": None,
        "lora_alpha": FREE,
        "weights": None,
    }

    def __init__(self, layer: Layer) -> None:
        super().__init__(layer)
        self.table = self.own("embeddings")["embeddings"].astype(np.float64)
        bits = np.array([(len(self.table) - 1).bit_length()])
        zero: Int = np.array([0])
        self.index = Quantizer(zero, bits, zero, Rounding.FLOOR, Overflow.SATURATE)

    def demands(self, *args: Any) -> list[Demand] | None:
        return [(self.index, args[0])]

    def lower(self, low: Lowering, x: Tensor) -> Tensor:
        rows, width = self.table.shape
        if not x.chain and any(f.value(f.lo) <= -1 for _, f in x.value.type.runs):
            raise Refusal(
                "it may be given negative numbers, of which backends make different rows",
                "give the input an unsigned format, such as --input-type u4",
            )
        x = low.quantize(x, self.index)
        x = low.move(x, lambda i: np.broadcast_to(i[..., np.newaxis], (*i.shape, width)))
        columns = np.arange(width, dtype=np.float64)

        def row(v: Reals, column: Reals) -> Reals:
            found: Reals = self.table[np.minimum(v.astype(np.int64), rows - 1), column.astype(np.int64)]
            return found

        return low.apply(x, Unary("an embedding", row, (columns,)))
