"""Keras and PyTorch models, live and in files, come out as their ONNX form does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import lutc
from conftest import need_module
from lutc.diagnostics import LirError
from lutc.ptq.source import as_onnx

rng = np.random.default_rng(0)


def module() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(27, 4)
    ).eval()


def test_a_module_and_its_file(tmp_path: Path) -> None:
    model, x = module(), rng.standard_normal((120, 1, 8, 8)).astype(np.float32)
    live = lutc.quantize(model, x, max_loss=3.0)
    with torch.no_grad():
        right = model(torch.from_numpy(x)).numpy()
    y = np.asarray(live.build.reference.run(x))
    assert ((y - right) ** 2).mean() < 0.06 * right.var()
    program = torch.export.export(
        model, (torch.from_numpy(x[:2]),), dynamic_shapes=({0: torch.export.Dim("rows")},)
    )
    torch.export.save(program, tmp_path / "m.pt2")
    filed = lutc.quantize(tmp_path / "m.pt2", x, max_loss=3.0)
    assert filed.chosen.luts == live.chosen.luts
    fixed = torch.export.export(model, (torch.from_numpy(x[:1]),))
    assert lutc.quantize(fixed, x, bits=4).chosen.luts == lutc.quantize(model, x, bits=4).chosen.luts


def test_a_module_in_training_is_left_as_it_was() -> None:
    model = module().train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    as_onnx(model, torch.zeros(1, 1, 8, 8))
    assert model.training
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


@pytest.fixture
def keras() -> Any:
    need_module("keras")
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras as found

    return found


def test_a_keras_file(tmp_path: Path, keras: Any) -> None:
    model = keras.Sequential(
        [
            keras.layers.Input((8, 8, 1)),
            keras.layers.Conv2D(3, 3, padding="same"),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dense(4, activation="softmax"),
        ]
    )
    x = rng.standard_normal((120, 8, 8, 1)).astype(np.float32)
    model.save(tmp_path / "m.keras")
    got = lutc.quantize(tmp_path / "m.keras", x, max_loss=3.0)
    assert not {n.op_type for n in got.model.graph.node} & {
        "Mul",
        "Sub",
        "Add",
        "BatchNormalization",
        "Softmax",
    }
    right = keras.ops.convert_to_numpy(model(x)).argmax(1)
    y = np.asarray(got.build.reference.run(x)).argmax(1)
    assert (y == right).mean() > 0.9


def test_a_keras_model_with_layers_of_others(tmp_path: Path, keras: Any) -> None:
    @keras.saving.register_keras_serializable("mine")
    class Dense(keras.layers.Dense):  # type: ignore[misc]
        pass

    model = keras.Sequential([keras.layers.Input((4,)), Dense(3)])
    model.save(tmp_path / "m.keras")
    with pytest.raises(LirError, match="class of its own"):
        lutc.quantize(tmp_path / "m.keras", rng.standard_normal((40, 4)))


def test_formats_that_hold_no_floats(tmp_path: Path) -> None:
    (tmp_path / "d.lir").write_text("lir 1\ndesign d(%x: u4) -> (y = %x) {\n}\n")
    with pytest.raises(LirError):
        lutc.quantize(tmp_path / "d.lir", rng.standard_normal((40, 4)))
