"""What a rule has not understood is refused: whose class a layer is, options, arguments of calls, types, batches."""

from __future__ import annotations

import functools
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_zoo import coarse, functional, keras, q, scramble

from lutc.diagnostics import LirError
from lutc.frontends.keras import load_keras

k: Any = keras.layers
ops: Any = keras.ops
register: Any = keras.saving.register_keras_serializable


@register("my")
class Dense(k.Dense):  # type: ignore[misc]
    def call(self, inputs: Any, training: Any = None) -> Any:
        return super().call(inputs) * 2.0


@register("my")
class Flatten(k.Flatten):  # type: ignore[misc]
    pass


@register("my", "QDense")
class QuiteOther(q.QDense):  # type: ignore[misc]
    pass


class Unregistered(k.ReLU):  # type: ignore[misc]
    pass


@register("my")
class Network(keras.Model):  # type: ignore[misc]
    def call(self, inputs: Any, training: Any = None) -> Any:
        return super().call(inputs) * 2.0


@register("my", "Sequential")
class Chain(keras.Sequential):  # type: ignore[misc]
    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        return super().call(inputs) * 2.0


@register("my")  # type: ignore[untyped-decorator]
def relu(x: Any) -> Any:
    return x + 1


def network(x: Any) -> Any:
    a = keras.Input((4,))
    return Network(a, k.Dense(3)(a))(x)


OWN: dict[str, Callable[[Any], Any]] = {
    "a registered Dense": lambda x: Dense(3)(x),
    "a registered Flatten": lambda x: Flatten()(x),
    "a registered QDense": lambda x: QuiteOther(3)(x),
    "a class without registration": lambda x: Unregistered()(x),
    "a nested model with a call of its own": network,
    "a nested Sequential of the same name": lambda x: Chain([keras.Input((4,)), k.Dense(3)])(x),
    "a registered activation": lambda x: k.Dense(3, activation=relu)(x),
    "an activation that is a ReLU": lambda x: k.Dense(3, activation=k.ReLU(max_value=1.0))(x),
    "an activation that is named like one": lambda x: k.Activation(k.ELU(alpha=0.5, name="relu"))(x),
    "an activation that is a leaky ReLU": lambda x: k.Conv1D(2, 2, activation=k.LeakyReLU(0.5))(
        k.Reshape((2, 2))(x)
    ),
    "an activation of HGQ2 that is a layer": lambda x: q.QDense(3, activation=k.ReLU(max_value=1.0))(x),
}


@pytest.mark.parametrize("name", OWN)
def test_another_class(name: str, tmp_path: Path) -> None:
    coarse(functional(OWN[name], (4,))).save(tmp_path / "m.keras")
    with pytest.raises(LirError, match=r"class of its own|user's own|object of class|not one lutc knows"):
        load_keras(tmp_path / "m.keras", input_types="s8f4")


def test_a_model_with_a_call_of_its_own(tmp_path: Path) -> None:
    a = keras.Input((4,))
    model = Network(a, k.Dense(3)(a))
    model.save(tmp_path / "m.keras")
    for source in (tmp_path / "m.keras", model):
        with pytest.raises(LirError, match=r"class of its own"):
            load_keras(source, input_types="s8f4")


def _patch(model: Any) -> None:
    model.layers[1].call = lambda x: x * 2.0


def _hook(model: Any) -> None:
    model.layers[1].register_forward_hook(lambda *a: None)


def _function(model: Any) -> None:
    def tanh(x: Any) -> Any:
        return x

    model.layers[1].activation = tanh


@pytest.mark.parametrize("change", [_patch, _hook, _function])
def test_a_live_model_that_was_changed(change: Callable[[Any], None]) -> None:
    model = coarse(functional(lambda x: k.Dense(3, activation="relu")(x), (4,)))
    load_keras(model, input_types="s8f4")
    change(model)
    with pytest.raises(LirError, match=r"method call|a hook|user's own"):
        load_keras(model, input_types="s8f4")


def _twice() -> Any:
    layer = k.Dense(4)
    return keras.Sequential([keras.Input((4,)), layer, k.ReLU(), layer])


def _twice_inside() -> Any:
    x = keras.Input((4,))
    return keras.Model(x, _twice()(x))


def _wrapped() -> Any:
    """A function that has taken over the name of Keras's own."""

    @functools.wraps(keras.activations.relu)
    def capped(v: Any) -> Any:
        return keras.activations.relu(v, max_value=1.0)

    return functional(lambda x: k.Dense(3, activation=capped)(x), (4,))


def _partial() -> Any:
    capped = functools.partial(keras.activations.relu, max_value=1.0)
    return functional(lambda x: k.Dense(3, activation=capped)(x), (4,))


@pytest.mark.parametrize("make", [_twice, _twice_inside, _wrapped, _partial])
def test_a_live_model_that_its_file_would_not_be(make: Callable[[], Any]) -> None:
    """Keras saves the first of two places of a layer, and of a function its name."""
    with pytest.raises(LirError, match=r"twice, of which Keras saves|user's own|cannot save it"):
        load_keras(coarse(make()), input_types="s8f4")


def edited(path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """The file with the last layer's entry changed."""
    with zipfile.ZipFile(path) as file:
        parts = {n: file.read(n) for n in file.namelist()}
    config = json.loads(parts["config.json"])
    change(config["config"]["layers"][-1])
    with zipfile.ZipFile(path, "w") as file:
        for n, data in parts.items():
            file.writestr(n, json.dumps(config) if n == "config.json" else data)
    return path


def test_a_kernel_of_another_size_than_stated(tmp_path: Path) -> None:
    model = coarse(functional(lambda x: k.Dense(3)(x), (4,)))
    model.save(tmp_path / "m.keras")

    def units(entry: dict[str, Any]) -> None:
        entry["config"]["units"] = 10**12

    with pytest.raises(LirError, match=r"its units is 1000000000000, and its kernel has the shape \[4, 3\]"):
        load_keras(edited(tmp_path / "m.keras", units), input_types="s8f4")


def test_a_layer_that_reads_its_own_result(tmp_path: Path) -> None:
    model = coarse(functional(lambda x: k.ReLU(name="r")(k.Dense(3)(x)), (4,)))
    model.save(tmp_path / "m.keras")

    def circle(entry: dict[str, Any]) -> None:
        entry["inbound_nodes"][0]["args"][0]["config"]["keras_history"] = ["r", 0, 0]

    with pytest.raises(LirError, match="layer r reads what is made of its own result"):
        load_keras(edited(tmp_path / "m.keras", circle), input_types="s8f4")


UNREAD: dict[str, tuple[Callable[[Any], Any], dict[str, Any]]] = {
    "Dense": (lambda x: k.Dense(3)(x), {"gain": 2.0}),
    "Dense, its LoRA": (lambda x: k.Dense(3)(x), {"lora_rank": 2}),
    "Conv1D": (lambda x: k.Conv1D(2, 2)(k.Reshape((2, 2))(x)), {"mode": "full"}),
    "MaxPooling1D": (lambda x: k.MaxPooling1D(2)(k.Reshape((2, 2))(x)), {"dilation": 2}),
    "ReLU": (lambda x: k.ReLU()(x), {"shift": 1.0}),
    "BatchNormalization": (lambda x: k.BatchNormalization()(x), {"bias": 1}),
    "Flatten": (lambda x: k.Flatten()(x), {"order": "F"}),
    "Add": (lambda x: k.Add()([x, x]), {"weights": [1, 2]}),
    "QDense": (lambda x: q.QDense(3)(x), {"gain": 2.0}),
    "an operation": (lambda x: ops.max(x, axis=1), {"where": [1]}),
    "an operation's option": (lambda x: ops.max(x, axis=1), {"initial": 0}),
    "a movement": (lambda x: ops.flip(x, axis=1), {"times": 2}),
}


@pytest.mark.parametrize("name", UNREAD)
def test_an_option_that_is_not_read(name: str, tmp_path: Path) -> None:
    make, options = UNREAD[name]
    path = tmp_path / "m.keras"
    model = functional(make, (4,))
    (scramble if name == "QDense" else coarse)(model).save(path)
    edited(path, lambda entry: entry["config"].update(options))
    with pytest.raises(LirError, match=f"sets the option {next(iter(options))}=|LoRA"):
        load_keras(path, input_types="s8f4")


def test_an_input_with_an_option(tmp_path: Path) -> None:
    x = keras.Input((4,), optional=True)
    y = keras.Input((4,))
    path = tmp_path / "m.keras"
    keras.Model([x, y], k.ReLU()(y)).save(path)
    with pytest.raises(LirError, match="sets the option optional=True"):
        load_keras(path, input_types="s8f4")


def test_an_option_of_a_quantiser_that_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    scramble(functional(lambda x: q.QDense(3)(x), (4,))).save(path)
    edited(path, lambda entry: entry["config"]["iq_conf"]["config"].update(gain=2.0))
    with pytest.raises(LirError, match=r"sets the option of its iq gain=2.0"):
        load_keras(path)


CALLS: dict[str, Callable[[Any], Any]] = {
    "a mask by name": lambda x: k.GlobalAveragePooling1D()(x, mask=x[:, :, 0] > 0),
    "a mask by place": lambda x: k.Softmax()(x, x > 0),
    "training": lambda x: k.Dropout(0.5)(x, training=True),
    "training of a batch norm": lambda x: k.BatchNormalization()(x, training=True),
    "the mask of an embedding": lambda x: k.Embedding(8, 2, mask_zero=True)(x[:, 0]),
    "scores of an attention": lambda x: q.QMultiHeadAttention(2, 2)(x, x, return_attention_scores=True)[0],
    "a causal mask": lambda x: q.QMultiHeadAttention(2, 2)(x, x, use_causal_mask=True),
    "an attention mask": lambda x: q.QMultiHeadAttention(2, 2)(x, x, attention_mask=np.ones((1, 4, 4), bool)),
}


@pytest.mark.parametrize("name", CALLS)
def test_an_argument_of_a_call_that_is_not_read(name: str, tmp_path: Path) -> None:
    scramble(functional(CALLS[name], (4, 4))).save(tmp_path / "m.keras")
    with pytest.raises(LirError, match=r"sets the call argument|sets the option mask_zero"):
        load_keras(tmp_path / "m.keras", input_types="u3")


MIXED: dict[str, Callable[[Any], Any]] = {
    "flip": lambda x: ops.flip(x, axis=0),
    "flip of all axes": lambda x: ops.flip(x),
    "roll": lambda x: ops.roll(x, 1, axis=0),
    "roll of the flat": lambda x: ops.roll(x, 1),
    "one sample": lambda x: x[:1, :],
    "the last sample": lambda x: x[-1:, :] + x,
    "samples backwards": lambda x: x[::-1, :],
    "transpose": lambda x: ops.transpose(x, (1, 0, 2)),
    "swapaxes": lambda x: ops.swapaxes(x, 0, 1),
    "reshape": lambda x: ops.reshape(x, (-1, 4)),
    "reshape to three": lambda x: ops.reshape(x, (3, -1)),
    "tile": lambda x: ops.tile(x, (2, 1, 1)),
    "take": lambda x: ops.take(x, [0, 0], axis=0),
    "repeat": lambda x: ops.repeat(x, 2, axis=0),
    "max": lambda x: ops.max(x, axis=0),
    "sum of all": lambda x: ops.sum(x),
    "concatenate": lambda x: ops.concatenate([x, x], axis=0),
    "stack": lambda x: ops.stack([x, x], axis=0),
    "a constant of higher rank": lambda x: x + np.ones((3, 1, 4, 4), "float32"),
    "a comparison with a higher rank": lambda x: ops.where(x > np.ones((2, 1, 4, 4), "float32"), 1.0, 0.0),
    "a constant for each sample": lambda x: x * np.ones((3, 4, 4), "float32"),
    "comparison of ranks": lambda x: ops.where(x > x[:, 0], 1.0, 0.0),
    "einsum": lambda x: ops.einsum("bij,jk->kib", x, np.ones((4, 2), "float32")),
    "einsum without an arrow": lambda x: ops.einsum("zij,jk", x, np.ones((4, 2), "float32")),
}


@pytest.mark.parametrize("name", MIXED)
def test_what_mixes_samples(name: str, tmp_path: Path) -> None:
    functional(MIXED[name], (4, 4)).save(tmp_path / "m.keras")
    with pytest.raises(LirError, match=r"batch|sample"):
        load_keras(tmp_path / "m.keras", input_types="s8f4")


MODES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "Dense, int8": (lambda x: k.Dense(3)(x), "int8"),
    "Dense with a relu, int8": (lambda x: k.Dense(3, activation="relu")(x), "int8"),
    "Dense, int4": (lambda x: k.Dense(3)(x), "int4"),
    "Dense without a bias, int4": (lambda x: k.Dense(3, use_bias=False)(x), "int4"),
    "Dense, float8": (lambda x: k.Dense(3)(x), "float8"),
    "EinsumDense, int8": (lambda x: k.EinsumDense("abc,cd->abd", (None, 3))(x), "int8"),
    "EinsumDense, int4": (lambda x: k.EinsumDense("abc,cd->abd", (None, 3), bias_axes="d")(x), "int4"),
    "EinsumDense, float8": (lambda x: k.EinsumDense("abc,cd->abd", (None, 3))(x), "float8"),
    "two layers, int8": (lambda x: k.Dense(2)(k.ReLU()(k.Dense(3)(x))), "int8"),
    "a nested model, int8": (lambda x: keras.Sequential([keras.Input((4, 4)), k.Dense(3)])(x), "int8"),
    "Embedding, int8": (lambda x: k.Embedding(8, 4)(x[:, 0]), "int8"),
    "Embedding, int4": (lambda x: k.Embedding(8, 4)(x[:, 0]), "int4"),
}


@pytest.mark.parametrize("name", MODES)
def test_what_keras_has_quantised(name: str, tmp_path: Path) -> None:
    make, mode = MODES[name]
    model = coarse(functional(make, (4, 4)))
    model.quantize(mode)
    model.save(tmp_path / "m.keras")
    with pytest.raises(LirError, match=rf"Keras has quantised it \({mode}"):
        load_keras(tmp_path / "m.keras", input_types="u3")


@pytest.mark.parametrize("mode", ["gptq/4/128", "awq/4/128"])
def test_a_policy_of_weights_alone(mode: str, tmp_path: Path) -> None:
    """Their calibration needs packages of its own; the policy is what the file would state."""
    path = tmp_path / "m.keras"
    functional(lambda x: k.Dense(3)(x), (4,)).save(path)
    name = f"{mode[:4].strip('/').upper()}DTypePolicy"
    policy = {
        "module": "keras.dtype_policies",
        "class_name": name,
        "config": {"mode": mode, "source_name": "float32"},
    }
    edited(path, lambda entry: entry["config"].update(dtype=policy))
    with pytest.raises(LirError, match=f"Keras has quantised it .{mode}"):
        load_keras(path, input_types="s8f4")


@pytest.mark.parametrize("dtype", ["uint8", "int8", "bool", "float16", "bfloat16", "float64"])
def test_numbers_of_another_type(dtype: str, tmp_path: Path) -> None:
    x = keras.Input((4,), dtype=dtype)
    keras.Model(x, ops.add(x, x)).save(tmp_path / "m.keras")
    with pytest.raises(LirError, match=dtype):
        load_keras(tmp_path / "m.keras", input_types="u7")


def test_an_image_of_bytes_is_rescaled(tmp_path: Path) -> None:
    x = keras.Input((4,), dtype="uint8")
    keras.Model(x, k.Rescaling(0.5, -1.0)(ops.flip(x, 1))).save(tmp_path / "m.keras")
    found = load_keras(tmp_path / "m.keras", input_types="u8").run(np.array([[0, 1, 254, 255]]))
    np.testing.assert_array_equal(np.asarray(found, dtype=float), [[126.5, 126.0, -0.5, -1.0]])
    with pytest.raises(LirError, match=r"uint8, which does not hold"):
        load_keras(tmp_path / "m.keras", input_types="s8f2")


def test_padding_behind_an_offset_is_not_moved_by_it(tmp_path: Path) -> None:
    """What is pending would be applied to the zeros, too."""
    functional(lambda x: q.QDense(2)(k.ZeroPadding1D(1)(k.Rescaling(1 / 3, 0.7)(x))), (3, 2)).save(
        tmp_path / "m.keras"
    )
    with pytest.raises(LirError, match=r"it pads before"):
        load_keras(tmp_path / "m.keras", input_types="s8f4")


def _filled(make: Callable[[Any], Any], value: float) -> Any:
    model = functional(make, (4,))
    for v in model.variables:
        v.assign(np.full(v.shape, value, v.dtype))
    return model


NOT_FINITE: dict[str, tuple[Callable[[Any], Any], float, str]] = {
    "a division by 0": (lambda x: ops.divide(x, 0.0), 0, "divides by 0"),
    "an infinite factor": (lambda x: k.Rescaling(float("inf"))(x), 0, "not finite"),
    "an infinite limit": (lambda x: ops.maximum(x, -np.inf), 0, "not finite"),
    "a negative variance": (lambda x: k.BatchNormalization()(x), -1, "not finite"),
    "no numbers": (lambda x: k.Dense(3)(x), np.nan, "its kernel holds numbers that are not finite"),
    "infinite weights": (lambda x: k.Dense(3)(x), np.inf, "its kernel holds numbers that are not finite"),
}


@pytest.mark.parametrize("name", NOT_FINITE)
@pytest.mark.filterwarnings("error::RuntimeWarning:lutc.*")
def test_what_is_not_finite(name: str, tmp_path: Path) -> None:
    make, value, text = NOT_FINITE[name]
    _filled(make, value).save(tmp_path / "m.keras")
    with pytest.raises(LirError, match=text):
        load_keras(tmp_path / "m.keras", input_types="s8f4")


AFTER: dict[str, Callable[[Any], Any]] = {
    "a scaling": lambda x: k.Rescaling(0.5)(x),
    "a rectifier": lambda x: k.ReLU()(x),
    "a softmax": lambda x: k.Softmax()(x),
    "a movement": lambda x: k.Flatten()(x),
    "a quantiser": lambda x: q.QDense(2)(x),
}


@pytest.mark.parametrize("name", AFTER)
def test_nothing_follows_a_softmax(name: str, tmp_path: Path) -> None:
    """The host applies it to what the circuit gives, so whatever follows would come first."""
    scramble(functional(lambda x: AFTER[name](k.Softmax()(x)), (2, 3))).save(tmp_path / "m.keras")
    with pytest.raises(LirError, match="reads softmax"):
        load_keras(tmp_path / "m.keras", input_types="s8f4")
