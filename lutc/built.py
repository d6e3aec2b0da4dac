"""What comes out: a compiled design, its build folder, and the folder's bench."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lutc import plugins
from lutc.choices import SIMULATORS
from lutc.diagnostics import error, shortened
from lutc.emit import Control
from lutc.files.folder import check, exchange, held, names
from lutc.files.manifest import changed, lack, listed
from lutc.files.writing import naming
from lutc.ir.graph import Design
from lutc.ir.latency import latency
from lutc.passes.approximate.worth import Approximation
from lutc.passes.assume.worth import Assumption
from lutc.report.notebook import build_html
from lutc.rtl.nets import Module
from lutc.settings import Settings
from lutc.settings import vectors as checked_vectors
from lutc.text.print import Known, print_design
from lutc.types import Type

_ASSUMED = 1000  # rows of an assumption in a bench that has no other vectors


@dataclass(frozen=True)
class Build:
    """A compiled design: the source it means the same as, the final scalar stage, the netlist and the report.

    With an `approximation`, the circuit means the same as `approximation.near`, and about the same as the source.
    With an `assumption`, the same as `assumption.near`, which answers to the assumed rows as the source does.

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
    settings: Settings
    facts: dict[str, Any] = field(repr=False)
    stages: tuple[tuple[str, Design], ...] = field(repr=False, default=())
    approximation: Approximation | None = field(repr=False, default=None)
    assumption: Assumption | None = field(repr=False, default=None)

    @property
    def reference(self) -> Design:
        """What the circuit means the same as, bit for bit."""
        changed = self.approximation or self.assumption
        return changed.near if changed else self.source

    @property
    def report(self) -> dict[str, Any]:
        """What `report.json` says; a copy, for it is true of the build whatever is done with it."""
        return deepcopy(self.facts)

    @property
    def hdl(self) -> str:
        """The emitter's name."""
        return self.settings.hdl

    @property
    def files(self) -> dict[str, str]:
        """The HDL, by file name."""
        facts = self.facts
        notes = [
            f"The circuit takes {facts['latency_cycles']} clock cycles, and a sample every {facts['ii']}."
        ]
        return self.settings.backend.emit(self.modules, _header(facts), self.reference, notes)

    @property
    def models(self) -> dict[str, str]:
        """What simulators need besides and synthesis must not read, by file name."""
        return self.settings.backend.models(self.modules, _header(self.facts))

    def __repr__(self) -> str:
        return f"<Build {self.design.name} for {self.facts['part']}: {self.facts['estimate']['luts']:,} LUT>"

    def _repr_html_(self) -> str:
        return build_html(self.facts)

    def run(self, /, *inputs: Any, **named: Any) -> Any:
        """What the circuit answers, by the interpreter on the final stage; see `lutc.ir.interp.run`."""
        return self.design.run(*inputs, **named)

    def write(self, folder: str | Path, *, vectors: int = 1000, user_vectors: Any = None) -> Path:
        """Write the build folder: model.lir, stages/, rtl/, sim/, report.json. It is complete or not there at all.

        An approximation is beside them as approximated.lir; the bench compares the circuit with that. Without a
        simulator for what the emitter writes there is no bench.
        Where inputs were assumed, assumed.lir is what the bench compares with; it begins with assumed rows, whose
        answers are the source's too: as many as there are other vectors, or 1000 if there are none.
        Of a design compiled with the effort "fast", stages/ holds the last stage alone.
        `vectors` counts the bench's random and corner vectors; `user_vectors` are rows of real numbers, by input
        name, that come before them. Of what was in `folder`, a build's own files are replaced (those that it lists in
        `.lutc-files.json`), and what was put beside them stays. Raises LirError if `folder` holds something that is
        no build, or one whose files were edited; OSError where it cannot be written.
        """
        rows = _given(user_vectors)
        checked_vectors(vectors, rows is not None)
        exchange(_place(folder), str(folder), lambda new: self._fill(new, vectors, rows))
        return Path(folder)

    def _user_rows(self, rows: Mapping[str, Any] | None, vectors: int) -> Mapping[str, Any] | None:
        """What the bench begins with: assumed rows, if there are some, and the user's own."""
        if self.assumption is None:
            return rows
        assumed = self.assumption.rows(vectors or _ASSUMED)
        if not rows:
            return assumed
        params = {p.name or "": p.type for p in self.source.params}
        given = {next(iter(params)): rows[""]} if set(rows) == {""} and len(params) == 1 else rows
        try:
            return {name: _behind(assumed[name], given[name], kind) for name, kind in params.items()}
        except (KeyError, ValueError, TypeError):  # the bench says what is wrong with them
            return rows

    def write_like(self, folder: str | Path, like: Path) -> Path:
        """Write the build folder as `write` does, with the test vectors of another build of the same function.

        That build may be what stands in `folder`.
        """
        report = json.loads((like / "report.json").read_text())
        sim = like / "sim"
        count = json.loads((sim / "bench.json").read_text())["vectors"] if sim.is_dir() else 1

        def fill(new: Path) -> None:
            self._fill(new, count, None)
            for name in _VECTORS if sim.is_dir() else ():
                with naming(new / "sim" / name):
                    shutil.copyfile(sim / name, new / "sim" / name)
            if "approximation" in report:  # what was measured was so on these vectors
                facts = self.facts | {"approximation": report["approximation"]}
                _put(new / "report.json", json.dumps(facts, indent=2) + "\n")

        exchange(_place(folder), str(folder), fill)
        return Path(folder)

    def _fill(self, folder: Path, vectors: int, rows: Mapping[str, Any] | None) -> None:
        known: Known = {}
        shown, text = self.source, print_design(self.source, known=known)
        _put(folder / "model.lir", text)
        if self.approximation or self.assumption:
            name = "approximated.lir" if self.approximation else "assumed.lir"
            _put(folder / name, print_design(self.reference, known=known))
        (folder / "stages").mkdir()
        for number, (name, design) in enumerate(self.stages, 1):
            if self.facts["effort"] == "fast" and number < len(self.stages):
                continue
            if design is not shown:  # a pass may leave it as it is
                text, shown = print_design(design, known=known), design
            _put(folder / "stages" / f"{number:02}-{name}.lir", text)
        (folder / "rtl").mkdir()
        files = self.files
        for name, text in files.items():
            _put(folder / "rtl" / name, text)
        backend = self.settings.backend
        if backend.simulators:
            bench, models = plugins.bench(), self.models
            bench.write(
                folder,
                self.reference,
                self.modules,
                hdl=bench.simulators[backend.simulators[0]],
                files=[
                    *(f"rtl/{n}" for n in files if n.endswith(backend.suffix)),
                    *(f"sim/{n}" for n in models),
                ],
                latency=latency(self.design),
                valid=self.control.valid,
                count=vectors,
                user=self._user_rows(rows, vectors),
            )
            for name, text in models.items():
                _put(folder / "sim" / name, text)
        report = self.facts
        if self.approximation and rows:
            report = report | {"approximation": self.approximation.facts(rows)}
        _put(folder / "report.json", json.dumps(report, indent=2) + "\n")


def _behind(first: Any, second: Any, kind: Type) -> Any:
    """Rows of numbers behind others. Raises ValueError where the second are of another shape."""
    parts = [np.asarray(x) for x in (first, second)]
    if any(x.dtype.kind not in "fiub" for x in parts):  # fractions, or text that spells them
        parts = [x.astype(object) for x in parts]
    return np.concatenate([x.reshape(len(x), *kind.shape) for x in parts])


_VECTORS = ("inputs.hex", "outputs.hex")


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


def _given(rows: Any) -> Mapping[str, Any] | None:
    """Test vectors of the user's own, by name, if there are any."""
    if rows is None:
        return None
    if not isinstance(rows, Mapping) or not all(isinstance(name, str) for name in rows):
        help = 'write {"x": [[1, 2], [3, 4]]}, an array for each input, whose first dimension counts vectors'
        raise error(f"user_vectors are rows by input name, not {shortened(repr(rows))}", help=help)
    if rows and all(map(_empty, rows.values())):
        raise error("the test data hold no vectors", help="give at least one, or leave them out")
    return rows or None


def _empty(rows: Any) -> bool:
    try:
        return len(rows) == 0
    except TypeError:  # the bench says what is wrong with it
        return False


def _header(report: dict[str, Any]) -> str:
    return f"Generated by lutc {report['lutc']}. Yours to use under any terms you like."


_AGAIN = (
    "compile again, into another folder or when this one is moved away; or put back the files as they were"
)


def simulate(
    folder: str | Path,
    *,
    simulator: str = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> Any:
    """Run a build folder's bench again. Returns the result of `lutc.backends.simulate.simulate`.

    `simulator` is `icarus` or `verilator` for Verilog, `ghdl` for VHDL, or `auto`: what fits, and for thousands of
    vectors Verilator, where that is installed. `progress` is told the clock cycles done, and how many there are.

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
    if simulator not in SIMULATORS:
        raise error(f"there is no simulator {simulator!r}", help=f"one of: {', '.join(SIMULATORS)}")
    with held(_place(folder), always=False):
        path = whole(folder)
        if not (path / "sim").is_dir():
            help = "compile it again with --hdl verilog or --hdl vhdl"
            raise error("no simulator reads what this build's emitter writes", where=str(path), help=help)
        bench = plugins.bench()
        digests = listed(path) or {}
        if strange := [Path(name) for name in bench.reads(path) if name not in digests]:
            raise error(
                f"lutc did not write all of the build: {names(strange)}", where=str(path), help=_AGAIN
            )
        return bench.simulate(path, simulator=None if simulator == "auto" else simulator, progress=progress)


def whole(folder: str | Path) -> Path:
    """A build folder that is as lutc wrote it. Raises LirError, naming the files, for any other folder."""
    path = Path(folder)
    digests = listed(path)
    if digests is None and not (path / "sim").is_dir():
        raise error(
            "no build of lutc's", where=str(path), help="make one: lutc compile MODEL -o " + str(path)
        )
    if digests is None:
        raise error(f"nothing says which files lutc wrote: {lack(path)}", where=str(path), help=_AGAIN)
    if wrong := changed(path, digests):
        raise error(f"the build is not as lutc wrote it: {names(wrong)}", where=str(path), help=_AGAIN)
    return path
