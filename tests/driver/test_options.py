"""Numbers and words that make no sense are refused before any work, on the command line and in Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import lutc
from lutc.cli import main
from lutc.diagnostics import LirError
from lutc.passes import registry
from lutc.text.parse import parse

MODEL = "lir 1\ndesign d(%x: s4) -> (y = %y) {\n  %y = mul %x, %x\n}\n"
HUGE = str(10**400)


@pytest.mark.parametrize(
    "words",
    [
        *([f"--clock-ns={v}"] for v in ("inf", "nan", "0", "-1", "1e-300", "1e300", "-inf")),
        *([f"--clock-mhz={v}"] for v in ("inf", "nan", "0", "-5", "1e-300", "1e300", "1e9")),
        *([f"--stages={v}"] for v in ("-1", "100000", "9" * 400)),
        *([f"--vectors={v}"] for v in ("-1", "-100", "99999999999", "9" * 400)),
        *([f"--approx-lsb={v}"] for v in ("nan", "inf", "-1", "-inf")),
        *([f"--assume-inputs={v}"] for v in ("", ".", "none.npz", "d.lir", "\n", "a" * 5000)),
        *([f"--assume-margin={v}"] for v in ("-1", "x", "9" * 400)),
        ["--assume-check=d.lir"],
        *([f"--top={v}"] for v in ("", "0x", "a b", "\u00fcber", "a;endmodule", "a" * 5000, "\n", "../x")),
        *(
            [f"--input-type={v}"]
            for v in ("nonsense", "", "s8f4[", "x=", "s99999999", "x=s8f4=3", "=", "a" * 9000)
        ),
        ["--input-type=x=s4", "--input-type=x=s8"],
        ["--clock-ns=3", "--clock-mhz=100"],
        ["--clock-ns=3", "--stages=2"],
    ],
    ids=lambda words: " ".join(words)[:40].encode("ascii", "replace").decode(),
)
def test_the_command_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    Path("d.lir").write_text(MODEL)
    done = CliRunner().invoke(main, ["compile", "d.lir", *words])
    assert done.exit_code == 2, done.output
    assert "rror: " in done.output and len(done.output) < 1500
    assert [p.name for p in tmp_path.iterdir()] == ["d.lir"]


@pytest.mark.parametrize(
    "options",
    [
        *({"clock_ns": v} for v in ("3", float("nan"), float("inf"), 10**400, True, [3], b"3", 1 + 2j)),
        *({"stages": v} for v in ("2", 2.0, 1.5, True, float("nan"), 10**9, [2])),
        *({"approx_lsb": v} for v in ("1", None, float("nan"), [1], True)),
        *({"assume_inputs": v} for v in (3, "", b"x", [[1], [1, 2]], {}, {"x": "1"}, ["1"], [], object())),
        *({"assume_margin": v} for v in ("1", None, 1.5, -1, True)),
        {"assume_margin": 3},  # of nothing
        {"assume_check": [1]},
        *({"top": v} for v in (5, "", b"x", ["x"], "a" * 999)),
        *({"hdl": v} for v in ("foo", "bench", "", None, "Verilog", ["verilog"], 3)),
        *({"effort": v} for v in ("slow", None, 3, "")),
        *({"objective": v} for v in ("speed", None, 3, "")),
        *({"dsp": v} for v in ("some", None, True)),
        *({"valid": v} for v in ("no", 1, None)),
        *({"clock_enable": v} for v in ("no", 0, None)),
        *({"check": v} for v in (-1, "9", 1.5, 10**12)),
        *({"target": v} for v in (None, 5, "", Path("x.toml"), ["xcvu13p"])),
        *(
            {"input_types": v}
            for v in (5, ["s8f4"], {"x": 5}, {"x": None}, {3: "s4"}, {"x": "nonsense"}, b"s4")
        ),
    ],
    ids=lambda o: repr(o).partition(" object at ")[0][:40],
)
def test_the_library_refuses(tmp_path: Path, options: dict[str, Any]) -> None:
    """Before the model is looked for: there is none. What a model is loaded with is checked before it is read."""
    with pytest.raises(LirError) as raised:
        lutc.compile(tmp_path if "input_types" in options else tmp_path / "none.lir", **options)
    (found,) = raised.value.diagnostics
    assert "no such file" not in found.message and "no frontend" not in found.message
    assert len(str(found)) < 700


def test_a_language_is_one_of_those_there_are() -> None:
    with pytest.raises(LirError, match=r"one of: c, verilog, vhdl|did you mean"):
        lutc.compile(MODEL, hdl="foo")


@pytest.mark.parametrize("vectors", [-1, 1.5, "9", True, 10**12])
def test_vectors_are_checked_before_the_folder_is_made(tmp_path: Path, vectors: Any) -> None:
    build = lutc.compile(parse(MODEL), stages=0)
    with pytest.raises(LirError, match="a number of vectors"):
        build.write(tmp_path / "deep" / "b", vectors=vectors)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "source", ["", "a" * 5000, "a\0b", "a" * 5000 + ".lir", 5, None, b"x", ["d.lir"], {}]
)
def test_what_is_no_model(source: Any) -> None:
    with pytest.raises(LirError) as raised:
        lutc.load(source)
    assert len(str(raised.value)) < 700


@pytest.mark.parametrize(
    "text",
    [
        "pipeline{period=nan}",
        "pipeline{period=-1}",
        "pipeline{period=0}",
        "pipeline{stages=-1}",
        "pipeline{stages=-2}",
        "pipeline{stages=100000}",
        "pipeline{stages=" + HUGE + "}",
        "approximate{lsb=inf}",
        "dsp{mode=some}",
        "share{extra=-1}",
        "rescale{target=xcvu13p}",
    ],
)
def test_a_pass_refuses_before_any_runs(text: str) -> None:
    with pytest.raises(LirError) as raised:
        registry.parse(f"scalarize, {text}")
    assert len(str(raised.value)) < 700


def test_vectors_times_elements_are_counted(tmp_path: Path) -> None:
    build = lutc.compile(parse(MODEL.replace("s4", "u1[3000]").replace("mul %x, %x", "relu %x")), stages=0)
    with pytest.raises(LirError, match="16666 vectors are the most"):
        build.write(tmp_path / "b", vectors=20_000)
    assert not list(tmp_path.iterdir())
