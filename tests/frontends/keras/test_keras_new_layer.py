"""A layer that lutc does not know is one rule: CONTRIBUTING.md says so. Here a known one is taken away and added."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_zoo import functional, gridded, keras, predict

from lutc.diagnostics import LirError
from lutc.frontends.keras import load_keras
from lutc.frontends.keras.base import LayoutRule
from lutc.frontends.keras.registry import LAYERS


class Repeat(LayoutRule):  # type: ignore[misc]
    """A vector, several times."""

    def move(self, x: Any) -> Any:
        return np.repeat(x[:, np.newaxis], int(self.config["n"]), axis=1)


class Careless(LayoutRule):  # type: ignore[misc]
    """One that forgets the option."""

    def move(self, x: Any) -> Any:
        return np.repeat(x[:, np.newaxis], 3, axis=1)


def test_a_layer_is_one_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = functional(lambda x: keras.layers.RepeatVector(3)(x), (4,))
    model.save(tmp_path / "m.keras")
    monkeypatch.delitem(LAYERS, "RepeatVector")
    with pytest.raises(LirError, match="no rule for it"):
        load_keras(tmp_path / "m.keras", input_types="s8f4")
    monkeypatch.setitem(LAYERS, "RepeatVector", Repeat)
    design = load_keras(tmp_path / "m.keras", input_types="s8f4")
    inputs = gridded(model)
    np.testing.assert_array_equal(np.asarray(design.run(*inputs), dtype=float), predict(model, inputs)[0])


def test_what_its_rule_does_not_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    functional(lambda x: keras.layers.RepeatVector(3)(x), (4,)).save(tmp_path / "m.keras")
    monkeypatch.setitem(LAYERS, "RepeatVector", Careless)
    with pytest.raises(LirError, match="sets the option n=3"):
        load_keras(tmp_path / "m.keras", input_types="s8f4")
