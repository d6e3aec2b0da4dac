"""What files that carry their own expectation have in common: answers in `run` statements, texts as comments."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from lutc.ir.expect import answers, failures, nested
from lutc.ir.graph import Design
from lutc.ir.ops.base import encode


def with_runs(text: str, design: Design) -> str:
    """The text with the design's answers in its statements `run x=[1, -0.5] => y=[1, 0]`, each in a line of its own.

    As it is where they are right.
    """
    if not list(failures(design)):
        return text
    given = iter(answers(design, design.runs))

    def put(place: re.Match[str]) -> str:
        found = next(given)
        return f"{place[1]}=> {', '.join(f'{n}={encode(nested(y))}' for n, y in found.items())}"

    return re.sub(r"^(run .*?)=>.*$", put, text, flags=re.M)


def rows_of(design: Design) -> dict[str, Any]:
    """The inputs of the design's `run` statements, by port: what a program that assumes inputs assumes."""
    given = [dict(run.inputs) for run in design.runs]
    return {
        p.name or "": np.array(
            [np.broadcast_to(np.array(row[p.name or ""], dtype=np.float64), p.type.shape) for row in given]
        )
        for p in design.params
    }


def with_end(text: str, mark: str, shown: str) -> str:
    """The text with `shown` as comments behind its line `# mark:`, to its end; as it is if it has no such line."""
    head, line, _ = text.partition(f"\n# {mark}:\n")
    if not line:
        return text
    return head + line + "".join(f"# {s}".rstrip() + "\n" for s in shown.split("\n")[:-1])
