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
    del asked.graph.input[:]
    for name, array in given.items():
        if array.size <= SMALL and array.dtype.kind in "biuf":
            asked.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
        else:
            kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
            asked.graph.input.append(onnx.helper.make_tensor_value_info(name, kind, array.shape))
    try:
        inferred = onnx.shape_inference.infer_shapes(asked)
    except Exception:  # of several kinds: what is wrong with the node, its evaluation tells better
        return
    for result in inferred.graph.output:
        check_elements(math.prod(d.dim_value for d in result.type.tensor_type.shape.dim))
