"""All rules, by operator: those of the standard, and those of the QONNX dialect."""

from __future__ import annotations

from . import elementwise, final, layout, linear, qdq, qonnx
from .model import QONNX, Node
from .rule import Rule

STANDARD_RULES: dict[str, Rule] = {
    **elementwise.RULES,
    **final.RULES,
    **layout.RULES,
    **linear.RULES,
    **qdq.RULES,
}
QONNX_RULES: dict[str, Rule] = qonnx.RULES


def find(node: Node) -> Rule | None:
    """The rule of a node's operator, or None."""
    if node.domain == "":
        # Some exporters put the dialect's quantisers into the standard's own domain, which has none of these names.
        return STANDARD_RULES.get(node.op) or QONNX_RULES.get(node.op)
    return QONNX_RULES.get(node.op) if node.domain in QONNX else None
