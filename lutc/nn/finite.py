"""Numbers that are none, told where they come from: a sample, a weight, a layer, or the loss."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from lutc.diagnostics import LirError, error

from .batches import Batch, called, leaves, unfit

LOWER = "lower the learning rate, or limit the gradients (clip=1.0), and begin with fresh=True or an earlier point"


def weight_of(model: nn.Module) -> str | None:
    """The first parameter or buffer that holds a number that is not finite, with its layer; None if none does."""
    for name, value in [*model.named_parameters(), *model.named_buffers()]:
        if value.dtype.is_floating_point and not bool(torch.isfinite(value).all()):
            home = name.rpartition(".")[0]
            return f"{name!r} of {home or 'model'} ({type(model.get_submodule(home)).__name__})"
    return None


def check_weights(model: nn.Module, when: str) -> None:
    """Raise LirError, naming the layer, unless all parameters and buffers are finite."""
    if found := weight_of(model):
        raise error(f"{when}: {found} holds numbers that are not finite", where="model", help=LOWER)


@torch.no_grad()
def layer_of(model: nn.Module, x: object) -> str | None:
    """The first layer whose answer to ``x`` is not finite, in the order in which they run; None if none is."""
    twin = copy.deepcopy(model)
    found: list[str] = []
    names = {m: name for name, m in twin.named_modules()}

    def look(layer: nn.Module, _: object, out: object) -> None:
        if not found and not all(bool(torch.isfinite(v).all()) for v in leaves(out) if isinstance(v, Tensor)):
            found.append(f"{names[layer] or 'model'} ({type(layer).__name__})")

    for m in names:
        m.register_forward_hook(look)
    with torch.random.fork_rng(devices=[]):
        called(twin, x)
    return found[0] if found else None


def not_finite(model: nn.Module, batch: Batch, what: str, value: float, when: str) -> LirError:
    """Why the loss (or the resources) of a batch are no number, as far as it can be found."""
    text = f"{when}: the {what} is {value}"
    if problem := unfit(batch):
        return error(f"{text}: {problem}", where="train", help="leave those samples away")
    if weight := weight_of(model):
        return error(f"{text}: {weight} holds numbers that are not finite", where="model", help=LOWER)
    if layer := layer_of(model, batch.x):
        return error(f"{text}: the answer of {layer} is not finite", where="model", help=LOWER)
    help = "let it be finite for every finite answer of the model, as cross entropy of logits is"
    return error(f"{text}, of answers that are finite", where=what, help=help)
