"""`load_keras`: a `.keras` file, or a live model, as a design."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lutc.graph import Design

from . import H5_SUFFIXES
from .archive import read_archive
from .graph import read_model
from .legacy import read_h5
from .live import check_live
from .lower import lower_model


def load_keras(
    path: Any, calibrate: Any = None, input_types: Mapping[str, Any] | Sequence[Any] | str | None = None
) -> Design:
    """A Keras model (plain, HGQ2 or QKeras) as a bit-exact design.

    `path` names a `.keras` or `.h5` file, or is a live `keras.Model`. `calibrate` is data `(batch, *shape)` for one
    input, or a list or dict of them for several: the ranges of wrapping quantisers are traced on it. `input_types`
    gives formats (`"s8f4"`, or a whole type) to inputs that no quantiser rounds; others get theirs from the quantisers.

    The design's notes tell what a user should know: untraced ranges, sums beyond float32, entries near a tie. Raises
    LirError with every layer that cannot be compiled exactly: its name, type, reason and a way out.
    """
    if not isinstance(path, str | os.PathLike):
        check_live(path)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "model.keras"
            path.save(file)
            return load_keras(file, calibrate, input_types)
    archive = read_h5(path) if Path(path).suffix in H5_SUFFIXES else read_archive(path)
    return lower_model(read_model(archive), Path(path).name, calibrate, input_types)
