"""What may be asked of a compilation is listed once: in `Settings`, of which the command and the library are made."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import MISSING, FrozenInstanceError, fields, replace
from inspect import signature
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest

import lutc
from lutc import target as targets
from lutc.cli import main
from lutc.diagnostics import LirError
from lutc.passes.approximate.approximate import Approximate
from lutc.passes.pipeline import Pipeline
from lutc.passes.registry import parse
from lutc.passes.scalarize import Scalarize
from lutc.settings import Settings

DESIGN = "lir 1\ndesign d(%x: s4[2]) -> (y = %y) {\n  %y = neg %x\n}\n"


def options(command: str) -> dict[str, click.Option]:
    return {str(p.name): p for p in main.commands[command].params if isinstance(p, click.Option)}


def test_every_setting_is_an_option_of_the_command() -> None:
    """With its help, its default and its words; what is not for the command line is not there."""
    there = options("compile")
    for f in fields(Settings):
        if not f.metadata["command"]:
            assert f.name not in there
            continue
        option = there[f.name]
        assert option.opts == ["--" + f.name.replace("_", "-")]
        assert option.help == f.metadata["help"] and str(option.help).endswith(".")
        assert f.default is not MISSING and option.to_info_dict()["default"] == f.default
        if f.metadata["words"]:
            assert isinstance(option.type, click.Choice) and tuple(option.type.choices) == f.metadata["words"]
    assert {"target", "effort", "clock_ns", "stages", "dsp", "approx_lsb", "check"} <= options("opt").keys()
    assert not {"hdl", "valid"} & options("opt").keys()


def test_every_setting_is_a_keyword_of_compile() -> None:
    taken = signature(lutc.compile).parameters
    assert list(taken)[:2] == ["source", "target"]
    for f in fields(Settings):
        assert taken[f.name].default == f.default
    assert {"progress", *signature(lutc.load).parameters} <= taken.keys()


def test_all_mistakes_are_told_at_once() -> None:
    wrong: dict[str, Any] = {
        "clock_ns": -1,
        "stages": 2,
        "dsp": "some",
        "target": "xcvu13",
        "hdl": "veriloq",
        "top": "9",
    }
    with pytest.raises(LirError) as raised:
        Settings(**wrong)
    said = str(raised.value)
    assert len(raised.value.diagnostics) == 6
    for part in (
        "exclude each other",
        "above 0",
        "DSP blocks 'some'",
        "mean xcvu13p",
        "mean verilog",
        "no name for",
    ):
        assert part in said


def test_numbers_get_their_proper_type() -> None:
    made = Settings(clock_ns=3, approx_lsb=2, passes=None)
    assert isinstance(made.clock_ns, float) and isinstance(made.approx_lsb, float)
    assert made == Settings(clock_ns=3.0, approx_lsb=2.0) and hash(made)
    with pytest.raises(FrozenInstanceError):
        made.clock_ns = 4.0  # type: ignore[misc]
    assert made.device.name == "xcvu13p" and made.backend.suffix == ".v"


def test_settings_stand_in_the_place_of_the_target() -> None:
    design = lutc.loads(DESIGN)
    made = Settings(target="ice40up5k", hdl="vhdl", stages=1, top="mine")
    build = lutc.compile(design, made)
    assert build.settings == made and list(build.files) == ["mine.vhd"]
    assert build.report == lutc.compile(design, "ice40up5k", hdl="vhdl", stages=1, top="mine").report
    with pytest.raises(LirError, match=r"made already, and stages given again"):
        lutc.compile(design, made, stages=2)
    assert lutc.compile(design, replace(made, stages=2)).report["stages"] == 2


def test_a_setting_that_is_none() -> None:
    with pytest.raises(LirError, match=r"no setting 'clokc_ns'(.|\n)*did you mean clock_ns"):
        lutc.compile("none.lir", clokc_ns=3)


class Named:
    """What is called and has a name, and no more."""

    name = "named"

    def __call__(self, design: Any, context: Any) -> Any:
        return design


@pytest.mark.parametrize("passes", [Scalarize(), [Scalarize], ["scalarize"], 3, "scalarize", [Named()]])
def test_what_are_no_passes(passes: Any) -> None:
    with pytest.raises(LirError, match=r"passes are a list|is no pass"):
        lutc.compile("none.lir", passes=passes)


def test_approximations_are_refused_before_the_model_is_read() -> None:
    with pytest.raises(LirError, match="leave no place for approx_lsb"):
        lutc.compile("none.lir", passes=[Scalarize()], approx_lsb=2)
    with pytest.raises(LirError, match="approximated once"):
        lutc.compile("none.lir", passes=parse("standard, approximate{lsb=2}"), approx_lsb=2)
    with pytest.raises(LirError, match="approximated once"):
        lutc.compile("none.lir", passes=[Scalarize(), Approximate(1), Approximate(2)])


@pytest.mark.parametrize("asked", [{"clock_ns": 3.0}, {"stages": 2}, {"stages": 0}, {"dsp": "all"}])
def test_what_passes_of_ones_own_would_not_be_told(asked: dict[str, Any]) -> None:
    """It would have no effect; the standard pipeline among them is told."""
    (name,) = asked
    with pytest.raises(LirError, match=f"no place for {name}(.|\n)*put standard or"):
        lutc.compile("none.lir", passes=[Scalarize(), Pipeline()], **asked)
    build = lutc.compile(lutc.loads(DESIGN), passes=parse("scalarize, standard"), **asked)
    assert build.report == lutc.compile(lutc.loads(DESIGN), **asked).report | {
        "estimate": build.report["estimate"]
    }
    assert [n for n, _ in build.stages][:2] == ["scalarize", "simplify"]


@pytest.mark.parametrize(
    ("passes", "clock"),
    [
        ("scalarize, pipeline{period=2.5}", 2.5),
        ("scalarize, pipeline{stages=2}", None),
        ("scalarize, pipeline", 3.0),
    ],
)
def test_the_clock_is_that_of_the_passes(passes: str, clock: float | None) -> None:
    build = lutc.compile(lutc.loads(DESIGN), "xcvu13p", passes=parse(passes))
    assert build.report["latency_cycles"] and build.report["clock_ns"] == clock


def test_settings_are_light() -> None:
    """The command line is made of them: neither arrays nor frameworks are loaded for it."""
    program = "import sys, lutc.settings; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "lutc.settings" in done.stdout and not {"numpy", "click", "lutc.plugins"} & set(
        done.stdout.split()
    )


@pytest.mark.parametrize("asked", [{"reuse": 4}, {"clock": 2}, {"targt": "xcvu13p"}])
def test_settings_that_there_are_none_of(asked: dict[str, Any]) -> None:
    (name,) = asked
    for made in (Settings, lambda **given: replace(Settings(), **given)):
        with pytest.raises(LirError, match=f"there is no setting '{name}'"):
            made(**asked)
    with pytest.raises(LirError, match=r"write Settings\(target='xcvu13p'\)"):
        Settings("xcvu13p")  # type: ignore[call-arg]


def test_texts_of_numpy_become_texts() -> None:
    made = Settings(
        top=np.str_("mine"), effort=np.str_("fast"), dsp=np.str_("all"), target=np.str_("ice40up5k")
    )
    assert {type(v) for v in (made.top, made.effort, made.dsp, made.target)} == {str}


def test_a_target_file_is_the_same_from_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own = Path(targets.__file__).parent / "targets" / "xc7a100t.toml"
    Path("mine.toml").write_text(own.read_text())
    build = lutc.compile(lutc.loads(DESIGN), "mine.toml", stages=0)
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    assert build.settings.device.name == "mine" and replace(build.settings, stages=1).device.name == "mine"


def test_a_report_is_true_whatever_is_done_with_it(tmp_path: Path) -> None:
    build = lutc.compile(lutc.loads(DESIGN), stages=0)
    build.report["estimate"]["luts"] = 0
    build.report.clear()
    written = json.loads((build.write(tmp_path / "b") / "report.json").read_text())
    assert written == build.report and written["estimate"]["luts"]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([[1, 2]], "rows by input name"),
        (np.ones((3, 2)), "rows by input name"),
        (3, "rows by input name"),
        ({3: [[1, 2]]}, "rows by input name"),
        ({"x": []}, "hold no vectors"),
        ({"x": np.zeros((0, 2))}, "hold no vectors"),
        ({"x": 3}, "needs shape"),
        ({"x": [[1, 2], [3]]}, "in one array"),
        ({"z": [[1, 2]]}, "no input 'z'"),
    ],
)
def test_vectors_that_are_none(tmp_path: Path, rows: Any, said: str) -> None:
    build = lutc.compile(lutc.loads(DESIGN), stages=0)
    for count in (0, 10):
        with pytest.raises(LirError, match=said):
            build.write(tmp_path / "b", vectors=count, user_vectors=rows)
        assert not list(tmp_path.iterdir())
