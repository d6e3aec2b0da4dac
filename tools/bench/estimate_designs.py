"""Small designs of all kinds, made with fixed seeds: what `estimates.py` compares estimates with synthesis on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

import lutc
from lutc.build import Builder

Made = tuple[str, str, Callable[[], Any]]  # kind, name, what makes the design


def _builder(name: str, seed: int) -> tuple[Builder, np.random.Generator]:
    return Builder(name), np.random.default_rng(seed)


def _weights(b: Builder, rng: np.random.Generator, shape: tuple[int, int], bits: int, name: str = "w") -> Any:
    """Whole numbers of so many bits, signed, a tenth of them 0."""
    top = 1 << bits - 1
    numbers = np.clip(np.round(rng.normal(0, top / 2.5, shape)), -top, top - 1).astype(int)
    numbers[rng.random(shape) < 0.1] = 0
    return b.constant(name, f"s{bits}{list(shape)}", numbers)


def dense(inputs: int, outputs: int, data: int, bits: int) -> Any:
    """One matrix, without rounding."""
    b, rng = _builder("dense", inputs * 100 + bits)
    b.output("y", b.dense(b.input("x", f"s{data}[{inputs}]"), _weights(b, rng, (inputs, outputs), bits)))
    return b.design()


def mlp(widths: tuple[int, ...], bits: int, overflow: str) -> Any:
    """Matrices with relu and rounding between them, as quantised networks have them."""
    b, rng = _builder("mlp", sum(widths) + bits)
    h = b.input("x", f"s{bits}f{bits - 2}[{widths[0]}]")
    for n, (inputs, outputs) in enumerate(pairwise(widths)):
        h = b.dense(h, _weights(b, rng, (inputs, outputs), bits, f"w{n}"))
        if n < len(widths) - 2:
            h = b.quant(b.relu(h), to=f"u{bits}[{outputs}]", round="nearest-half-up", overflow=overflow)
    b.output("y", h)
    return b.design()


def requantisers(count: int, wide: int, narrow: int) -> Any:
    """Free factors, as ONNX has them."""
    b, rng = _builder("requantisers", count + wide)
    by = [Fraction(int(n), 10_000) for n in rng.integers(50, 2000, count)]
    b.output("y", b.rescale(b.input("x", f"s{wide}[{count}]"), to=f"s{narrow}[{count}]", by=by))
    return b.design()


def roundings(count: int, wide: int, narrow: int, rounding: str, overflow: str) -> Any:
    b, _ = _builder("roundings", 0)
    x = b.input("x", f"s{wide}f4[{count}]")
    b.output("y", b.quant(x, to=f"s{narrow}f1[{count}]", round=rounding, overflow=overflow))
    return b.design()


def conv(positions: int, channels: int, outputs: int, bits: int) -> Any:
    """A window of three along a row."""
    b, rng = _builder("conv", positions + bits)
    x = b.input("x", f"u{bits}[{positions * channels}]")
    w = _weights(b, rng, (3 * channels, outputs), bits)
    for at in range(positions - 2):
        window = b.slice(x, start=[at * channels], stop=[(at + 3) * channels])
        sums = b.quant(
            b.relu(b.dense(window, w)), to=f"u{bits}[{outputs}]", round="floor", overflow="saturate"
        )
        b.output(f"y{at}", sums)
    return b.design()


def largest(count: int, bits: int) -> Any:
    b, _ = _builder("largest", 0)
    x = b.input("x", f"s{bits}[{count}]")
    b.output("y", b.reduce_max(x))
    b.output("at", b.argmax(x))
    return b.design()


def comparisons(count: int, bits: int) -> Any:
    b, rng = _builder("comparisons", count)
    x, y = (b.input(n, f"s{bits}[{count}]") for n in "xy")
    b.output("less", b.compare(x, y, rel="lt"))
    b.output("less_of", b.min(x, y))
    limits = b.constant("c", f"s{bits}[{count}]", rng.integers(-(1 << bits - 1), 1 << bits - 1, count))
    b.output("over", b.compare(x, limits, rel="ge"))
    return b.design()


def looked_up(count: int, key: int, value: int, smooth: bool) -> Any:
    """Tables each with a port of its own."""
    b, rng = _builder("tables", key * 10 + value)
    for n in range(count):
        entries = rng.integers(0, 1 << value, 1 << key)
        if smooth:
            steps = np.linspace(-2, 2, 1 << key) * rng.uniform(0.5, 2)
            entries = np.round((np.tanh(steps + rng.uniform(-0.5, 0.5)) + 1) / 2 * ((1 << value) - 1)).astype(
                int
            )
        table = b.table(f"t{n}", f"u{key}", f"u{value}", entries)
        b.output(f"y{n}", b.lut(b.input(f"x{n}", f"u{key}"), table))
    return b.design()


def table_sums(inputs: int, outputs: int, key: int, value: int) -> Any:
    """Smooth tables of every input that are added up, as HGQ-LUT layers are."""
    b, rng = _builder("table_sums", inputs * 10 + key)
    xs = [b.input(f"x{i}", f"s{key}f2") for i in range(inputs)]
    numbers = np.fft.ifftshift(np.linspace(-2, 2, 1 << key))  # in the order of the key's bits
    for o in range(outputs):
        found = []
        for i, x in enumerate(xs):
            curve = np.tanh(numbers * rng.uniform(-2, 2) + rng.uniform(-1, 1))
            entries = np.round(curve * ((1 << value - 1) - 1)).astype(int)
            found.append(b.lut(x, b.table(f"t{o}_{i}", f"s{key}f2", f"s{value}", entries)))
        total = found[0]
        for more in found[1:]:
            total = b.add(total, more)
        b.output(f"y{o}", total)
    return b.design()


def adders(count: int, bits: int, sums: int) -> Any:
    b, _ = _builder("adders", 0)
    for n in range(sums):
        b.output(f"y{n}", b.sum(b.input(f"x{n}", f"s{bits}[{count}]")))
    return b.design()


def products(count: int, a: int, c: int, signed: bool) -> Any:
    b, _ = _builder("products", 0)
    sign = "s" if signed else "u"
    b.output("y", b.mul(b.input("x", f"{sign}{a}[{count}]"), b.input("z", f"{sign}{c}[{count}]")))
    return b.design()


def squares(count: int, bits: int) -> Any:
    b, _ = _builder("squares", 0)
    x = b.input("x", f"s{bits}[{count}]")
    b.output("y", b.sum(b.mul(x, x)))
    return b.design()


def lut_dense(widths: tuple[int, ...], fraction: int, seed: int) -> Any:
    """An untrained network of `lutc.nn`, its ranges traced on random numbers."""
    import torch

    from lutc import nn

    torch.manual_seed(seed)
    layers = [nn.LUTDense(i, o, fraction=fraction) for i, o in pairwise(widths)]
    model = torch.nn.Sequential(*layers).train()
    data = torch.randn(256, widths[0])
    model(data)
    model.eval()
    nn.trace_ranges(model, [data])
    return lutc.load(model, compare=False)


def designs() -> Iterator[Made]:
    """All of them."""
    for d in ((8, 8, 4, 4), (12, 6, 6, 4), (8, 6, 8, 6), (12, 3, 8, 8), (24, 4, 5, 3), (6, 10, 5, 5)):
        yield "dense", "x".join(map(str, d)), partial(dense, *d)
    for widths, bits, overflow in (
        ((8, 6, 3), 4, "saturate"),
        ((8, 5, 3), 6, "saturate"),
        ((6, 5, 5, 3), 5, "wrap"),
        ((6, 4, 3), 8, "saturate"),
    ):
        yield (
            "network",
            f"{'-'.join(map(str, widths))} of {bits} bits, {overflow}",
            partial(mlp, widths, bits, overflow),
        )
    for r in ((6, 12, 8), (5, 16, 8), (5, 20, 6)):
        yield "requantisers", "x".join(map(str, r)), partial(requantisers, *r)
    for q in (
        (16, 10, 5, "nearest-half-up", "saturate"),
        (16, 12, 8, "nearest-half-even", "saturate"),
        (16, 12, 8, "floor", "saturate"),
        (16, 12, 6, "nearest-half-up", "wrap"),
    ):
        yield "roundings", "x".join(map(str, q)), partial(roundings, *q)
    for c in ((6, 2, 3, 4), (5, 1, 4, 6)):
        yield "convolutions", "x".join(map(str, c)), partial(conv, *c)
    for m in ((8, 6), (5, 10), (16, 8)):
        yield "largest", "x".join(map(str, m)), partial(largest, *m)
    for m in ((8, 8), (16, 5)):
        yield "comparisons", "x".join(map(str, m)), partial(comparisons, *m)
    for key, value, smooth in (
        (4, 6, False), (5, 5, False), (6, 4, False), (7, 4, False), (8, 6, True), (9, 7, True), (10, 6, True),
    ):  # fmt: skip
        yield "tables", f"{key} to {value}{', smooth' * smooth}", partial(looked_up, 8, key, value, smooth)
    for t in ((8, 4, 5, 6), (8, 4, 6, 6), (6, 5, 7, 5), (16, 3, 4, 5)):
        yield "table sums", "x".join(map(str, t)), partial(table_sums, *t)
    for a in ((4, 8, 8), (16, 6, 4), (32, 4, 3), (64, 1, 4)):
        yield "adders", "x".join(map(str, a)), partial(adders, *a)
    for p in ((8, 4, 4, False), (6, 6, 6, True), (4, 8, 8, True), (6, 8, 3, False)):
        yield "products", f"{p[0]} of {p[1]}x{p[2]}{', signed' * p[3]}", partial(products, *p)
    for k in ((6, 5), (4, 8)):
        yield "products", f"{k[0]} squares of {k[1]}", partial(squares, *k)
    for sizes, fraction, seed in (((6, 4, 3), 2, 0), ((6, 4, 2), 3, 1), ((10, 4), 2, 2)):
        yield (
            "LUT-Dense",
            f"{'-'.join(map(str, sizes))}, {fraction} after the point",
            partial(lut_dense, sizes, fraction, seed),
        )
