"""What other packages add: little packages on disk, found by their entry points, used by command and library."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command import Run
from packages import DESIGN, EMITTER, IMPORTER, PASS, Make, _make, _run

import lutc
from lutc import plugins
from lutc import target as targets
from lutc.diagnostics import LirError

__all__ = ["_make", "_run"]  # the fixtures `make` and `run`

DEVICE = (Path(targets.__file__).parent / "targets" / "xc7a100t.toml").read_text()
# -- that it works ----------------------------------------------------------------------------------------------------


def test_a_pass_is_listed_and_runs(make: Make, run: Run) -> None:
    make("toy_pass", PASS, "passes:remark = toy_pass:Remark")
    listed = run("passes").stdout
    assert "remark{words=seen}  (of the package toy_pass 1.2)\n    Add a note." in listed
    shown = run(
        "opt", "d.lir", "-p", "standard, remark{words=mine}", "--target", "ice40up5k", "--stages", "1"
    )
    assert "mine for ice40up5k" in shown.stdout and "reg" in shown.stdout
    help = run("opt", "d.lir", "-p", "remarks", code=2).stderr
    assert "no pass 'remarks'" in help and "did you mean remark?" in help


def test_an_emitter_is_chosen_and_needs_no_simulator(make: Make, run: Run) -> None:
    make("toy_emitter", EMITTER, "backends:listing = toy_emitter:LISTING")
    run("compile", "d.lir", "--hdl", "listing", "--stages", "0")
    assert "nets" in Path("build/rtl/d.txt").read_text() and not Path("build/sim").exists()
    assert json.loads(Path("build/report.json").read_text())["hdl"] == "listing"
    assert "no simulator reads" in run("simulate", "build", code=2).stderr
    refused = run("compile", "d.lir", "-o", "other", "--hdl", "listing", "--verify", code=2)
    assert "no simulator reads listing" in refused.stderr and not Path("other").exists()
    assert list(lutc.compile(lutc.loads(DESIGN), hdl="listing", stages=0).files) == ["d.txt"]
    assert "verilog" in run("compile", "d.lir", "--hdl", "listings", code=2).stderr.replace(
        "listing", "verilog"
    )


def test_an_emitter_that_the_bench_can_simulate(make: Make, run: Run) -> None:
    """It writes what lutc's own writes, and a file of constraints that no simulator is to read."""
    code = """
        from lutc.backends.verilog import Verilog, emit

        class Mine(Verilog):
            name = "mine"

            def emit(self, modules, head):
                return emit(modules, head) | {"clock.xdc": "create_clock"}

        MINE = Mine()
    """
    make("toy_verilog", code, "backends:mine = toy_verilog:MINE")
    assert (
        "verified: 9 vectors" in run("compile", "d.lir", "--hdl", "mine", "--verify", "--vectors", "9").stdout
    )
    assert json.loads(Path("build/sim/bench.json").read_text())["sources"] == ["rtl/d.v"]


def test_an_importer_reads_its_files_and_objects(make: Make, run: Run) -> None:
    make("toy_importer", IMPORTER, "frontends:numbers = toy_importer:NUMBERS")
    Path("m.num").touch()
    run("opt", "m.num", "-p", "scalarize", "--input-type", "x=s6")
    assert str(lutc.load(42, input_types={"x": "s6"}).params[0].type) == "s6"
    Path("m.xyz").touch()
    assert ".num" in run("opt", "m.xyz", "-p", "scalarize", code=2).stderr  # among what is read
    assert lutc.load("m.xyz", frontend="numbers").name == "number"


@pytest.mark.parametrize("entry", ["toy_targets", "toy_targets:FOLDER"])
def test_targets_are_listed_and_compiled_for(make: Make, run: Run, entry: str) -> None:
    own = DEVICE.replace('part = "', 'part = "my-')
    code = "import os\nFOLDER = os.path.dirname(__file__)\n"
    make("toy_targets", code, f"targets:any = {entry}", board=own)
    (line,) = [s for s in run("targets").stdout.splitlines() if s.startswith("board ")]
    assert line.endswith("(of the package toy_targets 1.2)")
    run("compile", "d.lir", "--target", "board", "--vectors", "4")
    assert json.loads(Path("build/report.json").read_text())["part"].startswith("my-")
    assert "did you mean board" in run("compile", "d.lir", "--target", "boards", code=2).stderr


# -- that it is broken ------------------------------------------------------------------------------------------------

BROKEN = {
    "passes": ("opt", "d.lir", "-p", "thing"),
    "backends": ("compile", "d.lir", "--hdl", "thing"),
    "frontends": ("opt", "m.thing", "-p", "scalarize"),
    "targets": ("compile", "d.lir", "--target", "thing"),
}
UNCONCERNED = [
    ("opt", "d.lir", "-p", "standard"),
    ("compile", "d.lir", "--stages", "0", "--vectors", "4", "--verify"),
    ("passes",),
    ("passes", "--pipeline"),
    ("targets",),
    ("--help",),
]


@pytest.mark.parametrize("group", BROKEN)
@pytest.mark.parametrize(
    ("code", "entry", "said"),
    [
        (
            "import nowhere_to_be_found",
            "bad:THING",
            "ModuleNotFoundError: No module named 'nowhere_to_be_found'",
        ),
        ("def (", "bad:THING", "SyntaxError"),
        ("raise SystemExit(5)", "bad:THING", "SystemExit: 5"),
        ("", "bad:THING", "AttributeError"),
        ("", "bad.inside:THING", "No module named 'bad.inside'"),
        ("THING = 3", "bad:THING", None),
        ("class THING: pass", "bad:THING", None),
    ],
)
def test_what_cannot_be_loaded(
    make: Make, run: Run, group: str, code: str, entry: str, said: str | None
) -> None:
    make("bad", code, f"{group}:thing = {entry}")
    Path("m.thing").touch()
    told = run(*BROKEN[group], code=2).stderr
    kinds = {"passes": "pass", "backends": "emitter", "frontends": "importer", "targets": "folder of targets"}
    assert f"the {kinds[group]} 'thing' of the package bad 1.2" in told and "pip uninstall bad" in told
    assert said is None or said in told
    assert "broken   " in run("doctor", code=1).stdout


def test_what_is_broken_concerns_nobody_else(make: Make, run: Run) -> None:
    make("bad", "import nowhere_to_be_found", *(f"{group}:thing = bad:THING" for group in BROKEN))
    for words in UNCONCERNED:
        run(*words)
    (wrong,) = [s for s in run("passes").stderr.splitlines() if "error" in s]
    assert "the pass 'thing' of the package bad 1.2" in wrong
    Path("m.json").write_text("{}")  # a file that an importer of lutc's own reads
    assert "bad 1.2" not in run("opt", "m.json", "-p", "scalarize", code=2).stderr


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("name = ", "nama = "), "lacks name"),
        (('"listing"', '"listings"'), "calls itself 'listings'"),
        (('".txt"', '"txt"'), "does not begin with a point"),
        (("named_luts = False", "named_luts = 0"), "named_luts = 0"),
        (("simulators = ()", "simulators = []"), "not a tuple"),
        (("simulators = ()", "simulators = ('modelsim',)"), "the bench knows icarus, ghdl, verilator"),
        (("simulators = ()", "simulators = ('icarus', 'ghdl')"), "different languages"),
        (("def emit", "def emitted"), "lacks emit"),
        (("LISTING = Listing()", "LISTING = Listing"), "is the class Listing"),
    ],
)
def test_what_is_no_emitter(make: Make, run: Run, change: tuple[str, str], said: str) -> None:
    """It is said before the model is looked for: there is none."""
    make("toy_emitter", EMITTER.replace(*change), "backends:listing = toy_emitter:LISTING")
    assert said in run("compile", "none.lir", "--hdl", "listing", code=2).stderr


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('"numbers"', '"number"'), "calls itself 'number'"),
        (('(".num",)', "None"), "says suffixes = None"),
        (('(".num",)', '".num"'), "says suffixes = '.num'"),
        (('(".num",)', '("num",)'), "says suffixes = ('num',)"),
        (("def load", "reads = 3\n\n        def load"), "has reads that cannot be called"),
    ],
)
def test_what_is_no_importer(make: Make, run: Run, change: tuple[str, str], said: str) -> None:
    make("toy_importer", IMPORTER.replace(*change), "frontends:numbers = toy_importer:NUMBERS")
    Path("m.num").touch()
    assert said in run("opt", "m.num", "-p", "prune", code=2).stderr
    with pytest.raises(LirError, match="toy_importer"):
        lutc.load(42)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('"remark"', '"remarks"'), "calls itself 'remarks'"),
        (("@dataclass(frozen=True)", ""), "is no dataclass"),
        (("(Pass)", ""), "is no class made of"),
        (("def __call__", "def call"), "does nothing"),
    ],
)
def test_what_is_no_pass(make: Make, run: Run, change: tuple[str, str], said: str) -> None:
    make("toy_pass", PASS.replace(*change), "passes:remark = toy_pass:Remark")
    assert said in run("opt", "none.lir", "-p", "remark", code=2).stderr


def test_names_that_are_taken(make: Make, run: Run) -> None:
    """A name that two packages give is nobody's; lutc's own names are none to take."""
    make("one", PASS + EMITTER, "passes:remark = one:Remark", "backends:vhdl = one:LISTING", board=DEVICE)
    make("two", PASS.replace("remark", "narrow"), "passes:remark = two:Remark", "passes:narrow = two:Remark")
    told = run("opt", "d.lir", "-p", "remark", code=2).stderr
    assert "the pass 'remark' comes from one 1.2 and from two 1.2" in told and "pip uninstall two" in told
    assert "comes from lutc itself and from two 1.2" in run("opt", "d.lir", "-p", "narrow", code=2).stderr
    told = run("compile", "d.lir", "--hdl", "vhdl", code=2).stderr
    assert "the emitter 'vhdl' comes from lutc" in told and "from one 1.2" in told and "uninstall one" in told
    run("compile", "d.lir", "--vectors", "4")
    run("opt", "d.lir", "-p", "standard, scalarize")
    assert run("passes").stderr.count("error: ") == 2


def test_targets_whose_names_are_taken(make: Make, run: Run) -> None:
    for name in ("one", "two"):
        make(name, "", f"targets:mine = {name}", board=DEVICE, xcvu13p=DEVICE, **{f"board_{name}": DEVICE})
    told = run("compile", "d.lir", "--target", "board", code=2).stderr
    assert "the target 'board' comes from one 1.2 and from two 1.2" in told
    run("compile", "d.lir", "--target", "board_two", "--vectors", "4")
    assert targets.load("xcvu13p").part != targets.load("board_one").part
    assert run("targets").stderr.count("'xcvu13p', and that name is one of lutc's own") == 2


def test_a_wrong_target_file_is_told_with_its_line(make: Make, run: Run) -> None:
    make("toy_targets", "", "targets:any = toy_targets", board=DEVICE.replace("luts = ", "luts = -"))
    assert "board.toml:" in run("compile", "d.lir", "--target", "board", code=2).stderr
    assert "board.toml:" in run("targets").stderr


def test_two_importers_of_one_suffix(make: Make, run: Run) -> None:
    make("one", IMPORTER.replace('"numbers"', '"first"'), "frontends:first = one:NUMBERS")
    make("two", IMPORTER.replace('"numbers"', '"second"'), "frontends:second = two:NUMBERS")
    Path("m.num").touch()
    assert "several importers read it: first, second" in run("opt", "m.num", "-p", "prune", code=2).stderr
    run("opt", "m.num", "-p", "prune", "--frontend", "second")
    with pytest.raises(LirError, match="several importers read it: first, second"):
        lutc.load(42)
    assert lutc.load(42, frontend="first").name == "number"
    assert "did you mean second" in run("opt", "m.num", "-p", "prune", "--frontend", "secnd", code=2).stderr


def test_a_bug_of_theirs_is_not_called_ours(make: Make, run: Run) -> None:
    make(
        "toy_pass",
        PASS.replace("return replace", "1 / 0\n            return replace"),
        "passes:remark = toy_pass:Remark",
    )
    told = run("opt", "d.lir", "-p", "remark", code=2).stderr
    assert (
        "the pass 'remark' of the package toy_pass 1.2 failed: ZeroDivisionError" in told
        and "bug in lutc" not in told
    )


@pytest.mark.parametrize(
    "given",
    [
        "None",
        "{'d.txt': b''}",
        "{'../d.txt': ''}",
        "['d.txt']",
        "{'': ''}",
        "{'a\\0.txt': ''}",
        "{'d.txt': '\\ud800'}",
    ],
)
def test_an_emitter_that_gives_no_texts(make: Make, run: Run, given: str) -> None:
    code = EMITTER.replace("return {", f"return {given}\n            return {{")
    make("toy_emitter", code, "backends:listing = toy_emitter:LISTING")
    told = run("compile", "d.lir", "--hdl", "listing", "--stages", "0", code=2).stderr
    assert (
        "the emitter 'listing' of the package toy_emitter 1.2 gives no texts by file name" in told
        and not Path("build").exists()
    )


# -- the library ------------------------------------------------------------------------------------------------------


def test_emitters_and_the_bench_are_apart() -> None:
    assert plugins.languages() == ["c", "verilog", "vhdl"] and callable(plugins.bench().simulate)
    for hdl in ("bench", "foo"):
        with pytest.raises(LirError, match="one of: c, verilog, vhdl"):
            lutc.compile("none.lir", hdl=hdl)
    with pytest.raises(LirError, match=r"no emitter 'verilogg'(.|\n)*did you mean verilog"):
        plugins.backend("verilogg")
