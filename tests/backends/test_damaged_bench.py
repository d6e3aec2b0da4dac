"""A bench that somebody has edited is told in a line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_simulate import adder, build_folder, sums

from lutc.backends.simulate import simulate
from lutc.diagnostics import LirError


@pytest.mark.parametrize(
    "text", ["", "x\n", "{}", "[]", "null", "3", "[" * 100_000, '{"vectors": 5}', "\ud800", '{"hdl": "vhdl"}']
)
def test_a_damaged_bench_is_an_error(tmp_path: Path, text: str) -> None:
    build_folder(tmp_path, adder(1), "verilog", 1, sums(5, 12))
    (tmp_path / "sim" / "bench.json").write_text(text, errors="surrogatepass")
    with pytest.raises(LirError, match=r"bench\.json: error: it does not describe a bench") as caught:
        simulate(tmp_path)
    assert "Traceback" not in str(caught.value)


def test_a_bench_without_a_field_is_an_error(tmp_path: Path) -> None:
    build_folder(tmp_path, adder(1), "verilog", 1, sums(5, 12))
    described = tmp_path / "sim" / "bench.json"
    whole = json.loads(described.read_text())
    for key in ("top", "hdl", "sources", "inputs", "outputs", "vectors"):
        for other in ({k: v for k, v in whole.items() if k != key}, whole | {key: None}):
            described.write_text(json.dumps(other))
            with pytest.raises(LirError, match="it does not describe a bench"):
                simulate(tmp_path)
