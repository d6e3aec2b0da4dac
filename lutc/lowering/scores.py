"""What stands at the end of a classifier: a softmax, which is left to the host, and the index of the largest score."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lutc.ir.graph import Value
from lutc.lowering import exact as ex
from lutc.lowering.model import Layer, Role
from lutc.lowering.operands import keep_samples_apart
from lutc.lowering.refusals import Refusal
from lutc.lowering.tensors import Scaled, core, plain
from lutc.lowering.walk import Walk

INSIDE = (
    "write it as Exp, ReduceSum, Reciprocal and Mul with a quantiser behind each of the first three: "
    "Exp and Reciprocal become tables, and the rest is exact"
)
ORDER = (
    "compares scores that the Softmax before it normalises apart, so that their order changes",
    "take the largest along the Softmax's own axis, or leave the Softmax away",
)


def softmax(walk: Walk, t: Scaled, axes: Sequence[int]) -> Scaled:
    """A softmax along `axes` as the last layer: left to the host, for the largest score stays the largest.

    So are quantisers behind it. The walk notes which tensors are `hosted`: by name, an array that numbers the elements
    the softmax normalises together; a frontend moves it along with the scores. Raises Refusal if other layers read the
    result.
    """
    layer = walk.layer
    assert layer is not None
    keep_samples_apart(t, axes[:1])
    after: list[tuple[Layer, bool]] = [(layer, False)]
    rounded, left = False, [layer.label]
    while after:
        follower, behind = after.pop()
        rounds = follower.role is Role.QUANTISES
        # Behind a quantiser equal scores may be unequal ones here.
        if (
            follower is not layer
            and not rounds
            and (follower.role is Role.COMPUTES or (behind and follower.role is Role.CHOOSES))
        ):
            raise Refusal(f"stands inside of the network: {follower.label} reads it", INSIDE)
        if rounds:
            left.append(follower.label)
        rounded = rounded or rounds
        walk.hosted.update(dict.fromkeys(follower.outputs))
        after += [(n, behind or rounds) for o in follower.outputs for n in walk.consumers.get(o, [])]
    rest = tuple(1 if i in axes else n for i, n in enumerate(t.shape))
    numbers = np.arange(math.prod(rest)).reshape(rest)
    walk.hosted[layer.outputs[0]] = np.array(np.broadcast_to(numbers, t.shape))
    what = f"{', '.join(left)} are left" if rounded else f"{layer.label} is left"
    order = "order" if rounded else "argmax"
    walk.note(f"{what} to the host: outputs are the scores before it, whose {order} is the same")
    return t


def argmax(
    walk: Walk,
    t: Scaled,
    axis: int,
    *,
    largest: bool = True,
    last: bool = False,
    keep: bool = True,
    together: Any = None,
) -> Scaled:
    """The index of the first largest (or smallest, or `last`) element along a dimension, which stays if `keep` says so.

    Scores behind a softmax come with the numbers of those it normalised `together`. Raises Refusal where their order
    differs from that of the scores before it.
    """
    keep_samples_apart(t, (axis,))
    if together is not None and (
        together.shape != t.shape or (together != together.take([0], axis=axis)).any()
    ):
        raise Refusal(*ORDER)
    if not largest:
        t = t.times(ex.number(-1))
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
    return walk.reshape(found, tuple(1 if i == axis else n for i, n in enumerate(t.shape))) if keep else found
