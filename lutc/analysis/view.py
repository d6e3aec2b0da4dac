"""A design as a networkx graph, for graph algorithms: a view made for the occasion, not where the IR is stored."""

from __future__ import annotations

from collections.abc import Sequence

import networkx as nx

from lutc import target as targets
from lutc.ir.graph import Design, Func, Value, body
from lutc.ir.ops.base import Op


def graph(owner: Design | Func, target: str = "xcvu13p") -> nx.MultiDiGraph:
    """The values of a design or function, with an edge from each operand to what reads it.

    Nodes are the values themselves, in topological order, with the attributes `op` (keyword; "input" for parameters),
    `type`, `origin` and, of scalar operations, `luts` and `delay` (ns) by the target's model. Edges have `position`,
    the operand's place among the reader's. Raises LirError for an unknown target.
    """
    device = targets.load(target)
    view = nx.MultiDiGraph()
    for value in body(owner):
        known: dict[str, object] = {"type": str(value.type), "origin": value.origin}
        if isinstance(value, Op):
            known["op"] = value.keyword
            if not any(v.type.shape for v in (value, *value.operands)):
                known |= {"luts": value.luts(device), "delay": value.delay(device)}
        view.add_node(value, **{"op": "input", **known})
        for position, operand in enumerate(value.operands if isinstance(value, Op) else ()):
            view.add_edge(operand, value, position=position)
    return view


def longest_path(owner: Design | Func, target: str = "xcvu13p") -> Sequence[Value]:
    """The values on the slowest way through a scalar design, by the target's delay model, first to last."""
    view = graph(owner, target)
    for _, reader, edge in view.edges(data=True):
        edge["weight"] = view.nodes[reader].get("delay", 0.0)
    path: Sequence[Value] = nx.dag_longest_path(nx.DiGraph(view), weight="weight")
    return path
