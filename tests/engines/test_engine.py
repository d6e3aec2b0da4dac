"""`lutc.run` and `lutc run`: whatever computes, the numbers are the reference's, and nothing is half-written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import lutc
from conftest import need_tool
from lutc.cli import batches
from lutc.cli import main as cli
from lutc.diagnostics import LirError
from lutc.engines import compiler, engine

TEXT = """lir 1
const @w: s4f1[3, 2] = [1 -2  0.5 3  -1 0]
design d(%x: s6f2[3], %k: u3) -> (y = %y, z = %z) {
  %y = dense %x, @w
  %z = scale %k, by=1/4
}
"""


@pytest.fixture(name="design")
def _design(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> lutc.Design:
    need_tool("gcc")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return lutc.loads(TEXT)


def _inputs(count: int) -> dict[str, Any]:
    rng = np.random.default_rng(count)
    return {"x": rng.normal(size=(count, 3)) * 4, "k": rng.integers(-1, 9, count)}


@pytest.mark.parametrize("name", ["auto", "reference", "c"])
@pytest.mark.parametrize("threads", [1, 3])
def test_engines_agree(design: lutc.Design, name: str, threads: int) -> None:
    given = _inputs(20_000)
    want, got = design.run(**given), lutc.run(design, engine=name, threads=threads, **given)
    assert all((want[port] == got[port]).all() for port in want)


def test_a_number_that_is_none_is_told_by_the_reference(design: lutc.Design) -> None:
    given = _inputs(100)
    given["x"][50, 2] = np.nan
    with pytest.raises(LirError, match="not finite"):
        lutc.run(design, engine="c", **given)


def test_the_engine_is_one_of_three(design: lutc.Design) -> None:
    with pytest.raises(LirError, match="no engine 'vm'"):
        lutc.run(design, engine="vm", **_inputs(1))


def test_without_a_compiler(design: lutc.Design, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "compiler", lambda: None)
    monkeypatch.setattr(engine, "compiler", lambda: None)
    monkeypatch.setattr(engine, "_COMPILED", 0.0)
    given = _inputs(1000)
    assert (lutc.run(design, **given)["y"] == design.run(**given)["y"]).all()
    with pytest.raises(LirError, match="cannot be compiled"):
        lutc.run(design, engine="c", **given)


def test_libraries_are_kept_and_the_oldest_go(design: lutc.Design, monkeypatch: pytest.MonkeyPatch) -> None:
    lutc.run(design, engine="c", **_inputs(10))
    (first,) = compiler.folder().glob("*.so")
    monkeypatch.setattr(compiler, "_MOST", 1)
    other = lutc.loads(TEXT.replace("1/4", "1/8"))
    lutc.run(other, engine="c", **_inputs(10))
    (second,) = compiler.folder().glob("*.so")
    assert second != first and not list(compiler.folder().glob(".new-*"))


@pytest.mark.parametrize("suffix", [".npz"])
@pytest.mark.parametrize("codes", [False, True])
@pytest.mark.parametrize("name", ["reference", "c"])
def test_a_file_some_samples_at_a_time_is_that_file(
    design: lutc.Design, suffix: str, codes: bool, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "d.lir").write_text(TEXT)
    np.savez(tmp_path / "x.npz", **_inputs(1000))
    words = ["run", str(tmp_path / "d.lir"), "--input", str(tmp_path / "x.npz"), "--engine", name]
    words += ["--codes"] * codes
    found = {}
    for most in (1 << 23, 700):
        monkeypatch.setattr(batches, "AT_ONCE", most)
        out = tmp_path / f"y{most}{suffix}"
        done = CliRunner().invoke(cli, [*words, "--output", str(out)])
        assert done.exit_code == 0, done.output
        with np.load(out) as arrays:
            found[most] = {key: arrays[key] for key in arrays.files}
    one, parts = found.values()
    assert one.keys() == parts.keys()
    assert all(one[k].dtype == parts[k].dtype and (one[k] == parts[k]).all() for k in one)
    assert not list(tmp_path.glob(".lutc-*"))


def test_output_may_not_be_the_input(design: lutc.Design, tmp_path: Path) -> None:
    (tmp_path / "d.lir").write_text(TEXT)
    np.savez(tmp_path / "x.npz", **_inputs(5))
    before = (tmp_path / "x.npz").read_bytes()
    (tmp_path / "y.npz").symlink_to(tmp_path / "x.npz")
    for out in ("x.npz", "y.npz"):
        words = [
            "run",
            str(tmp_path / "d.lir"),
            "--input",
            str(tmp_path / "x.npz"),
            "--output",
            str(tmp_path / out),
        ]
        done = CliRunner().invoke(cli, words)
        assert done.exit_code == 2 and "--output is the file of --input" in done.output
    assert (tmp_path / "x.npz").read_bytes() == before
