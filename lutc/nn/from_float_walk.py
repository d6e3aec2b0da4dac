"""The walk of `lutc.nn.convert` over a traced module: what every operator's result is, and the layers made for it."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, fx, nn

from lutc.lowering.names import Names
from lutc.lowering.refusals import Refusal, Refusals
from lutc.lowering.unread import FREE, Options

from .from_float_trace import Traced, where_of
from .function import QFunction
from .graph import INPUT, Graph, Kept, QMean
from .layers import Options as Given
from .layers import QReLU
from .pooling import QAvgPool1d, QAvgPool2d
from .quantizer import Quantizer


@dataclass(eq=False)
class Storage:
    """What tensors share that view one another; `changed` counts the writes into it."""

    changed: int = 0


@dataclass(frozen=True, eq=False)
class Result:
    """What a layer of the graph gives: the layer's name, and the shape without the batch."""

    name: str
    shape: tuple[int, ...]
    storage: Storage = field(default_factory=Storage)
    seen: int = 0  # writes that it has taken in


@dataclass(frozen=True, eq=False)
class Held:
    """A tensor of the module: a parameter or buffer (with the `key` of its state), perhaps reshaped or transposed.

    `computed` is one that is made of parameters anew at every call.
    """

    value: Tensor
    key: str | None
    trained: bool
    transposed: bool = False
    computed: bool = False


class Missing:
    """The result of what was refused, where nothing may stand for it."""


STAND_IN = (
    "?"  # the name of what stands for the result of what was refused, so that what reads it is looked at too
)


@dataclass(frozen=True)
class Widths:
    """How quantisers are made: bits of activations and weights, options of both kinds, and of tables' keys."""

    data_bits: int
    weight_bits: int
    data: Given
    weights: Given

    def quantizer(self, shape: tuple[int, ...]) -> Quantizer:
        """One of activations: a format for each element of a row, for each channel of an image, or for all."""
        formats = {1: shape, 3: (*shape[:1], 1, 1)}.get(len(shape), ())
        return Quantizer(formats, **self.data)

    def key(self) -> Given:
        """Options of the quantiser in front of a table."""
        most = min(16, max(10, self.data_bits))
        return {**self.data, "max_bits": min(most, self.data.get("max_bits", most))}


class Walk:
    """Layers by name, what each reads, and which of their tensors hold which of the module's."""

    def __init__(self, traced: Traced, widths: Widths, wrong: Refusals) -> None:
        self.traced, self.widths, self.wrong = traced, widths, wrong
        self.names = Names([INPUT, *dir(Graph), *vars(nn.Module()), "reads", "shape", "floats"])
        self.layers: dict[str, nn.Module] = {}
        self.reads: dict[str, tuple[str, ...]] = {}
        self.held: dict[str, tuple[str, ...]] = {}  # keys of the module's state: the parts here
        self.values: dict[fx.Node, Any] = {}
        self.twins: dict[
            fx.Node, fx.Node
        ] = {}  # results of operators in place: the node whose tensor they changed
        self._made: dict[Any, nn.Module] = {}
        self._owners: dict[str, Any] = {}
        self._quantised: dict[str, Result] = {}
        self._alive: list[Tensor] = []

    def layer(self, wish: str, layer: nn.Module, reads: Sequence[Result], shape: Sequence[int]) -> Result:
        """A layer's result, under a name like `wish`."""
        word = f"{wish}_layer" if wish.endswith("quantizer") and not isinstance(layer, Quantizer) else wish
        name = self.names.take(word.replace(".", "_"), "layer")
        self.layers[name], self.reads[name] = layer, tuple(r.name for r in reads)
        return Result(name, tuple(shape))

    def weighted(
        self,
        wish: str,
        sharing: Any,
        make: Callable[[], nn.Module],
        tensors: Mapping[str, Held | None],
        reads: Sequence[Result],
        shape: Sequence[int],
    ) -> Result:
        """A layer that holds tensors of the module, by its own names for them: the same layer for the same tensors."""
        what = (sharing, tuple((n, h.key or id(h.value)) for n, h in tensors.items() if h is not None))
        made, first = self.once(what, make)
        result = self.layer(wish, made, reads, shape)
        for name, h in tensors.items():
            if h is None:
                continue
            own: Tensor = getattr(made, name)
            if h.computed:
                raise Refusal(
                    f"has a {name} that is computed from parameters at every call",
                    "compute it once, and make it a parameter",
                )
            if h.key is not None:
                self.own(h.key, what, (f"{result.name}.{name}",))
            elif isinstance(own, nn.Parameter):
                raise Refusal(f"has a {name} that is no part of the module's state", "make it a parameter")
            if first:
                self._alive.append(h.value)  # it is known by its address
                with torch.no_grad():
                    own.copy_(h.value.reshape(own.shape))
        return result

    def once(self, what: Any, make: Callable[[], nn.Module]) -> tuple[nn.Module, bool]:
        """The layer made for this, and whether it was made now."""
        first = what not in self._made
        if first:
            self._made[what] = make().to(self.traced.input.meta["val"].dtype)
        return self._made[what], first

    def own(self, key: str, what: Any, parts: tuple[str, ...]) -> None:
        """Note where an entry of the module's state is. Raises Refusal if it has another place."""
        if self._owners.setdefault(key, what) != what:
            raise Refusal(
                f"shares {key} with another layer that uses it otherwise",
                "give each its own: the converted layers would drift apart in training",
            )
        self.held.setdefault(key, parts)

    def quantised(self, r: Result) -> Result:
        """A result through a quantiser, unless it comes from one."""
        source = self.layers.get(r.name)
        if isinstance(source, Quantizer | QReLU | QMean | QFunction | QAvgPool1d | QAvgPool2d):
            return r
        if r.name not in self._quantised:
            made = self.widths.quantizer(r.shape)
            self._quantised[r.name] = self.layer(f"{r.name}_quantizer", made, [r], r.shape)
        return self._quantised[r.name]

    def keep(self, key: str, value: Tensor) -> None:
        """A tensor of the module's state that no layer has."""
        name = self.names.take(key.replace(".", "_"), "kept")
        kept = Kept(value.shape, str(value.dtype).removeprefix("torch."))
        kept.value.copy_(value.detach())
        self.layers[name] = kept
        self.held[key] = (f"{name}.value",)


class Call:
    """One call of an operator: `c.tensor("input")`, `c["dim"]`. What a rule does not read has to be at its default."""

    def __init__(self, walk: Walk, node: fx.Node) -> None:
        self.walk, self.node = walk, node
        self.where, self.kind = where_of(node)
        target: Any = node.target
        self.op = target._schema.name.split("::")[-1]
        given, neutral = {}, {}
        for i, a in enumerate(target._schema.arguments):
            if a.has_default_value():
                given[a.name] = neutral[a.name] = a.default_value
            if i < len(node.args):
                given[a.name] = self._value(node.args[i])
            elif a.name in node.kwargs:
                given[a.name] = self._value(node.kwargs[a.name])
        self.options = Options(
            given, {**neutral, **dict.fromkeys(("layout", "device", "memory_format"), FREE)}, "argument"
        )

    def _value(self, a: Any) -> Any:
        if isinstance(a, fx.Node):
            return self.walk.values.get(a, Missing())
        return [self._value(v) for v in a] if isinstance(a, list | tuple) else a

    def __getitem__(self, name: str) -> Any:
        return self.options[name]

    def result(self, name: str = "self") -> Result:
        """An operand that the network computes. Raises Refusal for others."""
        return self.fresh(self[name])

    def fresh(self, value: Any) -> Result:
        """A result as it is now. Raises Refusal for what is none."""
        if isinstance(value, Held):
            raise Refusal("takes a constant for its input", "let it read what the network computes")
        if not isinstance(value, Result):
            raise Refusal("takes something else than a tensor for its input", "give it a tensor")
        if value.storage.changed != value.seen:
            raise Refusal(
                "reads a tensor that was changed in place through another view of it",
                "write the operation that changes it without inplace=True, or without the underscore",
            )
        return value

    def held(self, name: str) -> Held | None:
        """An operand that is a tensor of the module, or None. Raises Refusal for one that the network computes."""
        found = self[name]
        if found is None or isinstance(found, Held):
            return found
        raise Refusal(f"has a {name} that depends on the input", "make it a parameter")

    def numbers(self, name: str, n: int = 0) -> tuple[int, ...]:
        """A whole number, or several of them, as `n` numbers. Raises Refusal for those that depend on the batch."""
        value = self[name]
        several = value if isinstance(value, list | tuple) else [value]
        if not all(isinstance(v, int) for v in several):
            raise Refusal(
                f"has a {name} that depends on the number of samples", "compute along the other axes"
            )
        return tuple(several) * n if len(several) == 1 and n else tuple(several)

    def axis(self, value: int, rank: int, what: str = "axis") -> int:
        """An axis, the batch counted as 0. Raises Refusal for the batch."""
        found = value % rank
        if found == 0:
            raise Refusal(f"has the batch for its {what}", "compute along the other axes")
        return found

    @property
    def shape(self) -> tuple[int, ...]:
        """The result's, without the batch. Raises Refusal unless the batch is the first dimension and only there."""
        return shape_of(self.walk, self.node.meta["val"])

    def made(self, layer: nn.Module, *reads: Result) -> Result:
        """The result of a layer, under the name of the module or operator that is read."""
        return self.walk.layer(self.where, layer, reads, self.shape)


def shape_of(walk: Walk, value: Tensor) -> tuple[int, ...]:
    """A traced tensor's shape without the batch. Raises Refusal unless the batch is its first dimension."""
    batch: Any = walk.traced.input.meta["val"].shape[0]
    dims: list[Any] = list(value.shape)
    if not dims or isinstance(dims[0], int) or dims[0].node.expr != batch.node.expr:
        raise Refusal(
            "gives a tensor without the batch as its first dimension", "keep the batch first, and whole"
        )
    if not all(isinstance(d, int) for d in dims[1:]):
        raise Refusal(
            "gives a tensor whose other dimensions depend on the batch", "keep the batch first, and whole"
        )
    return tuple(dims[1:])


Rule = Callable[[Call], Any]
PASSES = ("_assert", "sym_constrain", "_check", "_assert_async")


def walked(walk: Walk, rules: Mapping[str, Rule]) -> Any:
    """Run over all nodes, noting refusals; gives the output's value."""
    traced = walk.traced
    walk.values[traced.input] = Result(INPUT, shape_of(walk, traced.input.meta["val"]))
    for node in traced.input.graph.nodes:
        if node.name in traced.stored:
            value, key = traced.stored[node.name]
            walk.values[node] = Held(value, key, isinstance(value, nn.Parameter))
    needed = _needed(traced)
    for node in traced.nodes:
        if node not in needed:
            continue
        where, kind = where_of(node)
        walk.values[node] = _stand_in(walk, node)
        with suppress(Refusal) if where in traced.refused else walk.wrong.at(f"{where} ({kind})"):
            walk.values[node] = _called(walk, node, rules)
    return walk.values.get(traced.output, Missing())


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
    if c.op.startswith(PASSES):
        return None
    if (given and all(isinstance(v, Held) for v in given)) or not given:
        return _of_constants(c, given)
    in_place = _in_place(node)
    rule = rules.get(c.op.rstrip("_") if in_place else c.op)
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
    "lstm": "lutc.nn has no recurrent layers: use convolutions or attention over the positions",
    "gru": "lutc.nn has no recurrent layers: use convolutions or attention over the positions",
    "group_norm": "use BatchNorm, whose statistics are constants in evaluation",
    "instance_norm": "use BatchNorm, whose statistics are constants in evaluation",
    "embedding": "give the model the embedded numbers, or one-hot codes to a Linear",
    "conv_transpose2d": "use Upsample(mode='nearest') and a Conv2d",
    "conv_transpose1d": "use Upsample(mode='nearest') and a Conv1d",
}


def _number(node: fx.Node, walk: Walk) -> Any:
    """What is computed of lengths, such as the batch's."""
    if "val" in node.meta and not isinstance(node.meta["val"], Tensor):
        return node.meta["val"]
    raise Refusal(f"calls {node.target}", OTHER)


def _written(walk: Walk, node: fx.Node, found: Any) -> Any:
    """The result of an operator in place: what it changed is now that, and views of it are out of date."""
    target = node.args[0]
    before = walk.values.get(target) if isinstance(target, fx.Node) else None
    if not isinstance(before, Result) or not isinstance(found, Result):
        raise Refusal("changes a constant in place", "write it without the underscore")
    before.storage.changed += 1
    now = replace(found, storage=before.storage, seen=before.storage.changed)
    for other, value in walk.values.items():
        if isinstance(value, Result) and value.name == before.name and value.storage is before.storage:
            walk.values[other] = now
    return now


# What gives a parameter under another shape, and what turns a matrix.
RESHAPES = frozenset(
    ["view", "reshape", "unsqueeze", "squeeze", "slice", "contiguous", "flatten", "expand", "detach", "alias"]
)
TURNS = frozenset(["t", "transpose", "permute", "numpy_T", "mT"])


def _of_constants(c: Call, given: list[Any]) -> Any:
    """What an operator makes of tensors of the module alone."""
    values = c.walk.values

    def real(a: Any) -> Any:
        if isinstance(a, fx.Node):
            value = values[a]
            if isinstance(value, torch.SymInt):
                raise Refusal(
                    "makes a constant for every sample of the batch",
                    "make it for one, and add or multiply it to what the network computes",
                )
            return value.value if isinstance(value, Held) else value
        return [real(v) for v in a] if isinstance(a, list | tuple) else a

    target: Any = c.node.target
    args, named = real(c.node.args), {k: real(v) for k, v in c.node.kwargs.items()}
    with torch.no_grad():
        made = target(*args, **named)
    trained = any(h.trained for h in given)
    if not isinstance(made, Tensor):
        return [Held(v, None, trained, computed=trained) for v in made]
    if not trained:
        return Held(made, None, False)
    (first, *rest) = given
    was = first.value
    if not rest and not first.computed:
        if c.op in RESHAPES and torch.equal(made.reshape(-1), was.reshape(-1)):
            return replace(first, value=made)
        if c.op in TURNS and was.dim() == 2 and torch.equal(made, was.T):
            return replace(first, transposed=not first.transposed, value=made)
    return Held(made, None, True, computed=True)
