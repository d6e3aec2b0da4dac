"""A layer that stands in a model twice is there twice: built, saved, exported and counted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import lutc
from lutc import nn as lnn
from lutc.diagnostics import LirError


def activation() -> nn.Module:
    act = nn.ReLU()
    return nn.Sequential(lnn.QLinear(4, 4), act, lnn.QLinear(4, 4), act)


def quantised_activation() -> nn.Module:
    act = lnn.QReLU(())
    return nn.Sequential(lnn.QLinear(4, 4), act, lnn.QLinear(4, 4), act)


def tables() -> nn.Module:
    lut = lnn.LUTDense(4, 4)
    return nn.Sequential(lut, lut)


def linear() -> nn.Module:
    layer = lnn.QLinear(4, 4)
    return nn.Sequential(layer, nn.ReLU(), layer)


def quantizer() -> nn.Module:
    q = lnn.Quantizer((4,))
    return nn.Sequential(q, lnn.QLinear(4, 4), q)


def block() -> nn.Module:
    inner = nn.Sequential(lnn.QLinear(4, 4), lnn.QReLU(()))
    return nn.Sequential(inner, inner)


def deep_block() -> nn.Module:
    inner = nn.Sequential(lnn.QLinear(4, 4))
    return nn.Sequential(nn.Sequential(inner, nn.ReLU()), nn.Sequential(nn.Identity(), inner), inner)


def branches() -> nn.Module:
    layer = lnn.QLinear(4, 4)
    return nn.Sequential(lnn.QAdd(layer, layer))


def branch_and_chain() -> nn.Module:
    layer = lnn.QLinear(4, 4)
    return nn.Sequential(lnn.Quantizer(()), lnn.QAdd(nn.Identity(), layer), layer)


def joined() -> nn.Module:
    layer = lnn.LUTDense(4, 2)
    return nn.Sequential(lnn.QConcat(layer, layer), lnn.QLinear(4, 4))


def norm() -> nn.Module:
    shared = lnn.QBatchNorm(4)
    return nn.Sequential(lnn.QLinear(4, 4), shared, lnn.QLinear(4, 4), shared)


def thrice() -> nn.Module:
    layer = lnn.QLinear(4, 4, bias=False)
    return nn.Sequential(layer, layer, layer)


MODELS: list[Callable[[], nn.Module]] = [
    activation, quantised_activation, tables, linear, quantizer, block, deep_block, branches, branch_and_chain, joined,
    norm, thrice,
]  # fmt: skip


def seen(make: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    model = make()
    for _ in range(3):
        model(torch.randn(30, 4))
    return model.eval()


X = torch.as_tensor(np.rint(np.random.default_rng(0).normal(0, 2, (40, 4)) * 16) / 16)


def answers(design: lutc.Design) -> np.ndarray:
    return np.array([float(v) for v in np.asarray(design.run(X.numpy())).ravel()]).reshape(len(X), -1)


@pytest.mark.parametrize("make", MODELS)
def test_loaded(make: Callable[[], nn.Module]) -> None:
    model = seen(make)
    np.testing.assert_array_equal(answers(lutc.load(model, example_inputs=X[:1])), model(X).detach().numpy())


@pytest.mark.parametrize("make", MODELS)
def test_saved(make: Callable[[], nn.Module], tmp_path: Path) -> None:
    model = seen(make)
    lnn.save(model, tmp_path / "model.pt", shape=(4,))
    again = lnn.load(tmp_path / "model.pt")
    np.testing.assert_array_equal(again(X).detach().numpy(), model(X).detach().numpy())
    assert len(list(again.modules())) == len(list(model.modules()))  # still the same object, not a copy of it
    assert list(again.state_dict()) == list(model.state_dict())
    np.testing.assert_array_equal(answers(lutc.load(tmp_path / "model.pt")), model(X).detach().numpy())


@pytest.mark.parametrize("make", MODELS)
def test_exported(make: Callable[[], nn.Module], tmp_path: Path) -> None:
    model = seen(make)
    lnn.export_onnx(model, tmp_path / "model.onnx", shape=(4,))
    np.testing.assert_array_equal(answers(lutc.load(tmp_path / "model.onnx")), model(X).detach().numpy())


def test_counted_as_often_as_it_stands_there() -> None:
    layer = lnn.QLinear(4, 4)
    single = lnn.resource_total(nn.Sequential(layer)).item()
    twice = nn.Sequential(layer, nn.Sequential(layer))
    assert lnn.resource_total(twice).item() == 2 * single == lnn.resources(twice).total.item()
    assert [row.name for row in lnn.resources(twice).layers] == ["0", "1.0"]


def test_gradients_flow_once_for_each_use() -> None:
    model = seen(tables).train()
    model[0](torch.randn(8, 4))  # type: ignore[index]
    total = lnn.resource_total(model)
    total.backward()  # type: ignore[no-untyped-call]
    both = model[0].input_quantizer.fraction.grad.clone()  # type: ignore[index]
    model.zero_grad()
    lnn.resource_total(model[0]).backward()  # type: ignore[index,no-untyped-call]
    torch.testing.assert_close(both, 2 * model[0].input_quantizer.fraction.grad)  # type: ignore[index]


def test_a_file_of_before_is_read(tmp_path: Path) -> None:
    """Files without shared layers are written as they always were."""
    model = seen(lambda: nn.Sequential(lnn.QLinear(4, 4), nn.ReLU()))
    lnn.save(model, tmp_path / "model.pt")
    content = torch.load(tmp_path / "model.pt", weights_only=True)
    assert [pair[0] for pair in content["model"]["args"]] == ["0", "1"]


@pytest.mark.parametrize("number", [-1, 7, "0", True])
def test_a_damaged_reference(number: object, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    lnn.save(seen(tables), path)
    content = torch.load(path, weights_only=True)
    content["model"]["args"][1][1]["args"] = [number]
    torch.save(content, path)
    with pytest.raises(LirError, match="damaged"):
        lnn.load(path)
