"""ONNX Runtime's own operators on integers: samples of a batch stay apart, and ties are rounded as its kernels do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import helper
from onnx_models import QONNX, Graph, onnxruntime, ours, refused

DOMAIN = "com.microsoft"


def quantised(g: Graph, shape: tuple[int, ...], name: str = "x", kind: str = "uint8") -> list[str]:
    """Data in halves: between the steps of `close` there are ties."""
    step = [g.constant(np.float32(0.5)), g.constant(20 if kind == "uint8" else -3, kind)]
    return [g.add("QuantizeLinear", g.input(["n" if len(shape) < 3 else 1, *shape], name), *step), *step]


def codes(g: Graph, values: Any, kind: str = "uint8") -> list[str]:
    return [g.constant(np.asarray(values), kind), g.constant(np.float32(1)), g.constant(0, kind)]


def close(g: Graph, kind: str = "uint8") -> list[str]:
    return [g.constant(np.float32(1)), g.constant(3, kind)]


def model(g: Graph, q: str, kind: str = "uint8") -> Any:
    g.output(g.add("DequantizeLinear", q, *close(g, kind)))
    return finished(g)


def finished(g: Graph) -> Any:
    made = g.model()
    made.opset_import.extend([helper.make_opsetid(DOMAIN, 1), helper.make_opsetid(QONNX, 1)])
    return made


def own(g: Graph, op: str, *inputs: str, **attributes: Any) -> str:
    return str(g.add(op, *inputs, domain=DOMAIN, **attributes))


# -- samples ------------------------------------------------------------------------------------------------------

ONES = np.ones((1, 1, 3), int)
MIXES: dict[str, Callable[[Graph, list[str]], str]] = {
    "add": lambda g, x: own(g, "QLinearAdd", *x, *codes(g, ONES), *close(g)),
    "add from the left": lambda g, x: own(g, "QLinearAdd", *codes(g, ONES), *x, *close(g)),
    "mul": lambda g, x: own(g, "QLinearMul", *x, *codes(g, ONES), *close(g)),
    "where": lambda g, x: own(
        g, "QLinearWhere", g.constant(ONES.astype(bool)), *x, *codes(g, [0, 0, 0]), *close(g)
    ),
    "where else": lambda g, x: own(
        g, "QLinearWhere", g.constant(np.ones(3, bool)), *x, *codes(g, ONES), *close(g)
    ),
    "data of another rank": lambda g, x: own(
        g, "QLinearAdd", *x, *[g.add("Unsqueeze", x[0], g.constant(np.array([1]))), *x[1:]], *close(g)
    ),
}


@pytest.mark.parametrize("name", MIXES)
def test_samples_that_are_mixed(name: str) -> None:
    g = Graph()
    assert "works across the batch" in refused(model(g, MIXES[name](g, quantised(g, (3,)))))


@pytest.mark.parametrize("shape,columns", [((3,), (1, 3, 2)), ((), (1, 1)), ((), (1,))])
def test_samples_that_a_product_mixes(shape: tuple[int, ...], columns: tuple[int, ...]) -> None:
    g = Graph()
    x, scale, zero = quantised(g, shape)
    w, step, none = codes(g, np.ones(columns, int))
    g.output(own(g, "MatMulIntegerToFloat", x, w, scale, step, zero, none))
    assert "works across the batch" in refused(finished(g))


# -- ties ---------------------------------------------------------------------------------------------------------

Case = tuple[tuple[int, ...], bool, Callable[..., str]]
EYE = np.eye(5, dtype=int)
TIES: dict[str, Case] = {
    "add": ((37,), True, lambda g, a, b, k: own(g, "QLinearAdd", *a, *b, *close(g, k))),
    "add constant": (
        (5,), False, lambda g, a, _, k: own(g, "QLinearAdd", *a, *codes(g, [1, 2, 3, 4, 5], k), *close(g, k))),
    "mul": ((37,), True, lambda g, a, b, k: own(g, "QLinearMul", *a, *b, *close(g, k))),
    "mul constant": (
        (5,), False, lambda g, a, _, k: own(g, "QLinearMul", *a, *codes(g, [1, 3, 5, 1, 1], k), *close(g, k))),
    "leaky": ((5,), False, lambda g, a, _, k: own(g, "QLinearLeakyRelu", *a, *close(g, k), alpha=0.5)),
    "average": ((1, 4, 4), False, lambda g, a, _, k: own(
        g, "QLinearAveragePool", *a, *close(g, k), kernel_shape=[2, 2], strides=[2, 2])),
    "global average": ((2, 2, 2), False, lambda g, a, _, k: own(
        g, "QLinearGlobalAveragePool", *a, *close(g, k), channels_last=0)),
    "concat": ((5,), True, lambda g, a, b, k: own(g, "QLinearConcat", *close(g, k), *a, *b, axis=1)),
    "where": ((3,), True, lambda g, a, b, k: own(
        g, "QLinearWhere", g.constant(np.array([True, False, True])), *a, *b, *close(g, k))),
    "gemm": ((5,), False, lambda g, a, _, k: own(g, "QGemm", *a, *codes(g, EYE, k), "", *close(g, k))),
    "conv": ((1, 3, 3), False, lambda g, a, _, k: str(g.add(
        "QLinearConv", *a, *codes(g, np.ones((1, 1, 1, 1), int), k), *close(g, k)))),
    "matmul": ((5,), False, lambda g, a, _, k: str(g.add("QLinearMatMul", *a, *codes(g, EYE, k), *close(g, k)))),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["uint8", "int8"])
@pytest.mark.parametrize("name", TIES)
def test_ties_beside_an_odd_zero_point(name: str, kind: str) -> None:
    shape, two, make = TIES[name]
    g = Graph(13)
    a = quantised(g, shape, "x", kind)
    whole = model(g, make(g, a, quantised(g, shape, "y", kind) if two else None, kind), kind)
    rng = np.random.default_rng(0)
    data = [(rng.integers(-18, 19, (40, *shape)) / 2).astype(np.float32) for _ in range(1 + two)]
    mine, theirs = ours(whole, *data, compare=False), onnxruntime(whole, *data)
    np.testing.assert_array_equal(mine.ravel(), theirs.astype(np.float32).ravel())
