"""The conformance suite, random programs and spoiled texts, read by lutc and by tests/independent/: both say the same.

`tools/two-readings` tries as many random and spoiled texts as one likes.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conformance_suite import FOLDER, Case, asked, cases
from mutations import MUTATIONS, Mutation
from random_designs import random_design
from text_fuzzing import mutant
from two_readings import both, broken_runs, disagreement, heavy, types_differ

from lutc.ir.ops import ALL
from lutc.text.print import print_design
from lutc.types import Overflow, Rounding

ROOT = Path(__file__).parents[2]
CASES = list(cases())
STAGES = ("tensor", "scalar")


def _names(case: Case) -> str:
    return case.name


@pytest.mark.parametrize("case", [c for c in CASES if c.valid], ids=_names)
def test_valid(case: Case) -> None:
    readings = both(case.path.read_text(), case.path.parent)
    assert readings.lines == () and readings.other_lines == ()
    assert readings.design is not None and readings.design.runs
    assert broken_runs(readings) == ([], [])
    assert types_differ(readings.design, readings.other) is None


@pytest.mark.parametrize("case", [c for c in CASES if not c.valid], ids=_names)
def test_invalid(case: Case) -> None:
    readings = both(case.path.read_text(), case.path.parent)
    lines, others = set(readings.lines), set(readings.other_lines)
    if readings.refused == (False, False):  # it is a text, whose run does not hold
        ours, theirs = broken_runs(readings)
        lines, others = set(ours), set(theirs)
    assert lines and others
    if case.line:
        assert lines == others == {case.line}, "an invalid text has one error"


def test_every_rule_is_a_heading() -> None:
    for case in CASES:
        chapter, anchor = case.rule.removesuffix(" rule" + case.rule.rpartition(" rule")[2]).split("#")
        headings = re.findall(r"^#+ (.*)", (ROOT / "ir_spec" / f"{chapter}.md").read_text(), re.M)
        assert anchor in [re.sub(r"[^\w-]", "", h.lower().replace(" ", "-")) for h in headings], case.name


def test_every_rule_is_broken() -> None:
    broken = {c.rule for c in CASES if not c.valid}
    assert {f"structure#well-formed rule {n}" for n in range(1, 15)} <= broken


def test_every_operation_is_used_and_misused() -> None:
    valid = "\n".join(c.path.read_text() for c in CASES if c.valid)
    marked = "\n".join(
        line for c in CASES if not c.valid for line in c.path.read_text().split("\n") if "# error" in line
    )
    for keyword in [op.keyword for op in ALL]:
        assert re.search(rf"= {keyword}\b", valid), f"no valid text has {keyword}"
        assert re.search(rf"= {keyword}\b", marked), f"no text is wrong about {keyword}"
    for mode in Rounding:
        assert f"round={mode.value}" in valid
    for overflow in Overflow:
        assert f"overflow={overflow.value}" in valid


def test_the_runner() -> None:
    done = _run_suite("structure-rule-14", sys.executable, "-m", "independent")
    assert done.returncode == 0 and ", 0 failed" in done.stdout, done.stdout + done.stderr


def test_the_runner_takes_lutc() -> None:
    command = [sys.executable, "-c", "from lutc.cli import command; command()", "check", "--run"]
    for name in ("valid/time-call", "invalid/text-run-does-not-hold", "invalid/structure-no-design"):
        (case,) = [c for c in CASES if c.name == name]
        assert asked(command, case) is None


def test_the_runner_finds_what_is_wrong() -> None:
    says_yes = _run_suite("structure-rule-13", sys.executable, "-c", "")
    assert says_yes.returncode == 1 and "invalid/structure-rule-13-outputs" in says_yes.stdout
    elsewhere = _run_suite("structure-rule-13", sys.executable, "-c", "print('error 1'); raise SystemExit(2)")
    assert "line 4 is wrong, not 1" in elsewhere.stdout
    says_no = _run_suite("valid/time-call", sys.executable, "-c", "print('error 1'); raise SystemExit(2)")
    assert "valid/time-call (structure#two-stages): refused, for line 1" in says_no.stdout


def _run_suite(only: str, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "tools" / "conformance"), "--only", only, *command],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
    )


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("chunk", range(4))
def test_random_programs(chunk: int, stage: str) -> None:
    for seed in range(chunk * 50, (chunk + 1) * 50):
        rng = random.Random(seed)
        found = disagreement(print_design(random_design(rng, stage)), rng)
        assert found is None, f"seed {seed}: {found}"


@pytest.mark.parametrize("chunk", range(2, 7))
def test_spoiled_texts(chunk: int) -> None:
    for seed in range(chunk * 60, (chunk + 1) * 60):
        text = mutant(seed)
        if heavy(text):
            continue
        found = disagreement(text, random.Random(seed))
        assert found is None, f"seed {seed}: {found}"


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: m.__name__)
def test_mutations(mutation: Mutation) -> None:
    """What lutc refuses of a text that is wrong in one known way, the other refuses, at a line that lutc names."""
    tried = 0
    for seed in range(60):
        rng = random.Random(seed)
        text = mutation(rng, print_design(random_design(rng, STAGES[seed % 2])))
        if text is None:
            continue
        readings = both(text)
        assert readings.refused == (True, True), f"seed {seed}: {readings.lines}, {readings.other.problems}"
        # Rules of whole designs (which the other tells at once) lutc tells only where all statements are right.
        assert set(readings.other_lines) & set(readings.lines), f"seed {seed}: {readings.other.problems[:2]}"
        tried += 1
        if tried == 8:
            break


@pytest.mark.parametrize("page", sorted((ROOT / "ir_spec").glob("*.md")), ids=lambda p: p.stem)
def test_examples_of_the_chapters(page: Path) -> None:
    for example in re.findall(r"^```lir.*?\n(.*?)^```$", page.read_text(), re.M | re.S):
        readings = both(example, page.parent)
        assert readings.refused[0] == readings.refused[1], example
        if readings.design is not None:
            ours, theirs = broken_runs(readings)
            assert ours == theirs, example
            assert types_differ(readings.design, readings.other) is None, example


def test_the_other_knows_nothing_of_lutc() -> None:
    for path in (ROOT / "tests" / "independent").glob("*.py"):
        assert not re.search(r"^\s*(from|import) lutc\b", path.read_text(), re.M), path.name


def test_the_other_as_a_command(tmp_path: Path) -> None:
    right, wrong = tmp_path / "right.lir", tmp_path / "wrong.lir"
    right.write_text("lir 1\ndesign d(%x: s4) -> (y = %x) {\n}\nrun x=1 => y=1\n")
    wrong.write_text("lir 1\ndesign d(%x: s4) -> (y = %x) {\n}\nrun x=1 => y=2\n")
    done = subprocess.run(
        [sys.executable, "-m", "independent", str(right), str(wrong)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
    )
    assert done.returncode == 2
    assert f"{right}: ok" in done.stdout and f"{wrong}: error 4 " in done.stdout


@pytest.mark.parametrize("kind", [[], ["--spoiled"]])
def test_the_script(kind: list[str], tmp_path: Path) -> None:
    script = ROOT / "tools" / "two-readings"
    command = [sys.executable, str(script), "--count", "6", "--seed", "300", "--keep", str(tmp_path), *kind]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "6 texts, 0 disagreements" in done.stdout and not list(tmp_path.iterdir())


def test_a_disagreement_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "lir 1\ndesign d(%x: s4) -> (y = %y) {\n  %y = neg %x\n}\n"
    assert disagreement(text, random.Random(0)) is None
    monkeypatch.setattr("lutc.ir.ops.Neg.infer", lambda self: self.x.type)
    found = disagreement(text, random.Random(0))
    assert found is not None and "%y is s4 to lutc" in found


def test_the_suite_is_where_the_readme_says() -> None:
    assert (FOLDER / "README.md").exists()
    assert {path.name for path in FOLDER.iterdir() if path.is_dir()} == {"valid", "invalid"}
