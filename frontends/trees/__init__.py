"""Ensembles of decision trees in the files of XGBoost (JSON) and LightGBM (text), or live.

Neither package is needed to read a file; where it is installed, the design is compared with what it answers. Trees of
scikit-learn come as ONNX files, by skl2onnx.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lutc.diagnostics import error
from lutc.files.foreign import read_json, read_text
from lutc.ir.graph import Design
from lutc.plugins import LoadOptions

from . import lgbm, xgb
from .form import Forest
from .load import lowered

__all__ = ["FRONTEND"]

PACKAGES = ("xgboost", "lightgbm")


class _Trees:
    name = "trees"
    suffixes = ()  # others' files end in .json, too, and anything in .txt: it is asked by `reads`

    def reads(self, path: Path) -> bool:
        """Whether a file holds trees of XGBoost or LightGBM; files of these endings may hold anything."""
        if not path.is_file() or path.suffix not in (".json", ".txt"):
            return False
        with path.open(errors="replace") as file:
            start = file.read(4000)
        if path.suffix == ".txt":
            return start.startswith(lgbm.FIRST)
        return start.lstrip().startswith('{"learner"') or '"gradient_booster"' in start

    def matches(self, source: object) -> bool:
        module = type(source).__module__.split(".")[0]
        return module in PACKAGES and (hasattr(source, "save_model") or hasattr(source, "booster_"))

    def load(self, source: Any, options: LoadOptions) -> Design:
        options.only("input_types", "leaf_type", kind="a model of trees")
        return lowered(_file(Path(source)) if isinstance(source, str | Path) else _live(source), options)


def _file(path: Path) -> Forest:
    if path.suffix == ".txt":
        return lgbm.read(read_text(path), path.stem)
    document = read_json(path, str(path))
    if not xgb.is_xgboost(document):
        raise error(
            "holds no model of XGBoost", where=str(path), help='save it with booster.save_model("model.json")'
        )
    return xgb.read(document, path.stem)


def _live(source: Any) -> Forest:
    name = type(source).__name__.lower()
    if type(source).__module__.split(".")[0] == "lightgbm":
        booster = getattr(source, "booster_", source)
        return lgbm.read(booster.model_to_string(), name)
    booster = source.get_booster() if hasattr(source, "get_booster") else source
    return xgb.read(read_json(bytes(booster.save_raw("json")), name), name)


FRONTEND = _Trees()
