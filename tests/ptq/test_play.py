"""Each operator as PyTorch plays it, against ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from float_models import KINDS, Net, answers

from lutc.diagnostics import LirError
from lutc.ptq.fold import plain
from lutc.ptq.play import RULES, Player

Made = Callable[[Net], Any]

ONE = [
    "Abs", "Neg", "Exp", "Erf", "Relu", "Sigmoid", "Tanh", "Softplus", "Softsign", "Selu", "Mish",
    "HardSwish", "LeakyRelu", "Elu", "HardSigmoid", "Identity",
]  # fmt: skip
OTHERS: dict[str, Made] = {
    "Sqrt": lambda n: n.add("Sqrt", n.add("Abs", "x")),
    "Log": lambda n: n.add("Log", n.add("Add", n.add("Abs", "x"), n.const(1.0))),
    "Reciprocal": lambda n: n.add("Reciprocal", n.add("Exp", "x")),
    "Gelu": lambda n: n.add("Gelu", "x", approximate="tanh"),
    "PRelu": lambda n: n.add("PRelu", "x", n.const([[[0.1]], [[0.2]]])),
    "Clip": lambda n: n.add("Clip", "x", n.const(-0.5), n.const(0.75)),
    "Clip above": lambda n: n.add("Clip", "x", "", n.const(0.75)),
    "Pow": lambda n: n.add("Pow", "x", n.const(2.0)),
    "Mul": lambda n: n.add("Mul", "x", "x"),
    "Sub": lambda n: n.add("Sub", n.const(1.0), "x"),
    "Div": lambda n: n.add("Div", "x", n.const(3.0)),
    "Max": lambda n: n.add("Max", "x", n.const(0.25)),
    "Min": lambda n: n.add("Min", "x", n.const(0.25)),
    "MatMul": lambda n: n.add("MatMul", "x", n.add("Transpose", "x", perm=[0, 1, 3, 2])),
    "Softmax": lambda n: n.add("Softmax", "x", axis=2),
    "LogSoftmax": lambda n: n.add("LogSoftmax", "x", axis=1),
    "Conv": lambda n: n.conv("x", 2, 4, (3, 2), pads=[1, 0, 2, 1], strides=[2, 1], group=2),
    "Conv same": lambda n: n.conv("x", 2, 3, (2, 3), auto_pad="SAME_UPPER", strides=[2, 2], dilations=[1, 1]),
    "Conv lower": lambda n: n.conv("x", 2, 3, (2, 2), auto_pad="SAME_LOWER"),
    "ConvTranspose": lambda n: n.add(
        "ConvTranspose", "x", n.normal(2, 3, 2, 2), n.normal(3), strides=[2, 2], pads=[1, 1, 1, 1]
    ),
    "MaxPool": lambda n: n.add("MaxPool", "x", kernel_shape=[2, 2], strides=[2, 1], pads=[1, 0, 0, 1]),
    "AveragePool": lambda n: n.add("AveragePool", "x", kernel_shape=[2, 3], pads=[1, 1, 0, 1]),
    "AveragePool padded": lambda n: n.add(
        "AveragePool", "x", kernel_shape=[2, 2], pads=[1, 1, 0, 0], count_include_pad=1
    ),
    "GlobalAveragePool": lambda n: n.add("GlobalAveragePool", "x"),
    "GlobalMaxPool": lambda n: n.add("GlobalMaxPool", "x"),
    "ReduceMean": lambda n: n.add("ReduceMean", "x", n.const(np.array([2])), keepdims=0),
    "ReduceSum": lambda n: n.add("ReduceSum", "x", n.const(np.array([1, -1])), keepdims=1),
    "ReduceMax": lambda n: n.add("ReduceMax", "x", n.const(np.array([1]))),
    "ReduceMin": lambda n: n.add("ReduceMin", "x", n.const(np.array([1]))),
    "Reshape": lambda n: n.add("Reshape", "x", n.const(np.array([0, -1, 5]))),
    "Flatten": lambda n: n.add("Flatten", "x", axis=2),
    "Squeeze": lambda n: n.add("Squeeze", n.add("GlobalMaxPool", "x"), n.const(np.array([2, 3]))),
    "Unsqueeze": lambda n: n.add("Unsqueeze", "x", n.const(np.array([1, -1]))),
    "Transpose": lambda n: n.add("Transpose", "x", perm=[0, 2, 3, 1]),
    "Concat": lambda n: n.add("Concat", "x", "x", axis=1),
    "Slice": lambda n: n.add(
        "Slice", "x", *(n.const(np.array(v)) for v in ([3, 0], [-9, 3], [2, 3], [-2, 2]))
    ),
    "Gather": lambda n: n.add("Gather", "x", n.const(np.array([[2, -1], [0, 1]])), axis=2),
    "Pad": lambda n: n.add("Pad", "x", n.const(np.array([0, 0, 1, 2, 0, 0, 0, 1])), n.const(0.5)),
    "Cast": lambda n: n.add("Cast", n.add("Cast", "x", to=7), to=1),
    "Expand": lambda n: n.add("Expand", n.add("GlobalMaxPool", "x"), n.const(np.array([1, 2, 4, 5]))),
}


def play(model: Any, x: Any) -> Any:
    graph = plain(model, keep_softmax=True)
    with torch.no_grad():
        return Player(graph).run({"x": torch.from_numpy(x)}, lambda name, value: value)[0].numpy()


@pytest.mark.parametrize("op", [*ONE, *sorted(OTHERS)])
def test_an_operator(op: str) -> None:
    n = Net([2, 4, 5], opset=20)
    model = n.model(OTHERS[op](n) if op in OTHERS else n.add(op, "x"))
    x = n.data(6)
    (right,) = answers(model, x)
    found = play(model, x)
    assert found.shape == right.shape
    assert np.abs(found - right).max() <= (2e-3 if op == "Cast" else 2e-5 * max(1, np.abs(right).max()))


def test_a_split() -> None:
    n = Net([2, 4, 5], opset=17)
    a, b = n.add("Split", "x", n.const(np.array([1, 3])), outputs=2, axis=2)
    model = n.model(n.add("Concat", b, a, axis=2))
    x = n.data(6)
    assert np.array_equal(answers(model, x)[0], play(model, x))


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"scaled"}))
def test_a_model(kind: str) -> None:
    model, x = KINDS[kind]()
    (right,) = answers(model, x)
    assert np.abs(play(model, x) - right).max() < 1e-4


def test_every_rule_is_tried() -> None:
    tried = {*ONE, *(k.split()[0] for k in OTHERS), "Split", "Gemm", "Add", "Shape", "Dropout"}
    assert set(RULES) <= tried


def test_an_operator_that_is_not_known() -> None:
    n = Net([4])
    with pytest.raises(LirError, match="cannot be trained here"):
        play(n.model(n.add("CumSum", "x", n.const(np.array(1)))), n.data(6))
