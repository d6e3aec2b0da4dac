"""Second moments of what a layer's products read: how its weights' errors add up at its outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .sites import Layer

Array = NDArray[Any]

ROWS = 16384  # positions of a convolution that are looked at


@dataclass(frozen=True)
class Moments:
    """Of one group: `inputs [K, K]` and `products [K, J]` are covariances of what the products read with itself and
    with the results; `means [K]` and `[J]` are theirs."""

    inputs: Array
    products: Array
    means: tuple[Array, Array]


def moments(layer: Layer, x: Array, z: Array, weights: Array) -> list[Moments]:
    """The moments of each group of a layer, of its quantised input `x` and the float model's results `z`.

    A transposed convolution overlaps its results, so its weights are looked at one by one.
    """
    if layer.op == "ConvTranspose":
        power = (np.asarray(x, np.float64) ** 2).mean(axis=(0, *range(2, x.ndim)))
        parts = zip(np.split(power, layer.groups), layer.matrices(weights), strict=True)
        return [
            Moments(np.diag(p), p[:, None] * m, (np.zeros(len(p)), np.zeros(m.shape[1]))) for p, m in parts
        ]
    found = []
    for a, b in fan_in(layer, x, z, weights.shape):
        means = a.mean(0), b.mean(0)
        centred = a - means[0]
        found.append(Moments(centred.T @ centred / len(a), centred.T @ (b - means[1]) / len(a), means))
    return found


def fan_in(layer: Layer, x: Array, z: Array, shape: tuple[int, ...]) -> list[tuple[Array, Array]]:
    """For each group, what its products read `[rows, fan-in]`, and the results `[rows, outputs]` in the same order.

    `x` is the layer's input `(batch, ...)`, `z` its result, `shape` that of its weights. Of a convolution some of the
    positions are taken, the same every time.
    """
    if layer.op != "Conv":
        return [(_flat(x, shape[0]), z.reshape(-1, z.shape[-1]).astype(np.float64))]
    kernel = shape[2:]
    dims = len(kernel)
    given = layer.attributes
    strides = given.get("strides", [1] * dims)
    dilations = given.get("dilations", [1] * dims)
    pads = padding(given, x.shape[2:], kernel, strides, dilations)
    padded = np.pad(x, [(0, 0), (0, 0), *zip(pads[:dims], pads[dims:], strict=True)])
    span = [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)]
    windows = np.lib.stride_tricks.sliding_window_view(padded, span, axis=tuple(range(2, 2 + dims)))
    every = slice(None)
    moved: tuple[Any, ...] = (every, every, *(slice(None, None, s) for s in strides))
    taps: tuple[Any, ...] = (..., *(slice(None, None, d) for d in dilations))
    windows = windows[moved][taps]
    places = windows.shape[2 : 2 + dims]
    total = len(x) * int(np.prod(places))
    rows = np.random.default_rng(0).permutation(total)[:ROWS] if total > ROWS else np.arange(total)
    first, *others = np.unravel_index(rows, (len(x), *places))
    at: tuple[Any, ...] = (first, every, *others)
    patches = windows[at].reshape(len(rows), x.shape[1], -1)
    results = z[at]
    ins, outs = x.shape[1] // layer.groups, z.shape[1] // layer.groups
    return [
        (
            patches[:, g * ins : (g + 1) * ins].reshape(len(rows), -1).astype(np.float64),
            results[:, g * outs : (g + 1) * outs].astype(np.float64),
        )
        for g in range(layer.groups)
    ]


def _flat(x: Array, width: int) -> Array:
    return np.asarray(x.reshape(-1, width), np.float64)


def padding(
    given: dict[str, Any], size: tuple[int, ...], kernel: tuple[int, ...], strides: Any, dilations: Any
) -> list[int]:
    """The padding before and behind each dimension, as ONNX's Conv states it."""
    auto = given.get("auto_pad", b"NOTSET")
    if auto in (b"NOTSET", b""):
        return list(given.get("pads", [0] * (2 * len(kernel))))
    if auto == b"VALID":
        return [0] * (2 * len(kernel))
    spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)]
    wanted = [
        max((-(-n // s) - 1) * s + span - n, 0) for n, s, span in zip(size, strides, spans, strict=True)
    ]
    small, large = [p // 2 for p in wanted], [p - p // 2 for p in wanted]
    return [*small, *large] if auto == b"SAME_UPPER" else [*large, *small]
