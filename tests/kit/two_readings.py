"""lutc and the implementation in tests/independent/ asked the same of a text, and where they disagree."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from independent.check import Checked
from independent.formats import Type as OtherType
from independent.run import Program, load
from independent.text import read_type, tree_of

from lutc.diagnostics import LirError
from lutc.ir.expect import answers, failures
from lutc.ir.graph import Design, Func, Run
from lutc.ir.ops.flow import Call, Map
from lutc.text.parse import parse

HEAVY = re.compile(r"[\[,*=]\s*0*[1-9]\d{4,9}\b")
ELEMENTS = 3000  # of all values of a design whose numbers are compared


@dataclass(frozen=True)
class Readings:
    """What both say of a text."""

    design: Design | None
    lines: tuple[int | None, ...]  # of lutc's errors
    other: Program

    @property
    def refused(self) -> tuple[bool, bool]:
        return self.design is None, bool(self.other.problems)

    @property
    def other_lines(self) -> tuple[int, ...]:
        return tuple(p.line for p in self.other.problems)


def both(text: str, folder: Path | None = None) -> Readings:
    design, lines = None, []
    try:
        design = parse(text, "text.lir", folder)
    except LirError as e:
        lines = [d.span.line if d.span else None for d in e.diagnostics]
    return Readings(design, tuple(lines), load(text, folder or Path("nowhere")))


def heavy(text: str) -> bool:
    """Whether a text may have millions of elements: the other implementation takes minutes for them."""
    return HEAVY.search(text) is not None


def broken_runs(readings: Readings) -> tuple[list[int | None], list[int]]:
    """The lines of runs that do not hold, by both."""
    assert readings.design is not None
    ours = [d.span.line if d.span else None for d in failures(readings.design)]
    return ours, [p.line for p in readings.other.broken_runs()]


def disagreement(text: str, rng: random.Random, samples: int = 3, folder: Path | None = None) -> str | None:
    """What the two disagree about, None if nothing: whether it is a program, its types, its answers to samples."""
    readings = both(text, folder)
    if readings.refused[0] != readings.refused[1]:
        return f"lutc refuses lines {readings.lines}, the other {readings.other.problems[:3]}"
    if readings.design is None:
        return None
    return types_differ(readings.design, readings.other) or answers_differ(
        readings.design, readings.other, rng, samples
    )


def types_differ(design: Design, other: Program) -> str | None:
    """A value whose type is another one. lutc drops what is not used."""
    bodies: list[tuple[Design | Func, Checked]] = [(design, other.ready())]
    seen: set[str] = set()
    while bodies:
        body, checked = bodies.pop()
        for value in body.values:
            if isinstance(value, Call | Map) and value.func.name not in seen:
                seen.add(value.func.name)
                bodies.append((value.func, other.checker.bodies[value.func.name]))
            if value.name is None:
                continue  # a number or a constant where it is read
            theirs = checked.values[value.name].type
            if theirs != other_type(str(value.type)):
                return f"%{value.name} is {value.type} to lutc, and {theirs} to the other"
    return None


def other_type(text: str) -> OtherType:
    return read_type(tree_of(text, "type", 1))


def answers_differ(design: Design, other: Program, rng: random.Random, samples: int) -> str | None:
    """An output whose numbers differ for real numbers at the inputs."""
    if sum(v.type.size + v.operations() for v in design.values) > ELEMENTS:
        return None
    for _ in range(samples):
        given = {p.name or "": numbers_for(p, rng) for p in design.params}
        (ours,) = answers(design, [Run(tuple((n, tuple(v)) for n, v in given.items()), ())])
        theirs = other.run(given)
        for name, numbers in theirs.items():
            found = ours[name].ravel().tolist()
            if found != numbers:
                said = {n: [str(x) for x in v] for n, v in given.items()}
                return f"{name} is {found} to lutc, and {numbers} to the other, at {said}"
    return None


def numbers_for(param: Any, rng: random.Random) -> list[Fraction]:
    """Real numbers at an input: in the range and beyond, on the steps, half between them, and elsewhere."""
    numbers = []
    for kind in other_type(str(param.type)).formats:
        low, high = kind.low_code, kind.high_code
        code: Fraction = Fraction(rng.choice([low, high, 0, -1, rng.randint(low, max(high, low))]))
        if rng.random() < 0.2:
            code = Fraction(rng.randint(2 * low - 3, 2 * high + 3))
        if rng.random() < 0.5:
            code += rng.choice([Fraction(1, 2), Fraction(-1, 2), Fraction(1, 3), Fraction(1, 1000)])
        numbers.append(code * Fraction(2) ** -kind.frac * param.scale + param.offset)
    return numbers
