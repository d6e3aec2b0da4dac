"""`load_keras`: a `.keras` file, or a live model, as a design."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lutc.files.foreign import begins_with
from lutc.ir.graph import Design
from lutc.lowering.compare import compared, not_compared

from . import H5_SUFFIXES
from .archive import Archive, read_archive
from .calls import all_layers
from .floats import float_model
from .functional import read_model
from .hdf5 import MAGIC
from .identity import family
from .legacy import read_h5
from .live import saved
from .peer import KerasFramework, available
from .to_design import lower_model


def load_keras(
    path: Any,
    calibrate: Any = None,
    input_types: Mapping[str, Any] | Sequence[Any] | str | None = None,
    compare: bool = True,
) -> Design:
    """A Keras model (plain, HGQ2 or QKeras) as a bit-exact design.

    `path` names a `.keras` or `.h5` file, or is a live `keras.Model`. `calibrate` is data `(batch, *shape)` for one
    input, or a list or dict of them for several: the ranges of wrapping quantisers are traced on it. `input_types`
    gives formats (`"s8f4"`, or a whole type) to inputs that no quantiser rounds; others get theirs from the quantisers.

    The design's notes tell what a user should know: untraced ranges, sums beyond float32, entries near a tie. With
    `compare` it is compared with the model as Keras runs it, if Keras is installed. Raises LirError with every layer
    that cannot be compiled exactly (its name, type, reason and a way out), for a model that nothing quantises with the
    ways to do so, and where Keras answers otherwise.
    """
    if isinstance(path, str | os.PathLike):
        return _loaded(Path(path), None, calibrate, input_types, compare)
    with saved(path, "build it of Keras's own objects") as file:
        return _loaded(file, path, calibrate, input_types, compare)


def _loaded(file: Path, live: Any, calibrate: Any, input_types: Any, compare: bool) -> Design:
    # By what the file holds: older versions of TensorFlow write HDF5 under any name.
    archive = read_h5(file) if begins_with(file, MAGIC) else by_suffix(file)
    model = read_model(archive)
    whole = partial(float_model, model, model.name, None if live is not None else str(file))
    found = lower_model(model, file.name, calibrate, input_types, whole)
    if not compare:
        return not_compared(found.design, "it was not asked for")
    reason = available()
    if any(family(layer) == "qkeras" for layer in all_layers(model)):
        reason = "QKeras runs on Keras 2 only"
    if reason:
        return not_compared(found.design, reason)
    peer = KerasFramework(file, found.ports, found.keys, live, found.calibration)
    return compared(found.design, peer, file.name, found.look)


def by_suffix(path: Path) -> Archive:
    """A file that does not begin as HDF5 does."""
    if path.suffix in H5_SUFFIXES and not begins_with(path, b"PK"):
        return read_h5(path)
    return read_archive(path)
