"""A float Keras model as Keras itself exports it to ONNX, in a process of its own: a file chooses no backend here.

`python -m lutc.frontends.keras.to_onnx MODEL ONNX` is that process. Only files whose every layer is one of Keras's own
classes come this far.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from lutc.diagnostics import error
from lutc.files.foreign import begins_with, first_line
from lutc.lowering.compare import CannotRun
from lutc.lowering.refusals import Refusal

from .calls import all_layers
from .functional import read_model
from .hdf5 import MAGIC
from .identity import family
from .legacy import read_h5
from .live import saved
from .load import by_suffix
from .peer import elsewhere

EXPORTERS = {"torch": "onnxscript", "tensorflow": "tf2onnx"}  # what Keras exports ONNX with, by its backend
HELP = "export it to ONNX yourself, model.export(path, format='onnx'), and quantise that file"


def exported(source: Any) -> Any:
    """A model, in a file or live, as an `onnx.ModelProto`.

    Raises LirError for layers that are none of Keras's own, and where Keras cannot export it.
    """
    if isinstance(source, str | os.PathLike):
        return _of_file(Path(source))
    with saved(source, HELP) as file:
        return _of_file(file)


def _of_file(path: Path) -> Any:
    archive = read_h5(path) if begins_with(path, MAGIC) else by_suffix(path)
    for layer in all_layers(read_model(archive)):
        try:
            whose = family(layer)
        except Refusal as cause:
            raise error(f"{layer.name} ({layer.kind}): {cause.reason}", where=str(path), help=HELP) from None
        if whose not in ("keras", "ops"):
            raise error(
                f"{layer.name} ({layer.kind}) is of {whose}, which quantises by training",
                where=str(path),
                help="compile it as it is: lutc compile",
            )
    asked = os.environ.get("KERAS_BACKEND")
    backends = [asked] if asked in EXPORTERS else list(EXPORTERS)
    ready = [b for b in backends if all(map(importlib.util.find_spec, ("keras", "onnx", b, EXPORTERS[b])))]
    if not ready:
        needed = " or ".join(f"{b} with {EXPORTERS[b]}" for b in backends)
        raise error(
            f"exporting it to ONNX needs Keras, onnx, and {needed}",
            where=str(path),
            help="pip install keras torch onnxscript",
        )
    return _elsewhere(path, ready[0])


def _elsewhere(path: Path, backend: str) -> Any:
    import onnx

    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "model.onnx"
        try:
            elsewhere(__name__, [str(path.resolve()), str(made)], folder, made, {"KERAS_BACKEND": backend})
        except CannotRun as reason:
            raise error(f"Keras cannot export it to ONNX: {reason}", where=str(path), help=HELP) from None
        return onnx.load(str(made))


def _main(path: str, made: str) -> None:
    import keras

    model = keras.models.load_model(path, compile=False, safe_mode=True)
    given = keras.tree.map_structure(lambda t: keras.ops.zeros((1, *t.shape[1:]), t.dtype), model.inputs)
    model(given[0] if len(given) == 1 else given)  # a model that was never called has no shapes to export
    model.export(made, format="onnx", verbose=False)


if __name__ == "__main__":
    try:
        _main(*sys.argv[1:])
    except Exception as e:  # whatever Keras and its backends raise: the other process tells
        sys.exit(f"{type(e).__name__}: {first_line(e)}")
