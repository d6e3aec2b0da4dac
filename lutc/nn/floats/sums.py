"""Rules of `lutc.nn.convert`. Sums, products and means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from lutc.lowering.refusals import Refusal
from lutc.nn.attention import QProduct
from lutc.nn.graph import Add, Move, QMean
from lutc.nn.layers import Sum

from .call import Call
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
        return c.walk.layer(c.where, Add(subtract=sign < 0), [x, y], c.shape)
    if a is not None and b is not None:
        raise Refusal("adds constants", OTHER_CONSTANT)
    constant, x = (b, c.fresh(left)) if b is not None else (a, c.fresh(right))
    assert constant is not None
    if sign < 0 and constant is b:
        if constant.trained:
            raise Refusal("subtracts a parameter", "add it: it is trained, and may be negative itself")
        constant = replace(constant, value=-constant.value, key=None)
    elif sign < 0:
        x = scaled(c, x, Held(torch.tensor(-1.0), None, False))
    return shifted(c, x, constant)


OTHER_CONSTANT = "compute it before, and keep it as a parameter or buffer"


def _alike(c: Call, x: Result, y: Result) -> tuple[Result, Result]:
    """Two results with the same number of axes: torch counts them from the last, and batch has to meet batch."""
    if len(x.shape) != len(y.shape):
        raise Refusal(
            f"meets [batch, {', '.join(map(str, x.shape))}] with [batch, {', '.join(map(str, y.shape))}]",
            "give both the same number of axes",
        )
    return x, y


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
    return c.walk.layer(
        c.where, QProduct(f"{terms[0]},{terms[1]}->{full}", left=w.data, right=w.data), parts, shape
    )


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
    return scaled(c, c.result(), Held(torch.tensor(-1.0), None, False))


def _axes(c: Call, x: Result) -> list[int]:
    dims = c["dim"]
    several = [dims] if isinstance(dims, int) else list(dims or range(len(x.shape) + 1))
    return sorted(c.axis(d, len(x.shape) + 1) for d in several)


def mean(c: Call) -> Result:
    x = c.result()
    axes, keep = _axes(c, x), c["keepdim"]
    same_type(c, c["dtype"])
    return c.walk.layer(c.where, _mean(c, axes, keep, x), [x], c.shape)


def _mean(c: Call, axes: Sequence[int], keep: bool, x: Result) -> QMean:
    shape: tuple[int, ...] = ()
    if len(x.shape) == 3 and 1 not in axes:  # per channel of an image
        shape = (x.shape[0], *([1] * (len(c.shape) - 1)))
    return QMean(axes, keep, shape=shape, **c.walk.widths.data)


def total(c: Call) -> Result:
    """A sum is a mean times the number of elements, but exact: one axis after the other."""
    x = c.result()
    axes, keep = _axes(c, x), c["keepdim"]
    same_type(c, c["dtype"])
    shape = list(x.shape)
    for k, axis in enumerate(reversed(axes)):
        del shape[axis - 1]
        x = c.walk.layer(c.where if not k else f"{c.where}_{axis}", Sum(axis), [x], tuple(shape))
    return reshaped(c, x, c.shape) if keep else x


RULES: dict[str, Rule] = {
    "glu": gated,
    "add": addition,
    "div": division,
    "mean": mean,
    "mul": multiplication,
    "neg": negation,
    "rsub": partial(addition, sign=-1, turned=True),
    "sub": partial(addition, sign=-1),
    "sum": total,
}
