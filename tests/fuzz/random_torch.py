"""Random PyTorch modules between fake quantisers, with modules used twice, shared weights and nested models."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from model_cases import ModelCase, rows, weights
from torch import nn
from torch.ao.quantization import FakeQuantize, MovingAverageMinMaxObserver

import lutc


class Rounded(nn.Module):
    """A fake quantiser as a function."""

    def __init__(self, scale: float, low: int) -> None:
        super().__init__()
        self.scale, self.low = scale, low

    def forward(self, x: Any) -> Any:
        return torch.fake_quantize_per_tensor_affine(x, self.scale, 0, self.low, 127)


class Both(nn.Module):
    """Two ways from one input; they may be one module."""

    def __init__(self, a: nn.Module, b: nn.Module, after: nn.Module) -> None:
        super().__init__()
        self.a, self.b, self.after = a, b, after

    def forward(self, x: Any) -> Any:
        return self.after(self.a(x) + self.b(x))


class Doubling(FakeQuantize):
    """A quantiser of a user's own."""

    def forward(self, x: Any) -> Any:
        return super().forward(x) * 2  # type: ignore[no-untyped-call]


def quantiser(rng: random.Random, kind: type[Any] = FakeQuantize) -> Any:
    made = kind(MovingAverageMinMaxObserver, quant_min=-128, quant_max=127, dtype=torch.qint8)
    made.scale.fill_(rng.choice([0.25, 0.5]))
    made.disable_observer()
    return made


def layer(rng: random.Random, width: int, depth: int) -> nn.Module:
    """A module that keeps the count of numbers, with a quantiser at its end."""
    rounded: nn.Module = Rounded(rng.choice([0.25, 0.5]), rng.choice([-128, 0]))
    if rng.random() < 0.4:
        rounded = quantiser(rng)
    match rng.randrange(7 if depth else 5):
        case 0:
            linear = nn.Linear(width, width)
            with torch.no_grad():
                linear.weight.copy_(torch.as_tensor(weights(rng, width, width)))
                linear.bias.copy_(torch.as_tensor(weights(rng, width)))
            return nn.Sequential(linear, rounded)
        case 1:
            return nn.Sequential(nn.LeakyReLU(rng.choice([0.25, 0.5])), rounded)
        case 2:
            return nn.Hardtanh(rng.choice([-1.0, 0.0]), rng.choice([1.0, 2.5]))
        case 3:
            return nn.ReLU()
        case 4:
            return rounded
        case 5:
            return Both(layer(rng, width, depth - 1), layer(rng, width, depth - 1), rounded)
        case _:
            one = layer(rng, width, depth - 1)
            return Both(one, one, rounded)


def case(rng: random.Random) -> ModelCase:
    """A random model and what PyTorch makes of it. What is spoilt may be refused, or be exact all the same."""
    width = rng.randint(2, 4)
    modules: list[nn.Module] = [Rounded(0.25, -128)]
    for _ in range(rng.randint(1, 4)):
        modules.append(rng.choice(modules) if rng.random() < 0.35 else layer(rng, width, 2))
    spoilt = ""
    match rng.randrange(8):
        case 0:
            modules.append(quantiser(rng, Doubling))
            spoilt = "a quantiser of its own class"
        case 1:
            modules[-1].register_forward_hook(lambda module, inputs, output: output + 1)
            spoilt = "a hook"
    model = nn.Sequential(*modules, Rounded(0.5, -128)).eval()
    data = rows(rng, width, step=0.125).astype(np.float32)
    with torch.no_grad():
        expected = model(torch.as_tensor(data)).numpy()

    def load() -> Any:
        return lutc.load(model, example_inputs=torch.as_tensor(data[:1]), compare=False)

    return ModelCase(f"{model}\n{spoilt}", load, {"input": data}, [expected], may=spoilt)
