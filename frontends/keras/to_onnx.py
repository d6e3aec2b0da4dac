"""A float Keras model as Keras itself exports it to ONNX, in a process of its own: a file chooses no backend here.

`python -m lutc.frontends.keras.to_onnx MODEL ONNX` is that process. Only files whose every layer is one of Keras's own
classes come this far.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from lutc.diagnostics import error
from lutc.files.foreign import begins_with, first_line
from lutc.lowering.refusals import Refusal

from .calls import all_layers
from .functional import read_model
from .hdf5 import MAGIC
from .identity import family
from .legacy import read_h5
from .live import check_live
from .load import by_suffix

TIMEOUT = 600  # seconds
BACKENDS = {"torch": "torch", "tensorflow": "tensorflow"}  # those that Keras exports ONNX from
HELP = "export it to ONNX yourself, model.export(path, format='onnx'), and quantise that file"


def exported(source: Any) -> Any:
    """A model, in a file or live, as an `onnx.ModelProto`.

    Raises LirError for layers that are none of Keras's own, and where Keras cannot export it.
    """
    if isinstance(source, str | os.PathLike):
        return _of_file(Path(source))
    check_live(source)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.keras"
        try:
            source.save(file)
        except Exception as e:  # Keras asks every object of the model for its configuration
            raise error(f"Keras cannot save it: {first_line(e)}", where=str(source.name), help=HELP) from None
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
    lacking = [n for n in ("keras", "onnxscript", "onnx") if importlib.util.find_spec(n) is None]
    backend = next((b for b, package in BACKENDS.items() if importlib.util.find_spec(package)), None)
    if lacking or backend is None:
        what = ", ".join(lacking) or "PyTorch or TensorFlow behind Keras"
        raise error(
            f"exporting it to ONNX needs {what}", where=str(path), help="pip install keras torch onnxscript"
        )
    return _elsewhere(path, backend)


def _elsewhere(path: Path, backend: str) -> Any:
    import onnx

    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "model.onnx"
        environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
        try:
            done = subprocess.run(
                [sys.executable, "-m", __name__, str(path.resolve()), str(made)],
                capture_output=True,
                text=True,
                env=environment,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                timeout=TIMEOUT,
            )
        except subprocess.TimeoutExpired:
            raise error(f"Keras has not exported it within {TIMEOUT} s", where=str(path), help=HELP) from None
        if done.returncode or not made.exists():
            reason = (done.stderr.strip() or "it ended without a word").splitlines()[-1]
            raise error(f"Keras cannot export it to ONNX: {reason}", where=str(path), help=HELP)
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
