"""The command line as a user meets it: what it prints, what it writes, and its exit code."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner
from command import TAGGER, Run, _run

import lutc
from lutc import plugins
from lutc.cli import main
from lutc.files.manifest import write_list
from lutc.ir.ops import TABLE
from lutc.passes.pipelines import ALL
from lutc.target import names
from lutc.types import Overflow, Rounding

__all__ = ["_run"]  # the fixture `run`


def report() -> Any:
    return json.loads(Path("build/report.json").read_text())


# -- compile ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hdl", ["verilog", "vhdl"])
def test_compile_and_verify(run: Run, hdl: str) -> None:
    result = run(
        "compile", "tagger.lir", "--hdl", hdl, "--stages", "2", "--verify", "--vectors", "60", "--valid"
    )
    assert "verified: 60 vectors" in result.output and "wrote build/" in result.output
    assert "dense_1" in result.output and "latency 2 cycles" in result.output
    files = {"verilog": ["LUT3.v", "tagger.v"], "vhdl": ["tagger.vhd"]}[hdl]
    assert sorted(p.name for p in Path("build/rtl").iterdir()) == files
    stages = sorted(p.name for p in Path("build/stages").iterdir())
    assert stages[0] == "01-simplify.lir" and stages[-1].endswith("-pipeline.lir")
    parts = {".lutc-files.json", "model.lir", "stages", "rtl", "sim", "report.json"}
    assert {p.name for p in Path("build").iterdir()} == parts
    for text in [Path("build/model.lir"), *Path("build/stages").iterdir()]:
        lutc.load(text)
    again = run("simulate", "build")
    assert "verified: 60 vectors" in again.output


def test_the_report(run: Run) -> None:
    run(
        "compile",
        "tagger.lir",
        "--clock-mhz",
        "250",
        "--target",
        "xcku115",
        "--clock-enable",
        "--vectors",
        "4",
    )
    facts = report()
    assert facts["lutc"] == lutc.__version__
    assert {k: facts[k] for k in ("top", "hdl", "target", "ii", "clock_ns", "clock_enable", "valid")} == {
        "top": "tagger",
        "hdl": "verilog",
        "target": "xcku115",
        "ii": 1,
        "clock_ns": 4.0,
        "clock_enable": True,
        "valid": False,
    }
    assert facts["stages"] == facts["latency_cycles"] > 1
    (x,), (score, best) = facts["inputs"], facts["outputs"]
    assert (x["name"], x["port"], x["format"], x["shape"], x["width"]) == ("x", "x", "s6f3", [4], 24)
    assert x["bits"] == [23, 0] and x["element_bits"] == [[5, 0], [11, 6], [17, 12], [23, 18]]
    assert (x["round"], x["overflow"], x["scale"], x["offset"]) == ("nearest-half-even", "saturate", "1", "0")
    assert (score["format"], score["shape"], score["element_bits"]) == ("s6f2", [2], [[5, 0], [11, 6]])
    assert (best["format"], best["shape"], best["bits"]) == ("u1", [], [0, 0])
    estimate = facts["estimate"]
    layers = {layer["layer"]: layer for layer in estimate["layers"]}
    assert {"dense_1", "answer"} <= set(layers)
    assert sum(layer["ffs"] for layer in layers.values()) == estimate["ffs"] > 0
    assert abs(sum(layer["luts"] for layer in layers.values()) - estimate["luts"]) <= len(layers)
    assert 1.0 < estimate["stage_ns"] <= 4.0


def test_luts_after_each_pass(run: Run) -> None:
    shown = run("compile", "tagger.lir", "--stages", "0", "--vectors", "4").output
    facts = report()
    passes = facts["estimate"]["passes"]
    assert [p["pass"] for p in passes] == [
        s.stem.partition("-")[2] for s in sorted(Path("build/stages").iterdir())
    ]
    assert passes[0] == {"pass": "simplify", "luts": None, "layers": None}  # tensors have no price
    # Here by operations, there counted on the netlist.
    assert abs(passes[-1]["luts"] - facts["estimate"]["luts"]) <= 0.1 * facts["estimate"]["luts"]
    assert {p["layer"] for p in passes[-1]["layers"]} >= {"dense_1", "answer"}
    adders = next(p for p in passes if p["pass"] == "adders")
    assert "estimated LUTs after each pass" in shown and f"{adders['luts']}" in shown


def test_fast_leaves_out_what_takes_time(run: Run) -> None:
    shown = run("compile", "tagger.lir", "--effort", "fast", "--vectors", "4").output
    assert report()["effort"] == "fast" and report()["estimate"]["passes"] == []
    (last,) = Path("build/stages").iterdir()
    assert last.name.endswith("-pipeline.lir") and "after each pass" not in shown


def test_the_top_and_no_clock(run: Run) -> None:
    run("compile", "tagger.lir", "--stages", "0", "--top", "my_top", "--clock-enable", "--vectors", "4")
    facts = report()
    assert (facts["top"], facts["latency_cycles"], facts["clock_ns"], facts["clock_enable"]) == (
        "my_top",
        0,
        None,
        False,
    )
    text = Path("build/rtl/my_top.v").read_text()
    assert "module my_top" in text and "clk" not in text and "ce" not in text.split(");")[0].split("(")[1]


def test_a_clock_that_cannot_be_met_is_noted(run: Run) -> None:
    result = run("compile", "tagger.lir", "--target", "ice40up5k", "--clock-ns", "2.5", "--vectors", "4")
    assert "note: a stage takes" in result.output
    assert any("the clock period is 2.50 ns" in note for note in report()["notes"])


def test_registers_in_the_file_are_kept(run: Run) -> None:
    """Found by the fuzzer: a hand-written pipeline compiles as it is, unless a clock is asked for."""
    Path("mine.lir").write_text(
        "lir 1 scalar\ndesign mine(%x: s4) -> (y = %z) {\n  %r = reg %x\n  %n = neg %r\n  %z = reg %n\n}\n"
    )
    run("compile", "mine.lir", "--vectors", "8", "--verify")
    assert report()["latency_cycles"] == 2
    result = run("compile", "mine.lir", "--stages", "3", code=2)
    assert "has registers already" in result.stderr


def test_own_test_data(run: Run) -> None:
    rows = np.array([[1.5, -2, 0.25, 3], [0, 0, 0, 100]])
    np.save("rows.npy", rows)
    np.savez("rows.npz", x=rows)
    for file in ("rows.npy", "rows.npz"):
        run("compile", "tagger.lir", "--test-data", file, "--vectors", "5", "--stages", "1", "--verify")
        assert len(Path("build/sim/inputs.hex").read_text().splitlines()) == 1 + 7
    np.savez("other.npz", y=rows)
    np.save("short.npy", rows[:, :3])
    assert "no input" in run("compile", "tagger.lir", "--test-data", "other.npz", code=2).stderr
    assert "needs shape" in run("compile", "tagger.lir", "--test-data", "short.npy", code=2).stderr


def test_check_after_every_pass(run: Run) -> None:
    run("compile", "tagger.lir", "--check", "--vectors", "4")


def test_a_wrong_bit_is_exit_code_1(run: Run) -> None:
    """RTL that is wrong, and listed as it is: what a bug of an emitter would make."""
    run("compile", "tagger.lir", "--stages", "1", "--vectors", "50")
    file = Path("build/rtl/tagger.v")
    lines = file.read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if line.strip().startswith("assign score"))
    name, value = lines[at].split("=", 1)
    lines[at] = f"{name}= ({value.strip().rstrip(';')}) ^ 4;"
    file.write_text("\n".join(lines))
    assert "rtl/tagger.v" in run("simulate", "build", code=2).stderr
    write_list(Path("build"))
    result = run("simulate", "build", code=1)
    assert "FAILED: output score element 0 is 0x" in result.stderr
    assert "vector 0" in result.stderr and "cycle" in result.stderr


# -- what is left behind ----------------------------------------------------------------------------------------------


def test_a_foreign_folder_is_left_alone(run: Run) -> None:
    Path("build").mkdir()
    Path("build/thesis.tex").write_text("precious")
    assert "holds other things" in run("compile", "tagger.lir", code=2).stderr
    Path("build/report.json").write_text('{"other": "tool"}')
    assert "holds other things" in run("compile", "tagger.lir", code=2).stderr
    assert Path("build/thesis.tex").read_text() == "precious"
    assert "there is a file of that name" in run("compile", "tagger.lir", "-o", "tagger.lir", code=2).stderr
    assert "standing in that folder" in run("compile", "tagger.lir", "-o", ".", code=2).stderr
    Path("empty").mkdir()
    run("compile", "tagger.lir", "-o", "empty", "--vectors", "4")
    run("compile", "tagger.lir", "-o", "empty", "--vectors", "4", "--hdl", "vhdl")
    assert [p.name for p in Path("empty/rtl").iterdir()] == ["tagger.vhd"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, OSError])
@pytest.mark.parametrize("before", [False, True])
def test_the_folder_is_whole_or_not_there(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: type[BaseException], before: bool
) -> None:
    """An end in the middle of writing leaves what was there before, and nothing else."""
    if before:
        run("compile", "tagger.lir", "--vectors", "4", "--stages", "0")
    seen = sorted(p.name for p in Path().iterdir())

    def stop(*arguments: object, **options: object) -> None:
        raise error("in the middle")

    monkeypatch.setattr(plugins.bench(), "write", stop)
    codes = {KeyboardInterrupt: 130, RuntimeError: 3, OSError: 2}
    result = run("compile", "tagger.lir", "--stages", "2", code=codes[error])
    assert sorted(p.name for p in Path().iterdir()) == seen
    assert ("lutc" in result.stderr) == (error is RuntimeError)
    if before:
        assert report()["latency_cycles"] == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_nothing(run: Run, tmp_path: Path, number: int, code: int) -> None:
    """A real interrupt, while a bench of many vectors is being written."""
    # What starts the tests may have told all below it to ignore Ctrl-C, as shells do for background jobs.
    program = "import signal; signal.signal(2, signal.default_int_handler); from lutc.cli import main; main()"
    command = [sys.executable, "-c", program, "compile", "tagger.lir"]
    with subprocess.Popen([*command, "--vectors", "3000000"], stderr=subprocess.PIPE, text=True) as process:
        while not list(tmp_path.glob(".build-*")):
            assert process.poll() is None, "it ended before it wrote"
            time.sleep(0.02)
        process.send_signal(number)
        try:
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == code
    assert ("interrupted" in errors) == (code == 130) and "Traceback" not in errors
    assert sorted(p.name for p in tmp_path.iterdir()) == ["tagger.lir", "wrong.lir"]


@pytest.mark.parametrize("module", ["click", "lutc.cli.build"])
def test_an_interrupt_while_modules_are_read(tmp_path: Path, module: str) -> None:
    """As it is in the first moments of every command."""
    program = f"""
import signal, sys
class Impatient:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            signal.raise_signal(signal.SIGINT)
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Impatient())
from lutc.__main__ import command
command()
"""
    done = subprocess.run([sys.executable, "-c", program, "ops"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


def test_an_interrupt_while_options_are_read(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(click.Group, "parse_args", stop)
    assert "interrupted" in run("ops", code=130).stderr


def test_the_command_is_the_module() -> None:
    """`lutc` and `python -m lutc` are one."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"lutc": "lutc.__main__:command"}
    done = subprocess.run(
        [sys.executable, "-m", "lutc", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("lutc, version")


# -- user mistakes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compile", "missing.lir"], "missing.lir: error: no such file"),
        (["compile", "tagger.txt"], "no frontend reads .txt"),
        (["compile", "wrong.lir"], "there is no operation"),
        (["compile", "tagger.lir", "--target", "xcvu13"], "did you mean xcvu13p"),
        (["compile", "tagger.lir", "--clock-ns", "2", "--stages", "2"], "exclude each other"),
        (["compile", "tagger.lir", "--clock-ns", "2", "--clock-mhz", "2"], "give the clock once"),
        (["compile", "tagger.lir", "--clock-ns", "nan"], "above 0"),
        (["compile", "tagger.lir", "--clock-ns", "inf"], "above 0"),
        (["compile", "tagger.lir", "--clock-mhz", "0"], "above 0"),
        (["compile", "tagger.lir", "--clock-ns", "0.01"], "leaves no time between registers"),
        (["compile", "tagger.lir", "--stages", "-1"], "from 0 to"),
        (["compile", "tagger.lir", "--approx-lsb", "-1"], "from 0 on"),
        (["compile", "tagger.lir", "--vectors", "0"], "at least one vector"),
        (["compile", "tagger.lir", "--top", "9 lives"], "no name for a design"),
        (["compile", "tagger.lir", "--hdl", "chisel"], "no hardware description language 'chisel'"),
        (["compile", "tagger.lir", "--test-data", "tagger.lir"], "no array of numbers"),
        (["compile", "tagger.lir", "--test-data", "missing.npy"], "missing.npy: error"),
        (["simulate", "."], "no build of lutc's"),
        (["run", "tagger.lir", "--input", "text.npy", "--output", "y.npz"], "needs real numbers"),
        (["run", "tagger.lir", "--input", "broken.npz", "--output", "y.npz"], "no array of numbers"),
        (["run", "tagger.lir", "--input", "x.npy", "--output", "y.npy"], "2 outputs need a .npz file"),
        (["opt", "tagger.lir", "-p", "scalarise"], "did you mean scalarize"),
        (["opt", "tagger.lir", "-p", "pipeline"], "run scalarize first"),
        (["ops", "adds"], "did you mean add"),
        (["check", "bytes.lir"], "not UTF-8"),
        (["fmt", "bytes.lir"], "not UTF-8"),
        (["fmt", "missing.lir"], "missing.lir: error"),
        (["compile"], "Missing argument"),
        (["compilee"], "No such command"),
    ],
    ids=lambda a: " ".join(a) if isinstance(a, list) else "",
)
def test_mistakes_are_exit_code_2(run: Run, arguments: list[str], message: str) -> None:
    Path("tagger.txt").write_text(TAGGER)
    Path("bytes.lir").write_bytes(b"lir 1\n\xff\xfe")
    Path("broken.npz").write_bytes(b"PK\x03\x04 and then nothing")
    np.save("text.npy", np.array([["a", "b", "c", "d"]]))
    np.save("x.npy", np.zeros((3, 4)))
    result = run(*arguments, code=2)
    assert message in result.stderr
    assert not Path("build").exists() and not Path("y.npz").exists()


def test_a_bug_is_exit_code_3(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(*arguments: object, **options: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("lutc.staging.netlist", bug)
    result = run("compile", "tagger.lir", code=3)
    assert "internal error: ZeroDivisionError: oh" in result.stderr and "a bug in lutc" in result.stderr
    monkeypatch.setenv("LUTC_TRACEBACK", "1")
    assert isinstance(CliRunner().invoke(main, ["compile", "tagger.lir"]).exception, ZeroDivisionError)


# -- the other commands -----------------------------------------------------------------------------------------------


def test_check(run: Run) -> None:
    assert run("check", "tagger.lir").output == "tagger.lir: ok\n"
    result = run("check", "wrong.lir", "tagger.lir", code=2)
    assert "wrong.lir:4:16: error: there is no value %nothing" in result.stderr
    assert "wrong.lir:5:12: error: there is no operation 'quants'" in result.stderr
    assert "did you mean quant" in result.stderr and "2 errors" in result.stderr
    assert "tagger.lir: ok" in result.stdout


def test_fmt(run: Run) -> None:
    messy = TAGGER.replace("%h          = dense", "%h =   dense").replace('!"answer"', '!"answer"   # kept')
    Path("messy.lir").write_text(messy)
    os.chmod("messy.lir", 0o640)
    assert run("fmt", "--check", "tagger.lir").output == ""
    assert run("fmt", "--check", "tagger.lir", "messy.lir", code=1).output == "messy.lir: would change\n"
    assert Path("messy.lir").read_text() == messy
    assert run("fmt", "tagger.lir", "messy.lir").output == "messy.lir: formatted\n"
    assert "# kept" in Path("messy.lir").read_text() and Path("messy.lir").stat().st_mode & 0o777 == 0o640
    run("fmt", "--check", "messy.lir")
    Path("cut.lir").write_text("lir 1\ndesign d(%x: s4 -> (y = %x) {\n}\n")
    assert "cut.lir:2:" in run("fmt", "cut.lir", code=2).stderr


def test_run(run: Run) -> None:
    x = np.array([[1, 2, -1, 0.5], [0, 0, 0, 0], [100, -100, 3, -3]])
    np.save("x.npy", x)
    np.savez("x.npz", x=x)
    for given in ("x.npy", "x.npz"):
        run("run", "tagger.lir", "--input", given, "--output", "y.npz")
        with np.load("y.npz") as file:
            answers = dict(file)
        assert answers["score"][:2].tolist() == [[3.5, 0.25], [0, 0]] and answers["best"][:2].tolist() == [
            0,
            0,
        ]
        assert answers["score"].shape == (3, 2)
    single = TAGGER.replace(", best = %b", "").replace('  %b          = argmax %s  !"answer"\n', "")
    Path("single.lir").write_text(single)
    run("run", "single.lir", "--input", "x.npy", "--output", "y.npy")
    assert np.load("y.npy").shape == (3, 2)


def test_lists(run: Run) -> None:
    assert [line.split()[0] for line in run("ops").output.splitlines()] == list(TABLE)
    for name in TABLE:
        assert name in run("ops", name).output
    said = run("ops", "quant").output
    for mode in (*Rounding, *Overflow):
        assert re.search(rf"^    {mode.value} +{re.escape(mode.about)}$", said, re.M)
    assert "round: one of; must be given where it decides a number" in said
    assert "round=..., overflow=..." in said and "less than" in run("ops", "compare").output
    listed = run("passes").output
    assert all(f"{p.name}" in listed for p in ALL) and "pipeline{period=none, stages=none}" in listed
    assert [line.split()[0] for line in run("targets").output.splitlines()] == names()
    assert lutc.__version__ in run("--version").output


def test_doctor(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    healthy = run("doctor").output
    assert "ok       numpy" in healthy and "iverilog" in healthy
    monkeypatch.setenv("PATH", "")
    without = run("doctor").output  # an optional tool is missing: no reason to fail
    assert "missing  iverilog (simulating Verilog): apt-get install iverilog" in without

    def nothing(name: str) -> str:
        from importlib.metadata import PackageNotFoundError

        raise PackageNotFoundError(name)

    monkeypatch.setattr("lutc.report.doctor.version", nothing)
    assert "missing  numpy (the core): pip install lutc" in run("doctor", code=1).output


def test_every_command_and_option_has_help(run: Run) -> None:
    overview = run("--help").output
    assert isinstance(main, click.Group)
    for name, command in main.commands.items():
        assert name in overview
        text = run(name, "-h").output
        assert "Usage:" in text and command.help
        for option in command.params:
            if isinstance(option, click.Option) and option.name != "help":
                assert option.help, f"{name} {option.name}"


@pytest.mark.parametrize("words", [["--help"], ["compile", "--help"], ["opt", "--help"], ["--version"]])
def test_help_waits_for_nothing(words: list[str]) -> None:
    """Nothing heavy is imported before it is needed."""
    program = f"""
import sys
from lutc.cli import main
try:
    main({words})
finally:
    print(*sys.modules, file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stderr.split())
    assert {"lutc.cli", "click"} <= loaded
    assert not {"numpy", "lark", "networkx", "rich", "torch", "onnx", "cocotb", "importlib.metadata"} & loaded


def test_the_command_ends_at_once_and_says_everything(tmp_path: Path) -> None:
    """It does not wait for its graphs to be taken apart; what it wrote arrives, and its exit code."""
    (tmp_path / "good.lir").write_text("lir 1\ndesign d(%x: s4) -> (y = %x) {\n}\n")
    (tmp_path / "bad.lir").write_text("lir 1\ndesign d(%x: s4) -> (y = %z) {\n}\n")
    call = [sys.executable, "-c", "from lutc.cli import command; command()"]
    for files, code in ((["good.lir"] * 500, 0), (["good.lir", "bad.lir"], 2)):
        done = subprocess.run(
            [*call, "check", *files], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == code
        assert done.stdout.count("good.lir: ok") == files.count("good.lir")
    assert "bad.lir" in done.stderr


# -- paths ------------------------------------------------------------------------------------------------------------


def test_a_dash_is_the_terminal_or_no_file(run: Run) -> None:
    shown = run("opt", "tagger.lir", "-p", "scalarize").stdout
    assert run("opt", "tagger.lir", "-p", "scalarize", "-o", "-").stdout == shown
    np.save("x.npy", np.zeros((1, 4)))
    for words in (
        ("compile", "tagger.lir", "-o", "-"),
        ("run", "tagger.lir", "--input", "x.npy", "--output", "-"),
        ("opt", "tagger.lir", "-p", "scalarize", "--dump", "-"),
        ("check", "-"),
        ("opt", "-", "-p", "scalarize"),
    ):
        assert "one that is called so is ./-" in run(*words, code=2).stderr
    assert not Path("-").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("opt", "tagger.lir", "-p", "prune", "-o", "nosuch/dir/x.lir"), "make its folder first"),
        (("opt", "tagger.lir", "-p", "prune", "-o", "folder"), "a folder stands where a file is to be"),
        (
            ("opt", "tagger.lir", "-p", "prune", "--dump", "tagger.lir"),
            "a file stands where a folder is to be",
        ),
        (("opt", "tagger.lir", "-p", "standard{x=1}"), "leave it away: the pass has none"),
        (("ops", "nosuch"), "lutc ops lists them"),
    ],
)
def test_every_mistake_comes_with_the_next_step(run: Run, words: tuple[str, ...], said: str) -> None:
    Path("folder").mkdir()
    told = run(*words, code=2).stderr
    assert f"= help: {said}" in told
