"""Keras models, plain, with HGQ2 and with QKeras: from `.keras` and `.h5` files or live.

None of these packages is needed to read a file.
"""

from __future__ import annotations

from typing import Any

from lutc.graph import Design
from lutc.plugins import LoadOptions

from .legacy import H5_SUFFIXES
from .load import load_keras

__all__ = ["FRONTEND", "load_keras"]


class _Keras:
    name = "keras"
    suffixes = (".keras", *H5_SUFFIXES)

    def matches(self, source: object) -> bool:
        """Whether it is a `keras.Model`, judged by the names of its classes: Keras need not be there to say no."""
        return any(
            c.__name__ == "Model" and c.__module__.split(".")[0] == "keras" for c in type(source).__mro__
        )

    def load(self, source: Any, options: LoadOptions) -> Design:
        return load_keras(source, options.calibrate, options.input_types or None)


FRONTEND = _Keras()
