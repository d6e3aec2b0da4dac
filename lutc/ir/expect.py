"""Whether a design gives the answers that its `run` statements expect."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from lutc.diagnostics import Diagnostic
from lutc.ir.graph import Design, Numbers, Run
from lutc.ir.interp import answer, port_reals
from lutc.ir.ops.base import number


def answers(design: Design, runs: Sequence[Run]) -> list[dict[str, Any]]:
    """What a design answers to the samples of runs: an object array of fractions for each output, in its shape."""
    if not runs:
        return []
    samples = [dict(run.inputs) for run in runs]
    given = {
        p.name or "": np.concatenate([_spread(s[p.name or ""], p.type.shape) for s in samples])
        for p in design.params
    }
    codes = answer(design, **given)
    reals = {o.name: port_reals(o, codes[o.name]) for o in design.outputs}
    # A design without inputs answers once.
    return [{name: _fractions(y[i % len(y)]) for name, y in reals.items()} for i in range(len(runs))]


def failures(design: Design) -> Iterator[Diagnostic]:
    """Every output of every run that is not what it says."""
    shapes = {o.name: o.value.type.shape for o in design.outputs}
    for i, (run, found) in enumerate(zip(design.runs, answers(design, design.runs), strict=True)):
        for name, expected in run.outputs:
            wanted = _spread(expected, shapes[name])[0, ...]
            wrong = [at for at in np.ndindex(shapes[name]) if found[name][at] != wanted[at]]
            if wrong:
                first = wrong[0]
                at = f"[{', '.join(map(str, first))}]" if first else ""
                more = f" ({len(wrong)} of {wanted.size} elements differ)" if len(wrong) > 1 else ""
                said = f"{name}{at} is {number(found[name][first])}, and not {number(wanted[first])}{more}"
                yield Diagnostic(said, run.span, f"run {i + 1} of {design.name}")


def nested(array: Any) -> Numbers:
    """An array of numbers as a run holds it: tuples of tuples."""
    values = array.tolist()
    return _tuples(values) if isinstance(values, list) else Fraction(values)


def _tuples(values: Any) -> Any:
    return tuple(map(_tuples, values)) if isinstance(values, list) else values


def _spread(numbers: Numbers, shape: tuple[int, ...]) -> Any:
    """One sample: an object array `(1, *shape)` of fractions."""
    if isinstance(numbers, tuple):
        return np.array(numbers, dtype=object).reshape(1, *shape)
    array = np.empty((1, *shape), dtype=object)
    array[...] = numbers
    return array


def _fractions(reals: Any) -> Any:
    found = np.empty(np.shape(reals), dtype=object)
    for at in np.ndindex(found.shape):
        value = np.asarray(reals, dtype=object)[at] if found.shape else reals
        found[at] = Fraction(value.item() if isinstance(value, np.generic | np.ndarray) else value)
    return found
