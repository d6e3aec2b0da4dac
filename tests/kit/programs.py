"""What files that carry their own expectation have in common: answers in `# run:` lines, texts as comments."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from lutc.ir.graph import Design
from lutc.ir.ops.base import number
from lutc.text.literals import list_of, number_of


def with_runs(text: str, design: Design) -> str:
    """The text with the design's answers in its lines `# run: x=[1, -0.5] => y=[1, 0]`, one sample a line."""
    return re.sub(r"^# run: (.*?)=>.*$", lambda m: f"# run: {m[1]}=> {_run(design, m[1])}", text, flags=re.M)


def _run(design: Design, given: str) -> str:
    inputs = {name: np.array([value], dtype=object) for name, value in _assignments(given)}
    answers = design.run(**inputs)
    if not isinstance(answers, dict):
        answers = {design.outputs[0].name: answers}
    return ", ".join(f"{name}={_shown(np.asarray(y)[0])}" for name, y in answers.items())


def _assignments(text: str) -> Iterator[tuple[str, Any]]:
    for place in re.finditer(r"(\w+)=(\[(?:[^=]*)\]|[^\s,\[]+)", text):
        value = place[2]
        yield place[1], _numbers(list_of(value)) if value.startswith("[") else number_of(value)


def _numbers(items: list[Any]) -> list[Any]:
    return [_numbers(i) if isinstance(i, list) else number_of(str(i)) for i in items]


def _shown(value: Any) -> str:
    if isinstance(value, np.ndarray) and value.ndim:
        return "[" + ", ".join(_shown(v) for v in value) + "]"
    return number(Fraction(value.item() if isinstance(value, np.ndarray | np.generic) else value))


def with_end(text: str, mark: str, shown: str) -> str:
    """The text with `shown` as comments behind its line `# mark:`, to its end; as it is if it has no such line."""
    head, line, _ = text.partition(f"\n# {mark}:\n")
    if not line:
        return text
    return head + line + "".join(f"# {s}".rstrip() + "\n" for s in shown.split("\n")[:-1])
