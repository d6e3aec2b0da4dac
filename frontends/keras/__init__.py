"""Keras models, plain, with HGQ2 and with QKeras: from `.keras` and `.h5` files or live.

None of these packages is needed to read a file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lutc.ir.graph import Design
from lutc.plugins import LoadOptions

if TYPE_CHECKING:
    from .load import load_keras

__all__ = ["FRONTEND", "load_keras"]

H5_SUFFIXES = (".h5", ".hdf5")


def __getattr__(name: str) -> Any:
    """What reads models is imported when first used: others are asked, too, whose model a file is."""
    if name == "load_keras":
        from .load import load_keras

        return load_keras
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class _Keras:
    name = "keras"
    suffixes = (".keras", *H5_SUFFIXES)

    def matches(self, source: object) -> bool:
        """Whether it is a `keras.Model`, judged by the names of its classes: Keras need not be there to say no."""
        return any(
            c.__name__ == "Model" and c.__module__.split(".")[0] == "keras" for c in type(source).__mro__
        )

    def load(self, source: Any, options: LoadOptions) -> Design:
        from .load import load_keras

        options.only("input_types", "calibrate", kind="a Keras model")
        return load_keras(source, options.calibrate, options.input_types or None, options.compare)

    def as_onnx(self, source: Any, example_inputs: Any = None) -> Any:
        """The model as Keras exports it to ONNX. Raises LirError for one with layers that are not Keras's own."""
        from .to_onnx import exported

        return exported(source)


FRONTEND = _Keras()
