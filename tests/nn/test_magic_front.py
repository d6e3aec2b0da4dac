"""The comparison with HGQ2 on MAGIC: one formula for both sides, a front, a picture, and both sides' runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from magic_rows import rows

from conftest import need_module
from lutc import nn as lnn

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tools.bench import magic_front  # noqa: E402
from tools.bench.magic_plot import picture  # noqa: E402
from tools.bench.magic_recipe import Recipe, Row, front, surrogate  # noqa: E402


def row(epoch: int, validation: float, luts: float, test: float = 0.5, file: str = "") -> Row:
    return Row(epoch, validation, test, luts, luts, file)


def layer(width: int, seed: int) -> Any:
    """A LUT layer in evaluation with widths of many kinds, none of its tables of one bit."""
    torch.manual_seed(seed)
    made = lnn.LUTDense(5, width)
    with torch.no_grad():
        made.input_quantizer.fraction.add_(torch.randint(-8, 1, (5, width)))
        made.table_quantizer.total.sub_(torch.randint(0, 8, (5, width)))
    return made.eval()


def test_luts_are_those_of_the_loss() -> None:
    made = layer(7, 0)
    key, value = (w.numpy() for w in made.resource_bits())
    assert len(np.unique(key)) > 4
    assert surrogate([(key, value)]) == pytest.approx(made.resources().item(), rel=1e-6)
    assert surrogate([(np.array([6]), np.array([1]))]) == 0
    assert surrogate([(np.array([6, 3, 0]), np.array([2, 4, 3]))]) == pytest.approx(4 + 4 * 1.3 + 3)


def test_the_schedules_of_beta_are_one() -> None:
    recipe = Recipe(None, "", epochs=40, every=1)
    ramp = lnn.LogRamp(recipe.beta_first, recipe.beta_last, recipe.steps * 9 // 10, recipe.steps // 10)
    for step in (0, 50, 200, recipe.steps):
        assert recipe.beta(step) == pytest.approx(ramp(step, 0.0), rel=1e-12)
    assert recipe.beta(recipe.steps) == pytest.approx(recipe.beta_last)


def test_the_front_and_its_levels_are_chosen_by_validation() -> None:
    found = [row(1, 0.8, 100), row(2, 0.7, 120), row(3, 0.9, 300), row(4, 0.8, 90), row(5, 0.9, 310)]
    assert [r.epoch for r in front(found)] == [4, 3]
    assert magic_front.at_level(50, [found], (np.zeros((1, 10), np.float32), np.zeros(1, np.int64))) is None


def test_a_recorded_model_must_score_as_its_design(tmp_path: Path) -> None:
    made = torch.nn.Sequential(layer(4, 1), lnn.LUTDense(4, 2, fraction=1)).eval()
    x = np.random.default_rng(0).normal(size=(200, 5)).astype(np.float32)
    lnn.trace_ranges(made, [torch.from_numpy(x)])
    score = lnn.accuracy(made(torch.from_numpy(x)), torch.zeros(200, dtype=torch.int64))
    assert 0 < score < 1
    lnn.save(made, tmp_path / "m.pt")
    luts = lnn.resource_total(made).item()
    record = row(1, 0.5, luts, test=score, file=str(tmp_path / "m.pt"))
    zeros = np.zeros(200, np.int64)
    found = magic_front.at_level(10**6, [[record], [record]], (x, zeros))
    assert found is not None
    assert 0 < found["estimate"] < 2 * luts
    assert found["test_of_seeds"] == {"mean": round(score, 5), "deviation": 0, "seeds": 2}
    with pytest.raises(SystemExit, match="test accuracy"):
        magic_front.compiled(record, (x, 1 - zeros))
    with pytest.raises(SystemExit, match="in the tables of the design"):
        magic_front.compiled(row(1, 0.5, 3, test=score, file=record.file), (x, zeros))


def test_a_curve_is_the_mean_of_what_each_seed_chooses() -> None:
    first = [row(1, 0.8, 70, test=0.7), row(2, 0.9, 300, test=0.8), row(3, 0.85, 400, test=1.0)]
    second = [row(1, 0.7, 90, test=0.6)]
    found = magic_front.curve([first, second])
    assert [p[0] for p in found] == [b for b in magic_front.BUDGETS if b >= 90]
    assert all(p[1:] == [pytest.approx(0.65), pytest.approx(0.07071)] for p in found if p[0] < 300)
    assert all(p[1] == pytest.approx(0.7) for p in found if p[0] >= 300)
    assert magic_front.curve([first])[0] == [pytest.approx(71.0, rel=0.05), 0.7, 0]


def test_the_picture_has_every_curve_with_its_band() -> None:
    curves: dict[str, Any] = {
        "ours": [(40, 0.81, 0.01), (400, 0.87, 0)],
        "theirs": [(60, 0.82, 0), (70, 0.83, 0)],
    }
    tree = ElementTree.fromstring(picture(curves))
    texts = [e.text for e in tree.iter() if e.text]
    assert [t for t in texts if t in curves] == ["ours", "theirs"]
    assert {"80 %", "87 %", "50", "200"} <= set(texts)
    assert "88 %" not in texts
    paths = [e.get("d", "") for e in tree.iter() if e.tag.endswith("path")]
    bands = [[tuple(map(float, p.split())) for p in d[1:-1].split("L")] for d in paths if d.endswith("Z")]
    lines = [
        [tuple(map(float, p.split())) for p in d[1:].split("L")] for d in paths if "L" in d and d[-1] != "Z"
    ]
    (left, at), (right, above) = lines[0]
    assert left < lines[1][0][0] < lines[1][1][0] < right
    assert above < at
    assert bands[0][0][0] == bands[0][-1][0] == left
    assert bands[0][0][1] == pytest.approx(at - (at - above) / 6, abs=0.1)  # a deviation of 1 % of 6 %
    assert bands[0][-1][1] == pytest.approx(at + (at - above) / 6, abs=0.1)


def test_both_sides_run_and_the_page_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("keras", "hgq"):
        need_module(name)
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    monkeypatch.setattr(magic_front, "LEVELS", (10,))  # no model is as small after two epochs
    monkeypatch.setattr(magic_front, "BUDGETS", (10.0, 1e5))  # every model is smaller than the second
    (tmp_path / "magic04.data").write_text("\n".join(rows()))
    options = ["--data", str(tmp_path / "magic04.data"), "--out", str(tmp_path / "out"), "--epochs", "2"]
    options += ["--every", "1", "--seeds", "0", "--results", str(tmp_path), "--peer-python", sys.executable]
    monkeypatch.setattr(sys, "argv", ["magic_front.py", *options])
    magic_front.main()
    for script, key in magic_front.SIDES.values():
        kept = json.loads((tmp_path / "out" / f"{script}_0" / "rows.json").read_text())
        assert [r["epoch"] for r in kept[key]] == [1, 2]
        assert all((tmp_path / "out" / f"{script}_0" / r["file"]).is_file() for r in kept[key])
        # HGQ2's is cut to whole LUTs
        assert all(abs(r["luts"] - r["own_luts"]) <= 2 for r in kept[key]), (script, key)
        assert kept[key][0]["luts"] > 1000
    assert kept["rows"][1]["luts"] != kept["mean_rows"][1]["luts"]
    told = json.loads((tmp_path / "magic_front.json").read_text())
    assert set(told["sides"]) == set(magic_front.SIDES)
    assert all(len(side["curve"]) == 1 for side in told["sides"].values())
    assert all(0 < v < 1 for v in told["mean_of_curves"].values())
    assert "| 10 |  |  |  |  |  |  |  |  |  |" in (tmp_path / "magic_front.md").read_text()
    monkeypatch.setattr(subprocess, "run", None)
    magic_front.main()  # finished runs are used again
    monkeypatch.setattr(sys, "argv", ["magic_front.py", *options, "--every", "2"])
    with pytest.raises(SystemExit, match="another recipe"):
        magic_front.main()
