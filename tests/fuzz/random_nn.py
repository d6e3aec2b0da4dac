"""Random chains of `lutc.nn`'s layers, modules in several places, and modules of a user's own that look like them."""

from __future__ import annotations

import random
from typing import Any

import torch
from model_cases import ModelCase, rows
from torch import nn

import lutc
from lutc import nn as lnn


class Residual(nn.Sequential):
    """A chain of a user's own, which adds its input."""

    def forward(self, x: Any) -> Any:
        y = x
        for module in self:
            y = module(y)
        return y + x


class Turned(lnn.QLinear):
    """A layer of a user's own with a name of its own."""

    def forward(self, x: Any) -> Any:
        return -super().forward(x)


def layer(rng: random.Random, width: int, depth: int) -> nn.Module:
    """A layer or chain that keeps the count of numbers."""
    match rng.randrange(6 if depth else 5):
        case 0:
            return lnn.QLinear(width, width, data={"fraction": rng.choice([1, 3])})
        case 1:
            return lnn.LUTDense(width, width, fraction=rng.choice([1, 2]), hidden=2)
        case 2:
            return lnn.Quantizer(fraction=rng.choice([1, 2]), integer=2, overflow="saturate")
        case 3:
            return nn.ReLU()
        case 4:
            return rng.choice([nn.Identity(), nn.Dropout(0.5), nn.Flatten()])
        case _:
            return chain(rng, width, depth - 1)


def chain(rng: random.Random, width: int, depth: int) -> nn.Sequential:
    """Layers one after the other; some stand in it twice."""
    modules: list[nn.Module] = [lnn.Quantizer(fraction=2, integer=3, overflow="saturate")] if depth else []
    for _ in range(rng.randint(2, 4)):
        again = rng.random() < 0.35 and modules
        modules.append(rng.choice(modules) if again else layer(rng, width, depth))
    return nn.Sequential(*modules)


def spoil(rng: random.Random, model: nn.Sequential, width: int) -> str:
    """Something that computes otherwise than its class says. Returns what was done."""
    match rng.randrange(4):
        case 0:
            model.append(Residual(lnn.QLinear(width, width)))
            return "a chain with a forward of its own"
        case 1:
            model.append(Turned(width, width))
            return "a layer with a forward of its own"
        case 2:
            model[0].register_forward_hook(lambda module, inputs, output: output * 2)
            return "a hook"
        case _:
            module = model[0]
            module.forward = lambda x: x + 1
            return "an instance with a forward of its own"


def case(rng: random.Random) -> ModelCase:
    """A random model and what PyTorch makes of it. What is spoilt may be refused, or be exact all the same."""
    torch.manual_seed(rng.randrange(1 << 30))
    width = rng.randint(2, 4)
    model = chain(rng, width, 2)
    spoilt = spoil(rng, model, width) if rng.random() < 0.25 else ""
    model.double().eval()
    data = rows(rng, width, step=0.125)
    with torch.no_grad():
        expected = model(torch.as_tensor(data)).numpy()

    def load() -> Any:
        return lutc.load(model, example_inputs=torch.as_tensor(data[:1]), compare=False)

    return ModelCase(f"{model}\n{spoilt}", load, {"x": data}, [expected], may=spoilt)
