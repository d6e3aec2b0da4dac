"""Operators on quantised integers: the standard's QLinear* and *Integer, and ONNX Runtime's own of that kind.

Each is what its name says between DequantizeLinear and QuantizeLinear, and is lowered as that. Where ONNX Runtime has
no table and no integer kernel (QLinearAdd, QLinearMul, QLinearAveragePool), it adds the zero point before it rounds:
other numbers at ties, for odd zero points.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from lutc.lowering import elementwise
from lutc.lowering import exact as ex
from lutc.lowering.curve import pointwise, quantised
from lutc.lowering.linear import matmul
from lutc.lowering.logic import where
from lutc.lowering.operands import computed, known, small
from lutc.lowering.quantise import ties
from lutc.lowering.tensors import Known, Scaled, Tensor
from lutc.lowering.walk import Walk
from lutc.numbers import one_digit

from .arithmetic import gemm, leaky
from .channels_last import first, last
from .conv import average_pool, conv, global_pool
from .layout import concat
from .model import Node, fold, operator
from .qdq import dequantize, quantize, to_integers, to_reals
from .rule import Inputs, Rule, needed, optional, rule


def _opened(inputs: Inputs, at: int, axis: int = 0) -> Tensor:
    """The tensor whose integers, scale and zero point are three inputs in a row."""
    return to_reals(needed(inputs, at), needed(inputs, at + 1), optional(inputs, at + 2), axis=axis)


def _closed(walk: Walk, t: Tensor, inputs: Inputs, at: int, inside: bool = False) -> Tensor:
    """A result quantised by the scale and zero point that are two inputs in a row."""
    scale = needed(inputs, at)
    if inside and isinstance(t, Scaled) and isinstance(scale, Known):
        step = ex.lone(ex.exact(scale.array))
        if step and not one_digit(step) and ties(t, ex.number(1 / step)):
            walk.note(
                "quantised operators that ONNX Runtime computes in float32 may be a step off there, where the exact "
                "answer lies between two steps"
            )
    return to_integers(walk, t, scale, optional(inputs, at + 1), inside=inside)


def qlinear_matmul(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    b = needed(inputs, 3)
    product = matmul(walk, _opened(inputs, 0), _opened(inputs, 3, len(b.shape) - 1))
    return _closed(walk, product, inputs, 6)


def _bias(inputs: Inputs, at: int, scales: tuple[int, int]) -> Known | None:
    """An int32 bias, counted in steps of the product of two scales."""
    bias = optional(inputs, at)
    if bias is None:
        return None
    codes = np.asarray(known(bias, "bias").array, dtype=np.int64)
    first, second = (np.asarray(small(needed(inputs, i))) for i in scales)
    scale = ex.times(ex.exact(first.reshape(-1)), ex.exact(second.reshape(-1)))
    return Known(codes.astype(np.float32), codes, scale)


def qlinear_conv(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    parts = [_opened(inputs, 0), _opened(inputs, 3), _bias(inputs, 8, (1, 4))]
    return _closed(walk, conv(walk, node, parts), inputs, 6)


def qgemm(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """com.microsoft QGemm; without an output scale its result is a float."""
    axis = 0 if node.get("transB", 0) else 1
    bias = _bias(inputs, 6, (1, 4))
    if bias is not None:  # it is counted in steps of alpha times both scales
        alpha = ex.exact(np.float32(node.get("alpha", 1.0)))
        bias = replace(bias, scale=ex.times(bias.scale, alpha))
    product = gemm(walk, node, [_opened(inputs, 0), _opened(inputs, 3, axis), bias])
    return product if optional(inputs, 7) is None else _closed(walk, product, inputs, 7)


ONE = Known(np.float32(1))  # the scale of integers that are taken for numbers


def _integers(product: Tensor) -> Scaled:
    return replace(computed(product), integer="int32")


def matmul_integer(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    a, b = needed(inputs, 0), needed(inputs, 1)
    x = to_reals(a, ONE, optional(inputs, 2), axis=0)
    y = to_reals(b, ONE, optional(inputs, 3), axis=len(b.shape) - 1)
    return _integers(matmul(walk, x, y))


def conv_integer(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    x = to_reals(needed(inputs, 0), ONE, optional(inputs, 2), axis=0)
    w = to_reals(needed(inputs, 1), ONE, optional(inputs, 3), axis=0)
    return _integers(conv(walk, node, [x, w]))


def _two(lower: Callable[[Walk, Tensor, Tensor], Tensor]) -> Rule:
    """ONNX Runtime's operators on two quantised tensors."""

    def both(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
        done = lower(walk, _opened(inputs, 0), _opened(inputs, 3))
        return _closed(walk, done, inputs, 6, inside=True)

    return rule(both)


def _one(lower: Callable[[Walk, Node, Inputs], Tensor], inside: bool = False) -> Rule:
    """ONNX Runtime's operators on one quantised tensor."""

    def single(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
        x = _opened(inputs, 0)
        turned = bool(node.get("channels_last", 0))
        done = computed(lower(walk, node, [first(walk, x) if turned else x]))
        return _closed(walk, last(walk, done) if turned else done, inputs, 3, inside)

    return rule(single)


def qlinear_sigmoid(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """A table of the integers."""
    sigmoid = operator("Sigmoid")
    curve = pointwise(walk, "Sigmoid", [_opened(inputs, 0)], lambda a: fold(sigmoid, a)[0])
    return quantised(walk, curve, lambda array: known(_closed(walk, array, inputs, 3), "operand"))


def qlinear_where(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    chosen = where(walk, needed(inputs, 0), _opened(inputs, 1), _opened(inputs, 4))
    return _closed(walk, chosen, inputs, 7)


def matmul_integer_to_float(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """MatMulInteger, times both scales, plus a bias."""
    a, b = needed(inputs, 0), needed(inputs, 1)
    last_axis = len(b.shape) - 1
    x = to_reals(a, needed(inputs, 2), optional(inputs, 4), axis=last_axis)
    y = to_reals(b, needed(inputs, 3), optional(inputs, 5), axis=last_axis)
    product = matmul(walk, x, y)
    bias = optional(inputs, 6)
    return product if bias is None else product.plus(known(bias, "bias").reals())


def qlinear_concat(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    parts = [_opened(inputs, i) for i in range(2, len(inputs), 3)]
    return _closed(walk, concat(walk, node, parts), inputs, 0)


STANDARD: dict[str, Rule] = {
    "QLinearMatMul": rule(qlinear_matmul),
    "QLinearConv": rule(qlinear_conv),
    "MatMulInteger": rule(matmul_integer),
    "ConvInteger": rule(conv_integer),
}
MICROSOFT: dict[str, Rule] = {
    "QuantizeLinear": rule(quantize, folds=True),
    "DequantizeLinear": rule(dequantize, folds=True),
    "QGemm": rule(qgemm),
    "QLinearAdd": _two(elementwise.add),
    "QLinearMul": _two(elementwise.multiply),
    "QLinearLeakyRelu": _one(leaky),
    "QLinearSigmoid": rule(qlinear_sigmoid),
    "QLinearWhere": rule(qlinear_where),
    "MatMulIntegerToFloat": rule(matmul_integer_to_float),
    "QLinearConcat": rule(qlinear_concat),
    "QLinearAveragePool": _one(average_pool, inside=True),
    "QLinearGlobalAveragePool": _one(global_pool),
}
