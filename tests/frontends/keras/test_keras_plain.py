"""Plain Keras layers and recorded keras.ops operations equal the framework on every sample."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_zoo import coarse, compare, config, functional, gridded, keras, predict, q, samples, scramble

from lutc.frontends.keras import load_keras

k = keras.layers
ops = keras.ops


def quantised(x: Any, bits: int = 6) -> Any:
    """An output quantiser behind a layer that computes in floating point."""
    from hgq.quantizer import Quantizer

    conf = config(overflow_mode="SAT", round_mode="RND_CONV", i0=3, f0=bits, heterogeneous_axis=())
    return Quantizer(conf)(x)


LAYERS: dict[str, tuple[tuple[int, ...], Any]] = {
    "Dense": ((6,), lambda x: k.Dense(4, activation="relu")(x)),
    "Dense-rows": ((3, 6), lambda x: k.Dense(4)(x)),
    "EinsumDense": ((3, 6), lambda x: k.EinsumDense("abc,cd->abd", (None, 4), bias_axes="d")(x)),
    "Conv1D": ((8, 2), lambda x: k.Conv1D(3, 3, strides=2, padding="same")(x)),
    "Conv1D-causal": ((8, 2), lambda x: k.Conv1D(3, 3, padding="causal", dilation_rate=2)(x)),
    "Conv2D": ((6, 5, 2), lambda x: k.Conv2D(3, 3, activation="relu")(x)),
    "Conv2D-first": ((2, 6, 5), lambda x: k.Conv2D(4, 3, groups=2, data_format="channels_first")(x)),
    "Conv3D": ((3, 4, 3, 2), lambda x: k.Conv3D(2, 2)(x)),
    "DepthwiseConv1D": ((8, 3), lambda x: k.DepthwiseConv1D(3, depth_multiplier=2)(x)),
    "DepthwiseConv2D": ((5, 5, 3), lambda x: k.DepthwiseConv2D(3, padding="same")(x)),
    "SeparableConv1D": ((8, 3), lambda x: k.SeparableConv1D(4, 3)(x)),
    "SeparableConv2D": ((5, 5, 2), lambda x: k.SeparableConv2D(3, 2, padding="same")(x)),
    "Conv1DTranspose": ((5, 2), lambda x: k.Conv1DTranspose(3, 3, strides=2)(x)),
    "Conv1DTranspose-same": ((5, 2), lambda x: k.Conv1DTranspose(3, 3, strides=2, padding="same")(x)),
    "Conv2DTranspose": ((4, 3, 2), lambda x: k.Conv2DTranspose(3, (3, 2), strides=(2, 1))(x)),
    "Conv2DTranspose-same": ((4, 3, 2), lambda x: k.Conv2DTranspose(3, 3, strides=2, padding="same")(x)),
    "Conv2DTranspose-wide": ((4, 3, 2), lambda x: k.Conv2DTranspose(2, 2, strides=3, padding="same")(x)),
    "Conv3DTranspose": ((2, 3, 2, 2), lambda x: k.Conv3DTranspose(2, 2)(x)),
    "BatchNormalization": ((6,), lambda x: quantised(k.BatchNormalization()(x))),
    "BatchNormalization-conv": (
        (6, 5, 2),
        lambda x: quantised(k.ReLU()(k.BatchNormalization()(k.Conv2D(3, 3)(x)))),
    ),
    "BatchNormalization-axis": (
        (3, 4),
        lambda x: quantised(k.BatchNormalization(axis=1, center=False, scale=False)(x)),
    ),
    "ReLU": ((6,), lambda x: k.ReLU()(x)),
    "ReLU-options": ((6,), lambda x: quantised(k.ReLU(max_value=3.5, negative_slope=0.1, threshold=0.5)(x))),
    "ReLU-ceiling": ((6,), lambda x: k.ReLU(max_value=3.5)(x)),
    "LeakyReLU": ((6,), lambda x: k.LeakyReLU(negative_slope=0.25)(x)),
    "LeakyReLU-real": ((6,), lambda x: quantised(k.LeakyReLU(negative_slope=0.3)(x))),
    "PReLU": ((3, 4), lambda x: quantised(k.PReLU(shared_axes=[1])(x))),
    "ELU": ((6,), lambda x: quantised(k.ELU(alpha=0.7)(x))),
    "MaxPooling1D": ((9, 2), lambda x: k.MaxPooling1D(3, strides=2)(x)),
    "MaxPooling2D": ((6, 5, 2), lambda x: k.MaxPooling2D(2, padding="same")(x)),
    "MaxPooling3D": ((4, 4, 4, 1), lambda x: k.MaxPooling3D(2)(x)),
    "AveragePooling1D": ((8, 2), lambda x: k.AveragePooling1D(4)(x)),
    "AveragePooling2D": ((6, 6, 2), lambda x: quantised(k.AveragePooling2D(3)(x))),
    "AveragePooling3D": ((4, 4, 4, 1), lambda x: k.AveragePooling3D(2)(x)),
    "GlobalMaxPooling1D": ((7, 3), lambda x: k.GlobalMaxPooling1D()(x)),
    "GlobalAveragePooling2D": ((3, 5, 3), lambda x: quantised(k.GlobalAveragePooling2D()(x))),
    "GlobalAveragePooling2D-first": (
        (3, 4, 4),
        lambda x: k.GlobalAveragePooling2D("channels_first", keepdims=True)(x),
    ),
    "Flatten": ((3, 4), lambda x: k.Flatten()(x)),
    "Reshape": ((3, 4), lambda x: k.Reshape((2, -1))(x)),
    "Permute": ((2, 3, 4), lambda x: k.Permute((3, 1, 2))(x)),
    "RepeatVector": ((4,), lambda x: k.RepeatVector(3)(x)),
    "ZeroPadding1D": ((4, 2), lambda x: k.ZeroPadding1D((1, 2))(x)),
    "ZeroPadding2D": ((4, 3, 2), lambda x: k.ZeroPadding2D(((1, 0), (2, 1)))(x)),
    "Cropping1D": ((6, 2), lambda x: k.Cropping1D((1, 2))(x)),
    "Cropping2D": ((6, 5, 2), lambda x: k.Cropping2D(((1, 2), (0, 1)))(x)),
    "Cropping3D": ((4, 4, 4, 1), lambda x: k.Cropping3D(1)(x)),
    "UpSampling1D": ((3, 2), lambda x: k.UpSampling1D(2)(x)),
    "UpSampling2D": ((3, 2, 2), lambda x: k.UpSampling2D((2, 3))(x)),
    "Rescaling": ((4,), lambda x: k.Rescaling(0.25, offset=-1.5)(x)),
    "Rescaling-real": ((4,), lambda x: quantised(k.Rescaling(1 / 3, offset=0.1)(x))),
    "Normalization": (
        (4,),
        lambda x: quantised(k.Normalization(mean=[0.1, 1, 2, 3], variance=[1.5, 2, 0.3, 4])(x)),
    ),
    "Dropout": (
        (4,),
        lambda x: k.GaussianNoise(0.1)(k.SpatialDropout1D(0.2)(k.Reshape((2, 2))(k.Dropout(0.5)(x)))),
    ),
    **{
        f"Activation-{name}": ((4,), lambda x, name=name: quantised(k.Activation(name)(x)))
        for name in [
            "tanh",
            "sigmoid",
            "silu",
            "gelu",
            "elu",
            "selu",
            "celu",
            "softplus",
            "softsign",
            "exponential",
            "mish",
            "hard_sigmoid",
            "hard_silu",
            "log_sigmoid",
            "relu6",
            "leaky_relu",
            "hard_tanh",
            "hard_shrink",
            "soft_shrink",
            "tanh_shrink",
            "squareplus",
            "sparse_plus",
            "sparse_sigmoid",
        ]
    },
}

SEVERAL: dict[str, tuple[list[tuple[int, ...]], Any]] = {
    "Add": ([(3, 4), (4,)], lambda *x: k.Add()(list(x))),
    "Subtract": ([(4,)] * 2, lambda *x: k.Subtract()(list(x))),
    "Multiply": ([(4,)] * 3, lambda *x: k.Multiply()(list(x))),
    "Maximum": ([(4,)] * 3, lambda *x: k.Maximum()(list(x))),
    "Minimum": ([(4,)] * 2, lambda *x: k.Minimum()(list(x))),
    "Average": ([(4,)] * 3, lambda *x: quantised(k.Average()(list(x)))),
    "Average-4": ([(4,)] * 4, lambda *x: k.Average()(list(x))),
    "Concatenate": ([(3, 4), (2, 4)], lambda *x: k.Concatenate(axis=1)(list(x))),
    "Dot": ([(4,)] * 2, lambda *x: k.Dot(axes=1)(list(x))),
    "Dot-axes": ([(3, 4), (4, 5)], lambda *x: k.Dot(axes=(2, 1))(list(x))),
    "ops.einsum": ([(3, 4), (5, 4)], lambda x, y: ops.einsum("bij,bkj->bki", x, y)),
    "ops.matmul": ([(3, 4), (4, 5)], lambda x, y: ops.matmul(x, y)),
    "ops.concatenate": ([(3, 4), (3, 4)], lambda x, y: ops.concatenate([x, y], axis=-1)),
    "ops.stack": ([(3, 4), (3, 4)], lambda x, y: ops.stack([x, y], axis=2)),
    "ops.where": ([(4,)] * 2, lambda x, y: ops.where(x > y, x, y * 2.0)),
    "ops.where-constant": ([(4,)] * 2, lambda x, y: ops.where(x <= 0.5, x + y, 1.25)),
    "arithmetic": ([(3, 4), (3, 4)], lambda x, y: (x - y) * (x + y) - 1.5 + 2.0 * y),
    "two outputs": ([(4,)] * 2, lambda x, y: [x + y, ops.maximum(x, y)]),
}

OPERATIONS: dict[str, Any] = {
    "slicing": lambda x: x[:, ::2, 1:],
    "indexing": lambda x: x[:, 1],
    "newaxis": lambda x: x[:, None, :, 2],
    "sum": lambda x: ops.sum(x, axis=-1, keepdims=True),
    "sum-all": lambda x: ops.sum(x, axis=(1, 2)),
    "mean": lambda x: ops.mean(x, axis=1),
    "mean-odd": lambda x: quantised(ops.mean(x[:, :3], axis=1)),
    "max": lambda x: ops.max(x, axis=1),
    "min": lambda x: ops.min(x, axis=(1, 2), keepdims=True),
    "amax": lambda x: ops.amax(x, axis=2),
    "argmax": lambda x: ops.argmax(x, axis=-1),
    "transpose": lambda x: ops.transpose(x, (0, 2, 1)),
    "swapaxes": lambda x: ops.swapaxes(x, 1, 2),
    "moveaxis": lambda x: ops.moveaxis(x, 1, 2),
    "reshape": lambda x: ops.reshape(x, (-1, 2, 8)),
    "expand_dims": lambda x: ops.squeeze(ops.expand_dims(x, 1), 1) + ops.flip(x, 1),
    "roll": lambda x: ops.roll(x, 1, axis=2),
    "repeat": lambda x: ops.repeat(x, 2, axis=1),
    "tile": lambda x: ops.tile(x, (1, 2, 1)),
    "take": lambda x: ops.take(x, np.array([0, 2, 0]), axis=1),
    "split": lambda x: ops.split(x, 2, axis=1)[1],
    "pad": lambda x: ops.pad(x, [[0, 0], [1, 2], [0, 1]]),
    "clip": lambda x: ops.clip(x, -1, 1.5),
    "abs": lambda x: ops.abs(x) - ops.negative(x),
    "square": lambda x: ops.square(x),
    "relu": lambda x: ops.relu(x) + ops.relu6(x),
    "constants": lambda x: (1.5 - x) * np.array([0.5, 1, 2, -1], "float32") / 4.0,
    "real-constant": lambda x: quantised(x * 0.3 + 0.7),
    "division": lambda x: quantised(x / np.array([3, 5, 7, 9], "float32")),
    "reciprocal": lambda x: quantised(1.0 / (ops.abs(x) + 0.5)),
    "maximum-constant": lambda x: ops.minimum(ops.maximum(x, 0.5), 3.0),
    "matmul-constant": lambda x: ops.matmul(x, np.array([[1, 2], [0.5, -1], [0, 3], [1, 1]], "float32")),
    "tanh": lambda x: quantised(ops.tanh(ops.sigmoid(x))),
    "exp": lambda x: quantised(ops.exp(-ops.abs(x)), 8),
    "sqrt": lambda x: quantised(ops.sqrt(ops.relu(x))),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layer(name: str, tmp_path: Path) -> None:
    shape, make = LAYERS[name]
    model = (
        coarse(functional(make, shape))
        if "-" not in name or "Activation" not in name
        else functional(make, shape)
    )
    compare(_with_formats(model), tmp_path, gridded(model), input_types="s8f4")


def _with_formats(model: keras.Model) -> keras.Model:
    """Undo what `coarse` did to quantisers' numbers."""
    for layer in model._flatten_layers():
        for name, value in (("_k", 1), ("_i", 3), ("_f", 6)):
            if hasattr(layer, name) and hasattr(layer, "bw_mapper"):
                v = getattr(layer, name)
                v.assign(np.full(v.shape, value))
    return model


@pytest.mark.parametrize("name", SEVERAL)
def test_several_inputs(name: str, tmp_path: Path) -> None:
    shapes, make = SEVERAL[name]
    model = functional(make, *shapes)
    compare(model, tmp_path, gridded(model), input_types="s8f4")


@pytest.mark.parametrize("name", OPERATIONS)
def test_operation(name: str, tmp_path: Path) -> None:
    model = functional(OPERATIONS[name], (4, 4))
    compare(model, tmp_path, gridded(model), input_types="s8f4")


def test_embedding(tmp_path: Path) -> None:
    model = functional(lambda x: quantised(k.Embedding(5, 3)(x)), (4,))
    rng = np.random.default_rng(0)
    model.layers[1].set_weights([rng.normal(0, 1, (5, 3))])
    compare(model, tmp_path, [rng.integers(0, 5, (60, 4)).astype("float32")])


def test_shared_layer_and_nested_models(tmp_path: Path) -> None:
    inner = functional(lambda x: q.QDense(4, activation="relu")(x), (5,))
    outer = keras.Sequential([keras.Input((4,)), q.QDense(3), k.ReLU()])
    shared = q.QDense(5)

    def make(x: Any, y: Any) -> Any:
        a, b = inner(shared(x)), inner(shared(y))
        return outer(q.QAdd()([a, b]))

    compare(scramble(functional(make, (6,), (6,))), tmp_path)


def test_sequential(tmp_path: Path) -> None:
    model = keras.Sequential(
        [keras.Input((5, 5, 1)), q.QConv2D(3, 3), k.MaxPooling2D(2), k.Flatten(), q.QDense(4)]
    )
    compare(scramble(model), tmp_path)


def test_several_outputs_named_by_their_layers(tmp_path: Path) -> None:
    def make(x: Any) -> Any:
        h = q.QDense(4, activation="relu", name="trunk")(x)
        return [q.QDense(2, name="mass")(h), q.QDense(3, name="class")(h)]

    design = compare(scramble(functional(make, (5,)), bits=7), tmp_path)
    assert [o.name for o in design.outputs] == ["mass", "class"]


def test_softmax_at_the_end_is_left_to_the_host(tmp_path: Path) -> None:
    model = scramble(functional(lambda x: q.QDense(4, activation="softmax")(x), (6,)), bits=7)
    path = tmp_path / "m.keras"
    model.save(path)
    design = load_keras(path)
    inputs = samples(model)
    logits = design.run(*inputs)
    (want,) = predict(model, inputs)
    exp = np.exp(logits - logits.max(axis=-1, keepdims=True))
    np.testing.assert_allclose(exp / exp.sum(axis=-1, keepdims=True), want, rtol=1e-5, atol=1e-7)
    assert any("softmax" in note for note in design.notes)
