"""From a read model to a design: every refusal first, then the inputs' formats, then the lowering."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from lutc.build import Builder, as_type
from lutc.diagnostics import Diagnostic, LirError
from lutc.graph import Design, Overflow, Param, Rounding, Value
from lutc.interp import port_codes
from lutc.types import Type

from .base import Demand, LayoutRule, Rule
from .calibrate import Trace
from .graph import Call, Layer, Model, Ref, refs, substitute
from .inputs import Port, port
from .lowering import Lowering, Tensor, identifier, varying_axis
from .quantizers import Unsupported
from .rules import rule_of
from .unary import Affine

# Stands for the result of a layer that was refused, or of one whose refusal is not ours to judge again.
UNKNOWN = object()

Visit = Callable[[Call, list[Any], dict[str, Any]], Any]


def walk(model: Model, inputs: Sequence[Any], visit: Visit) -> Any:
    """Call `visit` for every layer call in order, nested models included. Returns the outputs, nested as the model's.

    A result is one value, a list of them, or UNKNOWN; a call that reads UNKNOWN is not visited and is UNKNOWN itself.
    """
    known: dict[tuple[str, int], Any] = {(r.layer, r.call): v for r, v in zip(model.inputs, inputs, strict=True)}

    def value(ref: Ref) -> Any:
        result = known.get((ref.layer, ref.call), UNKNOWN)
        return result[ref.index] if isinstance(result, list) else result

    for call in model.calls:
        if call.layer.kind == "InputLayer":
            continue
        read = [value(r) for r in call.refs]
        if any(v is UNKNOWN for v in read):
            result: Any = UNKNOWN
        elif call.layer.model is not None:
            result = walk(call.layer.model, read, visit)
            result = list(_leaves(result)) if isinstance(result, list | tuple | dict) else result
        else:
            result = visit(call, substitute(list(call.args), value), substitute(call.kwargs, value))
        known[call.layer.name, call.index] = result
    return substitute(model.outputs, value)


def _leaves(tree: Any) -> Iterator[Any]:
    if isinstance(tree, list | tuple):
        for item in tree:
            yield from _leaves(item)
    elif isinstance(tree, dict):
        for item in tree.values():
            yield from _leaves(item)
    else:
        yield tree


def all_layers(model: Model) -> Iterator[Layer]:
    """Every layer, those of nested models included."""
    for layer in model.layers.values():
        if layer.model is not None:
            yield from all_layers(layer.model)
        elif layer.kind != "InputLayer":
            yield layer


@dataclass
class Importer:
    """One model on its way: its rules, and what is wrong with it so far."""

    model: Model
    where: str
    rules: dict[Layer, Rule] = field(default_factory=dict)
    wrong: list[Diagnostic] = field(default_factory=list)

    def refuse(self, layer: Layer, cause: Unsupported) -> None:
        place = f"{self.where}: layer {layer.name!r} ({layer.kind})"
        diagnostic = Diagnostic(cause.reason, where=place, help=cause.help)
        if diagnostic not in self.wrong:
            self.wrong.append(diagnostic)

    def read_rules(self) -> None:
        for layer in all_layers(self.model):
            try:
                self.rules[layer] = rule_of(layer)
            except Unsupported as cause:
                self.refuse(layer, cause)
            except (KeyError, ValueError, TypeError, IndexError) as cause:
                self.refuse(layer, _unreadable(cause))

    def stop_if_wrong(self) -> None:
        if self.wrong:
            raise LirError(*self.wrong)

    # -- inputs -----------------------------------------------------------------------------------------------------

    def shapes(self) -> list[tuple[int, ...]]:
        """The inputs' shapes without the batch axis."""
        found = []
        for ref in self.model.inputs:
            layer = self.model.layers[ref.layer]
            shape = layer.config.get("batch_shape") or layer.config.get("batch_input_shape")
            if shape is None or any(n is None for n in shape[1:]):
                known = None if shape is None else ["batch", *shape[1:]]
                self.wrong.append(
                    Diagnostic(
                        f"input {layer.name!r} has a length that is not known: {known}",
                        where=self.where,
                        help="a circuit has fixed sizes: give keras.Input(shape=...) every length",
                    )
                )
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
            arrays = [a for a in _leaves([args, kwargs]) if isinstance(a, Positions)]
            if rule is None or not arrays:
                return None if rule is not None else UNKNOWN
            plain = [_bare(a) for a in args]
            options = {k: _bare(v) for k, v in kwargs.items()}
            try:
                if isinstance(rule, LayoutRule) or hasattr(rule, "move"):
                    moved = rule.move(*plain, **options)
                    return [Positions(m) for m in moved] if isinstance(moved, list) else Positions(moved)
                wanted = rule.demands(*plain, **options)
            except (ValueError, IndexError, TypeError, Unsupported):
                wanted = None  # the lowering says what is wrong, at its layer
            if wanted is None:
                for a in arrays:
                    bare.update(a.index.ravel().tolist())
            else:
                found.extend(wanted)
            return None

        outputs = walk(self.model, [Positions(a) for a in raw], visit)
        for left in _leaves(outputs):
            if isinstance(left, Positions):
                bare.update(left.index.ravel().tolist())
        return found, bare - {-1}

    # -- lowering ---------------------------------------------------------------------------------------------------

    def lower(self, low: Lowering, params: Sequence[Param]) -> Any:
        """Lower every layer; what is refused on the way is collected."""

        def visit(call: Call, args: list[Any], kwargs: dict[str, Any]) -> Any:
            layer = call.layer
            low.layer = layer.name if not call.index else f"{layer.name}_{call.index}"
            try:
                with low.b.origin(layer.name):
                    result = self.rules[layer].lower(low, *args, **kwargs)
            except Unsupported as cause:
                self.refuse(layer, cause)
                return UNKNOWN
            except LirError as cause:
                self.wrong.extend(
                    Diagnostic(d.message, where=f"{self.where}: layer {layer.name!r} ({layer.kind})", help=d.help)
                    for d in cause.diagnostics
                )
                return UNKNOWN
            many = result if isinstance(result, list) else [result]
            many = [Tensor(low.named(t.value, low.layer), t.chain, t.final) for t in many]
            return many if isinstance(result, list) else many[0]

        return walk(self.model, [Tensor(p) for p in params], visit)


@dataclass(frozen=True, eq=False)
class Positions:
    """Raw input elements, on their way to a quantiser."""

    index: Any


def _bare(tree: Any) -> Any:
    if isinstance(tree, Positions):
        return tree.index
    return [_bare(t) for t in tree] if isinstance(tree, list) else tree


def _unreadable(cause: Exception) -> Unsupported:
    return Unsupported(
        f"its configuration cannot be read ({type(cause).__name__}: {cause})",
        "save the model again with Keras 3.12 or newer and HGQ2 0.1.6 or newer",
    )


def lower_model(
    model: Model, where: str, calibrate: Any = None, input_types: Mapping[str, Any] | Sequence[Any] | str | None = None
) -> Design:
    """Lower a model. Raises LirError with everything that is refused."""
    job = Importer(model, where)
    job.read_rules()
    shapes = job.shapes()
    job.stop_if_wrong()
    names = [model.layers[r.layer].name for r in model.inputs]
    given = _given_types(names, shapes, input_types)
    demands, bare = job.demands(shapes)
    data = None if calibrate is None else _calibration(names, shapes, calibrate)
    trace = None
    if data is not None:
        trace = Trace()
        flat = np.concatenate([d.reshape(len(d), -1) for d in data] + [np.zeros((len(data[0]), 1))], axis=1)
        for q, index in demands:
            if q.tracked:
                trace.observe(q, flat[:, index[0]])  # position -1, padding, is the column of zeros at the end
        demands = [(trace.final(q), index) for q, index in demands]
    ports = _ports(job, names, shapes, given, demands, bare)
    job.stop_if_wrong()
    if trace is not None and data is not None:
        low = Lowering(Builder(model.name), trace=trace)
        params = _params(low.b, ports)
        for p, d in zip(params, data, strict=True):
            trace.known[p] = port_codes(p, d)
        job.lower(low, params)
        job.stop_if_wrong()
    low = Lowering(Builder(identifier(model.name)), ranges=trace)
    outputs = job.lower(low, _params(low.b, ports, low))
    job.stop_if_wrong()
    _outputs(job, low, outputs)
    job.stop_if_wrong()
    for note in low.notes():
        low.b.note(note)
    return low.b.design()


def _given_types(names: Sequence[str], shapes: Sequence[tuple[int, ...]], given: Any) -> dict[str, Type]:
    """The input formats the user asked for; a scalar format is spread over the input's shape."""
    if given is None:
        return {}
    if isinstance(given, Mapping):
        table = dict(given)
        for name in table:
            if name not in names:
                raise LirError(Diagnostic(f"there is no input {name!r}", help="inputs: " + ", ".join(names)))
    else:
        table = dict(zip(names, [given] * len(names) if isinstance(given, str) else given, strict=False))
    found = {}
    for name, shape in zip(names, shapes, strict=True):
        if name in table:
            kind = as_type(table[name])
            if kind.shape == () and shape:
                kind = Type(shape, ((int(np.prod(shape)), kind.scalar),))
            if kind.shape != shape:
                raise LirError(Diagnostic(f"input {name!r} has shape {list(shape)}, not that of {kind}"))
            found[name] = kind
    return found


def _calibration(names: Sequence[str], shapes: Sequence[tuple[int, ...]], given: Any) -> list[Any]:
    """Calibration data as one float array `(batch, *shape)` per input."""
    if isinstance(given, Mapping):
        missing = [n for n in names if n not in given]
        if missing:
            raise LirError(Diagnostic(f"the calibration data lack the input {missing[0]!r}"))
        arrays = [given[n] for n in names]
    else:
        arrays = list(given) if isinstance(given, list | tuple) else [given]
    if len(arrays) != len(names):
        raise LirError(
            Diagnostic(f"there are {len(arrays)} calibration arrays for {len(names)} inputs", help=", ".join(names))
        )
    found = []
    for name, shape, a in zip(names, shapes, arrays, strict=True):
        array = np.asarray(a, dtype=np.float32).astype(np.float64)
        if array.shape[1:] != shape or not len(array):
            raise LirError(
                Diagnostic(
                    f"the calibration data of input {name!r} have shape {list(array.shape)}, not {['batch', *shape]}"
                )
            )
        found.append(array)
    if len({len(a) for a in found}) > 1:
        raise LirError(Diagnostic("the calibration arrays differ in their number of samples"))
    return found


def _ports(
    job: Importer,
    names: Sequence[str],
    shapes: Sequence[tuple[int, ...]],
    given: Mapping[str, Type],
    demands: Sequence[Demand],
    bare: set[int],
) -> list[Port]:
    start, found = 0, []
    for name, shape in zip(names, shapes, strict=True):
        size = int(np.prod(shape, dtype=np.int64))
        if name in given:
            found.append(Port(name, given[name]))
        elif bare & set(range(start, start + size)):
            job.wrong.append(
                Diagnostic(
                    f"input {name!r} reaches a layer or an output without a quantiser, so it has no format",
                    where=job.where,
                    help=f"give it one: --input-type {name}=s8f4, or put hgq.quantizer.Quantizer behind the input",
                )
            )
        else:
            found.append(port(name, shape, start, demands))
        start += size
    return found


def _params(b: Builder, ports: Sequence[Port], low: Lowering | None = None) -> list[Param]:
    names = [low.unique(p.name) if low else identifier(p.name) for p in ports]
    return [b.input(n, p.kind, round=p.round, overflow=p.overflow) for n, p in zip(names, ports, strict=True)]


def _outputs(job: Importer, low: Lowering, outputs: Any) -> None:
    ends = list(refs(job.model.outputs))
    used: dict[str, int] = {}
    for ref, t in zip(ends, _leaves(outputs), strict=True):
        layer = job.model.layers[ref.layer]
        n = used[layer.name] = used.get(layer.name, -1) + 1
        name = identifier(layer.name) + (f"_{n}" if n else "")
        if name in {p.name for p in low.b._params}:
            name += "_out"
        try:
            scale, offset = _outside(t)
        except Unsupported as cause:
            job.refuse(layer, cause)
            continue
        if t.final:
            low.b.note(f"output {name!r} carries what {t.final} is given; the host applies {t.final} (argmax needs none)")
        low.b.output(name, t.value, scale=scale, offset=offset)


def _outside(t: Tensor) -> tuple[list[Fraction], list[Fraction]]:
    """What a pending scaling means for the port: its factor and offset, per index of the last axis."""
    if not t.chain:
        return [Fraction(1)], [Fraction(0)]
    step, last = t.chain[0], len(t.shape) - 1
    if len(t.chain) > 1 or not isinstance(step, Affine) or varying_axis(step, t.shape) not in (-1, last):
        raise Unsupported(
            f"the model's output is {t.chain[-1].name} in floating point",
            "give the last layer an output quantiser (enable_oq=True), or end the model before the function",
        )
    by, add, over = (
        [Fraction(v) for v in np.broadcast_to(p, t.shape).reshape(-1, t.shape[-1])[0].tolist()] for p in step.params
    )
    factors = [b / o for b, o in zip(by, over, strict=True)]
    return _one(factors), _one(add)


def _one(numbers: list[Fraction]) -> list[Fraction]:
    return numbers[:1] if len(set(numbers)) == 1 else numbers


__all__ = ["Overflow", "Rounding", "Value", "lower_model"]
