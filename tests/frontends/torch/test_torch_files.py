"""Saved programs, the command line, and a circuit in both languages."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch.ao.quantization.fx._decomposed
from click.testing import CliRunner
from torch_models import F, Model, fake, gridded, nn, same, samples, theirs, torch

import lutc
from conftest import need_tool
from lutc.cli import main
from lutc.driver import compile as build
from lutc.driver import simulate
from lutc.frontends.torch.trace import quiet

Q = torch.ops.quantized_decomposed


def decomposed(x: Any, scale: float, zero: int, lo: int, hi: int) -> Any:
    codes = Q.quantize_per_tensor(x, scale, zero, lo, hi, torch.int8)
    return Q.dequantize_per_tensor(codes, scale, zero, lo, hi, torch.int8)


class Image(nn.Module):
    """Convolution, normalisation, pooling, a skip and a product: 6x6 pixels to three scores."""

    quantise: Callable[..., Any] = staticmethod(fake)

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2)
        self.second, self.out = nn.Conv2d(2, 2, 3, padding=1, groups=2), nn.Linear(18, 3)
        gridded(self)

    def forward(self, x: Any) -> Any:
        x = self.quantise(F.relu(self.norm(self.first(self.quantise(x, 0.5, 0, -8, 7)))), 0.5, 0, 0, 15)
        x = self.quantise(x + self.second(x), 1.0, 0, -8, 7)
        return self.quantise(self.out(F.max_pool2d(x, 2).flatten(1)), 0.5, 0, -64, 63)


@pytest.mark.parametrize("hdl", ["verilog", "vhdl"])
def test_circuit(hdl: str, tmp_path: Path) -> None:
    need_tool("iverilog" if hdl == "verilog" else "ghdl")
    model = Image()
    inputs = samples((1, 6, 6), rows=30)
    design = same(model, inputs=inputs)
    built = build(design, clock_ns=3.0, hdl=hdl)
    np.testing.assert_array_equal(built.run(inputs[0].double().numpy()), theirs(model, *inputs))
    vectors = {design.params[0].name: inputs[0].double().numpy()}
    result = simulate(built.write(tmp_path / "build", vectors=40, user_vectors=vectors))
    assert result.passed, result.message
    assert result.vectors >= 70


PROGRAMS = {
    "of one sample": (1, None),
    "of any number of samples": (3, ({0: torch.export.Dim("batch")},)),
}


class OpenImage(Image):
    """The same, with quantisers that torch.export takes for any number of samples."""

    quantise = staticmethod(decomposed)


@pytest.mark.parametrize("core", [False, True])
@pytest.mark.parametrize("batch", PROGRAMS)
def test_a_saved_program(batch: str, core: bool, tmp_path: Path) -> None:
    """As torch.export writes it, and broken down to core ATen operators."""
    rows, dynamic = PROGRAMS[batch]
    model = OpenImage().eval()
    program = torch.export.export(model, (torch.zeros(rows, 1, 6, 6),), dynamic_shapes=dynamic, strict=False)
    path = tmp_path / "image.pt2"
    torch.export.save(program.run_decompositions() if core else program, path)
    design = lutc.load(path)
    (x,) = samples((1, 6, 6))
    np.testing.assert_array_equal(design.run(x.double().numpy()), theirs(model, x))
    assert design.name == "image"


def test_core_operators_of_others(tmp_path: Path) -> None:
    """The decomposed forms of what the modules' tests do not meet."""
    model = Model(
        lambda m, x: torch.addmm(m.bias, F.hardtanh(x, -2, 3), m.weight.t()).mean(1), nn.Linear(6, 3)
    ).eval()
    program = torch.export.export(model, (torch.zeros(1, 6),), strict=False).run_decompositions()
    design = lutc.load(program)
    (x,) = samples((6,))
    np.testing.assert_array_equal(design.run(x.double().numpy()), theirs(model, x))


def test_command_line(tmp_path: Path) -> None:
    path = tmp_path / "fc.pt2"
    model = Model(lambda m, x: F.relu(m(x)), nn.Linear(6, 3)).eval()
    torch.export.save(torch.export.export(model, (torch.zeros(1, 6),), strict=False), path)
    done = CliRunner().invoke(main, ["compile", str(path), "-o", str(tmp_path / "build")])
    assert done.exit_code == 0, done.output
    assert "fc.pt2" in done.output or "fc" in done.output
    assert (tmp_path / "build" / "rtl" / "fc.v").exists()
    assert '!"m.0"' in (tmp_path / "build" / "model.lir").read_text()


def test_command_line_with_a_bare_input(tmp_path: Path) -> None:
    path = tmp_path / "bare.pt2"
    model = nn.Sequential(nn.Linear(6, 3)).eval()
    gridded(model)
    torch.export.save(torch.export.export(model, (torch.zeros(1, 6),), strict=False), path)
    done = CliRunner().invoke(main, ["compile", str(path), "-o", str(tmp_path / "build")])
    assert done.exit_code == 2
    assert "--input-type input=s16f10" in done.output
    done = CliRunner().invoke(
        main, ["compile", str(path), "-o", str(tmp_path / "build"), "--input-type", "input=s8f4"]
    )
    assert done.exit_code == 0, done.output


def test_softmax_is_left_to_the_host() -> None:
    model = Model(lambda m, x: F.softmax(m(x), -1), nn.Linear(6, 3), last=False)
    (x,) = samples((6,))
    design = lutc.load(model, example_inputs=x)
    scores = design.run(x.double().numpy())
    np.testing.assert_allclose(torch.softmax(torch.as_tensor(scores), 1), theirs(model, x), atol=1e-6)
    assert "softmax (softmax) is left to the host" in design.notes[0]


def test_a_layer_of_two_calls_and_several_outputs() -> None:
    model = Model(lambda m, x: (fake(m(x)), fake(m(-x), 0.5)), nn.Linear(6, 6), last=False)
    (x,) = samples((6,))
    design = lutc.load(model, example_inputs=x)
    found = design.run(x.double().numpy())
    with torch.no_grad():
        for mine, its in zip(found.values(), model(x), strict=True):
            np.testing.assert_array_equal(mine, its)
    assert list(found) == ["y0", "y1"]


def test_double_precision() -> None:
    model = Model(lambda m, x: torch.tanh(fake(m(x), 0.5, 0, -16, 15)), nn.Linear(6, 3)).double()
    x = samples((6,))[0].double()
    design = lutc.load(model, example_inputs=x)
    np.testing.assert_array_equal(design.run(x.numpy()), theirs(model, x))


def test_outputs_are_named_by_the_keys_of_a_dict() -> None:
    class Named(nn.Module):
        def forward(self, relu: Any) -> Any:
            quantised = fake(relu)
            return {"x": F.relu(quantised), "relu": -quantised}

    (x,) = samples((4,))
    design = lutc.load(Named(), example_inputs={"relu": x})
    found = design.run(relu=x.double().numpy())
    names = [o.name for o in design.outputs]
    assert names[0] == "x" and names[1].startswith("relu")
    np.testing.assert_array_equal(found[names[1]], -fake(x).numpy())
    np.testing.assert_array_equal(found["x"], F.relu(fake(x)).numpy())


@pytest.mark.parametrize("disabled", [False, True])
def test_loggers_are_left_as_they_were(disabled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    log = logging.getLogger("torch.onnx")
    monkeypatch.setattr(log, "disabled", disabled)
    monkeypatch.setattr(log, "level", logging.INFO)
    with pytest.raises(KeyError), quiet("torch.onnx"):
        assert log.disabled
        raise KeyError
    assert (log.disabled, log.level) == (disabled, logging.INFO)
