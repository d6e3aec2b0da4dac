"""Operators that write into some elements, or keep some: functions of where the elements are."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from lutc.lowering import logic
from lutc.lowering.layout import merged, rearranged
from lutc.lowering.operands import keep_samples_apart
from lutc.lowering.refusals import Refusal
from lutc.lowering.tensors import Known, Scaled

from .call import TENSORS, Call

Handler = Callable[[Call], Any]


def like(c: Call) -> Any:
    """A constant of another tensor's shape."""
    x = c.tensor("self")
    done = c.run({id(x): np.zeros(x.shape)})
    return Known(done.numpy())


def copy(c: Call) -> Any:
    """Another tensor's numbers in the shape of this one."""
    x, source = c.tensor("self"), c.tensor("src")
    if isinstance(source, Known):
        return Known(np.broadcast_to(source.array, x.shape))
    return c.walk.broadcast(source, tuple(x.shape)) if isinstance(source, Scaled) else source


def written(c: Call) -> Any:
    """`select_scatter`, `scatter` and the like: every element comes from the one tensor or the other."""
    _only_writes(c)
    x = c.tensor("self")
    sources = (c.given.get(n) for n in ("src", "value", "values"))
    source = next((t for t in sources if isinstance(t, TENSORS)), None)
    parts: list[Any] = [p for p in (x, source) if p is not None]
    if source is None:  # a number is written
        parts.append(c.constant(c.get("value", 0)))
    first = math.prod(x.shape)
    places = {id(x): np.arange(1, first + 1, dtype=np.float64).reshape(x.shape)}
    if source is not None:
        size = math.prod(source.shape)
        places[id(source)] = first + np.arange(1, size + 1, dtype=np.float64).reshape(source.shape)
        found = c.run(places).numpy().astype(np.int64) - 1
    else:
        marked = c.run({id(x): places[id(x)]}, {"value": -1.0}).numpy()
        found = np.where(marked < 0, first, marked - 1).astype(np.int64)
    if not all(isinstance(p, Known | Scaled) for p in parts):
        raise Refusal("writes what a function computes before it is quantised", "quantise it first")
    return merged(c.walk, parts, found)


def _only_writes(c: Call) -> None:
    """Raise Refusal if what is written is joined with what was there: that says nothing of where elements come from."""
    for name in ("reduce", "accumulate"):
        how = c.given.get(name)
        if how is not None and how is not False:
            raise Refusal(
                f"joins what it writes with what was there ({name}={how!r})",
                "write the new elements alone, or compute them first: y[:, :2] + z",
            )


def masked_fill(c: Call) -> Any:
    return c.exactly(logic.where, c.tensor("mask"), c.tensor("value"), c.tensor("self"))


def triangle(c: Call) -> Any:
    """`tril` and `triu`: elements of one half are 0."""
    x = c.tensor("self")
    if isinstance(x, Scaled) and len(x.shape) == 2:
        keep_samples_apart(x, (0,))
    numbers = np.arange(1, math.prod(x.shape) + 1, dtype=np.float64).reshape(x.shape)
    at = c.run({id(x): numbers}).numpy().astype(np.int64) - 1
    return c.exactly(rearranged, x, at=at)


LIKE = "full_like zeros_like ones_like new_full new_zeros new_ones fill"
WRITTEN = "select_scatter slice_scatter scatter index_put diagonal_scatter index_fill"
RULES: dict[str, Handler] = {
    **{f"aten::{name}": like for name in LIKE.split()},
    **{f"aten::{name}": written for name in WRITTEN.split()},
    "aten::copy": copy,
    "aten::masked_fill": masked_fill,
    "aten::tril": triangle,
    "aten::triu": triangle,
}
