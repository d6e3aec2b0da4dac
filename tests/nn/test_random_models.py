"""Two hundred random models over all layers and quantiser modes: the design, and the circuit, are the model."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import lutc
from lutc import nn as lnn

MODELS, CHUNK, INPUTS = 200, 20, 10_000
Shape = tuple[int, ...]


class Draw:
    """Random choices, from one seed."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.first = True  # the first quantiser is the input port's, which is more particular

    def of(self, *choices: Any) -> Any:
        return choices[int(self.random.integers(len(choices)))]

    def mode(self) -> dict[str, Any]:
        """A quantiser's rounding and overflow; of all readers of the input alike."""
        roundings = ("floor", "nearest-half-up") if self.first else _ROUNDINGS
        return {"rounding": self.of(*roundings), "overflow": self.of(*_OVERFLOWS)}

    def quantiser(self, *shapes: Shape) -> dict[str, Any]:
        """Options of a `Quantizer` of one of the shapes."""
        made = {**self.mode(), "shape": self.of((), *shapes), "integer": self.of(0, 1, 3)}
        if made["overflow"] != "wrap" and self.of(True, False):
            made["total"] = made["integer"] + self.of(1, 3, 6)
        else:
            made["fraction"] = self.of(0, 2, 5)
        return made | {"signed": True, "max_bits": self.of(5, 24)}

    def lut(self) -> dict[str, Any]:
        """Options of a LUT layer."""
        return {
            **self.mode(),
            "hidden": self.of(2, 5),
            "depth": self.of(1, 1, 2),
            "activation": self.of("tanh", "relu", "sin", "silu"),
            "batch_norm": self.of(True, False),
            "integer": self.of(0, 2),
            "fraction": self.of(1, 3, 5),
            "max_key_bits": self.of(3, 8),
            "table_integer": self.of(0, 1, 2),
            "table_fraction": self.of(2, 6),
        }

    def kernel(self, size: Shape) -> dict[str, Any]:
        """A convolution's geometry that leaves something of the size."""
        padding = self.of(0, 1)
        fits = [k for k in (1, 2, 3) if k <= min(size) + 2 * padding]
        kernel = self.of(*fits)
        wide = kernel > 1 and 2 * (kernel - 1) + 1 <= min(size) + 2 * padding
        return {
            "kernel": kernel,
            "padding": padding,
            "stride": self.of(1, 2),
            "dilation": self.of(1, 2) if wide else 1,
        }


_ROUNDINGS = ("floor", "nearest-half-up", "nearest-half-even")
_OVERFLOWS = ("wrap", "saturate", "saturate-symmetric")


def linear(d: Draw, shape: Shape, n_out: int | None = None) -> nn.Module:
    """Either layer over the last axis."""
    n_out = n_out or d.of(1, 2, 4)
    if d.of(True, False):
        return lnn.LUTDense(shape[-1], n_out, **d.lut())
    weights = {**d.mode(), "fraction": d.of(1, 3, 5)}
    return lnn.QLinear(shape[-1], n_out, d.of(True, False), data=d.quantiser(shape[-1:]), weights=weights)


def convolution(d: Draw, shape: Shape) -> nn.Module:
    """Either convolution, in one or two dimensions."""
    channels, *size = shape
    groups = d.of(1, channels)
    made = {**d.kernel(tuple(size)), "groups": groups}
    kinds: tuple[Any, Any] = (lnn.LUTConv1d, lnn.QConv1d) if len(size) == 1 else (lnn.LUTConv2d, lnn.QConv2d)
    if d.of(True, False):
        return kinds[0](channels, groups * d.of(1, 2), **made, **d.lut())  # type: ignore[no-any-return]
    per_channel = (channels, *[1] * len(size))
    made |= {"bias": d.of(True, False), "data": d.quantiser(per_channel), "weights": d.mode()}
    return kinds[1](channels, groups * d.of(1, 2), **made)  # type: ignore[no-any-return]


def pool(d: Draw, shape: Shape) -> nn.Module:
    if d.of(True, False):
        kind = lnn.QAvgPool1d if len(shape) == 2 else lnn.QAvgPool2d
        fits = [k for k in (2, 3) if k <= min(shape[1:])]
        return kind(d.of(*fits), stride=d.of(1, 2), **d.quantiser())
    if d.of(True, False):
        own = lnn.QMaxPool1d if len(shape) == 2 else lnn.QMaxPool2d
        return own(2, stride=d.of(1, 2), dilation=d.of(1, 2) if min(shape[1:]) > 2 else 1)
    return nn.MaxPool1d(2, d.of(1, 2)) if len(shape) == 2 else nn.MaxPool2d(2, d.of(1, 2))


def einsum(d: Draw, shape: Shape) -> nn.Module:
    """A product along the first or the last of two axes, or with a constant per column."""
    (n, m), k = shape, d.of(1, 3)
    equation, size = d.of(("bij,ik->bkj", (n, k)), ("bij,ijk->bik", (n, m, k)), ("bij,j->bij", (m,)))
    return lnn.QEinsum(equation, size, data=d.quantiser(shape), weights=d.mode())


def function(d: Draw) -> nn.Module:
    """A table for all elements."""
    name, scale = d.of("tanh", "exp", "reciprocal", "silu"), d.of(1.0, -0.7)
    return lnn.QFunction(
        name, scale=scale, data={**d.quantiser(), "max_bits": d.of(5, 10)}, table=d.quantiser()
    )


def softmax(d: Draw) -> dict[str, Any]:
    """Options of `QSoftmax`: its own defaults for some of the quantisers."""
    parts = {
        "data": d.quantiser(),
        "keys": {**d.mode(), "max_bits": d.of(4, 8)},
        "exp": {**d.mode(), "fraction": d.of(2, 6)},
        "total": {**d.mode(), "max_bits": d.of(4, 8)},
        "inverse": {**d.mode(), "integer": d.of(0, 2)},
    }
    return {"stable": d.of(True, False), **{k: v for k, v in parts.items() if d.of(True, False)}}


def attention(d: Draw, shape: Shape) -> nn.Module:
    options: Any = {"data": d.quantiser(shape[1:]), "weights": d.mode(), "products": d.quantiser()}
    return lnn.QAttention(shape[1], d.of(1, 2), d.of(1, 2), out=d.of(None, 2), softmax=softmax(d), **options)


def relu(d: Draw, shape: Shape) -> nn.Module:
    return lnn.QReLU(**{**d.quantiser(shape), "signed": False})


def branches(d: Draw, shape: Shape) -> nn.Module:
    if d.of(True, False):
        joins: tuple[Any, ...] = (lnn.QAdd, lnn.QMaximum, lnn.QMinimum)
        if d.of(True, False):
            return lnn.QMultiply(*(lnn.Quantizer(**d.quantiser(shape)) for _ in range(2)))
        return d.of(*joins)(nn.Identity(), linear(d, shape, shape[-1]))  # type: ignore[no-any-return]
    return lnn.QConcat(linear(d, shape), relu(d, shape), dim=len(shape))


def next_layer(d: Draw, shape: Shape) -> nn.Module:
    """A layer that this shape can go through."""
    choices: list[Callable[[], nn.Module]] = [
        lambda: linear(d, shape),
        lambda: relu(d, shape),
        lambda: lnn.Quantizer(**d.quantiser(shape, (*[1] * (len(shape) - 1), shape[-1]))),
        lambda: branches(d, shape),
        lambda: lnn.QBatchNorm(shape[0], weights=d.mode()),
        lambda: lnn.QBatchNorm(shape[-1], weights=d.mode(), axis=-1),
        nn.ReLU,
        lambda: function(d),
        lambda: lnn.QSoftmax(d.of(*range(1, len(shape) + 1)), **softmax(d)),
    ]
    if len(shape) > 1:
        choices += [lambda: convolution(d, shape)] * 4
        if len(shape) == 2:
            choices += [lambda: einsum(d, shape), *[lambda: attention(d, shape)] * 2]
        choices += [nn.Flatten, lambda: lnn.Sum(d.of(*range(1, len(shape) + 1)))]
        if min(shape[1:]) > 1:
            choices += [lambda: pool(d, shape)] * 2
    return d.of(*choices)()  # type: ignore[no-any-return]


@cache
def random_model(seed: int) -> tuple[nn.Sequential, Shape]:
    """Two to five layers, of several draws the first whose answers vary (else the last: all pruned counts too)."""
    for attempt in range(10):
        model, shape = _draw(seed + MODELS * attempt)
        with torch.no_grad():
            if len(model(samples(shape, 50, seed)).unique()) > 8:
                break
    return model, shape


def _draw(seed: int) -> tuple[nn.Sequential, Shape]:
    """Trained a little, so that all widths and ranges are different."""
    torch.manual_seed(seed)
    d = Draw(seed)
    shape: Shape = d.of((3,), (5,), (3, 4), (2, 6), (2, 4, 4), (1, 5, 3))
    if len(shape) > 1 and d.of(True, False):
        first = convolution(d, shape)
    else:
        first = d.of(lambda: linear(d, shape), lambda: lnn.Quantizer(**d.quantiser(shape)))()
    d.first = False
    layers, x = [first], torch.randn(16, *shape)
    y = first(x)
    for _ in range(d.of(1, 2, 3, 4)):
        layers.append(next_layer(d, tuple(y.shape[1:])))
        y = layers[-1](y)
        if y.dim() == 1:
            break
    model = nn.Sequential(*layers)
    _train(model, shape, d)
    return model.eval(), shape


def _train(model: nn.Module, shape: Shape, d: Draw) -> None:
    with torch.no_grad():
        for q in model.modules():
            if isinstance(q, lnn.Quantizer) and isinstance(q.precision, nn.Parameter):
                q.precision.add_(torch.randint(-3, 2, q.precision.shape))
    optimiser = torch.optim.SGD(model.parameters(), 1e-2) if any(True for _ in model.parameters()) else None
    for _ in range(2):
        y = model(torch.randn(32, *shape))
        if optimiser is not None and y.requires_grad:
            optimiser.zero_grad()
            torch.autograd.backward(y.square().mean())
            nn.utils.clip_grad_norm_(model.parameters(), 100)
            optimiser.step()


def samples(shape: Shape, count: int, seed: int) -> torch.Tensor:
    """Numbers within the ranges met in training, beyond them, and on the grids' ties."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(count, *shape, generator=g, dtype=torch.float64) * 2
    x[::3] = torch.round(x[::3] * 16) / 16
    x[1::7] *= 20
    return x


def same(model: nn.Module, found: Any, x: torch.Tensor) -> bool:
    with torch.no_grad():
        return np.array_equal(np.asarray(found, dtype=np.float64), model(x).numpy())


@pytest.mark.parametrize("first", range(0, MODELS, CHUNK))
def test_designs_are_their_models(first: int) -> None:
    for seed in range(first, first + CHUNK):
        model, shape = random_model(seed)
        x = samples(shape, INPUTS, seed)
        design = lnn.export(model, shape)
        assert same(model, design.run(x.numpy()), x), f"seed {seed}: {model}"


@pytest.mark.parametrize("seed", range(0, MODELS, 17))
def test_circuits_are_their_models(seed: int) -> None:
    model, shape = random_model(seed)
    x = samples(shape, 1000, seed)
    build = lutc.compile(lnn.export(model, shape), clock_ns=3)
    assert same(model, build.run(x.numpy()), x), f"seed {seed}: {model}"


def test_the_models_reach_every_layer_and_mode() -> None:
    found: set[str] = set()
    constant = 0
    for seed in range(MODELS):
        model, shape = random_model(seed)
        with torch.no_grad():
            constant += len(model(samples(shape, 200, seed)).unique()) == 1
        for m in model.modules():
            found.add(type(m).__name__)
            if isinstance(m, lnn.Quantizer):
                found |= {m.rounding.value, m.overflow.value, "by total" if m.by_total else "by fraction"}
    assert found >= {
        "LUTDense", "LUTConv1d", "LUTConv2d", "QLinear", "QConv1d", "QConv2d", "QReLU", "QBatchNorm", "QAdd",
        "QConcat", "Sum", "QAvgPool1d", "QAvgPool2d", "QEinsum", "Quantizer", "MaxPool1d", "MaxPool2d", "Flatten",
        "ReLU", "QFunction", "QSoftmax", "QAttention",
        "QMaxPool1d", "QMaxPool2d", "QMaximum", "QMinimum", "QMultiply",
        "by total", "by fraction", *_ROUNDINGS, *_OVERFLOWS,
    }  # fmt: skip
    assert constant < MODELS // 20
