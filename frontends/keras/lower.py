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
from lutc.compare import Look
from lutc.foreign import shown
from lutc.graph import Design, Param
from lutc.interp import port_codes

from ..importer import Names, Refusal, Refusals
from .base import Demand, LayoutRule, Rule
from .calibrate import Trace
from .graph import Call, Layer, Model, refs
from .inputs import calibration_arrays, given_types, port
from .lowering import Lowering, Tensor, varying_axis
from .ports import Port
from .rules import rule_of
from .unary import Affine
from .walk import UNKNOWN, all_layers, leaves, paths, walk

MOST = 1 << 22  # elements of an input


@dataclass
class Importer:
    """One model on its way: its rules, and what is wrong with it so far."""

    model: Model
    where: str
    rules: dict[Layer, Rule] = field(default_factory=dict)
    wrong: Refusals = field(default_factory=Refusals)

    def place(self, layer: Layer) -> str:
        """The layer as the user knows it."""
        return f"{self.where}: layer {layer.name!r} ({layer.kind})"

    def read_rules(self) -> None:
        """Look every layer up."""
        for layer in all_layers(self.model):
            with self.wrong.at(self.place(layer)):
                try:
                    self.rules[layer] = rule_of(layer)
                except (KeyError, ValueError, TypeError, IndexError, AttributeError) as cause:
                    raise Refusal(
                        f"its configuration cannot be read ({type(cause).__name__}: {cause})",
                        "save the model again with Keras 3.12 or newer and HGQ2 0.1.6 or newer",
                    ) from None

    # -- inputs -----------------------------------------------------------------------------------------------------

    def shapes(self) -> list[tuple[int, ...]]:
        """The inputs' shapes without the batch axis."""
        found = []
        for ref in self.model.inputs:
            layer = self.model.layers[ref.layer]
            shape = layer.config.get("batch_shape") or layer.config.get("batch_input_shape")
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
            rule = self.rules.get(call.layer)
            arrays = [a for a in leaves([args, kwargs]) if isinstance(a, Positions)]
            if rule is None or not arrays:
                return None if rule is not None else UNKNOWN
            plain = [_bare(a) for a in args]
            options = {k: _bare(v) for k, v in kwargs.items()}
            try:
                if isinstance(rule, LayoutRule) or hasattr(rule, "move"):
                    moved = rule.move(*plain, **options)
                    return [Positions(m) for m in moved] if isinstance(moved, list) else Positions(moved)
                wanted = rule.demands(*plain, **options)
            except (ValueError, IndexError, TypeError, Refusal):
                wanted = None  # the lowering says what is wrong, at its layer
            if wanted is None:
                for a in arrays:
                    bare.update(a.index.ravel().tolist())
            else:
                found.extend(wanted)
            return None

        outputs = walk(self.model, [Positions(a) for a in raw], visit)
        for left in leaves(outputs):
            if isinstance(left, Positions):
                bare.update(left.index.ravel().tolist())
        return found, bare - {-1}

    def ports(
        self, names: Sequence[str], shapes: Sequence[tuple[int, ...]], given: Any, calibrate: Any
    ) -> Ports:
        """Every input's port: its format as given, or from the quantisers it meets."""
        known = given_types(names, shapes, given)
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
        start, found = 0, []
        for name, shape in zip(names, shapes, strict=True):
            size = int(np.prod(shape, dtype=np.int64))
            place = f"{self.where}: input {name!r}"
            with self.wrong.at(place):
                if name in known:
                    found.append(Port(name, known[name]))
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
                if not layer.is_op and (
                    not call.refs or not isinstance((*args, [])[0], Tensor | list | tuple)
                ):
                    raise Refusal(
                        "it is called with what is no tensor, and no list of them", "call it with tensors"
                    )
                result = self.rules[layer].lower(low, *args, **kwargs)
            if result is UNKNOWN:
                return UNKNOWN
            many = result if isinstance(result, list) else [result]
            many = [Tensor(low.named(t.value, low.layer), t.chain, t.final) for t in many]
            return many if isinstance(result, list) else many[0]

        outputs = walk(self.model, [Tensor(p) for p in params], visit)
        self.wrong.check()
        return outputs

    def give(self, low: Lowering, outputs: Any) -> dict[str, Host]:
        """Make the output ports, named by their layers. Returns what is left to the host, by port."""
        names, hosts = Names(), {}
        for p in low.params:
            names.take(p.name or "")
        for ref, t in zip(refs(self.model.outputs), leaves(outputs), strict=True):
            layer = self.model.layers[ref.layer]
            name = names.take(layer.name, "output")
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


def _bare(tree: Any) -> Any:
    if isinstance(tree, Positions):
        return tree.index
    return [_bare(t) for t in tree] if isinstance(tree, list) else tree


def lower_model(
    model: Model,
    where: str,
    calibrate: Any = None,
    input_types: Mapping[str, Any] | Sequence[Any] | str | None = None,
) -> Lowered:
    """Lower a model. Raises LirError with everything that is refused."""
    job = Importer(model, where)
    job.read_rules()
    shapes = job.shapes()
    job.wrong.check()
    names = [model.layers[r.layer].name for r in model.inputs]
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
    ports = {name: p.name or "" for name, p in zip(names, low.params, strict=True)}
    fixed = [ports[name] for name in given_types(names, shapes, input_types)]
    keys = [path for path, _ in paths(model.outputs)]
    calibration = None if found.data is None else dict(zip(names, found.data, strict=True))
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
