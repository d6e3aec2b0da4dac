"""A folder goes on with the run it holds, and with no other; what is told of a run while it trains."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import torch
from test_trainer_data import Rows, data, network, trainer, weights
from torch import nn
from torch.utils.data import DataLoader

from conftest import need_module
from lutc import nn as lnn
from lutc.diagnostics import LirError

X, Y = data()


def wider() -> nn.Module:
    return nn.Sequential(lnn.QLinear(3, 5), nn.ReLU(), lnn.QLinear(5, 2))


def other_options() -> nn.Module:
    return nn.Sequential(lnn.QLinear(3, 4, weights={"decay": 0.5}), nn.ReLU(), lnn.QLinear(4, 2))


CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "model": ({"model": wider}, "model was 0 QLinear .*3, 4.*, and is 0 QLinear .*3, 5"),
    "a layer's options": ({"model": other_options}, "model was .*, and is .*decay"),
    "data": ({"train": (X + 1, Y)}, r"train was \[64, 3\] float32, \[64\] int64 \w+, and is \[64, 3\] float32"),
    "targets": ({"train": (X, 1 - Y)}, "train was"),
    "validation": ({"validation": data(32, 2)}, "validation was"),
    "loader": ({"train": DataLoader(Rows(X, Y), 16)}, "train was .* and is DataLoader, Rows of 64"),
    "optimiser": ({"optimiser": lambda p: torch.optim.Adam(p, 0.1)}, "optimiser was SGD: .* and is Adam: "),
    "rate": ({"optimiser": lambda p: torch.optim.SGD(p, 0.2)}, "optimiser was .*lr=0.1.* and is .*lr=0.2"),
    "schedule": ({"schedule": lambda o: torch.optim.lr_scheduler.StepLR(o, 3)}, "schedule was None, and is StepLR"),
    "loss": ({"loss": nn.functional.multi_margin_loss}, "loss was .*cross_entropy, and is .*multi_margin"),
    "metric": ({"metric": lambda o, t: 0.5}, "metric was lutc.nn.training.accuracy, and is"),
    "beta": ({"beta": 1e-5}, r"beta was Constant\(beta=1e-06\), and is Constant\(beta=1e-05\)"),
    "ramp": ({"beta": lnn.LogRamp(1e-6, 1e-5, 9)}, r"beta was Constant.*, and is LogRamp\(first=1e-06"),
    "batch": ({"batch": 32}, "batch was 16, and is 32"),
    "seed": ({"seed": 1}, "seed was 0, and is 1"),
    "every": ({"every": 1}, "every was 2, and is 1"),
    "average": ({"average": 0.9}, "average was 0, and is 0.9"),
    "clip": ({"clip": 1.0}, "clip was None, and is 1.0"),
    "accumulate": ({"accumulate": 2}, "accumulate was 1, and is 2"),
}  # fmt: skip


def changed(name: str, folder: Path, **more: Any) -> lnn.Trainer:
    changes = dict(CHANGES[name][0])
    if "model" in changes:
        changes["model"] = changes["model"]()
    return trainer(folder, **(changes | more))


@pytest.mark.parametrize("name", CHANGES)
def test_another_run_is_refused_with_what_differs(name: str, tmp_path: Path) -> None:
    trainer(tmp_path).fit(2)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    with pytest.raises(LirError, match=CHANGES[name][1]) as told:
        changed(name, tmp_path)
    assert "fresh=True" in str(told.value)
    assert "initial=front.load" in str(told.value)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_everything_that_differs_is_said_at_once(tmp_path: Path) -> None:
    trainer(tmp_path).fit(2)
    with pytest.raises(LirError, match=r"beta was (?s:.*)batch was 16, and is 8; seed was 0, and is 3"):
        trainer(tmp_path, beta=1e-3, batch=8, seed=3)


def test_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("kept")
    trainer(tmp_path / "a", seed=1).fit(4)
    trainer(tmp_path, seed=0).fit(4)
    again = trainer(tmp_path, seed=1, fresh=True)
    assert again.epoch == 0
    assert not again.front.points
    assert not (tmp_path / "last.pt").exists()
    again.fit(4)
    assert torch.equal(weights(again), weights(trainer(tmp_path / "a", seed=1)))
    assert (tmp_path / "mine.txt").read_text() == "kept"


def test_carried_on_from_a_point_on_purpose(tmp_path: Path) -> None:
    first = trainer(tmp_path)
    front = first.fit(6)
    state = front.load(front.best())
    second = trainer(tmp_path, beta=1e-3, initial=state)
    assert second.epoch == 0
    assert all(torch.equal(v, state[n]) for n, v in second.model.state_dict().items())
    kept = lnn.ParetoFront(tmp_path / "before-1" / "front")
    assert kept.points == front.points
    second.fit(4)
    again = trainer(tmp_path, beta=1e-3, initial=state)  # the same: it goes on
    assert again.epoch == 4
    assert not (tmp_path / "before-2").exists()
    again.fit(6)
    whole = trainer(tmp_path / "whole", beta=1e-3, initial=state)
    whole.fit(6)
    assert torch.equal(weights(whole), weights(again))
    with pytest.raises(LirError, match="initial was"):
        trainer(tmp_path, beta=1e-3)


def test_a_damaged_state_is_told(tmp_path: Path) -> None:
    trainer(tmp_path).fit(2)
    (tmp_path / "last.pt").write_bytes(b"half a file")
    with pytest.raises(LirError, match=r"last\.pt: error: damaged"):
        trainer(tmp_path)
    torch.save({"model": {}, "optimiser": {}, "epoch": 3, "step": 5}, tmp_path / "last.pt")
    with pytest.raises(LirError, match="does not say what it was made of"):
        trainer(tmp_path)


def test_everything_at_once_goes_on_bit_for_bit(tmp_path: Path) -> None:
    """Average, dropout, plateau, a controlled beta, accumulated and limited gradients."""

    def made(name: str) -> lnn.Trainer:
        torch.manual_seed(0)
        model = nn.Sequential(lnn.QLinear(3, 8), nn.ReLU(), nn.Dropout(0.3), lnn.LUTDense(8, 2))
        return trainer(
            tmp_path / name,
            model=model,
            optimiser=lambda p: torch.optim.Adam(p, 1e-2),
            beta=lnn.PID(50, measure=lambda model: float(lnn.resource_total(model))),
            schedule=lambda o: torch.optim.lr_scheduler.ReduceLROnPlateau(o, mode="max", patience=0),
            average=0.9,
            accumulate=2,
            clip=0.5,
        )

    whole, cut = made("whole"), made("cut")
    torch.manual_seed(5)
    whole.fit(8)
    torch.manual_seed(5)
    cut.fit(4)
    again = made("cut")
    torch.manual_seed(1)  # of no account: the state has its own
    again = made("cut")
    again.fit(8)
    assert torch.equal(weights(whole), weights(again))
    assert whole.history.records == again.history.records
    assert whole.front.points == again.front.points


# -- what is told ----------------------------------------------------------------------------------------------------


def test_the_page_grows_and_the_picture_is_one(tmp_path: Path) -> None:
    made = trainer(tmp_path, report=True, every=1)
    made.fit(1)
    first = (tmp_path / "report.html").read_text()
    made.fit(3)
    text = (tmp_path / "report.html").read_text()
    assert "epoch 1</h1>" in first
    assert "epoch 3</h1>" in text
    assert text.count("<svg") == 2
    for point in made.front.points:
        assert point.file in text
        assert f"{point.metric:.5g}" in text
    picture = ET.parse(tmp_path / "front.svg").getroot()
    assert picture.tag.endswith("svg")
    rows = json.loads((tmp_path / "history.json").read_text())
    assert [r["epoch"] for r in rows] == [1, 2, 3]
    assert rows[-1] == vars(made.history.records[-1])
    assert {r["step"] for r in rows} == {4, 8, 12}
    assert not list(tmp_path.rglob("*.part"))


def test_a_page_without_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lutc.nn.history.drawable", lambda: False)
    trainer(tmp_path / "<run>", report=True).fit(2)
    text = (tmp_path / "<run>" / "report.html").read_text()
    assert "install matplotlib" in text
    assert "<h1>&lt;run&gt;" in text
    assert not (tmp_path / "<run>" / "front.svg").exists()


def test_callbacks_see_records_and_may_stop(tmp_path: Path) -> None:
    seen: list[lnn.Record] = []

    def look(made: lnn.Trainer, record: lnn.Record) -> bool:
        assert made.epoch == record.epoch
        seen.append(record)
        return record.epoch >= 4

    made = trainer(tmp_path, callbacks=[look])
    made.fit(20)
    assert [r.epoch for r in seen] == [2, 4]
    assert seen == made.history.records
    assert made.epoch == 4


@pytest.mark.parametrize(
    ("budget", "patience", "epoch"), [(1e9, None, 1), (None, 3, 4), (1e9, 2, 3), (0, 2, 6)]
)
def test_stopped_by_budget_and_patience(budget: Any, patience: Any, epoch: int, tmp_path: Path) -> None:
    """The metric never grows, so nothing comes to the front after the first epoch."""

    def made() -> lnn.Trainer:
        freeze = {"optimiser": lambda p: torch.optim.SGD(p, 0.0)}
        return trainer(tmp_path, every=1, budget=budget, patience=patience, **freeze)

    run = made()
    run.fit(6)
    assert run.epoch == epoch
    again = made()
    again.fit(6)  # it has had enough, and does not begin again
    assert again.epoch == epoch


def test_stopped_by_the_clock(tmp_path: Path) -> None:
    made = trainer(tmp_path, every=5)
    made.fit(1000, seconds=0)
    assert made.epoch == 1
    assert trainer(tmp_path, every=5).epoch == 1


def test_the_bar_tells_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer(tmp_path).fit(2, progress=True)
    text = capsys.readouterr().out
    for word in ("epoch 2/2", "loss 0.", "LUT", "beta 1.0e-06", "metric 0."):
        assert word in text


def test_tensorboard(tmp_path: Path) -> None:
    need_module("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    made = trainer(tmp_path, tensorboard=True)
    made.fit(4)
    found = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    for name in ("loss", "metric", "luts", "beta", "rate"):
        events = found.Scalars(name)
        assert [e.step for e in events] == [8, 16]
        assert [e.value for e in events] == pytest.approx([getattr(r, name) for r in made.history.records])


def test_tensorboard_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(LirError, match=r"tensorboard: error: TensorBoard is not installed\n.*pip install"):
        trainer(tmp_path, tensorboard=True)
    assert not list(tmp_path.iterdir())


def test_the_model_of_the_run_compiles(tmp_path: Path) -> None:
    made = trainer(tmp_path, model=network())
    front = made.fit(4)
    made.model.load_state_dict(front.load(front.best()))
    import lutc

    design = lutc.load(made.model.eval())
    assert (design.run(X.double().numpy()) == made.model(X.double()).detach().numpy()).all()
