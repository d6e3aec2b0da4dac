"""From a model to the stages of the circuit that is built: exact, or what was allowed or assumed if that is smaller."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from lutc.analysis.cost import built
from lutc.assumed import Assumed
from lutc.diagnostics import error
from lutc.emit import Control, netlist
from lutc.ir.graph import Design
from lutc.ir.interp import execute
from lutc.passes.approximate.approximate import Approximate
from lutc.passes.approximate.worth import Approximation
from lutc.passes.assume.worth import Assumption, HeldOut
from lutc.passes.context import Context
from lutc.passes.dump import dump_all
from lutc.passes.manager import Pass, run
from lutc.rtl.nets import Module
from lutc.rtl.sites import counts
from lutc.settings import Settings

Progress = Callable[[str], None]
Stages = list[tuple[str, Design]]

_QUICKER = 0.4  # of all LUTs: what a shorter way through those by name may cost if latency is the objective
_AT_ONCE = 4096  # assumed rows
_LOOKED_AT = 1000  # random vectors, and assumed rows, on which passes are compared where inputs are assumed
_BUG = (
    "this is a bug in lutc: please report it with the model and the data, and compile without --assume-inputs"
)


@dataclass(frozen=True)
class Staged:
    """The stages of a circuit by their passes' names, and what became of what was allowed or assumed."""

    stages: Stages
    approximation: Approximation | None = None
    assumption: Assumption | None = None


def staged(
    model: Design,
    steps: Sequence[Pass],
    settings: Settings,
    tell: Progress = lambda text: None,
    dump: Path | None = None,
) -> Staged:
    """The stages of the circuit to build; `dump` is a folder to write them to.

    If a pass approximates, or assumes, the exact design goes the rest of the way too, and what is built is the smaller
    circuit of the two: an error that saves nothing is not made. Raises LirError for rows that do not suit the model.
    """
    if settings.assume_inputs is not None:
        return _assuming(model, steps, settings, tell, dump)
    stages = _run(model, steps, settings, Context.asked(settings), tell, dump)
    at = approximating(steps)
    return Staged(stages) if at is None else _smaller(model, steps, settings, stages, at, dump)


def approximating(steps: Sequence[Pass]) -> int | None:
    """Which of the passes approximates. Raises LirError if several do."""
    found = [i for i, step in enumerate(steps) if isinstance(step, Approximate) and step.lsb]
    if len(found) > 1:
        what = "a design is approximated once: the bounds of two passes are not added up"
        raise error(what, help="keep one")
    return found[0] if found else None


def _run(
    model: Design,
    steps: Sequence[Pass],
    settings: Settings,
    context: Context,
    tell: Progress,
    dump: Path | None,
    check: int = 0,
) -> Stages:
    stages: Stages = []

    def begin(number: int) -> None:
        if number <= len(steps):
            tell(f"{steps[number - 1].name} ({number} of {len(steps)})")

    def observe(number: int, step: Pass, design: Design) -> None:
        stages.append((step.name, design))
        begin(number + 1)

    begin(1)
    each = settings.effort != "fast"
    check = max(check, settings.check)
    run(model, steps, context, dump=dump, check=check, observer=observe, each=each)
    return stages


def wired(
    design: Design, settings: Settings, control: Control | None = None, notes: dict[str, str] | None = None
) -> tuple[Module, ...]:
    """The netlist of the last stage, with LUTs by name where device and emitter have them."""
    device, slow = settings.device, settings.effort != "fast"
    luts = device.primitive if settings.backend.named_luts else None
    quick = slow and luts and counts(device) and settings.objective == "latency"
    hasten = (device, _QUICKER) if quick else None
    return tuple(netlist(design, control or Control(), notes, luts=luts, tables=slow, hasten=hasten))


def _luts(design: Design, settings: Settings) -> float:
    return sum(c.luts for c in built(design, wired(design, settings), settings.device).values())


def _smaller(
    model: Design, steps: Sequence[Pass], settings: Settings, stages: Stages, at: int, dump: Path | None
) -> Staged:
    """The approximated stages or the exact ones."""
    exact, near = stages[at - 1][1] if at else model, stages[at][1]
    others = stages[:at]
    if near is exact:
        others += stages[at + 1 :]
    else:
        run(
            exact,
            steps[at + 1 :],
            Context.asked(settings),
            observer=lambda number, step, design: others.append((step.name, design)),
        )
    finished = others[-1][1] if others else model
    luts_exact, luts = (_luts(d, settings) for d in (finished, stages[-1][1]))
    smaller = luts < luts_exact
    if dump and not smaller:
        dump_all(dump, model, others)
    allowed = cast(Approximate, steps[at]).lsb
    approximation = Approximation(allowed, exact, near, luts_exact, luts, smaller)
    return Staged(stages if smaller else others, approximation)


def _assuming(
    model: Design, steps: Sequence[Pass], settings: Settings, tell: Progress, dump: Path | None
) -> Staged:
    """The stages that assume, or the exact ones; data are looked at before any work.

    What a bench compares on random vectors is only the way from the last pass that assumes. So passes are compared as
    they run, and every assumed row in the end, whether or not anybody asked for it.
    """
    if approximating(steps) is not None:
        what = "a pass approximates, and a circuit that assumes inputs is exact on all of them"
        raise error(what, help="leave out assume_inputs, or the pass")
    assumed = Assumed.of(model, settings.assume_inputs, settings.assume_margin)
    held_out = None
    if settings.assume_check is not None:
        held_out = HeldOut.of(model, settings.assume_check, settings.assume_labels)
    context = Context.asked(settings, assumed)
    stages = _run(model, steps, settings, context, tell, dump, _LOOKED_AT)
    tell("the exact circuit, to compare with")
    plain = [step for step in steps if not step.assumes]
    exact = _run(model, plain, settings, Context.asked(settings), lambda text: None, None)
    finished, assuming = (found[-1][1] if found else model for found in (exact, stages))
    tell("comparing the assumed rows")
    _same(model, assuming, assumed)
    near = [d for step, (_, d) in zip(steps, stages, strict=True) if step.assumes][-1]
    luts_exact, luts = _luts(finished, settings), _luts(assuming, settings)
    taken = assumed.said in assuming.notes and luts < luts_exact
    if dump and not taken:
        dump_all(dump, model, exact)
    assumption = Assumption(assumed, held_out, model, near, luts_exact, luts, taken)
    return Staged(stages if taken else exact, None, assumption)


def _same(model: Design, built: Design, assumed: Assumed) -> None:
    """Raise LirError if a design differs from its model on an assumed row."""
    for first in range(0, assumed.rows, _AT_ONCE):
        codes = {port: x[first : first + _AT_ONCE] for port, x in assumed.codes.items()}
        want, got = (execute(design, codes) for design in (model, built))
        for port, answers in want.items():
            wrong = np.argwhere(np.asarray(got[port] != answers))
            if len(wrong):
                what = f"output {port!r} is not the model's on assumed row {first + int(wrong[0][0])}"
                raise error(what, where=model.name, help=_BUG)
