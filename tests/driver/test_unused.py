"""Options that have no effect on a kind of model, and data that calibrate nothing, are refused and not swallowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import lutc
from lutc.cli import main
from lutc.diagnostics import LirError
from lutc.plugins import LoadOptions, frontends

MODEL = "lir 1\ndesign d(%x: s4) -> (y = %y) {\n  %y = mul %x, %x\n}\n"
GOOD = np.ones((3, 2))


@pytest.mark.parametrize(
    "command", [["compile"], ["run", "--input=x.npy", "--output=y.npy"], ["opt", "-p", "rescale"]]
)
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--input-type=nosuch=s4"], "leave out input_types (--input-type)"),
        (["--input-type=x=s4"], "leave out input_types (--input-type)"),
        (["--input-type=s4"], "leave out input_types (--input-type)"),
        (["--calibrate=x.npy"], "leave out calibrate (--calibrate)"),
        (["--calibrate=nan.npy"], "not finite"),
    ],
)
def test_a_lir_file_reads_neither(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], words: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("d.lir").write_text(MODEL)
    np.save("x.npy", np.ones(3))
    np.save("nan.npy", np.array([1, np.nan]))
    done = CliRunner().invoke(main, [command[0], "d.lir", *command[1:], *words])
    assert done.exit_code == 2 and message in done.output
    assert not Path("build").exists() and not Path("y.npy").exists()


@pytest.mark.parametrize(
    "option", [{"input_types": "s4"}, {"calibrate": GOOD}, {"example_inputs": GOOD}], ids=str
)
def test_a_design_reads_none(tmp_path: Path, option: dict[str, Any]) -> None:
    (tmp_path / "d.lir").write_text(MODEL)
    for source in (tmp_path / "d.lir", lutc.load(tmp_path / "d.lir")):
        with pytest.raises(LirError, match="leave out"):
            lutc.load(source, **option)


UNREAD = {
    "onnx": ["calibrate", "example_inputs"],
    "tables": ["calibrate", "example_inputs"],
    "torch": ["calibrate"],
    "keras": ["example_inputs"],
    "nn": ["input_types"],
}


@pytest.mark.parametrize("name", UNREAD)
def test_every_frontend_says_what_it_reads(name: str) -> None:
    """Before the model is opened: there is none."""
    frontend = next(f for f in frontends() if f.name == name)
    values: dict[str, Any] = {"input_types": {"": "s4"}, "calibrate": GOOD, "example_inputs": GOOD}
    for option in UNREAD[name]:
        with pytest.raises(LirError, match="leave out"):
            frontend.load(Path("none"), LoadOptions(**{option: values[option]}))


@pytest.mark.parametrize(
    "data",
    [
        [[np.nan]], np.array([[np.inf]]), np.array([[1e300]]), np.array([["a"]]), np.array([[1j]]), {"x": [[np.nan]]},
        [GOOD, GOOD * np.nan], np.zeros((0, 2)), None, np.ma.array([[1.0]], mask=[[True]]), "x.npy", ...,
    ],
    ids=lambda data: repr(data)[:30],
)  # fmt: skip
def test_data_that_calibrate_nothing(tmp_path: Path, data: Any) -> None:
    (tmp_path / "m.onnx").write_bytes(b"")
    with pytest.raises(LirError) as raised:
        lutc.load(tmp_path / "m.onnx", calibrate=data)
    assert ("calibration data" in str(raised.value)) == (data is not None)
