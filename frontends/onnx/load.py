"""From an ONNX model to a design: one walk over the nodes, every refusal collected, then the design or the list."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from lutc.build import as_type
from lutc.compare import Look, compared, not_compared
from lutc.diagnostics import LirError, did_you_mean, error
from lutc.graph import Design, Output
from lutc.types import BIT, Fixed, holding, uniform
from lutc.verify import verify

from ..importer import Refusal
from . import exact as ex
from .branches import taken
from .curve import Curve, extended, joins, known_curve
from .final import QUANTISERS, output
from .model import Input, Model, Node, fold, read
from .peers import framework
from .qdq import WHOLE
from .reasons import REASONS
from .rule import Inputs
from .shapes import shapes_of
from .table import DOMAINS, find
from .tensors import Known, Missing, Pending, Port, Scaled, Tensor, core
from .walk import Walk

if TYPE_CHECKING:
    from onnx import ModelProto

MOST = 1 << 22  # elements of an input
FLOATS = ("float", "double", "float16", "bfloat16")


def load_onnx(
    source: str | os.PathLike[str] | bytes | ModelProto,
    *,
    input_types: Mapping[str, str | Fixed] | str | None = None,
    compare: bool = True,
) -> Design:
    """A quantised ONNX model as a design, bit-exact.

    `source` is a path, the bytes of a file, or an `onnx.ModelProto`. `input_types` gives formats such as `"s16f10"`
    to inputs nothing quantises, by name; under the name `""`, or alone, to all of them.

    A first dimension of length 1, or of a length the model leaves open, counts samples and is no part of the ports.
    With `compare` the design is compared with the model as ONNX Runtime (or for the QONNX dialect the package qonnx)
    runs it, if that is installed. Raises LirError with one diagnostic for each layer that cannot be compiled exactly,
    for a file that is no readable model, and for a model that its own framework answers otherwise.
    """
    model = read(source)
    walk = Walk(model)
    given = {"": input_types} if isinstance(input_types, str) else dict(input_types or {})
    make_inputs(walk, given)
    try:
        _visit(walk, model.nodes)
    except LirError:
        raise
    except (
        Exception
    ):  # of a model that is broken in a way no rule looks for; else it is a bug, and shown as one
        reason = model.broken()
        if reason is None:
            raise
        raise error(
            f"is no valid model: {reason}",
            where=walk.node.label if walk.node else model.name,
            help="export it again, or see what onnx.checker.check_model(model, full_check=True) says",
        ) from None
    walk.node = None
    make_outputs(walk, {name: walk.tensors.get(name) for name in model.outputs})
    walk.refusals.check()
    design = finished(walk)
    return _looked_at(walk, design, given) if compare else not_compared(design, "it was not asked for")


def _looked_at(walk: Walk, design: Design, given: Mapping[str, str | Fixed]) -> Design:
    """The design, compared with the model as somebody else runs it."""
    assert walk.model.original is not None and walk.model.proto is not None
    ports = {name: param.name or "" for name, param in walk.params.items()}
    tables = {name for name, t in walk.tensors.items() if isinstance(t, Curve)}
    peer = framework(walk.model.original, walk.model.proto, ports, walk.hosted, walk.undefined, tables)
    if isinstance(peer, str):
        return not_compared(design, peer)
    integers = {i.name for i in walk.model.inputs if i.dtype not in FLOATS}
    fixed = [port for name, port in ports.items() if "" in given or name in given or name in integers]
    return compared(design, peer, walk.model.name, Look(fixed, bool(walk.undefined)))


# -- ports ----------------------------------------------------------------------------------------------------------


def make_inputs(walk: Walk, given: Mapping[str, str | Fixed]) -> None:
    """The ports of inputs that have a format already; the others wait for their first quantiser."""
    names = [i.name for i in walk.model.inputs]
    for name in given:
        if name and name not in names:
            raise error(f"the model has no input {name!r}", help=did_you_mean(name, names))
    for item in walk.model.inputs:
        with walk.refusals.at(f"{item.name} (input)"):
            walk.tensors[item.name] = _input(walk, item, given.get(item.name), given.get(""))
        walk.tensors.setdefault(item.name, Missing())


def _input(walk: Walk, item: Input, own: str | Fixed | None, common: str | Fixed | None) -> Scaled:
    kind = common if own is None else own
    if item.dims is None:
        raise Refusal("has no shape", "export the model with fixed input shapes, except for the batch")
    open_dims = [i for i, n in enumerate(item.dims) if n is None]
    if any(open_dims[:1]) or len(open_dims) > 1:
        raise Refusal(
            f"has no fixed length in dimension {next(i for i in open_dims if i)}",
            "export the model with fixed input shapes, except for the batch",
        )
    shape = tuple(n or 1 for n in item.dims)
    if math.prod(shape) > MOST:
        raise Refusal(
            f"has {math.prod(shape)} elements", f"a circuit takes up to {MOST}: check the model's shapes"
        )
    batched = bool(open_dims)
    if len(shape) > 1 and shape[0] > 1:
        walk.note(
            f"input {item.name} has a first dimension of length {shape[0]}, which is taken as data: "
            "export with a batch of 1 for a circuit that takes one sample"
        )
    integer = item.dtype if item.dtype in WHOLE else None
    fmt: Fixed | None = None
    if integer and own is not None:  # a narrower one than the model's, if the user says so
        lo, hi = WHOLE[integer]
        fmt = own if isinstance(own, Fixed) else as_type(own).scalar
        if fmt.frac != 0 or fmt.lo < lo or fmt.hi > hi:
            raise Refusal(f"holds {integer} numbers, and {fmt} has others", "give it a format like s8 or u4")
    elif integer:
        fmt = holding(*WHOLE[integer], 0)
    elif item.dtype == "bool":
        integer, fmt = "bool", BIT
    elif item.dtype not in FLOATS:
        raise Refusal(
            f"holds elements of type {item.dtype}, which are no numbers", "use a float or an integer type"
        )
    elif kind is not None:
        fmt = kind if isinstance(kind, Fixed) else as_type(kind).scalar
    if fmt is None:
        return Scaled(shape, Pending(Port(item.name, shape)), batched=batched)
    return Scaled(shape, walk.port(item.name, uniform(core(shape), fmt)), integer=integer, batched=batched)


def make_outputs(walk: Walk, results: Mapping[str, Tensor | Curve | Missing | None]) -> None:
    """The output ports by name; refusals are noted."""
    makers = {name: node.name for node in walk.model.nodes for name in node.outputs}
    for name, found in results.items():
        with walk.refusals.at(f"{name} (output)"), walk.b.origin(makers.get(name)):
            if found is None:
                raise Refusal("is made by no layer", "the model is broken: export it again")
            if isinstance(found, Curve):
                raise Refusal(
                    f"is what {found.op} computes, which is no number of a fixed format",
                    f"quantise behind {found.op}, or leave it to the host and end the model before it",
                )
            if not isinstance(found, Missing):
                output(walk, name, found)


def finished(walk: Walk) -> Design:
    """The design of all that was built, verified."""
    unused = [i.name for i in walk.model.inputs if i.name not in walk.params]
    for name in unused:
        walk.note(f"input {name} is read by nothing and has no port")
    params = tuple(walk.params[i.name] for i in walk.model.inputs if i.name in walk.params)
    outputs: tuple[Output, ...] = tuple(walk.outputs)
    design = Design(walk.names.take(walk.model.name, "model"), params, outputs, notes=tuple(walk.notes))
    verify(design)
    return design


# -- nodes ----------------------------------------------------------------------------------------------------------


def _visit(walk: Walk, nodes: Iterable[Node]) -> None:
    for node in nodes:
        before = len(walk.refusals.found)
        walk.node = node
        inside: list[Node] = []
        with walk.refusals.at(node.label), walk.b.origin(node.name):
            try:
                if node.op == "If" and node.domain == "":
                    inside = taken(walk, node, walk.tensors.get(node.inputs[0]) if node.inputs else None)
                else:
                    _lower(walk, node)
            except MemoryError:
                raise Refusal(
                    "has tensors that do not fit into memory",
                    "check the model's shapes: no circuit is that large",
                ) from None
        _visit(walk, inside)
        if len(walk.refusals.found) > before and not inside:
            _stand_in(walk, node)


def _lower(walk: Walk, node: Node) -> None:
    tensors = [walk.tensors.get(n, Missing()) if n else None for n in node.inputs]
    if node.op in QUANTISERS and node.inputs and node.inputs[0] in walk.hosted:
        walk.tensors[node.outputs[0]] = walk.tensors[node.inputs[0]]
        return
    rule = find(node)
    constant = all(t is None or isinstance(t, Known) for t in tensors)
    if rule is None and not known_curve(node) and not (constant and node.domain == ""):
        raise _unknown(node)
    if rule:
        extra = sorted(set(node.attributes) - rule.attributes)
        if extra and not constant:
            raise Refusal(f"has the attribute {extra[0]!r}, which is not supported", "export it without")
    if any(isinstance(t, Missing) for t in tensors):
        for name in node.outputs:
            walk.tensors[name] = Missing()
        return
    if joins(tensors, node):
        walk.tensors[node.outputs[0]] = extended(walk, node, tensors, rule)
        return
    inputs: Inputs = [t for t in tensors if not isinstance(t, Missing)]
    first = inputs[0] if inputs else None
    if constant and not (rule and rule.folds):
        if rule and rule.moves and isinstance(first, Known) and first.codes is not None:
            results: tuple[Tensor, ...] = (_moved(walk.model, node, first, inputs),)
        else:
            arrays = [t.array if isinstance(t, Known) else None for t in inputs]
            results = tuple(Known(np.asarray(a)) for a in fold(walk.model, node, arrays))
    else:
        assert rule is not None
        made = rule.lower(walk, node, inputs)
        results = made if isinstance(made, tuple) else (made,)
    for name, result in zip(node.outputs, results, strict=False):
        if name:
            walk.keep(name, result)
    for name in node.outputs[len(results) :]:
        if name and (name in walk.consumers or name in walk.model.outputs):
            raise Refusal(
                f"has a second output {name!r} that is used, which is not supported", "leave it away"
            )


def _unknown(node: Node) -> Refusal:
    if node.op in REASONS and node.domain in DOMAINS:
        return Refusal(*REASONS[node.op])
    if node.domain not in DOMAINS:
        return Refusal(
            f"belongs to the operator domain {node.domain!r}, which is not known here",
            "known are the standard's own '' and " + ", ".join(sorted(d for d in DOMAINS if d)),
        )
    close = did_you_mean(node.op, sorted(DOMAINS[node.domain]))
    return Refusal(
        "is no operator that can be compiled",
        close or "replace it by operators that can, or let the host compute it: lutc reads the README's list",
    )


def _moved(model: Model, node: Node, x: Known, inputs: Inputs) -> Known:
    """A quantised constant with its elements moved, codes and scales with them."""
    index = np.arange(x.array.size, dtype=np.int64).reshape(x.shape)
    others: list[Any] = [t.array if isinstance(t, Known) else None for t in inputs[1:]]
    at = np.asarray(fold(model, node, [index, *others])[0])
    scale = ex.spread(x.scale, x.shape).ravel()[at].reshape(at.shape)
    return Known(x.array.ravel()[at], x.codes.ravel()[at], ex.compress(scale))


def _stand_in(walk: Walk, node: Node) -> None:
    """After a refusal: outputs of the right shape, so that the layers behind are looked at as well."""
    shapes = shapes_of(walk.model)
    for name in node.outputs:
        shape = shapes.get(name)
        if shape is None or math.prod(shape) > MOST:
            walk.tensors[name] = Missing()
        else:
            stand_in = walk.port(f"{node.name} refused", uniform(core(shape), Fixed(True, 8, 4)))
            walk.tensors[name] = Scaled(shape, stand_in)
