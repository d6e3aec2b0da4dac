"""Whether a module computes what its class says: nothing is hooked onto it, and nothing replaced on the instance.

Whatever reads a layer by its class must ask first, or what was added to it is dropped without a word.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn
from torch.nn.modules import module as _module

HELP = "take it off before the model is loaded, or write it into the forward of a module around the layer"


def oddity(layer: nn.Module) -> str | None:
    """What may make a module compute something else than its class says; None if there is nothing."""
    for kind, hooks in (("hook", layer._forward_hooks), ("pre-hook", layer._forward_pre_hooks)):
        for hook in hooks.values():
            return f"has a forward {kind}, {_name(hook)}, which may change what it computes"
    if "parametrizations" in layer._modules:
        return "has parametrized weights, which are computed at every call"
    if "_orig_mod" in layer._modules or getattr(layer, "_compiled_call_impl", None) is not None:
        return "is compiled by torch.compile"
    for name in vars(layer):
        own = getattr(type(layer), name, None)
        if callable(own) or isinstance(own, property):
            return f"has a {name} of its own on the instance, which is not that of its class"
    return None


def hooked_globally() -> str | None:
    """A hook that torch calls for every module; None if there is none."""
    for hooks in (_module._global_forward_hooks, _module._global_forward_pre_hooks):
        for hook in hooks.values():
            return _name(hook)
    return None


def _name(hook: Any) -> str:
    return getattr(hook, "__name__", type(hook).__name__)


def inside(layer: nn.Module) -> Iterator[nn.Module]:
    """The modules directly inside, as often as they stand there: `children()` leaves out repetitions."""
    return (m for m in layer._modules.values() if m is not None)
