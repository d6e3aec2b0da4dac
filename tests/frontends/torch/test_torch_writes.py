"""Writing into some elements of a tensor: the right elements, with every option or a refusal by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from test_torch_refusals import refused
from torch_models import Model, nn, same, samples, theirs, torch

import lutc


def at(x: Any) -> Any:
    return torch.zeros_like(x[:, :2], dtype=torch.int64) + torch.tensor([0, 2])


def put(y: Any, place: Any, value: Any) -> Any:
    y = y.clone()
    y[place] = value
    return y


REST = slice(None)
WRITES: dict[str, Callable[..., Any]] = {
    "a column": lambda x: put(x, (REST, 1), x[:, 0] * 2),
    "columns of another": lambda x: put(x, (REST, [0, 2]), x[:, 3:5] * 2),
    "columns of its own": lambda x: put(x, (REST, [0, 2]), x[:, [1, 1]]),
    "columns of its own, exchanged": lambda x: put(x, (REST, [0, 2]), x[:, [2, 0]]),
    "a number in columns": lambda x: put(x, (REST, [0, 2]), 1.5),
    "constants in columns": lambda x: put(x, (REST, [0, 2]), torch.tensor([1.5, -0.25], dtype=x.dtype)),
    "in the middle": lambda x: put(x.reshape(-1, 2, 3), (REST, [0, 1], [2, 0]), x[:, :2]).flatten(1),
    "scatter": lambda x: x.scatter(1, at(x), x[:, 3:5] * 2),
    "scatter of a number": lambda x: x.scatter(1, at(x), 2.0),
}


@pytest.mark.parametrize("name", WRITES)
@pytest.mark.parametrize("kind", [torch.float32, torch.float64], ids=["float", "double"])
def test_the_right_elements(name: str, kind: torch.dtype) -> None:
    model = Wide(WRITES[name]).to(kind)
    inputs = [x.to(kind) for x in samples((6,))]
    design = lutc.load(model, example_inputs=tuple(inputs), compare=False)
    want = theirs(model, *inputs)
    got = np.asarray(design.run(*(x.double().numpy() for x in inputs)), dtype=np.float64)
    np.testing.assert_array_equal(got, want)
    same(model, inputs=inputs)


class Wide(Model):
    """With a parameter, whose type is that of the model."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self.one = nn.Parameter(torch.ones(()))

    def forward(self, *inputs: Any) -> Any:
        return super().forward(*inputs) * self.one


OPTIONS: dict[str, tuple[Callable[..., Any], str]] = {
    "a number added": (lambda x: x.scatter(1, torch.tensor([[0, 1]]), 2.0, reduce="add"), "reduce"),
    "a number multiplied": (lambda x: x.scatter(1, torch.tensor([[0, 1]]), 2.0, reduce="multiply"), "reduce"),
    "numbers added": (lambda x: x.scatter(1, torch.tensor([[0, 1]]), x[:, 2:4], reduce="add"), "reduce"),
    "summed up": (
        lambda x: x.index_put((torch.tensor([0]), torch.tensor([1])), x[:, 2], accumulate=True),
        "accumulate",
    ),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_options_are_refused_by_name(name: str) -> None:
    function, option = OPTIONS[name]
    assert f"{option}=" in refused(Model(function), compare=False)
