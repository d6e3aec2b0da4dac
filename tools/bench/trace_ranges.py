#!/usr/bin/env python3
"""Trace an HGQ2 model's wrapping quantisers on samples and save it again, so that every compiler gets the same model.

    PEER_PYTHON tools/bench/trace_ranges.py MODEL.keras SAMPLES.npz OUT.keras [ARRAY ...]

Runs with the Python that has keras and hgq2. SAMPLES holds one array per model input: ARRAY are their names, in the
order of the inputs (else in0, in1 and so on).
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    source, samples, target, *names = sys.argv[1:]
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import hgq.layers
    import keras
    import numpy as np
    from hgq.utils import trace_minmax

    # Models saved by older releases name this layer without its package.
    own = {"QDenseT": hgq.layers.QDenseT, "hgq2>QDenseT": hgq.layers.QDenseT}
    model = keras.models.load_model(source, custom_objects=own, compile=False)
    with np.load(samples) as data:
        names = names or [f"in{i}" for i in range(len(model.inputs))]
        arrays = [data[name] for name in names]
    shapes = [tuple(i.shape[1:]) for i in model.inputs]
    if [a.shape[1:] for a in arrays] != shapes:
        sys.exit(f"the model's inputs have shapes {shapes}, the samples {[a.shape[1:] for a in arrays]}")
    trace_minmax(model, arrays if len(arrays) > 1 else arrays[0], verbose=False)
    model.save(target)


if __name__ == "__main__":
    main()
