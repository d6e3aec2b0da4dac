"""Modules that the trace takes as a whole: quantisers with a state of their own, and the layers of `lutc.nn`.

While a module is traced, each of them is called as the operator `lutc::leaf`, with its name in the model as the key.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from lutc.lowering.refusals import Refusal
from lutc.nn.quantizer import Layer
from lutc.nn.rules import lower

from .quantisers import Quantiser, along

# The fake quantisers that are known, by the modules of torch.ao and torchao that hold them.
FAKE = {
    f"{home}.{name}": kinds
    for home in ("torch.ao.quantization", "torchao.quantization.pt2e")
    for name, kinds in (
        ("fake_quantize", ("FakeQuantize", "FixedQParamsFakeQuantize", "FusedMovingAvgObsFakeQuantize")),
        ("_learnable_fake_quantize", ("_LearnableFakeQuantize",)),
        ("learnable_fake_quantize", ("LearnableFakeQuantize", "_LearnableFakeQuantize")),
    )
}


@torch.library.custom_op(
    "lutc::leaf", mutates_args=(), schema="(Tensor x, str key, SymInt[] shape) -> Tensor"
)
def leaf(x: torch.Tensor, key: str, shape: list[int]) -> torch.Tensor:
    """Stands for a module in a traced graph; nothing runs it."""
    raise NotImplementedError(key)


@leaf.register_fake
def _shape_only(x: torch.Tensor, key: str, shape: list[int]) -> torch.Tensor:
    return x.new_empty(shape)


@dataclass(frozen=True, eq=False)
class Leaf:
    """A module under its name in the model: how to `run` it, and what it is.

    `what` gives its quantiser for a tensor of some rank, or raises Refusal; None for a layer of `lutc.nn`.
    """

    name: str
    kind: str
    run: Callable[[torch.Tensor], Any]
    what: Callable[[int], Quantiser] | None = None
    layer: nn.Module | None = None


Put = Callable[[nn.Module, Callable[..., Any]], None]  # let a module compute something else
Stand = Callable[..., Callable[..., Any]]  # the operator under a key, in the place of a module
Prepare = Callable[[nn.Module, tuple[Any, ...], Mapping[str, Any], dict[str, Leaf], Put, Stand], None]


@contextmanager
def opened(
    model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], prepare: Prepare
) -> Iterator[dict[str, Leaf]]:
    """The leaves of a model by key, which stand for their modules as long as the context lasts.

    `prepare` adds those of a library of layers that are no leaves as a whole.
    """
    leaves: dict[str, Leaf] = {}
    changed: list[nn.Module] = []

    def call(key: str, shape: Callable[[torch.Tensor], list[int]] | None = None) -> Callable[..., Any]:
        def forward(x: torch.Tensor, *rest: Any) -> Any:
            return leaf(x, key, list(x.shape) if shape is None else shape(x))

        return forward

    def put(module: nn.Module, forward: Callable[..., Any]) -> None:
        if module not in changed:
            module.forward = forward
            changed.append(module)

    shapes = _shapes_of(model, args, kwargs)
    prepare(model, args, kwargs, leaves, put, call)
    for name, module in model.named_modules():
        if is_fake(module):
            leaves[name] = Leaf(
                name, type(module).__name__, type(module).forward.__get__(module), _fake(module)
            )
            put(module, call(name))
        elif module in shapes:
            leaves[name] = Leaf(
                name, type(module).__name__, type(module).forward.__get__(module), layer=module
            )
            put(module, call(name, partial(_given, shapes[module])))
    try:
        yield leaves
    finally:
        for module in changed:
            del module.forward


def _given(shapes: dict[tuple[int, ...], list[int]], x: torch.Tensor) -> list[int]:
    return shapes[tuple(x.shape)]


def is_fake(module: nn.Module) -> bool:
    """Whether it is one of torch's own fake quantisers, or of a class derived from them."""
    return any(c.__name__ == "FakeQuantizeBase" for c in type(module).__mro__)


def known_fake(module: nn.Module) -> bool:
    """Whether it is exactly a fake quantiser of torch.ao or torchao that is known here."""
    kind = type(module)
    home = sys.modules.get(kind.__module__)
    return kind.__name__ in FAKE.get(kind.__module__, ()) and getattr(home, kind.__name__, None) is kind


def _layers(model: nn.Module) -> list[nn.Module]:
    """The outermost layers of `lutc.nn`, each exactly as its class makes it."""
    if isinstance(model, Layer) and type(model) in lower.registry:
        return [model]
    return [layer for child in model.children() for layer in _layers(child)]


def _shapes_of(
    model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[nn.Module, dict[tuple[int, ...], list[int]]]:
    """The shapes that layers of `lutc.nn` give, by the shapes they are given."""
    layers = _layers(model)
    found: dict[nn.Module, dict[tuple[int, ...], list[int]]] = {layer: {} for layer in layers}

    def note(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        found[module][tuple(inputs[0].shape)] = list(output.shape)

    hooks = [layer.register_forward_hook(note) for layer in found]
    try:
        if layers:
            model(*args, **kwargs)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _fake(module: Any) -> Callable[[int], Quantiser]:
    """The parameters of a fake quantiser of torch.ao or torchao."""

    def what(rank: int) -> Quantiser:
        if not int(module.fake_quant_enabled[0]):
            raise Refusal(
                "is switched off", "switch it on: model.apply(torch.ao.quantization.enable_fake_quant)"
            )
        if hasattr(module, "static_enabled"):
            return _learnable(module, rank)
        if int(module.observer_enabled[0]):
            raise Refusal(
                "still observes, so its scale changes with every call",
                "freeze it: model.apply(torch.ao.quantization.disable_observer)",
            )
        scale, zero = (_along(module, v, rank) for v in (module.scale, module.zero_point))
        observer = module.activation_post_process  # whose limits count, whatever the module's own say
        return Quantiser(
            scale, zero, np.asarray(int(observer.quant_min)), np.asarray(int(observer.quant_max))
        )

    return what


def _along(module: Any, values: torch.Tensor, rank: int) -> Any:
    return along(values.detach().numpy(), module.ch_axis % rank if module.ch_axis >= 0 else None, rank)


def _learnable(module: Any, rank: int) -> Quantiser:
    """One whose scale and zero point are trained: torch keeps them in their range as it reads them."""
    if int(module.static_enabled[0]):
        raise Refusal(
            "still observes, so its scale changes with every call",
            "freeze it: module.toggle_observer_update(False), as enable_param_learning() does",
        )
    symmetric = module.qscheme in (torch.per_channel_symmetric, torch.per_tensor_symmetric)
    scale = module.scale.detach().clamp(min=float(module.eps))
    zero = module.zero_point.detach().round().clamp(module.quant_min, module.quant_max)
    zero = torch.zeros_like(zero) if symmetric else zero
    lo, hi = np.asarray(int(module.quant_min)), np.asarray(int(module.quant_max))
    return Quantiser(_along(module, scale, rank), _along(module, zero, rank), lo, hi)
