"""Models made on the spot: layers in a functional model, quantisers set to random formats, weights to random numbers.

Importing this module chooses Keras's torch backend, so it comes before any import of keras.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import hgq.layers as q
import keras
import numpy as np
import torch
from hgq.config import QuantizerConfig
from hgq.quantizer.internal import FixedPointQuantizerKBI, FixedPointQuantizerKIF

from lutc.frontends.keras import load_keras
from lutc.ir.graph import Design

torch.set_num_threads(1)

Make = Callable[..., Any]


def functional(make: Make, *shapes: tuple[int | None, ...]) -> keras.Model:
    """The model `make(*inputs)` for inputs of these shapes."""
    inputs = [keras.Input(shape, name=f"x{i}") for i, shape in enumerate(shapes)]
    return keras.Model(inputs, make(*inputs), name="model")


def scramble(model: keras.Model, seed: int = 0, bits: int = 5, least: int = -1) -> keras.Model:
    """Give every quantiser random formats of `least` to `bits` bits, and every weight random numbers."""
    rng = np.random.default_rng(seed)
    quantised: set[int] = set()
    for layer in model._flatten_layers():
        if not isinstance(layer, FixedPointQuantizerKBI | FixedPointQuantizerKIF) or not layer.built:
            continue
        shape = tuple(layer._k.shape)
        i = rng.integers(0, 3, shape) + rng.uniform(-0.3, 0.3, shape)
        # One format for everything needs some bits, or nothing would be left to compare.
        total = rng.integers(least, bits, shape) if np.prod(shape) > 1 else np.full(shape, bits)
        signed = bool(np.max(keras.ops.convert_to_numpy(layer._k)))
        layer._k.assign(
            (rng.uniform(size=shape) < 0.7).astype("uint8") if signed else np.zeros(shape, "uint8")
        )
        layer._i.assign(i.astype("float32"))
        if isinstance(layer, FixedPointQuantizerKBI):
            layer._b.assign(np.maximum(total, 0).astype("float32"))
        else:
            layer._f.assign((total - np.rint(i)).astype("float32"))
        quantised |= {id(v) for v in layer.variables}
    for layer in model._flatten_layers():
        for v in layer._trainable_variables + layer._non_trainable_variables:
            if id(v) in quantised or "int" in str(v.dtype) or not v.shape:
                continue
            name = v.path.rsplit("/", 1)[-1]
            values = rng.normal(0, 0.8, v.shape)
            v.assign(
                (np.abs(values) + 0.5 if "variance" in name or "gamma" in name else values).astype("float32")
            )
    return model


def coarse(model: keras.Model, seed: int = 0) -> keras.Model:
    """Give every weight a random multiple of 1/8, so that float32 sums are exact; statistics stay real numbers."""
    rng = np.random.default_rng(seed)
    for v in model.variables:
        name = v.path.rsplit("/", 1)[-1]
        if not v.shape or "seed" in v.path:
            continue
        values = np.rint(rng.normal(0, 6, v.shape)) / 8
        if name in ("moving_variance", "gamma", "variance"):
            values = rng.uniform(0.3, 2, v.shape)
        v.assign(values.astype("float32"))
    return model


def gridded(model: keras.Model, count: int = 150, seed: int = 1) -> list[np.ndarray]:
    """Inputs that the format s8f4 holds exactly."""
    rng = np.random.default_rng(seed)
    return [(rng.integers(-128, 128, (count, *i.shape[1:])) / 16).astype("float32") for i in model.inputs]


def samples(model: keras.Model, count: int = 200, seed: int = 1) -> list[np.ndarray]:
    """Inputs on a grid fine enough to meet rounding ties, some beyond any format's range."""
    rng = np.random.default_rng(seed)
    return [
        (np.rint(rng.normal(0, 3, (count, *i.shape[1:])) * 64) / 64).astype("float32") for i in model.inputs
    ]


def predict(model: keras.Model, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The framework's own results."""
    with torch.no_grad():
        outputs = model(list(inputs), training=False)
    outputs = outputs if isinstance(outputs, list | tuple) else [outputs]
    return [keras.ops.convert_to_numpy(o) for o in outputs]


def compare(
    model: keras.Model, folder: Path, inputs: Sequence[np.ndarray] | None = None, **options: Any
) -> Design:
    """Save the model, load the file, and demand equality with the framework on every sample. Returns the design."""
    inputs = samples(model) if inputs is None else inputs
    path = folder / "model.keras"
    model.save(path)
    design = load_keras(path, **options)
    answers = design.run(*inputs)
    answers = list(answers.values()) if isinstance(answers, dict) else [answers]
    expected = predict(model, inputs)
    assert len(answers) == len(expected)
    for got, want in zip(answers, expected, strict=True):
        assert got.shape == want.shape
        np.testing.assert_array_equal(np.asarray(got, dtype=np.float64).astype(np.float32), want)
        assert len(np.unique(want)) > 2 or want.size < 4, "the model's output is all but constant"
    result: Design = design
    return result


def config(place: str = "datalane", **options: Any) -> QuantizerConfig:
    """A quantiser configuration with defaults for its place."""
    return QuantizerConfig("default", place, **options)


__all__ = [
    "QuantizerConfig",
    "coarse",
    "compare",
    "config",
    "functional",
    "gridded",
    "keras",
    "predict",
    "q",
    "samples",
    "scramble",
]
