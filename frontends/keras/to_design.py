"""From a read model to a design: every refusal first, then the inputs' formats, then the lowering."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutc.build import Builder
from lutc.diagnostics import LirError
from lutc.files.foreign import shown
from lutc.ir.graph import Design, Param
from lutc.ir.interp import port_codes
from lutc.lowering.compare import Look
from lutc.lowering.given import by_name, given_type
from lutc.lowering.moves import joined, moved
from lutc.lowering.names import Names
from lutc.lowering.refusals import Refusal, Refusals

from .base import Demand, Rule
from .calibrate import Trace
from .calls import UNKNOWN, all_calls, all_layers, walk
from .functional import Call, Layer, Model, leaves, named, paths
from .identity import family
from .inputs import calibration_arrays, port
from .kinds import Kind
from .registry import rule_of
from .unary import Affine
from .values import Lowering, Port, Tensor, varying_axis

MOST = 1 << 22  # elements of an input


@dataclass
class Importer:
    """One model on its way: its rules, and what is wrong with it so far."""

    model: Model
    where: str
    rules: dict[Layer, Rule] = field(default_factory=dict)
    kinds: dict[Call, dict[Kind, None]] = field(default_factory=dict)
    input_kinds: list[Kind] = field(default_factory=list)
    wrong: Refusals = field(default_factory=Refusals)

    def place(self, layer: Layer) -> str:
        """The layer as the user knows it."""
        return f"{self.where}: layer {layer.name!r} ({layer.kind})"

    def read_rules(self) -> None:
        """Look every layer up, and every argument of its calls."""
        for layer in all_layers(self.model):
            with self.wrong.at(self.place(layer)):
                try:
                    self.rules[layer] = rule_of(layer)
                    if layer.kind == "InputLayer":
                        self.rules[layer].check()
                except (KeyError, ValueError, TypeError, IndexError, AttributeError) as cause:
                    raise Refusal(
                        f"its configuration cannot be read ({type(cause).__name__}: {cause})",
                        "save the model again with Keras 3.12 or newer and HGQ2 0.1.6 or newer",
                    ) from None
        for call in all_calls(self.model):
            rule = self.rules.get(call.layer) if call.layer.model is None else Rule(call.layer)
            if rule is not None:
                with self.wrong.at(self.place(call.layer)):
                    rule.bound(call.args, call.kwargs)

    def read_kinds(self) -> None:
        """Follow the types in which Keras holds every tensor."""

        def visit(call: Call, args: list[Any], kwargs: dict[str, Any]) -> Any:
            rule, found = self.rules[call.layer], UNKNOWN
            with self.wrong.at(self.place(call.layer)):
                given = rule.bound(args, kwargs)
                found = rule.kind([k for k in leaves(given) if isinstance(k, Kind)], given)
                self.kinds.setdefault(call, {})[found] = None
            return found

        inputs = []
        for ref in self.model.inputs:
            layer = self.model.layers[ref.layer]
            inputs.append(Kind.FLOAT32)
            with self.wrong.at(f"{self.where}: input {layer.name!r}"):
                inputs[-1] = Kind.of(layer.config.get("dtype") or "float32")
        walk(self.model, inputs, visit)
        self.input_kinds = inputs

    # -- inputs -----------------------------------------------------------------------------------------------------

    def shapes(self) -> list[tuple[int, ...]]:
        """The inputs' shapes without the batch axis."""
        found = []
        for ref in self.model.inputs:
            layer = self.model.layers[ref.layer]
            shape = _shape(layer)
            if not isinstance(shape, list | tuple) or not all(type(n) is int and n > 0 for n in shape[1:]):
                stated = ["batch", *shape[1:]] if isinstance(shape, list | tuple) else shape
                self.wrong.add(
                    f"{self.where}: input {layer.name!r}",
                    f"it has a length that is not known: {shown(stated)}",
                    "a circuit has fixed sizes: give keras.Input(shape=...) every length",
                )
                shape = [None]
            elif math.prod(shape[1:]) > MOST:
                what = f"it has {shown(math.prod(shape[1:]))} elements"
                self.wrong.add(f"{self.where}: input {layer.name!r}", what, f"a circuit takes up to {MOST}")
                shape = [None]
            found.append(tuple(int(n) for n in shape[1:]))
        return found

    def demands(self, shapes: Sequence[tuple[int, ...]]) -> tuple[list[Demand], set[int]]:
        """How the model quantises its raw inputs, and the inputs' elements that it uses without quantising.

        Elements are numbered through all inputs.
        """
        starts = np.cumsum([0, *(int(np.prod(s, dtype=np.int64)) for s in shapes)])
        raw = [np.arange(a, b).reshape(1, *s) for a, b, s in zip(starts, starts[1:], shapes, strict=False)]
        found: list[Demand] = []
        bare: set[int] = set()

        def visit(call: Call, args: list[Any], kwargs: dict[str, Any]) -> Any:
            rule = self.rules[call.layer]
            given = [_bare(a) for a in rule.bound(args, kwargs)]
            arrays = [a for a in leaves([args, kwargs]) if isinstance(a, Positions)]
            if not arrays:
                return None
            if hasattr(rule, "move"):
                result: Any = UNKNOWN
                with self.wrong.at(self.place(call.layer)):
                    result = self._moved(rule, given)
                return result
            try:
                wanted = rule.demands(*given)
            except (ValueError, IndexError, TypeError, Refusal):
                wanted = None  # the lowering says what is wrong, at its layer
            if wanted is None:
                for a in arrays:
                    bare.update(a.index.ravel().tolist())
            else:
                found.extend(wanted)
            return None

        outputs = walk(self.model, [Positions(a) for a in raw], visit)
        self.wrong.check()
        for left in leaves(outputs):
            if isinstance(left, Positions):
                bare.update(left.index.ravel().tolist())
        return found, bare - {-1}

    @staticmethod
    def _moved(rule: Any, given: list[Any]) -> Any:
        """What a movement makes of raw positions: one array, or several from a split or into a join."""
        first, *rest = given
        if not isinstance(first, np.ndarray):
            first = list(first)
            if not all(isinstance(a, np.ndarray) for a in first):
                return None
            return Positions(joined(rule.move, first))
        count = rule.count(first) if hasattr(rule, "count") else None
        if count is None:
            return Positions(moved(lambda i: rule.move(i, *rest), first))
        return [Positions(moved(lambda i, n=n: rule.move(i)[n], first)) for n in range(count)]  # type: ignore[misc]

    def ports(
        self, names: Sequence[str], shapes: Sequence[tuple[int, ...]], given: Any, calibrate: Any
    ) -> Ports:
        """Every input's port: its format as given, or from the quantisers it meets."""
        known = by_name(names, given)
        demands, bare = self.demands(shapes)
        data = trace = None
        if calibrate is not None:
            data, trace = calibration_arrays(names, shapes, calibrate), Trace()
            flat = np.concatenate(
                [d.reshape(len(d), -1) for d in data] + [np.zeros((len(data[0]), 1))], axis=1
            )
            for q, index in demands:
                if q.tracked:
                    trace.observe(
                        q, flat[:, index[0]]
                    )  # position -1, padding, is the column of zeros at the end
            demands = [(trace.final(q), index) for q, index in demands]
        start, found = 0, list[Port]()
        for name, shape in zip(names, shapes, strict=True):
            size = int(np.prod(shape, dtype=np.int64))
            place = f"{self.where}: input {name!r}"
            with self.wrong.at(place):
                if name in known:
                    kind = given_type(known[name], shape)
                    self.input_kinds[len(found)].hold(kind)
                    found.append(Port(name, kind))
                elif bare & set(range(start, start + size)):
                    raise Refusal(
                        "it reaches a layer or an output without a quantiser, so it has no format",
                        f"give it one: --input-type {name}=s8f4, or put hgq.quantizer.Quantizer behind the input",
                    )
                else:
                    found.append(port(shape, start, demands, name))
            start += size
        return Ports(found, data, trace)

    # -- lowering ---------------------------------------------------------------------------------------------------

    def lower(self, low: Lowering, params: Sequence[Param]) -> Any:
        """Lower every layer; what is refused on the way is collected."""

        def visit(call: Call, args: list[Any], kwargs: dict[str, Any]) -> Any:
            layer = call.layer
            low.layer = layer.name if not call.index else f"{layer.name}_{call.index}"
            result: Any = UNKNOWN
            with self.wrong.at(self.place(layer)), low.b.origin(layer.name):
                if not call.refs and family(layer) != "ops":
                    raise Refusal("it is called with no tensor", "call it with tensors")
                rule = self.rules[layer]
                lowered = rule.lower(low, *rule.bound(args, kwargs))
                rule.check()
                for t in leaves(lowered):
                    for kind in self.kinds.get(call, ()):
                        kind.hold(t.value.type)
                result = lowered
            if result is UNKNOWN:
                return UNKNOWN
            many = result if isinstance(result, list) else [result]
            many = [Tensor(low.named(t.value, low.layer), t.chain, t.final) for t in many]
            return many if isinstance(result, list) else many[0]

        def enter(call: Call, values: list[Any]) -> bool:
            """Whether a nested model gets what its inputs say: Keras gives and takes a last axis of length 1."""
            inner, fits = call.layer.model, True
            assert inner is not None
            for ref, value in zip(inner.inputs, values, strict=True):
                shape = (_shape(inner.layers[ref.layer]) or [None, *value.shape])[1:]
                if len(shape) != len(value.shape) or any(
                    a not in (None, b) for a, b in zip(shape, value.shape, strict=True)
                ):
                    fits = False
                    said = f"its input {ref.layer!r} has shape {list(shape)}, and it is given {list(value.shape)}"
                    self.wrong.add(self.place(call.layer), said, "reshape in front of it")
            return fits

        outputs = walk(self.model, [Tensor(p) for p in params], visit, enter)
        self.wrong.check()
        return outputs

    def give(self, low: Lowering, outputs: Any) -> dict[str, Host]:
        """Make the output ports, named by their layers. Returns what is left to the host, by port."""
        names, hosts = Names(), {}
        for p in low.params:
            names.take(p.name or "")
        for (ref, key), t in zip(named(self.model.outputs), leaves(outputs), strict=True):
            layer = self.model.layers[ref.layer]
            name = names.take(key or layer.name, "output")
            if not isinstance(t, Tensor):
                self.wrong.add(
                    self.place(layer), "no call of it makes the model's output", "save the model again"
                )
                continue
            with self.wrong.at(self.place(layer)):
                scale, offset = _outside(t)
                low.b.output(name, t.value, scale=scale, offset=offset)
            if t.final:
                low.b.note(f"output {name!r} carries the argument of {t.final}, which the host applies")
                hosts[name] = HOSTS[t.final]
        self.wrong.check()
        return hosts


Host = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def _softmax(x: NDArray[np.float64]) -> NDArray[np.float64]:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


HOSTS: dict[str, Host] = {"softmax": _softmax, "log_softmax": lambda x: np.log(_softmax(x))}


@dataclass(frozen=True)
class Lowered:
    """A design, and what it takes to compare it with the model: its ports by the names of the model's inputs, the
    paths of the model's outputs in what it returns, and the calibration data by input."""

    design: Design
    ports: dict[str, str]
    keys: list[tuple[Any, ...]]
    look: Look
    calibration: dict[str, Any] | None


@dataclass(frozen=True)
class Ports:
    """The inputs' ports and, if there are calibration data, those and the ranges they gave the first quantisers."""

    ports: list[Port]
    data: list[Any] | None
    trace: Trace | None


@dataclass(frozen=True, eq=False)
class Positions:
    """Raw input elements, on their way to a quantiser."""

    index: Any


def _shape(layer: Layer) -> Any:
    return layer.config.get("batch_shape") or layer.config.get("batch_input_shape")


def _bare(tree: Any) -> Any:
    if isinstance(tree, Positions):
        return tree.index
    return [_bare(t) for t in tree] if isinstance(tree, list) else tree


@np.errstate(all="ignore")  # what is not finite is refused where it would be used
def lower_model(
    model: Model,
    where: str,
    calibrate: Any = None,
    input_types: Mapping[str, Any] | Sequence[Any] | str | None = None,
    whole: Callable[[], LirError | None] = lambda: None,
) -> Lowered:
    """Lower a model. Raises LirError with everything that is refused, or what `whole` says of the model instead."""
    job = Importer(model, where, wrong=Refusals(whole=whole))
    job.read_rules()
    shapes = job.shapes()
    job.wrong.check()
    job.read_kinds()
    job.wrong.check()
    names = [key or model.layers[r.layer].name for r, key in named(model.structure)]
    found = job.ports(names, shapes, input_types, calibrate)
    job.wrong.check()
    if found.trace is not None and found.data is not None:
        low = Lowering(Builder("calibration"), trace=found.trace)
        for p, d in zip(low.inputs(found.ports), found.data, strict=True):
            found.trace.known[p] = port_codes(p, d)
        job.lower(low, low.params)
    low = Lowering(Builder(Names().take(model.name, "model")), ranges=found.trace)
    outputs = job.lower(low, low.inputs(found.ports))
    hosts = job.give(low, outputs)
    for note in low.notes():
        low.b.note(note)
    spelled = {name: p.name or "" for name, p in zip(names, low.params, strict=True)}
    fixed = [spelled[name] for name in by_name(names, input_types)]
    layers = [ref.layer for ref in model.inputs]
    ports = dict(zip(layers, spelled.values(), strict=True))
    calibration = None if found.data is None else dict(zip(layers, found.data, strict=True))
    keys = list(paths(model.outputs))
    return Lowered(low.b.design(), ports, keys, Look(fixed, hosts=hosts), calibration)


def _outside(t: Tensor) -> tuple[list[Fraction], list[Fraction]]:
    """What a pending scaling means for the port: its factor and offset, per index of the last axis."""
    if not t.chain:
        return [Fraction(1)], [Fraction(0)]
    step, last = t.chain[0], len(t.shape) - 1
    if len(t.chain) > 1 or not isinstance(step, Affine) or varying_axis(step, t.shape) not in (-1, last):
        raise Refusal(
            f"the model's output is {t.chain[-1].name} in floating point",
            "give the last layer an output quantiser (enable_oq=True), or end the model before the function",
        )
    by, add, over = (
        [Fraction(v) for v in np.broadcast_to(p, t.shape).reshape(-1, t.shape[-1])[0].tolist()]
        for p in step.params
    )
    factors = [b / o for b, o in zip(by, over, strict=True)]
    return _one(factors), _one(add)


def _one(numbers: list[Fraction]) -> list[Fraction]:
    return numbers[:1] if len(set(numbers)) == 1 else numbers
