"""Every form that data, optimisers and schedulers come in trains, and means the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, WeightedRandomSampler

from lutc import nn as lnn

Pair = tuple[torch.Tensor, torch.Tensor]


def data(n: int = 64, seed: int = 0) -> Pair:
    x = torch.randn(n, 3, generator=torch.Generator().manual_seed(seed))
    return x, (x[:, 0] + x[:, 2] > 0).long()


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(lnn.QLinear(3, 4), nn.ReLU(), lnn.QLinear(4, 2))


def trainer(folder: Path, **changes: Any) -> lnn.Trainer:
    """Of a small network; what is not said is as simple as it can be."""
    model = changes.pop("model", None) or network()
    make = changes.pop("optimiser", lambda parameters: torch.optim.SGD(parameters, 0.1))
    loss = changes.pop("loss", nn.functional.cross_entropy)
    options: dict[str, Any] = {
        "train": data(), "validation": data(32, 1), "metric": lnn.accuracy, "beta": 1e-6, "batch": 16, "every": 2,
        "report": False, "average": 0,
    }  # fmt: skip
    return lnn.Trainer(model, make(model.parameters()), loss, folder=folder, **(options | changes))


def weights(made: lnn.Trainer) -> torch.Tensor:
    return torch.cat([v.detach().flatten().double() for v in made.model.state_dict().values()])


class Rows(Dataset[Any]):
    def __init__(self, *parts: torch.Tensor) -> None:
        self.parts = parts

    def __len__(self) -> int:
        return len(self.parts[0])

    def __getitem__(self, index: int) -> Any:
        return tuple(p[index] for p in self.parts)


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter(zip(*data(), strict=True))


def test_tensors_arrays_and_tensor_data_sets_are_one(tmp_path: Path) -> None:
    x, y = data()
    forms: list[Any] = [(x, y), (x.numpy(), y.numpy()), (x.double().numpy(), y.numpy()), TensorDataset(x, y)]
    found = []
    for k, form in enumerate(forms):
        made = trainer(tmp_path / str(k), train=form)
        made.fit(2)
        found.append(weights(made))
    assert all(torch.equal(found[0], f) for f in found[1:])
    assert not torch.equal(found[0], weights(trainer(tmp_path / "new")))


FORMS: dict[str, Callable[[], Any]] = {
    "data set": lambda: Rows(*data()),
    "loader": lambda: DataLoader(Rows(*data()), 16, shuffle=True),
    "weighted loader": lambda: DataLoader(
        Rows(*data()), 16, sampler=WeightedRandomSampler([1, 2, 3, 4] * 16, 64)
    ),
    "two workers": lambda: DataLoader(Rows(*data()), 16, shuffle=True, num_workers=2),
    "stream": Stream,
    "streamed loader": lambda: DataLoader(Stream(), 16),
    "list of batches": lambda: [tuple(p[k : k + 16] for p in data()) for k in range(0, 64, 16)],
    "arrays in batches": lambda: [tuple(p[k : k + 16].numpy() for p in data()) for k in range(0, 64, 16)],
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_data(form: str, tmp_path: Path) -> None:
    """They train, four batches an epoch, and a run that is cut and goes on ends as one that is not."""
    whole, cut = (trainer(tmp_path / name, train=FORMS[form]()) for name in ("whole", "cut"))
    torch.manual_seed(3)  # which random samplers draw from
    before = weights(whole)
    whole.fit(6)
    assert whole.step == 24
    assert not torch.equal(before, weights(whole))
    torch.manual_seed(3)
    cut.fit(2)
    torch.manual_seed(999)
    again = trainer(tmp_path / "cut", train=FORMS[form]())
    assert again.epoch == 2
    again.fit(6)
    assert torch.equal(weights(whole), weights(again))
    assert whole.front.points == again.front.points


@pytest.mark.parametrize("form", ["data set", "list of batches", "stream"])
def test_validation_in_batches_is_that_of_all_together(form: str, tmp_path: Path) -> None:
    seen = []

    def metric(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        seen.append(len(output))
        return (output.argmax(-1) == target).float().mean()  # a tensor

    a = trainer(tmp_path / "a", validation=data(), metric=metric)
    b = trainer(tmp_path / "b", validation=FORMS[form](), metric=metric)
    a.fit(2)
    b.fit(2)
    assert set(seen) == {64}
    assert a.history.records == b.history.records


def test_without_validation_and_metric(tmp_path: Path) -> None:
    made = trainer(tmp_path, validation=None, metric=None)
    made.fit(2)
    with made.checkpoint() as twin:
        loss = nn.functional.cross_entropy(twin(data()[0]), data()[1])
    assert made.history.records[-1].metric == pytest.approx(-loss.item())


class Two(nn.Module):
    """Two inputs, two answers."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = lnn.QLinear(3, 2), lnn.QLinear(2, 1)

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.a(left), self.b(right)


@pytest.mark.parametrize("form", ["tuple", "dict", "loader"])
def test_several_inputs_and_tasks(form: str, tmp_path: Path) -> None:
    x, y = data()
    right = torch.randn(64, 2, generator=torch.Generator().manual_seed(5))
    target = (y, right[:, :1] * 0.5)
    inputs: Any = {"left": x, "right": right} if form == "dict" else (x, right)
    given: Any = (inputs, target)
    if form == "loader":
        given = [tuple(tuple(p[k : k + 16] for p in part) for part in given) for k in range(0, 64, 16)]

    def loss(output: Any, target: Any) -> torch.Tensor:
        near: torch.Tensor = (output[1] - target[1]).square().mean()
        return nn.functional.cross_entropy(output[0], target[0]) + near

    torch.manual_seed(0)
    made = trainer(tmp_path, model=Two(), train=given, validation=given, metric=None, loss=loss)
    made.fit(30)
    first, last = made.history.records[0], made.history.records[-1]
    assert last.loss < first.loss
    assert last.metric > first.metric


def test_weights_of_samples_count(tmp_path: Path) -> None:
    """Samples of weight 0 are as if they were not there, and weights of 2 as twice; metrics get them."""
    x, y = data(32)
    heavy = torch.tensor([2.0] * 16 + [0.0] * 16)
    each = {"loss": nn.CrossEntropyLoss(reduction="none"), "batch": 32, "beta": 0, "every": 1}
    a = trainer(tmp_path / "a", train=(x, y, heavy), validation=(x, y, heavy), **each)
    b = trainer(tmp_path / "b", train=(x[:16], y[:16]), validation=(x[:16], y[:16]), beta=0, every=1)
    for made in (a, b):
        lnn.freeze_ranges(made.model)
        made.fit(3)
    wide = [(p, q) for p, q in zip(a.model.parameters(), b.model.parameters(), strict=True)]
    assert all(torch.allclose(p, q, atol=1e-6) for p, q in wide)
    assert a.history.records[-1].loss == pytest.approx(b.history.records[-1].loss, rel=1e-5)
    assert lnn.accuracy(torch.eye(2), torch.tensor([0, 0]), torch.tensor([3.0, 1.0])) == 0.75


def test_accumulated_batches_are_one_large_one(tmp_path: Path) -> None:
    a = trainer(tmp_path / "a", batch=64, accumulate=1, beta=1e-3)
    b = trainer(tmp_path / "b", batch=16, accumulate=4, beta=1e-3)
    for made in (a, b):
        lnn.freeze_ranges(made.model)
        made.fit(5)
        assert made.step == 5
    same = zip(a.model.parameters(), b.model.parameters(), strict=True)
    assert all(torch.allclose(p, q, atol=1e-5) for p, q in same)


def test_gradients_are_limited(tmp_path: Path) -> None:
    made = trainer(tmp_path, clip=1e-3)
    norms = []

    def look(optimiser: Any, *_: object) -> None:
        found = [p.grad.norm() for g in optimiser.param_groups for p in g["params"] if p.grad is not None]
        norms.append(torch.stack(found).norm().item())

    made.optimiser.register_step_pre_hook(look)
    made.fit(1)
    assert norms
    assert max(norms) == pytest.approx(1e-3, rel=1e-3)


def _groups(parameters: list[torch.Tensor]) -> list[dict[str, Any]]:
    return [{"params": parameters[:2], "lr": 1e-2}, {"params": parameters[2:]}]


OPTIMISERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "adam": lambda p: torch.optim.Adam(p, 1e-2),
    "adamw": lambda p: torch.optim.AdamW(p, 1e-2, weight_decay=1e-2),
    "momentum": lambda p: torch.optim.SGD(p, 1e-1, momentum=0.9, nesterov=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, 1e-3),
    "lbfgs": lambda p: torch.optim.LBFGS(p, 0.1, max_iter=5),
    "lbfgs with a line search": lambda p: torch.optim.LBFGS(
        p, 0.5, max_iter=5, line_search_fn="strong_wolfe"
    ),
    "groups": lambda p: torch.optim.Adam(_groups(list(p)), 1e-3),
}


@pytest.mark.parametrize("kind", OPTIMISERS)
def test_optimisers(kind: str, tmp_path: Path) -> None:
    def made(name: str) -> lnn.Trainer:
        model = network()
        if (
            "lbfgs" in kind
        ):  # of widths it finds nothing: gradients that go straight through are not the loss's own
            for q in model.modules():
                if isinstance(q, lnn.Quantizer):
                    q.requires_grad_(False)
        return trainer(tmp_path / name, model=model, optimiser=OPTIMISERS[kind])

    whole, cut = made("whole"), made("cut")
    whole.fit(8)
    cut.fit(4)
    again = made("cut")
    again.fit(8)
    assert torch.equal(weights(whole), weights(again))
    assert whole.history.records[-1].loss < whole.history.records[0].loss


SCHEDULERS: dict[str, tuple[Callable[[Any], Any], str, float]] = {
    "step": (lambda o: torch.optim.lr_scheduler.StepLR(o, 4, 0.5), "step", 0.1 * 0.5**4),
    "epoch": (lambda o: torch.optim.lr_scheduler.StepLR(o, 2, 0.5), "epoch", 0.1 * 0.5**2),
    "cycle": (lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 1.0, total_steps=17), "step", 4e-6),
    "chain": (
        lambda o: torch.optim.lr_scheduler.SequentialLR(
            o,
            [
                torch.optim.lr_scheduler.ConstantLR(o, 0.5, 3),
                torch.optim.lr_scheduler.ExponentialLR(o, 0.5),
            ],
            [8],
        ),
        "step",
        0.1 * 0.5**8,
    ),
}


@pytest.mark.parametrize("kind", SCHEDULERS)
def test_schedulers(kind: str, tmp_path: Path) -> None:
    make, by, last = SCHEDULERS[kind]
    made = trainer(tmp_path, schedule=make, schedule_by=by)
    made.fit(4)
    assert made.optimiser.param_groups[0]["lr"] == pytest.approx(last, rel=0.3 if kind == "cycle" else 1e-6)


@pytest.mark.parametrize(("mode", "drops"), [("max", 2), ("min", 2)])
def test_plateau_gets_the_metric_or_the_loss(mode: str, drops: int, tmp_path: Path) -> None:
    seen: list[float] = []

    kind: Any = torch.optim.lr_scheduler.ReduceLROnPlateau

    class Plateau(kind):  # type: ignore[misc]
        def step(self, metrics: Any, epoch: int | None = None) -> None:
            seen.append(float(metrics))
            super().step(metrics)

    made = trainer(
        tmp_path,
        every=1,
        optimiser=lambda p: torch.optim.SGD(p, 0.1),
        metric=lambda output, target: 0.5,
        schedule=lambda o: Plateau(o, mode=mode, factor=0.5, patience=0, threshold=1e9, threshold_mode="abs"),
    )
    made.fit(drops + 1)
    want = [r.metric if mode == "max" else r.loss for r in made.history.records]
    assert seen == want
    assert made.optimiser.param_groups[0]["lr"] == pytest.approx(0.1 * 0.5**drops)


def test_a_made_scheduler_is_taken(tmp_path: Path) -> None:
    model = network()
    sgd = torch.optim.SGD(model.parameters(), 0.1)
    decay = torch.optim.lr_scheduler.ExponentialLR(sgd, 0.5)
    made = trainer(tmp_path, model=model, optimiser=lambda p: sgd, schedule=decay, schedule_by="epoch")
    made.fit(3)
    assert sgd.param_groups[0]["lr"] == pytest.approx(0.1 / 8)


def test_float64_models_train_in_float64(tmp_path: Path) -> None:
    x, y = data()
    made = trainer(tmp_path, model=network().double(), train=(x.numpy(), y), validation=(x.double(), y))
    made.fit(2)
    assert all(p.dtype == torch.float64 for p in made.model.parameters())


def test_numpy_s_numbers_are_numbers(tmp_path: Path) -> None:
    made = trainer(tmp_path, metric=lambda o, t: np.float32((o.argmax(-1) == t).float().mean()))
    made.fit(2)
    assert isinstance(made.history.records[0].metric, float)
