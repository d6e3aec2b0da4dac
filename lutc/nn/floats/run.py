"""The run of `lutc.nn.convert` over a traced module: what every operator's result is, refusals collected."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx, nn

from lutc.lowering.refusals import Refusal
from lutc.nn.graph import INPUT

from .call import Call, shape_of
from .trace import Traced, module_of, where_of
from .walk import STAND_IN, Held, Missing, Result, Walk

Rule = Callable[[Call], Any]


def walked(walk: Walk, rules: Mapping[str, Rule]) -> Any:
    """Run over all nodes, noting refusals; gives the output's value."""
    traced = walk.traced
    walk.values[traced.input] = Result(INPUT, shape_of(walk, traced.input.meta["val"]))
    for node in traced.input.graph.nodes:
        if node.name in traced.stored:
            value, key = traced.stored[node.name]
            walk.values[node] = Held(
                value, key, isinstance(value, nn.Parameter) and value.is_floating_point()
            )
    needed = _needed(traced)
    for node in traced.nodes:
        if node not in needed:
            continue
        where, kind = where_of(node)
        walk.values[node] = _stand_in(walk, node)
        with (
            suppress(Refusal) if module_of(node)[0] in traced.refused else walk.wrong.at(f"{where} ({kind})")
        ):
            walk.values[node] = _called(walk, node, rules)
    result = walk.values.get(traced.output, Missing())
    with walk.wrong.at("output"):
        if isinstance(result, Result):
            result.check()
        elif isinstance(result, Held):
            raise Refusal("depends on nothing that the model is given", "return what the layers compute")
        elif not walk.wrong.found:
            raise Refusal(
                "is a result that has no translation, such as attention's weights, or where a largest number is",
                "return what is computed with them",
            )
    return result


def _stand_in(walk: Walk, node: fx.Node) -> Any:
    value = node.meta.get("val")
    try:
        return Result(STAND_IN, shape_of(walk, value)) if isinstance(value, Tensor) else Missing()
    except Refusal:
        return Missing()


def _needed(traced: Traced) -> set[fx.Node]:
    """The nodes that the output is made of, and those that change what they read in place."""
    wanted = {traced.output}
    for node in reversed(traced.nodes):
        if node in wanted or _in_place(node):
            wanted.update(node.all_input_nodes)
            wanted.add(node)
    return wanted


def _in_place(node: fx.Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return bool(schema and schema.is_mutable)


def _called(walk: Walk, node: fx.Node, rules: Mapping[str, Rule]) -> Any:
    if isinstance(node.target, torch._ops.HigherOrderOperator):
        help = "leave torch.no_grad and torch.autocast away inside, and choose nothing by the data"
        raise Refusal(f"is no plain operator ({node.target})", help)
    given = [walk.values.get(n, Missing()) for n in node.all_input_nodes]
    if any(isinstance(v, Missing) for v in given):
        return Missing()
    if node.target is operator.getitem:
        return given[0][node.args[1]]
    target: Any = node.target
    if not hasattr(target, "_schema"):
        return _number(node, walk)
    if target._schema.name == "aten::sym_size":
        return node.meta["val"]
    c = Call(walk, node)
    constant = not any(isinstance(v, Result | list | tuple) for v in given)
    in_place = _in_place(node)
    rule = rules.get(c.op.rstrip("_") if in_place else c.op)
    if (rule is None or constant) and _draws(c):
        raise Refusal("draws random numbers", "draw them in training alone, or keep them as a buffer")
    if constant:
        if in_place:
            _fresh(walk, node)
        return _of_constants(c, [v for v in given if isinstance(v, Held)])
    if rule is None:
        raise Refusal(f"calls {target}, for which lutc.nn has no layer", HELPS.get(c.op.rstrip("_"), OTHER))
    found = rule(c)
    c.options.check()
    if in_place:
        return _written(walk, node, found)
    return found


OTHER = "write it with linear, convolution, pooling, activation, addition and movement of elements"
HELPS = {
    "log_softmax": "leave it to the loss: log_softmax in it, and the scores themselves out of the model",
    "alpha_dropout": "use Dropout",
    "masked_fill": "leave the mask away, or multiply by a constant of zeros and ones",
    "group_norm": "use BatchNorm, whose statistics are constants in evaluation",
    "instance_norm": "use BatchNorm, whose statistics are constants in evaluation",
    "embedding": "give the model the embedded numbers, or one-hot codes to a Linear",
    "conv_transpose2d": "use Upsample(mode='nearest') and a Conv2d",
    "conv_transpose1d": "use Upsample(mode='nearest') and a Conv1d",
}


def _draws(c: Call) -> bool:
    target: Any = c.node.target
    active = c.options.peek("train", c.options.peek("training", True))  # dropout in evaluation draws nothing
    return bool(active) and torch.Tag.nondeterministic_seeded in target.tags


def _number(node: fx.Node, walk: Walk) -> Any:
    """What is computed of lengths, such as the batch's."""
    if "val" in node.meta and not isinstance(node.meta["val"], Tensor):
        return node.meta["val"]
    raise Refusal(f"calls {getattr(node.target, '__name__', node.target)}", OTHER)


def _written(walk: Walk, node: fx.Node, found: Any) -> Any:
    """The result of an operator in place: what it changed is now that, and views of it are out of date."""
    target = node.args[0]
    before = walk.values.get(target) if isinstance(target, fx.Node) else None
    if not isinstance(before, Result) or not isinstance(found, Result):
        raise Refusal("changes a constant in place", "write it without the underscore")
    for n in node.all_input_nodes:
        read = walk.values.get(n)
        if isinstance(read, Result) and read.storage is before.storage and read.name != before.name:
            raise Refusal(
                "changes a tensor in place while it reads another view of it",
                "write it without the underscore",
            )
    before.storage.changed += 1
    now = replace(found, storage=before.storage, seen=before.storage.changed)
    for other, value in walk.values.items():
        if isinstance(value, Result) and value.name == before.name and value.storage is before.storage:
            walk.values[other] = now
    return now


def _fresh(walk: Walk, node: fx.Node) -> None:
    """Raise Refusal unless a constant that is changed in place was made for it, and of no parameters."""
    given = [walk.values.get(n) for n in node.all_input_nodes]
    held = [v for v in given if isinstance(v, Held)]
    stored = {value.untyped_storage().data_ptr() for value, _ in walk.traced.stored.values()}
    if any(h.trained for h in held) or (held and held[0].value.untyped_storage().data_ptr() in stored):
        what = next((h.key for h in held if h.key is not None), "a constant")
        raise Refusal(f"changes {what} while it runs", "compute with tensors that stay as they are")


def _for_all_samples(c: Call, held: Held) -> bool:
    """Whether an expansion only repeats a tensor for every sample, as adding it does."""
    first, *rest = c["size"]
    shape = tuple(held.value.shape[1:])
    return (
        isinstance(first, torch.SymInt)
        and held.value.shape[:1] == (1,)
        and all(n in (-1, m) for n, m in zip(rest, shape, strict=True))
    )


# What may give a parameter under another shape, or turn a matrix.
MOVES = frozenset(
    [
        "alias",
        "contiguous",
        "detach",
        "embedding",
        "expand",
        "flatten",
        "index_select",
        "mT",
        "numpy_T",
        "permute",
        "reshape",
        "slice",
        "squeeze",
        "t",
        "transpose",
        "unsqueeze",
        "view",
    ]
)


def _of_constants(c: Call, given: list[Any]) -> Any:
    """What an operator makes of tensors of the module alone."""
    values = c.walk.values
    instead: dict[Held, Tensor] = {}

    def real(a: Any) -> Any:
        if isinstance(a, fx.Node):
            value = values[a]
            if isinstance(value, torch.SymInt):
                raise Refusal(
                    "makes a constant for every sample of the batch",
                    "make it for one, and add or multiply it to what the network computes",
                )
            return instead.get(value, value.value) if isinstance(value, Held) else value
        return [real(v) for v in a] if isinstance(a, list | tuple) else a

    if c.op == "expand" and given and not given[0].computed and _for_all_samples(c, given[0]):
        return given[0]
    target: Any = c.node.target

    def run() -> Any:
        with torch.no_grad():
            return target(*real(c.node.args), **{k: real(v) for k, v in c.node.kwargs.items()})

    made = run()
    trained = any(h.trained for h in given)
    if isinstance(made, int | float):  # of item()
        made = torch.tensor(made)
    if not isinstance(made, Tensor):
        return [Held(v, None, trained, computed=trained) for v in made]
    if not trained:
        return Held(made, None, False)
    first, *rest = (h for h in given if h.trained)
    if not rest and not first.computed and c.op in MOVES:
        places = torch.arange(first.value.numel()).reshape(first.value.shape)
        instead[first] = places
        found = run()
        if places.dim() == 2 and torch.equal(found, places.T):
            return replace(first, transposed=not first.transposed, value=made)
        if torch.equal(found.reshape(-1), places.reshape(-1)):
            return replace(first, value=made)
    return Held(made, None, True, computed=True)
