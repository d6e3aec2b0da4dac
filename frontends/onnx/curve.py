"""Operators that are part of a function between two quantisers, which becomes a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lutc.lowering.curve import normalised, pointwise, quantised, refuse_curves, truths
from lutc.lowering.elementwise import whole_power
from lutc.lowering.tensors import Curve, Known, Scaled
from lutc.lowering.walk import Walk

from .model import Node, fold
from .rule import Rule

# Operators that work element by element: those with an exact rule, which join a table where one is begun, and others.
# fmt: off
EXACT = frozenset((
    "Abs", "Add", "BatchNormalization", "Cast", "Clip", "Div", "Identity", "LeakyRelu", "Max", "Mean", "Min", "Mul",
    "Neg", "PRelu", "Pow", "Relu", "Sign", "Sub", "Sum",
))
CURVES = frozenset((
    "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Celu", "Cos", "Cosh", "Elu", "Erf", "Exp", "Floor",
    "Gelu", "HardSigmoid", "HardSwish", "Log", "Mish", "Reciprocal", "Round", "Selu", "Shrink", "Sigmoid",
    "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Swish", "Tan", "Tanh", "ThresholdedRelu",
))
# fmt: on
QUANTISERS = frozenset({"Quant", "IntQuant", "BipolarQuant", "QuantizeLinear"})
TRUTHS = frozenset(("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"))  # need no quantiser


def joins(tensors: Sequence[Any], node: Node) -> bool:
    """Whether a node is part of a function that becomes a table."""
    if any(isinstance(t, Curve) for t in tensors):
        return True
    if node.domain != "" or not any(isinstance(t, Scaled) for t in tensors):
        return False
    if node.op == "Pow" and isinstance(tensors[1], Known):
        return not whole_power(tensors[1])
    return node.op in CURVES or (node.op == "Div" and isinstance(tensors[0], Known))


def known_curve(node: Node) -> bool:
    """Whether an operator can become a table."""
    return node.domain == "" and node.op in CURVES


def extended(walk: Walk, node: Node, given: Sequence[Any], rule: Rule | None) -> Any:
    """What a node makes of functions: another function, or behind a quantiser a value looked up in a table."""
    tensors = list(given)

    def compute(arrays: list[Any]) -> Any:
        return np.asarray(fold(node, arrays)[0])

    if node.op in QUANTISERS and rule and isinstance(tensors[0], Curve):
        return quantised(
            walk, tensors[0], lambda array: rule.lower(walk, node, [array, *tensors[1:]]), tensors[1:]
        )
    if node.domain != "" or node.op not in EXACT | CURVES | TRUTHS:
        refuse_curves(tensors)
    if node.op == "BatchNormalization" and isinstance(tensors[0], Curve):
        return normalised(node.op, tensors[0], tensors[1:], compute)
    make = truths if node.op in TRUTHS else pointwise
    return make(walk, node.op, tensors, compute)
