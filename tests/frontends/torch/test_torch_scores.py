"""The index of the largest score behind a softmax, which is left to the host; and a new operator by one rule."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from torch_models import F, Model, same, theirs, torch

import lutc
from lutc.diagnostics import LirError
from lutc.frontends.torch import lower
from lutc.lowering import elementwise as kit


@pytest.mark.parametrize("over", [1, 2])
def test_argmax_along_the_softmax(over: int) -> None:
    """Also of a softmax that is not along the last dimension, and with the scores moved in between."""
    design = same(Model(lambda x: F.softmax(x, over).transpose(1, 2).argmax(3 - over), last=False), (4, 3))
    assert (
        "is left to the host: outputs are the scores before it, whose argmax is the same" in design.notes[0]
    )


@pytest.mark.parametrize(
    "model",
    [
        Model(lambda x: F.softmax(x, 1).argmax(2), last=False),
        Model(lambda x: F.log_softmax(x, 2).flatten(1).argmax(1), last=False),
    ],
)
def test_argmax_of_scores_that_are_normalised_apart_is_refused(model: Model) -> None:
    with pytest.raises(LirError, match="compares scores that the Softmax before it normalises apart"):
        lutc.load(model, example_inputs=torch.zeros(1, 4, 3))


def test_a_function_is_compared() -> None:
    """Before any quantiser: a table of truth values, for != as for the others."""
    same(Model(lambda x: (x.exp() != 1) * 1.5 + (x.exp() <= 1) * x), (5,))


def test_a_new_operator_takes_one_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """What CONTRIBUTING.md says, done with one that has none yet."""
    model = Model(lambda x, y, z: torch.addcmul(x, y, z, value=0.5))
    inputs = [torch.tensor([[0.5, -1.0, 3.0]]), torch.tensor([[1.5, 2.0, -1.0]]), torch.ones(1, 3) * 4]
    with pytest.raises(LirError, match=r"calls aten\.addcmul, which is no operator that can be compiled"):
        lutc.load(model, example_inputs=tuple(inputs))

    def addcmul(c: Any) -> Any:
        """`self + value * tensor1 * tensor2`."""
        product = c.pointwise("Mul", kit.multiply, c.tensor("tensor1"), c.tensor("tensor2"))
        part = c.pointwise("Mul", kit.multiply, product, c.constant(c.get("value", 1)))
        return c.pointwise("Add", kit.add, c.tensor("self"), part)

    monkeypatch.setitem(lower.RULES, "aten::addcmul", addcmul)
    design = lutc.load(model, example_inputs=tuple(inputs))
    found = np.asarray(design.run(*(x.double().numpy() for x in inputs)), dtype=np.float64)
    assert found.tolist() == theirs(model, *inputs).tolist() == [[3.5, 3.0, 1.0]]
    assert design.compared.startswith("PyTorch") and design.compared.endswith("equal")
