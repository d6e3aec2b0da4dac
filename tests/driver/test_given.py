"""What the library is given wrongly is said at once, with its name: inputs, constants, outputs, paths."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import lutc
from lutc.cli import main
from lutc.diagnostics import LirError
from lutc.text.parse import parse

MODEL = "lir 1\ndesign d(%x: s4, %z: s4) -> (y = %y) {\n  %y = add %x, %z\n}\n"
ONE = np.ones(2)
MASKED = np.ma.array([1.0, 2.0], mask=[False, True])


@pytest.mark.parametrize(
    ("inputs", "named", "message"),
    [
        ([ONE], {"x": ONE, "z": ONE}, "its input 'x' twice"),
        ([ONE, ONE], {"z": ONE}, "its input 'z' twice"),
        ([{"x": ONE, "z": ONE}], {}, r"give them by name: run\(x=..., z=...\)"),
        ([MASKED, ONE], {}, "'x' has masked"),
        ([ONE], {"z": MASKED}, "'z' has masked"),
    ],
)
def test_inputs(inputs: list[Any], named: dict[str, Any], message: str) -> None:
    with pytest.raises(LirError, match=message):
        parse(MODEL).run(*inputs, **named)


def test_a_mask_that_hides_nothing() -> None:
    assert parse(MODEL).run(np.ma.array([1.0, 2.0]), z=ONE).tolist() == [2, 3]


@pytest.mark.parametrize(
    "values",
    [
        [np.nan, 1],
        [1, np.inf],
        ["a", 1],
        [None, 1],
        [1j, 1],
        [[1], [1, 2]],
        [..., 1],
        ["1/0", "1"],
        MASKED,
    ],
    ids=repr,
)
def test_constants_and_tables(values: Any) -> None:
    b = lutc.Builder("d")
    with pytest.raises(LirError, match="constant 'w'"):
        b.constant("w", "s4f2[2]", values)
    with pytest.raises(LirError, match="table 't'"):
        b.table("t", "u1", "s4f2", values)


def test_constants_in_other_spellings() -> None:
    assert lutc.Builder("d").constant("w", "s4f2[2]", ["1/2", Fraction(1, 4)]).codes.tolist() == [2, 1]


@pytest.mark.parametrize("value", [3, None, "x", ONE, []], ids=repr)
def test_outputs(value: Any) -> None:
    with pytest.raises(LirError, match="output 'y'"):
        lutc.Builder("d").output("y", value)


def test_a_constant_is_no_output_without_its_operation() -> None:
    b = lutc.Builder("d")
    with pytest.raises(LirError, match="output 'y'"):
        b.output("y", b.constant("w", "s4", 1))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--vectors=-5"], "from 1 to 10,000,000"),
        (["--vectors=0"], "at least one vector"),
        (["--vectors=-5", "--test-data=x.npz"], "from 0 to 10,000,000"),
        (["-o", ""], "path is empty"),
        (["--test-data", ""], "path is empty"),
    ],
)
def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("d.lir").write_text(MODEL)
    np.savez("x.npz", x=ONE, z=ONE)
    done = CliRunner().invoke(main, ["compile", "d.lir", *words])
    assert done.exit_code == 2 and message in done.output
    assert sorted(p.name for p in tmp_path.iterdir()) == ["d.lir", "x.npz"]


def test_an_empty_path_and_no_vectors_in_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    build = lutc.compile(parse(MODEL))
    with pytest.raises(LirError, match="is empty"):
        build.write("")
    with pytest.raises(LirError, match="at least one vector"):
        build.write("b", vectors=0)
    build.write("b", vectors=0, user_vectors={"x": ONE, "z": ONE})
    assert [p.name for p in tmp_path.iterdir()] == ["b"]
