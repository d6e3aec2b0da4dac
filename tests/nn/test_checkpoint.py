"""Models in files: they come back as they were, compile from the command line, and strange files are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

import lutc
from lutc import nn as lnn
from lutc.cli import main
from lutc.diagnostics import LirError
from lutc.nn.checkpoint import read

MAGIC = Path(__file__).parents[2] / "tools" / "zoo" / "magic_gamma" / "magic_gamma.pt"


def hybrid() -> tuple[nn.Module, tuple[int, ...]]:
    """Two to three layers of each kind, after a step of training."""
    torch.manual_seed(0)
    model = nn.Sequential(
        lnn.QConv1d(2, 3, 3, padding=1, weights={"fraction": 2}),
        lnn.QReLU((3, 1), fraction=2),
        nn.MaxPool1d(2),
        lnn.LUTConv1d(3, 2, kernel=2, hidden=2, fraction=2, table_fraction=2),
        nn.Flatten(),
        nn.Dropout(0.1),
        lnn.QAdd(nn.Identity(), nn.Sequential(lnn.LUTDense(6, 6, hidden=2, fraction=1, table_fraction=2))),
        lnn.QConcat(lnn.QLinear(6, 1, data={"fraction": 1}), lnn.QBatchNorm(6, weights={"fraction": 3})),
    )
    y: torch.Tensor = model(torch.randn(64, 2, 8))
    torch.autograd.backward(y.square().sum())
    torch.optim.SGD(model.parameters(), 1e-3).step()
    return model.eval(), (2, 8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_model_comes_back_as_it_was(tmp_path: Path, dtype: torch.dtype) -> None:
    model, shape = hybrid()
    model.to(dtype)
    before = torch.get_rng_state()
    lnn.save(model, tmp_path / "small.pt", shape=shape, about={"accuracy": 0.5})
    found = read(tmp_path / "small.pt")
    assert torch.equal(torch.get_rng_state(), before)
    assert (found.name, found.shape, found.about) == ("small", shape, {"accuracy": 0.5})
    assert repr(found.model) == repr(model)
    x = torch.randn(500, *shape, dtype=dtype)
    assert torch.equal(lnn.load(tmp_path / "small.pt")(x), model(x))
    assert [p.name for p in tmp_path.iterdir()] == ["small.pt"]


@pytest.mark.parametrize("hdl", ["verilog", "vhdl"])
def test_a_file_compiles_and_every_bit_is_right_in_simulation(
    tmp_path: Path, hdl: str, need_tool: Callable[[str], str]
) -> None:
    need_tool({"verilog": "iverilog", "vhdl": "ghdl"}[hdl])
    model, shape = hybrid()
    lnn.save(model, tmp_path / "small.pt", shape=shape)
    x = np.random.default_rng(0).normal(size=(50, *shape)) * 2
    np.save(tmp_path / "x.npy", x)
    arguments = [
        "compile",
        str(tmp_path / "small.pt"),
        "-o",
        str(tmp_path / "build"),
        "--hdl",
        hdl,
        "--verify",
    ]
    told = CliRunner().invoke(
        main, [*arguments, "--vectors", "100", "--test-data", str(tmp_path / "x.npy")], catch_exceptions=False
    )
    assert told.exit_code == 0, told.output
    assert "no bit wrong" in told.output
    circuit = lutc.compile(lutc.load(tmp_path / "build" / "model.lir"), clock_ns=3)
    with torch.no_grad():
        assert np.array_equal(circuit.run(x), model(torch.from_numpy(x)).numpy())


def test_the_zoo_s_model_is_exact_in_the_final_stage() -> None:
    build = lutc.compile(MAGIC)
    x = torch.randn(1000, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2
    with torch.no_grad():
        want = lnn.load(MAGIC)(x).numpy()
    assert np.array_equal(build.run(x.numpy()), want)
    assert build.source.name == "magic_gamma"
    assert len(np.unique(want)) > 100


def test_calibration_sets_the_ranges(tmp_path: Path) -> None:
    model = nn.Sequential(lnn.LUTDense(3, 2, hidden=2))
    lnn.save(model, tmp_path / "m.pt")
    small = np.random.default_rng(0).uniform(-0.4, 0.4, (100, 3))
    narrow, usual = lutc.load(tmp_path / "m.pt", calibrate=small), lutc.load(tmp_path / "m.pt")
    with lnn.traced(model, [torch.from_numpy(small).float()]) as twin, torch.no_grad():
        assert np.array_equal(narrow.run(small), twin(torch.from_numpy(small)).numpy())
    assert narrow.params[0].type.formats[0].width < usual.params[0].type.formats[0].width


@pytest.mark.parametrize("shape", [(5, 4), (5,), ()])
@pytest.mark.parametrize("known", [False, True])
def test_calibration_data_of_another_shape(tmp_path: Path, shape: tuple[int, ...], known: bool) -> None:
    lnn.save(nn.Sequential(lnn.LUTDense(3, 2, hidden=2)), tmp_path / "m.pt", shape=(3,) if known else None)
    with pytest.raises(lutc.LirError, match="calibration data"):
        lutc.load(tmp_path / "m.pt", calibrate=np.ones(shape))


def _foreign(path: Path) -> None:
    torch.save({"w": torch.zeros(2)}, path)


def _text(path: Path) -> None:
    path.write_text("no tensors")


def _object(path: Path) -> None:
    torch.save(nn.Linear(2, 2), path)  # needs code to be read


def _edit(key: str, value: Any) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        lnn.save(nn.Sequential(lnn.LUTDense(2, 2)), path)
        torch.save(torch.load(path, weights_only=True) | {key: value}, path)

    return write


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (_foreign, "no description of a model"),
        (_text, "no checkpoint of PyTorch"),
        (_object, "a torch.nn.modules.linear.Linear, and opening that could run code"),
        (_edit("version", 99), "version 99"),
        (_edit("state", {}), "damaged"),
        (_edit("model", {"layer": "Popen", "args": ["true"], "options": {}}), "no layer 'Popen'"),
    ],
)
def test_other_files_are_refused_with_exit_2(
    tmp_path: Path, write: Callable[[Path], None], message: str
) -> None:
    write(tmp_path / "m.pt")
    told = CliRunner().invoke(main, ["compile", str(tmp_path / "m.pt"), "-o", str(tmp_path / "b")])
    assert told.exit_code == 2
    assert message in told.output
    assert "help: write it with lutc.nn.save" in told.output or "newer" in told.output


def test_what_a_file_cannot_hold_is_refused_when_it_is_saved(tmp_path: Path) -> None:
    with pytest.raises(LirError, match="cannot hold a Tanh"):
        lnn.save(nn.Sequential(lnn.LUTDense(2, 2), nn.Tanh()), tmp_path / "m.pt")
    changed = lnn.QAdd(nn.Identity(), lnn.LUTDense(2, 2))
    changed.branches[1] = lnn.LUTDense(2, 2, hidden=3)
    with pytest.raises(LirError, match="no longer as it was made"):
        lnn.save(nn.Sequential(changed), tmp_path / "m.pt")
    assert not list(tmp_path.iterdir())
