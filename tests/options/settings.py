"""Every option of everything lutc reads, set one at a time: what the framework answers, and what the design answers."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from lutc.diagnostics import LirError


class Verdict(StrEnum):
    """What became of a setting."""

    EXACT = "exact"
    REFUSED = "refused"  # rightly: the setting says so
    FALSELY = "refused falsely"
    DIFFERENT = "different"
    BROKEN = "internal error"
    INVALID = "invalid"  # the framework itself does not take it

    @property
    def fine(self) -> bool:
        return self in (Verdict.EXACT, Verdict.REFUSED, Verdict.INVALID)


@dataclass(frozen=True)
class Setting:
    """One option of one layer, module or operator at one value.

    `make` builds the model and its inputs and says how to ask both sides: it returns `(load, expected, inputs)`, where
    `load()` gives the design, `expected` is the framework's own answer (one array, or a list of them, one sample a row)
    and `inputs` are what `design.run` is given. An exception of `make` means that the framework does not take the
    setting. `refusal` is why lutc may refuse it; where it is empty, it must not.
    """

    framework: str
    item: str
    option: str
    make: Callable[[], tuple[Callable[[], Any], Any, dict[str, Any]]]
    refusal: str = ""

    @property
    def name(self) -> str:
        return f"{self.framework} {self.item}({self.option})"


@dataclass(frozen=True)
class Result:
    """A setting, its verdict, and what shows it."""

    setting: Setting
    verdict: Verdict
    detail: str = ""


def judge(setting: Setting) -> Result:
    """Build one setting, load it and compare the answers, number for number."""
    try:
        load, expected, inputs = setting.make()
    except Exception as e:  # whatever the framework raises at a setting it does not take
        return Result(setting, Verdict.INVALID, f"{type(e).__name__}: {e}")
    try:
        design = load()
        answers = design.run(**inputs)
    except LirError as e:
        verdict = Verdict.REFUSED if setting.refusal else Verdict.FALSELY
        return Result(setting, verdict, str(e.diagnostics[0]))
    except Exception:
        return Result(setting, Verdict.BROKEN, traceback.format_exc())
    mine = list(answers.values()) if isinstance(answers, dict) else [answers]
    theirs = list(expected) if isinstance(expected, list | tuple) else [expected]
    if len(mine) != len(theirs):
        return Result(setting, Verdict.DIFFERENT, f"{len(mine)} outputs, not {len(theirs)}")
    for number, (a, b) in enumerate(zip(mine, theirs, strict=True)):
        difference = _difference(a, b)
        if difference:
            return Result(setting, Verdict.DIFFERENT, f"output {number}: {difference}")
    return Result(setting, Verdict.EXACT)


def _difference(mine: Any, theirs: Any) -> str:
    ours = np.array([float(v) for v in np.asarray(mine).ravel().tolist()]).reshape(np.shape(mine))
    right = np.asarray(theirs, dtype=np.float64)
    if ours.size != right.size:
        return f"shape {ours.shape}, not {right.shape}"
    wrong = np.argwhere(ours.astype(np.float32).ravel() != right.astype(np.float32).ravel())
    if not len(wrong):
        return ""
    at = int(wrong[0, 0])
    return f"{len(wrong)} of {ours.size} numbers, the first {ours.ravel()[at]}, not {right.ravel()[at]}"


def sampled(settings: Iterable[Setting], count: int, seed: int = 0) -> list[Setting]:
    """Some of the settings, spread over all items."""
    everything = list(settings)
    rng = np.random.default_rng(seed)
    if count >= len(everything):
        return everything
    return [everything[i] for i in sorted(rng.choice(len(everything), count, replace=False))]


def table(results: Iterable[Result]) -> str:
    """How many settings got which verdict, by framework."""
    counts: dict[str, Counter[Verdict]] = {}
    for r in results:
        counts.setdefault(r.setting.framework, Counter())[r.verdict] += 1
    lines = ["| framework | settings | " + " | ".join(Verdict) + " |", "|---|" + "--:|" * (len(Verdict) + 1)]
    for framework, found in counts.items():
        cells = " | ".join(str(found[v]) for v in Verdict)
        lines.append(f"| {framework} | {sum(found.values())} | {cells} |")
    return "\n".join(lines)
