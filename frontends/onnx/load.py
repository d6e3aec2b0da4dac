"""From an ONNX model to a design: one walk over the nodes, every refusal collected, then the design or the list."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lutc.build import as_type
from lutc.diagnostics import LirError, did_you_mean, error
from lutc.ir.graph import Design, Output
from lutc.ir.verify import verify
from lutc.lowering.compare import Look, compared, not_compared
from lutc.lowering.options import Options
from lutc.lowering.refusals import Refusal
from lutc.types import BIT, Fixed, holding, uniform

from . import exact as ex
from .batch import check_samples, folded, varies
from .branches import taken
from .curve import Curve, extended, joins, known_curve
from .final import QUANTISERS, output
from .model import Input, Node, fold
from .numbers import FLOATS, SATURATE, WHOLE, kind_name, within
from .peers import framework
from .read import read
from .reasons import NOTHING, RANDOM, REASONS
from .rule import ACROSS, Operands, Rule
from .schema import described, result_kinds, well_formed
from .shapes import check_sizes, counted, shapes_of
from .table import DOMAINS, find
from .tensors import Known, Missing, Pending, Port, Scaled, Tensor, core
from .walk import Walk

if TYPE_CHECKING:
    from onnx import ModelProto

MOST = 1 << 22  # elements of an input


@np.errstate(all="ignore")  # what overflows in a float does so in the model as well
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
    check_sizes(model)
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
    ports = {name: param.name or "" for name, param in walk.params.items()}
    tables = {name for name, t in walk.tensors.items() if isinstance(t, Curve)}
    peer = framework(walk.model, ports, walk.hosted, walk.undefined, tables)
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
    if integer:
        fmt = _whole_format(walk, item, own, common)
    elif item.dtype == "bool":
        if own is not None and as_type(own).scalar != BIT:
            raise Refusal("holds truth values, which are u1", "leave its format out")
        integer, fmt = "bool", BIT
    elif item.dtype not in FLOATS:
        raise Refusal(
            f"holds elements of type {item.dtype}, which are no numbers", "use a float or an integer type"
        )
    elif kind is not None:
        fmt = kind if isinstance(kind, Fixed) else as_type(kind).scalar
    if fmt is None:
        return Scaled(shape, Pending(Port(item.name, shape)), batched=batched, real=item.dtype)
    real = "float" if integer else item.dtype
    value = walk.port(item.name, uniform(core(shape), fmt))
    t = Scaled(shape, value, integer=integer, batched=batched, real=real)
    within(t)
    return t


def _whole_format(walk: Walk, item: Input, own: str | Fixed | None, common: str | Fixed | None) -> Fixed:
    """The format of an input of integers: its type's, or a narrower one if the user says so."""
    lo, hi = WHOLE[item.dtype]
    kind = common if own is None else own
    if kind is None:
        return holding(lo, hi, 0)
    fmt = kind if isinstance(kind, Fixed) else as_type(kind).scalar
    if fmt.frac == 0 and lo <= fmt.lo and fmt.hi <= hi:
        return fmt
    if own is not None:
        raise Refusal(f"holds {item.dtype} numbers, and {fmt} has others", "give it a format like s8 or u4")
    # What all inputs get is meant for those it fits.
    walk.note(f"input {item.name} holds {item.dtype} numbers: the common input type {fmt} does not fit it")
    return holding(lo, hi, 0)


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
    if walk.model.defaults:
        some = ", ".join(walk.model.defaults[:3]) + (", ..." if len(walk.model.defaults) > 3 else "")
        walk.note(f"inputs that have a default are constants, and no ports: {some}")
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
                    well_formed(node)
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
    if node.op in RANDOM and node.domain == "":
        raise Refusal(*REASONS[node.op])
    rule = find(node)
    constant = all(t is None or isinstance(t, Known) for t in tensors)
    if rule is None and not known_curve(node) and not (constant and node.domain == ""):
        raise _unknown(node)
    well_formed(node)
    if any(isinstance(t, Missing) for t in tensors):
        for name in node.outputs:
            walk.tensors[name] = Missing()
        return
    made = _results(walk, node, tensors, rule, constant)
    results = made if isinstance(made, tuple) else (made,)
    kinds = result_kinds(node, [_kind(t) for t in tensors])
    batched = any(isinstance(t, Scaled | Curve) and t.batched for t in tensors)
    for name, result, kind in zip(node.outputs, results, kinds, strict=False):
        if name:
            typed = _typed(result, kind, tensors, batched)
            if isinstance(typed, Scaled) and not node.op.startswith(SATURATE):
                within(typed, tensors)
            walk.keep(name, typed)
    for name in node.outputs[len(results) :]:
        if name and (name in walk.consumers or name in walk.model.outputs):
            raise Refusal(
                f"has a second output {name!r} that is used, which is not supported", "leave it away"
            )


def _results(walk: Walk, node: Node, tensors: list[Any], rule: Rule | None, constant: bool) -> Any:
    """What a node makes; and everything it was given is understood. Raises Refusal for what is not."""
    if constant and not (rule and rule.folds):
        first = tensors[0] if tensors else None
        if rule and rule.moves and isinstance(first, Known) and first.codes is not None:
            if any(map(varies, tensors)):
                raise Refusal(*ACROSS)
            return _moved(node, first, tensors)
        return folded(node, tensors)
    counted(node, tensors)
    inputs = Operands(tensors)
    try:
        made, evaluated = _lowered(walk, node, inputs, rule)
    except (LirError, Refusal, MemoryError):
        raise
    except Exception:  # a layer that mixes samples may be none that the rule can lower at all
        check_samples(node, tensors, ())
        if node.op != "Resize" and any(isinstance(t, Known) and not t.array.size for t in tensors):
            raise Refusal(*NOTHING) from None
        raise
    results = made if isinstance(made, tuple) else (made,)
    if any(0 in t.shape for t in results if isinstance(t, Scaled | Curve)):
        raise Refusal(*NOTHING)
    check_samples(node, tensors, results)
    if not evaluated:
        inputs.check()
        if isinstance(node.attributes, Options):
            node.attributes.check()
    return made


def _lowered(walk: Walk, node: Node, inputs: Operands, rule: Rule | None) -> tuple[Any, bool]:
    """What the rule makes, and whether the standard's evaluator has had the last word on it."""
    tensors = list(inputs.peek())
    if joins(tensors, node):
        return extended(walk, node, inputs, rule), node.op not in QUANTISERS
    assert rule is not None
    return rule.lower(walk, node, inputs), rule.evaluated


def _kind(t: Any) -> str | None:
    """The element type of a tensor."""
    if isinstance(t, Scaled):
        return t.integer or t.real
    if isinstance(t, Known | Curve):
        return kind_name(t.array.dtype)
    return None


def _typed(result: Any, kind: str | None, tensors: list[Any], batched: bool) -> Any:
    """A result with the element type that the operator's description gives it, and its samples counted."""
    if not isinstance(result, Scaled):
        return result
    if kind is None and result.integer is None:  # of a dialect: floats stay what they are
        kind = next((t.real for t in tensors if isinstance(t, Scaled) and t.integer is None), None)
    if kind is not None:
        whole = kind in WHOLE or kind == "bool"
        result = replace(result, integer=kind if whole else None, real=result.real if whole else kind)
    return replace(result, batched=result.batched or batched)


def _unknown(node: Node) -> Refusal:
    if node.op in REASONS and node.domain in DOMAINS:
        return Refusal(*REASONS[node.op])
    if node.domain not in DOMAINS:
        return Refusal(
            f"belongs to the operator domain {node.domain!r}, which is not known here",
            "known are the standard's own '' and " + ", ".join(sorted(d for d in DOMAINS if d)),
        )
    real = node.domain == "" and described(node.op, node.version)  # and not a slip of the pen
    close = None if real else did_you_mean(node.op, sorted(DOMAINS[node.domain]))
    return Refusal(
        "is no operator that can be compiled",
        close or "replace it by operators that can, or let the host compute it: lutc reads the README's list",
    )


def _moved(node: Node, x: Known, inputs: Sequence[Any]) -> Known:
    """A quantised constant with its elements moved, codes and scales with them."""
    index = np.arange(x.array.size, dtype=np.int64).reshape(x.shape)
    others: list[Any] = [t.array if isinstance(t, Known) else None for t in inputs[1:]]
    at = np.asarray(fold(node, [index, *others])[0])
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
