"""Operators that work element by element."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from lutc.lowering import elementwise as kit
from lutc.lowering import exact as ex
from lutc.lowering.operands import computed, small
from lutc.lowering.refusals import Refusal
from lutc.lowering.tensors import Known, Tensor
from lutc.lowering.walk import Walk

from .model import Node
from .rule import Inputs, Rule, binary, needed, optional, rule, unary


def clip(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """Clip: bounds are attributes before operator set 11 and inputs since."""
    t = computed(needed(inputs, 0))
    if node.version < 11:
        ends = [node.get("min", None), node.get("max", None)]
        lo, hi = (None if e is None else kit.bound(np.float32(e)) for e in ends)
    else:
        bounds = [optional(inputs, i) for i in (1, 2)]
        lo, hi = (None if x is None else kit.bound(small(x)) for x in bounds)
    return kit.clip(walk, t, lo, hi)


def batch_norm(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """BatchNormalization for inference."""
    # Before operator set 14 the results beside the first one are what says so.
    if node.get("training_mode", 0) or (node.version < 14 and any(node.outputs[1:])):
        raise Refusal("is in training mode", "export the model for inference")
    if node.version < 9 and not node.get("spatial", 1):
        raise Refusal(
            "normalises each position by itself (spatial=0)", "export it again with a newer operator set"
        )
    gamma, beta, mean, var = (small(needed(inputs, i)) for i in range(1, 5))
    epsilon = np.float64(np.float32(node.get("epsilon", 1e-5)))
    return kit.batch_norm(walk, needed(inputs, 0), gamma, beta, mean, var, epsilon)


def identity(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    return needed(inputs, 0)


def dropout(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """Dropout does nothing at inference."""
    optional(inputs, 1)  # the ratio, of training alone
    mode = optional(inputs, 2)
    if mode is not None and np.asarray(small(mode)).any():
        raise Refusal("drops elements at random (training_mode is set)", "export the model for inference")
    return needed(inputs, 0)


def extreme(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """Min and Max of any number of tensors."""
    tensors = [t for t in inputs if t is not None]
    return kit.minimum(walk, tensors) if node.op == "Min" else kit.maximum(walk, tensors)


def many(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """Sum and Mean of any number of tensors."""
    result = kit.sum_of(walk, [t for t in inputs if t is not None])
    return result.times(ex.number(Fraction(1, len(inputs)))) if node.op == "Mean" else result


def leaky(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    return kit.leaky_relu(walk, needed(inputs, 0), Known(np.float32(node.get("alpha", 0.01))))


relu = unary(kit.relu)
RULES: dict[str, Rule] = {
    "Add": rule(binary(kit.add)),
    "Sub": rule(binary(kit.subtract)),
    "Mul": rule(binary(kit.multiply), folds=True),
    "Div": rule(binary(kit.divide)),
    "Pow": rule(binary(kit.power)),
    "Neg": rule(unary(kit.negative)),
    "Abs": rule(unary(kit.absolute)),
    "Relu": rule(relu),
    "Clip": rule(clip),
    "BatchNormalization": rule(batch_norm),
    "Identity": rule(identity),
    "Dropout": rule(dropout, folds=True),
    "Min": rule(extreme),
    "Max": rule(extreme),
    "Sum": rule(many),
    "Mean": rule(many),
    "LeakyRelu": rule(leaky),
    "PRelu": rule(binary(kit.leaky_relu)),
}
