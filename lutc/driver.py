"""Load, run the pipeline, emit: what the command line and `import lutc` both use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Any

from lutc import plugins
from lutc.analysis.timing import longest_stage
from lutc.built import Build as Build
from lutc.built import simulate as simulate
from lutc.diagnostics import Diagnostic, LirError, error, shortened
from lutc.emit import Control
from lutc.ir.graph import Design, body, owners
from lutc.ir.latency import latency
from lutc.ir.ops import Rescale
from lutc.loading import LoadOptions
from lutc.lowering.unquantised import loading_for
from lutc.passes import pipelines
from lutc.passes.manager import Pass
from lutc.passes.pipeline import Pipeline, registered
from lutc.passes.pipelines import Step
from lutc.passes.registry import expanded
from lutc.report.contents import facts
from lutc.settings import Settings, unknown
from lutc.staging import Progress, Staged, approximating, wired
from lutc.staging import staged as staged
from lutc.target import Target
from lutc.text.parse import parse_file


def load(
    source: Any,
    example_inputs: Any = None,
    *,
    input_types: Mapping[str, str] | str | None = None,
    calibrate: Any = None,
    compare: bool = True,
    leaf_type: str | None = None,
    frontend: str | None = None,
) -> Design:
    """A design from a model: a path (`.lir`, `.onnx`, `.keras`, a folder ...) or a live model object.

    `input_types` gives formats to inputs that are never quantised: one for all, or one per input name.
    Unless `compare` is false, the design is compared with the model as its own framework runs it, where that is
    installed; `Design.compared` says what came of it. `leaf_type` is the format that leaves of decision trees are
    rounded to: the design then says what a score may differ by. `frontend` names the importer that is to read it,
    where the kind of the model does not say. Raises LirError listing everything that cannot be compiled exactly,
    or where the framework answers otherwise.

    Examples
    --------
    >>> import lutc, pathlib
    >>> text = "lir 1\\ndesign double(%x: u4) -> (y = %y) {\\n %y = scale %x, by=2\\n}\\n"
    >>> _ = pathlib.Path("double.lir").write_text(text)
    >>> design = lutc.load("double.lir")
    >>> design.run([0, 1, 15]).tolist()
    [0.0, 2.0, 30.0]
    """
    given = LoadOptions(input_types, calibrate, example_inputs, compare, leaf_type)
    chosen = plugins.frontend(frontend) if frontend is not None else None
    if isinstance(source, Design):
        given.only(kind="a design", where=source.name)
        return source
    if isinstance(source, str | Path):
        return _load_file(Path(source), given, chosen)
    if isinstance(source, bytes | bytearray | memoryview):
        help = "write them to a file whose suffix says its kind, and load its path"
        raise error("bytes do not say what kind of model they are", help=help)
    wrong: list[Diagnostic] = []
    taker = chosen or plugins.taker(source, wrong)
    if taker:
        return taker.load(source, given)
    raise _unread(f"no frontend takes a {type(source).__module__}.{type(source).__name__}", None, wrong)


def _load_file(path: Path, given: LoadOptions, chosen: plugins.Importer | None) -> Design:
    try:
        there = path.exists()
    except (OSError, ValueError):  # a name that no file can have
        there = False
    if not there:
        raise error("no such file", where=shortened(str(path), 200))
    if path.suffix == Design.extension and not chosen:
        given.only(kind="a .lir file", where=shortened(str(path), 200))
        return parse_file(path)
    wrong: list[Diagnostic] = []
    reader = chosen or plugins.reader(path, wrong)
    if reader:
        return reader.load(path, given)
    what = "this folder" if path.is_dir() else path.suffix or "files without a suffix"
    raise _unread(f"no frontend reads {what}", str(path), wrong)


def _unread(message: str, where: str | None, wrong: list[Diagnostic]) -> LirError:
    """That nothing reads a model; also what is wrong with the importers that could not be asked."""
    suffixes = [s for f in plugins.frontends() for s in f.suffixes]
    help = "lutc reads " + ", ".join(dict.fromkeys([Design.extension, *suffixes]))
    return LirError(Diagnostic(message, where=where, help=help), *plugins.broken_frontends(), *wrong)


def compile(
    source: Any,
    target: str | Settings = Settings.target,
    *,
    progress: Progress | None = None,
    **options: Any,
) -> Build:
    """Compile a model for a target.

    `options` are the fields of `Settings`, which says what each means, and what `load` takes besides the model. In
    the place of the target there may be `Settings` that were made before. `progress` is told what is being done.
    Raises LirError for settings that make no sense before any work is done, and for what `load` and the passes refuse.

    Examples
    --------
    >>> import lutc
    >>> design = lutc.loads("lir 1\\ndesign sum(%x: u4, %y: u4) -> (z = %z) {\\n %z = add %x, %y\\n}\\n")
    >>> build = lutc.compile(design, "xcvu13p", stages=2, hdl="vhdl")
    >>> build.report["latency_cycles"], build.report["ii"]
    (2, 1)
    """
    settings, loading = _sorted_out(target, options)
    approximating(planned(settings))
    tell = progress or (lambda text: None)
    tell("reading the model")
    with loading_for(settings.target):
        model = load(source, **loading)
    if settings.top:
        model = replace(model, name=settings.top)
    steps = planned(settings, model)
    found = staged(model, steps, settings, tell)
    tell("building the netlist")
    return _built(model, steps, found, settings)


def _signature() -> Signature:
    """What `compile` takes, each of its settings among it: for `help()` and for editors that ask."""
    first, _, progress, _ = signature(compile).parameters.values()
    taken = [
        *(
            Parameter(f.name, Parameter.KEYWORD_ONLY, default=f.default, annotation=f.type)
            for f in fields(Settings)
        ),
        progress,
        *(p for name, p in signature(load).parameters.items() if name != "source"),
    ]
    target, *others = (p.replace(kind=Parameter.KEYWORD_ONLY) for p in taken)
    return Signature(
        [first, target.replace(kind=Parameter.POSITIONAL_OR_KEYWORD), *others], return_annotation="Build"
    )


compile.__signature__ = _signature()  # type: ignore[attr-defined]


def _sorted_out(target: str | Settings, options: dict[str, Any]) -> tuple[Settings, dict[str, Any]]:
    """Options that are settings, and those of `load`."""
    asked = [f.name for f in fields(Settings)]
    loading = [name for name in signature(load).parameters if name != "source"]
    for name in options:
        if name not in asked and name not in loading:
            raise unknown(name, [*asked, *loading])
    given = {name: value for name, value in options.items() if name in asked}
    if isinstance(target, Settings) and given:
        help = "dataclasses.replace(settings, ...) makes other ones"
        raise error(f"the settings are made already, and {', '.join(given)} given again", help=help)
    settings = target if isinstance(target, Settings) else Settings(target=target, **given)
    return settings, {name: value for name, value in options.items() if name in loading}


def explained(settings: Settings, model: Design | None = None) -> list[Step]:
    """The standard pipeline with its reasons; of a model that is known, what it has no need of is left out.

    Raises LirError if that brings its own registers and others are asked for.
    """
    asked = settings.stages is not None or settings.clock_ns is not None
    cut = model is None or not latency(model)
    if model is not None and not cut and asked:
        raise registered(model, "name neither a clock nor a number of stages")
    return pipelines.steps(
        settings.clock_ns,
        settings.stages,
        settings.effort,
        settings.dsp,
        settings.approx_lsb,
        rescales=model is None or any(isinstance(v, Rescale) for owner in owners(model) for v in body(owner)),
        cut=cut,
        assume=settings.assume_inputs is not None,
    )


def planned(settings: Settings, model: Design | None = None) -> list[Pass]:
    """The passes that the settings ask for."""
    usual = [s.step for s in explained(settings, model)]
    return usual if settings.passes is None else expanded(settings.passes, usual)


def _built(
    model: Design,
    steps: Sequence[Pass],
    found: Staged,
    settings: Settings,
) -> Build:
    """The netlist of the last stage and the report."""
    device, fast = settings.device, settings.effort == "fast"
    stages, approximation, assumption = found.stages, found.approximation, found.assumption
    period = _clock(steps, device)
    design = _told_of_slowness(stages[-1][1] if stages else model, device, period)
    control = Control(settings.clock_enable and latency(design) > 0, settings.valid)
    modules = wired(design, settings, control, _notes(design, device, found))
    report = facts(
        design,
        modules,
        settings,
        period=period,
        stages=() if fast else stages,
        compared=model.compared,
    )
    if approximation:
        report["approximation"] = approximation.facts()
    if assumption:
        report["assumption"] = assumption.facts
    report["top"], names = settings.backend.identifiers(modules)
    for port in (*report["inputs"], *report["outputs"]):
        port["port"] = names.get(port["name"])
    taken = approximation if approximation and approximation.taken else None
    certain = assumption if assumption and assumption.taken else None
    return Build(model, design, modules, control, settings, report, tuple(stages), taken, certain)


def _clock(steps: Sequence[Pass], device: Target) -> float | None:
    """The clock period that the passes cut for, if any."""
    cut = next((step for step in steps if isinstance(step, Pipeline)), None)
    return (cut.period or device.clock_ns) if cut and cut.stages is None else None


def _told_of_slowness(design: Design, device: Target, period: float | None) -> Design:
    """The design with a note if a stage takes longer than the clock period asked for."""
    needed = longest_stage(design, device)
    if period is None or not latency(design) or needed <= period + 1e-9:
        return design
    note = f"a stage takes {needed:.2f} ns by the delay model, and the clock period is {period:.2f} ns"
    return replace(design, notes=(*design.notes, note))


def _notes(design: Design, device: Target, found: Staged) -> dict[str, str]:
    """The facts that stand in the header of the top module."""
    kinds = {"approximation": found.approximation, "assumption": found.assumption}
    said = {name: kind.said for name, kind in kinds.items() if kind and kind.taken}
    return {
        **said,
        "target": device.part,
        "latency": f"{latency(design)} cycles",
        "initiation interval": "1 cycle",
    }
