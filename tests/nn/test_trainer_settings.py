"""What does not fit together is said before any training, by the name of the argument; and numbers that are none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from test_trainer_data import Rows, data, network, trainer
from torch import nn
from torch.utils.data import DataLoader

from lutc import nn as lnn
from lutc.diagnostics import LirError

X, Y = data()
NAN = X.clone()
NAN[5, 1] = torch.nan
OTHER = network()


def lstm() -> nn.Module:
    return nn.Sequential(lnn.QLinear(3, 2), nn.LSTM(2, 2))


def halved() -> nn.Module:
    return network().half()


def diverged() -> nn.Module:
    model = network()
    model[2].weight.data[0, 0] = torch.inf  # type: ignore[index]
    return model


def compiled() -> nn.Module:
    return torch.compile(network())  # type: ignore[return-value]


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "train": ({"train": X}, r"train: error: a Tensor is not \(x, y\)"),
    "one array": ({"train": X.numpy()}, "train: error: a ndarray is not"),
    "text": ({"train": "data.csv"}, "train: error: a str is not"),
    "no number": ({"train": (["a", "b"], [0, 1])}, "train: error: no tensors"),
    "four parts": ({"train": (X, Y, Y, Y)}, r"train: error: a batch is a tuple of 4(?s:.*)\(x, y, weights\)"),
    "lengths": (
        {"train": (X, Y[:7])},
        r"train: error: no samples, or not equally many of each: shapes \[64, 3\]",
    ),
    "empty": ({"train": (X[:0], Y[:0])}, "train: error: no samples"),
    "empty set": ({"train": Rows(X[:0], Y[:0])}, "train: error: a Rows without samples"),
    "empty list": ({"train": []}, "train: error: there is no batch"),
    "generator": ({"train": (b for b in [(X, Y)])}, "train: error: a generator gives its batches only once"),
    "batches of one": (
        {"train": DataLoader(cast(Any, X))},
        "train: error: a batch is a Tensor(?s:.*)help: a batch is",
    ),
    "data not finite": ({"train": (NAN, Y)}, r"train: error: the inputs hold .* the first at \[5, 1\]"),
    "array not finite": ({"train": (NAN.numpy(), Y)}, r"train: error: the inputs hold .*\[5, 1\]"),
    "validation not finite": ({"validation": (NAN, Y)}, "validation: error: the inputs hold numbers"),
    "batch not finite": ({"train": [(NAN, Y)]}, "train: error: the inputs hold numbers"),
    "negative weights": ({"train": (X, Y, -torch.ones(64))}, "train: error: the weights"),
    "shape": (
        {"train": (X[:, :2], Y)},
        r"model: error: fails on the first batch of train, of shape \[16, 2\]",
    ),
    "validation's shape": (
        {"validation": (X[:, :2], Y)},
        "model: error: fails on the first batch of validation",
    ),
    "ranges": ({"ranges": 3}, "ranges: error: a int is not"),
    "loss": ({"loss": "cross entropy"}, "loss: error: a str is no function"),
    "failing loss": ({"loss": nn.functional.mse_loss}, "loss: error: fails on the first batch: "),
    "loss without mean": (
        {"loss": nn.CrossEntropyLoss(reduction="none")},
        r'loss: error: it gives \[16\].*\n.*"mean"',
    ),
    "weighted": (
        {"train": (X, Y, torch.ones(64))},
        r'loss: error: it gives \[\] numbers for 16 weighted samples(?s:.*)reduction="none"',
    ),
    "loss of numbers": ({"loss": lambda o, t: 1.0}, "loss: error: it gives a float"),
    "loss without gradient": ({"loss": lambda o, t: torch.ones(())}, "loss: error: no gradient flows"),
    "loss that is none": (
        {"loss": lambda o, t: o.sum() * torch.nan},
        "loss: error: before the training: the loss is nan",
    ),
    "metric": ({"metric": 0.5}, "metric: error: a float is no function"),
    "failing metric": ({"metric": lambda o: 0.0}, "metric: error: fails: TypeError"),
    "metric of many": ({"metric": lambda o, t: o}, "metric: error: it gives tensor"),
    "beta": ({"beta": "strong"}, "beta: error: 'strong' is neither a number"),
    "beta below": ({"beta": -1.0}, "beta: error: -1.0 is not at least 0"),
    "beta nan": ({"beta": float("nan")}, "beta: error: nan is no finite number"),
    "batch": ({"batch": 0}, "batch: error: 0 is no whole number of at least 1"),
    "half a batch": ({"batch": 0.5}, "batch: error: 0.5 is no whole number"),
    "every": ({"every": 0}, "every: error: 0 is no"),
    "seed": ({"seed": -1}, "seed: error: -1 is no"),
    "average": ({"average": 1.0}, "average: error: .* between 0 and 1"),
    "accumulate": ({"accumulate": 0}, "accumulate: error: 0 is no"),
    "clip": ({"clip": 0}, "clip: error: 0 is not more than 0"),
    "budget": ({"budget": -1}, "budget: error: -1 is not at least 0"),
    "patience": ({"patience": 0}, "patience: error: 0 is no"),
    "callbacks": ({"callbacks": [3]}, "callbacks: error: one of them is no function"),
    "schedule": ({"schedule": 3}, "schedule: error: it fails: TypeError"),
    "schedule of nothing": ({"schedule": lambda o: 3}, "schedule: error: a int is no scheduler"),
    "schedule by": ({"schedule_by": "batch"}, "schedule_by: error: 'batch' is neither"),
    "another's schedule": (
        {"schedule": torch.optim.lr_scheduler.StepLR(torch.optim.SGD(OTHER.parameters(), 1), 1)},
        "schedule: error: it is the scheduler of another optimiser",
    ),
    "optimiser": ({"optimiser": lambda p: "adam"}, "optimiser: error: a str is no torch.optim.Optimizer"),
    "another's optimiser": (
        {"optimiser": lambda p: torch.optim.SGD(OTHER.parameters(), 1)},
        "optimiser: error: it holds parameters that are not the model's",
    ),
    "no parameters": (
        {"model": nn.ReLU(), "optimiser": lambda p: None},
        "model: error: it has no parameters",
    ),
    "initial": ({"initial": {"a": X}}, "initial: error: no state of this model"),
    "initial file": ({"initial": "run.pt"}, "initial: error: no state of this model"),
    "tuple answers": ({"model": lstm()}, "loss: error: fails on the first batch"),
    "half": ({"model": halved()}, r"model: error: its '0\.weight' is float16(?s:.*)train model.float"),
    "diverged": (
        {"model": diverged()},
        r"model: error: before the training: '2\.weight' of 2 \(QLinear\) holds",
    ),
    "compiled": (
        {"model": compiled()},
        "model: error: it is compiled by torch.compile(?s:.*)the module that was",
    ),
    "parallel": ({"model": nn.DataParallel(network())}, "model: error: it is wrapped in DataParallel"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_told_before_the_training(name: str, tmp_path: Path) -> None:
    changes, message = MISTAKES[name]
    with pytest.raises(LirError, match=message):
        trainer(tmp_path / "run", **changes)
    assert not (tmp_path / "run").exists()


def test_a_rehearsal_changes_nothing(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(lnn.QLinear(3, 4), lnn.QBatchNorm(4), nn.Dropout(0.5), lnn.LUTDense(4, 2))
    before = {n: v.clone() for n, v in model.state_dict().items()}
    drawn = torch.get_rng_state()
    trainer(tmp_path, model=model)
    assert all(torch.equal(v, before[n]) for n, v in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), drawn)


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(LirError, match=r"folder: error: .* is a file"):
        trainer(tmp_path / "run")


def test_mixed_precision_is_refused_with_the_reason(tmp_path: Path) -> None:
    made = trainer(tmp_path)
    with (
        torch.autocast("cpu"),
        pytest.raises(LirError, match=r"autocast: error: in mixed precision(?s:.*)outside"),
    ):
        made.fit(1)


def _weights(made: lnn.Trainer, x: torch.Tensor) -> None:
    made.model[2].weight.data[0, 0] = torch.nan  # type: ignore[index]


def _widths(made: lnn.Trainer, x: torch.Tensor) -> None:
    made.model[0].input_quantizer.fraction.data[1] = torch.nan  # type: ignore[index]


def _data(made: lnn.Trainer, x: torch.Tensor) -> None:
    x[20:] = torch.inf


def _loss(made: lnn.Trainer, x: torch.Tensor) -> None:
    made._stepper.loss = lambda o, t: nn.functional.cross_entropy(o, t) / 0


def _metric(made: lnn.Trainer, x: torch.Tensor) -> None:
    made.metric = lambda o, t: float("nan")


def _beta(made: lnn.Trainer, x: torch.Tensor) -> None:
    made.beta.beta = torch.nan  # type: ignore[attr-defined]


def _layer(made: lnn.Trainer, x: torch.Tensor) -> None:
    made.model[1] = Zero()  # type: ignore[operator]


class Zero(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x / 0


WRONG: list[tuple[Callable[[lnn.Trainer, torch.Tensor], None], str]] = [
    (_weights, r"model: error: epoch 3, step 9: the loss is nan: '2\.weight' of 2 \(QLinear\) holds"),
    (_widths, r"model: error: epoch 3, step 9: .*'0\.input_quantizer\.fraction' of 0\.input_quantizer"),
    (_data, r"train: error: epoch 3, step 9: the loss is nan: the inputs hold numbers"),
    (_loss, "loss: error: epoch 3, step 9: the loss is inf, of answers that are finite"),
    (_metric, "metric: error: after epoch 4, it is nan"),
    (_beta, "beta: error: epoch 3, step 9, the schedule gives nan"),
    (_layer, r"model: error: epoch 3, step 9: the loss is nan: the answer of 1 \(Zero\) is not finite"),
]


@pytest.mark.parametrize(("spoil", "message"), WRONG)
def test_numbers_that_are_none_are_told_at_once(
    spoil: Callable[[lnn.Trainer, torch.Tensor], None], message: str, tmp_path: Path
) -> None:
    x, y = data()
    made = trainer(tmp_path, train=(x, y))
    made.fit(2)
    spoil(made, x)
    with pytest.raises(LirError, match=message):
        made.fit(4)
    points = json.loads((tmp_path / "front" / "front.json").read_text(), parse_constant=_strict)
    assert [p["epoch"] for p in points] == [2]
    assert lnn.ParetoFront(tmp_path / "front").points == made.front.points


def _strict(word: str) -> None:
    raise AssertionError(f"{word} is no JSON")


def test_a_weight_that_diverges_in_the_last_step(tmp_path: Path) -> None:
    made = trainer(tmp_path, every=1)
    made.optimiser.register_step_post_hook(lambda *_: made.model[0].bias.data.fill_(torch.nan))  # type: ignore[index]
    made.train.batch = 64  # one step, after which nothing is computed
    with pytest.raises(LirError, match=r"after epoch 1: '0\.bias' of 0 \(QLinear\) holds"):
        made.fit(1)


def test_ranges_of_data_that_are_no_numbers() -> None:
    model = network()
    before = {n: v.clone() for n, v in model.state_dict().items()}
    with pytest.raises(LirError, match=r"batches: error: the inputs hold .* the first at \[5, 1\]"):
        lnn.trace_ranges(model, [X, NAN])
    assert all(torch.equal(v, before[n]) for n, v in model.state_dict().items())


def test_a_front_takes_no_number_that_is_none(tmp_path: Path) -> None:
    front = lnn.ParetoFront(tmp_path)
    for metric, cost in ((np.nan, 1.0), (0.5, np.inf)):
        with pytest.raises(LirError, match=r"front: error: the (metric|cost) of the checkpoint of epoch 3"):
            front.offer(metric, cost, 3, {})
    assert not list(tmp_path.iterdir())
    (tmp_path / "front.json").write_text('[{"metric": NaN, "cost": 1, "epoch": 1}]')  # of before
    assert not lnn.ParetoFront(tmp_path).points
    (tmp_path / "front.json").write_text('[{"metric": 1]')
    with pytest.raises(LirError, match=r"front\.json: error: no index of a front"):
        lnn.ParetoFront(tmp_path)
