"""One random design through everything: passes, netlist, both HDLs, against the interpreter on the source.

`tests/fuzz/test_fuzz.py` runs some hundreds in CI and every file of `tests/lir/crashers/`; `tools/fuzz` runs as many as
one likes and writes those files. A case is a design and a `Setting`; it fails with a sentence, or passes with None.
"""

from __future__ import annotations

import json
import random
import re
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from hdl_batch import Trial, simulate_many
from random_designs import random_design

import lutc
from lutc import plugins
from lutc.backends.simulate import bench_for
from lutc.backends.vectors import element_runs, pack_bits, vectors
from lutc.diagnostics import LirError
from lutc.driver import Build
from lutc.ir.graph import Design, Param, Stage, body, topo
from lutc.ir.interp import execute
from lutc.ir.latency import latency
from lutc.ir.ops import ALL as ALL_OPS
from lutc.ir.ops import TABLE
from lutc.ir.verify import violations
from lutc.passes.manager import run
from lutc.passes.registry import parse as parse_passes
from lutc.passes.rewriter import with_operands
from lutc.text.parse import parse_file
from lutc.text.print import print_design
from lutc.types import Ints

HDLS = ("verilog", "vhdl")
VECTORS = 40
CRASHERS = Path(__file__).parents[1] / "lir" / "crashers"

# Passes that may run at any time and in any order.
_ANYWHERE = (
    "simplify",
    "prune",
    "narrow",
    "collect",
    "rescale{dsp=all}",
    "adders",
    "dsp{mode=all}",
    "multiply",
)


@dataclass(frozen=True)
class Setting:
    """How a design is compiled. `passes` are run on a copy of their own, besides the standard pipeline.

    `stages` is None where a clock period is given, and for a design that brings its own registers.
    """

    stages: int | None = 0
    clock_ns: float | None = None
    clock_enable: bool = False
    valid: bool = False
    target: str = "xcvu13p"
    passes: str = ""
    dsp: str = "none"


@dataclass(frozen=True)
class Case:
    """A design to try, and how."""

    name: str
    design: Design
    setting: Setting
    hdls: Sequence[str] = HDLS


def random_case(seed: int, hdls: Sequence[str] = HDLS) -> Case:
    """The case of a number, always the same."""
    rng = random.Random(seed)
    # A few operations that meet often find what many that meet seldom do not.
    some = [*rng.sample(ALL_OPS, 8), *(TABLE[k] for k in ("call", "map", "element"))]
    ops = some if rng.random() < 0.25 else ALL_OPS
    design = random_design(rng, rng.choice(["tensor", "scalar"]), ops, size=rng.randint(3, 20))
    return Case(f"seed-{seed}", design, _setting(rng, design), hdls)


def _setting(rng: random.Random, design: Design) -> Setting:
    order = [rng.choice(_ANYWHERE) for _ in range(rng.randint(0, 4))]
    if design.stage is Stage.TENSOR and rng.random() < 0.7:
        order.insert(rng.randint(0, len(order)), "scalarize")
    if "scalarize" in order and rng.random() < 0.5:
        order.append(f"pipeline{{stages={rng.randint(1, 4)}}}")
    stages: int | None = rng.randint(0, 4)
    clock: float | None = None
    if latency(design) or rng.random() < 0.25:
        stages, clock = None, None if latency(design) else rng.choice([0.7, 1.2, 2.5, 6.0])
    target = rng.choice(["xcvu13p", "xcvu13p", "xc7a100t"] + ["ice40up5k", "ecp5-85k"] * (clock is None))
    controls = rng.random() < 0.4, rng.random() < 0.4
    return Setting(stages, clock, *controls, target, ", ".join(order), rng.choice(["none", "auto", "all"]))


# -- trying -----------------------------------------------------------------------------------------------------------


def failures(cases: Sequence[Case]) -> list[str | None]:
    """For each case None, or what went wrong; the simulators run side by side."""
    found: list[str | None] = []
    trials: list[tuple[int, str, Trial]] = []
    for number, case in enumerate(cases):
        try:
            failure, made = _tried(case)
        except Exception as e:
            failure, made = f"{type(e).__name__}: {e}\n{traceback.format_exc()}", []
        found.append(failure)
        trials += [(number, trial.bench.hdl, trial) for trial in made]
    for (number, hdl, _), answer in zip(trials, simulate_many([t for *_, t in trials]), strict=True):
        if answer is not None and found[number] is None:
            found[number] = f"{hdl}: {answer}"
    return found


def failure(case: Case) -> str | None:
    """As `failures`, for one."""
    return failures([case])[0]


def _tried(case: Case) -> tuple[str | None, list[Trial]]:
    """What Python alone can find wrong, and what is left to the simulators."""
    design, setting = case.design, case.setting
    codes = vectors(design, VECTORS, 1)
    expected = execute(design, codes)
    if setting.passes:
        changed = run(design, parse_passes(setting.passes))
        if wrong := _difference(design, changed, codes, expected):
            return f"after {setting.passes}: {wrong}", []
    try:
        build = lutc.compile(
            design,
            setting.target,
            stages=setting.stages,
            clock_ns=setting.clock_ns,
            clock_enable=setting.clock_enable,
            valid=setting.valid,
            dsp=setting.dsp,
        )
    except LirError as e:
        return (None if "nothing to build" in str(e) else str(e)), []
    if wrong := _difference(design, build.design, codes, expected):
        at = next(
            (name for name, d in build.stages if _difference(design, d, codes, expected)), "an unknown pass"
        )
        return f"after the standard pipeline, from {at} on: {wrong}", []
    if setting.stages and latency(build.design) not in (0, setting.stages):
        return f"asked for {setting.stages} stages, got {latency(build.design)}", []
    return None, [_trial(build, hdl, codes, expected) for hdl in case.hdls]


def _difference(
    source: Design, changed: Design, codes: Mapping[str, Ints], expected: Mapping[str, Ints]
) -> str | None:
    got = execute(changed, codes)
    for before, after in zip(source.outputs, changed.outputs, strict=True):
        if before.value.type != after.value.type:
            return f"output {before.name} was {before.value.type} and is {after.value.type}"
        wrong = np.argwhere(np.asarray(got[before.name] != expected[before.name]))
        if len(wrong):
            at = tuple(wrong[0].tolist())
            inputs = {name: x[at[0]].tolist() for name, x in codes.items()}
            return (
                f"output {before.name}{list(at[1:])} is {got[before.name][at]}, not {expected[before.name][at]}, "
                f"for the codes {inputs}"
            )
    return None


def _trial(build: Build, hdl: str, codes: Mapping[str, Ints], expected: Mapping[str, Ints]) -> Trial:
    bench, names = bench_for(
        build.modules,
        hdl,
        [],
        latency(build.design),
        valid=build.control.valid,
        elements=element_runs(build.source),
    )
    inputs = {
        names[p.name or ""]: pack_bits(codes[p.name or ""], p.type)
        for p in build.source.params
        if p.type.bits
    }
    outputs = {
        names[o.name]: pack_bits(expected[o.name], o.value.type)
        for o in build.source.outputs
        if o.value.type.bits
    }
    files = plugins.backend(hdl).emit(build.modules, "fuzz") | plugins.backend(hdl).models(build.modules, "")
    return Trial(bench, files, inputs or {"": [0] * VECTORS}, outputs or {"": [0] * VECTORS})


# -- making failures small --------------------------------------------------------------------------------------------


def minimised(case: Case, tries: int = 200) -> Case:
    """A smaller case that still fails (perhaps in another way)."""
    left = tries

    def fails(smaller: Case) -> bool:
        nonlocal left
        left -= 1
        try:
            return left >= 0 and not violations(smaller.design) and failure(smaller) is not None
        except Exception:
            return False

    for hdl in case.hdls:
        if len(case.hdls) > 1 and fails(one := replace(case, hdls=[hdl])):
            case = one
    for step in (_settings, _fewer_outputs, _earlier_outputs, _cut_inputs, _fewer_outputs):
        case = _greedy(case, step, fails)
    return case


def _greedy(case: Case, smaller: Callable[[Case], Iterator[Case]], fails: Callable[[Case], bool]) -> Case:
    while (found := next((c for c in smaller(case) if fails(c)), None)) is not None:
        case = found
    return case


def _settings(case: Case) -> Iterator[Case]:
    setting = case.setting
    steps = re.findall(r"[\w-]+(?:\{[^}]*\})?", setting.passes)
    shorter = [", ".join(steps[:i] + steps[i + 1 :]) for i in range(len(steps))]
    changes: list[dict[str, Any]] = [
        {"clock_enable": False},
        {"valid": False},
        *({"passes": p} for p in shorter),
    ]
    if setting.clock_ns:
        changes += [{"clock_ns": None, "stages": n} for n in (0, 1, 2)]
    if setting.stages:
        changes += [{"stages": n} for n in range(setting.stages)]
    for change in changes:
        new = replace(setting, **change)
        if "pipeline" in new.passes and "scalarize" not in new.passes and case.design.stage is Stage.TENSOR:
            continue
        if new != setting:
            yield replace(case, setting=new)


def _fewer_outputs(case: Case) -> Iterator[Case]:
    outputs = case.design.outputs
    if len(outputs) > 1:
        for i in range(len(outputs)):
            yield _with(case, outputs=(*outputs[:i], *outputs[i + 1 :]))


def _earlier_outputs(case: Case) -> Iterator[Case]:
    """The values inside as the only output, first ones first."""
    values = body(case.design)
    for value in values:
        if not isinstance(value, Param) and case.design.roots != (value,):
            first = replace(case.design.outputs[0], value=value, scale=(Fraction(1),), offset=(Fraction(0),))
            smaller = _with(case, outputs=(first,))
            if len(body(smaller.design)) < len(values):
                yield smaller


def _cut_inputs(case: Case) -> Iterator[Case]:
    """Values inside replaced by inputs of their type, last ones first."""
    values = body(case.design)
    ends = {o.value for o in case.design.outputs}
    for at, cut in reversed(list(enumerate(values))):
        if isinstance(cut, Param) or cut in ends:
            continue
        fresh = Param(cut.type, name=f"cut{at}")
        made: dict[Any, Any] = {cut: fresh}
        for value in values:
            if value in made:
                continue
            changed = any(made[v] is not v for v in value.operands)
            made[value] = with_operands(value, [made[v] for v in value.operands]) if changed else value  # type: ignore[arg-type]
        outputs = tuple(replace(o, value=made[o.value]) for o in case.design.outputs)
        params = [p for p in (*case.design.params, fresh) if p is fresh or p in _reached(outputs)]
        yield _with(case, params=tuple(params), outputs=outputs)


def _reached(outputs: Sequence[Any]) -> set[Any]:
    return set(topo([o.value for o in outputs]))


def _with(case: Case, **changes: Any) -> Case:
    return replace(case, design=replace(case.design, **changes))


# -- files ------------------------------------------------------------------------------------------------------------

_HEAD = "# fuzz: "


def save(case: Case, message: str, folder: Path = CRASHERS) -> Path:
    """Write a case as a crasher: the design, how to compile it, and what went wrong when it was found."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{case.name}.lir"
    found = message.splitlines()[0][:110]
    setting = {k: v for k, v in asdict(case.setting).items() if v != getattr(Setting(), k)}
    path.write_text(f"# Found: {found}\n{_HEAD}{json.dumps(setting)}\n{print_design(case.design)}")
    return path


def read(path: Path) -> Case:
    """A crasher as a case."""
    head = next((line for line in path.read_text().splitlines() if line.startswith(_HEAD)), f"{_HEAD}{{}}")
    setting = Setting(**json.loads(head.removeprefix(_HEAD)))
    return Case(path.stem, parse_file(path), setting)
