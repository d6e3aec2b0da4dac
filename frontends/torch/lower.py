"""One walk over a traced graph: every refusal collected, then the design or the list."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import fx

from lutc.diagnostics import did_you_mean
from lutc.types import Fixed, uniform

from ..importer import Refusal
from ..onnx.curve import Curve
from ..onnx.load import MOST, make_inputs, make_outputs
from ..onnx.model import Model, Node
from ..onnx.tensors import Known, Missing, Scaled, core
from ..onnx.walk import Walk
from . import arithmetic, moves, rounding, windows
from .call import Call, State
from .trace import Traced

RULES: dict[str, Callable[[Call], Any]] = {
    **arithmetic.RULES,
    **moves.RULES,
    **windows.RULES,
    **rounding.RULES,
}
# What a node is to those that ask what follows a layer: these leave the order of scores alone.
ROLES = {
    **dict.fromkeys((f"aten::{n}" for n in moves.SAME.split()), "Identity"),
    **dict.fromkeys(("aten::view", "aten::reshape", "aten::flatten", "aten::_unsafe_view"), "Reshape"),
    **dict.fromkeys(("aten::squeeze", "aten::unsqueeze"), "Squeeze"),
    **dict.fromkeys(("aten::permute", "aten::transpose", "aten::t"), "Transpose"),
    **dict.fromkeys(("aten::dropout", "aten::native_dropout"), "Dropout"),
    "aten::argmax": "ArgMax",
}
CHECKS = ("aten::_assert", "aten::sym_constrain", "aten::_check")


def lowered(traced: Traced, given: Mapping[str, Any]) -> State:
    """The walk over a graph, with the ports made. Raises LirError listing everything that is refused."""
    calls = [n for n in traced.nodes if n.op == "call_function"]
    layers = {n: _layer(n, traced) for n in calls}
    model = Model(
        traced.name,
        21,
        traced.inputs,
        tuple(v.name for v in traced.outputs.values() if isinstance(v, fx.Node)),
        {},
        tuple(layers.values()),
        {},
        dtype=np.float64 if traced.dtype == torch.float64 else np.float32,
    )
    state = State(Walk(model), traced.leaves, traced.dtype)
    walk = state.walk
    make_inputs(walk, given)
    for name, tensor in traced.constants.items():
        walk.tensors[name] = Known(_array(tensor))
    for node in calls:
        before = len(walk.refusals.found)
        walk.node = layers[node]
        with walk.refusals.at(walk.node.label), walk.b.origin(walk.node.name):
            walk.keep(node.name, _call(state, node))
        if len(walk.refusals.found) > before:
            state.values[node.name] = _stand_in(walk, node)
    walk.node = None
    make_outputs(walk, {port: _result(state, port, value) for port, value in traced.outputs.items()})
    walk.refusals.check()
    return state


def _result(state: State, port: str, value: Any) -> Any:
    """What an output is; refusals are noted."""
    found = state.values.get(value.name) if isinstance(value, fx.Node) else None
    if isinstance(found, Known | Scaled | Curve):
        return found
    if isinstance(found, Missing) and not state.walk.refusals.found:
        reason = "is made of a result that has no translation, such as the positions a pool found"
        state.walk.refusals.add(
            f"{port} (output)", reason, "leave it away, or look for the position with argmax"
        )
    elif not isinstance(found, Missing):
        state.walk.refusals.add(f"{port} (output)", "is no tensor", "return tensors alone")
    return Missing()


def _array(tensor: torch.Tensor) -> Any:
    found = tensor.detach().cpu()
    return (found.float() if found.dtype in (torch.float16, torch.bfloat16) else found).numpy()


def schema_name(node: fx.Node) -> str:
    """The operator's name, such as `aten::conv2d`."""
    schema = getattr(node.target, "_schema", None)
    return schema.name if schema is not None else getattr(node.target, "__name__", str(node.target))


def _layer(node: fx.Node, traced: Traced) -> Node:
    """A node under the name of the module it came from, if that is one of PyTorch's own or a leaf."""
    name = schema_name(node)
    key = node.args[1] if name == "lutc::leaf" else None
    if isinstance(key, str) and key in traced.leaves:
        where, kind = traced.leaves[key].name, traced.leaves[key].kind
    else:
        stack = list((node.meta.get("nn_module_stack") or {}).values())
        path, cls = stack[-1] if stack else ("", "")
        cls = cls if isinstance(cls, str) else f"{cls.__module__}.{cls.__name__}"
        if path and cls.startswith(("torch.nn.", "torch.ao.", "brevitas.")):
            where, kind = path, cls.rsplit(".", 1)[-1]
        else:
            where, kind = f"{path}.{node.name}" if path else node.name, name.split("::")[-1]
    inputs = tuple(a.name for a in node.all_input_nodes)
    role = "Identity" if node.target is operator.getitem else ROLES.get(name, name)
    return Node(where, role, "", 21, inputs, (node.name,), {}, kind=kind)


def _call(state: State, node: fx.Node) -> Any:
    name = schema_name(node)
    given = _arguments(state, node)
    if any(isinstance(v, Missing) for v in _flat(given.values())):
        return Missing()
    if node.target is operator.getitem:
        values, index = given["0"], given["1"]
        return values[index]
    if not hasattr(node.target, "_schema") or name == "aten::sym_size":
        return _number(node, given)
    if name.startswith(CHECKS):
        return None
    call = Call(state, node, state.walk.node or Node(node.name, name, "", 21, (), (), {}), given)
    tensors = call.tensors()
    if name not in rounding.FOLDED and name != "aten::mul" and all(isinstance(t, Known) for t in tensors):
        return _folded(call, name)
    _computes_in_floats(state, node, tensors)
    rule = RULES.get(name)
    if rule is None:
        short = name.split("::")[-1]
        close = did_you_mean(short, sorted(r.split("::")[-1] for r in RULES))
        raise Refusal(
            f"calls {name.replace('::', '.')}, which is no operator that can be compiled",
            close or "write it with operators that can, or let the host compute it",
        )
    return rule(call)


def _computes_in_floats(state: State, node: fx.Node, tensors: list[Any]) -> None:
    value = node.meta.get("val")
    if isinstance(value, torch.Tensor) and value.dtype in (torch.float16, torch.bfloat16):
        raise Refusal(
            f"computes in {str(value.dtype).removeprefix('torch.')}, which rounds at every step",
            "convert the model: model.float()",
        )


def _arguments(state: State, node: fx.Node) -> dict[str, Any]:
    """The arguments by the names of the operator's schema, defaults included; tensors as the walk has them."""

    def value(a: Any) -> Any:
        if isinstance(a, fx.Node):
            return state.values.get(a.name, Missing())
        if isinstance(a, list | tuple):
            return [value(v) for v in a]
        return a

    schema = getattr(node.target, "_schema", None)
    if schema is None:
        return {str(i): value(a) for i, a in enumerate(node.args)}
    given = {}
    for i, argument in enumerate(schema.arguments):
        if i < len(node.args):
            given[argument.name] = value(node.args[i])
        elif argument.name in node.kwargs:
            given[argument.name] = value(node.kwargs[argument.name])
        elif argument.has_default_value():
            given[argument.name] = argument.default_value
    return given


def _flat(values: Any) -> list[Any]:
    return [v for value in values for v in (value if isinstance(value, list) else [value])]


def _number(node: fx.Node, given: dict[str, Any]) -> Any:
    """Lengths of dimensions, and what is computed of them: known, for a circuit takes one sample at a time."""
    values = list(given.values())
    if schema_name(node) == "aten::sym_size":
        return int(values[0].shape[values[1]])
    if any(isinstance(v, Known | Scaled | Curve) for v in values):
        raise Refusal(
            "chooses by the data's values what is computed", "use torch.where, which computes both sides"
        )
    target: Any = node.target
    found = target(*values)
    if isinstance(found, int) and abs(found) >= 1 << 62:
        raise Refusal("computes a length beyond any tensor's", "is a shape of the model wrong?")
    return found


def _folded(call: Call, name: str) -> Any:
    """What an operator makes of constants; one that only moves elements keeps codes and scales."""
    if name in moves.MOVES and call.tensors():
        found = call.moved(call.tensors()[0])
        return found
    done = call.run({})
    if isinstance(done, tuple | list):
        return tuple(Known(_array(d)) if isinstance(d, torch.Tensor) else d for d in done)
    return Known(_array(done)) if isinstance(done, torch.Tensor) else done


def _stand_in(walk: Walk, node: fx.Node) -> Any:
    """After a refusal: a tensor of the right shape, so that the layers behind are looked at as well."""
    value = node.meta.get("val")
    if not isinstance(value, torch.Tensor):
        return Missing()
    lengths: list[Any] = list(value.shape)
    shape = tuple(n if isinstance(n, int) else 1 for n in lengths)
    if math.prod(shape) > MOST:
        return Missing()
    return Scaled(shape, walk.port(f"{node.name} refused", uniform(core(shape), Fixed(True, 8, 4))))
