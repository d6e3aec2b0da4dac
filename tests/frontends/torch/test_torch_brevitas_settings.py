"""What a Brevitas layer is set to, or called with, is computed or refused: nothing of it is dropped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import brevitas.nn as qnn
import numpy as np
import pytest
from test_torch_brevitas import DATA, IMAGE, LINE, VECTOR, WEIGHTS, trained
from torch_models import nn, same, samples, theirs, torch

import lutc
from lutc.diagnostics import LirError


def right_or_refused(model: nn.Module, *shapes: tuple[int, ...]) -> str | None:
    """Without the comparison, a design has the model's numbers; else the text of the refusal."""
    inputs = samples(*shapes)
    try:
        design = lutc.load(model, example_inputs=tuple(inputs), compare=False)
    except LirError as e:
        assert all(d.help for d in e.diagnostics)
        return str(e)
    want = theirs(model, *inputs)
    got = np.asarray(design.run(*(x.double().numpy() for x in inputs)), dtype=np.float64)
    np.testing.assert_array_equal(got.reshape(want.shape), want)
    return None


CONVOLUTIONS: dict[str, tuple[Callable[..., nn.Module], tuple[int, ...]]] = {
    "1d": (qnn.QuantConv1d, LINE),
    "2d": (qnn.QuantConv2d, IMAGE),
}


@pytest.mark.parametrize("mode", ["circular", "reflect", "replicate"])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_how_a_convolution_pads(name: str, mode: str) -> None:
    kind, shape = CONVOLUTIONS[name]
    layer = kind(2, 2, 3, padding=1, padding_mode=mode, bias=True, **WEIGHTS)
    said = right_or_refused(trained(qnn.QuantIdentity(**DATA), layer, shape=shape), shape)
    assert said is None or "pad" in said


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_same_padding_with_strides(name: str) -> None:
    kind, shape = CONVOLUTIONS[name]
    layer = kind(2, 2, 3, padding="same", stride=2, is_same_padded_strided=True, bias=True, **WEIGHTS)
    assert right_or_refused(trained(qnn.QuantIdentity(**DATA), layer, shape=shape), shape) is None


class Sized(nn.Module):
    """A transposed convolution that is told how large its result is."""

    def __init__(self) -> None:
        super().__init__()
        self.data = qnn.QuantIdentity(**DATA)
        self.layer = qnn.QuantConvTranspose2d(2, 2, 2, stride=2, bias=True, **WEIGHTS)

    def forward(self, x: Any) -> Any:
        return self.layer(self.data(x), output_size=[7, 7])


def test_the_size_a_transposed_convolution_is_called_with() -> None:
    assert right_or_refused(trained(Sized(), shape=(2, 3, 3)), (2, 3, 3)) is None


class Named(nn.Module):
    """Layers that are called by the names of their arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.data = qnn.QuantIdentity(**DATA)
        self.layer = qnn.QuantLinear(6, 6, bias=False, **WEIGHTS)
        self.add = qnn.QuantEltwiseAdd(input_quant=None, output_quant=None)

    def forward(self, x: Any) -> Any:
        x = self.data(input=x)
        return self.add(input=x, other=self.layer(input=x))


def test_arguments_by_name() -> None:
    assert right_or_refused(trained(Named(), shape=VECTOR), VECTOR) is None


def test_a_model_that_returns_a_quant_tensor() -> None:
    last = qnn.QuantLinear(6, 3, bias=False, return_quant_tensor=True, **WEIGHTS)
    model = trained(qnn.QuantIdentity(**DATA), last, shape=VECTOR)
    design = lutc.load(model, example_inputs=torch.zeros(1, 6))
    assert len(design.outputs) == 1 and "equal" in design.compared
    (x,) = samples(VECTOR)
    with torch.no_grad():
        want = model(x).value.numpy()
    np.testing.assert_array_equal(np.asarray(design.run(x.double().numpy()), np.float64), want)


def test_plain_layers_are_as_before() -> None:
    layer = qnn.QuantConvTranspose1d(2, 2, 3, stride=2, output_padding=1, bias=True, **WEIGHTS)
    same(trained(qnn.QuantIdentity(**DATA), layer, shape=LINE), LINE)
