"""The bench that puts circuits of another compiler through the same place and route: what it makes of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lutc import target as targets
from lutc.pnr import tools
from lutc.pnr.flows import counted, flow_of
from lutc.pnr.place import Circuit, placed, synthesised
from lutc.pnr.timing import SOURCE, Layers

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
from tools.bench import implemented, peer_circuits  # noqa: E402

# Two ranks of registers: the first holds the inputs as they come.
FOREIGN = """module adder(input clk, input [3:0] a, input [3:0] b, output reg [4:0] s);
  reg [3:0] p, q;
  always @(posedge clk) begin p <= a; q <= b; s <= p + q; end
endmodule
"""


def test_any_verilog_goes_the_same_way(tmp_path: Path) -> None:
    (tmp_path / SOURCE).write_text(FOREIGN)
    device = targets.load("ecp5-25k")
    with tools.jobs() as jobs:
        found = peer_circuits.described(tmp_path, jobs, "adder")
        assert (found.ports.clock, found.ranks, found.input_bits) == ("clk", 2, 8)
        assert found.ports.inputs == [("a", 4), ("b", 4)] and found.ports.outputs == [("s", 5)]
        circuit = Circuit(found.ports, device, flow_of(device), dsp=False)
        cells = synthesised(tmp_path, circuit, jobs)
        (one,) = placed(tmp_path, circuit, 5.0, 1, Layers((), {}), jobs, lambda told: None)
    assert counted(circuit.flow, cells)["ffs"] == 13 and 0.5 < one.period_ns < 10


def test_a_peer_that_is_not_there(tmp_path: Path) -> None:
    assert peer_circuits.version(str(tmp_path / "python")) is None
    with pytest.raises(peer_circuits.Missing, match="alkaid cannot be run"):
        peer_circuits._converted(tmp_path / "m.keras", 2.0, str(tmp_path / "python"), tmp_path / "out")


def ours(asked: float, stages: int, reached: float, luts: int, ffs: int) -> dict[str, Any]:
    estimate = {"luts": luts, "ffs": ffs, "dsps": 0, "stage_ns": asked}
    figures = {"luts": luts, "carries": 3, "ffs": ffs, "dsps": 0, "reached_ns": reached, "seeds": [reached]}
    row = {
        "model": "m.keras",
        "target": "ecp5-85k",
        "asked_ns": asked,
        "stages": stages,
        "estimate": estimate,
    }
    return row | figures | {"met": reached <= asked, "wires": 0.5}


def theirs(cutoff: float, stages: int, reached: float, luts: int, ffs: int) -> dict[str, Any]:
    row = ours(cutoff, stages, reached, luts, ffs)
    return row | {"cutoff": cutoff, "input_bits": 20, "sha256": "0" * 16}


def test_the_page_compares_the_best_latencies() -> None:
    a = [ours(5.0, 8, 5.0, 100, 80), ours(10.0, 3, 10.0, 90, 30)]
    b = [theirs(2.0, 5, 10.0, 150, 120), theirs(5.0, 3, 20.0, 150, 50)]
    found = peer_circuits.compared(a, b)
    assert found["latency"] == pytest.approx(30 / 50) and found["luts"] == pytest.approx(90 / 150)
    assert found["bare"] == {"latency": pytest.approx(30 / 40), "ffs": pytest.approx(30 / 100)}
    page = implemented.page(a, b, {"yosys": "1"})
    assert "| m.keras | lutc, 10 ns | 3 | 10.00 | 30.0 | 90 | 30 |" in page
    assert "| m.keras | alkaid, cut-off 2 | 5 | 10.00 | 50.0 | 150 | 120 |" in page
    assert (
        "| geometric mean | **best latency, lutc / alkaid** | | | 0.60 (0.75) | 0.60 | 0.25 (0.30) |" in page
    )
    assert "Against alkaid" not in implemented.page(a, [], {})


def test_what_is_known_of_the_peer_is_kept(tmp_path: Path) -> None:
    model = tmp_path / "m.keras"
    model.write_bytes(b"1")
    row = theirs(2.0, 5, 10.0, 150, 120) | {"sha256": peer_circuits._digest(model)}
    assert peer_circuits.known(row, model, 1)
    assert not peer_circuits.known(row, model, 3) and not peer_circuits.known(None, model, 1)
    model.write_bytes(b"2")
    assert not peer_circuits.known(row, model, 1)


def test_the_fit_of_a_targets_wires(tmp_path: Path) -> None:
    """A period that is the model's own, a quarter longer: the wires become so much longer that the model is, too."""
    import lutc

    text = "lir 1\ndesign m(%x: s8[6]) -> (y = %y) {\n  %y = sum %x\n}\n"
    (tmp_path / "m.lir").write_text(text)
    build = lutc.compile(tmp_path / "m.lir", "ice40hx8k", clock_ns=8)
    model_ns = build.report["estimate"]["stage_ns"]
    row = ours(8.0, 3, round(1.25 * model_ns, 3), 40, 30) | {"model": "m.lir", "target": "ice40hx8k"}
    row["estimate"]["stage_ns"] = model_ns
    (tmp_path / "rows.json").write_text(json.dumps({"rows": [row]}))
    script = ROOT / "tools" / "bench" / "fit_delays.py"
    run = [
        sys.executable,
        str(script),
        str(tmp_path / "rows.json"),
        str(tmp_path / "m.lir"),
        "--target",
        "ice40hx8k",
    ]
    done = subprocess.run([*run, "--longer", "0"], capture_output=True, text=True, check=True)
    assert float(done.stdout.split()[2]) > targets.load("ice40hx8k").net
    before, after = done.stdout.splitlines()[-2:]
    assert "before: reached over model 1.250" in before
    assert abs(float(after.split("model ")[1].split()[0]) - 1) < 0.01
    row["estimate"]["stage_ns"] = 1.0
    (tmp_path / "rows.json").write_text(json.dumps({"rows": [row]}))
    stale = subprocess.run(run, capture_output=True, text=True, check=False)
    assert stale.returncode and "is another circuit by now" in stale.stderr
