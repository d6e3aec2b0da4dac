"""Every argument of every operation of `keras.ops` that lutc reads, every activation, and arguments of calls."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from keras_options import Make, Refused, k, posed, rounded, weighted
from keras_zoo import functional, keras
from settings import Setting

from lutc.frontends.keras.functional import _snake
from lutc.frontends.keras.kerasops import MOVES, OPS
from lutc.frontends.keras.unary import FUNCTIONS

ops = keras.ops
BATCH = "it mixes samples"
CONSTANTS = [
    0.5,
    2,
    np.float32(0.3),
    np.array([[0.5, 1, 2, -1]], "float32"),
    np.arange(16, dtype="float32").reshape(1, 4, 4),
]
HIGHER = [Refused(np.ones((3, 1, 4, 4), "float32"), BATCH), Refused(np.ones((2, 4, 4), "float32"), BATCH)]

# By argument; an operation in front (`max.axis`) where it has values of its own.
VALUES: dict[str, list[Any]] = {
    "axis": [1, -1, 2, Refused(0, BATCH), Refused(-3, BATCH)],
    "keepdims": [False, True],
    "initial": [None, Refused(3.0, "a number of its own")],
    "newshape": [
        (-1, 16),
        (-1, 2, 8),
        (-1, 4, 2, 2),
        Refused((2, -1), BATCH),
        Refused((-1, 8), BATCH),
        Refused((3, -1), BATCH),
    ],
    "axes": [(0, 2, 1), Refused((1, 0, 2), BATCH), Refused(None, BATCH)],
    "shift": [1, -2, 5],
    "repeats": [1, 3],
    "tile.repeats": [(1, 2, 1), (1, 1, 3), Refused((2, 1, 1), BATCH), 2],
    "axis1": [1, Refused(0, BATCH)],
    "axis2": [2, Refused(0, BATCH)],
    "source": [1, -1, Refused(0, BATCH)],
    "destination": [2, 1, Refused(0, BATCH)],
    "broadcast_to.shape": [],
    "indices": [0, [0, 2], np.array([[1, 0], [3, 3]]), -1],
    "indices_or_sections": [2, 4, [1], [1, 3]],
    "pad_width": [[[0, 0], [1, 0], [0, 2]], Refused(1, BATCH), Refused([[1, 0], [0, 0], [0, 0]], BATCH)],
    "mode": ["constant", Refused("reflect", "no zeros"), Refused("edge", "no zeros")],
    "constant_values": [None, 0, Refused(1.0, "another number")],
    "x_min": [-1.0, 0, None, -100],
    "x_max": [1.0, 3, None, 100],
    "alpha": [1.0, 0.5],
    "approximate": [True, False],
    "threshold": [0.5, 0.25],
    "default_value": [0.0, -1.0],
    "negative_slope": [0.2, 0.25, 0.0],
    "b": [4, 1],
    "decimals": [0, Refused(1, "another step")],
    "x2": [*CONSTANTS, *HIGHER],
    "matmul.x2": [
        np.arange(8, dtype="float32").reshape(4, 2) / 2,
        Refused(np.arange(4, dtype="float32"), "a vector"),
    ],
    "argmax.axis": [-1, 2, Refused(1, "not the last"), Refused(0, BATCH), Refused(None, BATCH)],
    "softmax.axis": [Refused(1, "not the last"), Refused(0, BATCH)],
    "log_softmax.axis": [Refused(1, "not the last")],
    "expand_dims.axis": [1, 2, -1, 3, Refused(0, BATCH)],
    "stack.axis": [1, 2, -1, Refused(0, BATCH)],
    "squeeze.axis": [],
    "flip.axis": [1, 2, -1, (1, 2), Refused(0, BATCH), Refused(None, BATCH), Refused((0, 1), BATCH)],
    "roll.axis": [1, 2, Refused(0, BATCH), Refused(None, BATCH)],
    **{
        f"{o}.axis": [1, 2, -1, (1, 2), Refused(0, BATCH), Refused((0, 1), BATCH), Refused(None, BATCH)]
        for o in ("max", "min", "amax", "amin", "sum", "mean")
    },
    "where.x1": [],
    "where.x2": [],
    "subscripts": [
        "bij,jk->bik",
        "bij,jk",
        "b i j, j k -> b k i",
        "...j,jk->...k",
        Refused("bij,jk->jk", BATCH),
        Refused("bij,jk->ibk", "the batch is not first"),
    ],
    "key": [
        (slice(None), 1),
        (slice(None), slice(1, None)),
        (Ellipsis, -1),
        (slice(None), None, slice(None, None, 2)),
        slice(None),
        Refused(0, BATCH),
        Refused((slice(0, 1),), BATCH),
        Refused((slice(-1, None),), BATCH),
        Refused((slice(None, None, -1),), BATCH),
        Refused((None,), BATCH),
    ],
}
BASE: dict[str, dict[str, Any]] = {
    "reshape": {"newshape": (-1, 16)},
    "expand_dims": {"axis": 1},
    "flip": {"axis": 1},
    "roll": {"shift": 1, "axis": 1},
    "repeat": {"repeats": 2, "axis": 1},
    "tile": {"repeats": (1, 2, 1)},
    "swapaxes": {"axis1": 1, "axis2": 2},
    "moveaxis": {"source": 1, "destination": 2},
    "take": {"indices": [1, 0], "axis": 1},
    "split": {"indices_or_sections": 2, "axis": 1},
    "pad": {"pad_width": [[0, 0], [1, 2], [0, 1]]},
    "clip": {"x_min": -1.0, "x_max": 1.5},
    "threshold": {"threshold": 0.5, "default_value": -1.0},
    "concatenate": {"axis": 1},
    "argmax": {"axis": -1},
    "transpose": {"axes": (0, 2, 1)},
    "softmax": {},
    **{o: {"axis": 1} for o in ("max", "min", "amax", "amin", "sum", "mean")},
}
PAIRS: tuple[str, ...] = (
    "add",
    "subtract",
    "multiply",
    "maximum",
    "minimum",
    "divide",
    "true_divide",
    "greater",
    "greater_equal",
)
PAIRS = (*PAIRS, "less", "less_equal", "equal", "not_equal", "matmul")
EXACT = {_snake(o) for o in (*MOVES, *OPS)} - {"mean", "divide", "true_divide"}
LATER = {"where", "einsum", "get_item", "broadcast_to", "squeeze"}  # each has settings of its own below
POSITIVE = {"sqrt", "rsqrt", "reciprocal", "log", "log1p", "log2", "log10", "arccosh"}


def setting(
    item: str, option: str, network: Make, *shapes: tuple[int, ...], why: str = "", **options: Any
) -> Setting:
    return Setting(
        "keras", item, option, lambda: posed(weighted(functional(network, *shapes)), **options), why
    )


def inner(name: str, x: Any) -> Any:
    """The operation's input, where it is defined."""
    if name in POSITIVE:
        return ops.add(ops.absolute(x), 1.0)
    return ops.multiply(x, 0.125) if name in ("arcsin", "arccos", "arctanh") else x


def operation(name: str, given: dict[str, Any], value: Any, option: str) -> Setting:
    why = ""
    if isinstance(value, Refused):
        why, value = value.why, value.value
    given = {**BASE.get(name, {}), **given, **({option: value} if option else {})}
    fn = getattr(ops, name)

    def network(*inputs: Any) -> Any:
        first: Any = list(inputs) if len(inputs) > 1 else inner(name, inputs[0])
        y = fn(first, **given)
        return y if name in EXACT or name in ("abs", "absolute", "negative", "clip", "relu") else rounded(y)

    shapes = [(4, 4)] * (2 if name in ("concatenate", "stack") else 1)
    return setting(f"ops.{name}", f"{option}={value!r}" if option else "", network, *shapes, why=why)


def operations() -> Iterator[Setting]:
    names = (
        {_snake(o) for o in OPS} | set(FUNCTIONS) | {"absolute", "negative", "clip", "softmax", "log_softmax"}
    )
    for name in sorted(n for n in names if hasattr(ops, n)):
        if name in LATER:
            continue
        found = list(inspect.signature(getattr(ops, name)).parameters)[1:]
        if not found:
            why = "its input's format goes below 1" if name == "arccosh" else ""
            yield operation(name, {}, Refused(None, why) if why else None, "")
        for argument in found:
            values = VALUES.get(f"{name}.{argument}", VALUES.get(argument))
            assert values is not None, f"no values for the argument {argument!r} of ops.{name}"
            for value in values:
                divides = (
                    name in ("divide", "true_divide")
                    and argument == "x2"
                    and np.any(np.asarray(getattr(value, "value", value)) == 0)
                )
                if not divides:
                    yield operation(name, {}, value, argument)
    for name in PAIRS:
        why = "it divides one value by another" if "divide" in name else ""
        yield setting(f"ops.{name}", "two values", getattr(ops, name), (4, 4), (4, 4), why=why)
        if name != "matmul":
            behind = (
                rounded
                if "divide" in name
                else ops.negative
                if name in EXACT and name in PAIRS[:5]
                else lambda y: y
            )
            yield setting(
                f"ops.{name}",
                "constant first",
                lambda x, n=name, b=behind: b(getattr(ops, n)(0.5, ops.absolute(x) + 1.0)),
                (4,),
            )
            yield setting(f"ops.{name}", "other rank", getattr(ops, name), (4, 4), (4,), why=BATCH)
            yield setting(
                f"ops.{name}",
                "other length",
                lambda x, y, n=name: getattr(ops, n)(x, y),
                (4, 4),
                (1, 4),
                why=why,
            )
    for equation in VALUES["subscripts"]:
        why = equation.why if isinstance(equation, Refused) else ""
        text = getattr(equation, "value", equation)
        weights = np.arange(12, dtype="float32").reshape(4, 3) / 4
        yield setting("ops.einsum", text, lambda x, t=text, w=weights: ops.einsum(t, x, w), (3, 4), why=why)
    for text, why in (("bij,bkj->bik", ""), ("bij,bkj", BATCH), ("bij,cij->bci", BATCH), ("bij,bij->b", "")):
        yield setting(
            "ops.einsum",
            f"two values {text}",
            lambda x, y, t=text: ops.einsum(t, x, y),
            (3, 4),
            (3, 4),
            why=why,
        )
    for key in VALUES["key"]:
        why = key.why if isinstance(key, Refused) else ""
        at = getattr(key, "value", key)
        yield setting("ops.get_item", repr(at), lambda x, at=at: ops.get_item(x, at), (4, 4), why=why)
    yield setting("ops.squeeze", "axis=1", lambda x: ops.squeeze(x, 1), (1, 4))
    yield setting("ops.squeeze", "axis=(1, 2)", lambda x: ops.squeeze(x, (1, 3)), (1, 4, 1))
    for a, b in ((1.0, 0.0), (0.5, None), (None, -2.0), (None, None)):
        yield setting(
            "ops.where",
            f"{a}, {b}",
            lambda x, a=a, b=b: ops.where(x > 0, x if a is None else a, ops.negative(x) if b is None else b),
            (4,),
        )
    yield setting("ops.where", "no comparison", lambda x: ops.where(x, 1.0, 2.0), (4,), why="no comparison")
    yield setting("ops.where", "other rank", lambda x, y: ops.where(x > 0, y, 2.0), (4, 4), (4,), why=BATCH)


def activations() -> Iterator[Setting]:
    found = [n for n in dir(keras.activations) if n in FUNCTIONS]
    for name in found:
        yield setting("Activation", name, lambda x, n=name: rounded(k.Activation(n)(x)), (6,))
        yield setting(
            "Activation",
            f"{name}, the function",
            lambda x, n=name: rounded(k.Activation(getattr(keras.activations, n))(x)),
            (6,),
        )
    for layer in (k.ReLU(max_value=1.0), k.LeakyReLU(0.5), k.ELU(0.5)):
        yield setting(
            "Activation",
            f"a {type(layer).__name__}",
            lambda x, a=layer: k.Activation(a)(x),
            (6,),
            why="an object",
        )
    for name in ("softmax", "log_softmax", "sparsemax", "glu", "sparse_softmax"):
        if name in dir(keras.activations) and "softmax" not in name:
            yield setting(
                "Activation", name, lambda x, n=name: rounded(k.Activation(n)(x)), (6,), why="a whole axis"
            )


def calls() -> Iterator[Setting]:
    """Arguments of calls, types of inputs."""

    def masked(x: Any, layer: Any, **given: Any) -> Any:
        return layer(x, mask=ops.greater(x[:, :, 0], 0.0), **given)

    why = "a mask"
    yield setting(
        "call",
        "GlobalAveragePooling1D(mask)",
        lambda x: masked(x, k.GlobalAveragePooling1D()),
        (4, 2),
        why=why,
    )
    yield setting(
        "call", "BatchNormalization(mask)", lambda x: masked(x, k.BatchNormalization()), (4, 2), why=why
    )
    yield setting("call", "Softmax(mask)", lambda x: k.Softmax()(x, ops.greater(x, 0.0)), (4,), why=why)
    for layer in ("Dropout", "GaussianNoise", "BatchNormalization", "Dense"):
        first = {"Dense": 3, "BatchNormalization": -1}.get(layer, 0.5)
        for training in (False, None, True):
            yield setting(
                "call",
                f"{layer}(training={training})",
                lambda x, n=layer, a=first, t=training: rounded(getattr(k, n)(a)(x, training=t)),
                (4,),
                why="training" if training else "",
            )
    for kind in ("uint8", "int8", "int32", "bool", "float16", "bfloat16", "float64"):
        for name, fn in TYPED.items():
            fine = kind in ("uint8", "int8", "int32") and name in ("Rescaling", "move")

            def make(fn: Make = fn, kind: str = kind) -> Any:
                x = keras.Input((4,), dtype=kind, name="x0")
                model = keras.Model(x, fn(x))
                low, high = (0, 2) if kind == "bool" else (0, 100)
                data = (
                    np.random.default_rng(0)
                    .integers(low, high, (40, 4))
                    .astype(kind if kind != "bfloat16" else "float32")
                )
                return posed(model, [data], input_types="u7")

            yield Setting("keras", "input", f"{kind}, {name}", make, "" if fine else "other arithmetic")


TYPED: dict[str, Make] = {
    "move": lambda x: ops.flip(x, 1),
    "Rescaling": lambda x: k.Rescaling(0.5)(x),
    "add": lambda x: ops.add(x, x),
    "constant": lambda x: ops.subtract(x, 50),
    "Add": lambda x: k.Add()([x, x]),
    "compare": lambda x: ops.greater(x, 3),
    "mean": lambda x: ops.mean(x, axis=1),
}


def settings() -> Iterator[Setting]:
    yield from operations()
    yield from activations()
    yield from calls()


__all__ = ["Sequence", "settings"]
