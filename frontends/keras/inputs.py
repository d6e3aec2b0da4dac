"""The format of an input port, from the quantisers that the input meets.

If every element meets one format, the port is that quantiser: it rounds as the model does. If edges round the same
input each in their own way (LUT-Dense), the port floors to one bit after the point more than the finest of them needs.
That keeps rounding exact for every edge: `floor(x * 2**f + 1/2)` depends on no more than `floor(x * 2**(f+1))`. It
wraps at the widest range among them, which leaves each narrower range as it was, or saturates there if an edge does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lutc.graph import Overflow, Rounding
from lutc.types import Fixed, Type, tensor

from .base import Demand
from .quantizers import Quantizer, Unsupported, fixed


@dataclass(frozen=True)
class Port:
    """An input port: its name in the model, its type, and how a real number becomes one of the type."""

    name: str
    kind: Type
    round: Rounding = Rounding.HALF_EVEN
    overflow: Overflow = Overflow.SATURATE


@dataclass
class _Met:
    """What one element meets."""

    k: int = 0
    i: int | None = None
    f: int | None = None
    formats: tuple[Fixed, ...] = ()


def port(name: str, shape: tuple[int, ...], start: int, demands: Sequence[Demand]) -> Port:
    """The port of an input whose elements are numbered from `start`."""
    size = int(np.prod(shape, dtype=np.int64))
    met = [_Met() for _ in range(size)]
    modes: dict[tuple[Rounding, Overflow], None] = {}
    for q, index in demands:
        _meet(met, q, index, start, size, modes)
    alone = len(modes) == 1 and all(len(m.formats) < 2 for m in met)
    if alone:
        ((rounding, overflow),) = modes
        return Port(name, tensor(shape, [m.formats[0] if m.formats else Fixed(False, 0) for m in met]), rounding, overflow)
    if any(r not in (Rounding.HALF_UP, Rounding.FLOOR) for r, _ in modes):
        raise Unsupported(
            f"input {name!r} is rounded in several ways, one of them not half up",
            "use round_mode='RND' for the quantisers at the input, or one quantiser in front of them",
        )
    overflow = Overflow.WRAP if all(o is Overflow.WRAP for _, o in modes) else Overflow.SATURATE
    return Port(name, tensor(shape, [_format(m) for m in met]), Rounding.FLOOR, overflow)


def _meet(met: list[_Met], q: Quantizer, index: Any, start: int, size: int, modes: dict[Any, None]) -> None:
    where = np.asarray(index)
    arrays = [np.broadcast_to(a.reshape((1,) * (where.ndim - a.ndim) + a.shape), where.shape) for a in (q.k, q.i, q.f)]
    extra = int(q.rounding is not Rounding.FLOOR)
    here = (where >= start) & (where < start + size)
    for e, k, i, f in zip(where[here].tolist(), *(a[here].tolist() for a in arrays), strict=True):
        if k + i + f <= 0:
            continue
        modes[q.rounding, q.overflow] = None
        m = met[e - start]
        if (fmt := fixed(k, i, f)) not in m.formats:
            m.formats = (*m.formats, fmt)
        m.k |= k
        m.i = i if m.i is None else max(m.i, i)
        m.f = f + extra if m.f is None else max(m.f, f + extra)


def _format(m: _Met) -> Fixed:
    if m.i is None or m.f is None:
        return Fixed(False, 0)
    return fixed(m.k, m.i, m.f)
