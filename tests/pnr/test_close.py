"""A clock that is missed at first, and compiled again by the delays that were measured."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from scorer import TEXT

import lutc
from lutc import target as targets
from lutc.cli import main
from lutc.diagnostics import LirError
from lutc.pnr import close
from lutc.pnr.implement import Implementation
from lutc.pnr.timing import Step, Timing
from lutc.pnr.vectors import compare
from lutc.text.print import print_design


@pytest.fixture
def hasty(tmp_path: Path) -> str:
    """A target that takes wires to be a fifth of what they are."""
    text = targets.show("ecp5-25k")
    for name, value in (("net", 0.2), ("register", 0.3), ("fan_out", 0.0)):
        text = re.sub(rf"^{name} = .*$", f"{name} = {value}", text, flags=re.M)
    (tmp_path / "hasty.toml").write_text(text)
    return str(tmp_path / "hasty.toml")


def test_a_clock_is_closed(tmp_path: Path, hasty: str) -> None:
    build = lutc.compile(lutc.loads(TEXT), hasty, clock_ns=6, clock_enable=True)
    folder = build.write(tmp_path / "build", vectors=30, user_vectors={"x": [[0.5, -1, 3, 0.25]]})
    (folder / "mine.txt").write_text("mine")
    vectors = [(folder / "sim" / f"{name}s.hex").read_text() for name in ("input", "output")]
    out = tmp_path / "found.json"
    run = [
        "implement",
        str(folder),
        "--target",
        hasty,
        "--seeds",
        "1",
        "--close",
        "--tries",
        "2",
        "-o",
        str(out),
    ]
    done = CliRunner().invoke(main, [*run, "--keep", str(tmp_path / "kept")])
    assert done.exit_code == 0, done.output
    assert "compiled again by the delays of place and route" in done.output
    facts = json.loads(out.read_text())
    assert facts["met"] and facts["reached_ns"] <= 6 and facts["vectors_compared"] == 20
    first, second = facts["tries"][:2]
    assert not first["met"] and first["delay_factor"] == 1 and first["stages"] == build.report["stages"]
    assert second["delay_factor"] == pytest.approx(
        first["reached_ns"] / build.report["estimate"]["stage_ns"], rel=1e-3
    )
    report = json.loads((folder / "report.json").read_text())
    assert report["closure"]["tries"] == len(facts["tries"]) - 1 and report["closure"]["met"]
    assert report["closure"]["reached_ns"] == facts["reached_ns"]
    assert report["clock_ns"] == 6 and report["delay_factor"] > 1 and report["clock_enable"]
    assert report["stages"] == facts["latency_cycles"] > build.report["stages"]
    # The same function on the same vectors, and nothing of the user's is gone.
    assert vectors == [(folder / "sim" / f"{name}s.hex").read_text() for name in ("input", "output")]
    assert (folder / "mine.txt").read_text() == "mine"
    assert sorted(p.name for p in (tmp_path / "kept").iterdir()) == [
        f"try-{n}" for n in range(len(facts["tries"]))
    ]
    assert lutc.simulate(folder).passed
    assert (folder / "model.lir").read_text() == print_design(build.source)


def pretended(monkeypatch: pytest.MonkeyPatch, reached: Any) -> list[int]:
    """Let place and route say that `reached(stages)` ns are reached; returns the stages that it was asked of."""
    asked: list[int] = []

    def implemented(build: Path, wanted: Any, keep: Path | None) -> Implementation:
        report = json.loads((build / "report.json").read_text())
        asked.append(report["stages"])
        path = (Step("hidden", 3, 1.0, 2.0),)
        times = [Timing(1, reached(report["stages"]), path, "x", "y")]
        estimate = report["estimate"]
        counts = dict.fromkeys(("luts", "carries", "ffs", "dsps", "brams"), 9)
        period = wanted.period(report, build)
        return Implementation(
            report["target"], period, report["stages"], counts, estimate, times, {"yosys": "1"}
        )

    monkeypatch.setattr(close, "implemented", implemented)
    monkeypatch.setattr("lutc.pnr.implement.implemented", implemented)
    return asked


def written(tmp_path: Path, **options: Any) -> Path:
    return lutc.compile(lutc.loads(TEXT), "ecp5-25k", **options).write(tmp_path / "build", vectors=20)


def test_fewer_stages_are_tried_where_there_were_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = written(tmp_path, clock_ns=15)
    asked = pretended(monkeypatch, lambda stages: 30.0 if stages <= 2 else 14.5)
    found = lutc.implement(folder, close=True)
    assert found.met and found.latency == 3 and asked == [2, 6, 3]
    assert json.loads((folder / "report.json").read_text())["stages"] == found.latency


def test_the_best_stays_and_the_message_says_what_is_in_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = written(tmp_path, clock_ns=9)
    periods = iter([9.5, 9.2, 9.4, 9.3])
    pretended(monkeypatch, lambda stages: next(periods))
    done = CliRunner().invoke(main, ["implement", str(folder), "--close"])
    assert done.exit_code == 2
    assert "9.00 ns were asked for and 9.20 ns are reached; the slowest path leads from x to y" in done.output
    assert "compiled again 3 times, by delays up to" in done.output
    report = json.loads((folder / "report.json").read_text())
    assert report["closure"] == {"tries": 3, "reached_ns": 9.2, "met": False, "tools": "yosys 1"}


def test_what_is_met_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = written(tmp_path, clock_ns=8)
    before = (folder / "report.json").read_text()
    asked = pretended(monkeypatch, lambda stages: 7.9)
    found = lutc.implement(folder, close=True)
    assert found.met and len(asked) == 1 and [t.met for t in found.tries] == [True]
    assert (folder / "report.json").read_text() == before


@pytest.mark.parametrize(
    "clock, why",
    [(1.5, "leaves no time between registers"), (5, "a single operation takes longer than the period")],
)
def test_where_no_register_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: float, why: str
) -> None:
    folder = written(tmp_path, clock_ns=clock)
    before = (folder / "report.json").read_text()
    pretended(monkeypatch, lambda stages: 5.5)
    found = lutc.implement(folder, close=True)
    assert not found.met and why in found.missed()
    assert (folder / "report.json").read_text() == before


def test_what_cannot_be_compiled_again(tmp_path: Path) -> None:
    folder = written(tmp_path, stages=1)
    with pytest.raises(LirError, match="was not compiled for a clock"):
        lutc.implement(folder, clock_ns=5, close=True)
    for tries in (0, 1.5, 1000):
        with pytest.raises(LirError, match="a number of tries is"):
            lutc.implement(folder, tries=tries)  # type: ignore[arg-type]
    from lutc.passes.canonical.simplify import Simplify
    from lutc.passes.pipeline import Pipeline
    from lutc.passes.scalarize import Scalarize
    from lutc.passes.sums.adders import Adders
    from lutc.passes.sums.collect import Collect

    own = [Simplify(), Scalarize(), Collect(), Adders(), Pipeline(7.0)]
    folder = lutc.compile(lutc.loads(TEXT), "ecp5-25k", passes=own).write(tmp_path / "own", vectors=20)
    with pytest.raises(LirError, match="compiled by other passes than the usual ones"):
        lutc.implement(folder, close=True)
    rows = np.random.default_rng(0).integers(-2, 2, (30, 4)) / 4
    build = lutc.compile(lutc.loads(TEXT), "ecp5-25k", clock_ns=7, assume_inputs=rows)
    with pytest.raises(LirError, match="the build assumes inputs"):
        lutc.implement(build.write(tmp_path / "assumed", vectors=20), close=True)


@pytest.mark.parametrize(
    "options", [{"objective": "area"}, {"effort": "fast"}, {"hdl": "vhdl", "approx_lsb": 2.0, "valid": True}]
)
def test_compiled_again_it_is_the_same_build(tmp_path: Path, options: dict[str, Any]) -> None:
    """With the delays that it was compiled by: from the folder alone all settings are known."""
    from lutc.pnr.implement import Asked

    model = lutc.loads(TEXT)
    folder = lutc.compile(model, "orangecrab-85f", clock_ns=7, delay_factor=1.2, **options).write(
        tmp_path / "build"
    )
    again = close._Again.of(folder, Asked()).compiled(1.2).write_like(tmp_path / "again", folder)
    names = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    assert names == sorted(str(p.relative_to(again)) for p in again.rglob("*") if p.is_file())
    for name in names:
        assert (folder / name).read_bytes() == (again / name).read_bytes(), name


def test_another_function_is_noticed(tmp_path: Path) -> None:
    folder = written(tmp_path, clock_ns=7)
    report = json.loads((folder / "report.json").read_text())
    assert compare(lutc.loads(TEXT), report, folder / "sim") == 20
    other = lutc.loads(TEXT.replace("-1.25]", "-1]"))
    with pytest.raises(LirError, match="answers vector 2 otherwise at y"):
        compare(other, report, folder / "sim")


def test_a_factor_of_delays() -> None:
    design = lutc.loads(TEXT)
    plain, slow = (lutc.compile(design, "ecp5-25k", clock_ns=7, delay_factor=f).report for f in (1, 1.5))
    assert slow["stages"] > plain["stages"] and (plain["delay_factor"], slow["delay_factor"]) == (1, 1.5)
    assert slow["estimate"]["stage_ns"] <= 7 and slow["estimate"]["delays"].endswith(
        "; all 1.5 times as long"
    )
    target = targets.load("ecp5-25k")
    assert target.slowed(1) is target and target.slowed(1.5) is target.slowed(1.5)
    assert target.slowed(1.5).lut_ns() == pytest.approx(1.5 * target.lut_ns())
    for wrong in (0, "2", 100.0, True, float("nan")):
        with pytest.raises(LirError, match="a factor of delays is a number"):
            lutc.Settings(delay_factor=wrong)  # type: ignore[arg-type]
