"""How much a node makes of constants, before it is computed: a few bytes of a model may ask for terabytes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lutc.diagnostics import error
from lutc.lowering.operands import check_elements

SMALL = 64  # elements of a constant that may be a shape
# They run graphs as often as a number says, or read pictures.
NEVER = ("Loop", "Scan", "SequenceMap", "ImageDecoder")


def bounded(onnx: Any, op: str, model: Any, given: Mapping[str, Any]) -> None:
    """Raise LirError if a node would make more than any circuit can hold. `model` is the node alone."""
    if op in NEVER:
        raise error(
            f"is a {op}, which is not run at compile time", help="export the model with the loop unrolled"
        )
    asked = onnx.ModelProto()
    asked.CopyFrom(model)
    asked.graph.ClearField("input")
    small, inputs = constants(onnx, given)
    asked.graph.initializer.extend(small)
    asked.graph.input.extend(inputs)
    for shape in inferred(onnx, asked):
        check_elements(math.prod(shape))


def constants(onnx: Any, arrays: Mapping[str, Any]) -> tuple[list[Any], list[Any]]:
    """Constants as initializers where they may be shapes; of all others the types are enough."""
    kind = onnx.helper.np_dtype_to_tensor_dtype
    short = {n: a for n, a in arrays.items() if a.size <= SMALL and a.dtype.kind in "biuf"}
    types = [
        onnx.helper.make_tensor_value_info(n, kind(a.dtype), a.shape)
        for n, a in arrays.items()
        if n not in short
    ]
    return [onnx.numpy_helper.from_array(a, n) for n, a in short.items()], types


def inferred(onnx: Any, model: Any) -> list[tuple[int, ...]]:
    """The shapes of a model's results, as far as the standard's inference tells; an unknown length is 0."""
    try:
        done = onnx.shape_inference.infer_shapes(model)
    except Exception:  # of several kinds: what is wrong with the model, its rules tell better
        return []
    return [tuple(d.dim_value for d in r.type.tensor_type.shape.dim) for r in done.graph.output]
