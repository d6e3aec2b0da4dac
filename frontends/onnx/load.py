"""From an ONNX model to a design: one walk over the nodes, every refusal collected, then the design or the list."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from lutc.diagnostics import LirError, did_you_mean, error
from lutc.ir.graph import Design
from lutc.lowering.compare import Look, compared, not_compared
from lutc.lowering.dtypes import FLOATS, SATURATE, WHOLE, kind_name, within
from lutc.lowering.linear import view
from lutc.lowering.model import Role
from lutc.lowering.operands import ACROSS, NOTHING
from lutc.lowering.ports import finished, make_inputs, make_outputs, stand_in
from lutc.lowering.refusals import Refusal
from lutc.lowering.tensors import Curve, Known, Missing, Scaled
from lutc.lowering.unread import Options
from lutc.lowering.walk import Walk
from lutc.types import Fixed

from .batch import check_samples, folded, varies
from .branches import taken
from .curve import QUANTISERS, extended, joins, known_curve
from .floats import float_model
from .model import Node, OnnxModel, fold
from .peers import framework
from .read import read
from .reasons import RANDOM, REASONS
from .registry import DOMAINS, find
from .rule import Operands, Rule
from .schema import described, result_kinds, well_formed
from .shapes import check_sizes, counted, shapes_of

if TYPE_CHECKING:
    from onnx import ModelProto


@np.errstate(all="ignore")  # what overflows in a float does so in the model as well
def load_onnx(
    source: str | os.PathLike[str] | bytes | ModelProto,
    *,
    input_types: Mapping[str, str | Fixed] | str | None = None,
    compare: bool = True,
    leaf_type: Fixed | None = None,
) -> Design:
    """A quantised ONNX model as a design, bit-exact.

    `source` is a path, the bytes of a file, or an `onnx.ModelProto`. `input_types` gives formats such as `"s16f10"`
    to inputs nothing quantises, by name; under the name `""`, or alone, to all of them.

    A first dimension of length 1, or of a length the model leaves open, counts samples and is no part of the ports.
    `leaf_type` is what leaves of decision trees are rounded to; the design then says what a score may differ by.

    With `compare` the design is compared with the model as ONNX Runtime (or for the QONNX dialect the package qonnx)
    runs it, if that is installed. Raises LirError with one diagnostic for each layer that cannot be compiled exactly,
    or with one for a model that nothing quantises; for a file that is no readable model, and for a model that its own
    framework answers otherwise.
    """
    model = read(source)
    check_sizes(model)
    walk = Walk(model)
    walk.leaf_type = leaf_type
    file = os.fspath(source) if isinstance(source, str | os.PathLike) else None
    walk.refusals.whole = partial(float_model, walk, model, file)
    given = {"": input_types} if isinstance(input_types, str) else dict(input_types or {})
    make_inputs(walk, given)
    try:
        _visit(walk, model, model.layers)
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
            where=walk.layer.label if walk.layer else model.name,
            help="export it again, or see what onnx.checker.check_model(model, full_check=True) says",
        ) from None
    walk.layer = None
    make_outputs(walk, {name: walk.tensors.get(name) for name in model.outputs})
    walk.refusals.check()
    if leaf_type is not None and not walk.rewritten:
        raise error("has no decision trees: leave out leaf_type (--leaf-type)", where=model.name)
    design = finished(walk)
    return _looked_at(walk, model, design, given) if compare else not_compared(design, "it was not asked for")


def _looked_at(walk: Walk, model: OnnxModel, design: Design, given: Mapping[str, str | Fixed]) -> Design:
    """The design, compared with the model as somebody else runs it."""
    ports = {name: param.name or "" for name, param in walk.params.items()}
    tables = {name for name, t in walk.tensors.items() if isinstance(t, Curve)}
    peer = framework(model, ports, walk.hosted, walk.undefined, tables, walk.rewritten)
    if isinstance(peer, str):
        return not_compared(design, peer)
    integers = {i.name for i in model.inputs if i.dtype not in FLOATS}
    fixed = [port for name, port in ports.items() if "" in given or name in given or name in integers]
    return compared(design, peer, model.name, Look(fixed, bool(walk.undefined)))


# -- nodes ----------------------------------------------------------------------------------------------------------


def _visit(walk: Walk, model: OnnxModel, nodes: Iterable[Node]) -> None:
    for node in nodes:
        before = len(walk.refusals.found)
        walk.layer = node
        inside: list[Node] = []
        with walk.refusals.at(node.label), walk.b.origin(node.name):
            try:
                if node.op == "If" and node.domain == "":
                    well_formed(node)
                    condition = walk.tensors.get(node.inputs[0]) if node.inputs else None
                    inside = taken(walk, model, node, condition)
                else:
                    _lower(walk, node)
            except MemoryError:
                raise Refusal(
                    "has tensors that do not fit into memory",
                    "check the model's shapes: no circuit is that large",
                ) from None
        _visit(walk, model, inside)
        if len(walk.refusals.found) > before and not inside:
            _stand_in(walk, model, node)


def _lower(walk: Walk, node: Node) -> None:
    tensors = [walk.tensors.get(n, Missing()) if n else None for n in node.inputs]
    hosted = node.inputs[0] if node.inputs and node.inputs[0] in walk.hosted else None
    if hosted and node.role is Role.QUANTISES:
        walk.tensors[node.outputs[0]] = walk.tensors[hosted]
        walk.hosted[node.outputs[0]] = walk.hosted[hosted]
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
    if hosted and node.role is Role.MOVES:
        numbers = [walk.hosted[hosted], *(t.array if isinstance(t, Known) else None for t in tensors[1:])]
        walk.hosted[node.outputs[0]] = np.asarray(fold(node, numbers)[0])
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
    return view(x, lambda a: a.ravel()[at])


def _stand_in(walk: Walk, model: OnnxModel, node: Node) -> None:
    """After a refusal: outputs of the right shape, so that the layers behind are looked at as well."""
    shapes = shapes_of(model)
    for name in node.outputs:
        walk.tensors[name] = stand_in(walk, node.name, shapes.get(name))
