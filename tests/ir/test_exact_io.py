"""Numbers at the ports, in and out: exact, or refused with the port's name."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

import lutc
from lutc.cli import main
from lutc.diagnostics import LirError
from lutc.ir.graph import Output, Param
from lutc.ir.interp import port_codes, port_reals
from lutc.numbers import quantised
from lutc.types import Fixed, Overflow, Rounding, scalar

Run = Callable[..., Result]


@pytest.fixture(name="run")
def _run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a design of one port `x` and its outputs on an array, `lutc run`; the exit code must be the one given."""
    monkeypatch.chdir(tmp_path)

    def run(head: str, x: Any, *options: str, output: str = "y.npy", code: int = 0) -> Result:
        Path("d.lir").write_text(f"lir 1\ndesign d({head}) {{\n  %y = mul %x, %x\n}}\n")
        np.save("x.npy", x)
        arguments = ["run", "d.lir", "--input", "x.npy", "--output", output, *options]
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == code, result.output
        return result

    return run


# -- out --------------------------------------------------------------------------------------------------------------

BIG = 2**34 + 1  # its square has 69 bits, the lowest of them 1


@pytest.mark.parametrize(
    ("head", "x"),
    [
        ("%x: s36) -> (y = %y", [3, BIG]),
        ("%x: s36f40) -> (y = %y", [BIG / 2**40]),
        ("%x: s4) -> (y = %x scale=1/3", [1]),
        ("%x: s4) -> (y = %x offset=1/3", [1]),
        ("%x: s4 scale=1/3) -> (y = %x scale=1/3", [1 / 3]),
        ("%x: s2) -> (y = %x scale=9007199254740993", [1]),
        ("%x: s2f1060 scale=1e300) -> (y = %x scale=1e-20", [1e-19]),
    ],
)
def test_an_answer_that_no_double_holds_is_refused(run: Run, head: str, x: list[Any]) -> None:
    Path("y.npy").write_text("what was there")
    said = run(head, x, code=2).stderr
    assert "output 'y'" in said and "float64" in said and "--codes" in said
    assert Path("y.npy").read_text() == "what was there"


@pytest.mark.parametrize(
    ("head", "x", "want"),
    [
        ("%x: s36) -> (y = %y", [3, 2**34], [9.0, 2.0**68]),
        ("%x: s4) -> (y = %x scale=1/4 offset=1/2", [1, 2], [0.75, 1.0]),
        ("%x: s4) -> (y = %x scale=1/3", [3, -6], [1.0, -2.0]),
    ],
)
def test_answers_that_doubles_hold_are_doubles(run: Run, head: str, x: list[Any], want: list[float]) -> None:
    run(head, x)
    answers = np.load("y.npy")
    assert answers.dtype == np.float64 and answers.tolist() == want


def codes_in(place: str, port: str) -> tuple[list[int], dict[str, Any]]:
    with np.load(place) as file:
        found, about = file[port], json.loads(str(file[f"{port}.format"]))
    assert found.dtype == np.int64 or found.dtype.kind == "U"
    return [int(c) for c in found.ravel()], about


@pytest.mark.parametrize(
    ("head", "x", "codes", "about"),
    [
        ("%x: s36) -> (y = %y", [3, -BIG], [9, BIG**2], {"type": "s72", "scale": ["1"], "offset": ["0"]}),
        ("%x: s4) -> (y = %x scale=1/3 offset=1/7", [1], [1], {"type": "s4", "scale": ["1/3"], "offset": ["1/7"]}),
        ("%x: u64) -> (y = %x", ["18446744073709551615"], [2**64 - 1], {"type": "u64"}),
        ("%x: s64) -> (y = %x", ["-9223372036854775808"], [-(2**63)], {"type": "s64"}),
        ("%x: s60f30) -> (y = %x", [f"{2**59 - 1}/{2**30}"], [2**59 - 1], {"type": "s60f30"}),
    ],
)  # fmt: skip
def test_codes_and_their_format(run: Run, head: str, x: Any, codes: list[int], about: dict[str, Any]) -> None:
    run(head, x, "--codes", output="y.npz")
    found, said = codes_in("y.npz", "y")
    assert found == codes and said.items() >= about.items()
    result = run(head, x, "--codes")
    assert json.loads(result.stdout)["y"] == said
    assert [int(c) for c in np.load("y.npy")] == codes


def test_every_port_has_its_answers_whatever_its_name(run: Run) -> None:
    """Names that are arguments of the functions which write and read such files."""
    names = ["file", "allow_pickle", "args", "self", "design", "y"]
    run("%x: s4[2]) -> (" + ", ".join(f"{n} = %x" for n in names), [[1, 2]], output="y.npz")
    with np.load("y.npz") as found:
        assert {n: found[n].tolist() for n in found.files} == {n: [[1, 2]] for n in names}
    inputs = {"file": [1], "self": [2], "design": [3], "allow_pickle": [4]}
    ports = ", ".join(f"%{n}: s4" for n in inputs)
    outputs = ", ".join(f"y{n} = %{n}" for n in inputs)
    design = lutc.loads(f"lir 1\ndesign d({ports}) -> ({outputs}) {{\n}}\n")
    assert {n: y.tolist() for n, y in design.run(**inputs).items()} == {f"y{n}": v for n, v in inputs.items()}


@pytest.mark.parametrize("output", ["y", "y.txt", "y.npy.gz"])
def test_another_kind_of_file_is_refused(run: Run, output: str) -> None:
    assert ".npy or .npz" in run("%x: s4) -> (y = %x", [1], output=output, code=2).stderr
    assert not list(Path().glob("y*"))


def test_one_output_in_an_archive(run: Run) -> None:
    run("%x: s4) -> (y = %x", [1], output="y.npz")
    with np.load("y.npz") as found:
        assert found["y"].tolist() == [1.0]


def test_a_batch_of_none(run: Run) -> None:
    run("%x: s36) -> (y = %y", np.zeros(0))
    assert np.load("y.npy").shape == (0,)
    run("%x: s36) -> (y = %y", np.zeros(0), "--codes")
    assert np.load("y.npy").shape == (0,)


@pytest.mark.parametrize("frac", [-1100, -980, -971, -970, 1000, 1074, 1075, 1100, 2000])
def test_scales_beyond_a_doubles_exponent(frac: int) -> None:
    """A narrow code whose unit no double holds, or hardly one."""
    b = lutc.Builder("d")
    kind = scalar(Fixed(True, 40, frac))
    codes = np.array([1, -1, 2**39 - 1, -(2**39)])
    answers = port_reals(Output("y", b.input("x", kind)), codes)
    assert [Fraction(a) for a in answers.tolist()] == [int(c) * Fraction(2) ** -frac for c in codes]


# -- in ---------------------------------------------------------------------------------------------------------------

RULES = [(r, o) for r in Rounding for o in (Overflow.SATURATE, Overflow.WRAP)]


@pytest.mark.parametrize(
    "x",
    [
        np.array([2**53 + 1, -(2**53) - 1]),
        np.array([2**63 - 1, -(2**63)]),
        np.array([2**64 - 1, 2**53 + 1], dtype=np.uint64),
        np.array([2**31 - 1, -(2**31)], dtype=np.int32),
        np.array([1, 0], dtype=bool),
        np.array([0.1, 65504, 6e-8], dtype=np.float16),
        np.array([0.1, 3e38], dtype=np.float32),
        np.array([0.1, 1e308, 5e-324]),
        np.array([2**53 + 1, 1.5], dtype=object),
        np.array([Fraction(1, 3), Decimal("0.1"), True, np.float32(0.1), np.uint64(2**64 - 1)], dtype=object),
        [2**53 + 1, 0.5],
        [2**63, -1],
        [2**70 + 1, 0.5],
        (np.int64(2**53 + 1), 0.5),
        np.array(["1/3", "-2.5e-3", "9007199254740993", "18446744073709551617"]),
        np.array([0.1, 1.5], dtype=np.longdouble),
        np.array([2**60 + 1, -3], dtype=np.int64).astype(np.longdouble),
        np.array([3], dtype=np.longdouble) / 7,
        np.array([2], dtype=np.longdouble) ** 2000,
    ],
    ids=lambda x: f"{np.asarray(x).dtype}",
)
@pytest.mark.parametrize(
    "fmt", [Fixed(True, 60, 3), Fixed(True, 50, -3), Fixed(False, 8, 0), Fixed(True, 90, 20)]
)
def test_every_kind_of_number_is_taken_exactly(x: Any, fmt: Fixed) -> None:
    flat: list[Any] = x.tolist() if isinstance(x, np.ndarray) and x.dtype != np.longdouble else list(x)
    flat = [int(v) if isinstance(v, np.integer) else v for v in flat]
    exact = [Fraction(*v.as_integer_ratio()) if hasattr(v, "as_integer_ratio") else Fraction(v) for v in flat]
    for scale in (Fraction(1), Fraction(1, 3)):
        for rounding, overflow in RULES:
            param = Param(scalar(fmt), rounding, overflow, scale, name="x")
            want = [quantised(v / scale, fmt, rounding, overflow) for v in exact]
            assert port_codes(param, x).tolist() == want


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.array([1.0, np.nan]), "not finite"),
        (np.array([np.inf]), "not finite"),
        (np.array([np.nan], dtype=np.float16), "not finite"),
        (np.array([np.inf], dtype=np.longdouble), "not finite"),
        (np.array([1.0, float("nan")], dtype=object), "not finite"),
        (np.array([Decimal("inf")], dtype=object), "not finite"),
        (np.array([1 + 0j]), "needs real numbers, not complex128"),
        (np.array([1, 1 + 0j], dtype=object), "needs real numbers, not (1+0j)"),
        (np.array([None]), "needs real numbers, not None"),
        (np.array(["one"]), "needs real numbers, not 'one'"),
        (np.array(["nan"]), "needs real numbers, not 'nan'"),
        (np.array(["1/0"]), "needs real numbers, not '1/0'"),
        (np.array(["1e999999999"]), "needs real numbers, not '1e99"),
        (np.array([b"1"]), "needs real numbers"),
        (np.array(["2020-01-01"], dtype="datetime64[D]"), "needs real numbers"),
        (np.zeros(1, dtype=[("a", int)]), "needs real numbers"),
        ([[1], [1, 2]], "needs real numbers"),
    ],
)
def test_what_is_no_number_is_refused_by_its_port(x: Any, message: str) -> None:
    design = lutc.loads("lir 1\ndesign d(%speed: s8f2) -> (y = %speed) {\n}\n")
    with pytest.raises(LirError, match="input 'speed'") as refused:
        design.run(x)
    assert message in str(refused.value)


def test_objects_in_a_file_are_refused_with_a_way(run: Run) -> None:
    said = run("%x: s4) -> (y = %x", np.array([Fraction(1, 3)]), code=2).stderr
    assert "x.npy" in said and "text" in said


# -- reports and benches ----------------------------------------------------------------------------------------------


def test_a_bench_and_a_report_hold_it_all(run: Run) -> None:
    head = "%x: s60f30 scale=1/3) -> (y = %x scale=1/3 offset=9007199254740993"
    code = 2**58 + 1
    run(head, [str(Fraction(code, 3 * 2**30))], "--codes", output="y.npz")
    assert codes_in("y.npz", "y")[0] == [code]
    options = ["--test-data", "x.npy", "--vectors", "3", "--stages", "0", "--verify"]
    result = CliRunner().invoke(main, ["compile", "d.lir", *options])
    assert result.exit_code == 0, result.output
    assert int(Path("build/sim/inputs.hex").read_text().splitlines()[1], 16) == code
    facts = json.loads(Path("build/report.json").read_text())
    assert facts["inputs"][0]["scale"] == "1/3"
    assert facts["outputs"][0]["offset"] == ["9007199254740993"] and facts["outputs"][0]["scale"] == ["1/3"]
