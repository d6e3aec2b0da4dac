"""Reading an ONNX file: the protobuf, its versions, its constants, its nodes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lutc.diagnostics import Diagnostic, LirError, error

from .bounds import bounded
from .external import brought_in

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

    from .tensors import Known

# Where the operators of the QONNX dialect have lived over the years.
QONNX = frozenset({"qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general", "finn"})
OLDEST = 7  # from here on operands broadcast as in numpy
LARGEST = (1 << 31) - 1  # bytes of a protobuf


@dataclass(frozen=True, eq=False)
class Node:
    """One layer: `version` is the operator set it follows, `attributes` are plain Python values and arrays.

    A frontend that has no protobufs but lowers with these rules says how to `compute` the node from arrays, and which
    `kind` of layer messages name; `elementwise` marks operators that only `compute` knows.
    """

    name: str
    op: str
    domain: str
    version: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    proto: NodeProto = field(default=None, repr=False)  # type: ignore[assignment]  # none where there is `compute`
    kind: str = ""
    compute: Callable[[list[Any]], list[Any]] | None = field(default=None, repr=False)
    elementwise: bool = False

    @property
    def label(self) -> str:
        """How messages call it: its name and its kind."""
        return f"{self.name} ({self.kind or self.op})"

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
    dtype: Any = np.float32  # what functions that become tables are computed in
    versions: Mapping[str, int] = field(default_factory=dict)  # of the operator sets, by domain
    proto: ModelProto | None = field(default=None, repr=False)
    original: ModelProto | None = field(default=None, repr=False)  # as the file has it

    def broken(self) -> str | None:
        """What the standard's own checker finds wrong with the model, in a line; None if it finds nothing."""
        if self.proto is None:
            return None
        onnx = _import_onnx()
        try:
            onnx.checker.check_model(self.proto, full_check=True)
        except Exception as e:  # the checker and the inference of shapes have several of their own
            return (str(e) or type(e).__name__).strip().splitlines()[0]
        return None


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
    original = proto
    if proto.functions:
        from onnx.inliner import inline_local_functions

        proto = inline_local_functions(proto)
    graph = proto.graph
    versions[""] = opset
    constants = constants_of(graph, name)
    inputs = tuple(_input(onnx, i) for i in graph.input if i.name not in constants)
    nodes = in_order(nodes_of(graph, versions), {*constants, *(i.name for i in inputs)}, name)
    outputs = tuple(o.name for o in graph.output)
    stated = {
        v.name: tuple(d.dim_value or 1 for d in v.type.tensor_type.shape.dim)
        for v in graph.value_info
        if v.type.tensor_type.HasField("shape")
    }
    return Model(
        name,
        opset,
        inputs,
        outputs,
        constants,
        nodes,
        stated,
        versions=versions,
        proto=proto,
        original=original,
    )


def _proto(onnx: Any, source: Any) -> tuple[Any, str]:
    if isinstance(source, onnx.ModelProto):
        name = _text(source.graph.name) or "model"
        brought_in(onnx, source, None, name)
        return source, name
    if isinstance(source, bytes):
        proto = _parsed(onnx, source, "the model")
        brought_in(onnx, proto, None, "the model")
        return proto, "model"
    path = Path(source)
    if not path.is_file():
        raise error("there is no such file" if not path.exists() else "is no file", where=str(path))
    if path.stat().st_size > LARGEST:
        raise error(
            "is larger than 2 GiB, which no protobuf can be, so it is damaged or no ONNX model",
            where=str(path),
            help="save it with its weights in another file: onnx.save(model, path, save_as_external_data=True)",
        )
    proto = _parsed(onnx, path.read_bytes(), str(path))
    brought_in(onnx, proto, path.parent, str(path))
    return proto, path.stem


def _text(name: str | bytes) -> str:
    """A name. Protobuf gives those that are no UTF-8 as bytes."""
    return name if isinstance(name, str) else name.decode(errors="replace")


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


def constants_of(graph: GraphProto, where: str) -> dict[str, Known]:
    """The constants a graph keeps. Raises LirError for those that cannot be read."""
    from .tensors import Known

    onnx = _import_onnx()
    if graph.sparse_initializer:
        raise error(
            f"keeps {graph.sparse_initializer[0].values.name!r} as a sparse tensor, which is not supported",
            where=where,
            help="export it with dense tensors",
        )
    return {t.name: Known(array_of(onnx, t, where)) for t in graph.initializer}


def nodes_of(graph: GraphProto, versions: Mapping[str, int]) -> list[Node]:
    onnx = _import_onnx()
    return [_node(onnx, n, i, versions) for i, n in enumerate(graph.node)]


def in_order(nodes: list[Node], given: set[str], where: str) -> tuple[Node, ...]:
    """The nodes sorted so that each comes after those it reads. Raises LirError with everything that is broken."""
    wrong: list[Diagnostic] = []

    def broken(node: Node, reason: str, help: str) -> None:
        wrong.append(Diagnostic(reason, where=node.label, help=help))

    makers: dict[str, Node] = {}
    for node in nodes:
        for name in filter(None, node.outputs):
            other = makers.setdefault(name, node)
            if name in given or other is not node:
                twice = f"makes {name!r}, which " + (
                    "is given already" if name in given else f"{other.label} makes"
                )
                broken(node, twice, "the model is broken: a tensor has one maker; export it again")
    known, left, done = {"", *given}, nodes, []
    for node in nodes:
        for name in dict.fromkeys(node.inputs):
            if name not in known and name not in makers:
                broken(node, f"reads {name!r}, which is no input, no constant and made by no layer",
                       "the model is broken: its weights may have been left out; export it again")  # fmt: skip
                known.add(name)
    while left:
        ready = [n for n in left if known.issuperset(n.inputs)]
        if not ready:
            around = ", ".join(n.label for n in left[:4]) + (", ..." if len(left) > 4 else "")
            loop = f"reads what is computed from its own result, through {around}"
            broken(left[0], loop, "a circuit has no loops: export the model without them")
            break
        # As they stand, if they stand well: one pass is all it takes then.
        rest = []
        for n in left:
            if known.issuperset(n.inputs):
                done.append(n)
                known.update(n.outputs)
            else:
                rest.append(n)
        left = rest
    if wrong:
        raise LirError(*wrong)
    return tuple(done)


def array_of(onnx: Any, tensor: Any, name: str) -> Any:
    """A stored tensor as an array; types numpy does not have become the next larger one it has."""
    try:
        array = onnx.numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError, OSError, RuntimeError, onnx.checker.ValidationError) as e:
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


def _node(onnx: Any, proto: Any, index: int, versions: Mapping[str, int]) -> Node:
    domain = "" if proto.domain == "ai.onnx" else proto.domain
    attributes = {}
    for a in proto.attribute:
        value = onnx.helper.get_attribute_value(a)
        if isinstance(value, bytes):
            value = value.decode(errors="replace")
        elif isinstance(value, onnx.TensorProto):
            value = array_of(onnx, value, proto.name or proto.op_type)
        attributes[a.name] = value
    name = _text(proto.name) or next((o for o in proto.output if o), "") or f"node {index}"
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
    if node.compute is not None:
        return node.compute(arrays)
    onnx = _import_onnx()
    from onnx.reference import ReferenceEvaluator

    given = {n: a for n, a in zip(node.inputs, arrays, strict=True) if n}
    info = onnx.helper.make_empty_tensor_value_info
    graph = onnx.helper.make_graph(
        [node.proto], "fold", [info(n) for n in given], [info(n) for n in node.outputs if n]
    )
    opset = onnx.helper.make_opsetid("", model.opset)
    whole = onnx.helper.make_model(graph, opset_imports=[opset])
    bounded(onnx, node.op, whole, given)
    with np.errstate(all="ignore"):
        try:
            return list(ReferenceEvaluator(whole).run(None, given))
        except Exception as e:  # the evaluator raises whatever numpy and its operators raise
            raise error(
                f"cannot be computed at compile time: {str(e) or type(e).__name__}".splitlines()[0]
            ) from None
