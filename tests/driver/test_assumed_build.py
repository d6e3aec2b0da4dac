"""`--assume-inputs` from outside: what a build says of itself, what its bench drives, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from table_networks import tables

import lutc
from conftest import need_tool
from lutc.backends.vectors import pack_bits
from lutc.cli import main
from lutc.diagnostics import LirError
from lutc.ir.graph import Design
from lutc.ir.interp import answer
from lutc.passes.approximate.approximate import Approximate
from lutc.passes.assume.tables import AssumeTables
from lutc.passes.canonical.narrow import Narrow
from lutc.passes.scalarize import Scalarize
from lutc.text.parse import parse_file
from lutc.text.print import print_design

RNG = np.random.default_rng(0)
ROWS = RNG.normal(0, 0.7, (60, 6)).clip(-4, 3.9)
OTHERS = RNG.normal(0, 0.7, (40, 6)).clip(-4, 3.9)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("m.lir").write_text(print_design(tables()))
    np.savez("a.npz", x=ROWS)
    return tmp_path


def command(*words: str) -> Result:
    return CliRunner().invoke(main, ["compile", "m.lir", "--stages", "0", *words])


def labels(design: Design, rows: Any) -> Any:
    return np.asarray(design.run(rows)).argmax(-1)


def test_the_build_says_that_it_assumes() -> None:
    model = tables()
    np.savez("c.npz", x=OTHERS, labels=labels(model, OTHERS))
    done = command("--assume-inputs", "a.npz", "--assume-check", "c.npz", "-o", "out")
    assert done.exit_code == 0, done.output
    assert "NOT EXACT on other inputs than the 60 assumed rows" in done.output
    report = json.loads(Path("out/report.json").read_text())
    facts = report["assumption"]
    assert facts["rows"] == 60 and facts["margin"] == 2 and not facts["exact"]
    assert facts["luts"] == report["estimate"]["luts"] < facts["luts_exact"]
    said = f"exact on the assumed inputs only: 60 rows with the SHA-256 {facts['digest'][:16]}"
    assert any(note.startswith(said) for note in report["notes"])
    hdl = (Path("out/rtl") / "tables.v").read_text()
    assert f"// assumption:          {said}" in hdl
    stages = sorted(Path("out/stages").iterdir())
    for text in (stages[-1].read_text(), Path("out/assumed.lir").read_text()):
        assert f'note "{said}' in text
    assert "note" not in Path("out/model.lir").read_text()
    # The rows that were held out are looked at with the circuit's own answers.
    check, near = facts["check"], parse_file(stages[-1])
    equal = (np.asarray(model.run(OTHERS)) == np.asarray(near.run(OTHERS))).all(-1)
    same = labels(model, OTHERS) == labels(near, OTHERS)
    assert check["rows"] == 40 and check["assumed_too"] == 0 and check["accuracy_exact"] == 1.0
    assert check["rows_equal"] == round(equal.mean(), 4) < 1
    assert check["classes_equal"] == check["accuracy"] == round(same.mean(), 4)
    assert f"{100 * check['rows_equal']:.2f} % equal in every bit" in " ".join(done.output.split())


def test_every_assumed_row_is_exact() -> None:
    model = tables(2)
    build = lutc.compile(model, stages=0, assume_inputs={"x": ROWS}, assume_margin=0, assume_check=ROWS)
    assert np.array_equal(build.run(ROWS), model.run(ROWS))
    assert build.assumption and build.reference is build.assumption.near
    check = build.report["assumption"]["check"]
    assert check["rows_equal"] == check["classes_equal"] == 1.0 and check["assumed_too"] == 60
    assert check["accuracy"] is None
    inputs = build.report["inputs"]
    assert inputs == lutc.compile(model, stages=0).report["inputs"]


@pytest.mark.parametrize("hdl", ["verilog", "vhdl"])
def test_the_bench_drives_assumed_rows_and_others(hdl: str) -> None:
    need_tool("iverilog" if hdl == "verilog" else "ghdl")
    done = command("--assume-inputs", "a.npz", "--hdl", hdl, "--verify", "--vectors", "40")
    assert done.exit_code == 0, done.output
    assert "verified: 80 vectors" in done.output
    assert "answered as model.lir answers them (all 60 were compared)" in " ".join(done.output.split())
    # The answers that the bench expects: to the first 40, which are assumed rows, the model's; then assumed.lir's.
    lines = Path("build/sim/outputs.hex").read_text().splitlines()
    words = [int(line, 16) for line in lines if not line.startswith("#")]
    rows = ROWS[np.unique(np.linspace(0, 59, 40).astype(int))]
    model = tables()
    assert words[:40] == pack_bits(answer(model, rows)["y"], model.outputs[0].value.type)
    assert len(words) == 80


def test_test_data_come_after_the_assumed_rows() -> None:
    build = lutc.compile(tables(), stages=0, assume_inputs=ROWS)
    for given in ({"x": OTHERS[:7]}, {"": OTHERS[:7].tolist()}, {"x": OTHERS[:7].astype(str)}):
        folder = build.write("build", vectors=0, user_vectors=given)
        assert json.loads((folder / "sim" / "bench.json").read_text())["vectors"] == 67
    with pytest.raises(LirError, match="needs shape"):
        build.write("build", user_vectors={"x": OTHERS[:7, :3]})
    with pytest.raises(LirError, match="no input 'z'"):
        build.write("build", user_vectors={"z": OTHERS})


def test_rows_that_save_nothing_leave_the_circuit_exact() -> None:
    adder = "lir 1\ndesign d(%x: s4, %y: s4) -> (z = %z) {\n  %z = add %x, %y\n}\n"
    every = np.arange(-8, 8)
    rows = {"x": np.repeat(every, 16), "y": np.tile(every, 16)}
    design = lutc.loads(adder)
    build = lutc.compile(design, stages=0, assume_inputs=rows)
    facts = build.report["assumption"]
    assert facts["exact"] and facts["luts"] == facts["luts_exact"] and build.assumption is None
    assert build.files == lutc.compile(design, stages=0).files and build.report["notes"] == []
    assert not (build.write("build") / "assumed.lir").exists()


def test_opt_takes_rows_too() -> None:
    words = ["opt", "m.lir", "--assume-inputs", "a.npz", "--assume-margin", "1"]
    for passes in ("assume-tables", "standard"):
        done = CliRunner().invoke(main, [*words, "-p", passes])
        assert done.exit_code == 0 and 'note "exact on the assumed inputs only: 60 rows' in done.output
    done = CliRunner().invoke(main, [*words, "-p", "narrow"])
    assert done.exit_code == 2 and "passes of your own leave no place for assume_inputs" in done.output


def spoilt(at: tuple[int, ...], number: float) -> Any:
    rows = ROWS.copy()
    rows[at] = number
    return rows


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "another name": ({"y": ROWS, "z": ROWS}, "a.npz: error: tables has no input 'y'"),
    "one too many": ({"x": ROWS, "z": ROWS}, "a.npz: error: tables has no input 'z'"),
    "no row": ({"x": ROWS[:0]}, "a.npz: x: error: there are no rows"),
    "no array": ({}, "a.npz: error: assume_inputs holds no arrays"),
    "another shape": ({"x": ROWS[:, :5]}, "a.npz: x: error: input 'x' needs shape ['batch', 6], not [60, 5]"),
    "a single number": ({"x": np.float64(3)}, "a.npz: x: error: this is no array of real numbers"),
    "text": ({"x": ROWS.astype(str)}, "a.npz: x: error: this is no array of real numbers"),
    "complex": ({"x": ROWS + 1j}, "a.npz: x: error: this is no array of real numbers"),
    "not a number": ({"x": spoilt((7, 2), np.nan)}, "a.npz: x: error: row 7 has a number that is not finite"),
    "infinite": ({"x": spoilt((59, 0), np.inf)}, "a.npz: x: error: row 59 has a number that is not finite"),
    "too large": (
        {"x": spoilt((3, 4), 4.2)},
        "a.npz: x: error: row 3, element [4] is 4.2, and the port holds -4 to 3.9375 (s7f4)",
    ),
    "too small": (
        {"x": spoilt((3, 4), -9)},
        "row 3, element [4] is -9, and the port holds -4 to 3.9375 (s7f4)",
    ),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("option", ["--assume-inputs", "--assume-check"])
def test_data_that_do_not_suit_are_refused(folder: Path, name: str, option: str) -> None:
    arrays, message = WRONG[name]
    np.savez("a.npz", **arrays)
    np.savez("good.npz", x=ROWS)
    words = [option, "a.npz", *(["--assume-inputs", "good.npz"] if option == "--assume-check" else [])]
    before = sorted(p.name for p in folder.iterdir())
    done = command(*words)
    assert done.exit_code == 2, done.output
    assert message.replace("assume_inputs holds", f"{option[2:].replace('-', '_')} holds") in done.output
    assert sorted(p.name for p in folder.iterdir()) == before


def test_files_that_are_no_arrays_are_refused(folder: Path) -> None:
    Path("text.npz").write_text("x")
    for file, message in (
        ("text.npz", "no array of numbers"),
        ("none.npz", "No such file"),
        (".", "directory"),
    ):
        done = command("--assume-inputs", file)
        assert done.exit_code == 2 and message in done.output, done.output
    assert not Path("build").exists()
    for given in (3, None, "", b"x", [[1, "a"]], {"x": None}, [[1, 2], [3]]):
        with pytest.raises((LirError, ValueError)) as refused:
            lutc.compile(tables(), assume_inputs=given, assume_check=ROWS)
        assert isinstance(refused.value, LirError), given


def test_two_inputs_have_as_many_rows() -> None:
    design = lutc.loads("lir 1\ndesign d(%x: s4, %y: s4) -> (z = %z) {\n  %z = add %x, %y\n}\n")
    with pytest.raises(LirError, match="differ in their number of rows: x 3, y 2"):
        lutc.compile(design, assume_inputs={"x": [1, 2, 3], "y": [1, 2]})
    with pytest.raises(LirError, match="no array for input 'y'"):
        lutc.compile(design, assume_inputs={"x": [1, 2, 3]})
    with pytest.raises(LirError, match="has no input ''"):
        lutc.compile(design, assume_inputs=[1, 2, 3])
    nothing = lutc.loads("lir 1\nconst @c: u2 = 3\ndesign d() -> (z = %z) {\n  %z = const @c\n}\n")
    with pytest.raises(LirError, match="has no inputs"):
        lutc.compile(nothing, assume_inputs=[1, 2, 3])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.arange(39), "there are 39 labels for 40 rows"),
        (np.full(40, 3), "the label of row 0 is 3, and the classes are 0 to 2"),
        (np.full(40, 0.5), "the label of row 0 is 0.5"),
        (np.full(40, np.nan), "the label of row 0 is nan"),
        (np.zeros((40, 3)), r"labels have the shape \[40, 3\]"),
        ({"p": np.zeros(40), "q": np.zeros(40)}, "several arrays of labels: 'p', 'q'"),
    ],
)
def test_labels_that_do_not_suit_are_refused(given: Any, message: str) -> None:
    with pytest.raises(LirError, match=message):
        lutc.compile(tables(), stages=0, assume_inputs=ROWS, assume_check=OTHERS, assume_labels=given)


def test_labels_are_given_once() -> None:
    held_out = {"x": OTHERS, "labels": np.zeros(len(OTHERS))}
    with pytest.raises(LirError, match=r"there are labels in .*, and others"):
        lutc.compile(
            tables(), stages=0, assume_inputs=ROWS, assume_check=held_out, assume_labels=held_out["labels"]
        )


def test_a_single_output_has_two_classes() -> None:
    text = "lir 1\ndesign d(%x: s6f2, %y: s6f2) -> (z = %z) {\n  %z = sub %x, %y\n}\n"
    rows = {"x": [1, 2, 3, 0.5], "y": [2, 1, 4, 0.25]}
    build = lutc.compile(
        lutc.loads(text), stages=0, assume_inputs=rows, assume_check=rows, assume_labels=[0, 1, 1, 1]
    )
    check = build.report["assumption"]["check"]
    assert check["accuracy"] == check["accuracy_exact"] == 0.75


def test_settings_that_go_together() -> None:
    for wrong, message in (
        ({"assume_check": ROWS}, "assume_check says nothing without assume_inputs"),
        ({"assume_labels": [1]}, "assume_labels says nothing without assume_inputs"),
        ({"assume_inputs": ROWS, "assume_labels": [1]}, "assume_labels are those of assume_check"),
        ({"assume_inputs": ROWS, "approx_lsb": 1}, "approx_lsb proves a bound for every input"),
        ({"assume_inputs": ROWS, "assume_margin": -1}, "a margin is a whole number from 0"),
        ({"assume_inputs": ROWS, "assume_margin": 1.5}, "a margin is a whole number from 0"),
        ({"assume_inputs": ROWS, "passes": (Narrow(),)}, "leave no place for assume_inputs"),
    ):
        with pytest.raises(LirError, match=message):
            lutc.Settings(**wrong)
    made = lutc.Settings(assume_inputs=ROWS, passes=(AssumeTables(),))
    assert made.assume_inputs.arrays[""] is not None and made.assume_margin == 2


def test_a_pass_that_approximates_does_not_go_with_rows() -> None:
    with pytest.raises(LirError, match="a pass approximates"):
        lutc.compile(
            tables(), assume_inputs=ROWS, passes=(Scalarize(), Approximate(2), AssumeTables(), Narrow())
        )


def test_nothing_changes_without_rows() -> None:
    plain = lutc.compile(tables(), stages=0)
    assert "assumption" not in plain.report and plain.assumption is None
    assert not any(name.startswith("assume") for name, _ in plain.stages)
