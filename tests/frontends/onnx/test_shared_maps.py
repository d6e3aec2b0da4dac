"""A convolution is one function mapped over positions; a quantiser goes into it only if nothing else reads it."""

from __future__ import annotations

import numpy as np
from onnx_models import QONNX, Graph, ours, same_as_onnxruntime, samples


def convolved(g: Graph) -> str:
    x = g.qdq(g.input([1, 1, 4, 4]), 0.5)
    return str(g.add("Conv", x, g.dq(np.arange(18).reshape(2, 1, 3, 3) % 5 - 2, 0.5), kernel_shape=[3, 3]))


def test_two_quantisers_of_one_convolution() -> None:
    g = Graph()
    y = convolved(g)
    g.output(g.add("Add", g.qdq(y, 0.5), g.qdq(y, 1.0)))
    same_as_onnxruntime(g.model(), samples((1, 4, 4)))


def test_a_quantised_convolution_read_twice() -> None:
    g = Graph()
    y = g.qdq(convolved(g), 0.5)
    g.output(g.add("Add", y, g.qdq(y, 2.0)))
    same_as_onnxruntime(g.model(), samples((1, 4, 4)))


def test_thresholds_of_a_convolution() -> None:
    levels = np.array([[-1.0, 0, 2], [1, 2, 4]], np.float32)
    data = samples((1, 4, 4))
    answers = []
    for thresholds in (False, True):
        g = Graph(qonnx=True)
        y = convolved(g)
        g.output(
            g.add("MultiThreshold", y, g.constant(levels), domain=QONNX, out_dtype="UINT2")
            if thresholds
            else y
        )
        answers.append(ours(g.model(), data))
    sums, counts = answers
    want = sum((sums >= levels[:, i].reshape(1, 1, 2, 1, 1)).astype(float) for i in range(3))
    np.testing.assert_array_equal(counts.ravel(), np.asarray(want).ravel())
    assert len(np.unique(counts)) == 4
