"""A look for hardware that `lutc.nn.resources` cannot count, because no layer of lutc.nn makes it."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Iterator
from typing import Any
from weakref import WeakSet

import torch
from torch import fx, nn

from .known import inside

# What moves numbers about, and makes no hardware.
_FREE = {
    "Identity", "Dropout", "Dropout1d", "Dropout2d", "Flatten", "Unflatten", "ReLU", "Sequential", "ModuleList",
    "ModuleDict",
}  # fmt: skip
_ARITHMETIC = {
    operator.add: "+", operator.sub: "-", operator.mul: "*", operator.matmul: "@", operator.truediv: "/",
    operator.iadd: "+=", operator.isub: "-=", operator.imul: "*=", operator.neg: "-", operator.pow: "**",
    torch.add: "add", torch.sub: "sub", torch.mul: "mul", torch.matmul: "matmul", torch.bmm: "bmm",
    torch.einsum: "einsum", torch.sum: "sum", torch.mean: "mean", torch.maximum: "maximum",
    torch.minimum: "minimum", torch.max: "max", torch.min: "min", torch.amax: "amax", torch.amin: "amin",
    torch.square: "square", torch.abs: "abs", torch.where: "where", torch.clamp: "clamp",
}  # fmt: skip
_METHODS = set(_ARITHMETIC.values()) | {"add_", "sub_", "mul_", "clamp_"}
_told: WeakSet[nn.Module] = WeakSet()


def uncounted(model: nn.Module) -> None:
    """Warn, once for a model, of what costs something in hardware and counts nothing in the resources."""
    if model in _told:
        return
    _told.add(model)
    found = [*_parts(model, "model")]
    if found:
        text = "; ".join(found)
        warnings.warn(f"the resources do not count all of the model: {text}", stacklevel=3)


def _parts(module: nn.Module, name: str) -> Iterator[str]:
    kind = type(module)
    if kind.__module__.startswith("lutc.nn.") and hasattr(kind, "resources"):
        return
    if kind.__module__.startswith("torch.nn."):
        if kind.__name__ not in _FREE:
            yield f"{name} is torch's {kind.__name__}, which costs hardware; a layer of lutc.nn would be counted"
    elif not kind.__module__.startswith("lutc.nn.") and not hasattr(kind, "resources"):
        own = sorted(set(_arithmetic(module)))
        if own:
            yield f"{name} ({kind.__name__}) computes {', '.join(own)} in its forward; use nn.QAdd and its like"
    for child, inner in module.named_children() if not _inside_is_counted(module) else ():
        yield from _parts(inner, f"{name}.{child}" if name != "model" else child)


def _inside_is_counted(module: nn.Module) -> bool:
    return not any(True for _ in inside(module))


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return True


def _arithmetic(module: nn.Module) -> Iterator[str]:
    """The operations that a module's forward does by itself; none if it cannot be followed."""
    try:
        graph = _Tracer().trace(module)
    except Exception:  # what a forward of another's does is not ours to judge: it is only not looked into
        return
    for node in graph.nodes:
        target: Any = node.target
        if node.op == "call_function" and target in _ARITHMETIC:
            yield _ARITHMETIC[target]
        elif node.op == "call_method" and target in _METHODS:
            yield target
