"""Rules of `lutc.nn.convert`. Pooling."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import nn

from lutc.lowering.refusals import Refusal
from lutc.nn.graph import Move
from lutc.nn.pooling import QAvgPool1d, QAvgPool2d

from .call import Call, shown
from .run import Rule
from .sums import larger, negative, smaller
from .walk import STAND_IN, Missing, Result

PLACES = {1: ("channels", "length"), 2: ("channels", "height", "width")}


def _channelled(c: Call, dims: int) -> Result:
    """The operand of a pool. Raises Refusal for what torch would take for one sample without a batch."""
    x = c.result()
    if len(x.shape) != dims + 1:
        raise Refusal(f"reads {shown(x.shape)}", f"give it {shown(PLACES[dims])}")
    return x


def pool(kind: type[QAvgPool1d | QAvgPool2d], dims: int, c: Call) -> Result:
    x, kernel = _channelled(c, dims), c.numbers("kernel_size", dims)
    stride = c.numbers("stride", dims) or kernel
    padding = c.numbers("padding", dims)
    if any(padding) or c["ceil_mode"]:
        raise Refusal("has padding or ceil_mode", "pad before it, and average over whole windows")
    c["count_include_pad"]
    return c.made(kind(kernel, stride=stride, shape=_channels(x), **c.walk.widths.data), x)


def _channels(x: Result) -> tuple[int, ...]:
    return (x.shape[0], *[1] * (len(x.shape) - 1))


def adaptive_pool(kind: type[QAvgPool1d | QAvgPool2d], dims: int, c: Call) -> Result:
    x, size = _channelled(c, dims), c.numbers("output_size", dims)
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
    x, kernel = _channelled(c, dims), c.numbers("kernel_size", dims)
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


def greatest(c: Call, x: Result, axes: Sequence[int], keep: bool) -> Result:
    """The largest over some axes: a pool over all of them, which are moved behind the others for it."""
    others = [i for i in range(1, len(x.shape) + 1) if i not in axes]
    rest = tuple(x.shape[i - 1] for i in others)
    kept = tuple(1 if i in axes else m for i, m in enumerate(x.shape, 1))
    n = math.prod(x.shape[i - 1] for i in axes)
    order = [0, *others, *axes]
    if order != sorted(order):
        moved = tuple(x.shape[i - 1] for i in order[1:])
        x = c.walk.layer(f"{c.where}_order", Move("permute", *order), [x], moved)
    x = _flat(c, x, (math.prod(rest), n))
    x = c.walk.layer(c.where, nn.MaxPool1d(n), [x], (math.prod(rest), 1))
    return _flat(c, x, kept if keep else rest)


def _flat(c: Call, x: Result, shape: tuple[int, ...]) -> Result:
    return x if x.shape == shape else c.walk.layer(f"{c.where}_shape", Move("reshape", *shape), [x], shape)


def amax(c: Call) -> Result:
    x = c.result()
    return greatest(c, x, c.axes(x), c["keepdim"])


def amin(c: Call) -> Result:
    x = c.result()
    return negative(c, greatest(c, negative(c, x), c.axes(x), c["keepdim"]))


def extreme(over: Rule, pair: Rule, c: Call) -> Any:
    """``x.max(dim)``, the values of which alone have a translation, or ``torch.max(x, y)``; likewise of min."""
    return pair(c) if "other" in c.options else (over(c), Missing())


def adaptive_max(dims: int, c: Call) -> tuple[Result, Missing]:
    if set(c.numbers("output_size", dims)) != {1}:
        raise Refusal("takes the largest of windows of several sizes", "use MaxPool, or an output_size of 1")
    return greatest(c, _channelled(c, dims), range(2, dims + 2), True), Missing()


RULES: dict[str, Rule] = {
    "adaptive_avg_pool1d": partial(adaptive_pool, QAvgPool1d, 1),
    "adaptive_avg_pool2d": partial(adaptive_pool, QAvgPool2d, 2),
    "adaptive_max_pool1d": partial(adaptive_max, 1),
    "adaptive_max_pool2d": partial(adaptive_max, 2),
    "amax": amax,
    "amin": amin,
    "avg_pool1d": partial(pool, QAvgPool1d, 1),
    "avg_pool2d": partial(pool, QAvgPool2d, 2),
    "max": partial(extreme, amax, larger),
    "min": partial(extreme, amin, smaller),
    "max_pool1d": partial(max_pool, nn.MaxPool1d, 1),
    "max_pool2d": partial(max_pool, nn.MaxPool2d, 2),
}
