"""The kit alone makes a design: a frontend of a few lines, whose layers are functions of the kit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from lutc.diagnostics import LirError
from lutc.ir.graph import Design
from lutc.lowering import exact as ex
from lutc.lowering.affine import affine
from lutc.lowering.curve import pointwise, quantised
from lutc.lowering.elementwise import add, relu
from lutc.lowering.linear import gemm
from lutc.lowering.model import Input, Layer, Model
from lutc.lowering.operands import known
from lutc.lowering.ports import finished, make_inputs, make_outputs
from lutc.lowering.reduce import largest, reduce
from lutc.lowering.refusals import Refusal
from lutc.lowering.tensors import Curve, Known, Scaled
from lutc.lowering.walk import Walk

Rule = Callable[..., Any]
WEIGHTS = Known(np.array([[1.0, -0.5], [0.25, 2.0], [0.0, 1.0]]))


def to_eighths(walk: Walk, x: Any) -> Scaled:
    """A quantiser to eighths in eight bits; behind a function it makes a table."""
    if isinstance(x, Curve):
        return quantised(
            walk, x, lambda t: Known(t.array, np.rint(t.array * 8).astype(np.int64), ex.number(1 / 8))
        )
    return affine(walk, x, ex.number(1 / 8), ex.number(0), ex.number(-128), ex.number(127)).times(
        ex.number(1 / 8)
    )


def load(
    layers: Mapping[str, tuple[Rule, tuple[str, ...]]], shape: tuple[int | None, ...] = (None, 3)
) -> Design:
    """A model whose layers are functions of the kit and the names of what they read; the last one is its output."""
    made = tuple(Layer(name, rule.__name__, reads, (name,)) for name, (rule, reads) in layers.items())
    model = Model("toy", (Input("x", "float", shape),), (made[-1].name,), made, {"weights": WEIGHTS})
    walk = Walk(model)
    make_inputs(walk, {})
    for layer in made:
        walk.layer = layer
        with walk.refusals.at(layer.label), walk.b.origin(layer.name):
            walk.keep(layer.name, layers[layer.name][0](walk, *(walk.tensors[n] for n in layer.reads)))
    walk.refusals.check()
    make_outputs(walk, {name: walk.tensors[name] for name in model.outputs})
    walk.refusals.check()
    return finished(walk)


def test_a_dense_layer() -> None:
    design = load({"q": (to_eighths, ("x",)), "dense": (gemm, ("q", "weights")), "act": (relu, ("dense",)),
                   "sum": (add, ("act", "dense"))})  # fmt: skip
    x = np.array([[1.0, 2.0, -0.5], [-3.0, 0.0625, 20.0]])
    q = np.clip(np.rint(x * 8), -128, 127) / 8
    y = q @ WEIGHTS.array
    np.testing.assert_array_equal(np.asarray(design.run(x), float), np.maximum(y, 0) + y)
    assert [p.name for p in design.params] == ["x"] and design.params[0].to.shape == (3,)


def test_a_function_becomes_a_table() -> None:
    def tanh(walk: Walk, x: Any) -> Curve:
        return pointwise(walk, "tanh", [x], lambda arrays: np.tanh(arrays[0]))

    design = load({"q": (to_eighths, ("x",)), "f": (tanh, ("q",)), "y": (to_eighths, ("f",))})
    x = np.array([[-20.0, 0.5, 1.25]])
    np.testing.assert_array_equal(
        np.asarray(design.run(x), float), np.rint(np.tanh(np.maximum(x, -16)) * 8) / 8
    )


def test_refusals_are_collected_under_the_layers_names() -> None:
    def constant(walk: Walk, x: Any) -> Known:
        return known(x, "bias")

    def over_everything(walk: Walk, x: Scaled) -> Scaled:
        return reduce(walk, x, [0, 1], largest)

    for rule, reason in ((constant, "needs a constant bias"), (over_everything, "works across the batch")):
        with pytest.raises(LirError) as caught:
            load({"q": (to_eighths, ("x",)), "last": (rule, ("q",))})
        assert str(caught.value).startswith(f"last ({rule.__name__}): error: {reason}")


def test_an_input_that_nothing_quantises() -> None:
    def plain(walk: Walk, x: Scaled) -> Scaled:
        if not x.clips():
            raise Refusal("is left as it is")
        return x

    with pytest.raises(LirError, match="is left as it is"):
        load({"y": (plain, ("x",))})
    with pytest.raises(
        LirError, match="reads input 'x', which has no format: nothing quantises it before this layer"
    ):
        load({"y": (relu, ("x",))})
