"""Input ports: formats found from the quantisers that an input meets; calibration data.

If every element meets one format, the port is that quantiser: it rounds as the model does. If edges round the same
input each in their own way (LUT-Dense), the port floors to one bit after the point more than the finest of them needs.
That keeps rounding exact for every edge: `floor(x * 2**f + 1/2)` depends on no more than `floor(x * 2**(f+1))`. It
wraps at the widest range among them, which leaves each narrower range as it was, or saturates there if an edge does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lutc.diagnostics import Diagnostic, LirError, did_you_mean
from lutc.lowering.refusals import Refusal
from lutc.types import ZERO, Fixed, Overflow, Rounding, tensor

from .base import Demand
from .values import Port


def port(shape: tuple[int, ...], start: int, demands: Sequence[Demand], name: str) -> Port:
    """The port of an input whose elements are numbered from `start`. Raises Refusal if no port could be exact."""
    size = math.prod(shape)
    # By element: the formats it meets, each with how many bits behind its own last one its rounding looks at.
    met: list[dict[Fixed, int]] = [{} for _ in range(size)]
    modes: dict[tuple[Rounding, Overflow], None] = {}
    for q, index in demands:
        extra = int(q.rounding is not Rounding.FLOOR)
        here = (index >= start) & (index < start + size)
        made = np.broadcast_to(q.formats, index.shape)
        for e, fmt in zip((index[here] - start).tolist(), made[here].tolist(), strict=True):
            if fmt.width:
                modes[q.rounding, q.overflow] = None
                met[e][fmt] = max(met[e].get(fmt, 0), extra)
    if len(modes) == 1 and all(len(m) < 2 for m in met):
        ((rounding, overflow),) = modes
        return Port(name, tensor(shape, [next(iter(m), ZERO) for m in met]), rounding, overflow)
    if any(r not in (Rounding.HALF_UP, Rounding.FLOOR) for r, _ in modes):
        raise Refusal(
            "it is rounded in several ways, one of them neither half up nor down",
            "use round_mode='RND' for the quantisers at the input, or one quantiser in front of them",
        )
    overflow = Overflow.WRAP if all(o is Overflow.WRAP for _, o in modes) else Overflow.SATURATE
    return Port(name, tensor(shape, [_finest(m) for m in met]), Rounding.FLOOR, overflow)


def _finest(met: Mapping[Fixed, int]) -> Fixed:
    """A format with the bits of all, and those that their rounding looks at."""
    signed = any(fmt.signed for fmt in met)
    whole = max((fmt.width - fmt.signed - fmt.frac for fmt in met), default=0)
    frac = max((fmt.frac + extra for fmt, extra in met.items()), default=0)
    return Fixed(signed, max(signed + whole + frac, 0), frac)


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
