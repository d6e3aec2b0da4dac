#!/usr/bin/env python3
"""Train an HGQ2 network of 64-32-16-10 neurons on scikit-learn's digits, for benches that want one of Keras's.

    PEER_PYTHON tools/bench/digits_hgq2.py OUT.keras

Runs with a Python that has hgq2, keras, jax and scikit-learn. Every weight and every value has a format of its own,
which training shortens; ranges are traced on the training part, four fifths of the 1,797 images.
"""

from __future__ import annotations

import os
import sys

EPOCHS, BATCH = 300, 64
BETA = 1.5e-5  # what a bit times a bit costs


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import keras
    import numpy as np
    from hgq.config import LayerConfigScope, QuantizerConfigScope
    from hgq.layers import QDense
    from hgq.utils import trace_minmax
    from sklearn.datasets import load_digits

    keras.utils.set_random_seed(1)
    images, digits = load_digits(return_X_y=True)
    order = np.random.default_rng(1).permutation(len(digits))
    x, y = (images[order] / 16).astype(np.float32), digits[order]
    train = len(x) * 4 // 5
    with (
        LayerConfigScope(enable_ebops=True, beta0=BETA),
        QuantizerConfigScope(place="weight", homogeneous_axis=()),
        QuantizerConfigScope(place="datalane", homogeneous_axis=(0,)),
    ):
        hidden = [QDense(n, activation="relu") for n in (32, 16)]
        model = keras.Sequential([keras.Input((64,)), *hidden, QDense(10)])
    model.compile(
        optimizer=keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(5e-3, EPOCHS * train // BATCH)
        ),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    model.fit(x[:train], y[:train], batch_size=BATCH, epochs=EPOCHS, verbose=0)
    trace_minmax(model, x[:train], verbose=False)
    right = np.asarray(model.predict(x[train:], verbose=0)).argmax(-1) == y[train:]
    print(
        f"{100 * right.mean():.2f} % of {len(right)} images, {sum(int(v.ebops) for v in model.layers):,} EBOPs"
    )
    model.save(sys.argv[1])


if __name__ == "__main__":
    main()
