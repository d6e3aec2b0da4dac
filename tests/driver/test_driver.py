"""lutc as a library: load, run, compile, and IR built by hand."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lutc
from lutc.diagnostics import LirError
from lutc.ir.graph import Design, Param, Stage
from lutc.ir.interp import port_codes
from lutc.ir.latency import latency
from lutc.numbers import quantised
from lutc.passes.context import Context
from lutc.passes.scalarize import Scalarize
from lutc.types import Fixed, Overflow, Rounding, scalar

WEIGHTS = np.array([[1.25, -0.5], [0, 0.75], [-2, 1], [0.25, 0.25]])


def tagger(**options: Any) -> Design:
    b = lutc.Builder("tagger")
    x = b.input("x", "s6f3[4]", **options)
    with b.origin("dense_1"):
        h = b.dense(x, b.constant("w", "s4f2[4, 2]", WEIGHTS))
    b.output("score", b.quant(h, to="s6f2[2]", round="nearest-half-up", overflow="saturate", name="s"))
    return b.design()


def expected(x: Any) -> Any:
    """In doubles, which hold all of it exactly."""
    seen = np.clip(np.round(x * 8), -32, 31) / 8  # numpy rounds half to even, as the port does
    return np.clip(np.floor(seen @ WEIGHTS * 4 + 0.5), -32, 31) / 4


X = np.concatenate([np.random.default_rng(3).normal(0, 2, (200, 4)), np.full((2, 4), [[100.0], [-100.0]])])


def test_run_and_compile() -> None:
    design = tagger()
    want = expected(X)
    assert design.run(X).dtype == np.float64 and (design.run(X) == want).all()
    assert (design.run(x=X.astype(np.float32).astype(float)) == expected(X.astype(np.float32))).all()
    build = lutc.compile(design, target="xcvu13p", clock_ns=2.0)
    assert (build.run(X) == want).all() and (build.design.run(X) == want).all()
    assert build.source is design and build.design.stage is Stage.SCALAR
    assert build.report["clock_ns"] == 2.0 and build.report["latency_cycles"] == latency(build.design) > 0
    assert list(build.files) == ["tagger.v", "LUT3.v"] and "module tagger" in build.files["tagger.v"]


def test_write_load_and_simulate(tmp_path: Path) -> None:
    build = lutc.compile(tagger(), stages=1, hdl="vhdl", valid=True)
    folder = build.write(tmp_path / "deep" / "down", vectors=20, user_vectors={"x": X[:3]})
    assert folder == tmp_path / "deep" / "down"
    result = lutc.simulate(folder)
    assert result.passed and result.vectors == 23
    again = lutc.load(folder / "model.lir")
    assert (again.run(X) == expected(X)).all()
    last = lutc.load(sorted((folder / "stages").iterdir())[-1])
    assert (last.run(X) == expected(X)).all() and latency(last) == 1


def test_builds_are_the_same_each_time(tmp_path: Path) -> None:
    """Nothing depends on the time, on addresses or on the order of a set."""
    first = lutc.compile(tagger(), clock_ns=1.5).write(tmp_path / "a", vectors=30)
    second = lutc.compile(tagger(), clock_ns=1.5).write(tmp_path / "b", vectors=30)
    files = sorted(p.relative_to(first) for p in first.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(second) for p in second.rglob("*") if p.is_file())
    for file in files:
        assert (first / file).read_bytes() == (second / file).read_bytes(), file


@pytest.mark.parametrize("hdl", ["verilog", "vhdl"])
def test_controls(hdl: str) -> None:
    text = "".join(lutc.compile(tagger(), stages=2, clock_enable=True, valid=True, hdl=hdl).files.values())
    for port in ("clk", "ce", "valid_in", "valid_out"):
        assert port in text
    plain = lutc.compile(tagger(), stages=0, clock_enable=True, hdl=hdl)
    assert not plain.control.clock_enable and plain.report["clock_enable"] is False
    assert "clk" not in "".join(plain.files.values())


def test_own_passes_and_progress() -> None:
    told: list[str] = []
    design = tagger()
    build = lutc.compile(design, passes=[Scalarize()], progress=told.append)
    assert [name for name, _ in build.stages] == ["scalarize"] and "scalarize (1 of 1)" in told
    assert (build.run(X) == expected(X)).all() and build.report["latency_cycles"] == 0
    with pytest.raises(LirError, match="run the passes that write it out"):
        lutc.compile(design, passes=[])


def test_progress_names_the_pass_that_runs() -> None:
    told: list[str] = []
    running: list[str] = []

    class Watched(Scalarize):
        def __call__(self, design: Design, context: Context) -> Design:
            running.append(told[-1])
            return super().__call__(design, context)

    lutc.compile(tagger(), passes=[Watched(), Watched()], progress=told.append)
    assert running == ["scalarize (1 of 2)", "scalarize (2 of 2)"]


def test_load_takes_designs_paths_and_says_what_else(tmp_path: Path) -> None:
    design = tagger()
    assert lutc.load(design) is design
    (tmp_path / "t.lir").write_text(str(design))
    assert lutc.load(str(tmp_path / "t.lir")).name == "tagger"
    assert (lutc.compile(tmp_path / "t.lir", stages=0).run(X) == expected(X)).all()
    with pytest.raises(LirError, match=r"no frontend takes a builtins.dict(.|\n)*lutc reads .lir"):
        lutc.load({})
    with pytest.raises(LirError, match=r"no frontend reads .tflite"):
        (tmp_path / "m.tflite").touch()
        lutc.load(tmp_path / "m.tflite")


# -- real numbers in and out ------------------------------------------------------------------------------------------


def test_ports_convert_by_their_own_rule() -> None:
    b = lutc.Builder("ports")
    x = b.input("x", "s4f1", round="floor", overflow="wrap")
    z = b.input("z", "u3", round="away", overflow="saturate", scale=Fraction(1, 3), offset=-1)
    b.output("x", x, scale=Fraction(2, 3))
    b.output("sum", b.add(x, z))
    with pytest.raises(LirError, match="two ports are named 'x'"):
        b.design()
    b = lutc.Builder("ports")
    x = b.input("x", "s4f1", round="floor", overflow="wrap")
    z = b.input("z", "u3", round="away", overflow="saturate", scale=Fraction(1, 3), offset=-1)
    b.output("third", x, scale=Fraction(2, 3), offset=Fraction(1, 7))
    b.output("sum", b.add(x, z))
    answers = b.design().run([0.3, -0.3, 4.0, 100.0], z=[-1, -0.9, 0, 9])
    seen, codes = [Fraction(0), Fraction(-1, 2), Fraction(-4), Fraction(-4)], [0, 1, 3, 7]
    assert answers["third"].tolist() == [v * Fraction(2, 3) + Fraction(1, 7) for v in seen]
    assert answers["sum"].tolist() == [float(v) + c for v, c in zip(seen, codes, strict=True)]


@pytest.mark.parametrize("overflow", Overflow)
@pytest.mark.parametrize("rounding", Rounding)
def test_every_float_becomes_the_right_code(rounding: Rounding, overflow: Overflow) -> None:
    """Ties, their neighbours among the doubles, numbers far too large and far too small; integers beyond doubles."""
    rng = np.random.default_rng(7)
    near = np.arange(-40, 41) / 8
    near = np.concatenate([near, np.nextafter(near, 99), np.nextafter(near, -99), rng.normal(0, 3, 200)])
    wild = rng.choice([-1, 1], 60) * 2.0 ** rng.uniform(-1070, 1020, 60)
    formats = (
        Fixed(True, 5, 1),
        Fixed(False, 4, 0),
        Fixed(True, 6, -2),
        Fixed(True, 50, 20),
        Fixed(True, 60, 3),
    )
    for fmt in formats:
        param = Param(scalar(fmt), rounding, overflow, name="x")
        for x in (
            near[np.abs(near) > 0.01],
            wild,
            np.array([0.0, 5e-324, -5e-324]),
        ):  # apart: one array goes one way
            want = [quantised(Fraction(v), fmt, rounding, overflow) for v in x.tolist()]
            assert port_codes(param, x).tolist() == want
    whole = np.array([3, -3, (1 << 60) + 1, -(1 << 60) - 1, (1 << 53) + 1])
    param = Param(scalar(Fixed(True, 50, -3)), rounding, overflow, name="x")
    want = [quantised(Fraction(v), Fixed(True, 50, -3), rounding, overflow) for v in whole.tolist()]
    assert port_codes(param, whole).tolist() == want


def test_numbers_beyond_doubles_stay_exact() -> None:
    b = lutc.Builder("wide")
    x = b.input("x", "s80f40")
    b.output("y", b.mul(x, x))
    value = Fraction((1 << 70) + 1, 1 << 40)
    (answer,) = b.design().run(np.array([value], dtype=object))
    assert answer == value * value


def test_a_batch_may_be_empty_or_squeezed() -> None:
    design = tagger()
    assert design.run(np.zeros((0, 4))).shape == (0, 2)
    assert design.run(np.zeros((3, 1, 4, 1))).shape == (3, 2)


@pytest.mark.parametrize(
    ("inputs", "named", "message"),
    [
        ([], {}, "tagger lacks its input 'x'"),
        ([X, X], {}, "has 1 inputs, but was given 2"),
        ([], {"y": X}, "has no input 'y'"),
        ([X[:, :3]], {}, r"needs shape \['batch', 4\], not \[202, 3\]"),
        ([3.0], {}, r"needs shape \['batch', 4\], not \[\]"),
        ([X * np.nan], {}, "not finite"),
        ([X.astype(complex)], {}, "needs real numbers, not complex128"),
        ([[["a", "b", "c", "d"]]], {}, "needs real numbers"),
    ],
)
def test_mistakes_with_inputs(inputs: list[Any], named: dict[str, Any], message: str) -> None:
    with pytest.raises(LirError, match=message):
        tagger().run(*inputs, **named)


def test_batches_of_different_length() -> None:
    b = lutc.Builder("two")
    b.output("y", b.add(b.input("a", "s4"), b.input("b", "s4")))
    with pytest.raises(LirError, match=r"differ in their number of samples: \[2, 3\]"):
        b.design().run([1, 2], [1, 2, 3])


# -- the builder ------------------------------------------------------------------------------------------------------


def test_builder_functions_tables_and_words() -> None:
    f = lutc.Builder("f")
    a = f.input("a", "s4[2]")
    func = f.function(f.sum(a))
    b = lutc.Builder("d")
    x = b.input("x", "s4[3, 2]")
    y = b.map(func, x)
    inverted = b.not_(b.quant(y, to="s5[3]"))
    table = b.table("t", "u1", Fixed(True, 3, 1), [-1.5, 0.5])
    positive = b.compare(y, b.sub(y, y), rel="gt")
    b.output("n", inverted)
    b.output("t", b.lut(positive, table))
    b.note("made by hand")
    design = b.design()
    answers = design.run([[[1, 2], [-3, 1], [0, 0]]])
    assert answers["n"].tolist() == [[-4, 1, -1]] and answers["t"].tolist() == [[0.5, -1.5, -1.5]]
    assert lutc.compile(design, stages=0).report["notes"][0] == "made by hand"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda b, x: b.add(x), "lacks its operand 'b'"),
        (lambda b, x: b.neg(x, x), "1 operands too many"),
        (lambda b, x: b.quant(x), "needs to=TYPE"),
        (lambda b, x: b.compare(x, x), "needs rel"),
        (lambda b, x: b.scale(x, by=2, bye=3), "has no attribute 'bye'"),
        (lambda b, x: b.compare(x, x, rel="less"), r"has no choice less(.|\n)*one of: lt"),
        (lambda b, x: b.scale(x, by=Fraction(1, 3)), r"no sum of powers of two(.|\n)*use rescale"),
        (lambda b, x: b.constant("c", "s4f1", 0.25), "0.25 is no number of s4f1"),
        (lambda b, x: b.constant("c", "s4f1[2]", [0.5]), "has shape"),
        (lambda b, x: b.table("t", "u2", "u1", [0, 1, 1]), "3 entries, not the 4"),
        (lambda b, x: b.dense(x), "needs a constant"),
        (lambda b, x: b.input("x", "s3"), "two inputs named 'x'"),
        (lambda b, x: b.quant(x, to="s8q3"), "s8q3"),
    ],
)
def test_mistakes_with_the_builder(make: Any, message: str) -> None:
    b = lutc.Builder("d")
    x = b.input("x", "s4f1")
    with pytest.raises(LirError, match=message):
        make(b, x)


def test_a_word_that_is_no_operation() -> None:
    with pytest.raises(AttributeError, match="did you mean dense"):
        lutc.Builder("d").denes(1)
    with pytest.raises(AttributeError, match="has no attribute 'compil'"):
        _ = lutc.compil


def test_every_public_name_is_there() -> None:
    for name in lutc.__all__:
        assert getattr(lutc, name) is not None
    assert lutc.loads(str(tagger())).name == "tagger", (
        "also when the module lutc.text.parse has been imported"
    )


def test_effort() -> None:
    """Products of a matrix: more effort never makes more adders, and what it means stays."""
    rows = np.random.default_rng(3).integers(-60, 60, (10, 10))
    matrix = "\n".join("  ".join(map(str, row)) for row in rows.tolist())
    text = f"lir 1\nconst @w: s7[10, 10] = [\n{matrix}\n]\n"
    text += "design d(%x: s6[10]) -> (y = %y) {\n  %y = dense %x, @w\n}\n"
    design = lutc.loads(text)
    data = np.random.default_rng(0).integers(-32, 32, (50, 10))
    luts = []
    for effort in ("fast", "normal", "high"):
        build = lutc.compile(design, stages=0, effort=effort)
        assert (build.run(data) == data @ rows).all()
        luts.append(build.report["estimate"]["luts"])
    assert luts[0] >= luts[1] >= luts[2]
    with pytest.raises(LirError, match="did you mean high"):
        lutc.compile(design, effort="hihg")
