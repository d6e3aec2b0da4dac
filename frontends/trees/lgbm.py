"""LightGBM's models, as its text has them (the format of `Booster.save_model`)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from lutc.diagnostics import LirError, error
from lutc.ir.ops.logic import Relation
from lutc.lowering.trees import Ensemble, Split, Tree

from .form import Forest

FIRST = "tree\n"
# What an objective makes of its raw score.
LINKS = {
    "binary": "sigmoid",
    "cross_entropy": "sigmoid",
    "cross_entropy_lambda": "",
    "multiclass": "softmax",
    "multiclassova": "sigmoid",
    "poisson": "exp",
    "gamma": "exp",
    "tweedie": "exp",
}
_CATEGORICAL, _DEFAULT_LEFT = 1, 2
_MISSING = 2  # bits from here: 0 none, 1 zero, 2 NaN
_MISSING_ZERO = 1


def read(text: str, name: str) -> Forest:
    """The forest of a model's text. Raises LirError for what is not written as expected."""
    try:
        return _read(text, name)
    except LirError:
        raise
    except (KeyError, ValueError, IndexError) as e:
        raise error(
            f"is not written as LightGBM writes its models: {type(e).__name__}: {e}",
            where=name,
            help='save it with booster.save_model("model.txt")',
        ) from None


def _read(text: str, name: str) -> Forest:
    body, end, _ = text.partition("\nend of trees")
    head, *blocks = re.split(r"^Tree=\d+\n", body, flags=re.MULTILINE)
    about = _lines(head)
    if not end or len(about.get("tree_sizes", "").split()) != len(blocks):
        raise ValueError("trees are missing")
    objective = about.get("objective", "regression").split()
    targets = int(about["num_tree_per_iteration"])
    if "average_output" in head.split():
        raise error("averages its trees (a random forest)", where=name,
                    help="export it with onnxmltools, or train gbdt")  # fmt: skip
    if "sqrt" in objective:
        raise error("squares its score (reg_sqrt)", where=name, help="train it without")
    trees = [_tree(_lines(block), i % targets, name) for i, block in enumerate(blocks)]
    features = int(about["max_feature_idx"]) + 1
    link = LINKS.get(objective[0], "")
    classes = 2 if objective[0] == "binary" else int(about.get("num_class", 1)) * (targets > 1)
    ensemble = Ensemble(targets, tuple(trees))
    return Forest(name, "lightgbm", ensemble, features, classes, link, "double", _margins(text, targets))


def _lines(block: str) -> dict[str, str]:
    return {key: value for key, sign, value in (line.partition("=") for line in block.splitlines()) if sign}


def _numbers(values: str) -> list[float]:
    return [float(v) for v in values.split()]


def _tree(lines: Mapping[str, str], target: int, name: str) -> Tree:
    count = int(lines["num_leaves"])
    if int(lines.get("is_linear", 0)):
        raise error("has linear models in its leaves", where=name, help="train it with linear_tree=false")
    values = _numbers(lines["leaf_value"])
    if len(values) != count or not np.isfinite(values).all():
        raise ValueError(f"a tree has {count} leaves and the values {values[:3]}")
    leaves = tuple({target: v} for v in values)
    if count == 1:
        return Tree((), leaves, -1)
    columns = [lines[k].split() for k in ("split_feature", "decision_type", "left_child", "right_child")]
    splits: list[Split] = []
    extra: list[Split] = []
    size = count - 1
    for at, (feature, decision, left, right, limit) in enumerate(
        zip(*(map(int, c) for c in columns), _numbers(lines["threshold"]), strict=True)
    ):
        if decision & _CATEGORICAL:
            raise error("asks whether a feature is of some categories", where=name,
                        help="encode categories as numbers before training")  # fmt: skip
        if math.isnan(limit):
            raise ValueError("a threshold is NaN")
        split = Split(feature, Relation.LE, limit, left, right)
        if decision >> _MISSING & 3 == _MISSING_ZERO:  # a feature of 0 is taken for a missing one
            extra.append(split)
            there = left if decision & _DEFAULT_LEFT else right
            split = Split(feature, Relation.EQ, 0.0, there, size + len(extra) - 1)
        splits.append(split)
        if len(splits) != at + 1:
            raise ValueError("splits out of order")
    if len(splits) != size:
        raise ValueError(f"a tree has {count} leaves and {len(splits)} splits")
    return Tree((*splits, *extra), leaves, 0)


def _margins(text: str, targets: int) -> Any:
    def margins(samples: Any, leaf: Callable[[float], float] | None, base: Sequence[float] | None) -> Any:
        import lightgbm

        def rounded(line: re.Match[str]) -> str:
            assert leaf is not None
            return "leaf_value=" + " ".join(repr(leaf(v)) for v in _numbers(line.group(1)))

        twin = re.sub(r"^leaf_value=(.*)$", rounded, text, flags=re.MULTILINE) if leaf else text
        twin = re.sub(r"^tree_sizes=.*\n", "", twin, flags=re.MULTILINE)  # they are no longer so
        booster = lightgbm.Booster(model_str=twin)
        found = booster.predict(np.asarray(samples, np.float64), raw_score=True)
        return np.asarray(found, np.float64).reshape(len(samples), targets)

    return margins
