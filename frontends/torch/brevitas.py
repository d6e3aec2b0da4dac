"""Brevitas layers: what they do between their quantisers is traced, and each quantiser is a leaf with its parameters.

Inside a traced model they pass plain tensors: a scale is the business of the quantiser that made it. A quantised bias
is what the layer adds for the example inputs, for its scale follows from those of the input and the weights.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from lutc.diagnostics import error
from lutc.lowering.affine import limits
from lutc.lowering.refusals import Refusal
from lutc.nn.known import oddity

from .leaves import Leaf, Put, Stand
from .quantisers import Quantiser

ROUNDINGS = {"ROUND_TO_ZERO": "DOWN"}
WAY_OUT = "use integer quantisers with one scale for each tensor or channel"
PRODUCTS = {
    *("QuantLinear", "QuantConv1d", "QuantConv2d", "QuantConv3d"),
    *("QuantConvTranspose1d", "QuantConvTranspose2d"),
}
ACTIVATIONS = {"QuantIdentity", "QuantReLU", "QuantHardTanh", "QuantTanh", "QuantSigmoid"}
REGULAR = {"QuantEltwiseAdd"}


def _layers(model: nn.Module, name: str = "") -> dict[str, nn.Module]:
    """The outermost layers of Brevitas: what they are made of is theirs."""
    if _known(type(model)):
        return {name: model}
    found: dict[str, nn.Module] = {}
    for child, module in model.named_children():
        for inner, layer in _layers(module, f"{name}.{child}" if name else child).items():
            if layer not in found.values():
                found[inner] = layer
    return found


def _known(kind: type) -> bool:
    """Whether a class is exactly one of Brevitas' own layers."""
    home = sys.modules.get(kind.__module__)
    return kind.__module__.startswith("brevitas.nn.") and getattr(home, kind.__name__, None) is kind


def derived(module: nn.Module) -> str | None:
    """The layer of Brevitas that a class which is none itself is derived from."""
    known = next((k for k in type(module).__mro__ if _known(k)), None)
    return None if known is None or known is type(module) else known.__name__


def odd(module: nn.Module) -> str | None:
    """What may make one of Brevitas' layers compute something else than its class says."""
    if not _known(type(module)):
        return None
    return next((reason for m in module.modules() if (reason := oddity(m))), None)


def prepare(
    model: nn.Module,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    leaves: dict[str, Leaf],
    put: Put,
    call: Stand,
) -> None:
    """Let every Brevitas layer compute with leaves in the place of its quantisers."""
    layers = _layers(model)
    if not layers:
        return
    biases = _biases(model, list(layers.values()), args, kwargs)
    for name, module in layers.items():
        kind = type(module).__name__

        def quantiser(part: str, name: str = name, kind: str = kind, module: Any = module) -> Any:
            proxy = getattr(module, part, None)
            if proxy is None or not getattr(proxy, "is_quant_enabled", False):
                return lambda x: x
            key = f"{name}.{part}"
            inner = getattr(proxy, "fused_activation_quant_proxy", None)
            function = proxy if inner is None else inner.tensor_quant
            leaves[key] = Leaf(name, kind, _value(function), _parameters(proxy, function))
            return call(key)

        if kind in ACTIVATIONS:
            put(module, _activation(module, quantiser))
        elif kind in PRODUCTS:
            put(module, _product(module, biases.get(module), quantiser))
        elif kind == "QuantEltwiseAdd":
            put(module, _sum(quantiser))
        else:
            leaves[name] = Leaf(name, kind, type(module).forward.__get__(module), _unknown)
            put(module, call(name))


def _unknown(rank: int) -> Quantiser:
    known = ", ".join(sorted([*ACTIVATIONS, *PRODUCTS, *REGULAR]))
    raise Refusal("is no layer of Brevitas that can be compiled", f"known are {known}; or export it to QONNX")


def _activation(module: Any, quantiser: Callable[[str], Any]) -> Callable[..., Any]:
    before, after = quantiser("input_quant"), quantiser("act_quant")
    fused = getattr(module.act_quant, "fused_activation_quant_proxy", None)
    # Without its quantiser the proxy is gone as well, and the module keeps no function.
    function = fused.activation_impl if fused is not None else PLAIN.get(type(module).__name__, nn.Identity())

    def forward(input: torch.Tensor) -> Any:
        return after(function(before(input)))

    return forward


PLAIN = {
    "QuantReLU": nn.ReLU(),
    "QuantTanh": nn.Tanh(),
    "QuantSigmoid": nn.Sigmoid(),
    "QuantHardTanh": nn.Hardtanh(),
}


def _product(module: Any, bias: torch.Tensor | None, quantiser: Callable[[str], Any]) -> Callable[..., Any]:
    """The module's own product, which reads every setting of it: how it pads, strides and groups."""
    before, weight, after = (quantiser(p) for p in ("input_quant", "weight_quant", "output_quant"))

    def product(x: torch.Tensor) -> Any:
        return after(module.inner_forward_impl(before(x), weight(module.weight), bias))

    def forward(input: torch.Tensor) -> Any:
        return product(input)

    def transposed(input: torch.Tensor, output_size: Any = None) -> Any:
        module._output_size = output_size  # where its own forward leaves it for the product
        return product(input)

    return transposed if hasattr(module, "_output_size") else forward


def _sum(quantiser: Callable[[str], Any]) -> Callable[..., Any]:
    before, after = quantiser("input_quant"), quantiser("output_quant")

    def forward(input: torch.Tensor, other: torch.Tensor) -> Any:
        return after(before(input) + before(other))

    return forward


def _value(function: Any) -> Callable[[torch.Tensor], Any]:
    def run(x: torch.Tensor) -> Any:
        found = function(x)
        return found[0] if isinstance(found, tuple) else found

    return run


def _biases(
    model: nn.Module, layers: list[nn.Module], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[nn.Module, torch.Tensor]:
    """What every layer adds: its bias, quantised if it has a quantiser for it."""
    found: dict[nn.Module, torch.Tensor] = {}
    hooks = []
    for layer in layers:
        bias = getattr(layer, "bias", None)
        if bias is None or type(layer).__name__ not in PRODUCTS:
            continue
        plain = bias.detach()
        found[layer] = plain

        def note(
            proxy: nn.Module, inputs: Any, output: Any, layer: nn.Module = layer, plain: Any = plain
        ) -> None:
            value = (output[0] if isinstance(output, tuple) else output).detach()
            if found[layer] is not plain and not torch.equal(found[layer], value):
                raise error(
                    "is used twice, with a bias that is quantised by the scales of two inputs",
                    where=type(layer).__name__,
                    help="make it two layers, or quantise its bias with a scale of its own",
                )
            found[layer] = value

        hooks.append(layer.bias_quant.register_forward_hook(note))  # type: ignore[union-attr]
    try:
        model(*args, **kwargs)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _parameters(proxy: Any, function: Any) -> Callable[[int], Quantiser]:
    """What a quantiser of Brevitas computes with, read from the live one."""

    def what(rank: int) -> Quantiser:
        whole = type(getattr(function, "tensor_quant", function))
        kind = (
            whole.__name__
            if whole.__module__.startswith("brevitas.")
            else f"{whole.__module__}.{whole.__name__}"
        )
        if getattr(proxy, "is_groupwise", False):
            raise Refusal("has a scale for each group of a channel", WAY_OUT)
        if kind in ("BinaryQuant", "ClampedBinaryQuant"):
            zero = np.zeros(())
            return Quantiser(_number(proxy.scale()), zero, zero - 1, zero + 1, bipolar=True)
        if kind not in ("RescalingIntQuant", "PrescaledRestrictIntQuant"):
            raise Refusal(f"quantises with {kind}", WAY_OUT)
        scale, zero, bits = (_number(v()) for v in (proxy.scale, proxy.zero_point, proxy.bit_width))
        signed, narrow = bool(proxy.is_signed), bool(proxy.is_narrow_range)
        lo, hi = (np.asarray(v, np.float64) for v in limits(bits, signed, narrow))
        word = str(proxy.rounding_mode)
        return Quantiser(scale, zero, lo, hi, ROUNDINGS.get(word, word), shifted=True)

    return what


def _number(value: Any) -> Any:
    array = value.detach().double().numpy()
    return array.reshape(()) if array.size == 1 else array
