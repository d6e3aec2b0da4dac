"""Whether a model that was refused is one of floats, which nothing quantises."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import fx

from lutc.lowering.linear import floating
from lutc.lowering.model import Layer
from lutc.lowering.tensors import Known
from lutc.lowering.unquantised import FloatModel, Framework, Unquantised

from .call import State, schema_name

FRAMEWORK = Framework(
    "model.pt2",
    "torch.export.save(torch.export.export(model.eval(), example_inputs), 'model.pt2')",
    "lutc.nn.convert(module) in Python, which gives layers that learn how many bits they need",
)
PRODUCTS = re.compile(
    r"aten::(linear|addmm|baddbmm|matmul|mm|bmm|mv|einsum|bilinear|_?conv\w*|lstm|gru|rnn_\w+|\w*multi_head\w*)"
)
ROUNDS = re.compile(r"aten::(round|floor|ceil|trunc|fix|sign|sgn|floor_divide)|.*quantize.*")


def float_model(
    state: State, layers: Mapping[fx.Node, Layer], name: str, file: str | None
) -> Unquantised | None:
    """What is said of a model that has weights, and not one of them nor any of its data is quantised."""
    if state.walk.integers or any(_quantises(state, node) for node in layers):
        return None
    products = (layer for node, layer in layers.items() if PRODUCTS.fullmatch(schema_name(node)))
    found = floating(state.walk.products(products))
    return Unquantised(FloatModel(name, file, found, FRAMEWORK)) if found else None


def _quantises(state: State, node: fx.Node) -> bool:
    """Whether a node rounds data, or may do so for all that is known; what it does to constants is seen in these."""
    name = schema_name(node)
    if isinstance(node.target, torch._ops.OpOverload) and not name.startswith(("aten::", "prims::")):
        return True
    return bool(ROUNDS.fullmatch(name)) and not isinstance(state.values.get(node.name), Known)
