"""Every quantiser and each of its modes: PyTorch's operators and modules, and decomposed (PT2E) graphs."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch.ao.quantization.fx._decomposed
from torch.ao import quantization as ao
from torch_models import F, fake, gridded, nn, same, samples, theirs, torch

import lutc

Q = torch.ops.quantized_decomposed
KINDS = {torch.int8: (-128, 127), torch.uint8: (0, 255), torch.int16: (-(1 << 15), (1 << 15) - 1)}


class Between(nn.Module):
    """A product between a quantiser of the data, one of the weights and one of the result."""

    def __init__(self, data: Any, weights: Any = None, result: Any = None) -> None:
        super().__init__()
        self.fc = nn.Linear(6, 4)
        self.data, self.weights, self.result = data, weights, result
        gridded(self)

    def forward(self, x: Any) -> Any:
        weight = self.weights(self.fc.weight) if self.weights else self.fc.weight
        y = F.linear(self.data(x), weight, self.fc.bias)
        return self.result(y) if self.result else y


@pytest.mark.parametrize(
    ("scale", "zero", "lo", "hi"),
    [(0.25, 0, -128, 127), (0.5, 3, 0, 15), (2.0, 0, -127, 127), (0.125, 7, -8, 7), (1.0, 255, 0, 255)],
)
def test_fake_quantise_per_tensor(scale: float, zero: int, lo: int, hi: int) -> None:
    same(Between(lambda x: fake(x, scale, zero, lo, hi)), (6,))
    same(Between(fake, result=lambda y: fake(y, scale, zero, lo, hi)), (6,))


def test_fake_quantise_with_tensors_for_parameters() -> None:
    scale, zero = torch.tensor(0.5), torch.tensor(3, dtype=torch.int32)
    same(Between(lambda x: torch.fake_quantize_per_tensor_affine(x, scale, zero, 0, 31)), (6,))


def test_fake_quantise_per_channel() -> None:
    scales, zeros = torch.tensor([0.5, 0.25, 1, 0.125]), torch.tensor([0, 1, 0, -3], dtype=torch.int32)

    def channels(x: Any, axis: int) -> Any:
        return torch.fake_quantize_per_channel_affine(x, scales, zeros, axis, -8, 7)

    same(Between(fake, weights=lambda w: channels(w, 0), result=lambda y: channels(y, 1)), (6,))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("zero", [0, 5])
def test_decomposed_per_tensor(kind: torch.dtype, zero: int) -> None:
    lo, hi = KINDS[kind]

    def both(x: Any, scale: float) -> Any:
        codes = Q.quantize_per_tensor(x, scale, zero, lo, hi, kind)
        return Q.dequantize_per_tensor(codes, scale, zero, lo, hi, kind)

    same(Between(lambda x: both(x, 0.25), lambda w: both(w, 0.125), lambda y: both(y, 2.0)), (6,))


def test_decomposed_per_channel_with_stored_integers() -> None:
    """How converted PT2E models hold their weights: as integers behind a dequantiser."""
    scales, zeros = torch.tensor([0.5, 0.25, 1, 0.125]), torch.tensor([0, 1, 0, -3])
    codes = torch.randint(-8, 8, (4, 6), dtype=torch.int8, generator=torch.Generator().manual_seed(0))

    class Converted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("codes", codes)

        def forward(self, x: Any) -> Any:
            x = Q.quantize_per_tensor(x, 0.5, 1, 0, 255, torch.uint8)
            x = Q.dequantize_per_tensor(x, 0.5, 1, 0, 255, torch.uint8)
            w = Q.dequantize_per_channel(self.codes, scales, zeros, 0, -128, 127, torch.int8)
            y = Q.quantize_per_tensor(F.relu(F.linear(x, w)), 2.0, 0, 0, 127, torch.uint8)
            return Q.dequantize_per_tensor(y.view(-1, 2, 2), 2.0, 0, 0, 127, torch.uint8)

    same(Converted(), (6,))


def test_integers_leave_as_they_are() -> None:
    design = same(Between(fake, result=lambda y: Q.quantize_per_tensor(y, 0.5, -3, -8, 7, torch.int8)), (6,))
    assert design.outputs[0].scale == (Fraction(1),)


def calibrated(model: nn.Module) -> nn.Module:
    """A model prepared for quantisation-aware training, its observers run and frozen."""
    model.train()
    for seed in range(3):
        model(samples((1, 6, 6), seed=seed, rows=8)[0] / 4)
    model.apply(ao.disable_observer)
    return model.eval()


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.quant, self.dequant = ao.QuantStub(), ao.DeQuantStub()
        self.conv, self.relu, self.fc = nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Linear(32, 3)

    def forward(self, x: Any) -> Any:
        x = self.relu(self.conv(self.quant(x)))
        return self.dequant(self.fc(x.flatten(1)))


def near(model: nn.Module, *shapes: Any) -> Any:
    """Scales are no powers of two here, so float32 rounds: nearly all numbers agree, the others by a step."""
    inputs = [x / 4 + 0.01 for x in samples(*shapes, rows=200)]
    design = lutc.load(model, example_inputs=tuple(inputs))
    got = np.asarray(design.run(*(x.double().numpy() for x in inputs)), dtype=np.float64)
    want = theirs(model, *inputs)
    off = np.abs(got.reshape(want.shape) - want) > 1e-5 * np.abs(want).max()
    assert off.mean() < 0.01
    return design


@pytest.mark.parametrize("backend", ["fbgemm", "qnnpack"])
def test_modules_of_torch_ao(backend: str) -> None:
    """torch.ao's FakeQuantize modules, per tensor and per channel, in the modules prepare_qat puts them into."""
    torch.manual_seed(0)
    net = Net().train()
    net.qconfig = ao.get_default_qat_qconfig(backend)  # type: ignore[no-untyped-call]
    model = calibrated(ao.prepare_qat(net))  # type: ignore[no-untyped-call]
    design = near(model, (1, 6, 6))
    assert design.params[0].type.formats[0].width in (7, 8, 9)


def test_fake_quantise_module_with_a_power_of_two() -> None:
    q = ao.FakeQuantize(quant_min=-16, quant_max=15, dtype=torch.qint8)  # type: ignore[no-untyped-call]
    q.apply(ao.disable_observer)
    model = Between(q)
    q.scale, q.zero_point = torch.tensor([0.5]), torch.tensor([2], dtype=torch.int32)
    same(model, (6,))


def test_fake_quantise_module_per_channel() -> None:
    channels = {"qscheme": torch.per_channel_affine, "ch_axis": 1, "observer": ao.PerChannelMinMaxObserver}
    q = ao.FakeQuantize(quant_min=0, quant_max=15, dtype=torch.quint8, **channels)  # type: ignore[no-untyped-call]
    q.apply(ao.disable_observer)
    model = Between(fake, result=q)
    q.scale, q.zero_point = torch.tensor([0.5, 1, 2, 1]), torch.tensor([2, 0, 7, 3], dtype=torch.int32)
    same(model, (6,))


def test_scales_that_are_no_powers_of_two() -> None:
    near(Between(lambda x: fake(x, 0.1, 3, 0, 15), lambda w: fake(w, 0.03), lambda y: fake(y, 0.37)), (6,))


def test_a_port_is_given_a_format_by_the_user() -> None:
    model = Between(lambda x: x)
    design = same(model, inputs=[torch.randint(-128, 128, (50, 6)) / 16], input_types="s8f4")
    assert str(design.params[0].type) == "s8f4[6]"


def test_a_port_finer_than_the_model_computes() -> None:
    model = Between(lambda x: x)
    inputs = [torch.randint(-(1 << 20), 1 << 20, (50, 6)) / 1024]
    same(model, inputs=inputs, input_types="s40f20")


def test_weights_whose_quantisers_were_folded() -> None:
    """What is left when quantised weights are stored as the floats they are, here times 0.1."""
    model = Between(fake)
    with torch.no_grad():
        model.fc.weight.copy_(fake(model.fc.weight, 0.1))
        model.fc.bias.zero_()
    design = near(model, (6,))
    assert design.notes == ()


def test_two_inputs_by_name() -> None:
    class Two(nn.Module):
        def forward(self, left: Any, right: Any) -> Any:
            return fake(left) + fake(right, 0.5, 0, -8, 7)

    left, right = samples((3,), (3,))
    design = lutc.load(Two(), example_inputs={"left": left, "right": right})
    got = design.run(left=left.double().numpy(), right=right.double().numpy())
    np.testing.assert_array_equal(got, theirs(Two(), left, right))


class Learned(nn.Module):
    """Quantisers written by hand, with the scale a parameter, in the ways that are in use."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way, self.fc = way, nn.Linear(6, 4)
        gridded(self)
        self.scales = nn.ParameterList([nn.Parameter(torch.tensor(s)) for s in (0.5, 0.25, 2.0)])

    def quantise(self, x: Any, scale: Any) -> Any:
        if self.way == "clamp behind":
            return torch.round(x / scale).clamp(-8, 7) * scale
        y = torch.clamp(x / scale, -8, 7)
        if self.way == "clamp before":
            return torch.round(y) * scale
        if self.way == "straight through":
            return ((y.round() - y).detach() + y) * scale
        return x + (torch.round(y) * scale - x).detach()

    def forward(self, x: Any) -> Any:
        data, weight, result = self.scales
        y = F.linear(self.quantise(x, data), self.quantise(self.fc.weight, weight), self.fc.bias)
        return {"score": self.quantise(y, result)}["score"]


@pytest.mark.parametrize("way", ["clamp behind", "clamp before", "straight through", "around everything"])
def test_quantisers_by_hand(way: str) -> None:
    same(Learned(way), (6,))


def test_an_autograd_function() -> None:
    class Step(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return torch.clamp(torch.floor(x * 4 + 0.5), -8, 7) / 4

    class Custom(nn.Module):
        def forward(self, x: Any) -> Any:
            return Step.apply(x) * 3  # type: ignore[no-untyped-call]

    same(Custom(), (5,))
