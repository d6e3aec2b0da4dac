"""The networkx view of a design."""

from __future__ import annotations

import networkx as nx
import pytest

import lutc
from lutc.analysis.timing import longest_stage
from lutc.analysis.view import graph, longest_path
from lutc.ir.graph import body
from lutc.target import load

TEXT = """lir 1 scalar

design d(%a: s4, %b: s4) -> (y = %y, z = %d) {
  %d = sub %a, %a
  %s = add %a, %b
  %y = mul %s, %s
}
"""


def test_nodes_and_edges() -> None:
    design = lutc.loads(TEXT)
    view = graph(design)
    assert list(view) == body(design)
    by_op = {data["op"]: (value, data) for value, data in view.nodes(data=True)}
    product, facts = by_op["mul"]
    total, _ = by_op["add"]
    assert [e["position"] for _, _, e in view.in_edges(product, data=True)] == [0, 1]
    assert {u for u, _ in view.in_edges(product)} == {total}
    assert facts["type"] == "s10" and facts["luts"] > 0 and facts["delay"] > 0
    assert view.nodes[design.params[0]]["op"] == "input"
    assert nx.is_directed_acyclic_graph(view)


def test_the_longest_path_is_what_timing_says() -> None:
    design = lutc.loads(TEXT)
    path = longest_path(design)
    view = graph(design)
    assert [view.nodes[v]["op"] for v in path] == ["input", "add", "mul"]
    slow = sum(view.nodes[v].get("delay", 0.0) for v in path)
    device = load("xcvu13p")
    assert slow + device.register == pytest.approx(longest_stage(design, device))
