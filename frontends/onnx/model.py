"""Reading an ONNX file: the protobuf, its versions, its constants, its nodes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lutc.diagnostics import error

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

    from .tensors import Known

# Where the operators of the QONNX dialect have lived over the years.
QONNX = frozenset({"qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general", "finn"})
OLDEST = 7  # from here on operands broadcast as in numpy


@dataclass(frozen=True, eq=False)
class Node:
    """One layer: `version` is the operator set it follows, `attributes` are plain Python values and arrays."""

    name: str
    op: str
    domain: str
    version: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    proto: NodeProto = field(repr=False)

    @property
    def label(self) -> str:
        """How messages call it: its name and its kind."""
        return f"{self.name} ({self.op})"

    def get(self, name: str, default: Any) -> Any:
        return self.attributes.get(name, default)


@dataclass(frozen=True, eq=False)
class Input:
    """An input of the model: the name of its element type, and its dimensions (None where they are not fixed)."""

    name: str
    dtype: str
    dims: tuple[int | None, ...] | None


@dataclass(frozen=True, eq=False)
class Model:
    """A whole model, as the lowering reads it."""

    name: str
    opset: int
    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    constants: Mapping[str, Known]
    nodes: tuple[Node, ...]
    stated: Mapping[str, tuple[int, ...]] = field(
        default_factory=dict
    )  # shapes the file states, open lengths as 1


def _import_onnx() -> Any:
    try:
        import onnx
    except ImportError:
        raise error("reading ONNX models needs the onnx package", help='pip install "lutc[onnx]"') from None
    return onnx


def read(source: str | os.PathLike[str] | bytes | ModelProto) -> Model:
    """The model in a file, in bytes, or in memory. Raises LirError for anything that is not a readable model."""
    onnx = _import_onnx()
    proto, name = _proto(onnx, source)
    if not proto.HasField("graph") or not proto.graph.output:
        raise error("holds no graph with outputs, so it is no ONNX model", where=name)
    versions = {o.domain: o.version for o in proto.opset_import}
    opset = versions.get("", versions.get("ai.onnx", 0))
    newest = onnx.defs.onnx_opset_version()
    if not OLDEST <= opset <= newest:
        what = f"follows operator set {opset}" if opset else "names no operator set of its own domain ''"
        raise error(
            f"{what}, but {OLDEST} to {newest} are understood",
            where=name,
            help="convert it with onnx.version_converter, or export it again"
            + (", or install a newer onnx package" if opset > newest else ""),
        )
    graph = proto.graph
    constants = dict(_constants(onnx, graph, name))
    inputs = tuple(_input(onnx, i) for i in graph.input if i.name not in constants)
    nodes = tuple(_node(onnx, n, i, {**versions, "": opset}) for i, n in enumerate(graph.node))
    outputs = tuple(o.name for o in graph.output)
    stated = {
        v.name: tuple(d.dim_value or 1 for d in v.type.tensor_type.shape.dim)
        for v in graph.value_info
        if v.type.tensor_type.HasField("shape")
    }
    return Model(name, opset, inputs, outputs, constants, nodes, stated)


def _proto(onnx: Any, source: Any) -> tuple[Any, str]:
    if isinstance(source, onnx.ModelProto):
        return source, source.graph.name or "model"
    if isinstance(source, bytes):
        return _parsed(onnx, source, "the model"), "model"
    path = Path(source)
    if not path.is_file():
        raise error("there is no such file" if not path.exists() else "is no file", where=str(path))
    proto = _parsed(onnx, path.read_bytes(), str(path))
    try:
        onnx.load_external_data_for_model(proto, str(path.parent))
    except (OSError, ValueError, onnx.checker.ValidationError) as e:
        raise error(
            f"its weights lie in another file, which cannot be read: {e}".rstrip(". "),
            where=str(path),
            help="keep the data file in the same folder as the model",
        ) from None
    return proto, path.stem


def _parsed(onnx: Any, data: bytes, name: str) -> Any:
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except DecodeError:
        raise error(
            "is no ONNX model: its protobuf cannot be decoded" if data else "is empty",
            where=name,
            help="the file may be cut short or of another kind",
        ) from None
    return proto


def _constants(onnx: Any, graph: GraphProto, name: str) -> Iterator[tuple[str, Known]]:
    from .tensors import Known

    for tensor in graph.initializer:
        yield tensor.name, Known(array_of(onnx, tensor, name))
    if graph.sparse_initializer:
        raise error(
            f"keeps {graph.sparse_initializer[0].values.name!r} as a sparse tensor, which is not supported",
            where=name,
            help="export it with dense tensors",
        )


def array_of(onnx: Any, tensor: Any, name: str) -> Any:
    """A stored tensor as an array; types numpy does not have become the next larger one it has."""
    try:
        array = onnx.numpy_helper.to_array(tensor)
    except (ValueError, TypeError, OSError, RuntimeError, onnx.checker.ValidationError) as e:
        raise error(
            f"its tensor {tensor.name!r} cannot be read: {e}".rstrip(". "),
            where=name,
            help="if its data lies in another file, load the model by its path",
        ) from None
    return array


def _input(onnx: Any, value: Any) -> Input:
    kind = value.type.tensor_type
    dtype = onnx.TensorProto.DataType.Name(kind.elem_type).lower()
    if not value.type.HasField("tensor_type"):
        dtype = value.type.WhichOneof("value") or "nothing"
    dims = None
    if kind.HasField("shape"):
        # A length of 0 is how some exporters say "any".
        dims = tuple(d.dim_value if d.dim_value > 0 else None for d in kind.shape.dim)
    return Input(value.name, dtype, dims)


def _node(onnx: Any, proto: Any, index: int, versions: dict[str, int]) -> Node:
    domain = "" if proto.domain == "ai.onnx" else proto.domain
    attributes = {}
    for a in proto.attribute:
        value = onnx.helper.get_attribute_value(a)
        if isinstance(value, bytes):
            value = value.decode(errors="replace")
        elif isinstance(value, onnx.TensorProto):
            value = array_of(onnx, value, proto.name or proto.op_type)
        attributes[a.name] = value
    name = proto.name or next((o for o in proto.output if o), "") or f"node {index}"
    return Node(
        name,
        proto.op_type,
        domain,
        versions.get(domain, 1),
        tuple(proto.input),
        tuple(proto.output),
        attributes,
        proto,
    )


def fold(model: Model, node: Node, arrays: list[Any]) -> list[Any]:
    """What a node of the standard computes from constants, by the standard's own reference implementation.

    `arrays` has None where an optional input is left out. Raises LirError if the node cannot be computed.
    """
    onnx = _import_onnx()
    from onnx.reference import ReferenceEvaluator

    given = {n: a for n, a in zip(node.inputs, arrays, strict=True) if n}
    info = onnx.helper.make_empty_tensor_value_info
    graph = onnx.helper.make_graph(
        [node.proto], "fold", [info(n) for n in given], [info(n) for n in node.outputs if n]
    )
    opset = onnx.helper.make_opsetid("", model.opset)
    whole = onnx.helper.make_model(graph, opset_imports=[opset])
    with np.errstate(all="ignore"):
        try:
            return list(ReferenceEvaluator(whole).run(None, given))
        except Exception as e:  # the evaluator raises whatever numpy and its operators raise
            raise error(
                f"cannot be computed at compile time: {str(e) or type(e).__name__}".splitlines()[0]
            ) from None
