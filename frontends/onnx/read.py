"""Reading an ONNX file: the protobuf, its versions, its constants, its nodes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lutc.diagnostics import Diagnostic, LirError, error
from lutc.lowering.model import Input, Role
from lutc.lowering.tensors import Known
from lutc.lowering.unread import Options

from .external import brought_in
from .functions import Call, Functions, defined_in, domain_of, operator_sets, read_by
from .model import CHANNELS_LAST, OLDEST, QONNX, ROLES, Node, OnnxModel, array_of, import_onnx
from .schema import NEWEST, NEWEST_QONNX, OTHERS, neutral

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

LARGEST = (1 << 31) - 1  # bytes of a protobuf


def read(source: str | os.PathLike[str] | bytes | ModelProto) -> OnnxModel:
    """The model in a file, in bytes, or in memory. Raises LirError for anything that is not a readable model."""
    onnx = import_onnx()
    proto, name = _proto(onnx, source)
    if not proto.HasField("graph") or not proto.graph.output:
        raise error("holds no graph with outputs, so it is no ONNX model", where=name)
    versions = operator_sets(proto.opset_import, name)
    _understood("", versions.get("", 0), name)
    graph = proto.graph
    functions = Functions.of(proto.functions, name, _defined)
    functions.taken |= defined_in(graph) | {n for node in graph.node for n in read_by(node)}
    constants = constants_of(graph, name)
    inputs = tuple(_input(onnx, i) for i in graph.input if i.name not in constants)
    nodes = in_order(nodes_of(graph.node, versions, functions), {*constants, *(i.name for i in inputs)}, name)
    outputs = tuple(o.name for o in graph.output)
    _once([i.name for i in graph.input], "input", name)
    _once(outputs, "output", name)
    stated = {
        v.name: tuple(d.dim_value or 1 for d in v.type.tensor_type.shape.dim)
        for v in graph.value_info
        if v.type.tensor_type.HasField("shape") and all(d.dim_value for d in v.type.tensor_type.shape.dim[1:])
    }
    # Before version 4 of the format every constant had to be an input as well.
    defaults = tuple(i.name for i in graph.input if i.name in constants) if proto.ir_version >= 4 else ()
    return OnnxModel(
        name, inputs, outputs, nodes, constants, defaults=defaults,
        opset=versions[""], stated=stated, proto=proto, functions=functions,
    )  # fmt: skip


def _defined(domain: str, name: str) -> bool:
    """Whether there is an operator of this name."""
    onnx = import_onnx()
    return name in OTHERS if domain else onnx.defs.has(name)


def _understood(domain: str, version: int, where: str) -> None:
    """Raise LirError for an operator set that is too old or too new to be known."""
    oldest = 1
    if domain == "":
        oldest, newest = OLDEST, import_onnx().defs.onnx_opset_version()
    elif domain in QONNX or domain == CHANNELS_LAST:
        newest = NEWEST_QONNX
    elif domain in NEWEST:
        newest = NEWEST[domain]
    else:
        return
    if oldest <= version <= newest:
        return
    what = f"follows operator set {version}" if version else "names no operator set"
    what += f" of the domain {domain!r}" if domain or version else " of its own domain ''"
    raise error(
        f"{what}, but {oldest} to {newest} are understood",
        where=where,
        help="convert it with onnx.version_converter, or export it again"
        + (", or install a newer onnx package" if version > newest and not domain else ""),
    )


def _once(names: Sequence[str], what: str, where: str) -> None:
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise error(
            f"names its {what} {twice[0]!r} twice", where=where, help="the model is broken: export it again"
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


def whole(source: str | os.PathLike[str] | bytes | ModelProto) -> ModelProto:
    """A model as it stands, with external data brought in; a live one is copied. Raises LirError as `read` does."""
    onnx = import_onnx()
    proto: ModelProto = onnx.ModelProto()
    proto.CopyFrom(_proto(onnx, source)[0])
    return proto


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
    onnx = import_onnx()
    if graph.sparse_initializer:
        raise error(
            f"keeps {graph.sparse_initializer[0].values.name!r} as a sparse tensor, which is not supported",
            where=where,
            help="export it with dense tensors",
        )
    _once([t.name for t in graph.initializer], "constant", where)
    return {t.name: Known(array_of(onnx, t, where)) for t in graph.initializer}


def nodes_of(nodes: Sequence[NodeProto], versions: Mapping[str, int], functions: Functions) -> list[Node]:
    """Nodes of a graph, calls of functions written out."""
    onnx = import_onnx()
    calls = functions.written_out(nodes, versions)
    return [_node(onnx, call, i, functions.where) for i, call in enumerate(calls)]


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
        for name in dict.fromkeys(node.reads):
            if name not in known and name not in makers:
                broken(node, f"reads {name!r}, which is no input, no constant and made by no layer",
                       "the model is broken: its weights may have been left out; export it again")  # fmt: skip
                known.add(name)
    while left:
        ready = [n for n in left if known.issuperset(n.reads)]
        if not ready:
            around = ", ".join(n.label for n in left[:4]) + (", ..." if len(left) > 4 else "")
            loop = f"reads what is computed from its own result, through {around}"
            broken(left[0], loop, "a circuit has no loops: export the model without them")
            break
        # As they stand, if they stand well: one pass is all it takes then.
        rest = []
        for n in left:
            if known.issuperset(n.reads):
                done.append(n)
                known.update(n.outputs)
            else:
                rest.append(n)
        left = rest
    if wrong:
        raise LirError(*wrong)
    return tuple(done)


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


def _node(onnx: Any, call: Call, index: int, where: str) -> Node:
    proto = call.node
    domain, op = domain_of(_text(proto.domain)), _text(proto.op_type)
    name = _text(proto.name) or next((o for o in proto.output if o), "") or f"node {index}"
    version = call.versions.get(domain, 0 if domain == "" else 1)
    _understood(domain, version, f"{where}: {call.path}{name} ({op})" if call.path else where)
    attributes = {}
    for a in proto.attribute:
        if a.ref_attr_name:
            raise error(
                f"takes its attribute {a.name!r} from a function, and stands in none",
                where=f"{name} ({proto.op_type})",
                help="the model is broken: export it again",
            )
        value = onnx.helper.get_attribute_value(a)
        if isinstance(value, bytes):
            value = value.decode(errors="replace")
        elif isinstance(value, onnx.TensorProto):
            value = array_of(onnx, value, proto.name or proto.op_type)
        attributes[a.name] = value
    plain = version if domain != CHANNELS_LAST else call.versions.get("", 0)
    return Node(
        f"{call.path}{name}",
        op,
        tuple(read_by(proto)),
        tuple(proto.output),
        ROLES.get(op, Role.COMPUTES),
        op,
        domain,
        version,
        tuple(proto.input),
        Options(attributes, neutral(op, plain, domain), "attribute"),
        proto,
        versions=call.versions,
    )
