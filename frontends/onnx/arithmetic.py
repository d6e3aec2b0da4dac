"""Arithmetic: element by element, products of matrices, and reductions along dimensions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from lutc.lowering import elementwise, linear, reduce
from lutc.lowering import exact as ex
from lutc.lowering.einsum import einsum
from lutc.lowering.operands import BROKEN, axis_of, computed, keep_samples_apart, small
from lutc.lowering.quantise import stopped
from lutc.lowering.refusals import Refusal
from lutc.lowering.scores import argmax, softmax
from lutc.lowering.tensors import Known, Tensor
from lutc.lowering.walk import Walk

from .model import Node
from .reasons import REASONS
from .rule import Inputs, Rule, binary, needed, optional, rule, unary

REDUCTIONS = {
    "ReduceSum": reduce.summed,
    "ReduceMean": reduce.mean,
    "ReduceMax": reduce.largest,
    "ReduceMin": reduce.smallest,
    "ReduceSumSquare": reduce.sum_square,
    "ReduceL1": reduce.sum_absolute,
}


def clip(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """Clip: bounds are attributes before operator set 11 and inputs since."""
    t = computed(needed(inputs, 0))
    if node.version < 11:
        ends = [node.get("min", None), node.get("max", None)]
        lo, hi = (None if e is None else elementwise.bound(np.float32(e)) for e in ends)
    else:
        bounds = [optional(inputs, i) for i in (1, 2)]
        lo, hi = (None if x is None else elementwise.bound(small(x)) for x in bounds)
    return stopped(walk, elementwise.clip(walk, t, lo, hi))


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
    return elementwise.batch_norm(walk, needed(inputs, 0), gamma, beta, mean, var, epsilon)


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
    return elementwise.extreme(walk, [t for t in inputs if t is not None], largest=node.op == "Max")


def many(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """Sum and Mean of any number of tensors."""
    result = elementwise.sum_of(walk, [t for t in inputs if t is not None])
    return result.times(ex.number(Fraction(1, len(inputs)))) if node.op == "Mean" else result


def leaky(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    return elementwise.leaky_relu(walk, needed(inputs, 0), Known(np.float32(node.get("alpha", 0.01))))


def gemm(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    return linear.gemm(
        walk,
        needed(inputs, 0),
        needed(inputs, 1),
        optional(inputs, 2),
        turn_a=bool(node.get("transA", 0)),
        turn_b=bool(node.get("transB", 0)),
        alpha=np.float32(node.get("alpha", 1.0)),
        beta=np.float32(node.get("beta", 1.0)),
    )


def einstein_sum(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    return einsum(walk, [t for t in inputs if t is not None], str(node.get("equation", "")))


def _axes(node: Node, inputs: Inputs, rank: int) -> list[int]:
    """The dimensions reduced: an attribute in older operator sets, an input in newer ones."""
    given, keep_all = node.get("axes", None), node.get("noop_with_empty_axes", 0)
    if given is None and optional(inputs, 1) is not None:
        given = [int(v) for v in np.asarray(small(inputs[1])).ravel()]
    if not given:
        return [] if keep_all else list(range(rank))
    return sorted({axis_of(a, rank) for a in given})


def reduction(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    t = computed(needed(inputs, 0))
    axes = _axes(node, inputs, len(t.shape))
    return reduce.reduce(walk, t, axes, REDUCTIONS[node.op], bool(node.get("keepdims", 1)))


def cumulative_sum(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    t = computed(needed(inputs, 0))
    if optional(inputs, 1) is None:
        raise Refusal("lacks its axis", BROKEN)
    axis = axis_of(np.asarray(small(inputs[1])).item(), len(t.shape))
    return linear.cumulative(walk, t, axis, bool(node.get("exclusive", 0)), bool(node.get("reverse", 0)))


def soft_max(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """Softmax and LogSoftmax; before operator set 13 over all dimensions from the axis on."""
    t = computed(needed(inputs, 0))
    rank = len(t.shape)
    axis = axis_of(node.get("axis", 1 if node.version < 13 else -1), rank)
    return softmax(walk, t, range(axis, rank) if node.version < 13 else (axis,))


def arg_max(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """ArgMax and ArgMin."""
    t = computed(needed(inputs, 0))
    return argmax(
        walk,
        t,
        axis_of(node.get("axis", 0), len(t.shape)),
        largest=node.op == "ArgMax",
        last=bool(node.get("select_last_index", 0)),
        keep=bool(node.get("keepdims", 1)),
        together=walk.hosted.get(node.inputs[0]),
    )


def top_k(walk: Walk, node: Node, inputs: Inputs) -> tuple[Tensor, ...]:
    """TopK of one element: the largest (or smallest) and the first index it has. Raises Refusal for more elements."""
    t = computed(needed(inputs, 0))
    count = node.get("k", None) if node.version < 10 else int(np.asarray(small(needed(inputs, 1))).item())
    if count != 1:
        raise Refusal(*REASONS["TopK"])
    node.get("sorted", 1)  # one element is sorted
    axis = axis_of(node.get("axis", -1), len(t.shape))
    keep_samples_apart(t, (axis,))
    largest = bool(node.get("largest", 1))
    used = [n for n in node.outputs[:2] if n and (n in walk.consumers or n in walk.model.outputs)]
    value = reduce.extreme(walk, t, [axis], largest) if node.outputs[0] in used else t
    if not node.outputs[1:] or node.outputs[1] not in used:
        return (value,)
    return value, argmax(walk, t, axis, largest=largest)


relu = unary(elementwise.relu)
RULES: dict[str, Rule] = {
    "Add": rule(binary(elementwise.add)),
    "Sub": rule(binary(elementwise.subtract)),
    "Mul": rule(binary(elementwise.multiply), folds=True),
    "Div": rule(binary(elementwise.divide)),
    "Pow": rule(binary(elementwise.power)),
    "Neg": rule(unary(elementwise.negative)),
    "Abs": rule(unary(elementwise.absolute)),
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
    "PRelu": rule(binary(elementwise.leaky_relu)),
    "MatMul": rule(binary(linear.matmul)),
    "Gemm": rule(gemm),
    "Einsum": rule(einstein_sum),
    **{op: rule(reduction) for op in REDUCTIONS},
    "CumSum": rule(cumulative_sum),
    "Softmax": rule(soft_max),
    "LogSoftmax": rule(soft_max),
    "ArgMax": rule(arg_max),
    "ArgMin": rule(arg_max),
    "TopK": rule(top_k),
}
