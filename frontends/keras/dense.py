"""Dense layers: constant matrices, in all the spellings of Keras and HGQ2."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from lutc.ir.graph import Value
from lutc.lowering.letters import Contraction, terms, without
from lutc.lowering.moves import ordered
from lutc.lowering.refusals import Refusal
from lutc.lowering.unread import FREE

from .base import Rule
from .functional import Layer
from .quantizers import Real
from .unary import Reals
from .values import Lowering, Tensor
from .weighted import QWeighted, Weighted

KERAS_EPSILON = np.float32(1e-7)


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


def einsum(low: Lowering, equation: str, x: Value, kernel: Reals, bias: Reals | None, relu: bool) -> Value:
    """`equation` of a value and a constant kernel, as one matrix product; then the bias, and perhaps relu.

    The value's axes are ordered (rows, shared with kernel and result, summed), flattened, multiplied by a
    block-diagonal matrix, and the result's axes put in the order asked for. Raises Refusal for sums over the batch and
    for diagonals.
    """
    data, w, out = terms(equation, len(x.type.shape) + 1, constant=True)
    if len(set(data)) != len(data) or len(set(w)) != len(w):
        raise Refusal(f"equation {equation} takes a diagonal", "name every axis once")
    sizes = dict(zip(data, x.type.shape, strict=True)) | dict(zip(w, kernel.shape, strict=True))
    axes = Contraction.of(data, w, out)
    if gone := axes.alone[0]:
        x = low.b.sum(x, axes=[data.index(c) for c in gone])
    x = ordered(low.b, x, without(data, gone), axes.rows + axes.shared + axes.summed)
    lead = [sizes[c] for c in axes.rows]
    x = low.reshape(x, (*lead, math.prod(sizes[c] for c in axes.shared + axes.summed)))
    result = axes.rows + axes.shared + axes.columns
    if bias is not None:
        full = np.broadcast_to(bias, [sizes[c] for c in out])
        bias = full.transpose([out.index(c) for c in result]).reshape(*lead, -1)
    y = contract(low, x, _matrix(kernel, w, axes), bias, relu)
    return ordered(low.b, low.reshape(y, [sizes[c] for c in result]), result, out)


def _matrix(kernel: Reals, w: str, axes: Contraction) -> Reals:
    """The kernel as a matrix: one block per index of the shared axes."""
    kernel = kernel.sum(axis=tuple(w.index(c) for c in axes.alone[1]))
    w = without(w, axes.alone[1])
    sizes = dict(zip(w, kernel.shape, strict=True))
    blocks = kernel.transpose([w.index(c) for c in axes.shared + axes.summed + axes.columns]).reshape(
        [math.prod(sizes[c] for c in part) for part in (axes.shared, axes.summed, axes.columns)]
    )
    n, rows, columns = blocks.shape
    full = np.zeros((n, rows, n, columns))
    full[np.arange(n), :, np.arange(n)] = blocks
    return full.reshape(n * rows, n * columns)


class DenseSums(Rule):
    """What dense layers share, in all spellings: an equation, and a kernel as large as the options say."""

    # The kernel's shape tells them.
    neutral: ClassVar[Mapping[str, Any]] = dict.fromkeys(("units", "output_shape", "bias_axes"), FREE)

    @property
    def equation(self) -> str:
        """Of input and kernel."""
        return str(self.config.get("equation", "...x,xy->...y"))

    def check_kernel(self, kernel: Real) -> None:
        self.sized(kernel, units=-1)

    def sums(self, low: Lowering, x: Tensor, kernel: Reals, bias: Reals | None, relu: bool) -> Tensor:
        return Tensor(einsum(low, self.equation, low.fixed(x), kernel, bias, relu))


class Dense(DenseSums, Weighted):
    """Keras's Dense and EinsumDense."""

    neutral: ClassVar[Mapping[str, Any]] = {"lora_alpha": FREE, "gptq_unpacked_column_size": None}

    def __init__(self, layer: Layer) -> None:
        super().__init__(layer)
        if self.config.get("lora_rank"):
            raise Refusal("it has LoRA weights", "merge them into the kernel before saving")


class QDense(DenseSums, QWeighted):
    """QDense and QEinsumDense."""


class FoldedNorm(QDense):
    """A dense layer into which a batch norm is folded, whose shift is the layer's bias."""

    def __init__(self, layer: Layer) -> None:
        super().__init__(layer)
        gamma = ["gamma"] if self.config.get("scale", True) else []
        ebops = ["beta", "ebops"] if self.config.get("enable_ebops", True) else []  # HGQ2's bookkeeping
        self.vars = self.own("kernel", "bias", *gamma, *ebops, "mean", "variance")


class QBatchNormDense(FoldedNorm):
    """QDense with a batch norm of its input folded in."""

    def parameters(self) -> tuple[Real, Real | None]:
        v = self.vars
        scaler = v.get("gamma", np.float32(1)) / np.sqrt(v["variance"] + np.float32(self.config["epsilon"]))
        offset = -np.dot(v["mean"], v["kernel"])
        return scaler[:, np.newaxis] * v["kernel"], v["bias"] + offset


class QEinsumDenseBatchnorm(FoldedNorm):
    """QEinsumDense with a batch norm of its result folded in."""

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
