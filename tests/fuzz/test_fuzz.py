"""Random designs, and every one that once failed, through all passes and both HDLs. `tools/fuzz` runs more."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
from fuzzing import CRASHERS, Case, Setting, failure, failures, minimised, random_case, read, save
from random_designs import random_design

from lutc.ir.graph import Design, Stage, body, owners
from lutc.ir.ops import ALL, TABLE, Quant
from lutc.ir.ops.base import Op
from lutc.rtl.circuits import contained
from lutc.text.parse import parse

CHUNK = 20
CHUNKS = 16  # in all 320 designs


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_random_designs(chunk: int) -> None:
    cases = [random_case(seed) for seed in range(chunk * CHUNK, (chunk + 1) * CHUNK)]
    wrong = [f"{case.name}: {found}" for case, found in zip(cases, failures(cases), strict=True) if found]
    assert not wrong, "\n".join([*wrong, "tools/fuzz --seed N --count 1 makes a small crasher of it"])


def test_the_random_designs_are_of_all_kinds() -> None:
    """What the property is claimed for: all operations, signs, widths from 0 to 70, negative fractions, clocks."""
    cases = [random_case(seed) for seed in range(CHUNK * CHUNKS)]
    values = [v for c in cases for owner in owners(c.design) for v in body(owner)]
    assert {type(v) for v in values if isinstance(v, Op)} == set(ALL)
    formats = {f for v in values for _, f in v.type.runs}
    assert {f.width for f in formats} >= {*range(66), 0}
    assert any(f.frac < 0 for f in formats) and any(f.frac > f.width for f in formats)
    assert {f.signed for f in formats} == {True, False}
    assert {c.design.stage for c in cases} == set(Stage)
    assert {c.setting.stages for c in cases} == {None, 0, 1, 2, 3, 4}
    assert {(c.setting.clock_enable, c.setting.valid) for c in cases} == {
        (a, b) for a in (0, 1) for b in (0, 1)
    }


@pytest.mark.parametrize("path", sorted(CRASHERS.glob("*.lir")), ids=lambda p: p.stem)
def test_crasher(path: Path) -> None:
    found = failure(read(path))
    assert found is None, found


# -- the fuzzer finds what is wrong, and makes it small ---------------------------------------------------------------


def broken() -> tuple[Design, int]:
    """A design of some size with a saturating `quant` in it."""
    for seed in range(100):
        design = random_design(
            random.Random(seed), "scalar", [TABLE[k] for k in ("add", "quant", "mul")], size=12
        )
        saturating = [v for v in body(design) if isinstance(v, Quant) and v.overflow.value == "saturate"]
        if saturating and len(body(design)) > 12:
            return design, len(body(design))
    raise AssertionError


def test_a_wrong_circuit_is_found_and_made_small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Saturation that forgets the upper end: the simulators see it, and one `quant` remains."""

    def forgets(build, net, to, mode, lo, hi):  # type: ignore[no-untyped-def]
        return contained(build, net, to, mode, lo, min(hi, to.hi))

    design, size = broken()
    case = Case("forgets", design, Setting(stages=2, clock_enable=True), ["verilog"])
    assert failure(case) is None
    monkeypatch.setattr("lutc.rtl.circuits.contained", forgets)
    found = failure(case)
    assert found is not None and found.startswith("verilog: output ")
    small = minimised(case)
    assert failure(small) is not None
    assert len(body(small.design)) <= 4 < size and small.setting == Setting(stages=0)
    again = read(save(small, found, tmp_path))
    assert failure(again) is not None
    assert (tmp_path / "forgets.lir").read_text().startswith("# Found: verilog: output ")
    monkeypatch.undo()
    assert failure(again) is None


def test_a_wrong_pass_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lutc.passes.identities._kept", lambda source, to, overflow: True)
    text = "lir 1 scalar\ndesign d(%x: s6) -> (y = %y) {\n  %y: s4 = quant %x, round=floor, overflow=saturate\n}\n"
    case = Case("kept", parse(text), Setting(passes="collect, simplify"))
    found = failure(case)
    assert found is not None and "after collect, simplify: output y[] is" in found


def test_the_script(tmp_path: Path) -> None:
    """Exit code, and the options in the README of it."""
    script = Path(__file__).parents[2] / "tools" / "fuzz"
    done = subprocess.run(
        [
            sys.executable,
            str(script),
            "--count",
            "6",
            "--seed",
            "900",
            "--jobs",
            "1",
            "--keep",
            str(tmp_path),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "6 of 6 designs, 0 failed" in done.stdout and not list(tmp_path.iterdir())
