"""Input ports: the formats given by the user, or found from the quantisers that an input meets; calibration data.

If every element meets one format, the port is that quantiser: it rounds as the model does. If edges round the same
input each in their own way (LUT-Dense), the port floors to one bit after the point more than the finest of them needs.
That keeps rounding exact for every edge: `floor(x * 2**f + 1/2)` depends on no more than `floor(x * 2**(f+1))`. It
wraps at the widest range among them, which leaves each narrower range as it was, or saturates there if an edge does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lutc.build import as_type
from lutc.diagnostics import Diagnostic, LirError, did_you_mean
from lutc.lowering.refusals import Refusal
from lutc.types import ZERO, Fixed, Overflow, Rounding, Type, tensor, uniform

from .base import Demand
from .ports import Port
from .quantizers import Quantizer, fixed


@dataclass
class _Met:
    """What one element meets."""

    k: int = 0
    i: int | None = None
    f: int | None = None
    formats: tuple[Fixed, ...] = ()


def port(shape: tuple[int, ...], start: int, demands: Sequence[Demand], name: str) -> Port:
    """The port of an input whose elements are numbered from `start`. Raises Refusal if no port could be exact."""
    size = int(np.prod(shape, dtype=np.int64))
    met = [_Met() for _ in range(size)]
    modes: dict[tuple[Rounding, Overflow], None] = {}
    for q, index in demands:
        _meet(met, q, index, start, size, modes)
    alone = len(modes) == 1 and all(len(m.formats) < 2 for m in met)
    if alone:
        ((rounding, overflow),) = modes
        formats = [m.formats[0] if m.formats else ZERO for m in met]
        return Port(name, tensor(shape, formats), rounding, overflow)
    if any(r not in (Rounding.HALF_UP, Rounding.FLOOR) for r, _ in modes):
        raise Refusal(
            "it is rounded in several ways, one of them neither half up nor down",
            "use round_mode='RND' for the quantisers at the input, or one quantiser in front of them",
        )
    overflow = Overflow.WRAP if all(o is Overflow.WRAP for _, o in modes) else Overflow.SATURATE
    return Port(name, tensor(shape, [_format(m) for m in met]), Rounding.FLOOR, overflow)


def _meet(met: list[_Met], q: Quantizer, index: Any, start: int, size: int, modes: dict[Any, None]) -> None:
    where = np.asarray(index)
    arrays = [
        np.broadcast_to(a.reshape((1,) * (where.ndim - a.ndim) + a.shape), where.shape)
        for a in (q.k, q.i, q.f)
    ]
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
        return ZERO
    return fixed(m.k, m.i, m.f)


def given_types(names: Sequence[str], shapes: Sequence[tuple[int, ...]], given: Any) -> dict[str, Type]:
    """The input formats the user asked for, by name or under `""` for all others, spread over the input's shape."""
    if given is None:
        return {}
    if isinstance(given, Mapping):
        table: dict[str, Any] = dict.fromkeys(names, given[""]) if "" in given else {}
        table |= {n: t for n, t in given.items() if n}
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
                kind = uniform(shape, kind.scalar)
            if kind.shape != shape:
                raise LirError(Diagnostic(f"input {name!r} has shape {list(shape)}, not that of {kind}"))
            found[name] = kind
    return found


def calibration_arrays(names: Sequence[str], shapes: Sequence[tuple[int, ...]], given: Any) -> list[Any]:
    """Calibration data as one float array `(batch, *shape)` per input."""
    if isinstance(given, Mapping):
        missing = [n for n in names if n not in given]
        if missing:
            raise LirError(Diagnostic(f"the calibration data lack the input {missing[0]!r}"))
        for name in given:
            if name not in names:
                help = did_you_mean(str(name), list(names)) or "inputs: " + ", ".join(names)
                raise LirError(Diagnostic(f"there is no input {name!r} to calibrate", help=help))
        arrays = [given[n] for n in names]
    else:
        arrays = list(given) if isinstance(given, list | tuple) else [given]
    if len(arrays) != len(names):
        raise LirError(
            Diagnostic(
                f"there are {len(arrays)} calibration arrays for {len(names)} inputs", help=", ".join(names)
            )
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
