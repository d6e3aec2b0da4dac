"""Comparisons, logic and choices, and casts from one element type to another."""

from __future__ import annotations

from lutc.ir.ops.logic import Relation
from lutc.lowering import logic as kit
from lutc.lowering.cast import converted
from lutc.lowering.dtypes import kind_name
from lutc.lowering.operands import computed
from lutc.lowering.tensors import Known, Tensor
from lutc.lowering.walk import Walk

from .model import Node, import_onnx
from .rule import Inputs, Rule, needed, rule, unary

RELATIONS = {
    "Equal": Relation.EQ,
    "Less": Relation.LT,
    "LessOrEqual": Relation.LE,
    "Greater": Relation.GT,
    "GreaterOrEqual": Relation.GE,
}


def compare(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    return kit.compare(walk, needed(inputs, 0), needed(inputs, 1), RELATIONS[node.op])


def logic(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    by = {"And": walk.b.and_, "Or": walk.b.or_, "Xor": walk.b.xor}[node.op]
    return kit.connected(walk, needed(inputs, 0), needed(inputs, 1), by)


def where(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    return kit.where(walk, needed(inputs, 0), needed(inputs, 1), needed(inputs, 2))


def cast(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    kinds = {v: k.lower() for k, v in import_onnx().TensorProto.DataType.items()}
    to = node.get("to", 1)
    return converted(walk, computed(needed(inputs, 0)), kinds.get(to, f"type {to}"))


def cast_like(walk: Walk, node: Node, inputs: Inputs) -> Tensor:
    """CastLike: Cast to the type of the second input."""
    like = needed(inputs, 1)
    kind = kind_name(like.array.dtype) if isinstance(like, Known) else like.integer or "float"
    return converted(walk, computed(needed(inputs, 0)), kind)


RULES: dict[str, Rule] = {
    **{op: rule(compare) for op in RELATIONS},
    **{op: rule(logic) for op in ("And", "Or", "Xor")},
    "Not": rule(unary(kit.logical_not)),
    "Sign": rule(unary(kit.sign)),
    "Where": rule(where),
    "Cast": rule(cast),
    "CastLike": rule(cast_like),
}
