"""One walk over a traced graph: every refusal collected, then the design or the list."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import fx

from lutc.lowering.model import Layer, Model, Role
from lutc.lowering.ports import make_inputs, make_outputs, stand_in
from lutc.lowering.refusals import Refusal
from lutc.lowering.tensors import Curve, Known, Missing, Scaled
from lutc.lowering.unread import FREE, Options
from lutc.lowering.walk import Walk

from . import arithmetic, indexing, moves, promotion, rounding, windows
from .call import Call, State, flat, schema_name
from .floats import float_model
from .trace import Traced

RULES: dict[str, Callable[[Call], Any]] = {
    **arithmetic.RULES,
    **moves.RULES,
    **windows.RULES,
    **rounding.RULES,
    **indexing.RULES,
}
# What a node is to those that ask what follows a softmax: these leave the order of scores alone.
MOVES = "view reshape flatten _unsafe_view squeeze unsqueeze permute transpose t dropout native_dropout"
ROLES = {
    **{f"aten::{name}": Role.MOVES for name in (*moves.SAME.split(), *MOVES.split())},
    "aten::argmax": Role.CHOOSES,
}
HALF = (torch.float16, torch.bfloat16)
CHECKS = ("aten::_assert", "aten::sym_constrain", "aten::_check")


def lowered(traced: Traced, given: Mapping[str, Any], file: str | None = None) -> State:
    """The walk over a graph, read from a file if it was, with the ports made.

    Raises LirError listing everything that is refused, or that nothing in the model is quantised.
    """
    calls = [n for n in traced.nodes if n.op == "call_function"]
    layers = {n: _layer(n, traced) for n in calls}
    model = Model(
        traced.name,
        traced.inputs,
        tuple(v.name for v in traced.outputs.values() if isinstance(v, fx.Node)),
        tuple(layers.values()),
        dtype=np.float64 if traced.dtype == torch.float64 else np.float32,
    )
    state = State(Walk(model), traced.leaves, traced.dtype)
    walk = state.walk
    walk.refusals.whole = partial(float_model, state, layers, traced.name, file)
    make_inputs(walk, _formats(traced, given))
    for item in traced.inputs:
        if item.dtype in ("float16", "bfloat16"):
            walk.refusals.add(
                f"{item.name} (input)",
                f"holds {item.dtype} numbers, to which what comes from outside would be rounded",
                "make it float32: model.float(), and example inputs of that type",
            )
    for name, tensor in traced.constants.items():
        walk.tensors[name] = Known(_array(tensor))
    for node in calls:
        before = len(walk.refusals.found)
        walk.layer = layers[node]
        with walk.refusals.at(walk.layer.label), walk.b.origin(walk.layer.name):
            walk.keep(node.name, _call(state, node))
        if len(walk.refusals.found) > before:
            state.values[node.name] = stand_in(walk, node.name, _shape(node))
    walk.layer = None
    make_outputs(walk, {port: _result(state, port, value) for port, value in traced.outputs.items()})
    walk.refusals.check()
    return state


def _formats(traced: Traced, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """The formats a user gave; one for all inputs is one for those with integers, too."""
    if "" not in given:
        return given
    whole = {i.name: given[""] for i in traced.inputs if i.dtype.startswith(("int", "uint"))}
    return {**whole, **given}


def _result(state: State, port: str, value: Any) -> Any:
    """What an output is; refusals are noted."""
    found = state.values.get(value.name) if isinstance(value, fx.Node) else None
    if isinstance(found, Known | Scaled | Curve):
        return found
    if isinstance(found, Missing) and not state.walk.refusals.found:
        assert isinstance(value, fx.Node)
        maker = value.args[0] if value.target is operator.getitem and value.args else value
        name = schema_name(maker) if isinstance(maker, fx.Node) else ""
        reason = f"is made of a result of {name.replace('::', '.')} that has no translation"
        help = "leave it away, or write what it is with operators that can be compiled"
        if "pool" in name:
            reason = "is made of a result that has no translation, such as the positions a pool found"
            help = "leave it away, or look for the position with argmax"
        state.walk.refusals.add(f"{port} (output)", reason, help)
    elif not isinstance(found, Missing):
        state.walk.refusals.add(f"{port} (output)", "is no tensor", "return tensors alone")
    return Missing()


def _array(tensor: torch.Tensor) -> Any:
    found = tensor.detach().cpu()
    return (found.float() if found.dtype in (torch.float16, torch.bfloat16) else found).numpy()


def _layer(node: fx.Node, traced: Traced) -> Layer:
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
    role = Role.MOVES if node.target is operator.getitem else ROLES.get(name, Role.COMPUTES)
    return Layer(where, kind, inputs, (node.name,), role)


def _call(state: State, node: fx.Node) -> Any:
    name = schema_name(node)
    if isinstance(node.target, torch._ops.HigherOrderOperator):
        raise _control(name)
    given = _arguments(state, node)
    if any(isinstance(v, Missing) for v in flat(given.values())):
        return Missing()
    layer = state.walk.layer
    assert layer is not None
    hosted = state.walk.hosted.get(layer.reads[0]) if layer.role is Role.MOVES else None
    if node.target is operator.getitem:
        if hosted is not None:
            state.walk.hosted[node.name] = hosted
        values, index = given["0"], given["1"]
        return values[index]
    if not hasattr(node.target, "_schema") or name == "aten::sym_size":
        return _number(node, given)
    if name.startswith(CHECKS):
        return None
    target: Any = node.target
    if torch.Tag.nondeterministic_seeded in target.tags and _draws(name, given):
        raise Refusal(
            f"draws random numbers ({name.replace('::', '.')}), so that the model has no one answer",
            "leave it away, or keep what it drew as a buffer",
        )
    options = Options(given, _neutral(node), noun="argument")
    call = Call(state, node, layer, options)
    tensors = call.tensors()
    if all(isinstance(t, Known) for t in tensors) and not _keeps_codes(name, tensors):
        return _folded(call, name)
    _computes_in_floats(node)
    rule = RULES.get(name)
    if rule is None:
        raise Refusal(
            f"calls {name.replace('::', '.')}, which is no operator that can be compiled",
            "write it with operators that can, or let the host compute it",
        )
    found = promotion.kept(node, rule(promotion.entered(call)))
    options.check()
    if hosted is not None:
        done = call.run({id(tensors[0]): hosted.astype(np.float64)})
        state.walk.hosted[node.name] = (done[0] if isinstance(done, tuple) else done).numpy()
    return found


def _draws(name: str, given: Mapping[str, Any]) -> bool:
    """Whether an operator that may draw random numbers does; what its rule says of a dropout is told there."""
    if name.endswith("dropout"):
        return False
    share = given.get("dropout", given.get("dropout_p"))
    return share is None or (share != 0 and given.get("train", True))


def _computes_in_floats(node: fx.Node) -> None:
    value = node.meta.get("val")
    if isinstance(value, torch.Tensor) and (value.is_complex() or value.dtype in HALF):
        raise Refusal(
            f"computes in {str(value.dtype).removeprefix('torch.')}, which rounds at every step",
            "convert the model: model.float()",
        )


def _keeps_codes(name: str, tensors: list[Any]) -> bool:
    """Whether constants are better lowered than folded, for a rule keeps what their numbers mean exactly."""
    if name == "aten::mul":
        return all(np.asarray(t.array).dtype.kind == "f" for t in tensors)
    return name in rounding.FOLDED


# Arguments that change no number: where and how tensors lie, and what only matters in training.
PLACED = [
    "layout",
    "device",
    "pin_memory",
    "non_blocking",
    "memory_format",
    "copy",
    "implicit",
    "requires_grad",
]
DROPOUTS = "dropout feature_dropout alpha_dropout native_dropout feature_alpha_dropout"
LEARNING = {
    **{f"aten::{name}": ("p",) for name in DROPOUTS.split()},
    "aten::batch_norm": ("momentum", "cudnn_enabled"),
    "aten::_native_batch_norm_legit_no_training": ("momentum",),
    "aten::convolution": ("benchmark", "deterministic", "cudnn_enabled", "allow_tf32"),
    "aten::_softmax": ("half_to_float",),
    "aten::_log_softmax": ("half_to_float",),
    "lutc::leaf": ("key", "shape"),
}


def _neutral(node: fx.Node) -> dict[str, Any]:
    """The values at which an operator's arguments need not be looked at: its schema's defaults."""
    target: Any = node.target
    defaults = {a.name: a.default_value for a in target._schema.arguments if a.has_default_value()}
    free = (*PLACED, *LEARNING.get(schema_name(node), ()))
    return {**defaults, **dict.fromkeys(free, FREE)}


CONTROL = {
    "cond": "chooses by the data which branch runs (torch.cond)",
    "while_loop": "loops until the data says so (torch.while_loop)",
    "wrap_with_autocast": "computes in a lower precision (torch.autocast), which rounds at every step",
    "wrap_with_set_grad_enabled": "switches gradients on or off inside (torch.no_grad, torch.enable_grad)",
}


def _control(name: str) -> Refusal:
    ways = {
        "cond": "compute both sides and choose with torch.where",
        "wrap_with_autocast": "leave torch.autocast away: a circuit computes in fixed point",
        "wrap_with_set_grad_enabled": "export it under torch.no_grad() as a whole",
    }
    reason = CONTROL.get(name, f"is control flow that cannot be compiled ({name})")
    return Refusal(reason, ways.get(name, "write it with plain operators"))


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


def _shape(node: fx.Node) -> tuple[int, ...] | None:
    """The shape of what a node makes for one sample; None for what is no tensor."""
    value = node.meta.get("val")
    if not isinstance(value, torch.Tensor):
        return None
    lengths: list[Any] = list(value.shape)
    return tuple(n if isinstance(n, int) else 1 for n in lengths)
