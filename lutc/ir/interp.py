"""The reference interpreter: what a design means, computed with exact integers on whole batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from numbers import Integral, Rational
from typing import Any

import numpy as np

from lutc.diagnostics import did_you_mean, error
from lutc.ir.graph import Design, Output, Param, Value, body
from lutc.ir.ops.flow import evaluate
from lutc.numbers import divide, dtype, masked, overflow, quantised, real
from lutc.types import Ints

_AT_ONCE = 1 << 18  # elements of a tensor
_WHOLE = 1 << 53  # up to here, every integer is a double


def execute(design: Design, codes: Mapping[str, Ints]) -> dict[str, Ints]:
    """Run a design on codes: one integer array `(batch, *shape)` per input port, one per output port back."""
    inputs: dict[Value, Ints] = {
        p: np.asarray(codes[p.name or ""]).astype(dtype(p.type.max_width)) for p in design.params
    }
    batch = max((len(x) for x in inputs.values()), default=1)
    values = body(design)
    # As many samples at once as stay in the processor's cache.
    rows = max(_AT_ONCE // max([1, *(v.type.size for v in values)]), 16)
    parts = []
    for first in range(0, max(batch, 1), rows):
        some = {p: x[first : first + rows] if len(x) == batch else x for p, x in inputs.items()}
        parts.append(_answers(design, values, some))
    return {o.name: np.concatenate([part[o.name] for part in parts]) for o in design.outputs}


def _answers(design: Design, values: Sequence[Value], inputs: dict[Value, Ints]) -> dict[str, Ints]:
    batch = max((len(x) for x in inputs.values()), default=1)
    known = evaluate(values, inputs, design.roots)
    return {o.name: np.broadcast_to(known[o.value], (batch, *o.value.type.shape)) for o in design.outputs}


def run(design: Design, /, *inputs: Any, **named: Any) -> Any:
    """Run a design on real numbers.

    One array `(batch, *shape)` per input port, in order or by name; each number becomes the port's format by the
    port's own rule. Returns real numbers: an array if there is one output, else a dict of arrays by port name;
    float64 where that is exact, else Fractions. Raises LirError for missing inputs or wrong shapes.
    """
    answers = answer(design, *inputs, **named)
    reals = {o.name: port_reals(o, answers[o.name]) for o in design.outputs}
    return next(iter(reals.values())) if len(reals) == 1 else reals


def answer(design: Design, /, *inputs: Any, **named: Any) -> dict[str, Ints]:
    """The same as `run` with the answers as codes, by output port."""
    given = arguments(design, inputs, named)
    codes = {p.name or "": port_codes(p, given[p.name or ""]) for p in design.params}
    same_batch(design, codes)
    return execute(design, codes)


def arguments(design: Design, inputs: Sequence[Any], named: Mapping[str, Any]) -> dict[str, Any]:
    """What was given to each input port, in order or by name. Raises LirError for what is missing or too much."""
    names = [p.name or "" for p in design.params]
    if any(isinstance(given, Mapping) for given in inputs):
        help = f"give them by name: run({', '.join(f'{name}=...' for name in names[:3])}), or run(**arrays)"
        raise error(f"{design.name} was given a mapping of inputs in place of an array", help=help)
    if len(inputs) > len(design.params):
        raise error(f"{design.name} has {len(design.params)} inputs, but was given {len(inputs)}")
    for name in names[: len(inputs)]:
        if name in named:
            raise error(f"{design.name} was given its input {name!r} twice: in order and by name")
    given = dict(zip(names, inputs, strict=False)) | dict(named)
    for name in given:
        if name not in names:
            raise error(f"{design.name} has no input {name!r}", help=did_you_mean(name, names))
    for name in names:
        if name not in given:
            raise error(f"{design.name} lacks its input {name!r}")
    return given


def same_batch(design: Design, arrays: Mapping[str, Any]) -> None:
    """Raise LirError if the arrays, by input port, differ in their number of samples."""
    batches = {len(c) for c in arrays.values()}
    if len(batches) > 1:
        raise error(f"the inputs of {design.name} differ in their number of samples: {sorted(batches)}")


def port_codes(param: Param, values: Any) -> Ints:
    """Real numbers `(batch, *shape)` as the codes the port carries, by the port's rounding and overflow rule.

    They may be integers and floats of any kind, fractions, or text that spells such numbers; each is taken exactly.
    A batch may also come with extra dimensions of length 1, as exported models have them. Raises LirError for any
    other shape, and for what is no finite number.
    """
    x = port_numbers(param, values)
    if x.dtype != object and param.scale == 1 and param.offset == 0 and param.type.max_width <= 50:
        steps = np.ldexp(x, np.asarray(param.type.fracs))
        # Too large, and the whole part may not fit; too small, and the scaling may have lost digits.
        if not ((np.abs(steps) >= 2.0**52) | (np.abs(steps) < 2.0**-900) & (x != 0)).any():
            return _dyadic_codes(param, steps)
    return _rational_codes(param, x)


def port_numbers(param: Param, values: Any) -> Any:
    """What was given to a port as float64 or, where that would not be exact, as objects, `(batch, *shape)`."""
    x = _numbers(param, values)
    shape = param.type.shape
    if x.ndim == 0 or x.shape[1:] != shape:
        squeezed = [n for n in x.shape[1:] if n != 1]
        if x.ndim == 0 or squeezed != [n for n in shape if n != 1]:
            raise error(
                f"input {param.name!r} needs shape {['batch', *shape]}, not {list(x.shape)}",
                help="the first dimension counts samples",
            )
        x = x.reshape(len(x), *shape)
    return x


def _numbers(param: Param, values: Any) -> Any:
    """Values as float64 where that is exact for each of them, else as an object array of numbers."""
    if masked(values):
        raise error(f"input {param.name!r} has masked elements", help="fill them, or leave those samples out")
    try:
        x = np.asarray(values)
        if x.dtype.kind == "f" and isinstance(
            values, list | tuple
        ):  # numpy makes integers among floats floats
            mixed = np.asarray(values, dtype=object)
            if any(isinstance(v, int | np.integer) and abs(int(v)) > _WHOLE for v in mixed.flat):
                x = mixed
    except ValueError as e:
        raise error(f"input {param.name!r} needs real numbers in one array: {e}") from None
    match x.dtype.kind:
        case "b":
            return x.astype(np.float64)
        case "i" | "u" if not x.size or -_WHOLE <= int(x.min()) <= int(x.max()) <= _WHOLE:
            return x.astype(np.float64)
        case "f":
            if not np.isfinite(x).all():
                raise error(f"input {param.name!r} has numbers that are not finite")
            with np.errstate(over="ignore", under="ignore"):
                doubles = x.astype(np.float64)
            return doubles if x.dtype.itemsize <= 8 or (doubles == x).all() else x.astype(object)
        case "i" | "u" | "O" | "U":
            return x.astype(object)
    raise error(f"input {param.name!r} needs real numbers, not {x.dtype}")


def _dyadic_codes(param: Param, steps: Any) -> Ints:
    """The quick way: of floats in steps of the format, the whole part and the rest are exact."""
    rest, whole = np.modf(steps)  # the rest has the sign of the number; 1 + rest would not be exact
    below = rest < 0
    half = np.where(below, -0.5, 0.5)
    # Two bits stand for what lies above the floor: nothing, less than half a step, half, more than half.
    left = (rest != 0).astype(np.int64) + (rest >= half) + (rest > half)
    codes = divide((whole.astype(np.int64) - below) * 4 + left, 2, param.round)
    return overflow(codes, param.type, param.overflow)


def _rational_codes(param: Param, x: Any) -> Ints:
    """The sure way: every number as a fraction."""
    flat = np.asarray(x, dtype=object).reshape(len(x), param.type.size)
    codes = [
        [
            quantised((_fraction(param, v) - param.offset) / param.scale, fmt, param.round, param.overflow)
            for v, fmt in zip(row, param.type.formats, strict=True)
        ]
        for row in flat.tolist()
    ]
    return np.array(codes, dtype=dtype(param.type.max_width)).reshape(x.shape)


def _fraction(param: Param, value: Any) -> Fraction:
    try:
        if isinstance(value, Rational | np.bool_):
            return Fraction(int(value)) if isinstance(value, Integral | np.bool_) else Fraction(value)
        if isinstance(value, str):
            from lutc.text.literals import (
                number_of,  # how the text spells numbers: asked only where there is one
            )

            return number_of(value.strip())
        return Fraction(*value.as_integer_ratio())
    except OverflowError:
        pass
    except (ValueError, AttributeError, TypeError):
        if isinstance(value, str) or not hasattr(value, "as_integer_ratio"):
            shown = repr(value)[:40]
            raise error(f"input {param.name!r} needs real numbers, not {shown}") from None
    raise error(f"input {param.name!r} has numbers that are not finite")


def port_reals(output: Output, codes: Ints) -> Any:
    """What an output port's codes mean outside: float64 where exact, Fractions where a factor or width forbids it."""
    kind = output.value.type
    plain = real(codes, kind)
    if output.scale == (Fraction(1),) and output.offset == (Fraction(0),):
        return plain
    steps = np.asarray([f.step for f in kind.formats], dtype=object).reshape(kind.shape)
    exact = np.asarray(codes, dtype=object) * steps
    return exact * _along(output.scale) + _along(output.offset)


def _along(numbers: Sequence[Fraction]) -> Any:
    return np.array(numbers, dtype=object) if len(numbers) > 1 else numbers[0]
