"""Whether a model that was refused is one of floats, which nothing quantises."""

from __future__ import annotations

import re

from lutc.lowering.linear import floating
from lutc.lowering.tensors import Known
from lutc.lowering.unquantised import FloatModel, Framework, Unquantised
from lutc.lowering.walk import Walk

from .model import Node, OnnxModel
from .registry import MICROSOFT

FRAMEWORK = Framework(
    "model.onnx",
    "onnx.save(model, 'model.onnx')",
    "lutc.nn.convert(module) in Python, of the PyTorch module that it was exported from",
)
# Operators of others that may stand in a model of floats: those of scikit-learn's exporter, and ONNX Runtime's.
PLAIN = ("", "ai.onnx.ml", MICROSOFT)
PRODUCTS = re.compile("MatMul|Gemm|Conv|ConvTranspose|Einsum|LSTM|GRU|RNN|Attention|Fused(Conv|Gemm|MatMul)")
QUANTISERS = re.compile("Q[A-Z].*|.*Quant.*|.*Integer|.*NBits|Trunc|MultiThreshold")
ROUNDS = ("Round", "Floor", "Ceil", "Sign")
HIDES = ("If", "Loop", "Scan")  # whose graphs are not looked into


def float_model(walk: Walk, model: OnnxModel, file: str | None) -> Unquantised | None:
    """What is said of a model that has weights, and not one of them nor any of its data is quantised."""
    if walk.integers or any(_quantises(walk, node) for node in model.layers):
        return None
    layers = floating(walk.products(n for n in model.layers if PRODUCTS.fullmatch(n.op)))
    return Unquantised(FloatModel(model.name, file, layers, FRAMEWORK)) if layers else None


def _quantises(walk: Walk, node: Node) -> bool:
    """Whether a node rounds data, or may do so for all that is known; what it does to constants is seen in these."""
    if node.domain not in PLAIN or node.op in HIDES or QUANTISERS.fullmatch(node.op):
        return True
    return node.op in ROUNDS and not all(isinstance(walk.tensors.get(n), Known) for n in node.outputs)
