"""XGBoost's models, as its JSON has them (xgboost.readthedocs.io, "Introduction to Model IO")."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from lutc.diagnostics import LirError, error
from lutc.ir.ops.logic import Relation
from lutc.lowering.trees import Ensemble, Split, Tree

from .form import Forest

# What an objective makes of its margin, and of its base score to have a margin.
_PLAIN = ("", lambda p: p)
_LOGIT = ("sigmoid", lambda p: float(-np.log(np.float32(1) / np.float32(p) - np.float32(1))))
_LOG = ("exp", lambda p: float(np.log(np.float32(p))))
OBJECTIVES: dict[str, tuple[str, Callable[[float], float]]] = {
    **dict.fromkeys(
        (
            "reg:squarederror", "reg:squaredlogerror", "reg:absoluteerror", "reg:pseudohubererror",
            "reg:quantileerror", "binary:hinge", "rank:ndcg", "rank:map", "rank:pairwise",
        ),
        _PLAIN,
    ),
    "binary:logistic": _LOGIT,
    "reg:logistic": _LOGIT,
    "binary:logitraw": ("", _LOGIT[1]),
    "multi:softprob": ("softmax", _PLAIN[1]),
    "multi:softmax": ("softmax", _PLAIN[1]),
    **dict.fromkeys(("count:poisson", "reg:gamma", "reg:tweedie"), _LOG),
}  # fmt: skip


def is_xgboost(document: Any) -> bool:
    return isinstance(document, dict) and isinstance(document.get("learner"), dict)


def read(document: Mapping[str, Any], name: str) -> Forest:
    """The forest of a model's JSON. Raises LirError for what no ensemble of trees is, or not written as expected."""
    try:
        return _read(document, name)
    except LirError:
        raise
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as e:
        raise error(
            f"is not written as XGBoost writes its models: {type(e).__name__}: {e}",
            where=name,
            help='save it with booster.save_model("model.json")',
        ) from None


def _read(document: Mapping[str, Any], name: str) -> Forest:
    learner = document["learner"]
    objective, booster = learner["objective"]["name"], learner["gradient_booster"]
    if booster["name"] != "gbtree":
        raise error(f"is a booster of kind {booster['name']!r}, and trees are read (gbtree)", where=name)
    if objective not in OBJECTIVES:
        raise error(
            f"was trained for {objective!r}, whose base score lutc does not know",
            where=name,
            help="known are " + ", ".join(OBJECTIVES),
        )
    link, to_margin = OBJECTIVES[objective]
    sizes = learner["learner_model_param"]
    classes = int(sizes["num_class"])
    targets = max(classes, int(sizes.get("num_target", 1)), 1)
    model = booster["model"]
    told = json.loads(sizes["base_score"]) if "[" in sizes["base_score"] else [float(sizes["base_score"])]
    scores = [float(np.float32(v)) for v in told]
    base = [to_margin(v) for v in (scores if len(scores) == targets else scores * targets)]
    if not np.isfinite(base).all() or len(base) != targets:
        raise error(f"has the base score {sizes['base_score']}, which makes no margin", where=name)
    trees = [_tree(t, int(of), name) for t, of in zip(model["trees"], model["tree_info"], strict=True)]
    ensemble = Ensemble(targets, tuple(trees), tuple(base))
    known = 2 if objective.startswith("binary:") else classes
    features = int(sizes["num_feature"])
    return Forest(name, "xgboost", ensemble, features, known, link, "float", _margins(document, targets))


def _tree(tree: Mapping[str, Any], target: int, name: str) -> Tree:
    left, right = tree["left_children"], tree["right_children"]
    values, features = tree["split_conditions"], tree["split_indices"]
    if int(tree["tree_param"].get("size_leaf_vector", 1)) > 1:
        raise error("has trees with several numbers in a leaf (multi_output_tree)", where=name,
                    help='train it with multi_strategy="one_output_per_tree"')  # fmt: skip
    if any(tree.get("split_type", ())):
        raise error("asks whether a feature is of some categories", where=name,
                    help="encode categories as numbers before training")  # fmt: skip
    splits: list[int] = []
    leaves: list[dict[int, float]] = []
    place: list[int] = []
    for at, child in enumerate(left):
        place.append(~len(leaves) if child == -1 else len(splits))
        if child == -1:
            leaves.append({target: _float32(values[at])})
        else:
            splits.append(at)
    rows = [
        Split(features[at], Relation.LT, _float32(values[at]), place[left[at]], place[right[at]])
        for at in splits
    ]
    return Tree(tuple(rows), tuple(leaves), place[0])


def _float32(value: Any) -> float:
    """A number of the file, which XGBoost reads as float32."""
    number = float(np.float32(value))
    if math.isnan(number):
        raise ValueError("a number of a tree is NaN")
    return number


def _margins(document: Mapping[str, Any], targets: int) -> Any:
    def margins(samples: Any, leaf: Callable[[float], float] | None, base: Sequence[float] | None) -> Any:
        import xgboost

        twin = copy.deepcopy(document)
        for tree in twin["learner"]["gradient_booster"]["model"]["trees"]:
            for at, child in enumerate(tree["left_children"]):
                if child == -1 and leaf is not None:
                    tree["split_conditions"][at] = leaf(_float32(tree["split_conditions"][at]))
                    tree["base_weights"][at] = tree["split_conditions"][at]
        booster = xgboost.Booster()
        booster.load_model(bytearray(json.dumps(twin).encode()))
        names = document["learner"].get("feature_names") or None
        data = xgboost.DMatrix(np.asarray(samples, np.float32), feature_names=names)
        if base is not None:
            data.set_base_margin(np.tile(np.asarray(base, np.float32), (len(samples), 1)))
        return np.asarray(booster.predict(data, output_margin=True), np.float64).reshape(
            len(samples), targets
        )

    return margins
