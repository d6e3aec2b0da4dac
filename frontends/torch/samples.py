"""Test inputs: the ends of every port's range, zero, numbers between its steps and beyond its ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lutc.graph import Param

from .call import State
from .trace import Traced

ROWS = 24


def test_inputs(traced: Traced, state: State, given: Mapping[str, Any]) -> dict[str, Any]:
    """Rows of real numbers for each input: its range's ends, zero, beyond, and random ones between its steps."""
    rng = np.random.default_rng(0)
    found = {}
    for item in traced.inputs:
        shape = tuple(n or 1 for n in item.dims or ())
        param = state.walk.params.get(item.name)
        if param is None:
            found[item.name] = np.zeros((ROWS, *shape))
            continue
        fixed = bool(given) or item.dtype not in ("float", "double")
        found[item.name] = _rows(param, rng, fixed).reshape(ROWS, *shape)
    return found


def _rows(param: Param, rng: Any, fixed: bool) -> Any:
    """Real numbers for a port. One whose format the user gave, or with integers, takes only those it holds."""
    formats = param.to.formats
    step = np.array([float(param.scale * f.step) for f in formats])
    lo, hi = (np.array([float(getattr(f, end)) for f in formats]) for end in ("lo", "hi"))
    codes = np.rint(rng.uniform(lo, hi, (ROWS, len(formats))))
    codes[0], codes[1] = np.clip(0, lo, hi), lo
    codes[2] = hi
    if not fixed:
        scale = abs(param.scale)
        dyadic = not (scale.numerator & (scale.numerator - 1)) and not (
            scale.denominator & (scale.denominator - 1)
        )
        between = rng.integers(-2, 3, codes.shape) / 4 if dyadic else rng.uniform(-0.45, 0.45, codes.shape)
        codes[3:] += between[3:]
        codes[3:6] *= 3
    reals = (codes * step + float(param.offset)).astype(np.float32)
    if fixed:  # a float32 may be coarser than the port, and must not round up beyond its end
        reals = np.where(
            reals > hi * step + float(param.offset), np.nextafter(reals, np.float32(-np.inf)), reals
        )
    return reals.astype(np.float64)
