"""Formats to begin with, from what a converted model computes on data while nothing is quantised."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lutc.nn.attention import QSoftmax
from lutc.nn.einsum import QEinsum
from lutc.nn.graph import QAffine
from lutc.nn.layers import QBatchNorm, _Affine
from lutc.nn.quantizer import Quantizer, extremes, round_code
from lutc.nn.to_design import evaluating


@dataclass
class Extremes:
    """The least and greatest numbers seen, 0 among them, in a quantiser's shape (float64)."""

    low: Tensor
    high: Tensor

    @property
    def top(self) -> Tensor:
        """The largest magnitude."""
        return torch.maximum(self.high, -self.low)


@dataclass
class Seen:
    """What passed through quantisers, and in and out of the layers with constants."""

    quantisers: dict[Quantizer, Extremes] = field(default_factory=dict)
    inputs: dict[nn.Module, Extremes] = field(default_factory=dict)
    outputs: dict[nn.Module, Extremes] = field(default_factory=dict)


def _met(x: Tensor, shape: tuple[int, ...], before: Extremes | None) -> Extremes:
    """Of numbers that formats of a shape broadcast to, and of those before."""
    low, high = (v.double() for v in extremes(x, shape))
    if before is None:
        return Extremes(low.clamp(max=0), high.clamp(min=0))
    return Extremes(torch.minimum(low, before.low), torch.maximum(high, before.high))


@contextmanager
def observed(model: nn.Module) -> Iterator[Seen]:
    """The model in evaluation mode with quantisers that let everything pass, and note what it is."""
    seen = Seen()
    quantisers = [m for m in model.modules() if isinstance(m, Quantizer)]
    layers = [m for m in model.modules() if isinstance(m, _Affine | QBatchNorm | QAffine)]
    for q in quantisers:
        q.tracing = True  # so that functions are computed, and not looked up
        q.forward = partial(_noted, seen, q)  # type: ignore[method-assign]
        q.constant = _same  # type: ignore[method-assign]
    hooks = [m.register_forward_hook(partial(_around, seen)) for m in layers]
    try:
        with evaluating(model):
            yield seen
    finally:
        for hook in hooks:
            hook.remove()
        for q in quantisers:
            q.tracing = False
            del q.forward, q.constant


def _same(w: Tensor) -> Tensor:
    return w


def _noted(seen: Seen, q: Quantizer, x: Tensor) -> Tensor:
    seen.quantisers[q] = _met(x, q.shape, seen.quantisers.get(q))
    return x


def _around(seen: Seen, layer: nn.Module, given: tuple[Tensor, ...], result: Tensor) -> None:
    ends = [(seen.outputs, result)]
    if not isinstance(layer, _Affine):  # which has a quantiser of its input
        ends.append((seen.inputs, given[0]))
    for noted, value in ends:
        if isinstance(layer, QAffine):
            shape: tuple[int, ...] = tuple(getattr(layer, layer.names[0]).shape)
        else:
            value = value.movedim(-1 if type(layer).__name__ == "QLinear" else 1, -1)
            shape = value.shape[-1:]
        noted[layer] = _met(value, shape, noted.get(layer))


@torch.no_grad()
def start(model: nn.Module, seen: Seen, data_bits: int, weight_bits: int) -> None:
    """Set every quantiser's bits after the point, and its range, from what was seen.

    A quantiser of activations gives each of its formats `data_bits`, of which what the range needs stand before the
    point. A layer's weights are measured by the products they make with the largest inputs: those in a row (of one
    output) have a common step, and the largest `weight_bits`. Biases, gains and shifts have the step of a number of
    `weight_bits` that holds the layer's results.
    """
    for q, ends in seen.quantisers.items():
        _fit(q, ends, min(data_bits, q.max_bits))
    for layer in model.modules():
        if isinstance(layer, QSoftmax) and layer.stable:
            _far_scores(layer, seen)
        elif isinstance(layer, _Affine) and layer in seen.outputs:
            _weights(layer, seen, weight_bits)
        elif isinstance(layer, QBatchNorm) and layer in seen.outputs:
            _constants(layer, seen, weight_bits, layer.gain_quantizer, layer.shift_quantizer)
        elif isinstance(layer, QAffine) and layer in seen.outputs:
            _constants(
                layer, seen, weight_bits, *(getattr(layer, f"{n}_quantizer", None) for n in ("gain", "shift"))
            )


def exponent(top: Tensor) -> Tensor:
    """The least e with ``top < 2**e``, by element; of zeros, that of the largest (0 if all are zero)."""
    e = torch.frexp(top)[1].double()
    live = top > 0
    return torch.where(live, e, e[live].max() if live.any() else torch.zeros((), dtype=e.dtype))


def _fit(q: Quantizer, ends: Extremes, bits: int) -> None:
    sign = (ends.low < 0).double()
    integer = exponent(ends.top).expand(q.shape)
    fraction = bits - sign - integer
    over = round_code(ends.high * torch.exp2(fraction), q.rounding) >= torch.exp2(bits - sign)
    fraction = fraction - over.double()  # the end rounds up to the next power of two
    q.sign.copy_(sign)
    q.integer.copy_(integer)
    q.precision.copy_(fraction)
    low, high = (round_code(v * torch.exp2(fraction), q.rounding) for v in (ends.low, ends.high))
    q.track(low.to(q.sign.dtype), high.to(q.sign.dtype), forget=True)


def _far_scores(layer: QSoftmax, seen: Seen) -> None:
    """Differences whose exponential is below the last bit need no keys of their own: beyond them the key saturates."""
    q, values = layer.exp.input_quantizer, layer.exp.table_quantizer
    if q not in seen.quantisers:
        return
    bits = min(int(q.bits().width.max()), q.max_bits)
    last = (float(values.bits().fraction.max()) + 1) * math.log(2) / abs(layer.exp.scale)
    high = seen.quantisers[q].high.clamp(max=2.0 ** math.ceil(math.log2(last)) * (1 - 2.0**-bits))
    _fit(q, Extremes(seen.quantisers[q].low, high), bits)


def _weights(layer: _Affine, seen: Seen, bits: int) -> None:
    reach = exponent(seen.quantisers[layer.input_quantizer].top)
    if reach.dim():
        reach = layer._at_weights(reach).amax(0)
    weight = layer.weight.double()
    product = (weight.abs() * torch.exp2(reach)).expand_as(weight)
    axes = tuple(range(0 if isinstance(layer, QEinsum) else 1, weight.dim()))
    widest = product.amax(axes, keepdim=True)
    row = exponent(widest)
    row = row + (torch.round(widest * torch.exp2(bits - 1 - row)) >= 2.0 ** (bits - 1)).double()
    _set(layer.weight_quantizer, (bits - 1 - row + reach).expand_as(weight))
    if layer.bias_quantizer is not None:
        _set(layer.bias_quantizer, bits - 1 - exponent(seen.outputs[layer].top))


def _constants(layer: Any, seen: Seen, bits: int, gain: Quantizer | None, shift: Quantizer | None) -> None:
    given, result = exponent(seen.inputs[layer].top), exponent(seen.outputs[layer].top)
    if gain is not None:
        _set(gain, bits - 1 - result + given)
    if shift is not None:
        _set(shift, bits - 1 - result)


def _set(q: Quantizer, fraction: Tensor) -> None:
    """The bits after the point of a constant's quantiser; its range follows the constant."""
    q.precision.copy_(fraction.expand(q.shape))


@torch.no_grad()
def narrowed(seen: Seen, data_bits: int) -> bool:
    """Take bits after the point from formats that are wider than asked for; whether there were any."""
    found = False
    for q in seen.quantisers:
        over = (q.formats().width - min(data_bits, q.max_bits)).clamp(min=0)
        found = found or bool(over.any())
        q.precision.sub_(over)
    return found
