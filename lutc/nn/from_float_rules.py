"""Which layer of `lutc.nn` every operator of a float model becomes: a rule for each, by the operator's ATen name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from lutc.lowering.refusals import Refusal

from .attention import QAttention, QProduct, QSoftmax
from .einsum import QEinsum
from .from_float_walk import STAND_IN, Call, Held, Missing, Result, Rule
from .function import QFunction
from .graph import Add, Concat, Move, QAffine, QMean
from .layers import Options as Given
from .layers import QBatchNorm, QConv1d, QConv2d, QLinear, Sum
from .pooling import QAvgPool1d, QAvgPool2d

LETTERS = "abcdefghijklmnopqrstuvwxyz"


# -- layers with weights ----------------------------------------------------------------------------------------------


def _matrix(c: Call, x: Result, weight: Held, bias: Held | None) -> Result:
    """``x weight^T + bias``."""
    n_out, n_in = weight.value.shape
    w = c.walk.widths
    make = partial(QLinear, n_in, n_out, bias is not None, data=w.data, weights=w.weights)
    name = _owner(c, weight)
    return c.walk.weighted(name, "linear", make, {"weight": weight, "bias": bias}, [x], c.shape)


def _owner(c: Call, weight: Held | None) -> str:
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
        return y if bias is None else _shifted(c, y, bias)
    return _matrix(c, x, weight, bias)


def _einsum(c: Call, x: Result, weight: Held) -> Result:
    """``x @ weight`` for a matrix [n_in, n_out]."""
    lead = LETTERS[: len(x.shape)]
    w = c.walk.widths
    make = partial(QEinsum, f"{lead}y,yz->{lead}z", tuple(weight.value.shape), data=w.data, weights=w.weights)
    shape = (*x.shape[:-1], weight.value.shape[1])
    return c.walk.weighted(_owner(c, weight), f"einsum {len(lead)}", make, {"weight": weight}, [x], shape)


def matmul(c: Call) -> Result:
    left, right = (c[n] for n in list(c.options)[:2])
    if isinstance(right, Held) and right.value.dim() == 2:
        x = c.fresh(left)
        if right.transposed:
            return _matrix(c, x, replace(right, value=right.value.T, transposed=False), None)
        return _einsum(c, x, right)
    if isinstance(left, Held) or isinstance(right, Held):
        raise Refusal(
            "multiplies by a constant that is no matrix on the right", "write it as x @ w, w with two axes"
        )
    return product(c, c.fresh(left), c.fresh(right), transposed=False)


def product(c: Call, x: Result, y: Result, *, transposed: bool) -> Result:
    """``x @ y``, or ``x @ y^T``, of two activations with the same leading axes."""
    n = len(x.shape)
    if len(y.shape) != n or n < 2 or x.shape[:-2] != y.shape[:-2]:
        raise Refusal(
            f"multiplies [batch, {x.shape}] by [batch, {y.shape}]", "give both the same leading axes"
        )
    lead = LETTERS[: n - 1]
    right = f"{lead}yk" if transposed else f"{lead}ky"
    w = c.walk.widths
    columns = y.shape[-2] if transposed else y.shape[-1]
    layer = QProduct(f"{lead}xk,{right}->{lead}xy", left=w.data, right=w.data)
    return c.walk.layer(c.where, layer, [x, y], (*x.shape[:-1], columns))


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
    return c.walk.weighted(
        _owner(c, weight), (kind.__name__, *geometry.values()), make, tensors, [x], c.shape
    )


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
    """``(x - mean) * rsqrt(var + eps)``, of means, products and a table; then the affine part."""
    x, size = c.result("input"), c.numbers("normalized_shape")
    if len(size) != 1:
        raise Refusal("normalises over several axes", "flatten them, and normalise over the last one")
    weight, bias, eps = c.held("weight"), c.held("bias"), c["eps"]
    c["cudnn_enable"]
    walk, w, rank, where = c.walk, c.walk.widths, len(x.shape), c.where
    few = (*x.shape[:-1], 1)
    mean = walk.layer(f"{where}_mean", QMean([rank], True, **w.data), [x], few)
    apart = walk.layer(f"{where}_apart", Add(subtract=True), [x, mean], x.shape)
    term = LETTERS[: rank + 1]
    square = QProduct(f"{term},{term}->{term[:-1]}", left=w.data, right=w.data)
    total = walk.layer(f"{where}_square", square, [apart, apart], x.shape[:-1])
    table = QFunction(
        "rsqrt",
        scale=1 / size[0],
        data=w.key() | _UNSIGNED,
        table=w.data | _SATURATING,
        parameters={"eps": eps},
    )
    inverse = walk.layer(f"{where}_inverse", table, [total], x.shape[:-1])
    scaled = QProduct(f"{term},{term[:-1]}->{term}", left=w.data, right=w.data)
    y = walk.layer(f"{where}_scaled", scaled, [apart, inverse], x.shape)
    if weight is None and bias is None:
        return y
    return _affine(c, y, weight, bias, _owner(c, weight or bias))


_SATURATING = {"overflow": "saturate"}
_UNSIGNED = {"signed": False, **_SATURATING}


def _affine(c: Call, x: Result, gain: Held | None, shift: Held | None, name: str | None = None) -> Result:
    """``x * gain + shift`` with tensors of the module, or numbers."""
    shapes = [None if h is None else list(h.value.shape) for h in (gain, shift)]
    trained = any(h is not None and h.trained for h in (gain, shift))
    full = (2, *x.shape)
    for shape in shapes:
        if shape is not None and _broadcast(shape, full) != full:
            raise Refusal(
                f"meets a constant of shape {shape}, and is {list(x.shape)} itself",
                "give it one of its shape",
            )
    w = c.walk.widths.weights
    make = partial(QAffine, *shapes, trained=trained, weights=w)
    tensors = {"gain": gain, "shift": shift}
    return c.walk.weighted(name or c.where, "affine", make, tensors, [x], x.shape)


def _broadcast(a: Sequence[int], b: Sequence[int]) -> tuple[int, ...] | None:
    try:
        return np.broadcast_shapes(tuple(a), tuple(b))
    except ValueError:
        return None


def _shifted(c: Call, x: Result, shift: Held) -> Result:
    return _affine(c, x, None, shift)


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


# -- functions --------------------------------------------------------------------------------------------------------


def relu(c: Call) -> Result:
    return c.made(nn.ReLU(), c.result())


def table(function: str, parameters: Sequence[str], c: Call) -> Result:
    """A function that lutc.nn has as a table, with those of its parameters that the operator has, too."""
    return _table(c, function, c.result(), {p: c[p] for p in parameters})


def _table(c: Call, function: str, x: Result, parameters: Given) -> Result:
    w = c.walk.widths
    return c.made(QFunction(function, data=w.key(), table=w.data | _SATURATING, parameters=parameters), x)


def elu(c: Call) -> Result:
    x, alpha, scale, inside = c.result(), c["alpha"], c["scale"], c["input_scale"]
    if (scale, inside) != (1, 1):
        raise Refusal("is an elu with a scale", "use SELU, or an ELU")
    return _table(c, "elu", x, {"alpha": alpha})


def clamp(c: Call) -> Result:
    x, low, high = c.result(), c["min"], c["max"]
    if low == 0 and high is None:
        return c.made(nn.ReLU(), x)
    if not isinstance(low, int | float) or not isinstance(high, int | float):
        raise Refusal(
            "clips at one end alone, or to limits that are computed", "use relu, or clip to two numbers"
        )
    return _table(c, "hardtanh", x, {"min_val": low, "max_val": high})


def power(c: Call) -> Result:
    x, exponent = c.result(), c["exponent"]
    if exponent != 2:
        raise Refusal(f"takes the power {exponent}", "lutc.nn has squares (2) and products")
    return _table(c, "square", x, {})


def softmax(c: Call) -> Result:
    x, dtype = c.result(), c["dtype"]
    _same_type(c, dtype)
    dim = c.axis(c["dim"], len(x.shape) + 1)
    return c.walk.layer(c.where, _softmax(c, dim, 1.0), [x], x.shape)


def _softmax(c: Call, dim: int, scale: float) -> QSoftmax:
    w = c.walk.widths
    bits = {"max_bits": w.key()["max_bits"]}
    return QSoftmax(dim, scale=scale, data=w.data, keys=bits, total=bits)


def dot_product_attention(c: Call) -> Result:
    q, k, v = (c.result(n) for n in ("query", "key", "value"))
    for name in ("attn_mask", "is_causal"):
        if c[name]:
            raise Refusal(f"is given a mask ({name})", "leave the mask away: all positions are seen")
    if c["dropout_p"]:
        raise Refusal("leaves scores out in evaluation too", "set its dropout_p to 0 unless self.training")
    c["enable_gqa"]
    scale = q.shape[-1] ** -0.5 if c["scale"] is None else c["scale"]
    scores = product(c, q, k, transposed=True)
    shares = c.walk.layer(f"{c.where}_softmax", _softmax(c, len(scores.shape), scale), [scores], scores.shape)
    return product(c, shares, v, transposed=False)


# -- sums, products and means -----------------------------------------------------------------------------------------


def _constant(c: Call, value: Any) -> Held | None:
    """A number or a tensor of the module; None for what the network computes."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        if isinstance(value, Held):
            return value
        if isinstance(value, Result):
            return None
        raise Refusal(
            "computes with a number that depends on the number of samples", "compute with constants"
        )
    return Held(torch.tensor(float(value)), None, False)


def _negated(c: Call, x: Result, name: str) -> Result:
    return c.walk.layer(name, QAffine((), None, trained=False, weights=c.walk.widths.weights), [x], x.shape)


def addition(c: Call, sign: int = 1) -> Result:
    """Sums and differences; a factor of the second operand is refused."""
    left, right = c["self"], c["other"]
    if "alpha" in c.options and c["alpha"] != 1:
        raise Refusal(f"adds with a factor (alpha={c['alpha']})", "multiply by it first")
    a, b = _constant(c, left), _constant(c, right)
    if a is None and b is None:
        x, y = (c.walk.quantised(v) for v in _alike(c, c.fresh(left), c.fresh(right)))
        return c.walk.layer(c.where, Add(subtract=sign < 0), [x, y], c.shape)
    if a is not None and b is not None:
        raise Refusal("adds constants", OTHER_CONSTANT)
    constant, x = (b, c.fresh(left)) if b is not None else (a, c.fresh(right))
    assert constant is not None
    if sign < 0 and constant is b:
        if constant.trained:
            raise Refusal("subtracts a parameter", "add it: it is trained, and may be negative itself")
        constant = replace(constant, value=-constant.value, key=None)
    elif sign < 0:
        x = _scaled(c, x, Held(torch.tensor(-1.0), None, False))
    return _shifted(c, x, constant)


OTHER_CONSTANT = "compute it before, and keep it as a parameter or buffer"


def _alike(c: Call, x: Result, y: Result) -> tuple[Result, Result]:
    """Two results with the same number of axes: torch counts them from the last, and batch has to meet batch."""
    if len(x.shape) != len(y.shape):
        raise Refusal(
            f"meets [batch, {', '.join(map(str, x.shape))}] with [batch, {', '.join(map(str, y.shape))}]",
            "give both the same number of axes",
        )
    return x, y


def _scaled(c: Call, x: Result, gain: Held) -> Result:
    return _affine(c, x, gain, None)


def multiplication(c: Call) -> Result:
    left, right = c["self"], c["other"]
    a, b = _constant(c, left), _constant(c, right)
    if a is not None or b is not None:
        return _scaled(c, c.fresh(right if a is not None else left), a or b)  # type: ignore[arg-type]
    return times(c, *_alike(c, c.fresh(left), c.fresh(right)))


def times(c: Call, x: Result, y: Result) -> Result:
    """The product of two activations, element by element; axes of length 1 are repeated."""
    rank = len(x.shape)
    full = LETTERS[: rank + 1]
    shape = c.shape
    parts, terms = [], []
    for r in (x, y):
        live = [i for i in range(rank) if r.shape[i] == shape[i]]
        if len(live) < rank:
            small = tuple(r.shape[i] for i in live)
            r = c.walk.layer(f"{r.name}_flat", Move("reshape", *small), [r], small)
        parts.append(r)
        terms.append("a" + "".join(full[1 + i] for i in live))
    w = c.walk.widths
    if not set(full) <= set("".join(terms)):
        raise Refusal("multiplies values that both lack an axis of the result", "repeat one of them first")
    return c.walk.layer(
        c.where, QProduct(f"{terms[0]},{terms[1]}->{full}", left=w.data, right=w.data), parts, shape
    )


def division(c: Call) -> Result:
    left, right, rounding = (
        c["self"],
        c["other"],
        c["rounding_mode"] if "rounding_mode" in c.options else None,
    )
    by = _constant(c, right)
    if rounding is not None:
        raise Refusal("divides to whole numbers", "leave the rounding away")
    if by is None:
        raise Refusal(
            "divides by what the network computes", "multiply by a reciprocal that is a layer of its own"
        )
    if by.trained:
        raise Refusal("divides by a parameter", "multiply by one instead")
    return _scaled(c, c.fresh(left), Held(1 / by.value.double(), None, False))


def negation(c: Call) -> Result:
    return _scaled(c, c.result(), Held(torch.tensor(-1.0), None, False))


def _axes(c: Call, x: Result) -> list[int]:
    dims = c["dim"]
    several = [dims] if isinstance(dims, int) else list(dims or range(len(x.shape) + 1))
    return sorted(c.axis(d, len(x.shape) + 1) for d in several)


def mean(c: Call) -> Result:
    x = c.result()
    axes, keep = _axes(c, x), c["keepdim"]
    _same_type(c, c["dtype"])
    return c.walk.layer(c.where, _mean(c, axes, keep, x), [x], c.shape)


def _mean(c: Call, axes: Sequence[int], keep: bool, x: Result) -> QMean:
    shape: tuple[int, ...] = ()
    if len(x.shape) == 3 and 1 not in axes:  # per channel of an image
        shape = (x.shape[0], *([1] * (len(c.shape) - 1)))
    return QMean(axes, keep, shape=shape, **c.walk.widths.data)


def total(c: Call) -> Result:
    """A sum is a mean times the number of elements, but exact: one axis after the other."""
    x = c.result()
    axes, keep = _axes(c, x), c["keepdim"]
    _same_type(c, c["dtype"])
    shape = list(x.shape)
    for k, axis in enumerate(reversed(axes)):
        del shape[axis - 1]
        x = c.walk.layer(c.where if not k else f"{c.where}_{axis}", Sum(axis), [x], tuple(shape))
    return _reshaped(c, x, c.shape) if keep else x


def pool(kind: type[QAvgPool1d | QAvgPool2d], dims: int, c: Call) -> Result:
    x, kernel = c.result(), c.numbers("kernel_size", dims)
    stride = c.numbers("stride", dims) or kernel
    padding = c.numbers("padding", dims)
    if any(padding) or c["ceil_mode"]:
        raise Refusal("has padding or ceil_mode", "pad before it, and average over whole windows")
    c["count_include_pad"]
    return c.made(kind(kernel, stride=stride, shape=_channels(x), **c.walk.widths.data), x)


def _channels(x: Result) -> tuple[int, ...]:
    return (x.shape[0], *[1] * (len(x.shape) - 1))


def adaptive_pool(kind: type[QAvgPool1d | QAvgPool2d], dims: int, c: Call) -> Result:
    x, size = c.result(), c.numbers("output_size", dims)
    given = x.shape[1:]
    if any(n % m for n, m in zip(given, size, strict=True)):
        raise Refusal(
            f"pools {list(given)} to {list(size)}, in windows of several sizes",
            "choose a size that divides it",
        )
    if given == size:
        return x
    kernel = tuple(n // m for n, m in zip(given, size, strict=True))
    return c.made(kind(kernel, shape=_channels(x), **c.walk.widths.data), x)


def max_pool(kind: Callable[..., nn.Module], dims: int, c: Call) -> Result:
    x, kernel = c.result(), c.numbers("kernel_size", dims)
    stride, dilation = c.numbers("stride", dims) or kernel, c.numbers("dilation", dims)
    padding = c.numbers("padding", dims)
    if c["ceil_mode"]:
        raise Refusal("has ceil_mode", "pad before it, and pool whole windows")
    if any(padding):
        if x.name != STAND_IN and not isinstance(c.walk.layers.get(x.name), nn.ReLU):
            raise Refusal("pads with minus infinity", "put it behind a ReLU, after which zeros do the same")
        ends = [p for q in reversed(padding) for p in (q, q)]
        shape = (x.shape[0], *(n + 2 * p for n, p in zip(x.shape[1:], padding, strict=True)))
        x = c.walk.layer(f"{c.where}_pad", Move("pad", *ends), [x], shape)
    plain = [v if len(set(v)) > 1 else v[0] for v in (kernel, stride, dilation)]
    return c.made(kind(plain[0], plain[1], 0, plain[2]), x)


# -- movements --------------------------------------------------------------------------------------------------------


def _view(c: Call, x: Result, kind: str, numbers: Sequence[int], shape: Sequence[int]) -> Result:
    """A movement whose result torch makes a view of the operand."""
    made = c.walk.layer(c.where, Move(kind, *numbers), [x], shape)
    return replace(made, storage=x.storage, seen=x.seen)


def _reshaped(c: Call, x: Result, shape: tuple[int, ...]) -> Result:
    return x if shape == x.shape else _view(c, x, "reshape", shape, shape)


def reshape(c: Call) -> Result:
    for name in list(c.options)[1:]:
        c[name]  # the shape is traced
    shape = c.shape
    return _reshaped(c, c.result(), shape)


def _permuted(c: Call, dims: Sequence[int]) -> Result:
    x = c.result()
    order = [d % (len(x.shape) + 1) for d in dims]
    if order[0] != 0:
        raise Refusal("moves the batch from the first dimension", "keep the batch first, and whole")
    return _view(c, x, "permute", order, tuple(x.shape[d - 1] for d in order[1:]))


def permute(c: Call) -> Result:
    return _permuted(c, c.numbers("dims"))


def transpose(c: Call) -> Result:
    x, first, second = c.result(), c["dim0"], c["dim1"]
    order = list(range(len(x.shape) + 1))
    order[first], order[second] = order[second], order[first]
    return _permuted(c, order)


def _turned(c: Call) -> Result:
    n = len(c.result().shape) + 1
    if n < 3:
        raise Refusal("moves the batch from the first dimension", "keep the batch first, and whole")
    return _permuted(c, [*range(n - 2), n - 1, n - 2])


def _cut(c: Call, x: Result, axis: int, start: int, stop: int, step: int = 1) -> Result:
    if (start, stop, step) == (0, x.shape[axis - 1], 1):
        return x
    shape = list(x.shape)
    shape[axis - 1] = len(range(start, stop, step))
    return _view(c, x, "slice", (axis, start, stop, step), shape)


def slice_(c: Call) -> Result:
    x, dim, start, stop, step = c.result(), c["dim"], c["start"] or 0, c["end"], c["step"]
    n = 1 << 62
    if (
        dim % (len(x.shape) + 1) == 0
        and start == 0
        and step == 1
        and (stop is None or (isinstance(stop, int) and stop >= n))
    ):
        return x
    axis = c.axis(dim, len(x.shape) + 1)
    if not all(isinstance(v, int | None) for v in (start, stop)):
        raise Refusal("cuts at a place that depends on the number of samples", "cut at numbers")
    return _cut(c, x, axis, *slice(start, stop, step).indices(x.shape[axis - 1]))


def select(c: Call) -> Result:
    x = c.result()
    axis = c.axis(c["dim"], len(x.shape) + 1)
    (index,) = c.numbers("index")
    shape = [n for i, n in enumerate(x.shape, 1) if i != axis]
    return _view(c, x, "select", (axis, index % x.shape[axis - 1]), shape)


def split(c: Call) -> list[Result]:
    """Parts of an axis, as long as the trace found them."""
    for name in list(c.options)[1:]:
        c[name]
    x = c.result()
    axis = c.axis(c.options.peek("dim", 0), len(x.shape) + 1)
    parts, start = [], 0
    for value in c.node.meta["val"]:
        length = int(value.shape[axis])
        parts.append(_cut(c, x, axis, start, start + length))
        start += length
    return parts


def unbind(c: Call) -> list[Result]:
    x = c.result()
    axis = c.axis(c["dim"], len(x.shape) + 1)
    shape = [n for i, n in enumerate(x.shape, 1) if i != axis]
    return [_view(c, x, "select", (axis, i), shape) for i in range(x.shape[axis - 1])]


def concat(c: Call) -> Result:
    parts = c["tensors"]
    if any(isinstance(p, Held) for p in parts):
        raise Refusal(
            "joins what the network computes with a constant",
            "add constants, or leave them to the next layer",
        )
    found = [c.fresh(p) for p in parts]
    axis = c.axis(c["dim"], len(found[0].shape) + 1)
    return found[0] if len(found) == 1 else c.walk.layer(c.where, Concat(axis), found, c.shape)


def stack(c: Call) -> Result:
    parts = [c.fresh(p) for p in c["tensors"]]
    axis = c.axis(c["dim"], len(parts[0].shape) + 2)
    tall = [*parts[0].shape[: axis - 1], 1, *parts[0].shape[axis - 1 :]]
    return c.walk.layer(c.where, Concat(axis), [_reshaped(c, p, tuple(tall)) for p in parts], c.shape)


def flip(c: Call) -> Result:
    x = c.result()
    axes = [c.axis(d, len(x.shape) + 1) for d in c.numbers("dims")]
    return c.walk.layer(c.where, Move("flip", *axes), [x], x.shape)


def roll(c: Call) -> Result:
    x, shifts = c.result(), c.numbers("shifts")
    axes = [c.axis(d, len(x.shape) + 1) for d in c.numbers("dims")]
    if len(axes) != len(shifts) or not axes:
        raise Refusal("rolls the batch along", "give it the axes to roll")
    for shift, axis in zip(shifts, axes, strict=True):
        x = c.walk.layer(c.where, Move("roll", shift, axis), [x], x.shape)
    return x


def spread(c: Call) -> Result:
    for name in list(c.options)[1:]:
        c[name]
    x, shape = c.result(), c.shape
    if len(shape) != len(x.shape):
        raise Refusal("adds an axis before those that are there", "use unsqueeze first")
    return x if shape == x.shape else _view(c, x, "spread", shape, shape)


def repeat(c: Call) -> Result:
    x, counts = c.result(), c["repeats"]
    if len(counts) != len(x.shape) + 1 or counts[0] != 1 or not all(isinstance(n, int) for n in counts):
        raise Refusal("repeats the batch, or adds axes", "repeat along the other axes")
    return c.walk.layer(c.where, Move("repeat", *counts[1:]), [x], c.shape)


def pad(c: Call) -> Result:
    x, ends, mode, value = c.result(), c.numbers("pad"), c["mode"], c["value"]
    if mode != "constant" or value:
        raise Refusal(f"pads by {mode!r}, or with other numbers than 0", "pad with zeros")
    if min(ends) < 0 or len(ends) > 2 * len(x.shape):
        raise Refusal("cuts off elements, or pads the batch", "slice, and pad the other axes")
    return c.walk.layer(c.where, Move("pad", *ends), [x], c.shape)


def upsample(c: Call) -> Result:
    for name in ("output_size", "scale_factors"):
        c[name]
    x, shape = c.result("input"), c.shape
    factors = [m / n for m, n in zip(shape[1:], x.shape[1:], strict=True)]
    if any(f != int(f) for f in factors):
        raise Refusal("is resized by a factor that is no whole number", "use a whole scale_factor")
    return c.walk.layer(c.where, Move("upsample", *(int(f) for f in factors)), [x], shape)


def pixel_shuffle(c: Call) -> Result:
    x, (factor,) = c.result(), c.numbers("upscale_factor")
    return c.walk.layer(c.where, Move("pixel_shuffle", factor), [x], c.shape)


# -- what changes nothing ---------------------------------------------------------------------------------------------


def _same_type(c: Call, dtype: Any) -> None:
    if dtype is not None and dtype != c.walk.traced.input.meta["val"].dtype:
        raise Refusal(f"computes in {str(dtype).removeprefix('torch.')}", "keep the model's own float type")


def same(c: Call) -> Result:
    for name in list(c.options)[1:]:
        if name != "dtype":
            c[name]
    if "dtype" in c.options:
        _same_type(c, c["dtype"])
    return c.result()


def cloned(c: Call) -> Result:
    x = c.result()
    return Result(x.name, x.shape)


def dropout(c: Call) -> Result:
    x, share = c.result("input"), c["p"]
    if c["train"]:
        raise Refusal("drops elements in evaluation too", "give it training=self.training")
    kept = c.walk.layer(c.where, nn.Dropout(share), [x], x.shape)
    return replace(kept, storage=x.storage, seen=x.seen)


RULES: dict[str, Rule] = {
    "_softmax": softmax,
    "_to_copy": same,
    "_unsafe_view": reshape,
    "abs": partial(table, "abs", ()),
    "adaptive_avg_pool1d": partial(adaptive_pool, QAvgPool1d, 1),
    "adaptive_avg_pool2d": partial(adaptive_pool, QAvgPool2d, 2),
    "add": addition,
    "alias": same,
    "attention": attention,
    "avg_pool1d": partial(pool, QAvgPool1d, 1),
    "avg_pool2d": partial(pool, QAvgPool2d, 2),
    "batch_norm": batch_norm,
    "bmm": matmul,
    "cat": concat,
    "celu": partial(table, "celu", ("alpha",)),
    "chunk": split,
    "clamp": clamp,
    "clone": cloned,
    "concat": concat,
    "contiguous": same,
    "conv1d": partial(convolution, QConv1d, 1),
    "conv2d": partial(convolution, QConv2d, 2),
    "cos": partial(table, "cos", ()),
    "detach": same,
    "div": division,
    "dropout": dropout,
    "elu": elu,
    "erf": partial(table, "erf", ()),
    "exp": partial(table, "exp", ()),
    "expand": spread,
    "flatten": reshape,
    "flip": flip,
    "gelu": partial(table, "gelu", ("approximate",)),
    "hardsigmoid": partial(table, "hardsigmoid", ()),
    "hardswish": partial(table, "hardswish", ()),
    "hardtanh": partial(table, "hardtanh", ("min_val", "max_val")),
    "layer_norm": layer_norm,
    "leaky_relu": partial(table, "leaky_relu", ("negative_slope",)),
    "linear": linear,
    "log_sigmoid": partial(table, "logsigmoid", ()),
    "mT": _turned,
    "matmul": matmul,
    "max_pool1d": partial(max_pool, nn.MaxPool1d, 1),
    "max_pool2d": partial(max_pool, nn.MaxPool2d, 2),
    "mean": mean,
    "mish": partial(table, "mish", ()),
    "mm": matmul,
    "mul": multiplication,
    "neg": negation,
    "pad": pad,
    "permute": permute,
    "pixel_shuffle": pixel_shuffle,
    "pow": power,
    "relu": relu,
    "relu6": partial(table, "hardtanh", ()),
    "repeat": repeat,
    "reshape": reshape,
    "roll": roll,
    "scaled_dot_product_attention": dot_product_attention,
    "select": select,
    "selu": partial(table, "selu", ()),
    "sigmoid": partial(table, "sigmoid", ()),
    "silu": partial(table, "silu", ()),
    "sin": partial(table, "sin", ()),
    "slice": slice_,
    "softmax": softmax,
    "softplus": partial(table, "softplus", ("beta", "threshold")),
    "split": split,
    "split_with_sizes": split,
    "square": partial(table, "square", ()),
    "squeeze": reshape,
    "stack": stack,
    "sub": partial(addition, sign=-1),
    "sum": total,
    "tanh": partial(table, "tanh", ()),
    "threshold": partial(table, "threshold", ("threshold", "value")),
    "to": same,
    "transpose": transpose,
    "unbind": unbind,
    "unflatten": reshape,
    "unsqueeze": reshape,
    "upsample_nearest1d": upsample,
    "upsample_nearest2d": upsample,
    "view": reshape,
}
