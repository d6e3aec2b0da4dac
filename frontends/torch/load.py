"""From a PyTorch model to a design that computes the same, compared with the framework before it is handed out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from torch import nn

from lutc.ir.graph import Design
from lutc.lowering.compare import not_compared
from lutc.lowering.ports import finished
from lutc.types import Fixed

from .apart import Single, test_inputs
from .compare import compared
from .lower import lowered
from .trace import Traced, evaluated, read, traced


def load_torch(
    source: Any,
    example_inputs: Any = None,
    *,
    input_types: Mapping[str, str | Fixed] | str | None = None,
    compare: bool = True,
) -> Design:
    """A quantised PyTorch model as a design, bit-exact.

    `source` is a module, an `ExportedProgram`, or the path of a saved one (`.pt2`). A module is traced with
    `example_inputs`: a tensor, a tuple of them, or a dict by argument name; their first dimension counts samples and
    is no part of the ports. `input_types` gives formats such as `"s16f10"` to inputs nothing quantises, by name;
    under the name `""`, or alone, to all of them.

    The design means the model in exact numbers, with every scale the float32 it is. Unless `compare` is false, it is
    compared with the model itself on random and edge inputs, in the model's own floats and, where those round, in
    float64; a note says if the model's own rounding moves outputs. Raises LirError with one diagnostic for each layer
    that cannot be compiled exactly (or with one for a model that nothing quantises), or with the first layer that
    differs.
    """
    given: Mapping[str, str | Fixed] = (
        {"": input_types} if isinstance(input_types, str) else (input_types or {})
    )
    if not isinstance(source, nn.Module):
        file = os.fspath(source) if isinstance(source, str | os.PathLike) else None
        return _loaded(read(source), given, compare, file)
    with evaluated(source) as model:
        return _loaded(traced(model, example_inputs), given, compare)


def _loaded(
    model: Traced, given: Mapping[str, str | Fixed], compare: bool, file: str | None = None
) -> Design:
    state = lowered(model, given, file)
    design = finished(state.walk)
    if compare:
        return compared(model, state, design, given)
    # A circuit knows nothing of batches: what depends on theirs is refused, compared or not.
    Single(model, test_inputs(model, state, given)).answers_apart()
    return not_compared(design, "as it was asked")
