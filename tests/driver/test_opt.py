"""`lutc opt` and the standard pipeline."""

from __future__ import annotations

from pathlib import Path

import numpy as np
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
