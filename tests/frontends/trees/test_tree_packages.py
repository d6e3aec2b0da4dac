"""Ensembles that scikit-learn, XGBoost and LightGBM trained, against their own scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest
import xgboost
from skl2onnx import to_onnx
from sklearn import ensemble, tree

import lutc
from lutc.diagnostics import LirError
from lutc.frontends.trees import lgbm, xgb
from lutc.loading import LoadOptions
from lutc.lowering.trees import Leaves

FEATURES, STEP = 6, 1 / 16


def data(classes: int, rows: int = 600, seed: int = 0) -> tuple[Any, Any]:
    """Samples on the steps of s8f4, and classes, or for 0 a number."""
    rng = np.random.default_rng(seed)
    x = np.round(rng.normal(0, 2, (rows, FEATURES)) / STEP).clip(-128, 127) * STEP
    score = x[:, 0] * x[:, 1] + 2 * np.sin(x[:, 2]) + rng.normal(0, 0.5, rows)
    y = score if not classes else np.digitize(score, np.quantile(score, np.linspace(0, 1, classes + 1)[1:-1]))
    return x.astype(np.float32), y


def inputs(rows: int = 10_000) -> Any:
    rng = np.random.default_rng(1)
    return (rng.integers(-128, 128, (rows, FEATURES)) * STEP).astype(np.float32)


def bound(design: lutc.Design) -> float:
    """What rounding of leaves may change a score by, as the design says it; a little more for sums of floats."""
    (note,) = [n for n in design.notes if "--leaf-type" in n]
    return float(note.split()[-1]) * 1.001 + 1e-5


SKLEARN = {
    "forest3": (ensemble.RandomForestClassifier(6, max_depth=4, random_state=0), 3, "u10f12"),
    "forest2": (ensemble.RandomForestClassifier(6, max_depth=4, random_state=0), 2, "u10f12"),
    "extra4": (ensemble.ExtraTreesClassifier(5, max_depth=5, random_state=0), 4, "u10f12"),
    "boosted3": (ensemble.GradientBoostingClassifier(n_estimators=5, random_state=0), 3, "s10f8"),
    "tree5": (tree.DecisionTreeClassifier(max_depth=5, random_state=0), 5, "u9f8"),
    "forest_r": (ensemble.RandomForestRegressor(5, max_depth=4, random_state=0), 0, "s14f6"),
    "boosted_r": (ensemble.GradientBoostingRegressor(n_estimators=10, random_state=0), 0, "s14f8"),
}


@pytest.mark.parametrize("name", SKLEARN)
def test_scikit_learn(name: str, tmp_path: Path) -> None:
    model, classes, leaf_type = SKLEARN[name]
    x, y = data(classes)
    model.fit(x, y)
    options = {"zipmap": bool(classes % 2)} if classes else {}
    proto = to_onnx(
        model,
        x[:1],
        target_opset={"": 18, "ai.onnx.ml": 3},
        options={id(model): options} if options else None,
    )
    (tmp_path / "model.onnx").write_bytes(proto.SerializeToString())
    design = lutc.load(tmp_path / "model.onnx", input_types="s8f4", leaf_type=leaf_type)
    assert design.compared.endswith("equal")
    z = inputs()
    found = design.run(z)
    if not classes:
        assert (
            np.abs(found.ravel() - model.predict(z)).max() <= bound(design) + 1e-3
        )  # floats of ONNX Runtime's
        return
    label, scores = found.values()
    boosted = "boosted" in name
    wanted = model.decision_function(z) if boosted else model.predict_proba(z)
    assert np.abs(scores - wanted).max() <= bound(design)
    assert np.array_equal(np.asarray(label).ravel(), scores.argmax(axis=1))


def exact(forest: Any, design: lutc.Design, leaf_type: str) -> None:
    """The design's scores are those of the package with leaves and base rounded, and near its own."""
    leaves = Leaves(int(leaf_type.split("f")[1]))
    z = inputs()
    found = design.run(z)
    scores = found["scores"] if isinstance(found, dict) else found
    base = [leaves.number(b) for b in forest.ensemble.base]
    assert np.array_equal(scores, forest.margins(z, leaves.number, base))
    assert np.abs(scores - forest.margins(z, None, None)).max() <= bound(design)


XGBOOST = {
    "binary": (xgboost.XGBClassifier(n_estimators=8, max_depth=4), 2),
    "deep": (xgboost.XGBClassifier(n_estimators=4, max_depth=8), 2),
    "four": (xgboost.XGBClassifier(n_estimators=4, max_depth=3), 4),
    "parallel": (xgboost.XGBClassifier(n_estimators=2, num_parallel_tree=3, subsample=0.5, max_depth=3), 3),
    "squares": (xgboost.XGBRegressor(n_estimators=8, max_depth=4), 0),
    "counts": (xgboost.XGBRegressor(n_estimators=5, max_depth=3, objective="count:poisson"), -1),
    "gamma": (xgboost.XGBRegressor(n_estimators=5, max_depth=3, objective="reg:gamma", base_score=2.5), -1),
}


@pytest.mark.parametrize("name", XGBOOST)
def test_xgboost(name: str, tmp_path: Path) -> None:
    model, classes = XGBOOST[name]
    x, y = data(max(classes, 0))
    model.fit(x, y if classes >= 0 else np.abs(y) + 0.1)
    model.save_model(tmp_path / "model.json")
    design = lutc.load(tmp_path / "model.json", input_types="s8f4", leaf_type="s14f8")
    assert design.compared.endswith("equal")
    exact(xgb.read(json.loads((tmp_path / "model.json").read_text()), "model"), design, "s14f8")
    live = lutc.load(model, input_types="s8f4", leaf_type="s14f8")
    assert [o.name for o in live.outputs] == (["scores", "label"] if classes > 1 else ["scores"])
    if classes > 1:
        found, z = live.run(inputs()), inputs()
        sure = (
            np.sort(found["scores"], axis=1)[:, -1] - np.sort(found["scores"], axis=1)[:, -2]
            if classes > 2
            else np.abs(found["scores"][:, 0])
        )
        far = sure > 2 * bound(live)
        assert np.array_equal(np.asarray(found["label"]).ravel()[far], model.predict(z)[far])


LIGHTGBM = {
    "binary": (lightgbm.LGBMClassifier(n_estimators=8, num_leaves=12, verbose=-1), 2),
    "five": (lightgbm.LGBMClassifier(n_estimators=3, num_leaves=8, verbose=-1), 5),
    "one-against-all": (lightgbm.LGBMClassifier(n_estimators=3, objective="multiclassova", verbose=-1), 3),
    "zero is missing": (
        lightgbm.LGBMRegressor(n_estimators=6, num_leaves=8, zero_as_missing=True, verbose=-1),
        0,
    ),
    "regression": (lightgbm.LGBMRegressor(n_estimators=6, num_leaves=8, verbose=-1), 0),
    "counts": (lightgbm.LGBMRegressor(n_estimators=6, objective="poisson", verbose=-1), -1),
}


@pytest.mark.parametrize("name", LIGHTGBM)
def test_lightgbm(name: str, tmp_path: Path) -> None:
    model, classes = LIGHTGBM[name]
    x, y = data(max(classes, 0))
    x[np.random.default_rng(2).random(x.shape) < 0.2] = 0
    model.fit(x, y if classes >= 0 else np.abs(y))
    model.booster_.save_model(tmp_path / "model.txt")
    design = lutc.load(tmp_path / "model.txt", input_types="s8f4", leaf_type="s14f8")
    assert design.compared.endswith("equal")
    exact(lgbm.read((tmp_path / "model.txt").read_text(), "model"), design, "s14f8")
    assert lutc.load(model, input_types="s8f4", leaf_type="s14f8").run(x[:5]) is not None


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        (xgboost.XGBRegressor, {"booster": "gblinear"}, "kind 'gblinear'"),
        (xgboost.XGBRegressor, {"booster": "dart"}, "kind 'dart'"),
        (xgboost.XGBRegressor, {"objective": "survival:cox"}, "'survival:cox'"),
        (
            lightgbm.LGBMRegressor,
            {"boosting_type": "rf", "subsample": 0.5, "subsample_freq": 1, "verbose": -1},
            "averages",
        ),
        (lightgbm.LGBMRegressor, {"linear_tree": True, "verbose": -1}, "linear models"),
        (lightgbm.LGBMRegressor, {"reg_sqrt": True, "verbose": -1}, "squares"),
    ],
)
def test_what_is_no_sum_of_leaves_is_refused(kind: Any, options: dict[str, Any], said: str) -> None:
    x, y = data(0)
    model = kind(n_estimators=2, **options).fit(x.astype(np.float64), np.abs(y) + 1)
    with pytest.raises(LirError) as told:
        lutc.load(model, input_types="s8f4", leaf_type="s14f8")
    assert said in str(told.value)


def test_categories_are_refused() -> None:
    x, _ = data(0)
    x[:, 0] = np.abs(np.round(x[:, 0]))
    model = lightgbm.LGBMRegressor(n_estimators=2, verbose=-1, min_data_per_group=1, cat_smooth=0)
    model.fit(x, x[:, 0] % 3, categorical_feature=[0])
    with pytest.raises(LirError, match="of some categories"):
        lutc.load(model, input_types="s8f4", leaf_type="s14f8")


@pytest.mark.parametrize(
    "text",
    ['{"learner": {}}', '{"learner": {"objective": {"name": 3}}}', '{"learner": 7, "gradient_booster": 1}'],
)
def test_a_damaged_file_of_xgboost(text: str, tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(LirError):
        lutc.load(tmp_path / "model.json", input_types="s8f4")


@pytest.mark.parametrize("cut", [20, 300, 700])
def test_a_cut_file_of_lightgbm(cut: int, tmp_path: Path) -> None:
    x, y = data(0)
    text = lightgbm.LGBMRegressor(n_estimators=2, verbose=-1).fit(x, y).booster_.model_to_string()
    (tmp_path / "model.txt").write_text(text[:cut])
    with pytest.raises(LirError, match="is not written as LightGBM"):
        lutc.load(tmp_path / "model.txt", input_types="s8f4")


def test_the_options_are_read() -> None:
    x, y = data(0)
    model = xgboost.XGBRegressor(n_estimators=2).fit(x, y)
    with pytest.raises(LirError, match="leaf_type is"):
        LoadOptions(leaf_type="s8f4[3]")
    with pytest.raises(LirError, match="--leaf-type"):
        lutc.load(model, input_types="s8f4")
    with pytest.raises(LirError, match="--input-type x="):
        lutc.load(model, leaf_type="s14f8")
    with pytest.raises(LirError, match="lies outside of s4f8"):
        lutc.load(model, input_types="s8f4", leaf_type="s4f8")
