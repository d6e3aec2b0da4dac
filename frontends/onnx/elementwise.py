"""Operators that work element by element."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from lutc.lowering import elementwise as kit
from lutc.lowering import exact as ex
from lutc.lowering.operands import computed, known, small
from lutc.lowering.refusals import Refusal
from lutc.lowering.tensors import Known, Tensor
from lutc.lowering.walk import Walk

from .model import Node
from .rule import Inputs, Rule, needed, optional, rule


def add(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """Add and Sub."""
    a, b = needed(inputs, 0), needed(inputs, 1)
    return kit.subtract(walk, a, b) if node.op == "Sub" else kit.add(walk, a, b)


def mul(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    return kit.multiply(walk, needed(inputs, 0), needed(inputs, 1))


def div(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    return kit.divide(walk, needed(inputs, 0), needed(inputs, 1))


def power(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    return kit.power(walk, needed(inputs, 0), needed(inputs, 1))


def neg(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    return kit.negative(computed(needed(inputs, 0)))


def absolute(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    return kit.absolute(walk, computed(needed(inputs, 0)))


def relu(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    return kit.relu(computed(needed(inputs, 0)))


def clip(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """Clip: bounds are attributes before operator set 11 and inputs since."""
    t = computed(needed(inputs, 0))
    if node.version < 11:
        ends = [node.get("min", None), node.get("max", None)]
        lo, hi = (None if e is None else kit.bound(np.float32(e)) for e in ends)
    else:
        bounds = [optional(inputs, i) for i in (1, 2)]
        lo, hi = (None if x is None else kit.bound(small(x)) for x in bounds)
    return kit.clip(t, lo, hi)


def batch_norm(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """BatchNormalization for inference."""
    t = computed(needed(inputs, 0))
    # Before operator set 14 the results beside the first one are what says so.
    if node.get("training_mode", 0) or (node.version < 14 and any(node.outputs[1:])):
        raise Refusal("is in training mode", "export the model for inference")
    if node.version < 9 and not node.get("spatial", 1):
        raise Refusal(
            "normalises each position by itself (spatial=0)", "export it again with a newer operator set"
        )
    gamma, beta, mean, var = (small(needed(inputs, i)) for i in range(1, 5))
    epsilon = np.float64(np.float32(node.get("epsilon", 1e-5)))
    return kit.batch_norm(t, gamma, beta, mean, var, epsilon)


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
    """LeakyRelu and PRelu."""
    t = computed(needed(inputs, 0))
    if node.op == "PRelu":
        return kit.leaky_relu(walk, t, known(needed(inputs, 1), "slope"))
    return kit.leaky_relu(walk, t, Known(np.float32(node.get("alpha", 0.01))))


RULES: dict[str, Rule] = {
    "Add": rule(add),
    "Sub": rule(add),
    "Mul": rule(mul, folds=True),
    "Div": rule(div),
    "Pow": rule(power),
    "Neg": rule(neg),
    "Abs": rule(absolute),
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
    "PRelu": rule(leaky),
}
