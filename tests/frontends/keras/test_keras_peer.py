"""Models as Keras runs them: here, in a process of its own, in doubles; and wrong rules, which it finds."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_zoo import coarse, config, functional, keras, q, scramble

from lutc.diagnostics import LirError
from lutc.frontends.keras import activations, dense, load_keras, peer, quantizers


def network() -> keras.Model:
    """Quantised dense layers with an activation that is no plain rectifier between them."""

    def make(x: Any) -> Any:
        x = q.QDense(6, iq_conf=config(), oq_conf=config(), enable_oq=True)(x)
        x = keras.layers.LeakyReLU(negative_slope=0.25)(x)
        return q.QDense(3, enable_oq=True)(x)

    model: keras.Model = scramble(functional(make, (5,)), bits=7, least=4)
    return model


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "network.keras"
    network().save(path)
    return path


def test_a_file_and_a_live_model(saved: Path) -> None:
    assert load_keras(saved).compared == f"Keras {keras.__version__}, 18 samples: equal"
    assert load_keras(network()).compared == f"Keras {keras.__version__}, 18 samples: equal"
    assert load_keras(saved, compare=False).compared == "not compared: it was not asked for"


def test_the_process_of_its_own_answers_the_same(saved: Path) -> None:
    """A fresh interpreter, in which Keras is not loaded, asks Keras in another one."""
    program = (
        "import sys, lutc\n"
        "print(lutc.load(sys.argv[1]).compared)\n"
        "assert 'keras' not in sys.modules and 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program, saved], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"Keras {keras.__version__}, 18 samples: equal"


def test_doubles_are_doubles(saved: Path) -> None:
    inputs = [np.full((18, 5), 0.1)]
    single, double = (peer.opened(saved, inputs, [()], wide)[0] for wide in (False, True))
    assert single.dtype == np.float32 and double.dtype == np.float64
    assert keras.config.floatx() == "float32" and keras.config.dtype_policy().name == "float32"


def test_without_keras_the_design_says_so(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "keras")
    monkeypatch.setattr(peer.importlib.util, "find_spec", lambda name: None)
    assert load_keras(saved).compared == "not compared: the package keras is not installed"
    monkeypatch.setattr(peer.importlib.util, "find_spec", lambda name: name == "keras" or None)
    assert "has no backend here" in load_keras(saved).compared


def test_a_file_that_keras_cannot_open_is_not_compared(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any, **kwargs: Any) -> Any:
        raise ValueError("it changed its mind\nand more")

    monkeypatch.setattr(keras.models, "load_model", broken)
    assert load_keras(saved).compared.endswith("cannot run it: it changed its mind")


def test_dicts_of_inputs_and_a_softmax_left_to_the_host() -> None:
    inputs = {name: keras.Input((3,), name=name) for name in ("b", "a")}
    y = keras.layers.Subtract()([inputs["b"], inputs["a"]])
    model = keras.Model(inputs, keras.layers.Dense(4, activation="softmax")(y))
    assert load_keras(coarse(model), input_types="s8f4").compared.endswith("18 samples: equal")


def test_sequential_models_are_compared(tmp_path: Path) -> None:
    model = coarse(keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]))
    model.save(tmp_path / "s.keras")
    for source in (model, tmp_path / "s.keras"):
        assert load_keras(source, input_types="s8f4").compared.endswith("18 samples: equal")


def test_a_file_that_is_not_the_model_settles_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """In doubles the file is asked; what Keras did not save of a live model is missing there as it is here."""
    model = network()
    right = peer.answers

    def otherwise(asked: Any, *rest: Any) -> Any:
        return [a * 2 for a in right(asked, *rest)] if asked is model else right(asked, *rest)

    monkeypatch.setattr(peer, "answers", otherwise)
    with pytest.raises(LirError, match="what Keras saves of it answers otherwise than the model itself"):
        load_keras(model)


# -- a rule that is wrong is caught ------------------------------------------------------------------------------------


def _slope(monkeypatch: pytest.MonkeyPatch) -> None:
    made = activations.Relu.__init__

    def init(self: Any, layer: Any) -> None:
        made(self, layer)
        self.slope = 0.0

    monkeypatch.setattr(activations.Relu, "__init__", init)


def _skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activations.Relu, "lower", lambda self, low, x, *args, **kwargs: x)


def _bias(monkeypatch: pytest.MonkeyPatch) -> None:
    right = dense.QDense.parameters
    monkeypatch.setattr(dense.QDense, "parameters", lambda self: (right(self)[0], right(self)[1] * 2))


def _transposed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = dense.QDense.parameters

    def swapped(self: Any) -> Any:
        kernel, bias = right(self)
        return kernel[::-1], bias

    monkeypatch.setattr(dense.QDense, "parameters", swapped)


def _rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    right = quantizers.quantizer

    def floors(*args: Any, **kwargs: Any) -> Any:
        from dataclasses import replace

        from lutc.types import Rounding

        return replace(right(*args, **kwargs), rounding=Rounding.FLOOR)

    monkeypatch.setattr("lutc.frontends.keras.base.quantizer", floors)


@pytest.mark.parametrize("fault", [_slope, _skipped, _bias, _transposed, _rounding])
def test_a_wrong_rule_is_refused(
    fault: Callable[[pytest.MonkeyPatch], None], saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault(monkeypatch)
    with pytest.raises(LirError, match=r"its output \w+\[\d\] is .* in Keras .* numbers differ"):
        load_keras(saved)
    assert load_keras(saved, compare=False)
