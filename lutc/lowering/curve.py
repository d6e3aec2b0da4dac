"""Functions of one tensor between two quantisers: they become truth tables.

A tensor of few bits has few values, so whatever is computed of it element by element is computed once for each, by
the framework itself in the model's own float type, and kept as an array whose first dimension is the value's code
(`Curve`). The quantiser behind turns that into a table; nothing else can take it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lutc.ir.graph import Table, Value
from lutc.lowering import exact as ex
from lutc.lowering.dtypes import NARROW_FLOATS
from lutc.lowering.formats import hull
from lutc.lowering.lookup import key_codes
from lutc.lowering.operands import BROKEN, NOTHING
from lutc.lowering.refusals import Refusal
from lutc.lowering.tensors import Curve, Known, Scaled, concrete, core
from lutc.lowering.walk import Walk
from lutc.numbers import one_digit
from lutc.types import Fixed, Type, holding, uniform

KEY_BITS = 12  # larger tables make no sense in LUTs

Compute = Callable[[list[Any]], Any]  # of an array for each operand (None where one is left out)


def refuse_curves(tensors: Sequence[Any]) -> None:
    """Raise Refusal if one of the operands is a function that nothing has quantised."""
    for t in tensors:
        if isinstance(t, Curve):
            raise Refusal(
                f"reads what {t.op} computes, which is no number of a fixed format",
                f"quantise behind {t.op}, so that it becomes a table",
            )


def pointwise(walk: Walk, op: str, tensors: Sequence[Any], compute: Compute) -> Curve:
    """What an operator computes element by element of functions, or of tensors of few bits: another function.

    `compute` is given the functions' values, a constant's array, and None where an operand is left out. `op` is what
    messages and tables call it. Raises Refusal for functions of different tensors, and for tensors of many bits.
    """
    first, arrays = _of_one_key(walk, op, tensors)
    return Curve(first.shape, first.key, np.asarray(compute(arrays)), op, first.batched)


def truths(walk: Walk, op: str, tensors: Sequence[Any], compute: Compute) -> Scaled:
    """The same of a comparison, whose result needs no quantiser to be a table."""
    first, arrays = _of_one_key(walk, op, tensors)
    array = np.asarray(compute(arrays))
    curve = Curve(first.shape, first.key, array, first.op, first.batched)
    return replace(looked_up(walk, curve, Known(array.astype(np.int64))), integer="bool")


def quantised(
    walk: Walk, curve: Curve, quantise: Callable[[Known], Known], parameters: Sequence[Any] = ()
) -> Scaled:
    """A function behind a quantiser, which says what it makes of constants, as a value looked up in a table.

    The quantiser's `parameters` tell whether it treats channels differently. Raises Refusal if it does that to a tensor
    without a batch.
    """
    array = curve.array
    if any(isinstance(t, Known) and t.array.size > 1 for t in parameters):
        if core(curve.shape) == curve.shape:
            raise Refusal(
                "quantises each channel of a function differently, without a batch",
                "export the model with a batch of 1",
            )
        array = np.broadcast_to(array, (len(array), *core(curve.shape)))
    if np.isnan(array).any() and walk.layer:
        walk.undefined.append(walk.layer.reads[0])
        what = f"{walk.layer.label} quantises {curve.op}, which is not a number for some inputs"
        walk.note(f"{what}: the table has 0 there")
    # Infinities saturate, as any number far outside does.
    array = np.nan_to_num(array, nan=0.0, posinf=2.0**64, neginf=-(2.0**64))
    return looked_up(walk, curve, quantise(Known(array)))


def normalised(op: str, x: Curve, parameters: Sequence[Any], compute: Compute) -> Curve:
    """Batch normalisation of a function: its parameters lie along the channels, and the codes are its samples."""
    if core(x.shape) == x.shape:
        raise Refusal(
            "normalises the result of a function without a batch", "export the model with a batch of 1"
        )
    known = [t.array for t in parameters if isinstance(t, Known)]
    if len(known) != 4 or len(x.shape) < 2 or any(a.shape != (x.shape[1],) for a in known):
        shapes = ", ".join(str(list(t.shape)) for t in parameters)
        raise Refusal(f"normalises {list(x.shape)} with parameters of the shapes {shapes}", BROKEN)
    wide = np.broadcast_to(x.array, (len(x.array), x.shape[1], *x.array.shape[2:]))
    return replace(x, array=np.asarray(compute([wide, *known])), op=op)


def _of_one_key(walk: Walk, op: str, tensors: Sequence[Any]) -> tuple[Curve, list[Any]]:
    """The first of several functions of one value, and all operands as arrays by its codes."""
    key = next((t.key for t in tensors if isinstance(t, Curve)), None)
    opened = {id(t): opened_curve(walk, t, op, key) for t in tensors if isinstance(t, Scaled)}
    tensors = [opened.get(id(t), t) for t in tensors]
    curves = [t for t in tensors if isinstance(t, Curve)]
    first = curves[0]
    if any(c.key is not first.key or c.shape != first.shape for c in curves):
        raise Refusal(
            f"joins {first.op} with another tensor before a quantiser", "quantise both operands of this layer"
        )
    shape = np.broadcast_shapes(first.shape, *(t.shape for t in tensors if isinstance(t, Known)))
    if 0 in shape:
        raise Refusal(*NOTHING)
    if tuple(shape) != first.shape:
        raise Refusal("repeats the result of a function along new dimensions", "quantise it first")
    return first, [None if t is None else t.array for t in tensors]


def opened_curve(walk: Walk, t: Scaled, op: str, key: Value | None) -> Curve:
    """A tensor as a function of its value: the identity. Raises Refusal if the value has too many bits."""
    value = concrete(t)
    kind = value.type
    fmt = kind.format or hull(kind.formats)
    if fmt.width > KEY_BITS:
        raise Refusal(
            f"computes {op} of numbers with {fmt.width} bits: a table for them would be too large",
            f"quantise the input of this layer to at most {KEY_BITS} bits",
        )
    if kind.format is None:
        value = (
            key
            if key is not None and key.operands[:1] == (value,)
            else walk.b.quant(value, to=uniform(kind.shape, fmt))
        )
    codes = ex.exact(key_codes(fmt))
    dims = core(t.shape)
    column = ex.spread(codes, (1 << fmt.width,)).reshape(-1, *(1,) * len(dims)) * fmt.step
    scale, offset, lo, hi = (
        ex.ranked(walk.inner(x, t.shape), len(dims)) for x in (t.scale, t.offset, t.lo, t.hi)
    )
    reals = np.minimum(np.maximum(column * scale + offset, lo), hi)
    flat = np.array([float(v) for v in reals.ravel().tolist()]).reshape(reals.shape)
    return Curve(t.shape, value, flat.astype(_computed_in(walk, t)), op, t.batched)


def _computed_in(walk: Walk, t: Scaled) -> Any:
    """The float type functions of a tensor are computed in. Raises Refusal for floats of 16 bits."""
    if t.integer is None and t.real in NARROW_FLOATS:
        raise Refusal(f"computes in {t.real}, which rounds at every step", "convert the model to float32")
    return np.float64 if t.integer is None and t.real == "double" else walk.model.dtype


def looked_up(walk: Walk, curve: Curve, found: Known) -> Scaled:
    """A quantised function as a table: one for all elements, or one for each where parameters differ."""
    codes, scale = found.codes, found.scale
    integer = None
    if codes is None:  # QuantizeLinear gives integers as they are
        if found.array.dtype.kind not in "iu":
            raise Refusal("has a zero point that is no integer", "use a whole zero point")
        codes, scale, integer = found.array.astype(np.int64), ex.number(1), "int32"
    fmt = curve.key.type.scalar if not curve.key.type.shape else curve.key.type.format
    assert isinstance(fmt, Fixed)
    lone = ex.lone(scale)
    frac = -ex.exponent(lone) if lone is not None and lone > 0 and one_digit(lone) else 0
    to = holding(int(codes.min()), int(codes.max()), frac)
    name = walk.names.take(f"{walk.owner}_{curve.op.lower()}", "t")
    per_element = any(n > 1 for n in codes.shape[1:])
    inner = core(curve.shape)
    if per_element:
        every = np.broadcast_to(codes, (len(codes), *inner))
        table = Table(
            name, uniform(inner, fmt), uniform(inner, to), np.moveaxis(every, 0, -1).astype(object).ravel()
        )
    else:
        table = Table(name, Type((), ((1, fmt),)), Type((), ((1, to),)), codes.astype(object).ravel())
    value = walk.b.lut(curve.key, table)
    done = Scaled(curve.shape, value, batched=curve.batched, integer=integer)
    rest = ex.times(scale, ex.number(2**frac)) if frac >= 0 else ex.times(scale, ex.exact(2.0**frac))
    return replace(done, scale=rest)
