"""The HGQ2 side of magic_front.py, run by a Python that has hgq2, keras and jax: recipe and answer are JSON.

Reads the recipe from standard input, writes the traced models into its folder, and prints a row per record: of the
weights as they are, and of the running mean that Keras's optimiser keeps of them.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import hgq
import keras
import numpy as np
from hgq.config import LayerConfigScope, QuantizerConfigScope
from hgq.layers import QDenseT
from hgq.utils import trace_minmax
from hgq.utils.sugar import BetaScheduler

sys.path.insert(0, str(Path(__file__).parents[2]))
from lutc.nn.datasets import Arrays, magic_gamma
from tools.bench.magic_recipe import Recipe, Row, surrogate


class Adam(keras.optimizers.Adam):  # type: ignore[misc]
    """Keeps the running mean, and does not put it in the weights' place when ``fit`` returns."""

    def finalize_variable_values(self, var_list: Any) -> None:
        pass

    def means(self) -> Any:
        """By trainable variable, as arrays of their own."""
        return [np.array(keras.ops.convert_to_numpy(v)) for v in self._model_variables_moving_average]


class Batches(keras.utils.PyDataset):  # type: ignore[misc]
    """Whole batches of the training data, in a new order every epoch."""

    def __init__(self, data: Arrays, batch: int, seed: int) -> None:
        super().__init__()
        self.x, self.y = data
        self.batch, self.rng = batch, np.random.default_rng(seed)
        self.on_epoch_end()

    def __len__(self) -> int:
        return len(self.x) // self.batch

    def __getitem__(self, k: int) -> Arrays:
        rows = self.order[k * self.batch : (k + 1) * self.batch]
        return self.x[rows], self.y[rows]

    def on_epoch_end(self) -> None:
        self.order = self.rng.permutation(len(self.x))


def build(recipe: Recipe, n_in: int) -> Any:
    """n_in -> hidden -> 2, with formats of their own on every edge."""
    with (
        LayerConfigScope(enable_ebops=True, beta0=recipe.beta_first),
        QuantizerConfigScope(place="table", homogeneous_axis=(0,), heterogeneous_axis=None),
        QuantizerConfigScope(place="datalane", homogeneous_axis=(0,), heterogeneous_axis=None),
    ):
        layers = [QDenseT(n, n_hl=1, d_hl=8, batch_norm=True) for n in (recipe.hidden, 2)]
        model = keras.Sequential([keras.Input((n_in,)), *layers])
    rate = keras.optimizers.schedules.CosineDecayRestarts(recipe.lr, recipe.period, t_mul=1.0, m_mul=1.0)
    model.compile(
        optimizer=Adam(rate, epsilon=1e-8, use_ema=True, ema_momentum=recipe.average),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return model


def accuracy(model: Any, data: Arrays) -> float:
    logits = np.asarray(model.predict(data[0], batch_size=4096, verbose=0))
    return float((logits.argmax(-1) == data[1]).mean())


def record(model: Any, parts: dict[str, Arrays], epoch: int, file: Path, mean: bool) -> Row:
    """The model with its ranges traced on the training data; training goes on with what it had."""
    before = model.get_weights()
    if mean:
        for variable, value in zip(model.trainable_variables, model.optimizer.means(), strict=True):
            variable.assign(value)
    trace_minmax(model, parts["train"][0], batch_size=4096)
    widths = []
    for layer in model.layers:
        shape = (1, layer.n_in, layer.n_out)
        found = (layer.iq.fbits_(shape), layer.toq.fbits_(shape))
        widths.append(tuple(keras.ops.convert_to_numpy(v) for v in found))
    model.save(file)
    row = Row(
        epoch,
        accuracy(model, parts["validation"]),
        accuracy(model, parts["test"]),
        surrogate(widths),
        float(sum(int(layer.ebops) for layer in model.layers)),
        file.name,
    )
    model.set_weights(before)
    return row


def main() -> None:
    recipe = Recipe(**json.loads(sys.stdin.read()))
    keras.utils.set_random_seed(recipe.seed)
    parts = magic_gamma(recipe.data)
    model = build(recipe, parts["train"][0].shape[1])
    batches = Batches(parts["train"], recipe.batch, recipe.seed)
    weight = BetaScheduler(lambda epoch: recipe.beta(epoch * recipe.steps_per_epoch))
    kinds: dict[str, list[Row]] = {"rows": [], "mean_rows": []}
    spent = 0.0
    for epoch in range(0, recipe.epochs, recipe.every):
        start = time.process_time()
        log = model.fit(
            batches,
            initial_epoch=epoch,
            epochs=epoch + recipe.every,
            callbacks=[weight],
            shuffle=False,
            verbose=0,
        )
        spent += time.process_time() - start
        if not math.isfinite(log.history["loss"][-1]):
            sys.exit(f"the loss is not finite after epoch {epoch + recipe.every}")
        for kind, rows in kinds.items():
            file = Path(recipe.folder) / f"{kind}_{epoch + recipe.every:06d}.keras"
            rows.append(record(model, parts, epoch + recipe.every, file, kind == "mean_rows"))
            print(rows[-1], file=sys.stderr, flush=True)
    backend = keras.backend.backend()
    versions = {"hgq2": hgq.__version__, "keras": keras.__version__, backend: version(backend)}
    told = {kind: [r.__dict__ for r in rows] for kind, rows in kinds.items()}
    print(json.dumps({**told, "cpu_s": round(spent, 1), "versions": versions}))


if __name__ == "__main__":
    main()
