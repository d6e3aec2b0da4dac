"""Random Keras models: layers called twice, nested and shared models, dicts of outputs, unknown options."""

from __future__ import annotations

import io
import json
import os
import random
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np
import torch
from hgq.config import QuantizerConfig
from hgq.quantizer import Quantizer
from model_cases import ModelCase, rows, weights

from lutc.frontends.keras import load_keras

layers = keras.layers
FORMAT = "s9f2"


def rounded(rng: random.Random, x: Any) -> Any:
    """A quantiser behind a layer."""
    modes = {"round_mode": rng.choice(["RND", "TRN"]), "overflow_mode": rng.choice(["SAT", "WRAP"])}
    config = QuantizerConfig("kif", "datalane", k0=1, i0=rng.choice([4, 6]), f0=rng.choice([1, 2]), **modes)
    return Quantizer(config)(x)


class Random:
    """A functional model while it grows: `shared` are layers and models that may be called once more."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.shared: list[tuple[int, Any]] = []

    def layer(self, width: int, depth: int) -> Any:
        """A layer or a model that takes `width` numbers, and keeps their count."""
        match self.rng.randrange(7 if depth else 5):
            case 0:
                return layers.Dense(width, activation=self.rng.choice([None, "relu"]))
            case 1:
                return layers.ReLU(
                    max_value=self.rng.choice([None, 0.0, 6.0]),
                    negative_slope=self.rng.choice([0.0, 0.25]),
                    threshold=self.rng.choice([0.0, 1.0]),
                )
            case 2:
                return layers.LeakyReLU(negative_slope=self.rng.choice([0.25, 0.5]))
            case 3:
                return layers.Activation(self.rng.choice(["relu", "relu6", "linear"]))
            case 4:
                return layers.Rescaling(self.rng.choice([0.5, 2.0]), offset=self.rng.choice([0.0, 1.0]))
            case 5:
                x = keras.Input((width,))
                return keras.Model(x, rounded(self.rng, self.layer(width, 0)(x)))
            case _:
                return self.nested(width, depth - 1)

    def nested(self, width: int, depth: int) -> keras.Model:
        """A functional model. It shares no layer with what is around it: Keras itself cannot open such a file."""
        x = keras.Input((width,))
        y = Random(self.rng).walk(x, width, depth, self.rng.randint(1, 3))
        return keras.Model(x, y)

    def walk(self, x: Any, width: int, depth: int, count: int) -> Any:
        """More layers behind `x`, some of them called before."""
        for _ in range(count):
            known = [item for n, item in self.shared if n == width]
            item = self.rng.choice(known) if known and self.rng.random() < 0.4 else self.layer(width, depth)
            self.shared.append((width, item))
            y = item(x)
            if (
                not isinstance(item, keras.Model) or self.rng.random() < 0.5
            ):  # nested ones round at their ends
                y = rounded(self.rng, y)
            match self.rng.randrange(4):
                case 0:
                    x = rounded(self.rng, layers.Add()([x, y]))
                case 1:
                    x = rounded(self.rng, layers.Subtract()([y, x]))
                case _:
                    x = y
        return x


def unknown_option(rng: random.Random, path: Path) -> str:
    """Put an option into one layer's configuration that no Keras has. Returns what was done."""
    with zipfile.ZipFile(path) as old:
        parts = {name: old.read(name) for name in old.namelist()}
    config = json.loads(parts["config.json"])
    found = [e for e in config["config"]["layers"] if e["class_name"] not in ("InputLayer", "Functional")]
    if not found:
        return ""
    entry = rng.choice(found)
    entry["config"]["novelty"] = rng.choice([1, "yes", 0.5, [1, 2]])
    parts["config.json"] = json.dumps(config).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as new:
        for name, data in parts.items():
            new.writestr(name, data)
    path.write_bytes(buffer.getvalue())
    return f"an unknown option of {entry['config'].get('name')}"


def case(rng: random.Random) -> ModelCase:
    """A random model and what Keras makes of it."""
    keras.utils.clear_session()
    r, width = Random(rng), rng.randint(2, 4)
    inputs = [keras.Input((width,), name=name) for name in rng.sample(["b", "a", "c"], rng.randint(1, 2))]
    results = [r.walk(x, width, 2, rng.randint(1, 3)) for x in inputs]
    if len(results) == 2 and rng.random() < 0.5:
        results = [layers.Subtract()(results), *results[:1]]
    outputs: Any = results if len(results) > 1 else results[0]
    names = rng.sample(["z", "y", "x"], len(results))
    if rng.random() < 0.5:
        outputs = dict(zip(names, results, strict=True))
    model = keras.Model(inputs, outputs)
    for v in model.variables:
        if v.path.endswith(("kernel", "bias")):
            v.assign(weights(rng, *v.shape))
    data = {x.name: rows(rng, width).astype(np.float32) for x in inputs}
    with torch.no_grad():
        found = model([data[x.name] for x in inputs])
    if isinstance(found, dict):  # Keras orders what is in a dict by its keys
        found = [found[k] for k in sorted(outputs)]
    answers = found if isinstance(found, list | tuple) else [found]
    expected = [keras.ops.convert_to_numpy(a) for a in answers]
    folder = TemporaryDirectory()
    path = Path(folder.name) / "model.keras"
    model.save(path)
    spoilt = unknown_option(rng, path) if rng.random() < 0.2 else ""

    def load(keep: Any = folder) -> Any:  # as long as it may be loaded
        return load_keras(path, input_types=FORMAT, compare=False)

    return ModelCase(model.to_json(), load, data, expected, spoilt)
