"""Keras, with HGQ2 where a model has its layers, running a model by itself.

A live model runs where it is. A file is opened by Keras itself: here if Keras is loaded already, else in a process of
its own, so that lutc never chooses somebody's backend. `python -m lutc.frontends.keras.peer` is that process. Only
files whose every layer an importer's rule has taken come this far, which names no class but Keras's and HGQ2's own.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutc.lowering.compare import CannotRun

from .functional import leaves

BACKENDS = {"torch": "torch", "jax": "jax", "tensorflow": "tensorflow"}
TIMEOUT = 600  # seconds, after which the process is given up


@dataclass(frozen=True)
class KerasFramework:
    """A model, live or in a file. `ports` gives the design's ports by the names of the model's inputs.

    `keys` are the paths of the model's outputs in what it returns, in the order of the design's. On `calibration`
    data, by input name, ranges are traced by HGQ2 before.
    """

    path: Path
    ports: Mapping[str, str]
    keys: Sequence[Sequence[Any]]
    live: Any = None
    calibration: Mapping[str, Any] | None = None

    @property
    def name(self) -> str:
        """With the version that is installed."""
        from importlib.metadata import version

        return f"Keras {version('keras')}"

    def run(self, inputs: Mapping[str, NDArray[Any]], double: bool) -> Sequence[NDArray[Any]]:
        """See `lutc.lowering.compare.Framework`."""
        given = [inputs.get(port) for port in self.ports.values()]
        if self.live is None or self.calibration is not None:
            return self._file(given, double)
        own = answers(self.live, given, self.keys)
        if not double:
            return own
        # Doubles come from the file, so the file has to be the model: Keras may save less than there is.
        saved = self._file(given, False)
        if not all(np.array_equal(a, b, equal_nan=True) for a, b in zip(own, saved, strict=True)):
            raise CannotRun("what Keras saves of it answers otherwise than the model itself")
        return self._file(given, True)

    def _file(self, given: Sequence[Any], double: bool) -> Sequence[NDArray[Any]]:
        ask = opened if "keras" in sys.modules else _elsewhere
        return ask(self.path, given, self.keys, double, self._samples())

    def _samples(self) -> list[Any] | None:
        return None if self.calibration is None else [self.calibration[name] for name in self.ports]


def answers(model: Any, given: Sequence[Any], keys: Sequence[Sequence[Any]]) -> list[NDArray[Any]]:
    """What a model says to samples (None for an input that nothing reads), in Keras's order, output by output."""
    import keras

    dtype, structure = keras.config.floatx(), _inputs(model)
    rows = next((len(x) for x in given if x is not None), 1)
    tensors = {}
    for t, x in zip(leaves(structure), given, strict=True):
        kind = t.dtype if "int" in t.dtype or t.dtype == "bool" else dtype
        tensors[id(t)] = np.zeros((rows, *t.shape[1:]), kind) if x is None else x.astype(kind)
    found = _asked(model, keras.tree.map_structure(lambda t: tensors[id(t)], structure), training=False)
    results = []
    for key in keys:
        result = found
        for step in key:  # Keras gives the only output of a list without the list
            result = result[step] if isinstance(result, list | tuple | dict) else result
        results.append(np.asarray(keras.ops.convert_to_numpy(result)))
    return results


def _inputs(model: Any) -> Any:
    """The model's inputs as it nests them. With PyTorch behind it, a sequential model tells them as a list alone."""
    try:
        return model.input
    except AttributeError:
        return model.inputs[0] if len(model.inputs) == 1 else list(model.inputs)


def _asked(what: Any, *args: Any, **kwargs: Any) -> Any:
    """Call something of Keras's. Raises CannotRun with what it says."""
    try:
        return what(*args, **kwargs)
    except Exception as e:  # whatever Keras and its backends raise
        raise CannotRun((str(e).strip() or type(e).__name__).splitlines()[0]) from None


def opened(
    path: Path,
    given: Sequence[Any],
    keys: Sequence[Sequence[Any]],
    double: bool,
    calibration: Sequence[Any] | None = None,
) -> list[NDArray[Any]]:
    """The answers of a model in a file, in this process. Raises CannotRun."""
    import keras

    with tempfile.TemporaryDirectory() as folder, _floats(keras, "float64" if double else "float32"):
        file = _doubled(path, Path(folder)) if double else path
        options = {"custom_objects": _classes(), "compile": False, "safe_mode": True}
        model = _asked(keras.models.load_model, file, **options)
        if calibration is not None:
            trace = importlib.import_module("hgq.utils").trace_minmax
            data = [np.asarray(c, np.float32) for c in calibration]
            _asked(trace, model, data[0] if len(data) == 1 else data, verbose=0)
        return answers(model, given, keys)


@contextlib.contextmanager
def _floats(keras: Any, kind: str) -> Iterator[None]:
    was, policy = keras.config.floatx(), keras.config.dtype_policy()
    if kind == "float64" and keras.config.backend() == "jax" and os.environ.get("JAX_ENABLE_X64") != "1":
        raise CannotRun("JAX has no doubles unless JAX_ENABLE_X64=1")
    keras.config.set_floatx(kind)
    keras.config.set_dtype_policy(kind)
    try:
        yield
    finally:
        keras.config.set_floatx(was)
        keras.config.set_dtype_policy(policy)


def _classes() -> dict[str, Any]:
    """Layers that HGQ2's versions registered under other names."""
    if importlib.util.find_spec("hgq") is None:
        return {}
    layers = importlib.import_module("hgq.layers")
    names = [n for n in dir(layers) if n.startswith("Q") and isinstance(getattr(layers, n), type)]
    return {prefix + n: getattr(layers, n) for n in names for prefix in ("", "hgq>", "hgq2>")}


def _doubled(path: Path, folder: Path) -> Path:
    """The file with float64 wherever its configuration says float32."""
    if path.suffix != ".keras":
        raise CannotRun("a file of Keras 2 keeps its float type")

    def widened(tree: Any) -> Any:
        if isinstance(tree, dict):
            return {k: widened(v) for k, v in tree.items()}
        if isinstance(tree, list):
            return [widened(v) for v in tree]
        return "float64" if tree == "float32" else tree

    twin = folder / "double.keras"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(twin, "w") as new:
        for name in ("metadata.json", "config.json", "model.weights.h5"):
            data = old.read(name)
            new.writestr(name, json.dumps(widened(json.loads(data))) if name == "config.json" else data)
    return twin


def available() -> str | None:
    """Why Keras cannot be asked here; None if it can."""
    if "keras" in sys.modules:
        return None
    if importlib.util.find_spec("keras") is None:
        return "the package keras is not installed"
    if _backend() is None:
        return "Keras has no backend here (PyTorch, JAX or TensorFlow)"
    return None


def _backend() -> str | None:
    asked = os.environ.get("KERAS_BACKEND")
    names = [asked] if asked else list(BACKENDS)
    return next((n for n in names if importlib.util.find_spec(BACKENDS.get(n, n)) is not None), None)


def elsewhere(
    module: str, arguments: Sequence[str], folder: str, made: Path, environment: Mapping[str, str]
) -> None:
    """Run a module in a process of its own, in a folder, until it has made a file. Raises CannotRun."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            capture_output=True,
            text=True,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            timeout=TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        raise CannotRun(f"it has not answered within {TIMEOUT} s") from None
    if done.returncode or not made.exists():
        raise CannotRun((done.stderr.strip() or "it ended without a word").splitlines()[-1])


def _elsewhere(
    path: Path,
    given: Sequence[Any],
    keys: Sequence[Sequence[Any]],
    double: bool,
    calibration: Sequence[Any] | None,
) -> list[NDArray[Any]]:
    """The answers of a model in a file, in a process of its own. Raises CannotRun."""
    backend = _backend()
    environment = {"JAX_ENABLE_X64": "1"}
    if backend is not None:
        environment["KERAS_BACKEND"] = backend
    with tempfile.TemporaryDirectory() as folder:
        asked_with, made = Path(folder) / "in.npz", Path(folder) / "out.npz"
        arrays: dict[str, Any] = {f"x{i}": x for i, x in enumerate(given) if x is not None}
        arrays |= {f"c{i}": c for i, c in enumerate(calibration or [])}
        np.savez(asked_with, **arrays)
        asked = json.dumps(
            {
                "path": str(path.resolve()),
                "keys": [list(k) for k in keys],
                "double": double,
                "inputs": len(given),
                "calibration": None if calibration is None else len(calibration),
            }
        )
        elsewhere(__name__, [asked, str(asked_with), str(made)], folder, made, environment)
        with np.load(made) as found:
            return [found[str(i)] for i in range(len(keys))]


def _main(asked: str, given: str, made: str) -> None:
    question = json.loads(asked)
    with np.load(given) as arrays:
        inputs = [arrays.get(f"x{i}") for i in range(question["inputs"])]
        count = question["calibration"]
        calibration = None if count is None else [arrays[f"c{i}"] for i in range(count)]
    with contextlib.redirect_stdout(io.StringIO()):
        found = opened(Path(question["path"]), inputs, question["keys"], question["double"], calibration)
    named: dict[str, Any] = {str(i): a for i, a in enumerate(found)}
    np.savez(made, **named)


if __name__ == "__main__":
    try:
        _main(*sys.argv[1:])
    except Exception as e:  # whatever Keras and its backends raise: the other process tells
        sys.exit(
            f"{type(e).__name__}: {str(e).strip().splitlines()[0] if str(e).strip() else 'no reason given'}"
        )
