"""QONNX's layers with channels last: the standard's own between two transpositions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from lutc.lowering.linear import view
from lutc.lowering.operands import computed
from lutc.lowering.tensors import Scaled, Tensor
from lutc.lowering.walk import Walk

from .arithmetic import batch_norm
from .conv import average_pool, conv, max_pool
from .model import Node
from .rule import Inputs, Rule, needed, rule


def first(walk: Walk, t: Tensor) -> Tensor:
    """The last dimension moved to the second place."""
    rank = len(t.shape)
    perm = (0, rank - 1, *range(1, rank - 1))
    return walk.transpose(t, perm) if isinstance(t, Scaled) else view(t, lambda a: np.transpose(a, perm))


def last(walk: Walk, t: Scaled) -> Scaled:
    """The second dimension moved to the last place."""
    return walk.transpose(t, (0, *range(2, len(t.shape)), 1))


def wrapped(lower: Callable[[Walk, Node, Inputs], Tensor], turned: int) -> Rule:
    """A rule of the standard whose first `turned` inputs, and whose result, have their channels last."""

    def around(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
        parts = [first(walk, needed(inputs, i)) for i in range(turned)]
        done = computed(
            lower(
                walk, replace(node, domain="", version=node.versions.get("", 0)), [*parts, *inputs[turned:]]
            )
        )
        return last(walk, done)

    return rule(around)


RULES: dict[str, Rule] = {
    "Conv": wrapped(conv, 2),
    "MaxPool": wrapped(max_pool, 1),
    "AveragePool": wrapped(average_pool, 1),
    "BatchNormalization": wrapped(batch_norm, 1),
}
