"""`run` statements: their numbers, in the shapes of the ports that they name."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from fractions import Fraction
from math import prod
from typing import Any

import numpy as np

from lutc.diagnostics import LirError, Source, did_you_mean, error
from lutc.ir.expect import nested
from lutc.ir.graph import Design, Numbers, Run
from lutc.text import syntax
from lutc.text.literals import raw_value
from lutc.text.problems import Problems
from lutc.text.syntax import Expected
from lutc.types import Type


def expectation(problems: Problems, part: Expected, design: Design, lost: Container[str]) -> Run | None:
    """What a `run` statement expects of a design; None where something is wrong, which `problems` tells.

    `lost` are ports of the text that the design lacks, because something else is wrong with them.
    """
    before = len(problems)
    first, last = part.answers[0][0], part.answers[-1][1]
    kinds = {p.name or "": p.type for p in design.params}
    inputs = _ports(problems, [g for g in part.given if g[0] not in lost], kinds, "input")
    kinds = {o.name: o.value.type for o in design.outputs}
    outputs = _ports(problems, [g for g in part.answers if g[0] not in lost], kinds, "output")
    if len(problems) > before:
        return None
    return Run(tuple(inputs.items()), tuple(outputs.items()), syntax.span(problems.source, first, last))


def sample(text: str, design: Design, where: str) -> Run:
    """Numbers at a design's inputs, written as a `run` statement has them in front of `=>`. Raises LirError."""
    from lark.exceptions import UnexpectedInput

    source = Source(where, text)
    try:
        given: list[syntax.Attribute] = syntax.parser().parse(text, start="ports")  # type: ignore[assignment]
    except UnexpectedInput:
        raise error(f"{text!r} is no sample", where=where, help="write: x=[1, 0.5], y=3") from None
    problems = Problems(source, [])
    inputs = _ports(problems, given, {p.name or "": p.type for p in design.params}, "input")
    missing = [p.name for p in design.params if p.name not in dict(given)]
    if problems.found:
        raise LirError(*problems.found)
    if missing:
        raise error(f"nothing is said of the input {missing[0]}", where=where, help=f"add: {missing[0]}=...")
    return Run(tuple(inputs.items()), ())


def _ports(
    problems: Problems, given: Sequence[syntax.Attribute], kinds: Mapping[str, Type], what: str
) -> dict[str, Numbers]:
    found: dict[str, Numbers] = {}
    for name, token in given:
        if name not in kinds:
            problems.wrong(f"there is no {what} {name}", name, help=did_you_mean(name, list(kinds)))
        elif name in found:
            problems.wrong(f"{name} is given twice", name, help="write it once")
        else:
            try:
                found[str(name)] = shaped(raw_value(token.type, str(token)), kinds[name].shape)
            except ValueError as e:
                problems.wrong(f"{name}: {e}", token, help=f"it is {kinds[name]}")
    return found


def shaped(raw: Any, shape: tuple[int, ...]) -> Numbers:
    """Numbers in a port's shape: nested as it is, or all in one list; a single number counts for each element.

    Raises ValueError.
    """
    if isinstance(raw, Fraction):
        return raw
    if not shape:
        if len(raw) != 1 or not isinstance(raw[0], Fraction):
            raise ValueError("a list for a single number")
        return raw[0]
    flat = raw if not any(isinstance(r, list) for r in raw) else _flat(raw, shape)
    if word := next((r for r in flat if not isinstance(r, Fraction)), None):
        raise ValueError(f"{word!r} is no number")
    if len(flat) != prod(shape):
        raise ValueError(f"{len(flat)} numbers, and not {prod(shape)}")
    array = np.empty(len(flat), dtype=object)
    array[:] = flat
    return nested(array.reshape(shape))


def _flat(raw: list[Any], shape: tuple[int, ...]) -> list[Any]:
    if not shape or len(raw) != shape[0]:
        raise ValueError("the brackets do not follow the shape")
    if len(shape) == 1:
        if any(isinstance(r, list) for r in raw):
            raise ValueError("the brackets do not follow the shape")
        return raw
    found = []
    for row in raw:
        if not isinstance(row, list):
            raise ValueError("the brackets do not follow the shape")
        found += _flat(row, shape[1:])
    return found
