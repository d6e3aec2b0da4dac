"""QKeras's layers: quantised weights, and quantisers as activations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from lutc.lowering.refusals import Refusal
from lutc.lowering.unread import FREE, AnyOf
from lutc.types import Rounding

from .base import Demand, Rule, activate, activation
from .conv import ConvSums, of_rank
from .dense import DenseSums
from .functional import Layer
from .qkeras_quantizers import Spec, data_quantizer, exponents, po2, read_spec, signs, weights
from .unary import Reals, Unary, unary
from .values import Lowering, Tensor
from .weighted import check_plain

# What float32 may be off by in a folded weight: six operations' last bits, a reciprocal root of two among them.
FOLDING = 2.0**-21
MAX_POWER_BITS = 40  # of the format that holds every result of quantized_po2 on data


# The weights' shapes tell the sizes. A range is what QKeras clips weights to in training, as is a QBatchNormalization's
# virtual batch; when statistics are folded in makes no difference once they stand still.
NEUTRAL: Mapping[str, Any] = {
    **dict.fromkeys(("units", "filters", "depth_multiplier"), FREE),
    **dict.fromkeys(("kernel_range", "bias_range", "depthwise_range"), FREE),
    **dict.fromkeys(("kernel_quantizer_internal", "bias_quantizer_internal"), FREE),
    "bias_quantizer": FREE,  # without a bias
    "mask": None,
    "total_bits": FREE,  # what QActivation noted of its quantiser
}
FOLDED: Mapping[str, Any] = {
    **dict.fromkeys(("renorm", "renorm_clipping", "renorm_momentum", "fused"), FREE),
    **dict.fromkeys(("ema_freeze_delay", "folding_mode", "virtual_batch_size"), FREE),
    "adjustment": None,
    "axis": AnyOf(-1, 3, [-1], [3]),
}


class QKerasRule(Rule):
    """What all layers of QKeras have."""

    neutral: ClassVar[Mapping[str, Any]] = NEUTRAL


class QActivation(QKerasRule):
    """A quantiser as a layer of its own."""

    def __init__(self, layer: Layer) -> None:
        super().__init__(layer)
        self.activation = _Activation(self.config.get("activation"))

    def demands(self, *args: Any) -> list[Demand] | None:
        spec = self.activation.spec
        q = None if spec is None else spec.fixed()
        return None if q is None else [(q, args[0])]

    def lower(self, low: Lowering, x: Tensor) -> Tensor:
        return self.activation(low, x)


class QKerasWeighted(QKerasRule):
    """A layer with a kernel and perhaps a bias, each with its quantiser; how they meet the input, `sums` says."""

    depthwise = False

    def __init__(self, layer: Layer) -> None:
        super().__init__(layer)
        what = "depthwise" if self.depthwise else "kernel"
        self.specs = (
            read_spec(self.config.get(f"{what}_quantizer"), f"its {what} quantiser"),
            read_spec(self.config.get("bias_quantizer"), "its bias quantiser"),
        )
        self.weights = self.read_weights(["kernel", *(["bias"] if self.has_bias else [])])
        self.activation = _Activation(self.config.get("activation"))

    def read_weights(self, names: list[str]) -> list[Reals]:
        """Kernel and bias after their quantisers."""
        return [weights(q, v) for q, v in zip(self.specs, self.own(*names).values(), strict=False)]

    def sums(self, low: Lowering, x: Tensor, kernel: Reals, bias: Reals | None, relu: bool) -> Tensor:
        """See `weighted.Weighted`."""
        raise NotImplementedError(type(self).__name__)

    def lower(self, low: Lowering, x: Tensor) -> Tensor:
        kernel, *bias = self.weights
        y = self.sums(low, x, kernel, bias[0] if bias else None, False)
        if self.specs[0] is None:
            check_plain(kernel, y.value, "kernel")
        low.note_wide(y.value)
        return self.activation(low, y)


class QKerasDense(DenseSums, QKerasWeighted):
    """QDense."""


class QKerasConv(ConvSums, QKerasWeighted):
    """QConv1D, QConv2D and QDepthwiseConv2D."""

    def __init__(self, layer: Layer) -> None:
        super().__init__(layer)
        if int(self.config.get("groups") or 1) != 1 and not self.depthwise:
            raise Refusal("its convolution has groups, which QKeras leaves out", "use groups=1")


class QKerasConvBatchnorm(ConvSums, QKerasWeighted):
    """QConv2DBatchnorm: the batch norm folded into kernel and bias, which are quantised then."""

    neutral: ClassVar[Mapping[str, Any]] = FOLDED

    def read_weights(self, names: list[str]) -> list[Reals]:
        return _folded(self, names, *self.specs)


def _folded(rule: Rule, names: list[str], kernel: Spec | None, bias: Spec | None) -> list[Reals]:
    """Kernel and bias with the batch norm's moving statistics folded in, then quantised."""
    c = rule.config
    if kernel is None or bias is None:
        raise Refusal(
            "its folded kernel or bias has no quantiser", "give it kernel_quantizer and bias_quantizer"
        )
    *affine, mean, variance = rule.norm()
    stored = rule.own(*names, *affine, "steps", mean, variance)
    v = {n: np.asarray(a, dtype=np.float64) for n, a in stored.items()}
    by = v.get("gamma", 1.0) / np.sqrt(v["variance"] + float(c["epsilon"]))
    add = by * (v.get("bias", 0.0) - v["mean"]) + v.get("beta", 0.0)
    terms = np.abs(by) * (np.abs(v.get("bias", 0.0)) + np.abs(v["mean"])) + np.abs(v.get("beta", 0.0))
    folded = by * v["kernel"]
    return [_sure(kernel, folded, np.abs(folded)), _sure(bias, add, terms)]


def _sure(spec: Spec, x: Reals, size: Reals) -> Reals:
    """Weights that were computed, after their quantiser. Raises Refusal if a last bit of float32 could change one.

    `size` is that of the terms that were added up, of which each operation may have rounded the last bit.
    """
    found = weights(spec, x)
    for side in (-FOLDING, FOLDING):
        if (weights(spec, x + size * side) != found).any():
            raise Refusal(
                f"{spec.what} meets a folded weight so near a rounding border that float32 may round it otherwise",
                "fold the batch norm before saving, or train a little longer",
            )
    return found


class _Activation:
    """What follows a sum: a quantiser, or a function Keras names."""

    def __init__(self, conf: Any) -> None:
        self.name, self.spec = "linear", None
        plain = isinstance(conf, str) and "(" not in conf
        if plain or (isinstance(conf, dict) and conf.get("class_name") == "function"):
            known = {
                "binary",
                "ternary",
                "quantized_bits",
                "quantized_relu",
                "quantized_tanh",
                "quantized_sigmoid",
            }
            if conf not in known:
                self.name = activation(conf)
                return
        self.spec = read_spec(conf, "its activation")

    def __call__(self, low: Lowering, x: Tensor) -> Tensor:
        s = self.spec
        if s is None:
            return activate(low, x, self.name)
        if s.signs_only:
            return _signs(low, x, s)
        if (q := s.fixed()) is not None:
            return low.affine(low.quantize(x, q), by=s.scale)
        return {
            "quantized_relu": _leaky,
            "quantized_tanh": _tanh,
            "quantized_sigmoid": _sigmoid,
            "quantized_po2": _po2,
            "ternary": _ternary,
            "stochastic_ternary": _ternary,
        }[s.kind](low, x, s)


def _at_least(low: Lowering, x: Tensor, threshold: float, by: float = 1.0) -> Tensor:
    """0 where `by * x >= threshold`, else -1: the floor of the difference, saturated to one bit."""
    sign = data_quantizer(1, 0, 0, Rounding.FLOOR)
    if by != 1.0 or threshold:
        x = low.affine(x, by=by, add=-threshold)
    return low.quantize(x, sign)


def _signs(low: Lowering, x: Tensor, s: Spec) -> Tensor:
    bit = _at_least(low, x, 0.0)
    by, add = (1.0, 1.0) if s["use_01"] else (2.0, 1.0)
    return low.affine(low.affine(bit, by=by, add=add), by=s.scale)


def _ternary(low: Lowering, x: Tensor, s: Spec) -> Tensor:
    above, below = _at_least(low, x, s.threshold), _at_least(low, x, s.threshold, -1.0)
    return low.affine(Tensor(low.b.sub(above.value, below.value)), by=s.scale)


def _leaky(low: Lowering, x: Tensor, s: Spec) -> Tensor:
    """quantized_relu with a slope: each side is rounded on its own, and the negative one saturates at -slope."""
    slope, wires = float(s["negative_slope"]), int(s["bits"]) - 1
    frac = wires - int(s["integer"])
    reach = round(np.log2(slope)) + wires
    if reach < 0:
        raise Refusal("its slope is finer than its format", "use more bits, or a steeper negative_slope")
    up = low.quantize(x, data_quantizer(0, int(s["integer"]), frac))
    down = low.quantize(low.affine(x, by=slope), data_quantizer(1, reach - frac, frac))
    return Tensor(low.b.add(up.value, low.clip(down.value, None, 0.0)))


def _tanh(low: Lowering, x: Tensor, s: Spec) -> Tensor:
    hard = Spec(s.kind, s.options | {"use_real_tanh": False}, s.what).fixed()
    assert hard is not None
    return low.quantize(low.apply(x, unary("tanh")), hard)


def _sigmoid(low: Lowering, x: Tensor, s: Spec) -> Tensor:
    real = s["use_real_sigmoid"]
    x = low.apply(x, unary("sigmoid")) if real else low.affine(x, by=0.5, add=0.5)
    y = low.quantize(x, data_quantizer(0, 0, int(s["bits"])))
    return Tensor(low.clip(y.value, 2.0 ** -int(s["bits"]), None)) if s["symmetric"] else y


def _po2(low: Lowering, x: Tensor, s: Spec) -> Tensor:
    bottom, top = exponents(s)
    if s["max_value"] is not None:
        top = min(top, round(np.log2(float(s["max_value"]))))
    if top + 1 - bottom > MAX_POWER_BITS:
        raise Refusal(
            f"{s.what} gives powers of two from 2**{bottom} to 2**{top}", "use fewer bits, or a max_value"
        )

    def power(v: Reals) -> Reals:
        return signs(v) * po2(s, np.abs(v))

    return low.quantize(low.apply(x, Unary("a power of two", power)), data_quantizer(1, top + 1, -bottom))


QKERAS: dict[str, type[Rule]] = {
    "QActivation": QActivation,
    "QDense": QKerasDense,
    "QConv1D": of_rank(QKerasConv, 1),
    "QConv2D": of_rank(QKerasConv, 2),
    "QDepthwiseConv2D": of_rank(QKerasConv, 2, depthwise=True),
    "QConv2DBatchnorm": of_rank(QKerasConvBatchnorm, 2),
}
