"""A text checked as a whole, its design asked, and its runs held against it (ir_spec/meaning.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from .check import Checked, Checker
from .formats import Numbers, Problem, Type, into
from .text import File, read


@dataclass
class Program:
    """A text without problems has a design, which can be run."""

    file: File
    checker: Checker
    design: Checked | None

    @property
    def problems(self) -> list[Problem]:
        return sorted(self.file.problems, key=lambda p: p.line)

    def ready(self) -> Checked:
        assert self.design is not None and not self.file.problems
        return self.design

    def types(self) -> dict[str, Type]:
        """The type of each value of the design."""
        return {name: v.type for name, v in self.ready().values.items() if v.type is not None}

    def codes_at_inputs(self, numbers: Mapping[str, Sequence[Fraction]]) -> list[Numbers]:
        """Real numbers of the outside as numbers of the inputs' formats."""
        out = []
        for port in self.ready().body.inputs:
            said = self.checker.ports[port.name]
            assert port.type is not None
            out.append(
                tuple(
                    into((number - said["offset"]) / said["scale"], kind, said["round"], said["overflow"])
                    for number, kind in zip(numbers[port.name], port.type.formats, strict=True)
                )
            )
        return out

    def run(self, numbers: Mapping[str, Sequence[Fraction]]) -> dict[str, list[Fraction]]:
        """Real numbers at the outputs for real numbers at the inputs."""
        design = self.ready()
        known = design.compute(self.codes_at_inputs(numbers))
        out = {}
        for port in design.body.outputs:
            said = self.checker.ports[port.name]
            scale, offset = said["scale"], said["offset"]
            out[port.name] = [
                scale[i % len(scale)] * number + offset[i % len(offset)]
                for i, number in enumerate(known[port.value])
            ]
        return out

    def broken_runs(self) -> list[Problem]:
        """What the runs of the text say and the design does not."""
        design = self.ready()
        out = []
        for run in self.file.runs:
            given = {a.name: self.checker.run_numbers(design, a) or [] for a in run.inputs}
            answers = self.run(given)
            for said in run.outputs:
                wanted = self.checker.run_numbers(design, said) or []
                if wanted != answers[said.name]:
                    out.append(
                        Problem(said.line, "text#notes-and-runs", f"{said.name} is {answers[said.name]}")
                    )
        return out


def load(text: str, folder: Path) -> Program:
    file = read(text)
    checker = Checker(file, folder)
    design = None if file.problems and not file.designs else checker.check()
    return Program(file, checker, design)


def load_file(path: Path) -> Program:
    return load(path.read_text(encoding="utf-8-sig"), path.parent)
