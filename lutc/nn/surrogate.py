"""What a model costs in hardware, while it is trained: differentiable in its bit widths."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from . import costs
from .lut import LUTDense, surrogate
from .quantizer import Quantizer
from .uncounted import uncounted


@dataclass(frozen=True)
class LayerResources:
    """A layer's cost in LUTs (EBOPs for arithmetic layers, the LUT surrogate for LUT layers) and mean widths."""

    name: str
    kind: str
    luts: Tensor
    key_bits: float
    value_bits: float
    pruned: float  # share of edges or weights without bits


@dataclass(frozen=True)
class Resources:
    """``total`` is a differentiable scalar; ``layers`` has a row per layer that costs something."""

    total: Tensor
    layers: tuple[LayerResources, ...]

    def __str__(self) -> str:
        head = f"{'layer':<24} {'kind':<12} {'LUTs':>10} {'in bits':>8} {'out/w bits':>10} {'pruned':>7}"
        rows = [
            f"{r.name:<24} {r.kind:<12} {r.luts.item():>10.1f} {r.key_bits:>8.2f} "
            f"{r.value_bits:>10.2f} {r.pruned:>7.1%}"
            for r in self.layers
        ]
        return "\n".join([head, *rows, f"{'total':<24} {'':<12} {self.total.item():>10.1f}"])


def _costly(model: nn.Module, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every module with ``resources``, as often as it stands in the model, which is as often as hardware has it.

    A layer counts the quantisers that are its own, so these do not stand here.
    """
    counts = hasattr(type(model), "resources")
    if counts:
        yield name, model
    for child, inner in model._modules.items():
        if inner is not None and not (counts and isinstance(inner, Quantizer)):
            yield from _costly(inner, f"{name}.{child}" if name else child)


def resource_total(model: nn.Module) -> Tensor:
    """The sum of all layers' ``resources()``: the term for the loss, without the table's work."""
    uncounted(model)
    costly = [m for _, m in _costly(model)]
    tables = [m for m in costly if isinstance(m, LUTDense) and m.w_in.device.type == "cpu"]
    simple = [m for m in costly if hasattr(m, "costs")]
    found: list[Tensor] = [m.resources() for m in costly if m not in tables and m not in simple]
    if tables:
        found.append(surrogate(tables))
    if simple:
        found.append(costs.total([item for m in simple for item in m.costs()]))
    return torch.stack(found).sum() if len(found) > 1 else found[0] if found else torch.zeros(())


def resources(model: nn.Module) -> Resources:
    """LUTs of every layer and in total.

    For layers of arithmetic these are EBOPs, the sum of products of operand widths (HGQ, arXiv 2405.00645), for LUT
    layers the surrogate of HGQ-LUT (arXiv 2604.22293); what adds, rounds, limits or compares costs a LUT per bit. What
    a module of your own computes in its forward is not counted, and a warning names it. A convolution counts its
    kernel as often as it is applied in parallel to the last input it has seen. A layer that stands in the model twice
    is built twice, and counts twice.

    Examples
    --------
    >>> import torch
    >>> from lutc import nn
    >>> model = torch.nn.Sequential(nn.LUTDense(4, 3), nn.LUTDense(3, 2))
    >>> loss = 1e-3 * nn.resources(model).total
    >>> loss.backward()  # differentiable, so bit widths can be trained to cost less
    >>> [layer.kind for layer in nn.resources(model).layers]
    ['LUTDense', 'LUTDense']
    """
    uncounted(model)
    rows = []
    for name, layer in _costly(model):
        key, value = layer.resource_bits()
        pruned = 1 - ((key > 0) & (value > 0)).double().mean().item() if key.shape == value.shape else 0.0
        rows.append(
            LayerResources(
                name or "model",
                type(layer).__name__,
                layer.resources(),
                key.double().mean().item(),
                value.double().mean().item(),
                pruned,
            )
        )
    return Resources(torch.stack([r.luts for r in rows]).sum() if rows else torch.zeros(()), tuple(rows))
