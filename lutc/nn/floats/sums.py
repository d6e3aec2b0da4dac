"""Rules of `lutc.nn.convert`. Sums, products and means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn

from lutc.lowering.refusals import Refusal
from lutc.nn.attention import QProduct
from lutc.nn.graph import Add, Move, QMean
from lutc.nn.layers import Sum

from .call import Call, shown
from .functions import table_of
from .moves import cut, reshaped, same_type
from .run import Rule
from .walk import Held, Result
from .weights import LETTERS, affine, shifted


def _constant(c: Call, value: Any) -> Held | None:
    """A number or a tensor of the module; None for what the network computes."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        if isinstance(value, Held):
            return value
        if isinstance(value, Result):
            return None
        raise Refusal(
            "computes with a number that depends on the number of samples", "compute with constants"
        )
    return Held(torch.tensor(float(value)), None, False)


def addition(c: Call, sign: int = 1, turned: bool = False) -> Result:
    """Sums and differences, of the second operand and the first if `turned`; a factor of an operand is refused."""
    left, right = (c[n] for n in (("other", "self") if turned else ("self", "other")))
    if "alpha" in c.options and c["alpha"] != 1:
        raise Refusal(f"adds with a factor (alpha={c['alpha']})", "multiply by it first")
    a, b = _constant(c, left), _constant(c, right)
    if a is None and b is None:
        x, y = (c.walk.quantised(v) for v in _alike(c, c.fresh(left), c.fresh(right)))
        return c.made(Add(subtract=sign < 0), x, y)
    constant, x = (b, c.fresh(left)) if b is not None else (a, c.fresh(right))
    assert constant is not None
    if sign < 0 and constant is b:
        if constant.trained:
            raise Refusal("subtracts a parameter", "add it: it is trained, and may be negative itself")
        constant = _opposite(constant)
    elif sign < 0:
        x = negative(c, x)
    return shifted(c, x, constant)


def _opposite(constant: Held) -> Held:
    return replace(constant, value=-constant.value.double(), key=None)


def _alike(c: Call, x: Result, y: Result) -> tuple[Result, Result]:
    """Two results with the same number of axes: torch counts them from the last, and batch has to meet batch."""
    if len(x.shape) != len(y.shape):
        raise Refusal(f"meets {shown(x.shape)} with {shown(y.shape)}", "give both the same number of axes")
    return x, y


def negative(c: Call, x: Result) -> Result:
    return scaled(c, x, Held(torch.tensor(-1.0), None, False))


def scaled(c: Call, x: Result, gain: Held) -> Result:
    return affine(c, x, gain, None)


def multiplication(c: Call) -> Result:
    left, right = c["self"], c["other"]
    a, b = _constant(c, left), _constant(c, right)
    if a is not None or b is not None:
        return scaled(c, c.fresh(right if a is not None else left), a or b)  # type: ignore[arg-type]
    return times(c, *_alike(c, c.fresh(left), c.fresh(right)))


def gated(c: Call) -> Result:
    """``a * sigmoid(b)`` of the two halves of an axis."""
    x = c.result()
    axis = c.axis(c["dim"], len(x.shape) + 1)
    half = x.shape[axis - 1] // 2
    a, b = cut(c, x, axis, 0, half), cut(c, x, axis, half, 2 * half)
    return times(c, a, table_of(c, "sigmoid", b, {}))


def times(c: Call, x: Result, y: Result) -> Result:
    """The product of two activations, element by element; axes of length 1 are repeated."""
    rank = len(x.shape)
    full = LETTERS[: rank + 1]
    shape = c.shape
    parts, terms = [], []
    for r in (x, y):
        live = [i for i in range(rank) if r.shape[i] == shape[i]]
        if len(live) < rank:
            small = tuple(r.shape[i] for i in live)
            r = c.walk.layer(f"{r.name}_small", Move("reshape", *small), [r], small)
        parts.append(r)
        terms.append("a" + "".join(full[1 + i] for i in live))
    w = c.walk.widths
    if not set(full) <= set("".join(terms)):
        raise Refusal("multiplies values that both lack an axis of the result", "repeat one of them first")
    return c.made(QProduct(f"{terms[0]},{terms[1]}->{full}", left=w.data, right=w.data), *parts)


def division(c: Call) -> Result:
    left, right, rounding = (
        c["self"],
        c["other"],
        c["rounding_mode"] if "rounding_mode" in c.options else None,
    )
    by = _constant(c, right)
    if rounding is not None:
        raise Refusal("divides to whole numbers", "leave the rounding away")
    if by is None:
        raise Refusal(
            "divides by what the network computes", "multiply by a reciprocal that is a layer of its own"
        )
    if by.trained:
        raise Refusal("divides by a parameter", "multiply by one instead")
    return scaled(c, c.fresh(left), Held(1 / by.value.double(), None, False))


def negation(c: Call) -> Result:
    return negative(c, c.result())


def larger(c: Call) -> Result:
    """``torch.maximum(x, y)``: ``x + relu(y - x)``."""
    return _compared(c, *_operands(c), False)


def smaller(c: Call) -> Result:
    """``torch.minimum(x, y)``: ``x - relu(x - y)``."""
    return _compared(c, *_operands(c), True)


def _operands(c: Call) -> tuple[Result, Result | Held]:
    """Both operands, what the network computes first."""
    left, right = c["self"], c["other"]
    return (c.fresh(right), left) if isinstance(left, Held) else (c.fresh(left), right)


def clamp(c: Call) -> Result:
    """To two numbers by a table; at one end alone as with a constant."""
    x = c.result()
    low, high = (c[n] if n in c.options else None for n in ("min", "max"))
    if all(isinstance(v, int | float) for v in (low, high)):
        return table_of(c, "hardtanh", x, {"min_val": low, "max_val": high})
    for bound, least in ((low, False), (high, True)):
        end = None if bound is None else _constant(c, bound) or c.fresh(bound)
        if end is not None:
            x = _compared(c, x, end, least)
    return x


def _compared(c: Call, x: Result, y: Result | Held, least: bool) -> Result:
    """The larger or, if `least`, the smaller of two values at every element."""
    if isinstance(y, Held):
        if y.trained:
            raise Refusal("compares with a parameter", "compare with a constant or what the network computes")
        if not y.value.any() and not least:
            return c.made(nn.ReLU(), x)
        own = c.walk.quantised(x)
        apart = shifted(c, own, _opposite(y))
    else:
        own, other = (c.walk.quantised(v) for v in _alike(c, x, y))
        pair = (own, other) if least else (other, own)
        apart = c.walk.layer(f"{c.where}_apart", Add(subtract=True), pair, c.shape)
    above = c.walk.layer(f"{c.where}_above", nn.ReLU(), [apart], apart.shape)
    return c.made(Add(subtract=least), own, above) if least or isinstance(y, Result) else shifted(c, above, y)


def mean(c: Call) -> Result:
    x = c.result()
    axes, keep = c.axes(x), c["keepdim"]
    same_type(c, c["dtype"])
    return c.made(_mean(c, axes, keep, x), x)


def _mean(c: Call, axes: Sequence[int], keep: bool, x: Result) -> QMean:
    shape: tuple[int, ...] = ()
    if len(x.shape) == 3 and 1 not in axes:  # per channel of an image
        shape = (x.shape[0], *([1] * (len(c.shape) - 1)))
    return QMean(axes, keep, shape=shape, **c.walk.widths.data)


def total(c: Call) -> Result:
    """A sum is a mean times the number of elements, but exact: one axis after the other."""
    x = c.result()
    axes, keep = c.axes(x), c["keepdim"]
    same_type(c, c["dtype"])
    shape = list(x.shape)
    for k, axis in enumerate(reversed(axes)):
        del shape[axis - 1]
        x = c.walk.layer(c.where if not k else f"{c.where}_{axis}", Sum(axis), [x], tuple(shape))
    return reshaped(c, x, c.shape) if keep else x


RULES: dict[str, Rule] = {
    "glu": gated,
    "add": addition,
    "clamp": clamp,
    "clamp_max": clamp,
    "clamp_min": clamp,
    "div": division,
    "maximum": larger,
    "mean": mean,
    "minimum": smaller,
    "mul": multiplication,
    "neg": negation,
    "rsub": partial(addition, sign=-1, turned=True),
    "sub": partial(addition, sign=-1),
    "sum": total,
}
