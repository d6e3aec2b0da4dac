"""`lutc opt` and the standard pipeline."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from command import Run, _run

import lutc
from lutc.passes.pipelines import standard

__all__ = ["_run"]  # the fixture `run`


def test_opt(run: Run) -> None:
    text = "simplify, scalarize, narrow, adders, pipeline{stages=2}"
    result = run("opt", "tagger.lir", "-p", text, "--dump", "dump", "--check", "--target", "ice40up5k")
    assert result.stdout.startswith("lir 1 scalar\n") and "reg" in result.stdout
    assert sorted(p.name for p in Path("dump").iterdir()) == [
        ".lutc-dump.json",
        "00-input.lir",
        "01-simplify.lir",
        "02-scalarize.lir",
        "03-narrow.lir",
        "04-adders.lir",
        "05-pipeline.lir",
    ]
    run("opt", "tagger.lir", "-p", "scalarize", "-o", "out.lir")
    assert run("check", "out.lir").output == "out.lir: ok\n"
    x = np.random.default_rng(1).uniform(-5, 5, (20, 4))
    want, got = lutc.load("tagger.lir").run(x), lutc.loads(result.stdout).run(x)
    assert all((want[k] == got[k]).all() for k in want)


def test_opt_runs_the_standard_pipeline(run: Run) -> None:
    """As a compilation does, by the same settings, alone and among other passes."""
    run(
        "compile",
        "tagger.lir",
        "--effort",
        "high",
        "--clock-ns",
        "3",
        "--target",
        "xcku115",
        "--vectors",
        "4",
    )
    words = ("--effort", "high", "--clock-ns", "3", "--target", "xcku115")
    last = sorted(Path("build/stages").iterdir())[-1].read_text()
    assert run("opt", "tagger.lir", "-p", "standard", *words).stdout == last
    run("opt", "tagger.lir", "-p", "simplify, standard, narrow", *words, "--dump", "dump")
    names = [p.stem[3:] for p in sorted(Path("dump").glob("*.lir"))]
    stages = [p.stem[3:] for p in sorted(Path("build/stages").iterdir())]
    assert names == ["input", "simplify", *stages, "narrow"]
    Path("mine.lir").write_text("lir 1 scalar\ndesign m(%x: s4) -> (y = %r) {\n  %r = reg %x\n}\n")
    assert run("opt", "mine.lir", "-p", "standard").stdout.count("reg") == 1
    assert "has registers already" in run("opt", "mine.lir", "-p", "standard", "--stages", "2", code=2).stderr


def test_the_pipeline_with_its_reasons(run: Run) -> None:
    plain, full = (
        [line.split(maxsplit=1) for line in run("passes", "--pipeline", *words).output.splitlines()]
        for words in ((), ("--effort=high", "--dsp=all", "--approx-lsb=2", "--stages=3"))
    )
    assert [p.name for p in standard()] == [name.partition("{")[0] for name, _ in plain]
    assert all(len(why) > 10 for _, why in full)
    assert {"dont-care", "approximate{lsb=2.0}", "dsp{mode=all}", "pipeline{stages=3}"} <= {
        n for n, _ in full
    }
    assert "add --pipeline" in run("passes", "--effort", "high", code=2).stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-p", "scalarize, pipeline", "--clock-ns", "3"), "no place for clock_ns"),
        (("-p", "scalarize", "-p", "pipeline", "--stages", "3"), "no place for stages"),
        (("-p", "scalarize", "--dsp", "all"), "no place for dsp"),
        (("-p", "scalarize", "--approx-lsb", "2"), "no place for approx_lsb"),
        (("-p", "standard, standard"), "take them out, or leave out pipeline"),
        (("-p", "scalarize, pipeline{stages=1}, pipeline{stages=0}"), "leave out pipeline{stages=0}"),
    ],
)
def test_what_would_have_no_effect(run: Run, words: tuple[str, ...], said: str) -> None:
    assert said in run("opt", "tagger.lir", *words, code=2).stderr


def test_lists_of_passes_add_up(run: Run) -> None:
    both = run("opt", "tagger.lir", "-p", "scalarize", "-p", "narrow, prune").stdout
    assert both == run("opt", "tagger.lir", "-p", "scalarize, narrow, prune").stdout


@pytest.mark.parametrize("words", [("--dsp", "all"), ("--approx-lsb", "4"), ("--approx-lsb", "0.5")])
def test_standard_does_as_a_compilation(run: Run, words: tuple[str, ...]) -> None:
    """Also where it may send products to blocks, and where it keeps the exact circuit of two."""
    run("compile", "tagger.lir", *words, "--vectors", "4")
    stages = sorted(Path("build/stages").iterdir())
    assert (
        run("opt", "tagger.lir", "-p", "standard", *words, "--dump", "dump").stdout == stages[-1].read_text()
    )
    assert [p.name for p in sorted(Path("dump").glob("*.lir"))] == ["00-input.lir", *(p.name for p in stages)]


@pytest.mark.parametrize("words", [("--stages", "0"), ("--stages", "3"), ("--clock-ns", "3")])
def test_registers_of_its_own_are_not_cut_again(run: Run, words: tuple[str, ...]) -> None:
    """Also not into none: it would not be combinational."""
    Path("mine.lir").write_text("lir 1 scalar\ndesign m(%x: s4) -> (y = %r) {\n  %r = reg %x\n}\n")
    for command in (("compile", "mine.lir"), ("opt", "mine.lir", "-p", "standard")):
        told = run(*command, *words, code=2).stderr
        assert "has registers already" in told and "neither a clock nor a number of stages" in told
    assert not Path("build").exists()
    run("compile", "mine.lir", "--vectors", "4")
    assert "leave out pipeline" in run("opt", "mine.lir", "-p", "pipeline", code=2).stderr


def test_all_that_is_wrong_with_passes_is_told_at_once(run: Run) -> None:
    told = run(
        "opt", "tagger.lir", "-p", "nope, nada, nope, pipeline{stages=x}, dsp{mode=some}", code=2
    ).stderr
    assert told.count("error: ") == 4 and "4 errors" in told
    for said in ("no pass 'nope'", "no pass 'nada'", "cannot be 'x'", "DSP blocks 'some'"):
        assert said in told
