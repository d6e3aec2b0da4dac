"""A new operator takes one rule: what CONTRIBUTING.md says, done with an operator of a domain of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, helper
from onnx_models import Graph, refused

from lutc.frontends.onnx import load_onnx, registry, schema
from lutc.frontends.onnx.model import Node
from lutc.frontends.onnx.rule import Inputs, needed, rule
from lutc.lowering import exact as ex
from lutc.lowering.elementwise import product, relu
from lutc.lowering.operands import computed
from lutc.lowering.tensors import Tensor
from lutc.lowering.walk import Walk


def squared_relu(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """SquaredRelu: `alpha * max(x, 0)**2`."""
    t = relu(walk, computed(needed(inputs, 0)))
    return product(walk, t, t).times(ex.exact(np.float32(node.get("alpha", 1.0))))


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.DOMAINS, "toy", {"SquaredRelu": rule(squared_relu)})
    monkeypatch.setitem(schema.OTHERS, "SquaredRelu", {"alpha": 1.0, "mode": "plain"})


def model(**attributes: Any) -> ModelProto:
    g = Graph(21)
    x = g.qdq(g.input(["n", 3]), 0.25)
    g.output(g.qdq(g.add("SquaredRelu", x, domain="toy", **attributes), 0.5))
    made = g.model()
    made.opset_import.append(helper.make_opsetid("toy", 1))
    return made


def test_it_is_lowered() -> None:
    x = np.array([[-2.0, 1.5, 3.25]])
    assert load_onnx(model()).run(x).tolist() == [[0, 2, 10.5]]  # of 2.25 and 10.5625, to halves
    assert load_onnx(model(alpha=0.5)).run(x).tolist() == [[0, 1, 5.5]]


def test_what_its_rule_does_not_read_is_refused() -> None:
    assert load_onnx(model(mode="plain"))
    assert "sets the attribute mode='odd', which lutc does not read here" in refused(model(mode="odd"))
    assert "has the attribute 'beta', which is not supported" in refused(model(beta=1.0))


def test_nobody_else_knows_it() -> None:
    assert load_onnx(model()).compared == "not compared: no package is known that runs the operators of toy"
