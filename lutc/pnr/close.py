"""Timing closure: a build that misses its clock after place and route, compiled again by the delays that were measured.

The model of delays is off by much the same factor wherever it is off: by the length of a design's wires. So the
period that the router reached over the one that the model promised is what the next circuit is cut by.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from pathlib import Path
from typing import Any

from lutc import driver
from lutc import target as targets
from lutc.built import Build, alone, may_write, whole
from lutc.diagnostics import LirError, error
from lutc.ir.graph import Design
from lutc.pnr.implement import Asked, Implementation, Try, implemented
from lutc.pnr.vectors import compare
from lutc.settings import FACTORS, Settings
from lutc.text.parse import parse_file

_STEP = 1.04  # how much longer delays become where what was measured changes nothing
_BY_ITSELF = (
    "by these delays a single operation takes longer than the period, and no register goes inside one"
)


@dataclass(frozen=True)
class _Again:
    """What it takes to compile a build again."""

    model: Design
    settings: Settings
    report: Mapping[str, Any]

    @staticmethod
    def of(folder: Path, asked: Asked) -> _Again:
        """Raises LirError for a build that no clock cut, that assumes inputs, or of passes the folder does not know."""
        report = json.loads((folder / "report.json").read_text())
        asked.device(report)
        if report["clock_ns"] is None:
            raise error(
                "the build was not compiled for a clock, so its registers are not to be placed anew",
                where=str(folder),
                help="compile with --clock-ns instead of --stages, and without registers in the model",
            )
        if "assumption" in report:
            raise error(
                "the build assumes inputs, and the folder does not have their rows",
                where=str(folder),
                help="compile it again yourself, with a larger --delay-factor",
            )
        settings = Settings(
            target=asked.target or _named(report),
            hdl=report["hdl"],
            clock_ns=asked.period(report, folder),
            clock_enable=report["clock_enable"],
            valid=report["valid"],
            effort=report["effort"],
            objective=report["objective"],
            dsp=report["dsp"],
            approx_lsb=report.get("approximation", {}).get("allowed_lsb", 0.0),
            delay_factor=report["delay_factor"],
        )
        model = replace(parse_file(folder / "model.lir"), compared=report["compared"])
        ran = [path.stem.partition("-")[2] for path in sorted((folder / "stages").iterdir())]
        usual = [step.name for step in driver.planned(settings, model)]
        if settings.effort == "fast":
            usual = usual[-1:]
        if ran != usual:
            raise error(
                "the build was compiled by other passes than the usual ones",
                where=str(folder),
                help="compile it again yourself, with a larger delay_factor",
            )
        return _Again(model, settings, report)

    def compiled(self, factor: float) -> Build:
        settings = replace(self.settings, delay_factor=round(factor, 4))
        return driver.compile(self.model, settings)


def _named(report: Mapping[str, Any]) -> str:
    """The name by which a build's target and part are loaded."""
    for name in (report["target"], report["part"]):
        found = targets.load(name)
        if (found.name, found.part) == (report["target"], report["part"]):
            return str(name)
    raise error(f"no target has the part {report['part']!r} any more", help="name it again: --target")


def closed(folder: Path, asked: Asked, most: int, keep: Path | None) -> Implementation:
    """Implement a build, and compile it again up to `most` times if it misses its clock; the folder keeps the best.

    That is the one that meets the clock with the fewest stages, or else has the shortest period.
    """
    may_write(folder)
    with alone(folder), tempfile.TemporaryDirectory(prefix="lutc-") as temporary:
        build = whole(folder)
        again = _Again.of(build, asked)
        found = implemented(build, asked, keep and keep / "try-0")
        tries = [_try(found, again.report["delay_factor"])]
        best, chosen, last, text, why = found, None, found, _sources(build), ""
        while len(tries) <= most:
            asked.progress(f"compiling again ({len(tries)} of {most})")
            if best.met:
                new = _between(again, tries)
                if new is None:
                    break
            else:
                factor = tries[-1].delay_factor * max(last.reached_ns / last.estimate["stage_ns"], _STEP)
                try:
                    new, text = _other(again, factor, text)
                except LirError as reason:
                    why = str(reason).splitlines()[0].removeprefix("error: ")
                    break
                why = _BY_ITSELF if _over(new) else ""
            compare(new.design, new.facts, build / "sim")
            place = new.write_like(Path(temporary, f"try-{len(tries)}"), build)
            last = implemented(place, asked, keep and keep / f"try-{len(tries)}")
            tries.append(_try(last, new.settings.delay_factor))
            if _rank(last) < _rank(best):
                best, chosen = last, new
        done = replace(best, tries=tuple(tries), why="" if best.met else why)
        if chosen is not None:
            _told(chosen, done).write_like(folder, build)
    return done


def _rank(found: Implementation) -> tuple[bool, float]:
    """What is better comes first."""
    return (False, found.latency) if found.met else (True, found.reached_ns)


def _between(again: _Again, tries: Sequence[Try]) -> Build | None:
    """A build of fewer stages than meet the clock so far, and of more than miss it; None if there is none."""
    met = min((t for t in tries if t.met), key=lambda t: t.stages)
    missed = max((t for t in tries if not t.met), key=lambda t: t.stages, default=met)
    if met.stages - missed.stages <= 1:
        return None
    build = again.compiled(sqrt(met.delay_factor * missed.delay_factor))
    return build if missed.stages < build.facts["stages"] < met.stages else None


def _try(found: Implementation, factor: float) -> Try:
    return Try(factor, found.latency, found.reached_ns, found.met)


def _other(again: _Again, factor: float, before: str) -> tuple[Build, str]:
    """A build that is not the one before, by delays of a factor or somewhat longer ones.

    Raises LirError if there is none: registers alone take the whole period, or there is one around every operation.
    """
    step = _STEP
    while factor <= FACTORS[1]:
        build = again.compiled(factor)
        text = "".join(text for _, text in sorted(build.files.items()))
        if text != before:
            return build, text
        if _over(build):
            raise error(_BY_ITSELF)
        factor, step = factor * step, step * step
    raise error(f"no other circuit comes of delays up to {FACTORS[1]:g} times the target's")


def _over(build: Build) -> bool:
    """Whether the clock is missed by the model of delays."""
    return bool(build.facts["estimate"]["stage_ns"] > build.facts["clock_ns"] * 1.001)


def _sources(build: Path) -> str:
    return "".join(path.read_text() for path in sorted((build / "rtl").iterdir()))  # as `_other` has them


def _told(build: Build, found: Implementation) -> Build:
    """The build with a report that says how it came about."""
    closure = {
        "tries": len(found.tries) - 1,
        "reached_ns": round(found.reached_ns, 3),
        "met": found.met,
        "tools": ", ".join(f"{tool} {version}" for tool, version in found.versions.items()),
    }
    return replace(build, facts=build.facts | {"closure": closure})
