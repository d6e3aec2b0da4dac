"""A live model before it is saved: what a file cannot tell is looked at here.

The file names classes and functions. On the objects one can see whether they still compute what these names mean: a
method put on an instance or on Keras's class, a hook, a user's function that is called like one of Keras's.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FunctionType
from typing import Any

from lutc.diagnostics import error
from lutc.files.foreign import first_line
from lutc.lowering.refusals import Refusal, Refusals

HOMES = ("keras", "hgq", "qkeras")
METHODS = ("call", "__call__", "forward")
HOOKS = ("_forward_hooks", "_forward_pre_hooks")


@contextmanager
def saved(model: Any, help: str) -> Iterator[Path]:
    """A live model that was looked at, as a file for the time of the block. Raises LirError if Keras cannot save it."""
    check_live(model)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.keras"
        try:
            model.save(file)
        except Exception as e:  # Keras asks every object of the model for its configuration
            raise error(f"Keras cannot save it: {first_line(e)}", where=str(model.name), help=help) from None
        yield file


def check_live(model: Any) -> None:
    """Raise LirError for every layer that computes otherwise than its class says."""
    wrong = Refusals()
    for chain in [model, *model._flatten_layers()]:
        with wrong.at(f"{model.name}: model {chain.name!r}"):
            _check_chain(chain)
    for layer in model._flatten_layers():
        with wrong.at(f"{model.name}: layer {layer.name!r} ({type(layer).__name__})"):
            _check(layer)
    wrong.check()


def _check_chain(model: Any) -> None:
    """Raise Refusal for a sequential model with a layer in two places: Keras saves it in the first alone."""
    if type(model).__name__ != "Sequential":
        return
    seen: set[int] = set()
    for layer in model._layers:
        if id(layer) in seen:
            raise Refusal(
                f"holds the layer {layer.name!r} twice, of which Keras saves only the first",
                "give each place a layer of its own, or call the layer twice in a functional model",
            )
        seen.add(id(layer))


def _check(layer: Any) -> None:
    if not _ours(type(layer)):
        raise Refusal(
            f"it is a class of its own ({type(layer).__module__}.{type(layer).__name__}), which may compute anything",
            "build the model from the layers of Keras, HGQ2 or QKeras",
        )
    for name in METHODS:
        if name in vars(layer) or not _ours(getattr(type(layer), name, type(layer))):
            raise Refusal(f"its method {name} is not the one of its class", "leave Keras's method in place")
    if any(getattr(layer, hooks, None) for hooks in HOOKS):
        raise Refusal("it has a hook, which may change what it computes", "remove the hook before compiling")
    for name in ("activation", "_activation", "subnn_activation"):
        fn = getattr(layer, name, None)
        if isinstance(fn, FunctionType) and not (_ours(fn) and _itself(fn)):
            raise Refusal(
                f"its activation is a function of the user's own, {fn.__module__}.{fn.__qualname__}",
                "use a named Keras activation of one number, such as tanh, sigmoid or gelu",
            )


def _itself(fn: FunctionType) -> bool:
    """Whether a function is the one of its name: a wrapper takes the name over from what it wraps."""
    found: Any = sys.modules.get(fn.__module__)
    for part in fn.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is fn


def _ours(what: Any) -> bool:
    return str(getattr(what, "__module__", "keras")).split(".")[0] in (
        *HOMES,
        "torch",
        "tensorflow",
        "jax",
        "flax",
    )
