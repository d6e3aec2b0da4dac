"""All rules, by operator: those of the standard, and those of the QONNX dialect."""

from __future__ import annotations

from . import (
    arithmetic,
    channels_last,
    conv,
    layout,
    logic,
    lutlayers,
    qdq,
    qonnx,
    qoperator,
    rearrange,
    trees,
)
from .model import QONNX, Node
from .rule import Rule
from .schema import described

STANDARD_RULES: dict[str, Rule] = {
    **conv.RULES,
    **arithmetic.RULES,
    **layout.RULES,
    **logic.RULES,
    **qdq.RULES,
    **qoperator.STANDARD,
    **rearrange.RULES,
}
QONNX_RULES: dict[str, Rule] = qonnx.RULES
MICROSOFT = "com.microsoft"
DOMAINS: dict[str, dict[str, Rule]] = {
    "": STANDARD_RULES,
    **dict.fromkeys(sorted(QONNX), QONNX_RULES),
    "qonnx.custom_op.channels_last": channels_last.RULES,
    MICROSOFT: qoperator.MICROSOFT,
    lutlayers.DOMAIN: lutlayers.RULES,
    trees.DOMAIN: trees.RULES,
}


def find(node: Node) -> Rule | None:
    """The rule of a node's operator, or None."""
    if node.domain == "":
        # Some exporters put the dialect's quantisers into the standard's own domain, which has none of these names.
        dialect = None if described(node.op, node.version) else QONNX_RULES.get(node.op)
        return STANDARD_RULES.get(node.op) or dialect
    return DOMAINS.get(node.domain, {}).get(node.op)
