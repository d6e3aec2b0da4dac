"""The data flow of a body as a networkx graph."""

from __future__ import annotations

import random

import networkx as nx
import pytest
from random_designs import random_design

import lutc
from lutc.analysis.dataflow import Dataflow
from lutc.analysis.timing import longest_stage
from lutc.ir.graph import Param, owners
from lutc.ir.ops import Add, Mul
from lutc.target import load

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
def test_layers_of_random_designs_hold_everything_once_and_point_down(seed: int) -> None:
    for owner in owners(random_design(random.Random(seed), "scalar")):
        met: set[object] = set()
        for layer in Dataflow(owner).generations():
            assert all(o in met for v in layer for o in v.operands)
            assert met.isdisjoint(layer)
            met.update(layer)
        assert met == {*owner.values}


def test_the_longest_path_is_what_timing_says() -> None:
    design, device = lutc.loads(TEXT), load("xcvu13p")
    path = Dataflow(design).longest_path(device)
    assert [type(v) for v in path] == [Param, Add, Mul]
    slow = sum(v.delay(device) for v in path if isinstance(v, Add | Mul))
    assert slow + device.register == pytest.approx(longest_stage(design, device))
