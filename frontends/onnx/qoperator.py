"""Operators on quantised integers: the standard's QLinear* and *Integer, and ONNX Runtime's own of that kind.

Each is what its name says between DequantizeLinear and QuantizeLinear, and is lowered as that. Where ONNX Runtime has
no table and no integer kernel (QLinearAdd, QLinearMul, QLinearAveragePool), it adds the zero point before it rounds:
other numbers at ties, for odd zero points.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from lutc.lowering import exact as ex
from lutc.lowering.curve import pointwise, quantised
from lutc.lowering.operands import computed, known, small
from lutc.lowering.tensors import Known, Scaled, Tensor
from lutc.lowering.walk import Walk

from .channels_last import first, last
from .conv import average_pool, conv, global_pool
from .elementwise import add, leaky, mul
from .layout import concat
from .linear import gemm, matmul
from .logic import where
from .model import Node, fold, operator
from .qdq import dequantize, quantize
from .rule import Inputs, Rule, needed, optional, rule


def _opened(walk: Walk, node: Node, inputs: Inputs, at: int, axis: int = 0) -> Tensor:
    """The tensor whose integers, scale and zero point are three inputs in a row."""
    part = replace(node, attributes={"axis": axis})
    return dequantize(walk, part, [needed(inputs, at), needed(inputs, at + 1), optional(inputs, at + 2)])


def _closed(
    walk: Walk, node: Node, t: Tensor, scale: Tensor, zero: Tensor | None, inside: bool = False
) -> Tensor:
    return quantize(walk, replace(node, attributes={}), [t, scale, zero], inside)


def qlinear_matmul(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    b = needed(inputs, 3)
    product = matmul(
        walk, node, [_opened(walk, node, inputs, 0), _opened(walk, node, inputs, 3, len(b.shape) - 1)]
    )
    return _closed(walk, node, product, needed(inputs, 6), optional(inputs, 7))


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
    parts = [_opened(walk, node, inputs, 0), _opened(walk, node, inputs, 3), _bias(inputs, 8, (1, 4))]
    return _closed(walk, node, conv(walk, node, parts), needed(inputs, 6), optional(inputs, 7))


def qgemm(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """com.microsoft QGemm; without an output scale its result is a float."""
    axis = 0 if node.get("transB", 0) else 1
    bias = _bias(inputs, 6, (1, 4))
    if bias is not None:  # it is counted in steps of alpha times both scales
        alpha = ex.exact(np.float32(node.get("alpha", 1.0)))
        bias = replace(bias, scale=ex.times(bias.scale, alpha))
    parts = [_opened(walk, node, inputs, 0), _opened(walk, node, inputs, 3, axis), bias]
    product = gemm(walk, node, parts)
    scale = optional(inputs, 7)
    return product if scale is None else _closed(walk, node, product, scale, optional(inputs, 8))


def _shifted(walk: Walk, x: Tensor, zero: Tensor | None, axis: int, node: Node) -> Tensor:
    """Integers minus their zero point, as numbers."""
    one = Known(np.float32(1))
    return dequantize(walk, replace(node, attributes={"axis": axis}), [x, one, zero])


def _integers(product: Tensor) -> Scaled:
    return replace(computed(product), integer="int32")


def matmul_integer(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    a, b = needed(inputs, 0), needed(inputs, 1)
    x = _shifted(walk, a, optional(inputs, 2), 0, node)
    y = _shifted(walk, b, optional(inputs, 3), len(b.shape) - 1, node)
    return _integers(matmul(walk, node, [x, y]))


def conv_integer(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    x = _shifted(walk, needed(inputs, 0), optional(inputs, 2), 0, node)
    w = _shifted(walk, needed(inputs, 1), optional(inputs, 3), 0, node)
    return _integers(conv(walk, node, [x, w]))


def _two(op: str, lower: Callable[[Walk, Node, Inputs], Tensor]) -> Rule:
    """ONNX Runtime's operators on two quantised tensors."""

    def both(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
        parts = [_opened(walk, node, inputs, 0), _opened(walk, node, inputs, 3)]
        done = lower(walk, replace(node, op=op), parts)
        return _closed(walk, node, done, needed(inputs, 6), optional(inputs, 7), inside=True)

    return rule(both)


def _one(op: str, lower: Callable[[Walk, Node, Inputs], Tensor], inside: bool = False) -> Rule:
    """ONNX Runtime's operators on one quantised tensor."""

    def single(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
        x = _opened(walk, node, inputs, 0)
        turned = bool(node.get("channels_last", 0))
        done = computed(lower(walk, replace(node, op=op, domain=""), [first(walk, x) if turned else x]))
        done = last(walk, done) if turned else done
        return _closed(walk, node, done, needed(inputs, 3), optional(inputs, 4), inside)

    return rule(single)


def qlinear_sigmoid(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """A table of the integers."""
    sigmoid = operator("Sigmoid")
    curve = pointwise(walk, "Sigmoid", [_opened(walk, node, inputs, 0)], lambda a: fold(sigmoid, a)[0])
    close = replace(node, attributes={})

    def quantised_constant(array: Known) -> Known:
        return known(quantize(walk, close, [array, needed(inputs, 3), optional(inputs, 4)]), "operand")

    return quantised(walk, curve, quantised_constant)


def qlinear_where(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    parts = [needed(inputs, 0), _opened(walk, node, inputs, 1), _opened(walk, node, inputs, 4)]
    return _closed(walk, node, where(walk, node, parts), needed(inputs, 7), optional(inputs, 8))


def matmul_integer_to_float(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """MatMulInteger, times both scales, plus a bias."""
    a, b = needed(inputs, 0), needed(inputs, 1)
    part = replace(node, attributes={"axis": len(b.shape) - 1})
    x = dequantize(walk, part, [a, needed(inputs, 2), optional(inputs, 4)])
    y = dequantize(walk, part, [b, needed(inputs, 3), optional(inputs, 5)])
    product = computed(matmul(walk, node, [x, y]))
    bias = optional(inputs, 6)
    return product if bias is None else product.plus(known(bias, "bias").reals())


def qlinear_concat(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    parts: list[Any] = [_opened(walk, node, inputs, i) for i in range(2, len(inputs), 3)]
    return _closed(walk, node, concat(walk, node, parts), needed(inputs, 0), needed(inputs, 1))


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
    "QLinearAdd": _two("Add", add),
    "QLinearMul": _two("Mul", mul),
    "QLinearLeakyRelu": _one("LeakyRelu", leaky),
    "QLinearSigmoid": rule(qlinear_sigmoid),
    "QLinearWhere": rule(qlinear_where),
    "MatMulIntegerToFloat": rule(matmul_integer_to_float),
    "QLinearConcat": rule(qlinear_concat),
    "QLinearAveragePool": _one("AveragePool", average_pool, inside=True),
    "QLinearGlobalAveragePool": _one("GlobalAveragePool", global_pool),
}
