"""Random models of every framework, each with the framework's own answers: what `tools/fuzz --models` tries."""

from __future__ import annotations

import importlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lutc.diagnostics import LirError
from lutc.ir.graph import Design

FRAMEWORKS = ("onnx", "keras", "torch", "nn")
ROWS = 40


@dataclass(frozen=True)
class ModelCase:
    """A model: how lutc loads it, its inputs by the design's ports, and the framework's outputs, batch first.

    `unknown` says what lutc cannot understand in it, for which it must refuse it; `may`, that for which it may.
    """

    text: str
    load: Callable[[], Design]
    inputs: dict[str, Any]
    expected: list[Any]
    unknown: str = ""
    may: str = ""


def model_case(framework: str, seed: int) -> ModelCase:
    """Random model number `seed` of a framework."""
    module = importlib.import_module(f"random_{framework}")
    case: ModelCase = module.case(random.Random(f"{framework} {seed}"))
    return case


def failure(case: ModelCase) -> str | None:
    """What is wrong with what lutc makes of a model; None if nothing is."""
    try:
        design = case.load()
        found = design.run(*case.inputs.values()) if len(case.inputs) == 1 else design.run(**case.inputs)
    except LirError as e:
        return None if case.unknown or case.may else f"refused: {e}"
    except Exception as e:  # whatever it is, it is a bug
        return f"{type(e).__name__}: {e}"
    if case.unknown:
        return f"taken, with {case.unknown}"
    answers = list(found.values()) if isinstance(found, dict) else [found]
    if len(answers) != len(case.expected):
        return f"{len(answers)} outputs, not {len(case.expected)}"
    for number, (mine, theirs) in enumerate(zip(answers, case.expected, strict=True)):
        ours = np.array([float(v) for v in np.asarray(mine).ravel().tolist()])
        right = np.asarray(theirs, dtype=np.float64).ravel()
        if ours.shape != right.shape:
            return f"output {number} has {ours.size} numbers, not {right.size}"
        wrong = np.flatnonzero(ours != right)
        if len(wrong):
            a, b = ours[wrong[0]], right[wrong[0]]
            return f"output {number}: {len(wrong)} of {right.size} numbers differ, {a} is {b}"
    return None


def rows(rng: random.Random, count: int, step: float = 0.25, reach: int = 40) -> Any:
    """Samples on a grid, `(ROWS, count)`."""
    return np.array([[rng.randint(-reach, reach) * step for _ in range(count)] for _ in range(ROWS)])


def weights(rng: random.Random, *shape: int) -> Any:
    """Multiples of a quarter below two."""
    size = int(np.prod(shape))
    return np.array([rng.randint(-7, 7) / 4 for _ in range(size)], dtype=np.float32).reshape(shape)
