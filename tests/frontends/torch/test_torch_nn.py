"""Layers of lutc.nn among ordinary modules: built as lutc.nn exports them, in a graph that is traced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from torch_models import F, Model, fake, gridded, nn, same, samples, theirs, torch

import lutc
from lutc import nn as lnn
from lutc.diagnostics import LirError


def seen(model: nn.Module, *shapes: tuple[int, ...]) -> nn.Module:
    """A model whose layers have met data, in training mode."""
    torch.manual_seed(0)
    for seed in range(3):
        model(*(x / 4 for x in samples(*shapes, seed=seed)))
    return model


class Mixed(nn.Module):
    """A convolution with ordinary modules, tables behind it, and a skip that no Sequential can hold."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)
        gridded(self)
        self.lut, self.out = lnn.LUTDense(8, 4), lnn.LUTDense(4, 4)

    def forward(self, x: Any) -> Any:
        x = fake(F.relu(self.norm(self.conv(fake(x)))), 0.25, 0, 0, 15)
        x = self.lut(F.max_pool2d(x, 2).flatten(1))
        return x + self.out(x)


def equal(model: nn.Module, *shapes: tuple[int, ...]) -> Any:
    """As `same`, in float64, for tables have more bits than float32 adds exactly."""
    inputs = [x.double() for x in samples(*shapes)]
    design = lutc.load(model, example_inputs=tuple(x[:1].float() for x in inputs))
    got = np.asarray(design.run(*(x.numpy() for x in inputs)), dtype=np.float64)
    want = theirs(model, *inputs)
    np.testing.assert_array_equal(got, want)
    assert len(np.unique(want)) > 10
    return design


class Twice(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer, self.last = layer, lnn.QLinear(4, 2)

    def forward(self, x: Any) -> Any:
        return -self.last(self.layer(x))


def test_tables_behind_a_convolution() -> None:
    model = seen(Mixed(), (1, 6, 6)).eval()
    same(model, (1, 6, 6))


def test_the_first_layer_makes_the_port() -> None:
    model = seen(Twice(lnn.LUTDense(5, 4)), (5,)).eval()
    equal(model, (5,))


def test_a_quantiser_of_lutc_before_an_ordinary_product() -> None:
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.quantise, self.fc = lnn.Quantizer((6,)), nn.Linear(6, 3)
            gridded(self.fc)

        def forward(self, x: Any) -> Any:
            return torch.relu(self.fc(self.quantise(x)))

    same(seen(Plain(), (6,)).eval(), (6,))


def test_convolutions_of_both_kinds() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = lnn.QConv2d(1, 2, 3), lnn.LUTConv2d(2, 2, 2)

        def forward(self, x: Any) -> Any:
            return -self.second(F.relu(self.first(x)))

    equal(seen(Two(), (1, 5, 5)).eval(), (1, 5, 5))


def test_a_model_in_training_is_read_as_it_evaluates() -> None:
    model = seen(Mixed(), (1, 6, 6))
    assert model.training
    same(model, (1, 6, 6))
    assert all(m.training for m in model.modules())


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "QLinear": lambda: lnn.QLinear(4, 2),
    "LUTDense": lambda: lnn.LUTDense(4, 2),
    "QReLU": lambda: lnn.QReLU((4,)),
}


@pytest.mark.parametrize("instead", [nn.Identity(), lnn.QReLU((4,)), None], ids=["Identity", "QReLU", "None"])
@pytest.mark.parametrize("name", LAYERS)
def test_a_quantiser_that_was_exchanged(name: str, instead: nn.Module | None) -> None:
    """In every place of a layer, alone, in a chain and among other modules."""
    for place, _ in LAYERS[name]().named_children():
        if instead is None and place == "bias_quantizer":
            continue
        for around in (lambda m: m, nn.Sequential, lambda m: Model(lambda m, x: -m(x), m)):
            layer = seen(LAYERS[name](), (4,))
            setattr(layer, place, instead)
            with pytest.raises(LirError, match="" if instead is None else type(instead).__name__) as caught:
                lutc.load(around(layer).eval(), example_inputs=torch.zeros(1, 4))
            assert all(d.help for d in caught.value.diagnostics)


def test_a_chain_of_lutc_layers_needs_no_example() -> None:
    model = seen(nn.Sequential(lnn.LUTDense(3, 2)), (3,)).eval()
    assert lutc.load(model).params[0].type.shape == (3,)
