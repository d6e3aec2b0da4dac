"""An ONNX model as it is read: its nodes, and what they make of constants."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from lutc.diagnostics import LirError, error
from lutc.lowering.model import Layer, Model, Role

from .bounds import bounded

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

    from .functions import Functions

# Where the operators of the QONNX dialect have lived over the years.
QONNX = frozenset({"qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general", "finn"})
CHANNELS_LAST = "qonnx.custom_op.channels_last"
OLDEST = 7  # from here on operands broadcast as in numpy


# What stands behind a softmax: a quantiser, or what only moves scores about.
ROLES = {
    **dict.fromkeys(
        ("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Dropout"), Role.MOVES
    ),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear", "Quant", "IntQuant"), Role.QUANTISES),
    "ArgMax": Role.CHOOSES,
}


@dataclass(frozen=True, eq=False)
class Node(Layer):
    """A layer as the file has it: `version` is the operator set it follows, `attributes` are plain Python values.

    `reads` are its inputs and what its subgraphs read of the graphs around them.
    """

    op: str = ""
    domain: str = ""
    version: int = 0
    inputs: tuple[str, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    proto: NodeProto | None = field(default=None, repr=False)
    versions: Mapping[str, int] = field(
        default_factory=dict, repr=False
    )  # of all operator sets it may follow

    def get(self, name: str, default: Any) -> Any:
        return self.attributes.get(name, default)


@dataclass(frozen=True, eq=False)
class OnnxModel(Model):
    """A model as the file has it."""

    layers: tuple[Node, ...]
    opset: int = 0
    stated: Mapping[str, tuple[int, ...]] = field(
        default_factory=dict
    )  # shapes the file states, open lengths as 1
    proto: ModelProto | None = field(default=None, repr=False)
    functions: Functions | None = field(default=None, repr=False)

    def broken(self) -> str | None:
        """What the standard's own checker finds wrong with the model, in a line; None if it finds nothing."""
        if self.proto is None:
            return None
        onnx = import_onnx()
        try:
            onnx.checker.check_model(self.proto, full_check=True)
        except Exception as e:  # the checker and the inference of shapes have several of their own
            return (str(e) or type(e).__name__).strip().splitlines()[0]
        return None


def operator(op: str, version: int = 21) -> Node:
    """A node of one of the standard's operators on one tensor, to be computed by itself."""
    proto = import_onnx().helper.make_node(op, ["x"], ["y"])
    return Node(op, op, ("x",), ("y",), op=op, version=version, inputs=("x",), proto=proto)


def import_onnx() -> Any:
    try:
        import onnx
    except ImportError:
        raise error("reading ONNX models needs the onnx package", help='pip install "lutc[onnx]"') from None
    return onnx


def numpy_type(kind: str) -> Any:
    """The numpy type of one of the standard's; those numpy does not have are ml_dtypes'."""
    onnx = import_onnx()
    return onnx.helper.tensor_dtype_to_np_dtype(onnx.TensorProto.DataType.Value(kind.upper()))


def array_of(onnx: Any, tensor: Any, name: str) -> Any:
    """A stored tensor as an array; types numpy does not have become the next larger one it has."""
    if any(n < 0 for n in tensor.dims):
        raise error(
            f"its tensor {tensor.name!r} has the shape {list(tensor.dims)}, and no dimension has a length below 0",
            where=name,
            help="the model is broken: export it again",
        )
    if tensor.data_type in (onnx.TensorProto.COMPLEX64, onnx.TensorProto.COMPLEX128):
        raise error(
            f"its tensor {tensor.name!r} holds complex numbers, which no circuit computes with",
            where=name,
            help="write their real and imaginary parts as tensors of their own",
        )
    try:
        array = onnx.numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError, OSError, RuntimeError, onnx.checker.ValidationError) as e:
        raise error(
            f"its tensor {tensor.name!r} cannot be read: {e}".rstrip(". "),
            where=name,
            help="if its data lies in another file, load the model by its path",
        ) from None
    return array


def fold(node: Node, arrays: list[Any]) -> list[Any]:
    """What a node of the standard computes from constants, by the standard's own reference implementation.

    `arrays` has None where an optional input is left out. Raises LirError if the node cannot be computed.
    """
    return evaluator(node)(arrays)


def evaluator(node: Node) -> Callable[[list[Any]], list[Any]]:
    """The reference implementation of one node, to be run on several sets of arrays as `fold` is."""
    onnx = import_onnx()
    from onnx.reference import ReferenceEvaluator

    assert node.proto is not None
    proto = type(node.proto)()
    proto.CopyFrom(node.proto)
    proto.domain = node.domain  # the evaluator does not know that the standard's domain has two names
    proto.input[:] = node.inputs
    proto.output[:] = node.outputs
    info = onnx.helper.make_empty_tensor_value_info
    # Below operator set 14 the evaluator takes every BatchNormalization for one in training.
    normalises = node.op == "BatchNormalization" and node.domain == ""
    opset = onnx.helper.make_opsetid("", max(node.version, 14) if normalises else node.version)
    whole: list[Any] = []

    def run(arrays: list[Any]) -> list[Any]:
        given = {n: a for n, a in zip(node.inputs, arrays, strict=True) if n}
        with np.errstate(all="ignore"):
            try:
                if not whole:
                    outputs = [info(n) for n in node.outputs if n]
                    graph = onnx.helper.make_graph([proto], "fold", [info(n) for n in given], outputs)
                    model = onnx.helper.make_model(graph, opset_imports=[opset])
                    bounded(onnx, node.op, model, given)
                    whole.append(ReferenceEvaluator(model))
                return list(whole[0].run(None, given))
            except LirError:
                raise
            except Exception as e:  # the evaluator raises whatever numpy and its operators raise
                raise error(
                    f"cannot be computed at compile time: {str(e) or type(e).__name__}".splitlines()[0]
                ) from None

    return run
