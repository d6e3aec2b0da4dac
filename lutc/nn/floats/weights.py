"""Rules of `lutc.nn.convert`. Layers with weights of their own: linear ones, convolutions, norms and attention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from lutc.files.foreign import first_line
from lutc.lowering.refusals import Refusal
from lutc.nn.attention import QAttention, QProduct
from lutc.nn.einsum import QEinsum
from lutc.nn.function import QFunction
from lutc.nn.graph import Add, QAffine, QMean
from lutc.nn.layers import Options as Given
from lutc.nn.layers import QBatchNorm, QConv1d, QConv2d, QLinear

from .call import Call, shown
from .run import Rule
from .walk import AFFINE, Held, Missing, Result

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def _matrix(c: Call, x: Result, weight: Held, bias: Held | None) -> Result:
    """``x weight^T + bias``."""
    n_out, n_in = weight.value.shape
    w = c.walk.widths
    make = partial(QLinear, n_in, n_out, bias is not None, data=w.data, weights=w.weights)
    name = owner(c, weight)
    return c.walk.weighted(name, "linear", make, {"weight": weight, "bias": bias}, [x], c.shape)


def owner(c: Call, weight: Held | None) -> str:
    """The name of the module whose weight it is, if it is one's; else where the call stands."""
    return (
        weight.key.removesuffix(".weight")
        if weight and weight.key and weight.key.endswith(".weight")
        else c.where
    )


def linear(c: Call) -> Result:
    x, weight, bias = c.result("input"), c.held("weight"), c.held("bias")
    assert weight is not None
    if weight.value.dim() != 2:
        raise Refusal("has a weight that is no matrix", "give it [n_out, n_in]")
    if weight.transposed:
        y = _einsum(c, x, replace(weight, value=weight.value.T, transposed=False))
        return y if bias is None else shifted(c, y, bias)
    return _matrix(c, x, weight, bias)


def _einsum(c: Call, x: Result, weight: Held) -> Result:
    """``x @ weight`` for a matrix [n_in, n_out]."""
    lead = LETTERS[: len(x.shape)]
    w = c.walk.widths
    make = partial(QEinsum, f"{lead}y,yz->{lead}z", tuple(weight.value.shape), data=w.data, weights=w.weights)
    shape = (*x.shape[:-1], weight.value.shape[1])
    return c.walk.weighted(owner(c, weight), f"einsum {len(lead)}", make, {"weight": weight}, [x], shape)


def matmul(c: Call) -> Result:
    left, right = (c[n] for n in list(c.options)[:2])
    if isinstance(right, Held) and right.value.dim() == 2:
        x = c.fresh(left)
        if right.transposed:
            return _matrix(c, x, replace(right, value=right.value.T, transposed=False), None)
        return _einsum(c, x, right)
    if isinstance(left, Held) or isinstance(right, Held):
        raise Refusal(
            "multiplies by a constant that is no matrix on the right",
            "write it as x @ w, w with two axes, or as torch.einsum",
        )
    return product(c, c.fresh(left), c.fresh(right), transposed=False)


def product(c: Call, x: Result, y: Result, *, transposed: bool) -> Result:
    """``x @ y``, or ``x @ y^T``, of two activations with the same leading axes."""
    n = len(x.shape)
    if len(y.shape) != n or n < 2 or x.shape[:-2] != y.shape[:-2]:
        raise Refusal(f"multiplies {shown(x.shape)} by {shown(y.shape)}", "give both the same leading axes")
    lead = LETTERS[: n - 1]
    right = f"{lead}yk" if transposed else f"{lead}ky"
    w = c.walk.widths
    columns = y.shape[-2] if transposed else y.shape[-1]
    layer = QProduct(f"{lead}xk,{right}->{lead}xy", left=w.data, right=w.data)
    return c.walk.layer(c.where, layer, [x, y], (*x.shape[:-1], columns))


def einsum(c: Call) -> Result:
    """A product in Einstein's notation: of two activations, or of one and a tensor of the module."""
    equation, operands = c["equation"].replace(" ", ""), c["tensors"]
    c["path"]
    left, arrow, out = equation.partition("->")
    if len(operands) != 2 or not arrow:
        raise Refusal(f"is einsum({equation!r})", "name two operands and the result, as in 'bij,jk->bik'")
    if isinstance(operands[0], Held):
        first, second = left.split(",")
        operands, equation = operands[::-1], f"{second},{first}->{out}"
    w = c.walk.widths
    x = c.fresh(operands[0])
    try:
        if isinstance(operands[1], Held):
            weight = operands[1]
            make = partial(QEinsum, equation, tuple(weight.value.shape), data=w.data, weights=w.weights)
            return c.walk.weighted(owner(c, weight), equation, make, {"weight": weight}, [x], c.shape)
        layer = QProduct(equation, left=w.data, right=w.data)
    except ValueError as e:
        raise Refusal(
            first_line(e), "the batch's letter comes first in all terms but a parameter's"
        ) from None
    return c.made(layer, x, c.fresh(operands[1]))


def prelu(c: Call) -> Result:
    """``relu(x) - weight * relu(-x)``, exact but for the weight."""
    x, weight = c.result(), c.held("weight")
    assert weight is not None
    walk, where = c.walk, c.where
    if weight.value.numel() > 1:
        weight = replace(weight, value=weight.value.reshape(-1, *[1] * (len(x.shape) - 1)))
    up = walk.layer(where, nn.ReLU(), [x], x.shape)
    turned = affine(c, x, Held(torch.tensor(-1.0), None, False), None, f"{where}_turned")
    down = affine(
        c, walk.layer(f"{where}_below", nn.ReLU(), [turned], x.shape), weight, None, owner(c, weight)
    )
    return walk.layer(
        f"{where}_both", Add(subtract=True), [walk.quantised(up), walk.quantised(down)], x.shape
    )


def convolution(kind: type[QConv1d | QConv2d], dims: int, c: Call) -> Result:
    x, weight, bias = c.result("input"), c.held("weight"), c.held("bias")
    assert weight is not None
    stride, dilation = c.numbers("stride", dims), c.numbers("dilation", dims)
    kernel = tuple(weight.value.shape[2:])
    padding = c["padding"]
    if padding == "same":
        reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        if any(r % 2 for r in reach):
            raise Refusal(
                "pads one side more than the other (padding='same')", "use an odd kernel, or pad before it"
            )
        padding = tuple(r // 2 for r in reach)
    elif padding == "valid":
        padding = (0,) * dims
    else:
        padding = c.numbers("padding", dims)
    groups = c["groups"]
    geometry = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    w = c.walk.widths
    filters, each = weight.value.shape[:2]
    make = partial(
        kind,
        each * groups,
        filters,
        kernel,
        **geometry,
        bias=bias is not None,
        data=w.data,
        weights=w.weights,
    )
    tensors = {"weight": weight, "bias": bias}
    return c.walk.weighted(owner(c, weight), (kind.__name__, *geometry.values()), make, tensors, [x], c.shape)


def batch_norm(c: Call) -> Result:
    x = c.result("input")
    parts = {n: c.held(n) for n in ("weight", "bias", "running_mean", "running_var")}
    if c["training"] or parts["running_mean"] is None:
        raise Refusal("normalises by the statistics of the batch", "keep running statistics, and use those")
    c["cudnn_enabled"]
    if len(x.shape) > 1 and len(c.node.args[0].meta["val"].shape) < 3:  # type: ignore[union-attr]
        raise Refusal("normalises another axis than the channels")
    affine = parts["weight"] is not None
    if affine is not (parts["bias"] is not None):
        raise Refusal("has a weight or a bias alone", "make it with affine=True")
    momentum, eps = c["momentum"], c["eps"]
    channels = parts["running_mean"].value.shape[0]
    weights = c.walk.widths.weights
    make = partial(QBatchNorm, channels, momentum=momentum, eps=eps, affine=affine, weights=weights)
    own = {"weight": "gamma", "bias": "beta"}
    tensors = {own.get(n, n): h for n, h in parts.items()}
    name = (parts["running_mean"].key or "").removesuffix(".running_mean") or c.where
    return c.walk.weighted(name, ("batch norm", momentum, eps), make, tensors, [x], c.shape)


def layer_norm(c: Call) -> Result:
    """``(x - mean) * rsqrt(var + eps)``, and the affine part."""
    x = c.result("input")
    weight, bias = c.held("weight"), c.held("bias")
    c["cudnn_enable"]
    mean = QMean([len(x.shape)], True, **c.walk.widths.data)
    middle = c.walk.layer(f"{c.where}_mean", mean, [x], (*x.shape[:-1], 1))
    apart = c.walk.layer(f"{c.where}_apart", Add(subtract=True), [x, middle], x.shape)
    return _normalised(c, apart, c["eps"], weight, bias)


def rms_norm(c: Call) -> Result:
    """``x * rsqrt(mean of squares + eps)``, and the gain."""
    x, weight, eps = c.result("input"), c.held("weight"), c["eps"]
    if eps is None:
        raise Refusal("has an eps that is the float type's own", "give it one: RMSNorm(..., eps=1e-6)")
    return _normalised(c, x, eps, weight, None)


def _normalised(c: Call, x: Result, eps: float, weight: Held | None, bias: Held | None) -> Result:
    """By the mean of the squares, of products and a table."""
    size = c.numbers("normalized_shape")
    if len(size) != 1:
        raise Refusal("normalises over several axes", "flatten them, and normalise over the last one")
    walk, w, where = c.walk, c.walk.widths, c.where
    term = LETTERS[: len(x.shape) + 1]
    square = QProduct(f"{term},{term}->{term[:-1]}", left=w.data, right=w.data)
    total = walk.layer(f"{where}_square", square, [x, x], x.shape[:-1])
    table = QFunction(
        "rsqrt",
        scale=1 / size[0],
        data=w.key() | UNSIGNED,
        table=w.data | SATURATING,
        parameters={"eps": eps},
    )
    inverse = walk.layer(f"{where}_inverse", table, [total], x.shape[:-1])
    scaled = QProduct(f"{term},{term[:-1]}->{term}", left=w.data, right=w.data)
    y = walk.layer(f"{where}_scaled", scaled, [x, inverse], x.shape)
    if weight is None and bias is None:
        return y
    return affine(c, y, weight, bias, owner(c, weight or bias))


SATURATING = {"overflow": "saturate"}
UNSIGNED = {"signed": False, **SATURATING}


def affine(c: Call, x: Result, gain: Held | None, shift: Held | None, name: str | None = None) -> Result:
    """``x * gain + shift`` with tensors of the module, or numbers."""
    shapes = [None if h is None else list(h.value.shape) for h in (gain, shift)]
    trained = any(h is not None and h.trained for h in (gain, shift))
    full = (2, *x.shape)
    for shape in shapes:
        if shape is not None and _broadcast(shape, full) != full:
            raise Refusal(
                f"meets a constant of shape {shape}, and is {shown(x.shape)} itself",
                "give it one of its shape",
            )
    w = c.walk.widths.weights
    make = partial(QAffine, *shapes, trained=trained, weights=w)
    tensors = {"gain": gain, "shift": shift}
    return c.walk.weighted(name or c.where, AFFINE, make, tensors, [x], x.shape)


def _broadcast(a: Sequence[int], b: Sequence[int]) -> tuple[int, ...] | None:
    try:
        return np.broadcast_shapes(tuple(a), tuple(b))
    except ValueError:
        return None


def shifted(c: Call, x: Result, shift: Held) -> Result:
    return affine(c, x, None, shift)


def attention(c: Call) -> tuple[Result, Missing]:
    """A MultiheadAttention; its second result, the weights, has no translation."""
    x, name = c.result("x"), c["name"]
    part: Any = c.walk.traced.float.get_submodule(name)
    biased = part.in_proj_bias is not None

    def make() -> QAttention:
        w = c.walk.widths
        keys = {"max_bits": w.key()["max_bits"]}
        softmax = {"data": w.data, "keys": keys, "total": keys}
        common: Given = {"data": w.data, "weights": w.weights, "products": w.data, "softmax": softmax}
        layer = QAttention(part.embed_dim, part.num_heads, bias=biased, dropout=part.dropout, **common)
        with torch.no_grad():
            for word in ("weight", "bias")[: 1 + biased]:
                for own, third in zip(_INSIDE, getattr(part, f"in_proj_{word}").chunk(3), strict=True):
                    getattr(getattr(layer, own), word).copy_(third)
                getattr(layer.output, word).copy_(getattr(part.out_proj, word))
        return layer

    layer, first = c.walk.once(("attention", name), make)
    y = c.walk.layer(name, layer, [x], x.shape)
    for word in ("weight", "bias")[: (1 + biased) * first]:
        parts = tuple(f"{y.name}.{own}.{word}" for own in _INSIDE)
        c.walk.own(f"{name}.in_proj_{word}", name, parts)
        c.walk.own(f"{name}.out_proj.{word}", name, (f"{y.name}.output.{word}",))
    return y, Missing()


_INSIDE = ("query", "key", "value")


RULES: dict[str, Rule] = {
    "attention": attention,
    "batch_norm": batch_norm,
    "bmm": matmul,
    "conv1d": partial(convolution, QConv1d, 1),
    "conv2d": partial(convolution, QConv2d, 2),
    "layer_norm": layer_norm,
    "rms_norm": rms_norm,
    "einsum": einsum,
    "prelu": prelu,
    "linear": linear,
    "matmul": matmul,
    "mm": matmul,
}
