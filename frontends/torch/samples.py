"""Test inputs for a traced model: those of its ports, and zeros for inputs nothing reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lutc.lowering.compare import ROWS, samples

from .call import State
from .trace import Traced


def test_inputs(traced: Traced, state: State, given: Mapping[str, Any]) -> dict[str, Any]:
    """Rows of real numbers for each input, `(ROWS, *shape)`, with the shape that it was traced with."""
    found = {}
    for item in traced.inputs:
        if item.dtype == "nothing":
            continue
        shape = tuple(n or 1 for n in item.dims or ())
        param = state.walk.params.get(item.name)
        fixed = bool(given) or item.dtype not in ("float", "double")
        rows = np.zeros((ROWS, *shape)) if param is None else samples(param, fixed)
        found[item.name] = rows.reshape(ROWS, *shape)
    return found
