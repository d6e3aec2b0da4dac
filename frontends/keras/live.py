"""A live model before it is saved: what a file cannot tell is looked at here.

The file names classes and functions. On the objects one can see whether they still compute what these names mean: a
method put on an instance or on Keras's class, a hook, a user's function that is called like one of Keras's.
"""

from __future__ import annotations

from types import FunctionType
from typing import Any

from ..importer import Refusal, Refusals

HOMES = ("keras", "hgq", "qkeras")
METHODS = ("call", "__call__", "forward")
HOOKS = ("_forward_hooks", "_forward_pre_hooks")


def check_live(model: Any) -> None:
    """Raise LirError for every layer that computes otherwise than its class says."""
    wrong = Refusals()
    for layer in model._flatten_layers():
        with wrong.at(f"{model.name}: layer {layer.name!r} ({type(layer).__name__})"):
            _check(layer)
    wrong.check()


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
        if isinstance(fn, FunctionType) and not _ours(fn):
            raise Refusal(
                f"its activation is a function of the user's own, {fn.__module__}.{fn.__qualname__}",
                "use a named Keras activation of one number, such as tanh, sigmoid or gelu",
            )


def _ours(what: Any) -> bool:
    return str(getattr(what, "__module__", "keras")).split(".")[0] in (
        *HOMES,
        "torch",
        "tensorflow",
        "jax",
        "flax",
    )
