"""The bench in Verilator: it passes what is right, tells what is wrong, and is chosen for many vectors."""

from __future__ import annotations

from pathlib import Path

import pytest

import lutc
from conftest import need_tool
from lutc.backends.bench import run
from lutc.backends.simulate import simulate

TEXT = """lir 1
design wide(%x: s70[3], %y: u5) -> (z = %z, b = %b) {
  %z = neg %x
  %b = bit_slice %y, high=2, low=1
}
"""


@pytest.fixture(name="folder")
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    need_tool("verilator")
    monkeypatch.delenv("LUTC_SIM", raising=False)
    build = lutc.compile(lutc.loads(TEXT), stages=2, clock_enable=True, valid=True)
    return build.write(tmp_path / "build", vectors=60)


def test_right_and_wrong_answers(folder: Path) -> None:
    result = simulate(folder, simulator="verilator")
    assert result.passed and result.simulator == "verilator" and result.vectors == 60
    assert result.cycles == simulate(folder, simulator="icarus").cycles
    outputs = folder / "sim" / "outputs.hex"
    lines = outputs.read_text().splitlines()
    first, second = lines[18].split()  # vector 17, after the ports' names
    lines[18] = f"{first} {int(second, 16) ^ 1:x}"
    outputs.write_text("\n".join(lines) + "\n")
    found = {name: simulate(folder, simulator=name) for name in ("verilator", "icarus")}
    assert not found["verilator"].passed
    assert found["verilator"].first_failure == found["icarus"].first_failure
    assert found["verilator"].first_failure is not None and found["verilator"].first_failure.vector == 17


def test_many_vectors_choose_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for tool in ("verilator", "iverilog"):
        need_tool(tool)
    monkeypatch.delenv("LUTC_SIM", raising=False)
    assert run.choose(None, "verilog", run.MANY) == "verilator"
    assert run.choose(None, "verilog", run.MANY - 1) == run.choose("icarus", "verilog", run.MANY) == "icarus"
    monkeypatch.setattr(run, "_has_verilator", lambda: False)
    assert run.choose(None, "verilog", run.MANY) == "icarus"
