"""The C model means what the reference interpreter says: on random designs of any width, in C99 and in C++17."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from random_designs import random_design

from conftest import need_tool
from lutc.backends.c import BACKEND
from lutc.cmodel.prepared import c_model, prepared
from lutc.cmodel.source import Model, model
from lutc.diagnostics import LirError
from lutc.engines import compiler, native
from lutc.ir.graph import Design
from lutc.ir.interp import execute
from lutc.text.parse import parse

GOLDEN = Path(__file__).parents[1] / "golden"
STRICT = (
    "-O0",
    "-Wall",
    "-Wextra",
    "-Wpedantic",
    "-Werror",
    "-fsanitize=undefined",
    "-fno-sanitize-recover=all",
)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_tool("gcc")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def samples(design: Design, rng: random.Random, count: int) -> dict[str, Any]:
    """Codes by port: ends of the formats, 0, and random ones."""
    found = {}
    for p in design.params:
        columns = [
            [rng.choice([f.lo, f.hi, 0, rng.randint(f.lo, f.hi)]) for _ in range(count)]
            for f in p.type.formats
        ]
        codes = np.array(columns, dtype=object).T if columns else np.zeros((count, 0), dtype=object)
        found[p.name or ""] = codes.reshape(count, *p.type.shape)
    return found


def same(design: Design, made: Model, seed: int, count: int = 70) -> None:
    codes = samples(design, random.Random(seed), count)
    want, got = execute(design, codes), native.Native(design, made).codes(codes)
    for name, answers in want.items():
        assert (np.asarray(answers, dtype=object) == np.asarray(got[name], dtype=object)).all(), (
            f"{seed}: {name}"
        )


@pytest.mark.parametrize("stage", ["tensor", "scalar"])
def test_random_designs_without_a_warning_or_undefined_behaviour(
    stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiler, "FLAGS", ("-std=c99", *STRICT))
    monkeypatch.setattr(compiler, "_SHARED", ("-shared", "-fPIC"))
    compiler._flags.cache_clear()
    for seed in range(25):
        design = random_design(random.Random(f"{stage} {seed}"), stage)
        same(design, model(design, "model", ""), seed)
    compiler._flags.cache_clear()


def test_random_designs_as_they_are_run_here() -> None:
    for seed in range(12):
        design = random_design(random.Random(seed))
        same(design, c_model(design, "model", ""), seed, 200)


def test_widths_from_0_to_130() -> None:
    """Sums, products, roundings and shifts at the widths around those of machine integers."""
    lines, outputs = [], []
    for n, width in enumerate(
        [0, 1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 62, 63, 64, 65, 96, 127, 128, 129, 130]
    ):
        for sign in "su":
            kind = f"{sign}{width}f3" if width else "u0"
            x = f"%x{n}{sign}"
            lines.append(f"  {x}: {kind} = quant %a, round=nearest-half-even, overflow=wrap")
            lines.append(f"  %p{n}{sign} = lincomb {x}, %b, weights=[-5, 3], bias=0.5")
            lines.append(
                f"  %r{n}{sign}: s{max(width, 1)} = quant %p{n}{sign}, round=away, overflow=saturate"
            )
            lines.append(f"  %m{n}{sign} = mul {x}, %b")
            outputs += [f"{k}{n}{sign} = %{k}{n}{sign}" for k in "prm"]
    text = (
        f"lir 1 scalar\ndesign wide(%a: s130f5, %b: u9) -> ({', '.join(outputs)}) {{\n"
        + "\n".join(lines)
        + "\n}\n"
    )
    design = parse(text, "wide")
    same(design, model(design, "model", ""), 1, 130)


@pytest.mark.parametrize("overflow", ["wrap", "saturate", "saturate-symmetric"])
@pytest.mark.parametrize(
    "round",
    [
        "floor",
        "ceil",
        "toward-zero",
        "away",
        "nearest-half-up",
        "nearest-half-down",
        "nearest-half-even",
        "nearest-half-away",
        "nearest-half-zero",
    ],
)
def test_ports_take_real_numbers_by_every_rule(round: str, overflow: str) -> None:
    kinds = ["s6f2", "u5f-3", "s9f6", "u1"]
    ports = ", ".join(f"%x{n}: {k} round={round} overflow={overflow}" for n, k in enumerate(kinds))
    outputs = ", ".join(f"y{n} = %x{n}" for n in range(len(kinds)))
    design = parse(f"lir 1\ndesign ports({ports}) -> ({outputs}) {{\n}}\n", "ports")
    steps = np.arange(-2100, 2100) / 16
    odd = [0.49999999999999994, -0.49999999999999994, 5e-324, -5e-324, 1e300, -1e300, 0.5, -0.5]
    x = np.concatenate([steps, steps * 0.999, odd[:4], odd[6:], odd[4:6] if overflow != "wrap" else []])
    want = design.run(*[x] * len(kinds))
    found = native.Native(design, c_model(design, "model", "")).numbers([x] * len(kinds))
    if found is None:  # what is so small may not be halved: the reference takes it
        x = x[np.abs(x) > 1e-200]
        want = design.run(*[x] * len(kinds))
        found = native.Native(design, c_model(design, "model", "")).numbers([x] * len(kinds))
    assert found is not None
    for name, got in zip(want, found, strict=True):
        assert (want[name] == got).all(), name


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_told(wrong: float) -> None:
    design = parse("lir 1\ndesign d(%x: s6f2[3]) -> (y = %x) {\n}\n", "d")
    x = np.zeros((100, 3))
    x[77, 1] = wrong
    assert native.Native(design, c_model(design, "model", "")).numbers([x]) is None


@pytest.mark.parametrize("name", ["tables", "registers", "instances"])
def test_golden_c(name: str, bless: bool) -> None:
    """The text for a small design, byte for byte."""
    design = parse((GOLDEN / f"{name}.lir").read_text(), name)
    files = BACKEND.emit_design(design, "", [])
    printed = "\n".join(f"// {file}\n{text}" for file, text in files.items())
    golden = GOLDEN / f"{name}.c"
    if bless:
        golden.write_text(printed)
    assert golden.read_text() == printed


@pytest.mark.parametrize("name", ["tables", "registers", "arithmetic"])
@pytest.mark.parametrize("language", ["gcc -std=c99", "g++ -std=c++17 -x c++", "clang -std=c99"])
@pytest.mark.parametrize("level", ["-O0", "-O3 -march=native"])
def test_compilers_say_nothing(name: str, language: str, level: str, tmp_path: Path) -> None:
    command, *flags = language.split()
    if command == "clang" and shutil.which("clang") is None:
        command, flags = "gcc", ["-std=c11"]  # a third language where there is no other compiler
    design = parse((GOLDEN / f"{name}.lir").read_text(), name)
    made = c_model(design, "model", "", namespace="lut::models" if command == "g++" else None)
    (tmp_path / "model.c").write_text(made.source)
    (tmp_path / "model.h").write_text(made.header)
    warnings = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    done = subprocess.run(
        [command, *flags, *level.split(), *warnings, "-c", "model.c"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_namespace_is_one() -> None:
    design = parse("lir 1\ndesign d(%x: s6) -> (y = %x) {\n}\n", "d")
    with pytest.raises(LirError, match="namespace"):
        c_model(design, "model", "", namespace="a b")


def test_layers_are_loops_and_short_designs_are_lines() -> None:
    layer = "design d(%x: s4[40, 8]) -> (y = %y) {\n  %y = dense %x, @w\n}\n"
    weights = "const @w: s3[8, 9] = [" + ", ".join(str(i % 7 - 3) for i in range(72)) + "]\n"
    design = parse(f"lir 1\n{weights}{layer}", "d")
    assert prepared(design) is design
    made = c_model(design, "model", "")
    assert made.source.count("\n") < 600
    same(design, made, 3)


def test_what_random_designs_found() -> None:
    """A small term for a wide row; a quotient of what is 0; a code that is read with a sign and kept without."""
    text = """lir 1 scalar
design found(%a: u3, %b: u7f2) -> (w = %w, q = %q, c = %c) {
  %w: u66f14 = quant %a
  %z = lincomb %b, weights=[0]
  %q: u4 = rescale %z, by=[-27/44], add=[1/7], round=ceil, overflow=wrap
  %s: s8f2 = quant %b
  %c = compare %s, -1, rel=lt
}
"""
    design = parse(text, "found")
    same(design, model(design, "model", ""), 2)
