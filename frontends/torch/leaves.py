"""Modules that the trace takes as a whole: quantisers with a state of their own, and the layers of `lutc.nn`.

While a module is traced, each of them is called as the operator `lutc::leaf`, with its name in the model as the key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from ..importer import Refusal
from .quantisers import Quantiser, along


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


@contextmanager
def opened(model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Iterator[dict[str, Leaf]]:
    """The leaves of a model by key, which stand for their modules as long as the context lasts."""
    from . import brevitas

    leaves: dict[str, Leaf] = {}
    changed: list[nn.Module] = []

    def call(key: str, shape: Callable[[torch.Tensor], list[int]] | None = None) -> Callable[..., Any]:
        def forward(x: torch.Tensor, *rest: Any) -> Any:
            return leaf(x, key, list(x.shape) if shape is None else shape(x))

        return forward

    def put(module: nn.Module, forward: Callable[..., Any]) -> None:
        module.forward = forward
        changed.append(module)

    shapes = _shapes_of(model, args, kwargs)
    brevitas.prepare(model, args, kwargs, leaves, put, call)
    for name, module in model.named_modules():
        if any(c.__name__ == "FakeQuantizeBase" for c in type(module).__mro__):  # of torch.ao, or of torchao
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


def _layers(model: nn.Module) -> list[nn.Module]:
    """The outermost layers of `lutc.nn`."""
    if type(model).__module__.startswith("lutc.nn."):
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
    """The parameters of a FakeQuantize module of torch.ao."""

    def what(rank: int) -> Quantiser:
        if not int(module.fake_quant_enabled[0]):
            raise Refusal(
                "is switched off", "switch it on: model.apply(torch.ao.quantization.enable_fake_quant)"
            )
        if hasattr(module, "observer_enabled") and int(module.observer_enabled[0]):
            raise Refusal(
                "still observes, so its scale changes with every call",
                "freeze it: model.apply(torch.ao.quantization.disable_observer)",
            )
        scale, zero = (
            along(v.detach().numpy(), module.ch_axis % rank, rank) for v in (module.scale, module.zero_point)
        )
        observer = module.activation_post_process
        low, high = (getattr(module, n, None) for n in ("quant_min", "quant_max"))
        lo = observer.quant_min if low is None else low
        hi = observer.quant_max if high is None else high
        return Quantiser(scale, zero, np.asarray(int(lo)), np.asarray(int(hi)))

    return what
