"""Files of other projects: KANELE's folders and DWN's checkpoints, made up here and computed from their definitions."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import lutc
from lutc import nn
from lutc.cli import main
from lutc.diagnostics import LirError
from lutc.frontends.tables import read_network, save


def refused(path: Path) -> str:
    with pytest.raises(LirError) as caught:
        lutc.load(path)
    return str(caught.value)


# -- KANELE ----------------------------------------------------------------------------------------------------------

SIZES, BITS = [4, 3, 2], [3, 4, 5]


def kanele(folder: Path, **changes: Any) -> Path:
    """A folder as their converter writes it; some edges are pruned."""
    rng = np.random.default_rng(1)
    tables = {}
    for layer, (n_in, n_out) in enumerate(pairwise(SIZES)):
        for i in range(n_in):
            for o in range(n_out):
                values = rng.integers(-7, 8, 1 << BITS[layer]).tolist()
                tables[f"{layer}_{i}_{o}"] = {"acive": int((i + o) % 3 > 0), "values_int": values}
    folder.mkdir(exist_ok=True)
    (folder / "truth_tables.json").write_text(json.dumps(tables | changes.pop("tables", {})))
    (folder / "config.json").write_text(
        json.dumps({"layers": SIZES, "layers_bitwidth": BITS, "grid_size": 40} | changes)
    )
    return folder


def kanele_answer(folder: Path, codes: list[int]) -> list[int]:
    """Their prediction for input codes from 0 up, in integers."""
    tables = json.loads((folder / "truth_tables.json").read_text())
    state = codes
    for layer, n_out in enumerate(SIZES[1:]):
        half = 1 << (BITS[layer + 1] - 1)
        at = [s + (1 << (BITS[layer] - 1) if layer else 0) for s in state]
        sums = [
            sum(
                tables[f"{layer}_{i}_{o}"]["values_int"][k]
                for i, k in enumerate(at)
                if tables[f"{layer}_{i}_{o}"]["acive"]
            )
            for o in range(n_out)
        ]
        state = [min(max(s, -half), half - 1) for s in sums]
    return state


def test_kanele(tmp_path: Path) -> None:
    folder = kanele(tmp_path / "tagger")
    design = lutc.load(folder)
    assert design.name == "tagger"
    x = np.random.default_rng(2).integers(0, 8, (300, 4))
    want = [kanele_answer(folder, row) for row in x.tolist()]
    np.testing.assert_array_equal(design.run(x), want)
    np.testing.assert_array_equal(lutc.load(folder / "truth_tables.json").run(x), want)
    done = CliRunner().invoke(main, ["compile", str(folder), "-o", str(tmp_path / "build")])
    assert done.exit_code == 0, done.output
    assert "no scales" in done.output


def test_kanele_refusals(tmp_path: Path) -> None:
    lost = kanele(tmp_path / "lost", tables={"1_0_0": {"acive": 1, "values_int": [1, 2]}, "0_0_1": None})
    assert (
        "layer 0: error: truth_tables.json has no table 0_0_1\n  = help: convert the model again"
        in refused(lost)
    )
    assert "layer 1: error: table 1_0_0 has 2 entries, and layers_bitwidth asks for 16" in refused(lost)
    bare = kanele(tmp_path / "bare")
    (bare / "config.json").unlink()
    assert "config.json is missing\n  = help: truth_tables.json and config.json of one model" in refused(bare)
    odd = kanele(tmp_path / "odd", layers_bitwidth=[3, 4])
    assert "config.json gives 3 layers and 2 bit widths" in refused(odd)
    words = kanele(tmp_path / "words", layers="16-8-5")
    assert "config.json has layers '16-8-5'\n  = help: such as" in refused(words)
    (words / "truth_tables.json").write_text("{")
    assert "truth_tables.json: error: this is no JSON that can be read" in refused(words)
    (tmp_path / "empty").mkdir()
    assert "no frontend reads this folder" in refused(tmp_path / "empty")


# -- DWN -------------------------------------------------------------------------------------------------------------

FEATURES, THRESHOLDS, CLASSES = 5, 6, 3


def dwn(**changes: Any) -> dict[str, Any]:
    """A checkpoint with a learnable and a fixed mapping, and the decoy that a learnable layer stores."""
    g = torch.Generator().manual_seed(3)
    rand = torch.rand
    luts = [rand(8, 16, generator=g) * 2 - 1, rand(9, 8, generator=g) * 2 - 1]
    luts[0][0, :3] = 0.0  # 0 is not above 0
    state = {
        "0._LUTLayer__dummy_mapping": torch.arange(32).reshape(8, 4).int(),
        "0.luts": luts[0],
        "0.mapping.weights": rand(FEATURES * THRESHOLDS, 32, generator=g),
        "1.luts": torch.nn.Parameter(luts[1]),
        "1.mapping": torch.randint(0, 8, (9, 3), generator=g).int(),
    }
    # Stored transposed, as a checkpoint of a fitted encoder may have it.
    thresholds = torch.randn(THRESHOLDS, FEATURES, generator=g).sort(dim=0).values.T
    made = {
        "run_name": "toy",
        "config": {"num_classes": CLASSES, "tau": 1 / 0.3},
        "state_dict": state,
        "thermometer": {"kind": "distributive", "thresholds": thresholds},
        "scaler": {"mean": torch.zeros(FEATURES)},
        "torch": torch.__version__,
    }
    return made | changes


def stored(content: Any, folder: Path) -> Path:
    path = folder / "toy.pt"
    torch.save(content, path)
    return path


def dwn_counts(saved: dict[str, Any], x: torch.Tensor) -> torch.Tensor:
    """The counts of torch-dwn's modules: thermometer, LUT layers, group sum without its division by tau."""
    state = saved["state_dict"]
    bits = (x.unsqueeze(-1) > saved["thermometer"]["thresholds"]).float().flatten(start_dim=1)
    for layer in ("0", "1"):
        luts = state[f"{layer}.luts"]
        n = luts.shape[1].bit_length() - 1
        if f"{layer}.mapping.weights" in state:
            mapping = state[f"{layer}.mapping.weights"].argmax(dim=0).reshape(-1, n)
        else:
            mapping = state[f"{layer}.mapping"].long()
        address = sum((bits[:, mapping[:, slot]] > 0).long() << slot for slot in range(n))
        bits = (luts[torch.arange(len(luts)), address] > 0).float()
    counts: torch.Tensor = bits.reshape(len(x), CLASSES, -1).sum(dim=-1)
    return counts


def test_dwn(tmp_path: Path) -> None:
    saved = dwn()
    path = stored(saved, tmp_path)
    x = torch.randn(400, FEATURES, generator=torch.Generator().manual_seed(4))
    x[:THRESHOLDS] = saved["thermometer"]["thresholds"].T  # on a threshold: not above it
    counts = dwn_counts(saved, x)
    design = lutc.load(path)
    found = design.run(x.numpy())
    np.testing.assert_array_equal(found["score"], counts.numpy())
    np.testing.assert_array_equal(found["class"], counts.argmax(dim=-1).numpy())
    assert any("scaler" in n for n in design.notes)
    # Opened by name alone, kept in the form, and read again.
    save(read_network(path), tmp_path / "kept.npz")
    again = lutc.load(tmp_path / "kept.npz").run(x.numpy())
    np.testing.assert_array_equal(again["score"], counts.numpy())
    done = CliRunner().invoke(
        main, ["compile", str(path), "-o", str(tmp_path / "build"), "--input-type", "s6f3"]
    )
    assert done.exit_code == 0, done.output


def test_training_checkpoints_stay_with_their_own_frontend(tmp_path: Path) -> None:
    nn.save(torch.nn.Sequential(nn.LUTDense(3, 2)), tmp_path / "m.pt", shape=(3,))
    assert lutc.load(tmp_path / "m.pt").params[0].type.shape == (3,)


class Evil:
    def __reduce__(self) -> Any:
        return os.mkdir, ("ran",)


def test_a_checkpoint_runs_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = stored(dwn(config=Evil()), tmp_path)
    assert "the checkpoint holds a posix.mkdir, and opening that could run code" in refused(path)
    assert not Path("ran").exists()
    pickle.loads(pickle.dumps(Evil()))
    assert Path("ran").exists()  # the pickle is one that would have


def test_dwn_refusals(tmp_path: Path) -> None:
    state = dwn()["state_dict"]
    without = {k: v for k, v in dwn().items() if k not in ("thermometer", "config")}
    text = refused(stored(without, tmp_path))
    assert "toy.pt: thermometer: error: the checkpoint lacks it, and without its thresholds" in text
    assert "toy.pt: config: error: num_classes is None" in text  # all at once
    text = refused(stored(dwn(config={"num_classes": 4}), tmp_path))
    assert "toy.pt: layer '1': error: its 9 LUTs do not divide among 4 classes" in text
    text = refused(stored(dwn(config={"num_classes": 3, "randperm": True}), tmp_path))
    assert "its groups are permuted, and the checkpoint does not hold the permutation" in text
    text = refused(stored(dwn(state_dict=state | {"0.mapping.weights": torch.rand(7, 32)}), tmp_path))
    assert (
        "layer '0': error: its mapping chooses 32 of 7 bits, and it has 30 bits and 8 LUTs of 4 inputs"
        in text
    )
    text = refused(stored(dwn(state_dict=state | {"1.mapping": torch.full((9, 3), 8)}), tmp_path))
    assert "layer '1': error: its mapping reads bit 8 of 8" in text
    text = refused(stored(dwn(state_dict=state | {"1.luts": torch.rand(9, 6)}), tmp_path))
    assert "its LUTs have 6 entries, which is no power of two" in text
    text = refused(stored(dwn(state_dict=state | {"1.luts": torch.full((9, 8), torch.nan)}), tmp_path))
    assert "luts holds numbers that are not finite" in text
    text = refused(stored(dwn(state_dict=state | {"1.luts": torch.rand(9, 8).bfloat16()}), tmp_path))
    assert "the checkpoint holds a torch.BFloat16Storage" in text


def test_damaged_checkpoints(tmp_path: Path) -> None:
    whole = stored(dwn(), tmp_path)
    cut = io.BytesIO()
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(cut, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            target.writestr(name, data[: len(data) // 2] if name.endswith("data/1") else data)
    whole.write_bytes(cut.getvalue())
    assert "this is no checkpoint of PyTorch 1.6 or newer (ValueError: storage 1 has" in refused(whole)
    (tmp_path / "old.pth").write_bytes(pickle.dumps({"luts": 1}))
    assert "this is no checkpoint of PyTorch 1.6 or newer" in refused(tmp_path / "old.pth")
