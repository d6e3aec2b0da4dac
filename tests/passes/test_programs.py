"""Passes tested by programs: each file under `tests/lir/passes/` says what passes are to make of the design in it.

    # What the file shows, and why.
    # passes: collect, narrow            as for `lutc opt -p`; `standard` is the whole pipeline, with its options
    # target: ice40up5k                  or the name of a `.toml` file beside the folders; xcvu13p if it says nothing
    # effort: high                       fast, normal or high; normal if it says nothing
    # figures: luts=12 ffs=0 dsps=0 stages=1 ns=2.31    some of these, of the design behind the passes
    run x=[1, -0.5] => y=[1, 0]         the design behind the passes must answer so, and the one in front of them
    # margin: 0                          where passes assume: the rows are those of the `run` lines, with this margin
    # after:                             the text of the design behind the passes follows, as comments
    # after: the same                    or the passes find nothing to do: the comment says why they must not

Behind each pass the design answers as before: to all inputs where those have few bits, else to random ones; what
`approximate` does stays within what it proves, and what passes
that assume do changes no answer to a `run` line. `pytest --bless` rewrites answers, figures and the text behind the
passes, and never whether there is anything to do: read the difference before you keep it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from programs import rows_of, with_end, with_runs

from lutc.analysis.cost import costs
from lutc.analysis.flipflops import flip_flops
from lutc.analysis.timing import longest_stage
from lutc.assumed import Assumed, Rows
from lutc.emit import netlist
from lutc.ir.graph import Design, Stage
from lutc.ir.interp import execute
from lutc.ir.latency import latency
from lutc.passes import pipelines, registry
from lutc.passes.context import Context
from lutc.passes.manager import Pass, random_codes, read_passes, run
from lutc.target import Target
from lutc.text.parse import parse
from lutc.text.print import print_design

FOLDER = Path(__file__).parents[1] / "lir" / "passes"
FILES = sorted(FOLDER.rglob("*.lir"))
SAME = "\n# after: the same\n"
_FEW = 12  # bits of all inputs together of which every combination is tried
_VECTORS = 500  # else


@dataclass(frozen=True)
class Standard(Pass):
    """The word for the whole pipeline."""

    name: ClassVar[str] = "standard"
    period: float | None = None
    stages: int | None = None
    dsp: str = "none"
    approx_lsb: float = 0.0


def _named(name: str) -> type[Pass]:
    return Standard if name == Standard.name else registry.pass_named(name)


def steps_of(passes: str, context: Context) -> list[Pass]:
    """The passes that a header names."""
    steps: list[Pass] = []
    for step in read_passes(passes, _named):
        if isinstance(step, Standard):
            own = (step.period, step.stages, context.effort, step.dsp, step.approx_lsb)
            steps += pipelines.standard(*own, assume=context.assumed is not None)
        else:
            steps.append(step)
    return steps


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(FOLDER).with_suffix("")))
def test_program(path: Path, bless: bool) -> None:
    text = path.read_text()
    design = parse(text, path.name, path.parent)
    target = header(text, "target", "xcvu13p")
    target = str(FOLDER / target) if target.endswith(".toml") else target
    context = Context.of(target, header(text, "effort", "normal"))
    if margin := header(text, "margin", "none").removeprefix("none"):
        context = replace(
            context, assumed=Assumed.of(design, Rows.of(rows_of(design), path.name), int(margin))
        )
    steps = steps_of(header(text, "passes"), context)
    after = compared(design, steps, context)
    shown = print_design(after)
    untouched = shown == print_design(design)
    if text.endswith(SAME):
        assert untouched, f"the passes are to find nothing to do, and make this:\n{shown}"
    else:
        assert "\n# after:\n" in text, "the file does not say what comes after"
        assert not untouched, "the passes found nothing to do"
    new = with_figures(text, after, context.target)
    # A design that approximates or assumes carries no runs; the file says what it answers all the same.
    new = with_end(with_runs(new, replace(after, runs=design.runs)), "after", shown)
    exact = not any(step.tolerance(design, design) for step in steps)
    if exact:
        assert with_runs(new, design) == new, "the design in front of the passes answers something else"
    if bless:
        path.write_text(new)
        return
    assert new == text


def header(text: str, name: str, otherwise: str = "") -> str:
    """What the file says behind `# name:`. A file that says it twice, or must say it and does not, is mistaken."""
    found = re.findall(rf"^# {name}: *(.+)$", text, re.M)
    assert len(found) <= 1 and (found or otherwise), f"one line '# {name}: ...' is wanted"
    return found[0].strip() if found else otherwise


def compared(design: Design, steps: Sequence[Pass], context: Context) -> Design:
    """The design behind the passes, which answers as it did after each of them."""
    codes = inputs(design)
    want = execute(design, codes)
    rows = context.assumed.codes if context.assumed else None
    right = execute(design, rows) if rows else {}
    for step in steps:
        before, design = design, run(design, [step], context)
        for port, expected in right.items():
            assert rows and np.array_equal(execute(design, rows)[port], expected), (
                f"{step} changed output {port}"
            )
        got = execute(design, codes)
        if step.assumes:
            want = got
            continue
        tolerance = step.tolerance(before, design)
        for port, expected in want.items():
            off = (got[port] - expected).reshape(len(expected), -1)
            for column, (lo, hi) in zip(
                off.T, tolerance[port] if tolerance else [(0, 0)] * off.shape[1], strict=True
            ):
                assert np.all((column >= lo) & (column <= hi)), f"{step} changed output {port}"
        want = got
    return design


def inputs(design: Design) -> dict[str, Any]:
    """Codes for all ports: every combination there is, if there are few."""
    formats = [f for p in design.params for f in p.type.formats]
    if sum(f.width for f in formats) > _FEW:
        return random_codes(design, _VECTORS)
    rows = np.array(list(product(*(range(f.lo, f.hi + 1) for f in formats))), dtype=object)
    codes = {}
    for param in design.params:
        codes[param.name or ""] = rows[:, : param.type.size].reshape(len(rows), *param.type.shape)
        rows = rows[:, param.type.size :]
    return codes


def with_figures(text: str, design: Design, target: Target) -> str:
    """The text with the design's figures in its line `# figures: luts=12 ns=2.31`."""

    def line(match: re.Match[str]) -> str:
        known = figures(design, target)
        names = [part.partition("=")[0] for part in match[1].split()]
        assert not set(names) - set(known), f"the figures are {', '.join(known)}"
        return "# figures: " + " ".join(f"{name}={known[name]}" for name in names)

    return re.sub(r"^# figures: (.+)$", line, text, flags=re.M)


def figures(design: Design, target: Target) -> dict[str, str]:
    """LUTs, flip-flops and DSP blocks, ranks of registers, and the nanoseconds of the longest stage."""
    assert design.stage is Stage.SCALAR, "a design of tensors has no figures"
    layers = costs(design, target).values()
    return {
        "luts": f"{sum(c.luts for c in layers):.10g}",
        "ffs": str(flip_flops(netlist(design)).total() if latency(design) else 0),
        "dsps": str(sum(c.dsps for c in layers)),
        "stages": str(latency(design)),
        "ns": f"{longest_stage(design, target):.2f}",
    }


SMALL = """# passes: simplify
# figures: luts=4 stages=0
lir 1 scalar

design d(%x: s4) -> (y = %y) {
  %n = neg %x
  %y = neg %n
}

run x=3 => y=3
# after:
"""


def test_every_pass_has_its_files() -> None:
    folders = {p.name: [f for f in FILES if f.parent == p] for p in FOLDER.iterdir() if p.is_dir()}
    assert set(folders) == {p.name for p in pipelines.ALL} | {"standard"}
    for name, files in folders.items():
        assert len(files) >= 6, name
        assert name == "standard" or any(f.read_text().endswith(SAME) for f in files), (
            f"when does {name} not fire?"
        )
        for file in files:
            assert name in header(file.read_text(), "passes"), file


def test_the_expectations_are_compared(tmp_path: Path) -> None:
    """A file is blessed once, is then right, and is wrong with any of its answers changed."""
    path = tmp_path / "double.lir"
    path.write_text(SMALL)
    test_program(path, bless=True)
    right = path.read_text()
    assert "figures: luts=0 stages=0" in right and "# design d(%x: s4) -> (y = %v1) {" in right
    test_program(path, bless=False)
    for old, new in (
        ("luts=0", "luts=1"),
        ("=> y=3", "=> y=4"),
        ("# design d(%x: s4) -> (y = %v1)", "# design d(%x: s4) -> (y = %v2)"),
        ("simplify", "scalarize"),
    ):
        path.write_text(right.replace(old, new))
        with pytest.raises(AssertionError):
            test_program(path, bless=False)


def test_whether_there_is_anything_to_do_is_never_blessed(tmp_path: Path) -> None:
    path = tmp_path / "double.lir"
    idle, busy = SMALL.replace("simplify", "scalarize"), SMALL.replace("# after:", "# after: the same")
    for text, message in ((idle, "nothing to do"), (busy, "nothing to do, and make this")):
        path.write_text(text)
        with pytest.raises(AssertionError, match=message):
            test_program(path, bless=True)
        assert path.read_text() == text


def test_the_seeded_faults_have_their_places() -> None:
    """So that `tools/seeded-faults` can be run: each fault's piece of source is there once, and each pass has one."""
    root = Path(__file__).parents[2]
    faults = tomllib.loads((root / "tools" / "seeded-faults.toml").read_text())["fault"]
    assert {f["pass"] for f in faults} == {p.name for p in pipelines.ALL} | {"standard"}
    for fault in faults:
        assert (root / fault["file"]).read_text().count(fault["text"]) == 1, fault
        assert fault["instead"] != fault["text"], fault
