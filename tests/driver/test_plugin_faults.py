"""What packages do wrong when they are used: it is told as theirs by name, and nothing is written."""

from __future__ import annotations

import re
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest
from command import Run
from packages import EMITTER, IMPORTER, PASS, Make, _make, _run

import lutc
from lutc import target as targets
from lutc.diagnostics import LirError

__all__ = ["_make", "_run"]  # the fixtures `make` and `run`

PORTS = """\
lir 1
design d(%p: s4, %q: s4) -> (a = %a, b = %b) {
  %a = neg %p
  %b = add %p, %q
}
"""


def _pass_of(does: str) -> str:
    """The toy pass, with another body."""
    body = PASS.partition("            return replace")[0] + f"            {does}\n"
    return body.replace("replace\n", "replace\n    from lutc.ir.graph import *\n", 1)


def _told(run: Run, *words: str) -> str:
    before = sorted(Path().rglob("*"))
    told = run(*words, code=2).stderr
    assert sorted(Path().rglob("*")) == before
    assert "bug in lutc" not in told and "pip uninstall bad" in told
    return told


# -- passes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("does", "said"),
    [
        (
            "return replace(design, outputs=tuple(replace(o, scale=(7,)) for o in design.outputs))",
            "changed the scale of output 'a': 1 became 7",
        ),
        (
            "return replace(design, outputs=tuple(replace(o, offset=(7,)) for o in design.outputs))",
            "changed the offset of output 'b': 0 became 7",
        ),
        ("return replace(design, params=design.params[::-1])", "changed the inputs: p, q became q, p"),
        ("return replace(design, outputs=design.outputs[::-1])", "changed the outputs: a, b became b, a"),
        ("return replace(design, outputs=design.outputs[:1])", "changed the outputs: a, b became a"),
        (
            "return replace(design, outputs=(*design.outputs, replace(design.outputs[0], name='c')))",
            "changed the outputs",
        ),
        (
            "return replace(design, outputs=(replace(design.outputs[0], name='c'), design.outputs[1]))",
            "changed the outputs",
        ),
        (
            "return replace(design, outputs=(replace(design.outputs[0], value=design.params[0]), design.outputs[1]))",
            "changed the format of output 'a': s5 became s4",
        ),
        ("return replace(design, name='other')", "changed the design's name: d became other"),
        (
            "x = replace(design.params[0], scale=2)\n"
            "            return replace(design, params=(x, *design.params[1:]))",
            "changed the scale of input 'p': 1 became 2",
        ),
        (
            "x = replace(design.params[0], name='c')\n"
            "            return replace(design, params=(x, *design.params[1:]))",
            "changed the inputs",
        ),
        (
            "x = replace(design.params[0])\n            return replace(design, params=(x, *design.params[1:]))",
            "made what is no design: ",
        ),
        ("return None", "gave a NoneType in place of a design"),
        ("return replace(design, outputs=3)", "failed: TypeError"),
        ("1 / 0", "failed: ZeroDivisionError: division by zero"),
        ("raise SystemExit(0)", "failed: SystemExit: 0"),
        ("open('/nonexistent/plug')", "failed: FileNotFoundError"),
    ],
)
def test_what_a_pass_does_wrong(make: Make, run: Run, does: str, said: str) -> None:
    make("bad", _pass_of(does), "passes:remark = bad:Remark")
    Path("d.lir").write_text(PORTS)
    told = _told(run, "opt", "d.lir", "-p", "scalarize, remark", "-o", "out.lir")
    assert f"the pass 'remark' of the package bad 1.2 {said}" in told
    from bad import Remark  # type: ignore[import-not-found]

    from lutc.passes.scalarize import Scalarize

    for effort in ("fast", "normal"):
        with pytest.raises(LirError, match=r"the package bad 1\.2"):
            lutc.compile("d.lir", passes=[Scalarize(), Remark(), Scalarize()], effort=effort)


@pytest.mark.parametrize(
    ("promise", "said"),
    [("{}", "has a tolerance"), ("{'y': [(0, 0)] * 2}", "has a tolerance"), ("{'y': [3]}", "failed")],
)
def test_a_pass_that_promises_nonsense(make: Make, run: Run, promise: str, said: str) -> None:
    does = f"return design\n\n        def tolerance(self, a, b): return {promise}"
    make("bad", _pass_of(does), "passes:remark = bad:Remark")
    assert f"the package bad 1.2 {said}" in _told(run, "opt", "d.lir", "-p", "remark", "--check")


def test_a_pass_that_is_called_otherwise(make: Make, run: Run) -> None:
    make("bad", PASS.replace("self, design, context", "self, design"), "passes:remark = bad:Remark")
    assert "the package bad 1.2 failed: TypeError" in _told(run, "opt", "d.lir", "-p", "remark")


def test_where_it_is_wrong_can_be_seen(make: Make, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from click.testing import CliRunner

    from lutc.cli import main

    make("bad", _pass_of("1 / 0"), "passes:remark = bad:Remark")
    assert "LUTC_TRACEBACK=1" in _told(run, "opt", "d.lir", "-p", "remark")
    monkeypatch.setenv("LUTC_TRACEBACK", "1")
    done: Any = CliRunner().invoke(main, ["opt", "d.lir", "-p", "remark"])
    assert isinstance(done.exception.__cause__, ZeroDivisionError)


OPTIONS = """
    from __future__ import annotations
    from dataclasses import dataclass, field
    from typing import ClassVar, Literal
    from lutc.passes.manager import Pass

    @dataclass(frozen=True)
    class Options(Pass):
        name: ClassVar[str] = "options"
        most: int
        way: Literal["up", "down", 3] = "up"
        some: list[int] = field(default_factory=list)
        n: int | None = 5
        exact: bool = True

        def __post_init__(self):
            if self.most < 0:
                raise ValueError("most is 0 or more")

        def __call__(self, design, context):
            return design
"""


def test_options_by_their_annotations(make: Make, run: Run) -> None:
    from lutc.passes.registry import parse

    make("good", OPTIONS, "passes:options = good:Options")
    (shown, about) = run("passes").stdout.splitlines()[-2:]
    assert shown.startswith("options{most=..., way=up, some=[], n=5, exact=True}  (of the package good")
    assert about.strip() == "(it says nothing of itself)"
    (step,) = parse("options{most=3, way=down, n=none, exact=false}")
    assert str(step) == "options{most=3, way=down, n=none, exact=False}" and parse(str(step)) == [step]
    assert vars(parse("options{most=3, way=3}")[0])["way"] == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("options", "needs most"),
        ("options{most=1, way=sideways}", "options{way} cannot be 'sideways'"),
        ("options{most=1, way=sideways}", "give up or down or 3"),
        ("options{most=1, some=3}", "can be set in Python alone"),
        ("options{most=none}", "give a whole number"),
        ("options{most=-1}", "options{most=-1}: most is 0 or more"),
    ],
)
def test_options_that_are_none(make: Make, run: Run, text: str, said: str) -> None:
    make("good", OPTIONS, "passes:options = good:Options")
    told = run("opt", "d.lir", "-p", text, code=2).stderr
    assert said in told and "pip uninstall" not in told


@pytest.mark.parametrize(
    ("change", "said"),
    [(("most: int", "most: Nowhere"), "NameError"), (("ValueError(", "KeyError("), "KeyError")],
)
def test_options_whose_code_is_wrong(make: Make, run: Run, change: tuple[str, str], said: str) -> None:
    make("bad", OPTIONS.replace(*change), "passes:options = bad:Options")
    assert f"the package bad 1.2 failed: {said}" in _told(run, "opt", "d.lir", "-p", "options{most=-1}")


def test_a_pass_that_cannot_be_listed(make: Make, run: Run) -> None:
    make(
        "bad",
        OPTIONS.replace("default_factory=list", "default_factory=lambda: 1 / 0"),
        "passes:options = bad:Options",
    )
    listed = run("passes")
    assert "narrow" in listed.stdout and "of the package bad 1.2 failed: ZeroDivisionError" in listed.stderr


@pytest.mark.parametrize("name", ["has space", "dot.ted", "we/ird"])
def test_passes_that_could_not_be_called(make: Make, run: Run, name: str) -> None:
    make("bad", PASS.replace('"remark"', repr(name)), f"passes:{name} = bad:Remark")
    assert "has a name that -p cannot call" in run("passes").stderr
    make("mine", PASS.replace('"remark"', repr(name)))
    from mine import Remark  # type: ignore[import-not-found]

    with pytest.raises(LirError, match="is no pass"):
        lutc.compile("d.lir", passes=[Remark()])


# -- importers and emitters -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("return b.design()", "return None"), "gave a NoneType in place of a design"),
        (("return b.design()", "return 'lir 1'"), "gave a str in place of a design"),
        (("return b.design()", "raise SystemExit(0)"), "failed: SystemExit: 0"),
        (("return b.design()", "return open('/nonexistent/plug')"), "failed: FileNotFoundError"),
        (("self, source, options", "self, source"), "failed: TypeError"),
        (
            (
                "return b.design()",
                "d = b.design(); from dataclasses import replace; return replace(d, name='no name')",
            ),
            "made what is no design: 'no name'",
        ),
        (
            ("def matches", "def reads(self, path): return path.nothing\n\n        def matches"),
            "AttributeError",
        ),
    ],
)
def test_what_an_importer_does_wrong(make: Make, run: Run, change: tuple[str, str], said: str) -> None:
    text = IMPORTER.replace(*change).replace('(".num",)', "()" if "reads" in change[1] else '(".num",)')
    make("bad", text, "frontends:numbers = bad:NUMBERS")
    Path("m.num").touch()
    told = _told(run, "compile", "m.num", "--stages", "0")
    assert "the importer 'numbers' of the package bad 1.2" in told and said in told


def test_an_importer_that_cannot_be_asked(make: Make, run: Run) -> None:
    """It is missed only where nothing else takes a model."""
    make("bad", IMPORTER.replace("source == 42", "1 / 0"), "frontends:numbers = bad:NUMBERS")
    with pytest.raises(
        LirError, match=r"no frontend takes(.|\n)*'numbers' of the package bad 1.2 failed: Zero"
    ):
        lutc.load(42)
    make("good", IMPORTER.replace('"numbers"', '"others"'), "frontends:others = good:NUMBERS")
    assert lutc.load(42).name == "number"


def test_a_file_that_cannot_be_read_is_no_fault_of_the_importer(make: Make, run: Run) -> None:
    make(
        "bad", IMPORTER.replace("return b.design()", "return open(source)"), "frontends:numbers = bad:NUMBERS"
    )
    Path("m.num").mkdir()
    told = run("opt", "m.num", "-p", "prune", "--frontend", "numbers", code=2).stderr
    assert told.startswith("m.num: error: Is a directory")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("return {", "raise SystemExit(0)\n            return {"), "failed: SystemExit: 0"),
        (("return {", "1 / 0\n            return {"), "failed: ZeroDivisionError"),
        (("return {", "return {}\n            return {"), "gives no file whose name ends in .txt"),
        (("return {", "return {'d.v': ''}\n            return {"), "gives no file whose name ends in .txt"),
        (("self, modules, head", "self, modules"), "failed: TypeError"),
        (("staticmethod(identifiers)", "lambda self, modules: None"), "gives no identifiers"),
        (("staticmethod(identifiers)", "lambda self, modules: ('d', {'x': 3})"), "gives no identifiers"),
        (("staticmethod(identifiers)", "lambda self, modules: ('d', {'x': 'x'})"), "of the port 'y'"),
        (("staticmethod(identifiers)", "lambda self: 3"), "failed: TypeError"),
    ],
)
def test_what_an_emitter_does_wrong(make: Make, run: Run, change: tuple[str, str], said: str) -> None:
    make("bad", EMITTER.replace(*change), "backends:listing = bad:LISTING")
    told = _told(run, "compile", "d.lir", "--hdl", "listing", "--stages", "0")
    assert "the emitter 'listing' of the package bad 1.2" in told and said in told


# -- what doctor says of them -----------------------------------------------------------------------------------------


def test_the_doctor_tells_each_thing_once(make: Make, run: Run) -> None:
    """What cannot be used is not found; where a file is wrong is said, and what to do."""
    device = (Path(targets.__file__).parent / "targets" / "xc7a100t.toml").read_text()
    make("fine", PASS, "passes:remark = fine:Remark", "targets:boards = fine", mine=device)
    make(
        "bad",
        PASS + EMITTER.replace("named_luts = False", "named_luts = 0"),
        "passes:marked = bad:Remark",
        "backends:listing = bad:LISTING",
        "frontends:none = bad.nowhere:IT",
        "targets:boards = bad",
        mine=device,
        wrong=re.sub(r"^luts = \d+$", 'luts = "many"', device, flags=re.M),
    )
    lines = run("doctor", code=1).stdout.splitlines()
    found = [line.split()[1:] for line in lines if line.startswith("  found ")]
    broken = [line for line in lines if line.startswith("  broken ")]
    assert [" ".join(words) for words in found] == [
        "pass remark (fine 1.2)",
        "folder of targets boards (bad 1.2)",
        "folder of targets boards (fine 1.2)",
    ]
    assert not any("None" in line for line in broken) and len(broken) == 5
    for said in (
        "the pass 'marked' of the package bad 1.2",
        "the emitter 'listing' of the package bad",
        "the importer 'none' of the package bad",
        "the target 'mine' comes from bad 1.2 and from fine 1.2",
    ):
        assert sum(said in line for line in broken) == 1
    (place,) = [line for line in broken if "'luts' is an integer" in line]
    assert re.search(r"wrong\.toml:\d+:1: 'luts'", place)


def test_a_second_bench_concerns_the_bench_alone(make: Make, run: Run) -> None:
    make("bad", "", "benches:cocotb = bad")
    (broken,) = [line for line in run("doctor", code=1).stdout.splitlines() if line.startswith("  broken ")]
    assert "the bench 'cocotb' comes from lutc" in broken and "emitter" not in broken
    assert "found    bench" not in run("doctor", code=1).stdout


def test_what_a_target_lacks_is_told_in_order(run: Run) -> None:
    Path("m.toml").write_text('zoo = 1\nant = 2\nfamily = "f"\n')
    told = run("compile", "d.lir", "--target", "m.toml", code=2).stderr
    words = re.findall(r"error: .*?'(\w+)'", told)
    kinds = [
        f.name for f in fields(targets.Target) if f.name not in ("name", "family") and f.default is MISSING
    ]
    assert words == ["ant", "zoo", *kinds]


# -- what runs long after the package was called ----------------------------------------------------------------------


def test_an_operation_of_theirs_that_is_wrong(make: Make, run: Run) -> None:
    code = """
    from lutc.ir.ops import Neg

    class Own(Neg):
        def eval(self, *operands):
            return 1 / 0
    """
    does = (
        "old = design.outputs[0].value\n"
        "            return replace(design, outputs=(replace(design.outputs[0], value=Own(*old.operands)),))"
    )
    make("bad", code + _pass_of(does), "passes:remark = bad:Remark")
    told = run("opt", "d.lir", "-p", "remark", "--check", code=2).stderr
    assert "error in the package bad 1.2: ZeroDivisionError" in told and "bug in lutc" not in told
