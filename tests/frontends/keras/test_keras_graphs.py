"""Graphs as Keras stores them: nested, shared, called twice, with inputs and outputs by name; against Keras itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_zoo import coarse, functional, gridded, keras, predict

from lutc.diagnostics import LirError
from lutc.frontends.keras import load_keras

k = keras.layers
ops = keras.ops


def block(*names: str, outputs: int = 1, name: str = "block") -> keras.Model:
    """A model of its own: a dense layer behind the difference of its inputs."""
    inputs = [keras.Input((3,), name=n) for n in names]
    x = k.Subtract()(inputs) if len(inputs) > 1 else inputs[0]
    y = [k.Dense(3, activation="relu", name=f"d{i}")(x) for i in range(outputs)]
    return keras.Model(inputs, y if outputs > 1 else y[0], name=name)


def by_name(order: str) -> keras.Model:
    """A model whose inputs are a dict, named in this order."""
    inputs = {n: keras.Input((3,), name=n) for n in order}
    return keras.Model(inputs, k.Subtract()([inputs["a"], k.Rescaling(2.0)(inputs["b"])]), name="named")


def results_by_name(first: str, second: str) -> keras.Model:
    x = keras.Input((3,), name="i")
    return keras.Model(x, {first: k.Rescaling(2.0)(x), second: k.Rescaling(1.0, 0.5)(x)}, name="results")


def twice(model: keras.Model) -> Callable[..., Any]:
    def make(x: Any, y: Any) -> Any:
        a, b = model(x), model(y)
        return [b, k.Subtract()([a, b]), a]

    return make


def chain(model: keras.Model) -> Callable[..., Any]:
    return lambda x, y: model(model(x)) + y


def deep(x: Any, y: Any) -> Any:
    inner = block("u", name="inner")
    v = keras.Input((3,), name="v")
    middle = keras.Model(v, inner(inner(v)), name="middle")
    return [middle(y), middle(x)]


def sequential(x: Any, y: Any) -> Any:
    nest = keras.Sequential([keras.Input((3,)), block("u"), k.Rescaling(0.5)], name="nest")
    return [nest(x), nest(y)]


def lazy(x: Any, y: Any) -> Any:
    nest = keras.Sequential([k.Dense(2, name="input"), k.Dense(3)], name="nest")
    return [nest(y), x]


def several(x: Any, y: Any) -> Any:
    pair = block("u", outputs=2)
    a, b = pair(x)
    c, d = pair(y)
    return [d, k.Subtract()([a, c]), b]


def shared_layer(x: Any, y: Any) -> Any:
    layer = k.Dense(3)
    a = layer(x)
    return [layer(a), layer(y), a]


def split(x: Any, y: Any) -> Any:
    a, b, c = ops.split(x, 3, axis=1)
    return [c, ops.concatenate([b, a, y], axis=-1)]


def dicts(x: Any, y: Any) -> Any:
    r = results_by_name("q", "b")
    found = r(x)
    return [k.Subtract()([found["q"], found["b"]]), r(y)["b"]]


GRAPHS: dict[str, Callable[..., Any]] = {
    "nested, last": lambda x, y: [y, block("u")(x)],
    "nested, called twice, both outputs": twice(block("u")),
    "nested in itself": chain(block("u")),
    "deep": deep,
    "two inputs, in a list": lambda x, y: block("u", "v")([y, x]),
    "two inputs, by name": lambda x, y: block("u", "v")({"v": x, "u": y}),
    "dict of inputs": lambda x, y: by_name("ab")({"a": x, "b": y}),
    "dict of inputs, other order": lambda x, y: by_name("ab")({"b": y, "a": x}),
    "dict of inputs, made in another order": lambda x, y: by_name("ba")({"a": x, "b": y}),
    "dict of outputs": dicts,
    "several outputs": several,
    "in a sequential": sequential,
    "a sequential without an input layer": lazy,
    "a layer called three times": shared_layer,
    "inputs are outputs": lambda x, y: [y, x, k.ReLU()(y)],
    "an input is not used": lambda x, y: [k.ReLU()(x)],
    "an operation with several results": split,
    "tuples": lambda x, y: (k.ReLU()(x), (k.Subtract()((x, y)), y)),
}


@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize("name", GRAPHS)
def test_graph(name: str, suffix: str, tmp_path: Path) -> None:
    x, y = (keras.Input((3,), name=n) for n in "xy")
    model = coarse(keras.Model([x, y], GRAPHS[name](x, y), name="model"))
    path = tmp_path / f"m.{suffix}"
    model.save(path)
    inputs = gridded(model, 60)
    if suffix == "h5" and any("ops" in type(layer).__module__ for layer in model.operations):
        with pytest.raises(LirError):  # such a file takes operations for layers
            load_keras(path, input_types="s8f4")
        return
    found = load_keras(path, input_types="s8f4").run(x=inputs[0], y=inputs[1])
    answers = list(found.values()) if isinstance(found, dict) else [found]
    wanted = [keras.ops.convert_to_numpy(o) for o in keras.tree.flatten(model(inputs))]
    assert len(answers) == len(wanted)
    for got, want in zip(answers, wanted, strict=True):
        np.testing.assert_array_equal(np.asarray(got, dtype=np.float64), want)


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_ports_are_named_by_the_keys(order: str, tmp_path: Path) -> None:
    inputs = {n: keras.Input((3,), name=n) for n in order}
    results = {n: k.Rescaling(s)(inputs["a"]) for n, s in zip(("z" + order[0], "c"), (2.0, 0.5), strict=True)}
    model = keras.Model(inputs, results)
    model.save(tmp_path / "m.keras")
    design = load_keras(tmp_path / "m.keras", input_types="s8f4")
    assert [p.name for p in design.params] == ["a", "b"]
    x = gridded(model, 20)[0]
    found = design.run(a=x, b=x)
    assert list(found) == ["c", "z" + order[0]]
    for name, want in model({"a": x, "b": x}).items():
        np.testing.assert_array_equal(np.asarray(found[name], dtype=float), keras.ops.convert_to_numpy(want))


def test_a_backbone(tmp_path: Path) -> None:
    """A nested model whose result is the model's own."""
    inner = block("u")
    model = coarse(functional(lambda x: inner(x), (3,)))
    model.save(tmp_path / "m.keras")
    inputs = gridded(model)
    found = load_keras(tmp_path / "m.keras", input_types="s8f4").run(*inputs)
    np.testing.assert_array_equal(np.asarray(found, dtype=float), predict(model, inputs)[0])


def test_what_a_nested_model_would_reshape_is_refused(tmp_path: Path) -> None:
    inner = functional(lambda x: k.Rescaling(2.0)(x), (3, 1))
    functional(lambda x: inner(x), (3,)).save(tmp_path / "m.keras")
    with pytest.raises(LirError, match="has shape"):
        load_keras(tmp_path / "m.keras", input_types="s8f4")
