"""Modules that are taken whole, but may compute something else than their class says."""

from __future__ import annotations

from torch import nn

from lutc.diagnostics import Diagnostic, LirError, error
from lutc.nn.known import HELP, hooked_globally, oddity
from lutc.nn.quantizer import Layer
from lutc.nn.rules import lower, unknown

from . import brevitas
from .leaves import is_fake, known_fake

NO_STATISTICS = (
    "keeps no statistics (track_running_stats=False), so it normalises by those of the batch it is given",
    "train it with track_running_stats=True",
)


def refuse_odd(model: nn.Module) -> None:
    """Raise LirError for modules that are taken whole, but may compute something else than their class says."""
    if hook := hooked_globally():
        raise error(f"torch calls {hook} for every module (a global forward hook)", help=HELP)
    found = []
    for name, module in model.named_modules():
        with_help = _odd(module)
        if with_help is not None:
            reason, help = with_help
            found.append(Diagnostic(reason, where=f"{name or 'model'} ({type(module).__name__})", help=help))
    if found:
        raise LirError(*found)


def _odd(module: nn.Module) -> tuple[str, str] | None:
    """Why a module cannot be taken for what its class says, with a way out; None if it can, or need not."""
    base: str | None = None
    reason: str | None = None
    if is_fake(module):
        base = None if known_fake(module) else "a fake quantiser"
        reason = oddity(module)
    elif isinstance(module, Layer):
        base = _derived(module)
        if type(module) in lower.registry:
            part = next(iter(unknown(module)), module)
            reason = oddity(part)
            if reason is None and part is not module:
                reason = f"holds a {type(part).__name__}, which has no exact translation"
    elif isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is None:
        return NO_STATISTICS
    else:
        base, reason = brevitas.derived(module), brevitas.odd(module)
        if (
            "forward" in vars(module) and module._modules
        ):  # a copy of it would still call the original's modules
            reason = oddity(module)
    if base is not None:
        return (
            f"is a class of its own, derived from {base}: what it computes is not known",
            "use the class itself, and write what is added to it into the forward of a module around it",
        )
    return None if reason is None else (reason, HELP)


def _derived(module: nn.Module) -> str | None:
    """The layer of `lutc.nn` that a class which is none itself is derived from."""
    known = (k for k in type(module).__mro__ if k in lower.registry and k is not object)
    first = next(known, None)
    return None if first is None or first is type(module) else first.__name__
