"""What stands at the end of a classifier, and the ports of the design."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np

from lutc.ir.graph import Output, Value
from lutc.lowering.refusals import Refusal
from lutc.numbers import twos

from . import exact as ex
from .model import Node, fold
from .rule import Inputs, Rule, axis_of, computed, keep_samples_apart, needed, rule
from .tensors import Known, Scaled, Shape, Tensor, concrete, core, plain
from .walk import Walk

# A port carries real numbers as long as that takes no more bits after the point than this.
PORT_BITS = 40
# Behind these, scores only move about; their order stays.
MOVES = frozenset(
    {"Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Dropout", "ArgMax"}
)

SOFTMAX = frozenset({"Softmax", "LogSoftmax"})
QUANTISERS = frozenset({"QuantizeLinear", "DequantizeLinear", "Quant", "IntQuant"})
INSIDE = (
    "write it as Exp, ReduceSum, Reciprocal and Mul with a quantiser behind each of the first three: "
    "Exp and Reciprocal become tables, and the rest is exact"
)


def softmax(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """Softmax and LogSoftmax as the last layer: left to the host, for the largest score stays the largest.

    So are quantisers behind them. Raises Refusal if other layers read the result.
    """
    t = computed(needed(inputs, 0))
    axis = axis_of(node.get("axis", 1 if node.version < 13 else -1), len(t.shape))
    keep_samples_apart(t, (axis,))
    after, rounded, left = [(node, False)], False, [node.label]
    while after:
        follower, behind = after.pop()
        rounds = follower.op in QUANTISERS
        # Behind a quantiser equal scores may be unequal ones here.
        if (
            follower is not node
            and not rounds
            and (follower.op not in MOVES or (behind and follower.op == "ArgMax"))
        ):
            raise Refusal(f"stands inside of the network: {follower.label} reads it", INSIDE)
        if rounds:
            left.append(follower.label)
        rounded = rounded or rounds
        walk.hosted.update(follower.outputs)
        after += [(n, behind or rounds) for o in follower.outputs for n in walk.consumers.get(o, [])]
    what = f"{', '.join(left)} are left" if rounded else f"{node.label} is left"
    order = "order" if rounded else "argmax"
    walk.note(f"{what} to the host: outputs are the scores before it, whose {order} is the same")
    return t


def _same_order(walk: Walk, node: Node, shape: Shape, axis: int) -> None:
    """Raise Refusal unless scores keep their order along an axis: a Softmax before must have normalised them together.

    Every element gets the number of those it was normalised with, and the numbers follow the layers between.
    """
    makers = {o: n for n in walk.model.nodes for o in n.outputs}
    chain: list[Node] = []
    at = node.inputs[0]
    while at in makers and (maker := makers[at]).op not in SOFTMAX:
        chain.append(maker)
        at = maker.inputs[0]
    maker, moved = (
        makers[at],
        [n for n in reversed(chain) if n.op not in QUANTISERS | {"Identity", "Dropout"}],
    )
    before = walk.tensors[maker.inputs[0]].shape
    assert before is not None
    over = axis_of(maker.get("axis", 1 if maker.version < 13 else -1), len(before))
    groups = np.zeros(before, dtype=np.int64)
    if maker.version < 13 and maker.proto is not None:  # all dimensions from the axis on
        groups += np.arange(math.prod(before[:over])).reshape(*before[:over], *(1,) * (len(before) - over))
    else:
        rest = tuple(1 if i == over else n for i, n in enumerate(before))
        groups += np.arange(math.prod(rest)).reshape(rest)
    for step in moved:
        others = [walk.tensors.get(n) if n else None for n in step.inputs[1:]]
        arrays = [t.array if isinstance(t, Known) else None for t in others]
        if step.proto is None and step.compute is None:
            raise Refusal(*ORDER)
        groups = np.asarray(fold(step, [groups, *arrays])[0])
    if groups.shape != shape or (groups != groups.take([0], axis=axis)).any():
        raise Refusal(*ORDER)


ORDER = (
    "compares scores that the Softmax before it normalises apart, so that their order changes",
    "take the largest along the Softmax's own axis, or leave the Softmax away",
)


def argmax(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """ArgMax and ArgMin: the index of the first largest (smallest) element."""
    t = computed(needed(inputs, 0))
    axis = axis_of(node.get("axis", 0), len(t.shape))
    keep_samples_apart(t, (axis,))
    if node.inputs and node.inputs[0] in walk.hosted:
        _same_order(walk, node, t.shape, axis)
    if node.op == "ArgMin":
        t = t.times(ex.number(-1))
    last = node.get("select_last_index", 0)
    rank = len(t.shape)
    turned = walk.transpose(t, (*(i for i in range(rank) if i != axis), axis))
    unit, value = walk.exact(turned)
    length = t.shape[axis]
    value = walk.reshaped(value, (*core(turned.shape[:-1]), length))
    if unit < 0:
        value = walk.b.neg(value)
    if last:
        value = walk.b.gather(value, indices=list(range(length))[::-1], axis=len(value.type.shape) - 1)
    index: Value = walk.b.argmax(value)
    shape = turned.shape[:-1]
    index = walk.reshaped(index, core(shape))
    found = replace(plain(shape, index, t), integer="int64")
    if last:
        found = found.times(ex.number(-1)).plus(ex.number(length - 1))
    keep = tuple(1 if i == axis else n for i, n in enumerate(t.shape))
    return walk.reshape(found, keep) if node.get("keepdims", 1) else found


def output(walk: Walk, name: str, t: Tensor) -> None:
    """An output port. Its numbers are the model's where steps of a power of two can say them; else it has a scale."""
    port = walk.names.take(name, "out")
    if isinstance(t, Known):
        raise Refusal(f"output {name!r} is a constant", "leave it away: it does not depend on the inputs")
    if isinstance(t.value, Value) and not t.clips():
        scale, offset = (walk.inner(x, t.shape) for x in (t.scale, t.offset))
        unit = ex.lone(scale)
        simple = unit is not None and ex.power_of_two(unit) and _short(walk, t)
        if not simple and _last_only(scale) and _last_only(offset) and ex.every(bool, scale):
            _scaled(walk, port, t, unit)
            return
    unit, value = walk.exact(t)
    if ex.dyadic(unit) and abs(unit.numerator).bit_length() + unit.denominator.bit_length() <= PORT_BITS:
        value, unit = (walk.b.scale(value, by=unit) if unit != 1 else value), Fraction(1)
    walk.outputs.append(Output(port, value, (unit,)))


def _short(walk: Walk, t: Scaled) -> bool:
    """Whether the offset takes few enough bits after the point to be added in hardware."""
    return ex.every(lambda v: ex.dyadic(v) and (not v or twos(v) <= PORT_BITS), t.offset)


def _last_only(x: ex.Exact) -> bool:
    return all(n == 1 for n in x.shape[:-1])


def _scaled(walk: Walk, port: str, t: Scaled, unit: Fraction | None) -> None:
    """A port whose scale and offset are left to the host: they cost no hardware."""
    value = concrete(t)
    length = value.type.shape[-1] if value.type.shape else 1
    scale, offset = walk.inner(t.scale, t.shape), walk.inner(t.offset, t.shape)
    if unit is not None and ex.lone(offset) is None:
        # Offsets that differ are added where the scale allows it, so that raw numbers can be compared.
        terms = ex.compress(offset / unit)
        if ex.every(lambda v: ex.dyadic(v) and (not v or twos(v) <= PORT_BITS), terms):
            walk.outputs.append(Output(port, walk.affine(value, ex.number(1), terms), (unit,)))
            return
    scales, offsets = (tuple(ex.spread(x.ravel(), (length,)).tolist()) for x in (scale, offset))
    if len(set(scales)) > 1 or len(set(offsets)) > 1:
        walk.note(
            f"output {port} has a scale and offset for each index of its last dimension: apply them first"
        )
    walk.outputs.append(Output(port, value, _short_list(scales), _short_list(offsets)))


def _short_list(numbers: tuple[Fraction, ...]) -> tuple[Fraction, ...]:
    return numbers[:1] if len(set(numbers)) == 1 else numbers


RULES: dict[str, Rule] = {
    "Softmax": rule(softmax),
    "LogSoftmax": rule(softmax),
    "ArgMax": rule(argmax),
    "ArgMin": rule(argmax),
}
