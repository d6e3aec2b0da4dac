"""Load, run the pipeline, emit: what the command line and `import lutc` both use."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lutc import plugins, settings
from lutc import target as targets
from lutc.analysis.timing import longest_stage
from lutc.cmvm.search import EFFORTS
from lutc.diagnostics import error, shortened
from lutc.emit import Control, netlist
from lutc.files.folder import check, exchange, held, names
from lutc.files.manifest import changed, lack, listed
from lutc.files.writing import naming
from lutc.ir.graph import Design, body, owners
from lutc.ir.latency import latency
from lutc.ir.ops import Rescale
from lutc.passes.approximate.worth import Approximation, weighed
from lutc.passes.context import Context
from lutc.passes.manager import Pass, run
from lutc.passes.pipelines import standard
from lutc.passes.sums.dsp import MODES
from lutc.report.facts import facts
from lutc.rtl.nets import Module
from lutc.text.parse import parse_file
from lutc.text.print import Known, print_design

Progress = Callable[[str], None]


def load(
    source: Any,
    example_inputs: Any = None,
    *,
    input_types: Mapping[str, str] | str | None = None,
    calibrate: Any = None,
    compare: bool = True,
) -> Design:
    """A design from a model: a path (`.lir`, `.onnx`, `.keras`, a folder ...) or a live model object.

    `input_types` gives formats to inputs that are never quantised: one for all, or one per input name.
    Unless `compare` is false, the design is compared with the model as its own framework runs it, where that is
    installed; `Design.compared` says what came of it. Raises LirError listing everything that cannot be compiled
    exactly, or where the framework answers otherwise.

    Examples
    --------
    >>> import lutc, pathlib
    >>> text = "lir 1\\ndesign double(%x: u4) -> (y = %y) {\\n %y = scale %x, by=2\\n}\\n"
    >>> _ = pathlib.Path("double.lir").write_text(text)
    >>> design = lutc.load("double.lir")
    >>> design.run([0, 1, 15]).tolist()
    [0.0, 2.0, 30.0]
    """
    kinds, samples = settings.input_types(input_types), settings.samples(calibrate)
    given = plugins.LoadOptions(kinds, samples, example_inputs, compare)
    if isinstance(source, Design):
        given.only(kind="a design", where=source.name)
        return source
    if isinstance(source, str | Path):
        return _load_file(Path(source), given)
    if isinstance(source, bytes | bytearray | memoryview):
        help = "write them to a file whose suffix says its kind, and load its path"
        raise error("bytes do not say what kind of model they are", help=help)
    for frontend in plugins.frontends():
        if frontend.matches(source):
            return frontend.load(source, given)
    raise error(f"no frontend takes a {type(source).__module__}.{type(source).__name__}", help=_known_kinds())


def _load_file(path: Path, given: plugins.LoadOptions) -> Design:
    try:
        there = path.exists()
    except (OSError, ValueError):  # a name that no file can have
        there = False
    if not there:
        raise error("no such file", where=shortened(str(path), 200))
    if path.suffix == Design.extension:
        given.only(kind="a .lir file", where=shortened(str(path), 200))
        return parse_file(path)
    frontend = plugins.reader(path)
    if frontend:
        return frontend.load(path, given)
    what = "this folder" if path.is_dir() else path.suffix or "files without a suffix"
    raise error(f"no frontend reads {what}", where=str(path), help=_known_kinds())


def _known_kinds() -> str:
    suffixes = [s for f in plugins.frontends() for s in f.suffixes]
    return "lutc reads " + ", ".join(dict.fromkeys([Design.extension, *suffixes]))


@dataclass(frozen=True)
class Build:
    """A compiled design: the source it means the same as, the final scalar stage, the netlist and the report.

    With an `approximation`, the circuit means the same as `approximation.near`, and about the same as the source.

    Examples
    --------
    >>> import lutc
    >>> design = lutc.loads("lir 1\\ndesign sum(%x: u4, %y: u4) -> (z = %z) {\\n %z = add %x, %y\\n}\\n")
    >>> build = lutc.compile(design, clock_ns=2.0)
    >>> sorted(build.files)
    ['sum.v']
    >>> build.run([3], [4]).tolist()
    [7.0]
    >>> sorted(path.name for path in build.write("build").iterdir() if not path.name.startswith("."))
    ['model.lir', 'report.json', 'rtl', 'sim', 'stages']
    """

    source: Design
    design: Design
    modules: tuple[Module, ...]
    control: Control
    hdl: str
    report: dict[str, Any]
    stages: tuple[tuple[str, Design], ...] = field(repr=False, default=())
    approximation: Approximation | None = field(repr=False, default=None)

    @property
    def reference(self) -> Design:
        """What the circuit means the same as, bit for bit."""
        return self.approximation.near if self.approximation else self.source

    @property
    def files(self) -> dict[str, str]:
        """The HDL, by file name."""
        emit: Callable[..., dict[str, str]] = plugins.backend(self.hdl)
        return emit(self.modules, _header(self.report))

    def run(self, /, *inputs: Any, **named: Any) -> Any:
        """What the circuit answers, by the interpreter on the final stage; see `lutc.ir.interp.run`."""
        return self.design.run(*inputs, **named)

    def write(self, folder: str | Path, *, vectors: int = 1000, user_vectors: Any = None) -> Path:
        """Write the build folder: model.lir, stages/, rtl/, sim/, report.json. It is complete or not there at all.

        An approximation is beside them as approximated.lir; the bench compares the circuit with that.
        Of a design compiled with the effort "fast", stages/ holds the last stage alone.
        `vectors` counts the bench's random and corner vectors; `user_vectors` are rows of real numbers, by input
        name, that come before them. Of what was in `folder`, a build's own files are replaced (those that it lists in
        `.lutc-files.json`), and what was put beside them stays. Raises LirError if `folder` holds something that is
        no build, or one whose files were edited; OSError where it cannot be written.
        """
        settings.vectors(vectors, bool(user_vectors))
        exchange(_place(folder), str(folder), lambda new: self._fill(new, vectors, user_vectors))
        return Path(folder)

    def _fill(self, folder: Path, vectors: int, user_vectors: Any) -> None:
        known: Known = {}
        shown, text = self.source, print_design(self.source, known=known)
        _put(folder / "model.lir", text)
        if self.approximation:
            _put(folder / "approximated.lir", print_design(self.reference, known=known))
        (folder / "stages").mkdir()
        for number, (name, design) in enumerate(self.stages, 1):
            if self.report["effort"] == "fast" and number < len(self.stages):
                continue
            if design is not shown:  # a pass may leave it as it is
                text, shown = print_design(design, known=known), design
            _put(folder / "stages" / f"{number:02}-{name}.lir", text)
        (folder / "rtl").mkdir()
        files = self.files
        for name, text in files.items():
            _put(folder / "rtl" / name, text)
        bench = plugins.backend("bench")
        bench.write(
            folder,
            self.reference,
            self.modules,
            hdl=self.hdl,
            files=[f"rtl/{n}" for n in files],
            latency=latency(self.design),
            valid=self.control.valid,
            count=vectors,
            user=user_vectors,
        )
        if self.approximation and user_vectors:
            self.report["approximation"] = self.approximation.facts(user_vectors)
        _put(folder / "report.json", json.dumps(self.report, indent=2) + "\n")


def _place(folder: str | Path) -> Path:
    """Where a folder really is, behind links. Raises LirError for the empty path, which is none."""
    if not os.fspath(folder):
        raise error("the path of the folder is empty", help="the folder that you are in is .")
    return Path(os.path.realpath(folder))


def may_write(folder: str | Path) -> None:
    """Raise LirError if no build may come to a folder, because it holds other things; said before the work."""
    check(_place(folder), str(folder))


@contextmanager
def alone(folder: str | Path) -> Iterator[None]:
    """Keep other lutcs out of a build folder."""
    _place(folder).parent.mkdir(parents=True, exist_ok=True)
    with held(_place(folder)):
        yield


def _put(path: Path, text: str) -> None:
    with naming(path):
        path.write_text(text)


def checked(
    target: str,
    *,
    clock_ns: Any = None,
    stages: Any = None,
    hdl: Any = "verilog",
    clock_enable: Any = False,
    valid: Any = False,
    top: Any = None,
    effort: Any = "normal",
    dsp: Any = "none",
    approx_lsb: Any = 0.0,
    check: Any = 0,
) -> targets.Target:
    """The target, if all that `compile` is asked for makes sense. Raises LirError before any work is done."""
    if clock_ns is not None and stages is not None:
        raise error("a clock period and a number of stages exclude each other", help="give one of them")
    if clock_ns is not None:
        settings.period(clock_ns)
    if stages is not None:
        settings.stages(stages)
    settings.choice(hdl, "hardware description language", plugins.languages())
    settings.flag(clock_enable, "clock_enable")
    settings.flag(valid, "valid")
    if top is not None:
        settings.name(top, "a design")
    settings.choice(effort, "effort", EFFORTS)
    settings.choice(dsp, "choice of DSP blocks", MODES)
    settings.lsb(approx_lsb)
    settings.count(check, "a number of vectors to check with", settings.VECTORS)
    return targets.load(target)


def compile(
    source: Any,
    target: str = targets.USUAL,
    *,
    clock_ns: float | None = None,
    stages: int | None = None,
    hdl: str = "verilog",
    clock_enable: bool = False,
    valid: bool = False,
    top: str | None = None,
    effort: str = "normal",
    dsp: str = "none",
    approx_lsb: float = 0.0,
    passes: list[Pass] | None = None,
    check: int = 0,
    progress: Progress | None = None,
    **loading: Any,
) -> Build:
    """Compile a model (see `load`, which takes `loading`) for a target.

    `clock_ns` is the clock period to meet, or `stages` the ranks of registers to cut the design into (0: none); if
    neither is given, the target's usual clock. `effort` (fast, normal or high) is how long to look for a smaller
    circuit; the answer is the same every time; `fast` verifies only the last stage. `dsp` says which products go to
    DSP blocks: `none`, `auto` (those that cost more LUTs than a block is worth on the target) or `all`; what a `.lir`
    sends there stays there. `check` random vectors are compared before and after every pass.

    With `approx_lsb` above 0, outputs may be off by so many units of their least significant bits; that they are not
    off by more is proven, and the circuit, the folder and the report say so. See `lutc.passes.approximate.approximate`.

    Examples
    --------
    >>> import lutc
    >>> design = lutc.loads("lir 1\\ndesign sum(%x: u4, %y: u4) -> (z = %z) {\\n %z = add %x, %y\\n}\\n")
    >>> build = lutc.compile(design, "xcvu13p", stages=2, hdl="vhdl")
    >>> build.report["latency_cycles"], build.report["ii"]
    (2, 1)
    """
    device = checked(
        target,
        clock_ns=clock_ns,
        stages=stages,
        hdl=hdl,
        clock_enable=clock_enable,
        valid=valid,
        top=top,
        effort=effort,
        dsp=dsp,
        approx_lsb=approx_lsb,
        check=check,
    )
    if approx_lsb and passes is not None:
        raise error(
            "passes of your own leave no place for approx_lsb", help="put Approximate(lsb) among them"
        )
    tell = progress or (lambda text: None)
    tell("reading the model")
    model = load(source, **loading)
    if top:
        model = replace(model, name=top)
    if stages is None and clock_ns is None and latency(model):
        stages = 0  # it brings its own registers
    rescales = any(isinstance(v, Rescale) for owner in owners(model) for v in body(owner))
    cut = -1 if stages is None else stages
    usual = standard(clock_ns or 0.0, cut, effort, dsp, approx_lsb, rescales)
    steps = usual if passes is None else passes
    dumps: list[tuple[str, Design]] = []

    def begin(number: int) -> None:
        if number <= len(steps):
            tell(f"{steps[number - 1].name} ({number} of {len(steps)})")

    def observe(number: int, step: Pass, design: Design) -> None:
        dumps.append((step.name, design))
        begin(number + 1)

    begin(1)
    context = Context(device, effort)
    design = run(model, steps, context, check=check, observer=observe, each=effort != "fast")
    approximation = weighed(model, steps, dumps, context)
    if approximation and not approximation.pays:
        dumps = approximation.exact_stages
        design = dumps[-1][1] if dumps else model
    period = clock_ns or (device.clock_ns if stages is None else None)
    design = _told_of_slowness(design, device, period)
    control = Control(clock_enable and latency(design) > 0, valid)
    tell("building the netlist")
    luts = hdl == "verilog" and device.named_luts
    notes = _notes(design, device, approximation)
    modules = tuple(netlist(design, control, notes, luts=luts, tables=effort != "fast"))
    report = facts(
        design,
        device,
        hdl=hdl,
        period=period,
        control={"clock_enable": control.clock_enable, "valid": valid},
        effort=effort,
        dsp=dsp,
        stages=() if effort == "fast" else dumps,
        compared=model.compared,
    )
    if approximation:
        report["approximation"] = approximation.facts()
    report["top"], names = plugins.backend("bench").identifiers(modules)
    for port in (*report["inputs"], *report["outputs"]):
        port["port"] = names.get(port["name"])
    if approximation and not approximation.pays:
        approximation = None
    return Build(model, design, modules, control, hdl, report, tuple(dumps), approximation)


def _told_of_slowness(design: Design, device: targets.Target, period: float | None) -> Design:
    """The design with a note if a stage takes longer than the clock period asked for."""
    needed = longest_stage(design, device)
    if period is None or not latency(design) or needed <= period + 1e-9:
        return design
    note = f"a stage takes {needed:.2f} ns by the delay model, and the clock period is {period:.2f} ns"
    return replace(design, notes=(*design.notes, note))


def _notes(design: Design, device: targets.Target, approximation: Approximation | None) -> dict[str, str]:
    """The facts that stand in the header of the top module."""
    said = {"approximation": approximation.said} if approximation and approximation.pays else {}
    return {
        **said,
        "target": device.part,
        "latency": f"{latency(design)} cycles",
        "initiation interval": "1 cycle",
    }


def _header(report: dict[str, Any]) -> str:
    return f"Generated by lutc {report['lutc']}. Yours to use under any terms you like."


_AGAIN = (
    "compile again, into another folder or when this one is moved away; or put back the files as they were"
)


def simulate(folder: str | Path) -> Any:
    """Run a build folder's bench again. Returns the result of `lutc.backends.simulate.simulate`.

    Raises LirError, naming the files, unless the build is there whole and as lutc wrote it: a verdict on anything
    else would be taken for one on the model.

    Examples
    --------
    >>> import lutc
    >>> design = lutc.loads("lir 1\\ndesign sum(%x: u4, %y: u4) -> (z = %z) {\\n %z = add %x, %y\\n}\\n")
    >>> result = lutc.simulate(lutc.compile(design).write("build", vectors=20))
    >>> result.passed, result.vectors
    (True, 20)
    """
    path = Path(folder)
    with held(_place(path), always=False):
        digests = listed(path)
        if digests is None and not (path / "sim").is_dir():
            raise error(
                "no build of lutc's", where=str(path), help="make one: lutc compile MODEL -o " + str(path)
            )
        if digests is None:
            raise error(f"nothing says which files lutc wrote: {lack(path)}", where=str(path), help=_AGAIN)
        if wrong := changed(path, digests):
            raise error(f"the build is not as lutc wrote it: {names(wrong)}", where=str(path), help=_AGAIN)
        bench = plugins.backend("bench")
        if strange := [Path(name) for name in bench.reads(path) if name not in digests]:
            raise error(
                f"lutc did not write all of the build: {names(strange)}", where=str(path), help=_AGAIN
            )
        return bench.simulate(path)
