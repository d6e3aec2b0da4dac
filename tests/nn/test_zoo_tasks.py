"""The zoo's tasks on generated data: each trains, exports and is exact; the public file's reader takes no damage."""

from __future__ import annotations

import hashlib
import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from magic_rows import rows

import lutc
from lutc import nn as lnn
from lutc.nn import datasets

TASKS = ("jsc_hlf", "jsc_plf", "tgc_muon", "gas_pid")


@pytest.fixture(autouse=True)
def _root_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parents[2]), *sys.path])


def part(name: str) -> Any:
    return importlib.import_module(f"tools.zoo.{name}")


@pytest.mark.parametrize("name", TASKS)
def test_a_task_trains_exports_and_is_exact(name: str, tmp_path: Path) -> None:
    common, task = part("common"), part(f"{name}.train").TASK
    parts = task.parts(None, 300, 0)
    torch.manual_seed(0)
    first = task.model().state_dict()
    model, front = common.train(task, parts, tmp_path, steps=3)
    assert any(not torch.equal(v, model.state_dict()[k]) for k, v in first.items())
    model.load_state_dict(front.load(common.choose(front, 0.01)))
    x, y = parts["test"]
    with torch.no_grad():
        want = model.eval()(x.double())
    assert np.array_equal(lnn.export(model, tuple(x.shape[1:])).run(x.double().numpy()), want.numpy())
    assert len(want.unique()) > 5
    assert np.isfinite(task.metric(want, y))


@pytest.mark.parametrize("name", TASKS)
def test_generated_events_follow_the_seed_and_the_parts_are_apart(name: str) -> None:
    task = part(f"{name}.train").TASK
    a, b, c = (task.parts(None, 200, seed) for seed in (0, 0, 1))
    assert [len(a[k][0]) for k in ("train", "validation", "test")] == [120, 40, 40]
    assert all(torch.equal(a[k][i], b[k][i]) for k in a for i in (0, 1))
    assert not torch.equal(a["train"][0], c["train"][0])
    rows = torch.cat([a[k][0].flatten(1) for k in a])
    assert len(np.unique(rows.numpy(), axis=0)) == 200
    assert torch.isfinite(rows).all()


def test_toy_jets_have_the_masses_of_their_parents() -> None:
    jets, hlf = part("jets"), part("jsc_hlf.generator")
    particles, y = jets.jets(4000, 0)
    mass = hlf.features(particles)[:, hlf.FEATURES.index("mass_mmdt")]
    for name, true in jets.MASSES.items():
        assert abs(np.median(mass[y == jets.CLASSES.index(name)]) / true - 1) < 0.15, name
    gluon, quark, w = (mass[y == jets.CLASSES.index(name)] for name in "gqw")
    assert np.median(gluon) > 1.2 * np.median(quark)
    assert np.std(quark) > 2 * np.std(w)
    assert np.allclose(particles[:, :, 0].sum(1), 1)
    np.testing.assert_allclose((particles[:, :, :1] * particles[:, :, 1:]).sum(1), 0, atol=1e-9)


def test_the_hits_of_a_track_lie_on_its_line() -> None:
    muon = part("tgc_muon.generator")
    hits, angle = muon.tracks(2000, 0)
    assert hits.shape == (2000, 7, 50)
    weight = hits / np.maximum(hits.sum(2, keepdims=True), 1)
    x = (weight * (np.arange(50) + 0.5)).sum(2) - muon.STAGGER
    clean = (hits.sum(2) == 1).all(1)
    slope = (x[clean, 5:].mean(1) - x[clean, :3].mean(1)) * muon.PITCH / (390 + 1380) * 1000
    error = slope - 1000 * np.tan(angle[clean, 0] / 1000)
    assert clean.sum() > 100
    assert np.sqrt((error**2).mean()) < 10
    assert abs(hits.any(2).mean() - muon.EFFICIENCY) < 0.02


def test_clusters_tell_particles_apart_as_poisson_s_law_says() -> None:
    task, gas = part("gas_pid.train").TASK, part("gas_pid.generator")
    x, y = gas.waveforms(4000, 0)
    pion, kaon = gas.CLUSTERS
    ideal = (pion - kaon) / ((pion**0.5 + kaon**0.5) / 2) * gas.CELLS**0.5
    counted = task.metric(torch.from_numpy(y[:, :1]), torch.from_numpy(y))
    charge = task.metric(torch.from_numpy(x.sum(2)), torch.from_numpy(y))
    assert abs(counted / ideal - 1) < 0.1
    assert 0 < charge < 0.7 * counted


def arff(names: tuple[str, ...], rows: np.ndarray, classes: list[str]) -> str:
    head = [f"@ATTRIBUTE '{n}' REAL" for n in names] + ["@ATTRIBUTE class {g,q,t,w,z}"]
    body = [",".join([*map(str, row), c]) for row, c in zip(rows.tolist(), classes, strict=True)]
    return "\n".join(["@RELATION jets", *head, "@DATA", *body]) + "\n"


def test_the_public_jet_file_is_read_whole_or_not_at_all(tmp_path: Path) -> None:
    hlf = part("jsc_hlf.generator")
    x = np.random.default_rng(0).normal(size=(50, 16))
    classes = [hlf.CLASSES[k % 5] for k in range(50)]
    turned = hlf.FEATURES[::-1]
    text = arff(turned, x[:, ::-1], classes)
    found, y = hlf.parse(text)
    assert np.array_equal(found, x)
    assert [hlf.CLASSES[k] for k in y] == classes
    (tmp_path / "jets.arff").write_text(text)
    parts = hlf.parts(str(tmp_path / "jets.arff"), 0, 0)
    assert [len(parts[k][0]) for k in parts] == [30, 10, 10]
    assert abs(parts["train"][0].mean()) < 1e-5
    for damaged in (text[:-20], text.replace("zlogz", "other"), "no file"):
        with pytest.raises(ValueError, match="not the jet data set"):
            hlf.parse(damaged)
    with pytest.raises(ValueError, match="50 rows"):
        hlf.parse(text, 830_000)


def test_a_download_is_checked_kept_and_checked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUTC_DATA", str(tmp_path / "cache"))
    source = tmp_path / "source"
    source.write_bytes(b"numbers")
    url, md5 = source.as_uri(), hashlib.md5(b"numbers").hexdigest()
    with pytest.raises(ValueError, match="did not arrive whole"):
        datasets.fetch(url, "a", "0" * 32)
    assert not (tmp_path / "cache").exists()
    kept = datasets.fetch(url, "a", md5)
    source.unlink()
    assert datasets.fetch(url, "a", md5) == kept
    kept.write_bytes(b"others")
    with pytest.raises(ValueError, match="has changed"):
        datasets.fetch(url, "a", md5)


def test_without_a_network_it_says_where_the_file_belongs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUTC_DATA", str(tmp_path))
    monkeypatch.setattr(datasets, "URL", (tmp_path / "nowhere").as_uri())
    with pytest.raises(lutc.LirError, match="cannot be downloaded") as raised:
        datasets.magic_gamma()
    assert str(tmp_path / "magic04.data") in str(raised.value)
    (tmp_path / "magic04.data").write_text("\n".join(rows()))  # put there by hand
    assert len(datasets.magic_gamma()["train"][0]) == 11412
