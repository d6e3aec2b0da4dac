"""A model that nothing quantises gets one message: that it is so, and the two ways from it to a circuit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_zoo import coarse, config, functional, keras, q, scramble

import lutc
from lutc.diagnostics import Diagnostic, LirError

k: Any = keras.layers
ops: Any = keras.ops
ONE = "is not quantised: its weights are floats"


def told(source: Any, **options: Any) -> tuple[Diagnostic, ...]:
    with pytest.raises(LirError) as raised:
        lutc.load(source, **options)
    return raised.value.diagnostics


def cnn(x: Any) -> Any:
    x = k.BatchNormalization()(k.Conv2D(2, 3, activation="relu")(x))
    return k.Dense(3, activation="softmax")(k.Flatten()(k.MaxPooling2D()(x)))


def transformer(x: Any) -> Any:
    x = k.LayerNormalization()(k.MultiHeadAttention(2, 4)(x, x) + x)
    return k.Dense(2)(k.GlobalAveragePooling1D()(x))


def quantised(x: Any) -> Any:
    from hgq.quantizer import Quantizer

    return Quantizer(config(overflow_mode="SAT"))(x)


def recurrent(x: Any) -> Any:
    return k.Dense(2)(k.Bidirectional(k.LSTM(3))(x))


MODELS: dict[str, tuple[tuple[int, ...], Any]] = {
    "cnn": ((6, 6, 1), cnn),
    "transformer": ((4, 8), transformer),
    "recurrent": ((4, 8), recurrent),
}


def made(shape: tuple[int, ...], function: Any) -> Any:
    return scramble(functional(function, shape))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("given", [None, "s8f4"])
def test_floats_have_one_message(name: str, given: str | None, tmp_path: Path) -> None:
    model = made(*MODELS[name])
    (said,) = told(model, input_types=given)
    assert said.message.startswith(ONE)
    assert "model.save('model.keras')" in (said.help or "") and "HGQ2" in (said.help or "")
    for suffix in (".keras", ".h5"):
        path = tmp_path / f"net{suffix}"
        model.save(path)
        (said,) = told(path, input_types=given)
        assert (
            said.where == str(path) and said.message.startswith(ONE) and "model.save" not in (said.help or "")
        )
        command = f"lutc quantize {path} --data calibration.npz --target {{}} -o net.quantised.onnx"
        assert command.format("PART") in (said.help or "")
    with pytest.raises(LirError, match="--target xc7a100t -o"):
        lutc.compile(path, "xc7a100t", input_types=given)


PARTLY: dict[str, Any] = {
    "hgq": lambda x: k.Dense(2)(q.QDense(3)(x)),
    "behind a quantiser": lambda x: k.Dense(2)(quantised(x)),
    "rounded by hand": lambda x: k.Dense(2)(ops.round(x)),
    "without weights": lambda x: k.ReLU()(x),
}


@pytest.mark.parametrize("name", PARTLY)
def test_what_is_quantised_in_part_is_told_place_by_place(name: str) -> None:
    for said in told(made((4,), PARTLY[name])):
        assert ONE not in said.message and "lutc quantize" not in (said.help or "")


def test_weights_of_few_bits_are_told_as_before() -> None:
    model = functional(lambda x: k.Dense(2)(x), (4,))
    coarse(model)
    (said,) = told(model)
    assert "without a quantiser" in said.message
    design = lutc.load(model, input_types="s4f1")
    assert design.run(np.ones((1, 4))).shape == (1, 2)
