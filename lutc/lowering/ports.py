"""The ports of a design: inputs with their formats, outputs with what is left to the host, and the design of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction

from lutc.build import as_type, name_layers
from lutc.diagnostics import did_you_mean, error
from lutc.ir.graph import Design, Output, Value
from lutc.ir.verify import verify
from lutc.lowering import exact as ex
from lutc.lowering.dtypes import FLOATS, WHOLE, within
from lutc.lowering.model import Input
from lutc.lowering.operands import BROKEN
from lutc.lowering.refusals import Refusal
from lutc.lowering.tensors import Curve, Known, Missing, Pending, Port, Scaled, Shape, Tensor, concrete, core
from lutc.lowering.walk import Walk
from lutc.numbers import dyadic, one_digit, twos
from lutc.types import BIT, Fixed, holding, uniform

MOST = 1 << 22  # elements of an input
# A port carries real numbers as long as that takes no more bits after the point than this.
PORT_BITS = 40


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


def stand_in(walk: Walk, name: str, shape: Shape | None) -> Scaled | Missing:
    """After a refusal: a tensor of the right shape, if it is known, so that the layers behind are looked at as well."""
    if shape is None or math.prod(shape) > MOST:
        return Missing()
    return Scaled(shape, walk.port(f"{name} refused", uniform(core(shape), Fixed(True, 8, 4))))


def make_outputs(walk: Walk, results: Mapping[str, Tensor | Curve | Missing | None]) -> None:
    """The output ports by name; refusals are noted."""
    makers = {name: node.name for node in walk.model.layers for name in node.outputs}
    for name, found in results.items():
        with walk.refusals.at(f"{name} (output)"), walk.b.origin(makers.get(name)):
            if found is None:
                raise Refusal("is made by no layer", BROKEN)
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
    name_layers(design)
    return design


def output(walk: Walk, name: str, t: Tensor) -> None:
    """An output port. Its numbers are the model's where steps of a power of two can say them; else it has a scale."""
    port = walk.names.take(name, "out")
    if isinstance(t, Known):
        raise Refusal(f"output {name!r} is a constant", "leave it away: it does not depend on the inputs")
    if isinstance(t.value, Value) and not t.clips():
        scale, offset = (walk.inner(x, t.shape) for x in (t.scale, t.offset))
        unit = ex.lone(scale)
        simple = ex.every(one_digit, scale) and _short(walk, t)
        if not simple and _last_only(scale) and _last_only(offset) and ex.every(bool, scale):
            _scaled(walk, port, t, unit)
            return
    unit, value = walk.exact(t)
    if dyadic(unit) and abs(unit.numerator).bit_length() + unit.denominator.bit_length() <= PORT_BITS:
        value, unit = (walk.b.scale(value, by=unit) if unit != 1 else value), Fraction(1)
    walk.outputs.append(Output(port, value, (unit,)))


def _short(walk: Walk, t: Scaled) -> bool:
    """Whether the offset takes few enough bits after the point to be added in hardware."""
    return ex.every(lambda v: dyadic(v) and (not v or twos(v) <= PORT_BITS), t.offset)


def _last_only(x: ex.Exact) -> bool:
    return all(n == 1 for n in x.shape[:-1])


def _scaled(walk: Walk, port: str, t: Scaled, unit: Fraction | None) -> None:
    """A port whose scale and offset are left to the host: they cost no hardware."""
    value = concrete(t)
    length = value.type.shape[-1] if value.type.shape else 1
    scale, offset = walk.inner(t.scale, t.shape), walk.inner(t.offset, t.shape)
    if unit is not None and ex.lone(offset) is None:
        # Offsets that differ are added where the scale allows it, so that raw numbers can be compared.
        terms = ex.compress(offset / unit)
        if ex.every(lambda v: dyadic(v) and (not v or twos(v) <= PORT_BITS), terms):
            walk.outputs.append(Output(port, walk.affine(value, ex.number(1), terms), (unit,)))
            return
    scales, offsets = (tuple(ex.spread(x.ravel(), (length,)).tolist()) for x in (scale, offset))
    if len(set(scales)) > 1 or len(set(offsets)) > 1:
        walk.note(
            f"output {port} has a scale and offset for each index of its last dimension: apply them first"
        )
    walk.outputs.append(Output(port, value, _short_list(scales), _short_list(offsets)))


def _short_list(numbers: tuple[Fraction, ...]) -> tuple[Fraction, ...]:
    return numbers[:1] if len(set(numbers)) == 1 else numbers
