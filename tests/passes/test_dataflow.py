"""The data flow of a body as a networkx graph."""

from __future__ import annotations

import random

import networkx as nx
import pytest
from random_designs import random_design

import lutc
from lutc.analysis.dataflow import Dataflow
from lutc.ir.graph import owners
from lutc.ir.ops import Add, Mul

TEXT = """lir 1 scalar

design d(%a: s4, %b: s4, %c: s4) -> (y = %y, z = %d, k = %n) {
  %n = number value=3
  %d = sub %a, %a
  %s = add %a, %b
  %y = mul %s, %s
}
"""


def test_nodes_and_edges() -> None:
    design = lutc.loads(TEXT)
    flow = Dataflow(design)
    assert [flow.values[i] for i in flow.digraph] == list(design.values)
    product = next(v for v in flow.values if isinstance(v, Mul))
    total = next(v for v in flow.values if isinstance(v, Add))
    assert [flow.values[i] for i in flow.digraph.pred[flow.place[product]]] == [total]
    assert nx.is_directed_acyclic_graph(flow.digraph)


def test_reach() -> None:
    design = lutc.loads(TEXT)
    flow = Dataflow(design)
    a, b, c = design.params
    below = flow.below(design.roots)
    assert {a, b} <= below and c not in below
    assert {v for v in flow.above([b]) if isinstance(v, Mul | Add)} == {
        v for v in flow.values if isinstance(v, Mul | Add)
    }
    assert {*flow.values} - flow.above(design.params) == {design.roots[2]}, "the number moves with nothing"


@pytest.mark.parametrize("seed", range(10))
def test_the_order_of_random_designs_holds_everything_once_operands_first(seed: int) -> None:
    for owner in owners(random_design(random.Random(seed), "scalar")):
        met: set[object] = set()
        for value in Dataflow(owner).order():
            assert value not in met and all(o in met for o in value.operands)
            met.add(value)
        assert met == {*owner.values}
