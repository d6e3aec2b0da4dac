"""Dense layers: constant matrices, in all the spellings of Keras and HGQ2."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from lutc.ir.graph import Value
from lutc.lowering.attention import ordered
from lutc.lowering.options import FREE
from lutc.lowering.refusals import Refusal
from lutc.types import holding

from .base import HgqRule, Rule, activate, activation
from .graph import Layer
from .lowering import FLOAT32_BITS, Lowering, Tensor, common_codes, is_float32
from .quantizers import Quantizer, Real
from .unary import Reals

KERAS_EPSILON = np.float32(1e-7)

# The kernel's shape tells them.
SIZES: Mapping[str, Any] = {"units": FREE, "output_shape": FREE}


def contract(
    low: Lowering, x: Value, kernel: Reals, bias: Reals | None, relu: bool, padded: bool = False
) -> Value:
    """`x @ kernel + bias` along the last axis, then perhaps relu: one function where all rows agree.

    `bias` has one number per output, or one per row and output. In `padded` rows zeros stand for what lies outside.
    """
    shared = None
    if bias is not None and bias.any():
        flat = np.broadcast_to(bias, (*x.type.shape[:-1], kernel.shape[-1])).reshape(-1, kernel.shape[-1])
        shared = flat[0] if (flat == flat[:1]).all() else None
    whole = bias if shared is None and bias is not None and bias.any() else None

    def row(low: Lowering, x: Value) -> Value:
        y: Value = low.b.dense(x, low.const(kernel, "kernel"))
        if shared is not None:
            y = low.b.add(y, low.constant(shared, "bias", y.type.shape))
        return low.b.relu(y) if relu and whole is None else y

    y = low.rows(x, row, padded=padded)
    if whole is not None:
        y = low.b.add(y, low.constant(whole, "bias", y.type.shape))
        y = low.b.relu(y) if relu else y
    return y


def finish(low: Lowering, y: Value, name: str) -> Tensor:
    """The activation after a contraction that has already done its relu."""
    return Tensor(y) if name == "relu" else activate(low, Tensor(y), name)


def check_plain(kernel: Reals, y: Value, what: str) -> None:
    """Refuse a layer without quantisers whose float32 sums could round, and so differ from exact arithmetic."""
    if is_float32(y.type):
        return
    codes, _ = common_codes(kernel)
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


class EinsumPlan:
    """`equation` of an input and a constant kernel, as one matrix product.

    The input's axes are ordered (free, shared with kernel and output, contracted), flattened, multiplied by a
    block-diagonal matrix, and the result's axes put in the order asked for.
    """

    def __init__(self, equation: str, rank: int) -> None:
        left, out = equation.replace(" ", "").split("->")
        x, w = left.split(",")
        x, w, out = expanded(x, w, out, rank + 1)
        if x[0] != out[:1] or x[0] in w or x.count(x[0]) > 1:
            raise Refusal(
                f"equation {equation} does not keep the batch axis first", "put it first, in and out"
            )
        if len(set(x)) != len(x) or len(set(w)) != len(w):
            raise Refusal(f"equation {equation} takes a diagonal", "name every axis once")
        self.x, self.w, self.out = x[1:], w, out[1:]
        self.free = [c for c in self.x if c in self.out and c not in w]
        self.shared = [c for c in self.x if c in self.out and c in w]
        self.summed = [c for c in self.x if c not in self.out and c in w]
        self.alone = [c for c in self.x if c not in self.out and c not in w]
        self.made = [c for c in w if c in self.out and c not in self.x]

    def matrix(self, kernel: Reals) -> Reals:
        """The kernel as a matrix: one block per index of the shared axes."""
        gone = tuple(i for i, c in enumerate(self.w) if c not in self.x and c not in self.out)
        kernel = kernel.sum(axis=gone)
        left = [c for i, c in enumerate(self.w) if i not in gone]
        sizes = dict(zip(left, kernel.shape, strict=True))
        order = [*self.shared, *self.summed, *self.made]
        blocks = kernel.transpose([left.index(c) for c in order]).reshape(
            [math.prod(sizes[c] for c in part) for part in (self.shared, self.summed, self.made)]
        )
        n, rows, columns = blocks.shape
        full = np.zeros((n, rows, n, columns))
        full[np.arange(n), :, np.arange(n)] = blocks
        return full.reshape(n * rows, n * columns)

    def lower(self, low: Lowering, x: Value, kernel: Reals, bias: Reals | None, relu: bool) -> Value:
        sizes = dict(zip(self.x, x.type.shape, strict=True)) | dict(zip(self.w, kernel.shape, strict=True))
        if self.alone:
            x = low.b.sum(x, axes=[self.x.index(c) for c in self.alone])
        kept = [c for c in self.x if c not in self.alone]
        x = ordered(low.b, x, kept, [*self.free, *self.shared, *self.summed])
        lead = [sizes[c] for c in self.free]
        x = low.reshape(x, (*lead, math.prod(sizes[c] for c in (*self.shared, *self.summed))))
        result = [*self.free, *self.shared, *self.made]
        if bias is not None:
            full = np.broadcast_to(bias, [sizes[c] for c in self.out])
            bias = full.transpose([self.out.index(c) for c in result]).reshape(*lead, -1)
        y = contract(low, x, self.matrix(kernel), bias, relu)
        return ordered(low.b, low.reshape(y, [sizes[c] for c in result]), result, list(self.out))


def expanded(x: str, w: str, out: str, rank: int) -> tuple[str, str, str]:
    """An einsum's letters with `...` of the first operand written out; `rank` counts the batch axis."""
    if "..." not in x and "..." not in w and "..." not in out:
        return x, w, out
    spare = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" if c not in x + w + out]
    dots = "".join(spare[: rank - len(x.replace("...", ""))])
    return x.replace("...", dots), w.replace("...", dots), out.replace("...", dots)


class QDense(HgqRule):
    """QDense and QEinsumDense: iq, then the quantised kernel and bias, activation, oq."""

    neutral: ClassVar[Mapping[str, Any]] = {**SIZES, "bias_axes": FREE}

    def __init__(self, layer: Layer) -> None:
        super().__init__(layer)
        self.equation: str = self.config.get("equation", "...x,xy->...y")
        self.has_bias = self.config.get("use_bias", self.config.get("bias_axes") is not None)
        self.kq = self.quantizer("kq")
        self.bq: Quantizer | None = self.quantizer("bq") if self.has_bias else None
        self.vars = self.own("kernel", *(["bias"] if self.has_bias else []))
        self.sized(self.vars["kernel"], units=-1)

    def parameters(self) -> tuple[Real, Real | None]:
        """Kernel and bias before their quantisers."""
        return self.vars["kernel"], self.vars.get("bias")

    def lower(self, low: Lowering, x: Tensor) -> Tensor:
        x = self.take(low, x)
        kernel, bias = self.parameters()
        k = low.weights(self.kq, kernel)
        b = low.weights(self.bq, bias) if self.bq is not None and bias is not None else None
        relu = self.activation == "relu"
        plan = EinsumPlan(self.equation, len(x.shape))
        y = plan.lower(low, low.fixed(x), k, b, relu)
        low.note_wide(y)
        t = finish(low, y, self.activation)
        return t if self.oq is None else low.quantize(t, self.oq)


class QBatchNormDense(QDense):
    """QDense with a batch norm of its input folded into kernel and bias."""

    def __init__(self, layer: Layer) -> None:
        super().__init__(layer)
        names = ["kernel", "bias", *(["gamma"] if self.config.get("scale", True) else [])]
        self.vars = self.own(*names, *_ebops(self.config), "mean", "variance")

    def parameters(self) -> tuple[Real, Real | None]:
        v = self.vars
        scaler = v.get("gamma", np.float32(1)) / np.sqrt(v["variance"] + np.float32(self.config["epsilon"]))
        offset = -np.dot(v["mean"], v["kernel"])
        return scaler[:, np.newaxis] * v["kernel"], v["bias"] + offset


class QEinsumDenseBatchnorm(QDense):
    """QEinsumDense with a batch norm of its result folded into kernel and bias."""

    def __init__(self, layer: Layer) -> None:
        super().__init__(layer)
        names = ["kernel", "bias", *(["gamma"] if self.config.get("scale", True) else [])]
        self.vars = self.own(*names, *_ebops(self.config), "mean", "variance")

    def parameters(self) -> tuple[Real, Real | None]:
        v = self.vars
        w = self.equation.split(",")[1].split("->")[0]
        axes = self.config.get("normalize_axes") or self.config["bias_axes"]
        kept = [c for c in w if c in axes]
        # The layer uses Keras's own epsilon here, not the one in its configuration.
        scaler = v.get("gamma", np.float32(1)) / np.sqrt(v["variance"] + KERAS_EPSILON)
        if scaler.size != math.prod(_size(w, v["kernel"], c) for c in kept):
            raise Refusal("its batch norm runs along other axes than its bias", "use normalize_axes=None")
        along = scaler.reshape([n if c in kept else 1 for c, n in zip(w, v["kernel"].shape, strict=True)])
        offset = -v["mean"] * scaler
        out = self.equation.split("->")[1]
        tail = out[min(out.index(c) for c in kept) :]
        offset = offset.reshape([_size(w, v["kernel"], c) if c in kept else 1 for c in tail])
        return v["kernel"] * along, v["bias"] + offset


def _size(letters: str, array: Real, letter: str) -> int:
    return int(array.shape[letters.index(letter)])


def _ebops(config: Mapping[str, Any]) -> list[str]:
    """The two bookkeeping variables HGQ2 layers keep after their trained ones."""
    return ["beta", "ebops"] if config.get("enable_ebops", True) else []


class Dense(Rule):
    """Keras's Dense and EinsumDense, whose weights must be few bits wide for float32 to be exact."""

    neutral: ClassVar[Mapping[str, Any]] = {
        **SIZES,
        "bias_axes": FREE,
        "lora_alpha": FREE,
        "gptq_unpacked_column_size": None,
    }

    def __init__(self, layer: Layer) -> None:
        super().__init__(layer)
        self.equation: str = self.config.get("equation", "...x,xy->...y")
        self.has_bias = self.config.get("use_bias", self.config.get("bias_axes") is not None)
        self.activation = activation(self.config.get("activation"))
        if self.config.get("lora_rank"):
            raise Refusal("it has LoRA weights", "merge them into the kernel before saving")
        self.vars = self.own("kernel", *(["bias"] if self.has_bias else []))
        self.sized(self.vars["kernel"], units=-1)

    def lower(self, low: Lowering, x: Tensor) -> Tensor:
        kernel = self.vars["kernel"].astype(np.float64)
        bias = self.vars["bias"].astype(np.float64) if self.has_bias else None
        plan = EinsumPlan(self.equation, len(x.shape))
        relu = self.activation == "relu"
        y = plan.lower(low, low.fixed(x), kernel, bias, relu)
        check_plain(kernel, y, "kernel")
        return finish(low, y, self.activation)
