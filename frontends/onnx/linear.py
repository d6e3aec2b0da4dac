"""Products of matrices, and Einsum."""

from __future__ import annotations

import numpy as np

from lutc.lowering import linear as kit
from lutc.lowering.einsum import einsum
from lutc.lowering.tensors import Tensor
from lutc.lowering.walk import Walk

from .model import Node
from .rule import Inputs, Rule, binary, needed, optional, rule


def gemm(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    return kit.gemm(
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


RULES: dict[str, Rule] = {
    "MatMul": rule(binary(kit.matmul)),
    "Gemm": rule(gemm),
    "Einsum": rule(einstein_sum),
}
