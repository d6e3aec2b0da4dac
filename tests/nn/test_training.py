"""Schedules, ranges, the front on disk, and runs that are killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from lutc import nn as lnn
from lutc.nn.pareto import Point


def data(n: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(n, 3, generator=torch.Generator().manual_seed(seed))
    return x, (x[:, 0] * x[:, 1] + x[:, 2] > 0).long()


def trainer(folder: Path, beta: object = None, every: int = 2, average: float = 0.99) -> lnn.Trainer:
    torch.manual_seed(0)
    model = nn.Sequential(lnn.LUTDense(3, 4), lnn.LUTDense(4, 2))
    return lnn.Trainer(
        model,
        torch.optim.Adam(model.parameters(), 1e-2),
        nn.functional.cross_entropy,
        train=data(256),
        validation=data(128, 1),
        metric=lnn.accuracy,
        beta=beta or lnn.LogRamp(1e-6, 1e-3, 20, hold=2),
        folder=folder,
        batch=64,
        every=every,
        schedule=lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 100),
        average=average,
    )


class Killed(Exception):
    pass


def test_a_killed_run_ends_with_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = trainer(tmp_path / "whole", lnn.PID(300))
    whole.fit(8)
    first = trainer(tmp_path / "cut", lnn.PID(300))
    steps = 0

    def step(*args: object) -> float:
        nonlocal steps
        steps += 1
        if steps == 19:  # in the middle of an epoch that has no checkpoint yet
            raise Killed
        return beta(*args)  # type: ignore[arg-type]

    beta = first.beta
    first.beta = step  # type: ignore[assignment]
    step.state, step.restore = beta.state, beta.restore  # type: ignore[attr-defined]
    with pytest.raises(Killed):
        first.fit(8)
    second = trainer(tmp_path / "cut", lnn.PID(300))
    assert second.epoch == 4
    second.fit(8)
    for (name, a), b in zip(
        whole.model.state_dict().items(), second.model.state_dict().values(), strict=True
    ):
        assert torch.equal(a, b), name
    assert whole.front.points == second.front.points


def test_front_survives_and_drops_what_is_beaten(tmp_path: Path) -> None:
    front = lnn.ParetoFront(tmp_path)
    state = {"w": torch.ones(1)}
    assert front.offer(0.5, 100, 1, state)
    assert front.offer(0.7, 200, 2, state)
    assert not front.offer(0.6, 300, 3, state)
    again = lnn.ParetoFront(tmp_path)
    assert again.offer(0.8, 90, 4, {"w": torch.zeros(1)})
    assert [(p.metric, p.cost) for p in again.points] == [(0.8, 90)]
    assert sorted(p.name for p in tmp_path.glob("*.pt")) == ["epoch_000004.pt"]
    assert lnn.ParetoFront(tmp_path).load(again.best())["w"].item() == 0
    assert not again.offer(0.8, 90, 4, state)
    with pytest.raises(ValueError, match="at most 10"):
        again.best(10)


def test_points_are_ordered_by_both() -> None:
    assert Point(0.5, 10, 1).beats(Point(0.4, 10, 0))
    assert not Point(0.5, 10, 1).beats(Point(0.4, 9, 2))


def test_ramp() -> None:
    ramp = lnn.LogRamp(1e-6, 1e-2, steps=4, hold=2)
    assert [ramp(s, 0) for s in (0, 2, 4, 6, 9)] == pytest.approx([1e-6, 1e-6, 1e-4, 1e-2, 1e-2])


def test_pid_reaches_its_target() -> None:
    """Against a plant whose resources fall with log(beta), with inertia."""
    pid, used = lnn.PID(500), 5000.0
    for step in range(4000):
        beta = pid(step, used)
        used += 0.05 * (5000 * (beta / 1e-6) ** -0.3 - used)
    assert used == pytest.approx(500, rel=0.02)


def test_beta_shrinks_the_model(tmp_path: Path) -> None:
    strong = trainer(tmp_path / "a", lnn.Constant(1e-2), every=60)
    before = lnn.resources(strong.model).total.item()
    strong.fit(60)
    assert lnn.resources(strong.model).total.item() < 0.8 * before


def test_traced_ranges_hold_all_data() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(lnn.LUTDense(3, 4, max_key_bits=5), lnn.LUTDense(4, 2, fraction=3))
    model(data(64)[0])
    wide = data(500, 3)[0] * 7
    lnn.trace_ranges(model, [wide[:250], wide[250:]])
    assert all(m.training for m in model)
    model.eval()
    layer = model[0]
    assert isinstance(layer, lnn.LUTDense)
    quantizer = layer.input_quantizer
    spread = wide[:, :, None].expand(-1, -1, 4)
    step = torch.exp2(-quantizer.bits().fraction)
    assert ((quantizer(spread) - spread).abs() <= step / 2).all()
    narrow = quantizer.integer.clone()
    lnn.trace_ranges(model, [wide / 100])
    assert (quantizer.integer < narrow).all()


def test_settled_norms_are_of_the_weights_as_they_are() -> None:
    """Of one batch they are its own; of several, their mean. Nothing else moves."""
    torch.manual_seed(0)
    model = nn.Sequential(lnn.LUTDense(3, 4), lnn.QLinear(4, 2), lnn.QBatchNorm(2))
    x = data(512)[0]
    model(x)
    lut, norm = model[0], model[2]
    assert isinstance(lut, lnn.LUTDense)
    assert isinstance(norm, lnn.QBatchNorm)
    stale = {name: v.clone() for name, v in model.state_dict().items()}
    lnn.settle_norms(model, [x])
    assert all(m.training and m.momentum in (0.01, 0.1) for m in (lut, norm))
    for name, v in model.state_dict().items():
        assert torch.equal(v, stale[name]) != ("running" in name), name
    whole = lut.running_mean.clone()
    with torch.no_grad():
        table = lut.network(lut.input_quantizer.exact(x[:, :, None].expand(-1, -1, 4)), *lut.weights)
        middle = model[1](model.eval()[0](x))
    assert torch.allclose(whole, table.mean((0, 1)), atol=1e-5)
    assert torch.allclose(norm.running_var, middle.var(0, unbiased=False), atol=1e-2)
    lnn.settle_norms(model, [x[:256], x[256:]])
    assert torch.allclose(lut.running_mean, whole, atol=1e-6)
    assert not model.training


def test_checkpoints_are_of_the_mean_of_the_weights(tmp_path: Path) -> None:
    made = trainer(tmp_path, every=1)
    weights = list(made.model.parameters())
    mean = [w.detach().clone() for w in weights]
    shares: list[float] = []

    def step(*args: object) -> None:
        shares.append(1 - min(0.99, (2 + len(shares)) / (11 + len(shares))))
        for m, w in zip(mean, weights, strict=True):
            m.lerp_(w.detach(), shares[-1])

    made.optimiser.register_step_post_hook(step)
    made.fit(2)
    assert len(shares) == 8
    with made.checkpoint() as twin:
        assert not twin.training
        for m, w in zip(mean, twin.parameters(), strict=True):
            assert torch.allclose(m, w, atol=1e-6)
    assert not any(torch.equal(m, w) for m, w in zip(mean, weights, strict=True) if w.numel() > 2)
    point = next(p for p in made.front.points if p.epoch == 2)
    kept = made.front.load(point)["0.w_in"]
    assert torch.allclose(kept, mean[[n for n, _ in made.model.named_parameters()].index("0.w_in")])
    with pytest.raises(ValueError, match="between 0 and 1"):
        trainer(tmp_path / "b", average=1.0)
    plain = trainer(tmp_path / "c", average=0)
    plain.fit(2)
    with plain.checkpoint() as twin:
        assert all(map(torch.equal, plain.model.parameters(), twin.parameters()))


def test_frozen_ranges_stay() -> None:
    model = nn.Sequential(lnn.LUTDense(3, 2))
    lnn.freeze_ranges(model)
    layer = model[0]
    assert isinstance(layer, lnn.LUTDense)
    before = layer.input_quantizer.integer.clone()
    model(data(64)[0] * 50)
    assert torch.equal(layer.input_quantizer.integer, before)


def test_the_table_adds_up() -> None:
    model = nn.Sequential(lnn.LUTDense(3, 4), lnn.QLinear(4, 2))
    found = lnn.resources(model)
    assert [r.kind for r in found.layers] == ["LUTDense", "QLinear"]
    assert found.total.item() == pytest.approx(sum(r.luts.item() for r in found.layers))
    assert found.total.item() == pytest.approx(lnn.resource_total(model).item())
    assert "LUTDense" in str(found)


def _share(rank: int, folder: str) -> None:
    from torch import distributed

    distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    torch.set_num_threads(1)
    made = trainer(Path(folder) / "run")
    made.fit(2)
    first, last = 0.25 * rank, 3.0 + rank  # ranges are over all ranks, whichever of them saw the extreme
    quantizer = lnn.Quantizer(integer=0, fraction=2)
    quantizer(torch.tensor([first, last]))
    state = {"range": quantizer.integer, **made.model.state_dict()}
    torch.save(state, Path(folder) / f"rank{rank}.pt")
    distributed.destroy_process_group()


def test_two_processes_stay_together(tmp_path: Path) -> None:
    from torch.multiprocessing.spawn import spawn  # type: ignore[attr-defined, unused-ignore]

    spawn(_share, (str(tmp_path),), nprocs=2)  # type: ignore[no-untyped-call]
    a, b = (torch.load(tmp_path / f"rank{r}.pt") for r in range(2))
    assert a["range"].item() == b["range"].item() == 3  # 4 needs three bits before the point
    for name, v in a.items():
        if "running" not in name:  # batch statistics are each rank's own, as batch norm has them
            assert torch.equal(v, b[name]), name
    assert lnn.ParetoFront(tmp_path / "run" / "front").points


def test_a_fresh_process_takes_every_layer() -> None:
    """The rules are there before anything was exported."""
    program = (
        "import lutc\nfrom torch import nn\nfrom lutc import nn as lnn\n"
        "from lutc.nn.frontend import FRONTEND\n"
        "model = nn.Sequential(lnn.LUTConv1d(1, 2, 2), lnn.QEinsum('bij,jk->bik', (3, 2)), lnn.QAvgPool1d(2))\n"
        "raise SystemExit(not FRONTEND.matches(model))"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_the_frontend_takes_live_models() -> None:
    from lutc.nn.frontend import FRONTEND
    from lutc.plugins import LoadOptions

    model = nn.Sequential(lnn.LUTConv1d(1, 2, 2), nn.Flatten(), lnn.LUTDense(6, 2))
    x = torch.randn(50, 1, 4)
    model(x)
    assert FRONTEND.matches(model)
    assert not FRONTEND.matches(nn.Linear(2, 2))
    assert not FRONTEND.matches("model.onnx")
    design = FRONTEND.load(model, LoadOptions(calibrate=x.numpy()))
    with lnn.traced(model, [x]) as twin, torch.no_grad():
        assert design.run(x.double().numpy()).tolist() == twin(x.double()).tolist()
