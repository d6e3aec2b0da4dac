"""What cannot be compiled exactly is refused, all of it in one run, each with its place, its reason and a way out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import brevitas.nn as qnn
import pytest
from brevitas.quant.float import Fp8e4m3ActPerTensorFloat
from torch.ao import quantization as ao
from torch_models import F, Model, fake, gridded, nn, torch

import lutc
from lutc import nn as lnn
from lutc.diagnostics import LirError


class Bare(nn.Module):
    """A function of the bare input, with modules whose weights are multiples of 1/8 if they are `coarse`."""

    def __init__(self, function: Callable[..., Any], *modules: nn.Module, coarse: bool = True) -> None:
        super().__init__()
        self.function, self.m = function, nn.ModuleList(modules)
        if coarse:
            gridded(self)

    def forward(self, x: Any) -> Any:
        return self.function(*self.m, x)


def refused(model: Any, example: Any = None, **options: Any) -> str:
    with pytest.raises(LirError) as caught:
        lutc.load(model, example_inputs=torch.zeros(1, 6) if example is None else example, **options)
    assert all(d.help for d in caught.value.diagnostics)
    return str(caught.value)


def floats() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(6, 3)


def observing() -> nn.Module:
    return ao.FakeQuantize()  # type: ignore[no-untyped-call]


CASES: dict[str, tuple[nn.Module, str]] = {
    "an input nothing quantises": (
        Bare(lambda m, x: m(x), nn.Linear(6, 3)),
        "m.0 (Linear): error: reads input 'x', which has no format: nothing quantises it before this layer\n"
        "  = help: quantise it in the model, or give it a format: --input-type x=s16f10",
    ),
    "weights that are floats": (
        Bare(lambda m, x: m(fake(x)), floats(), coarse=False),
        "m.0 (Linear): error: has weights that are not quantised: as they stand they take ",
    ),
    "an unknown operator": (
        Model(lambda m, x: m(x), nn.LayerNorm(6)),
        "m.0 (LayerNorm): error: calls aten.layer_norm, which is no operator that can be compiled",
    ),
    "an unknown function": (
        Model(lambda x: torch.topk(x, 2, 1)[0]),
        "topk (topk): error: calls aten.topk, which is no operator that can be compiled\n  = help: write it with",
    ),
    "the batch forgotten": (
        Bare(lambda m, x: m(fake(x[0])), nn.Linear(6, 3)),
        "select (select): error: works across the batch",
    ),
    "control flow by data": (
        Bare(lambda x: x if float(x.sum()) > 0 else -x),
        "Bare: error: torch.export cannot follow it: ",
    ),
    "an observer that runs": (
        Bare(lambda m, x: m(x), observing()),
        "m.0 (FakeQuantize): error: still observes, so its scale changes with every call\n"
        "  = help: freeze it: model.apply(torch.ao.quantization.disable_observer)",
    ),
    "a scale of 0": (
        Bare(lambda x: torch.fake_quantize_per_tensor_affine(x, 0.0, 0, 0, 15)),
        "fake_quantize_per_tensor_affine (fake_quantize_per_tensor_affine): error: has a scale that is not above 0",
    ),
    "softmax inside": (
        Model(lambda x: F.softmax(x, 1) * 2),
        "softmax (softmax): error: stands inside of the network: mul (mul) reads it",
    ),
    "half precision": (
        Bare(lambda x: fake(x).half() * 2),
        "mul (mul): error: computes in float16, which rounds at every step\n  = help: convert the model: model.float()",
    ),
    "two quantisers of one input": (
        Bare(lambda x: fake(x) + fake(x, 0.5)),
        "quantises input 'x' in another way than an earlier layer does",
    ),
    "an input with a scale for each channel": (
        Bare(
            lambda x: torch.fake_quantize_per_channel_affine(
                x, torch.arange(1.0, 7), torch.zeros(6, dtype=torch.int32), 1, -8, 7
            )
        ),
        "quantises input 'x' with a scale or an offset for each channel, and a port has only one",
    ),
    "a mean of samples": (
        Model(lambda x: x - x.mean(0)),
        "mean (mean): error: works across the batch: dimension 0 counts samples, and a circuit sees one at a time",
    ),
    "a shape with the batch in it": (
        Model(lambda x: x.reshape(2, 3)),
        "reshape (reshape): error: works across the batch",
    ),
    "uneven windows": (
        Model(lambda x: F.adaptive_avg_pool1d(x[:, None], 4)),
        "pools [6] elements into [4], so that windows overlap and differ in size",
    ),
    "positions of a pool": (
        Model(lambda x: F.max_pool1d(x[:, None], 2, return_indices=True)[1], last=False),
        "y (output): error: is made of a result that has no translation, such as the positions a pool found",
    ),
    "a function at the end": (
        Model(lambda x: torch.tanh(x), last=False),
        "y (output): error: is what tanh computes, which is no number of a fixed format",
    ),
    "a function of wide numbers": (
        Model(lambda m, x: torch.tanh(m(x)), nn.Linear(6, 3)),
        "computes tanh of numbers with ",
    ),
    "dividing by data": (
        Model(lambda x: x / (x * x + 1)),
        "div (div): error: needs a constant divisor",
    ),
    "a quantiser of floats": (
        nn.Sequential(qnn.QuantIdentity(act_quant=Fp8e4m3ActPerTensorFloat)),
        "0 (QuantIdentity): error: quantises with FloatQuant\n  = help: use integer quantisers",
    ),
    "an unknown layer of Brevitas": (
        nn.Sequential(qnn.QuantIdentity(), qnn.QuantLSTM(6, 3)),
        "1 (QuantLSTM): error: is no layer of Brevitas that can be compiled\n  = help: known are QuantConv1d, ",
    ),
    "rounding an open input": (
        Bare(lambda x: torch.round(x)),
        "round_1 (round): error: rounds an input that has no range: no clamp to two constants follows",
    ),
    "a scale lutc.nn cannot hold": (
        Bare(lambda m, x: -m(F.avg_pool1d(fake(x)[:, None], 3)[:, 0]), lnn.QLinear(2, 2)),
        "m.0 (QLinear): error: reads numbers whose scale is no power of two, which its formats cannot hold exactly",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_message(name: str) -> None:
    model, message = CASES[name]
    assert message in refused(model)


def test_everything_at_once() -> None:
    model = nn.Sequential(nn.LayerNorm(6), floats(), nn.Sequential(nn.GroupNorm(1, 3), nn.Flatten()))
    text = refused(Bare(lambda m, x: m(fake(x)), model, coarse=False))
    for place in ("m.0.0 (LayerNorm)", "m.0.1 (Linear)", "m.0.2.0 (GroupNorm)"):
        assert place in text
    assert text.count("error:") == 3


def test_a_module_without_an_example() -> None:
    with pytest.raises(LirError, match="says nothing of the shape of its inputs") as caught:
        lutc.load(nn.Linear(3, 2))
    assert "example_inputs=torch.zeros(1, 16)" in str(caught.value)


def test_an_input_that_is_not_there() -> None:
    text = refused(Bare(fake), input_types={"y": "s8"})
    assert "the model has no input 'y'" in text


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"no archive at all"])
def test_a_broken_file(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.pt2"
    path.write_bytes(content)
    with pytest.raises(LirError, match="that can be read"):
        lutc.load(path)


def test_a_program_exported_in_training_mode() -> None:
    model = nn.Sequential(nn.BatchNorm1d(6)).train()
    program = torch.export.export(model, (torch.zeros(4, 6),), strict=False)
    assert "changes '0.running_mean' while it runs, so its answer is no function of its input" in refused(
        program
    )


def test_a_program_that_keeps_a_state() -> None:
    class Counting(nn.Module):
        count: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("count", torch.zeros(6))

        def forward(self, x: Any) -> Any:
            self.count += 1
            return fake(x) + self.count

    assert "changes 'count' while it runs, so its answer is no function of its input" in refused(Counting())


def test_a_convolution_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model(lambda conv, x: conv(x), nn.Conv2d(2, 4, 3))
    monkeypatch.setenv("LUTC_MAX_OPERATIONS", "1000")
    with pytest.raises(LirError, match="operations on scalars, and 1,000 are the most"):
        lutc.load(model, example_inputs=torch.zeros(1, 2, 9, 9))
